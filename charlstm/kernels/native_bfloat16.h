/* The LSTM recurrence and the large products with operands rounded to bfloat16. The results are
 * those of the functions of reference.py with precision "bfloat16"; sums, gates and states stay
 * float32.
 *
 * The order of the loops is that of native_kernels.h. The operands have the layout that the
 * instructions require:
 *
 *   A (rows, K)    rows of bfloat16. Zeros pad K to a multiple of PADDING, and the number of rows
 *                  to a multiple of DOT_ROWS.
 *   panel          COLUMNS columns of the weights W (K, N), as pairs: the numbers of rows k and
 *                  k + 1 lie side by side in 32 bits, that of row k in the lower half.
 *
 *          column 0     column 1         column 63     (K / 2, COLUMNS, 2). In panels of the gates,
 *        W[0]  W[1]   W[0]  W[1]   ...  W[0]  W[1]     the columns are i, f, o and g of 16 units,
 *        W[2]  W[3]   W[2]  W[3]   ...  W[2]  W[3]     16 columns each.
 *         ...          ...               ...
 *
 * This file is included by native_amx.c and native_avx512bf16.c, for vectors of 16 floats. Each of
 * these defines the function product_of_pairs and
 *
 *   SUFFIX                        ends the names of the exported functions
 *   DOT_ROWS                      maximum of `rows` in product_of_pairs; up to MAX_GATE_ROWS
 *   BEGIN_PRODUCTS, END_PRODUCTS  set up and release the thread's tiles of AMX; empty for AVX-512
 */
#define COLUMNS 64
#define PADDING 32

typedef unsigned uvec __attribute__((vector_size(64)));
typedef unsigned unaligned_uvec __attribute__((vector_size(64), aligned(4), may_alias));
typedef unsigned short half_vec __attribute__((vector_size(32)));
typedef unsigned short unaligned_half_vec __attribute__((vector_size(32), aligned(2), may_alias));

/* sums (rows, COLUMNS) = A (rows, K) times a panel (K / 2, COLUMNS, 2); K is a multiple of
 * PADDING. */
static void product_of_pairs(int rows, const unsigned short *A, ptrdiff_t K, const unsigned *panel,
                             float *sums);

/* The bfloat16 nearest to each element, in the upper half of its bits; the lower half is
 * arbitrary. Ties go to an even last bit. NaN stays NaN: a bit of the upper half is set, because
 * the lower half is dropped and may hold the only bits that tell NaN from infinity. */
INLINE uvec rounded(vec x) {
  uvec bits = (uvec)x, nan = (uvec)(x != x);
  uvec up = bits + 0x7fff + ((bits >> 16) & 1);
  return (up & ~nan) | ((bits | 0x400000) & nan);
}

/* 16 pairs of bfloat16 from two vectors of floats. The numbers of `first` are the lower halves of
 * the pairs. */
INLINE uvec paired(vec first, vec second) {
  return (rounded(first) >> 16) | (rounded(second) & 0xffff0000);
}

/* Write n floats as bfloat16, then zeros up to the next multiple of 16. */
INLINE void round_row(ptrdiff_t n, const float *from, unsigned short *to) {
  for (ptrdiff_t k = 0; k < n; k += 16)
    *(unaligned_half_vec *)(to + k) =
        __builtin_convertvector(rounded(load_n(from + k, n - k)) >> 16, half_vec);
}

/* Pack up to 16 columns of a matrix into 16 columns of a panel. The matrix has K rows, `stride`
 * floats apart. Missing columns become zeros; columns beyond 16 are left out. */
INLINE void pack_pairs(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t columns, const float *from,
                       unsigned *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 2, from += 2 * stride, to += COLUMNS) {
    vec first = k < K ? load_n(from, columns) : (vec){0};
    vec second = k + 1 < K ? load_n(from + stride, columns) : (vec){0};
    *(unaligned_uvec *)to = paired(first, second);
  }
}

/* Transpose 16 by 16 pairs: to[column * stride + row] = from[row][column]. */
INLINE void transpose_pairs(unsigned from[16][16], unsigned *to, ptrdiff_t stride) {
  for (int column = 0; column < 16; column++)
    for (int row = 0; row < 16; row++) to[column * stride + row] = from[row][column];
}

/* Pack the transpose of a matrix in the layout of pack_pairs: up to 16 rows of the matrix become
 * columns of a panel. The matrix has K columns; its rows are `stride` floats apart. */
INLINE void pack_transposed_pairs(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t rows, const float *from,
                                  unsigned *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 32, to += 16 * COLUMNS) {
    unsigned pairs[16][16] = {{0}};
    for (ptrdiff_t r = 0; r < min_of(rows, 16); r++)
      if (k < K) round_row(min_of(K - k, 32), from + r * stride + k, (unsigned short *)pairs[r]);
    transpose_pairs(pairs, to, COLUMNS);
  }
}

/* Round 16 columns of a float matrix to bfloat16 and write them as 16 rows of `to`, each in the
 * layout of round_row. The matrix has K rows, `stride` floats apart. Columns beyond the first
 * `columns` become zeros. */
INLINE void round_transposed(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t columns, const float *from,
                             unsigned short *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 32) {
    unsigned pairs[16][16];
    for (ptrdiff_t pair = 0; pair < 16; pair++) {
      const ptrdiff_t row = k + 2 * pair;
      vec first = row < K ? load_n(from + row * stride, columns) : (vec){0};
      vec second = row + 1 < K ? load_n(from + (row + 1) * stride, columns) : (vec){0};
      *(unaligned_uvec *)pairs[pair] = paired(first, second);
    }
    transpose_pairs(pairs, (unsigned *)(to + k), padded(K, PADDING) / 2);
  }
}

/* Bytes of scratch for A (rows, K). `rows` is padded to a multiple of 16, because round_transposed
 * writes 16 rows at a time. */
INLINE ptrdiff_t size_of_rows(ptrdiff_t rows, ptrdiff_t K) {
  return padded(padded(rows, 16), DOT_ROWS) * padded(K, PADDING) * 2;
}

/* Bytes of scratch for the panels of W (K, N). */
INLINE ptrdiff_t size_of_pairs(ptrdiff_t K, ptrdiff_t N) {
  return padded(N, COLUMNS) * padded(K, PADDING) * 2;
}

/* Bytes of scratch for each exported function below: room for two operands of shape (rows, K) and
 * for the panels of W (K, N). */
ptrdiff_t NAME(size_of_bfloat16)(ptrdiff_t rows, ptrdiff_t K, ptrdiff_t N) {
  return 2 * size_of_rows(rows, K) + size_of_pairs(K, N);
}

/* Take memory for A (rows, K) from the front of scratch, and fill it with zeros. */
INLINE unsigned short *take_rows(char **scratch, ptrdiff_t rows, ptrdiff_t K) {
  const ptrdiff_t bytes = size_of_rows(rows, K);
  void *taken = *scratch;
  *scratch += bytes;
  return memset(taken, 0, (size_t)bytes);
}

/* See lstm_forward in native_lstm.h. scratch: size_of_bfloat16(B, H, 4H) bytes. */
void NAME(lstm_forward_bfloat16)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                                 float *h, float *c, float *tanh_c, const float *Wh,
                                 char *scratch) {
  const ptrdiff_t K = padded(H, PADDING);
  const int block = rows_per_block(B, DOT_ROWS);
  float sums[DOT_ROWS * COLUMNS] __attribute__((aligned(64)));
  unsigned short *operand = take_rows(&scratch, B, H), *next = take_rows(&scratch, B, H);
  unsigned *packed = (unsigned *)scratch;
  for (ptrdiff_t first = 0; first < H; first += 16)
    for (int gate = 0; gate < 4; gate++)
      pack_pairs(H, 4 * H, H - first, Wh + gate * H + first,
                 packed + first / 16 * K / 2 * COLUMNS + gate * 16);
  for (ptrdiff_t row = 0; row < B; row++) round_row(H, h + row * H, operand + row * K);
  BEGIN_PRODUCTS;
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += 16) {
      const unsigned *panel = packed + first / 16 * K / 2 * COLUMNS;
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
        const ptrdiff_t before = (t * B + row) * H + first, after = before + B * H;
        float *a = gates + (t * B + row) * 4 * H + first;
        prefetch_units(rows, H, a, c + before, c + after, tanh_c + before, h + after);
        product_of_pairs(rows, operand + row * K, K, panel, sums);
        advance_units(rows, H - first, H, capped, sums, a, c + before, c + after,
                      tanh_c + before, h + after);
        for (int r = 0; r < rows; r++)
          round_row(min_of(16, H - first), h + after + r * H, next + (row + r) * K + first);
      }
    }
    unsigned short *used = operand;
    operand = next;
    next = used;
  }
  END_PRODUCTS;
}

/* See lstm_backward in native_lstm.h. scratch: size_of_bfloat16(B, 4H, H) bytes. */
void NAME(lstm_backward_bfloat16)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                                  float *dh, float *dc, const float *dh_out, const float *c,
                                  const float *tanh_c, const float *Wh, char *scratch) {
  const ptrdiff_t K = padded(4 * H, PADDING), panel_size = K / 2 * COLUMNS;
  const int block = rows_per_block(B, DOT_ROWS);
  float sums[DOT_ROWS * COLUMNS] __attribute__((aligned(64)));
  unsigned short *operand = take_rows(&scratch, B, 4 * H);
  unsigned *packed = (unsigned *)scratch;
  for (ptrdiff_t first = 0; first < padded(H, COLUMNS); first += 16)
    pack_transposed_pairs(4 * H, 4 * H, H - first, Wh + first * 4 * H,
                          packed + first / COLUMNS * panel_size + first % COLUMNS);
  BEGIN_PRODUCTS;
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      const ptrdiff_t at = t * B + row;
      float *a = gates + at * 4 * H;
      gate_gradients(H, 0, H, capped, a, dh + row * H, dc + row * H, dh_out + at * H, c + at * H,
                     tanh_c + at * H);
      round_row(4 * H, a, operand + row * K);
    }
    for (ptrdiff_t first = 0; first < H; first += COLUMNS)
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
        product_of_pairs(rows, operand + row * K, K, packed + first / COLUMNS * panel_size, sums);
        for (int r = 0; r < rows; r++)
          for (ptrdiff_t j = 0; j < COLUMNS && first + j < H; j += 16)
            store_n(dh + (row + r) * H + first + j, load(sums + r * COLUMNS + j), H - first - j);
      }
  }
  END_PRODUCTS;
}

/* See multiply in native_dense.h. scratch: size_of_bfloat16(M, K, 1) bytes, for one panel. */
void NAME(multiply_bfloat16)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, int transpose_A,
                             int transpose_B, const float *A, const float *B, const float *bias,
                             float *C, char *scratch) {
  const ptrdiff_t padded_K = padded(K, PADDING);
  const int block = rows_per_block(M, DOT_ROWS);
  float sums[DOT_ROWS * COLUMNS] __attribute__((aligned(64)));
  unsigned short *operand = take_rows(&scratch, M, K);
  unsigned *panel = (unsigned *)scratch;
  if (transpose_A)
    for (ptrdiff_t m = 0; m < M; m += 16)
      round_transposed(K, M, M - m, A + m, operand + m * padded_K);
  else
    for (ptrdiff_t m = 0; m < M; m++) round_row(K, A + m * K, operand + m * padded_K);
  BEGIN_PRODUCTS;
  for (ptrdiff_t first = 0; first < N; first += COLUMNS) {
    vec added[COLUMNS / 16] = {{0}};
    for (ptrdiff_t j = 0; j < COLUMNS; j += 16) {
      const ptrdiff_t column = first + j, columns = column < N ? N - column : 0;
      if (bias && columns) added[j / 16] = load_n(bias + column, columns);
      if (transpose_B)
        pack_transposed_pairs(K, K, columns, B + column * K, panel + j);
      else
        pack_pairs(K, N, columns, B + column, panel + j);
    }
    for (ptrdiff_t m = 0; m < M; m += block) {
      const int rows = (int)min_of(block, M - m);
      product_of_pairs(rows, operand + m * padded_K, padded_K, panel, sums);
      for (int r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < COLUMNS && first + j < N; j += 16)
          store_n(C + (m + r) * N + first + j, load(sums + r * COLUMNS + j) + added[j / 16],
                     N - first - j);
    }
  }
  END_PRODUCTS;
}
