/* AVX2 with fused multiply-add: 16 registers of 8 floats; the sums of 6 rows by 2 vectors take 12
 * of them. */
#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include <immintrin.h>
#define LARGER(x, y) (vec)_mm256_max_ps(x, y)
#define SMALLER(x, y) (vec)_mm256_min_ps(x, y)
#define SUFFIX avx2
#define WIDTH 8
#define VECTORS 2
#define MAX_ROWS 6
#include "native_kernels.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
