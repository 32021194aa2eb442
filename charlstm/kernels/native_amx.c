/* AMX: one instruction multiplies a tile of 16 by 32 bfloat16 by a tile of 32 by 16. */
#if defined(__x86_64__) && !defined(CHARLSTM_EMULATED)
#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma,avx512bf16,amx-tile,amx-bf16"))), \
    apply_to = function)
#elif __GNUC__ >= 11
#pragma GCC target( \
    "avx512f,avx512dq,avx512vl,avx512bw,fma,avx512bf16,amx-tile,amx-bf16,prefer-vector-width=512")
#endif
#endif
#include "native_bf16_dot.h"
#if HAS_BF16_DOT
#define SUFFIX amx
#define WIDTH 16
#define DOT_ROWS 32 /* maximum number of rows of a product: those of two tiles */
#define ROWS_PER_BLOCK(rows) DOT_ROWS /* whole tiles */
#define BEGIN_PRODUCTS TILE_CONFIGURE(&configuration)
#define END_PRODUCTS TILE_RELEASE() /* a switch between threads need not save released tiles */

/* The operand of TILE_CONFIGURE, in the layout that the processor requires: eight tiles of 16 rows
 * by 64 bytes. */
static const struct {
  unsigned char palette, start_row, reserved[14];
  unsigned short bytes_in_a_row[16];
  unsigned char rows[16];
} configuration __attribute__((aligned(64), unused)) = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

#include "native_vector.h"

#include "native_team.h"

#include "native_gates.h"

#include "native_dense.h"

#include "native_bfloat16.h"

/* See native_bfloat16.h. Up to 16 rows of A are one tile, which is multiplied by up to four tiles of
 * the panel, 16 columns each. 17 to 32 rows are two tiles, which are multiplied by two tiles of the
 * panel at a time: four products for four loads. Tiles always have 16 rows, so the arrays A and
 * sums must have space for all rows of the last tile. */
static void product_of_pairs(int rows, int vectors, int fresh, const operand *A, ptrdiff_t lda,
                             ptrdiff_t jump, ptrdiff_t K, const unsigned *panel, float *sums,
                             ptrdiff_t stride) {
  const ptrdiff_t width = vectors * 16, row_of_A = lda * 2, row_of_panel = width * 4;
  const ptrdiff_t row_of_sums = stride * 4;
#define BEGIN_SUMS(tile, from)                  \
  do {                                          \
    if (fresh) {                                \
      TILE_ZERO(tile);                          \
    } else {                                    \
      TILE_LOAD(tile, from, row_of_sums);       \
    }                                           \
  } while (0)
  if (rows <= 16) {
    BEGIN_SUMS(0, sums);
    if (vectors > 1) BEGIN_SUMS(1, sums + 16);
    if (vectors > 2) BEGIN_SUMS(2, sums + 32);
    if (vectors > 3) BEGIN_SUMS(3, sums + 48);
    for (ptrdiff_t k = 0; k < K; k += 32, A += jump, panel += 16 * width) {
      TILE_LOAD(4, A, row_of_A);
      TILE_LOAD(5, panel, row_of_panel);
      TILE_ADD_PAIRS(0, 4, 5);
      if (vectors > 1) {
        TILE_LOAD(6, panel + 16, row_of_panel);
        TILE_ADD_PAIRS(1, 4, 6);
      }
      if (vectors > 2) {
        TILE_LOAD(7, panel + 32, row_of_panel);
        TILE_ADD_PAIRS(2, 4, 7);
      }
      if (vectors > 3) {
        TILE_LOAD(5, panel + 48, row_of_panel);
        TILE_ADD_PAIRS(3, 4, 5);
      }
    }
    TILE_STORE(0, sums, row_of_sums);
    if (vectors > 1) TILE_STORE(1, sums + 16, row_of_sums);
    if (vectors > 2) TILE_STORE(2, sums + 32, row_of_sums);
    if (vectors > 3) TILE_STORE(3, sums + 48, row_of_sums);
    return;
  }
  for (ptrdiff_t first = 0; first < width; first += 32) {
    const unsigned *columns = panel + first;
    const operand *a = A;
    const int two = first + 16 < width;
    float *upper = sums + first, *lower = upper + 16 * stride;
    BEGIN_SUMS(0, upper);
    BEGIN_SUMS(2, lower);
    if (two) {
      BEGIN_SUMS(1, upper + 16);
      BEGIN_SUMS(3, lower + 16);
    }
    for (ptrdiff_t k = 0; k < K; k += 32, a += jump, columns += 16 * width) {
      TILE_LOAD(4, a, row_of_A);
      TILE_LOAD(6, columns, row_of_panel);
      TILE_ADD_PAIRS(0, 4, 6);
      TILE_LOAD(5, a + 16 * lda, row_of_A);
      TILE_ADD_PAIRS(2, 5, 6);
      if (two) {
        TILE_LOAD(7, columns + 16, row_of_panel);
        TILE_ADD_PAIRS(1, 4, 7);
        TILE_ADD_PAIRS(3, 5, 7);
      }
    }
    TILE_STORE(0, upper, row_of_sums);
    TILE_STORE(2, lower, row_of_sums);
    if (two) {
      TILE_STORE(1, upper + 16, row_of_sums);
      TILE_STORE(3, lower + 16, row_of_sums);
    }
  }
#undef BEGIN_SUMS
}

#include "native_lstm.h"

#include "native_training.h"
#endif
#if defined(__clang__) && defined(__x86_64__) && !defined(CHARLSTM_EMULATED)
#pragma clang attribute pop
#endif
