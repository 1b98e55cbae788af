/* Weights through a type of llama.cpp and back: requantise TYPE WIDTH < f32 > f32.
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
    if (count != 3) {
        return fail("expected TYPE WIDTH");
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
        ggml_quantize_chunk(type, weights, blocks, 0, 1, width, importances);
        ggml_get_type_traits(type)->to_float(blocks, weights, width);
        if (fwrite(weights, sizeof(float), width, stdout) != (size_t) width) {
            return fail("cannot write");
        }
    }
    return 0;
}
