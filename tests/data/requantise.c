/* Weights through a type of llama.cpp and back: requantise TYPE WIDTH < f32 > f32, or with 'blocks' at the end only
 * there: > blocks, as a file stores them; with 'plain', blocks as they are made without importances.
 *
 * All weights matter alike (importances of 1), as the searching types need. Built by tests/build_engine.py. */
#include "ggml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char * why) {
    fprintf(stderr, "requantise: %s\n", why);
    return 1;
}

int main(int count, char ** words) {
    const int is_plain = count == 4 && strcmp(words[3], "plain") == 0;
    const int as_blocks = is_plain || (count == 4 && strcmp(words[3], "blocks") == 0);
    if (count != 3 && !as_blocks) {
        return fail("expected TYPE WIDTH [blocks|plain]");
    }
    const int64_t width = atoll(words[2]);
    int type = 0;
    while (type < GGML_TYPE_COUNT && strcmp(ggml_type_name(type) ? ggml_type_name(type) : "", words[1]) != 0) {
        type++;
    }
    if (type == GGML_TYPE_COUNT || width <= 0 || width % ggml_blck_size(type) != 0) {
        return fail("expected a type of llama.cpp and whole blocks");
    }
    float * weights = malloc(width * sizeof(float));
    float * importances = malloc(width * sizeof(float));
    void * blocks = malloc(ggml_row_size(type, width));
    if (!weights || !importances || !blocks) {
        return fail("no memory");
    }
    for (int64_t place = 0; place < width; place++) {
        importances[place] = 1.0f;
    }
    while (fread(weights, sizeof(float), width, stdin) == (size_t) width) {
        ggml_quantize_chunk(type, weights, blocks, 0, 1, width, is_plain ? NULL : importances);
        if (as_blocks) {
            if (fwrite(blocks, 1, ggml_row_size(type, width), stdout) != ggml_row_size(type, width)) {
                return fail("cannot write");
            }
            continue;
        }
        ggml_get_type_traits(type)->to_float(blocks, weights, width);
        if (fwrite(weights, sizeof(float), width, stdout) != (size_t) width) {
            return fail("cannot write");
        }
    }
    return 0;
}
