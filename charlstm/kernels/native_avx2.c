/* AVX2 with fused multiply-add: 16 registers of 8 floats. */
#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define SUFFIX avx2
#define WIDTH 8
#define MOST_ROWS 3
#include "native_kernels.h"
#include "native_generate.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
