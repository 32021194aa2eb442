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
#define ROWS_PER_BLOCK(rows) rows_per_block(rows, DOT_ROWS)
#define BEGIN_PRODUCTS
#define END_PRODUCTS
#include "native_vector.h"

#include "native_team.h"

#include "native_gates.h"

#include "native_dense.h"

#include "native_bfloat16.h"

/* Like product_of_pairs, but `rows` and `vectors` are constants at compile time, so that the compiler
 * keeps the sums in registers. */
INLINE void product_of_pair_rows(const int rows, const int vectors, int fresh, const operand *A,
                                 ptrdiff_t lda, ptrdiff_t jump, ptrdiff_t K,
                                 const unsigned *panel, float *sums, ptrdiff_t stride) {
  vec acc[DOT_ROWS][VECTORS];
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < vectors; j++)
      acc[r][j] = fresh ? (vec){0} : load(sums + r * stride + j * 16);
  for (ptrdiff_t first = 0; first < K; first += PADDING, A += jump)
    for (ptrdiff_t k = 0; k < PADDING; k += 2, panel += vectors * 16) {
      uvec w[VECTORS];
      for (int j = 0; j < vectors; j++) w[j] = *(const unaligned_uvec *)(panel + j * 16);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        unsigned pair;
        memcpy(&pair, A + r * lda + k, sizeof pair);
        uvec a = pair - (uvec){0};
        for (int j = 0; j < vectors; j++) acc[r][j] = ADD_PAIRS(acc[r][j], a, w[j]);
      }
    }
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < vectors; j++) store(sums + r * stride + j * 16, acc[r][j]);
}

/* Like product_of_pair_rows, but `rows` is known at run time only. */
INLINE void product_of_pair_vectors(int rows, const int vectors, int fresh, const operand *A,
                                    ptrdiff_t lda, ptrdiff_t jump, ptrdiff_t K,
                                    const unsigned *panel, float *sums, ptrdiff_t stride) {
#define CASE(n) \
  case n: product_of_pair_rows(n, vectors, fresh, A, lda, jump, K, panel, sums, stride); break
  switch (rows) {
    CASE(1);
    CASE(2);
    CASE(3);
    CASE(4);
    CASE(5);
    CASE(6);
  }
#undef CASE
}

/* See native_bfloat16.h. */
static void product_of_pairs(int rows, int vectors, int fresh, const operand *A, ptrdiff_t lda,
                             ptrdiff_t jump, ptrdiff_t K, const unsigned *panel, float *sums,
                             ptrdiff_t stride) {
  switch (vectors) {
    case 1: product_of_pair_vectors(rows, 1, fresh, A, lda, jump, K, panel, sums, stride); break;
    case 2: product_of_pair_vectors(rows, 2, fresh, A, lda, jump, K, panel, sums, stride); break;
    case 3: product_of_pair_vectors(rows, 3, fresh, A, lda, jump, K, panel, sums, stride); break;
    case 4: product_of_pair_vectors(rows, 4, fresh, A, lda, jump, K, panel, sums, stride); break;
  }
}

#include "native_lstm.h"

#include "native_training.h"
#endif
#if defined(__clang__) && defined(__x86_64__) && !defined(CHARLSTM_EMULATED)
#pragma clang attribute pop
#endif
