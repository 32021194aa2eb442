/* AVX-512: 32 registers of 16 floats; the sums of 6 rows by 4 vectors take 24 of them. */
#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#endif
#include <immintrin.h>
#define LARGER(x, y) (vec)_mm512_max_ps(x, y)
#define SMALLER(x, y) (vec)_mm512_min_ps(x, y)
#define SUFFIX avx512
#define WIDTH 16
#define VECTORS 4
#define MAX_ROWS 6
#include "native_kernels.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
