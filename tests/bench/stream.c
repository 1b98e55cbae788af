/* The kernels of STREAM in C with OpenMP, to compare the numpy kernels of roofline.measure.bandwidth with.
 *
 * Copy and triad, and what counts as a byte moved, are those of J. D. McCalpin, "Memory Bandwidth and Machine Balance in
 * Current High Performance Computers", IEEE TCCA Newsletter, December 1995: each array counts once per pass, the read
 * that a store into a missing cache line causes does not. "read" is the kernel that STREAM lacks: two arrays, no store.
 *
 * Usage: stream LARGEST_ELEMENTS THREADS. Then one request a line on stdin, "KERNEL ELEMENTS THREADS PASSES", and one
 * answer a line on stdout: the seconds that the passes took.
 */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* Sums kept apart, so that no pass waits for the latency of an addition: eight registers of the widest kind. */
typedef double vector __attribute__((vector_size(64), aligned(8), may_alias));
#ifdef __AVX512F__
#define SUMS 8
#else
#define SUMS 4
#endif
#define LANES (SUMS * sizeof(vector) / sizeof(double))

static double *a, *b, *c;
static volatile double sink;

/* The same pages as numpy asks for: 2 MiB where the kernel gives them. The arrays begin at different offsets in a page,
 * so that equal elements of two arrays do not share the low 12 bits of their addresses. */
static double *allocate(size_t elements, int number) {
    size_t bytes = (elements * sizeof(double) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE + HUGE_PAGE;
    char *memory = aligned_alloc(HUGE_PAGE, bytes);
    if (memory == NULL) {
        fprintf(stderr, "stream: %zu bytes cannot be allocated\n", bytes);
        exit(1);
    }
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return (double *)(memory + 1024 * number);
}

/* The part of one thread; the whole of 8 elements, so that no two threads write to one cache line. */
static void part(size_t elements, size_t *from, size_t *to) {
    size_t threads = (size_t)omp_get_num_threads(), thread = (size_t)omp_get_thread_num();
    size_t each = elements / threads / 8 * 8;
    *from = each * thread;
    *to = thread + 1 == threads ? elements : *from + each;
}

static double read_pass(const double *restrict x, const double *restrict y, size_t n) {
    vector sums[SUMS] = {{0}};
    double total = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const vector *left = (const vector *)(x + i), *right = (const vector *)(y + i);
#pragma GCC unroll 8
        for (size_t k = 0; k < SUMS; k++) sums[k] += left[k] * right[k];
    }
    for (; i < n; i++) total += x[i] * y[i];
    for (size_t k = 0; k < SUMS; k++)
        for (size_t lane = 0; lane < sizeof(vector) / sizeof(double); lane++) total += sums[k][lane];
    return total;
}

static void copy_pass(double *restrict to, const double *restrict from, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = from[i];
}

static void add_pass(double *restrict to, const double *restrict x, const double *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = x[i] + y[i];
}

static void triad_pass(double *restrict to, const double *restrict x, const double *restrict y, double s, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = x[i] + s * y[i];
}

static double run(const char *kernel, size_t elements, int threads, long passes) {
    double seconds = 0, total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        size_t from, to;
        part(elements, &from, &to);
#pragma omp barrier
        double start = omp_get_wtime();
        for (long pass = 0; pass < passes; pass++) {
            if (strcmp(kernel, "read") == 0) total += read_pass(a + from, b + from, to - from);
            else if (strcmp(kernel, "copy") == 0) copy_pass(a + from, b + from, to - from);
            else if (strcmp(kernel, "add") == 0) add_pass(a + from, b + from, c + from, to - from);
            else triad_pass(a + from, b + from, c + from, 3.0, to - from);
            __asm__ volatile("" : : "r"(a) : "memory"); /* no pass is dropped because the next one repeats it */
        }
#pragma omp barrier
#pragma omp master
        seconds = omp_get_wtime() - start;
    }
    sink = total;
    return seconds;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: stream LARGEST_ELEMENTS THREADS\n");
        return 2;
    }
    size_t largest = strtoull(arguments[1], NULL, 10);
    int most = atoi(arguments[2]);
    a = allocate(largest, 0);
    b = allocate(largest, 1);
    c = allocate(largest, 2);
#pragma omp parallel num_threads(most)
    {
        size_t from, to;
        part(largest, &from, &to);
        for (size_t i = from; i < to; i++) {
            a[i] = 1.0;
            b[i] = 2.0;
            c[i] = 0.5;
        }
    }
    char kernel[16];
    size_t elements;
    int threads;
    long passes;
    while (scanf("%15s %zu %d %ld", kernel, &elements, &threads, &passes) == 4) {
        if (elements > largest || threads < 1 || threads > most) return 2;
        printf("%.9f\n", run(kernel, elements, threads, passes));
        fflush(stdout);
    }
    return 0;
}
