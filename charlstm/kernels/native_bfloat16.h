/* Products with operands rounded to bfloat16, for native_lstm.h, native_training.h and the function
 * multiply_bfloat16 below. The results are those of the functions of reference.py with precision
 * "bfloat16"; sums, gates and states stay float32.
 *
 * The order of the loops is that of native_kernels.h. The operands have the layout that the
 * instructions require:
 *
 *   A (rows, K)    rows of bfloat16. Zeros pad K to a multiple of PADDING. A product may read rows
 *                  beyond the last one, up to a multiple of DOT_ROWS. In a matrix of B rows for each
 *                  time step, PADDING numbers of each row are neighbours: (T, K / PADDING, B, PADDING).
 *   panel          PANEL columns of the weights W (K, N), as pairs: the numbers of rows k and
 *                  k + 1 lie side by side in 32 bits, that of row k in the lower half.
 *
 *          column 0     column 1         column 63     (K / 2, PANEL, 2). In panels of the gates,
 *        W[0]  W[1]   W[0]  W[1]   ...  W[0]  W[1]     the columns are i, f, o and g of 16 units,
 *        W[2]  W[3]   W[2]  W[3]   ...  W[2]  W[3]     16 columns each.
 *         ...          ...               ...
 *
 * This file is included by native_amx.c and native_avx512bf16.c, for vectors of 16 floats. Each of
 * these defines the function product_of_pairs and
 *
 *   SUFFIX                        ends the names of the exported functions
 *   DOT_ROWS                      maximum of `rows` in product_of_pairs; up to MAX_GATE_ROWS
 *   ROWS_PER_BLOCK(rows)          the number of rows per block of a product
 *   BEGIN_PRODUCTS, END_PRODUCTS  set up and release the thread's tiles of AMX; empty for AVX-512
 */
#define VECTORS 4
#define PANEL (VECTORS * WIDTH)
#define PADDING 32
#define ROUNDED 1

typedef unsigned uvec __attribute__((vector_size(64)));
typedef unsigned unaligned_uvec __attribute__((vector_size(64), aligned(4), may_alias));
typedef unsigned short half_vec __attribute__((vector_size(32)));
typedef unsigned short unaligned_half_vec __attribute__((vector_size(32), aligned(2), may_alias));

typedef unsigned short operand;

/* Add the product of A (rows, K) and a panel (K / 2, vectors * 16, 2) to sums, which has space for
 * DOT_ROWS rows. K is a multiple of PADDING. In A, PADDING operands of a row are neighbours, the next
 * ones of the row lie `jump` operands further, and those of the next row `lda` operands. The rows of
 * sums are `stride` floats apart. fresh: 1 if the sums start from zero, else 0. */
static void product_of_pairs(int rows, int vectors, int fresh, const operand *A, ptrdiff_t lda,
                             ptrdiff_t jump, ptrdiff_t K, const unsigned *panel, float *sums,
                             ptrdiff_t stride);

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
INLINE void round_floats(ptrdiff_t n, const float *from, operand *to) {
  for (ptrdiff_t k = 0; k < n; k += 16)
    *(unaligned_half_vec *)(to + k) =
        __builtin_convertvector(rounded(load_n(from + k, n - k)) >> 16, half_vec);
}

/* Write the first n elements of a vector as bfloat16; n above 16 counts as 16. */
INLINE void store_operands(operand *to, vec x, ptrdiff_t n) {
  const half_vec half = __builtin_convertvector(rounded(x) >> 16, half_vec);
  if (n >= 16)
    *(unaligned_half_vec *)to = half;
  else
    memcpy(to, &half, (size_t)n * sizeof(operand));
}

/* Pack up to 16 columns of a matrix into 16 columns of a panel that has `width` columns. The matrix
 * has K rows, `stride` floats apart. Missing columns become zeros; columns beyond 16 are left out. */
INLINE void pack_pairs(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t columns, const float *from,
                       ptrdiff_t width, unsigned *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 2, from += 2 * stride, to += width) {
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

/* Pack the transpose of up to 16 rows and 16 columns of a matrix: the rows become columns of a panel
 * of `width` columns, the columns become 8 rows of pairs. Missing numbers become zeros. The rows of
 * the matrix are `stride` floats apart. */
INLINE void pack_transposed_block(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t rows, const float *from,
                                  ptrdiff_t width, unsigned *to) {
  unsigned pairs[16][8] = {{0}};
  for (ptrdiff_t r = 0; r < min_of(rows, 16); r++)
    if (K > 0) round_floats(min_of(K, 16), from + r * stride, (operand *)pairs[r]);
  for (int k = 0; k < 8; k++)
    for (int r = 0; r < 16; r++) to[k * width + r] = pairs[r][k];
}

/* Pack the transpose of a matrix in the layout of pack_pairs: up to 16 rows of the matrix become
 * columns of a panel. The matrix has K columns; its rows are `stride` floats apart. */
INLINE void pack_transposed_pairs(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t rows, const float *from,
                                  ptrdiff_t width, unsigned *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 16, to += 8 * width)
    pack_transposed_block(K - k, stride, rows, K > k ? from + k : from, width, to);
}

/* Round 16 columns of a float matrix to bfloat16 and write them as 16 rows of `to`, each in the
 * layout of round_floats. The matrix has K rows, `stride` floats apart. Columns beyond the first
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

/* Pack a panel (K / 2, width, 2) from W (K, columns) or, if transposed, from W (columns, K). Missing
 * columns become zeros. The rows of W are `stride` floats apart. */
INLINE void pack_panel(int transposed, ptrdiff_t K, ptrdiff_t columns, const ptrdiff_t width,
                       const float *W, ptrdiff_t stride, operand *packed) {
  for (ptrdiff_t j = 0; j < width; j += 16) {
    const ptrdiff_t n = columns > j ? columns - j : 0;
    unsigned *to = (unsigned *)packed + j;
    if (transposed)
      pack_transposed_pairs(K, stride, n, n ? W + j * stride : W, width, to);
    else
      pack_pairs(K, stride, n, n ? W + j : W, width, to);
  }
}

/* Pack the columns of some units of W (K, 4H), from a multiple of 16 to `stop` - 1, into panels of
 * the four gates of 16 units. */
static void pack_units(ptrdiff_t K, ptrdiff_t H, ptrdiff_t start, ptrdiff_t stop, const float *W,
                       operand *packed) {
  for (ptrdiff_t first = start; first < stop; first += 16, packed += padded(K, PADDING) * PANEL)
    for (ptrdiff_t gate = 0; gate < 4; gate++)
      pack_pairs(K, 4 * H, H - first, W + gate * H + first, PANEL, (unsigned *)packed + gate * 16);
}

/* The number of operands of a row of K numbers, padded by zeros. */
INLINE ptrdiff_t operands(ptrdiff_t K) { return padded(K, PADDING); }

/* The place of number k of a row in a matrix (T, K / PADDING, B, PADDING) of operands. */
INLINE ptrdiff_t place_of(ptrdiff_t B, ptrdiff_t K, ptrdiff_t t, ptrdiff_t row, ptrdiff_t k) {
  return t * B * K + (k / PADDING * B + row) * PADDING + k % PADDING;
}

/* Add the product of A (rows, K) and a panel of `vectors` vectors to sums: see product_of_pairs. sums
 * has space for DOT_ROWS rows more. */
INLINE void add_product(ptrdiff_t rows, int vectors, int fresh, const operand *A, ptrdiff_t lda,
                        ptrdiff_t jump, ptrdiff_t K, const operand *panel, float *sums,
                        ptrdiff_t stride) {
  const ptrdiff_t block = ROWS_PER_BLOCK(rows);
  for (ptrdiff_t row = 0; row < rows; row += block)
    product_of_pairs((int)min_of(block, rows - row), vectors, fresh, A + row * lda, lda, jump, K,
                     (const unsigned *)panel, sums + row * stride, stride);
}

/* sums (rows, vectors * 16) = some rows of a matrix of operands (T, K / PADDING, B, PADDING) times a
 * panel. A: the first operand of the rows. sums has space for DOT_ROWS rows more. */
static void multiply_panel(ptrdiff_t rows, int vectors, const operand *A, ptrdiff_t B, ptrdiff_t K,
                           const operand *panel, float *sums, ptrdiff_t stride) {
  add_product(rows, vectors, 1, A, PADDING, B * PADDING, K, panel, sums, stride);
}

/* Pack n rows (up to 16) of a panel from columns of W (columns, n), and zeros up to 16 rows. */
INLINE void pack_rows_of_units(ptrdiff_t n, ptrdiff_t columns, ptrdiff_t width, const float *W,
                               ptrdiff_t stride, operand *packed) {
  for (ptrdiff_t j = 0; j < width; j += 16)
    pack_transposed_block(n, stride, columns - j, columns > j ? W + j * stride : W, width,
                          (unsigned *)packed + j);
}

/* The operands of the gradients of gates (T, blocks, B, 4, UNITS) are a matrix
 * (T, blocks * 2, B, 2, UNITS): those of i and f of a block of units, then those of o and g. */
#define GATES_OF_ROW PADDING /* neighbouring operands of a row */

/* Like multiply_panel, for rows of a matrix of gradients of gates; K = blocks * 4 * UNITS. */
static void multiply_panel_of_gates(ptrdiff_t rows, int vectors, const operand *A, ptrdiff_t B,
                                    ptrdiff_t K, const operand *panel, float *sums,
                                    ptrdiff_t stride) {
  multiply_panel(rows, vectors, A, B, K, panel, sums, stride);
}

/* Round the gradients (4, UNITS) of the gates of one stream and one block of units. */
INLINE void round_gates(ptrdiff_t B, const float *gates, operand *to) {
  round_floats(2 * UNITS, gates, to);
  round_floats(2 * UNITS, gates + 2 * UNITS, to + B * PADDING);
}

/* About the number of rows of the gradients that a panel of add_transposed holds. */
#define CHUNK 512

/* The number of rows of a panel of B streams, for add_transposed: no pair has rows of two steps. */
INLINE ptrdiff_t rows_of_step(ptrdiff_t B) { return padded(B, 2); }

/* Pack a panel for add_transposed from a matrix of B rows for each of some time steps, which lie `jump`
 * floats apart; its rows lie `stride` floats apart. Missing columns become zeros, and so do rows up to
 * a multiple of PADDING. */
static void pack_steps(ptrdiff_t steps, ptrdiff_t B, ptrdiff_t columns, ptrdiff_t width,
                       const float *from, ptrdiff_t jump, ptrdiff_t stride, operand *panel) {
  const ptrdiff_t rows = steps * rows_of_step(B), missing = padded(rows, PADDING) - rows;
  for (ptrdiff_t t = 0; t < steps; t++)
    pack_panel(0, B, columns, width, from + t * jump, stride, panel + t * rows_of_step(B) * width);
  memset(panel + rows * width, 0, (size_t)(missing * width) * sizeof(operand));
}

/* Add the product of the transpose of A (steps * B, rows) and a panel of `vectors` vectors to sums
 * (rows, vectors * 16), whose rows are `width` floats apart. columns (rows, steps * rows_of_step(B)): the
 * transpose of A, because products read operands of neighbouring rows of A; its rows are `stride`
 * operands apart. A itself is not used. */
static void add_transposed(ptrdiff_t rows, int vectors, int fresh, const operand *A, ptrdiff_t lda,
                           const operand *columns, ptrdiff_t stride, ptrdiff_t steps, ptrdiff_t B,
                           const operand *panel, float *sums, ptrdiff_t width) {
  (void)A, (void)lda;
  add_product(rows, vectors, fresh, columns, stride, PADDING,
              padded(steps * rows_of_step(B), PADDING), panel, sums, width);
}

/* Bytes of scratch for A (rows, K). `rows` is padded to a multiple of 16, because round_transposed
 * writes 16 rows at a time. */
INLINE ptrdiff_t size_of_rows(ptrdiff_t rows, ptrdiff_t K) {
  return padded(padded(rows, 16), DOT_ROWS) * padded(K, PADDING) * 2;
}

/* Bytes of scratch for multiply_bfloat16: A (M, K) and one panel. */
ptrdiff_t NAME(size_of_multiply)(ptrdiff_t M, ptrdiff_t K) {
  return size_of_rows(M, K) + PANEL * operands(K) * (ptrdiff_t)sizeof(operand);
}

/* See multiply in native_product.h. scratch: size_of_multiply(M, K) bytes. */
void NAME(multiply_bfloat16)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, int transpose_A,
                             int transpose_B, const float *A, const float *B, const float *bias,
                             float *C, char *scratch) {
  const ptrdiff_t lda = operands(K), block = ROWS_PER_BLOCK(M);
  float sums[DOT_ROWS * PANEL] __attribute__((aligned(64)));
  operand *rounded_A = memset(scratch, 0, (size_t)size_of_rows(M, K));
  operand *panel = (operand *)(scratch + size_of_rows(M, K));
  if (transpose_A)
    for (ptrdiff_t m = 0; m < M; m += 16)
      round_transposed(K, M, M - m, A + m, rounded_A + m * lda);
  else
    for (ptrdiff_t m = 0; m < M; m++) round_floats(K, A + m * K, rounded_A + m * lda);
  BEGIN_PRODUCTS;
  for (ptrdiff_t first = 0; first < N; first += PANEL) {
    vec added[VECTORS] = {{0}};
    for (ptrdiff_t j = 0; bias && j < PANEL && first + j < N; j += 16)
      added[j / 16] = load_n(bias + first + j, N - first - j);
    pack_panel(transpose_B, K, N - first, PANEL, transpose_B ? B + first * K : B + first,
               transpose_B ? K : N, panel);
    for (ptrdiff_t m = 0; m < M; m += block) {
      const int rows = (int)min_of(block, M - m);
      product_of_pairs(rows, VECTORS, 1, rounded_A + m * lda, lda, PADDING, lda,
                       (const unsigned *)panel, sums, PANEL);
      for (int r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < PANEL && first + j < N; j += 16)
          store_n(C + (m + r) * N + first + j, load(sums + r * PANEL + j) + added[j / 16],
                     N - first - j);
    }
  }
  END_PRODUCTS;
}
