/* AVX-512: 32 registers of 16 floats; 6 rows by 4 vectors of sums leave room for the weights. */
#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#endif
#define SUFFIX avx512
#define WIDTH 16
#define MOST_ROWS 6
#include "native_kernels.h"
#include "native_generate.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
