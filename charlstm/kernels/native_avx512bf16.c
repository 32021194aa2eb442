/* AVX512-BF16: one instruction adds 32 products of bfloat16 to 16 float32 sums, two to each. */
#if defined(__x86_64__) && !defined(CHARLSTM_EMULATED)
#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma,avx512bf16"))), apply_to = function)
#elif __GNUC__ >= 11
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,avx512bf16,prefer-vector-width=512")
#endif
#endif
#include "native_bf16_dot.h"
#if HAS_BF16_DOT
#define SUFFIX avx512bf16
#define WIDTH 16
#define DOT_ROWS 6
#define BEGIN_PRODUCTS
#define END_PRODUCTS
#include "native_vector.h"

#include "native_gates.h"

#include "native_bfloat16.h"

/* Like product_of_pairs, but `rows` is a constant at compile time, so that the compiler keeps the
 * sums in registers. */
INLINE void product_of_pair_rows(const int rows, const unsigned short *A, ptrdiff_t K,
                                 const unsigned *panel, float *sums) {
  vec acc[DOT_ROWS][4];
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < 4; j++) acc[r][j] = (vec){0};
  for (ptrdiff_t k = 0; k < K; k += 2, panel += COLUMNS) {
    uvec w[4];
    for (int j = 0; j < 4; j++) w[j] = *(const unaligned_uvec *)(panel + j * 16);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      unsigned pair;
      memcpy(&pair, A + r * K + k, sizeof pair);
      uvec a = pair - (uvec){0};
      for (int j = 0; j < 4; j++) acc[r][j] = ADD_PAIRS(acc[r][j], a, w[j]);
    }
  }
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < 4; j++) store(sums + r * COLUMNS + j * 16, acc[r][j]);
}

/* See native_bfloat16.h. */
static void product_of_pairs(int rows, const unsigned short *A, ptrdiff_t K, const unsigned *panel,
                             float *sums) {
  switch (rows) {
    case 1: product_of_pair_rows(1, A, K, panel, sums); break;
    case 2: product_of_pair_rows(2, A, K, panel, sums); break;
    case 3: product_of_pair_rows(3, A, K, panel, sums); break;
    case 4: product_of_pair_rows(4, A, K, panel, sums); break;
    case 5: product_of_pair_rows(5, A, K, panel, sums); break;
    case 6: product_of_pair_rows(6, A, K, panel, sums); break;
  }
}
#endif
#if defined(__clang__) && defined(__x86_64__) && !defined(CHARLSTM_EMULATED)
#pragma clang attribute pop
#endif
