/* The products of training with operands rounded to bfloat16: the LSTM recurrence and the large
 * products, the twins of those in reference.py with precision "bfloat16". Sums, gates and states
 * stay float32. Included once for each way to multiply, for vectors of 16, with
 *
 *   SUFFIX     of the exported names
 *   DOT_ROWS  rows that product_of_pairs takes at the most, up to GATE_ROWS
 *   BEGIN_PRODUCTS, END_PRODUCTS  what a thread does before and after many products
 *
 * and a function product_of_pairs after it. Operands lie as the instructions want them. The rows of
 * A are bfloat16, K padded with zeros to a multiple of PADDING, and there are as many of them as
 * fill the last DOT_ROWS. A panel has COLUMNS columns; two numbers that follow each other in K are
 * neighbours: (K / 2, COLUMNS, 2). In panels of the gates, the columns are i f o g of 16 units.
 */
#define COLUMNS 64
#define PADDING 32

typedef unsigned uvec __attribute__((vector_size(64)));
typedef unsigned unaligned_uvec __attribute__((vector_size(64), aligned(4), may_alias));
typedef unsigned short half_vec __attribute__((vector_size(32)));
typedef unsigned short unaligned_half_vec __attribute__((vector_size(32), aligned(2), may_alias));

/* sums (rows, COLUMNS) = A (rows, K), rows `K` apart, times a panel (K / 2, COLUMNS, 2). */
static void product_of_pairs(int rows, const unsigned short *A, ptrdiff_t K, const unsigned *panel,
                             float *sums);

INLINE ptrdiff_t padded(ptrdiff_t n, ptrdiff_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/* To bfloat16, in the upper half of each element; the lower half is of no meaning. To the nearest,
 * of two equally near the even one. NaN stays NaN: only its upper half counts, so that is made one. */
INLINE uvec rounded(vec x) {
  uvec bits = (uvec)x, nan = (uvec)(x != x);
  uvec up = bits + 0x7fff + ((bits >> 16) & 1);
  return (up & ~nan) | ((bits | 0x400000) & nan);
}

/* Two rows to pairs of neighbours: the first in the lower halves. */
INLINE uvec paired(vec first, vec second) {
  return (rounded(first) >> 16) | (rounded(second) & 0xffff0000);
}

/* n floats to bfloat16, then zeros up to the next multiple of 16. */
INLINE void round_row(ptrdiff_t n, const float *from, unsigned short *to) {
  for (ptrdiff_t k = 0; k < n; k += 16)
    *(unaligned_half_vec *)(to + k) =
        __builtin_convertvector(rounded(load_part(from + k, n - k)) >> 16, half_vec);
}

/* Up to 16 columns of a matrix of K rows, `stride` apart, into a vector of a panel. */
INLINE void pack_pairs(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t columns, const float *from,
                       unsigned *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 2, from += 2 * stride, to += COLUMNS) {
    vec first = k < K ? load_part(from, columns) : (vec){0};
    vec second = k + 1 < K ? load_part(from + stride, columns) : (vec){0};
    *(unaligned_uvec *)to = paired(first, second);
  }
}

/* 16 by 16 pairs, transposed: to[column * stride + row] = from[row][column]. */
INLINE void transpose_pairs(unsigned from[16][16], unsigned *to, ptrdiff_t stride) {
  for (int column = 0; column < 16; column++)
    for (int row = 0; row < 16; row++) to[column * stride + row] = from[row][column];
}

/* The same of a transpose: up to 16 rows of K columns, `stride` apart, become columns. */
INLINE void pack_transposed_pairs(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t rows, const float *from,
                                  unsigned *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 32, to += 16 * COLUMNS) {
    unsigned block[16][16] = {{0}};
    for (ptrdiff_t r = 0; r < least(rows, 16); r++)
      if (k < K) round_row(least(K - k, 32), from + r * stride + k, (unsigned short *)block[r]);
    transpose_pairs(block, to, COLUMNS);
  }
}

/* A matrix of K rows and up to 16 columns, `stride` apart, to 16 rows of K: A's, of a transpose. */
INLINE void round_transposed(ptrdiff_t K, ptrdiff_t stride, ptrdiff_t columns, const float *from,
                             unsigned short *to) {
  for (ptrdiff_t k = 0; k < padded(K, PADDING); k += 32) {
    unsigned block[16][16];
    for (ptrdiff_t pair = 0; pair < 16; pair++) {
      const ptrdiff_t row = k + 2 * pair;
      vec first = row < K ? load_part(from + row * stride, columns) : (vec){0};
      vec second = row + 1 < K ? load_part(from + (row + 1) * stride, columns) : (vec){0};
      *(unaligned_uvec *)block[pair] = paired(first, second);
    }
    transpose_pairs(block, (unsigned *)(to + k), padded(K, PADDING) / 2);
  }
}

/* Room at an address that was given as one number of bytes after another. */
INLINE void *take(char **room, ptrdiff_t bytes) {
  void *taken = *room;
  *room += padded(bytes, 64);
  return taken;
}

/* B rows of K for A, all zero. */
INLINE unsigned short *take_rows(char **room, ptrdiff_t B, ptrdiff_t K) {
  const ptrdiff_t bytes = padded(B, DOT_ROWS) * padded(K, PADDING) * 2;
  return memset(take(room, bytes), 0, (size_t)bytes);
}

/* See lstm_forward in native_lstm.h. room: see native.py. */
void NAME(lstm_forward_bfloat16)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                                 float *h, float *c, float *tanh_c, const float *Wh, char *room) {
  const ptrdiff_t K = padded(H, PADDING);
  const int at_once = rows_at_once(B, DOT_ROWS);
  float sums[DOT_ROWS * COLUMNS] __attribute__((aligned(64)));
  unsigned short *operand = take_rows(&room, B, H), *next = take_rows(&room, B, H);
  unsigned *packed = take(&room, padded(H, 16) / 16 * K / 2 * COLUMNS * 4);
  for (ptrdiff_t first = 0; first < H; first += 16)
    for (int gate = 0; gate < 4; gate++)
      pack_pairs(H, 4 * H, H - first, Wh + gate * H + first,
                 packed + first / 16 * K / 2 * COLUMNS + gate * 16);
  for (ptrdiff_t lane = 0; lane < B; lane++) round_row(H, h + lane * H, operand + lane * K);
  BEGIN_PRODUCTS;
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += 16) {
      const unsigned *panel = packed + first / 16 * K / 2 * COLUMNS;
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        const ptrdiff_t before = (t * B + row) * H + first, after = before + B * H;
        float *a = gates + (t * B + row) * 4 * H + first;
        prefetch_units(rows, H, a, c + before, c + after, tanh_c + before, h + after);
        product_of_pairs(rows, operand + row * K, K, panel, sums);
        advance_units(rows, H - first, H, capped, sums, a, c + before, c + after,
                      tanh_c + before, h + after);
        for (int r = 0; r < rows; r++)
          round_row(least(16, H - first), h + after + r * H, next + (row + r) * K + first);
      }
    }
    unsigned short *used = operand;
    operand = next;
    next = used;
  }
  END_PRODUCTS;
}

/* See lstm_backward in native_lstm.h. */
void NAME(lstm_backward_bfloat16)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                                  float *dh, float *dc, const float *dh_out, const float *c,
                                  const float *tanh_c, const float *Wh, char *room) {
  const ptrdiff_t K = padded(4 * H, PADDING), panel_size = K / 2 * COLUMNS;
  const int at_once = rows_at_once(B, DOT_ROWS);
  float sums[DOT_ROWS * COLUMNS] __attribute__((aligned(64)));
  unsigned short *operand = take_rows(&room, B, 4 * H);
  unsigned *packed = take(&room, padded(H, COLUMNS) / COLUMNS * panel_size * 4);
  for (ptrdiff_t first = 0; first < padded(H, COLUMNS); first += 16)
    pack_transposed_pairs(4 * H, 4 * H, H - first, Wh + first * 4 * H,
                          packed + first / COLUMNS * panel_size + first % COLUMNS);
  BEGIN_PRODUCTS;
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      const ptrdiff_t lane = t * B + row;
      float *a = gates + lane * 4 * H;
      gate_gradients(H, capped, a, dh + row * H, dc + row * H, dh_out + lane * H, c + lane * H,
                     tanh_c + lane * H);
      round_row(4 * H, a, operand + row * K);
    }
    for (ptrdiff_t first = 0; first < H; first += COLUMNS)
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        product_of_pairs(rows, operand + row * K, K, packed + first / COLUMNS * panel_size, sums);
        for (int r = 0; r < rows; r++)
          for (ptrdiff_t j = 0; j < COLUMNS && first + j < H; j += 16)
            store_part(dh + (row + r) * H + first + j, load(sums + r * COLUMNS + j), H - first - j);
      }
  }
  END_PRODUCTS;
}

/* See multiply in native_dense.h. */
void NAME(multiply_bfloat16)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, int transpose_A,
                             int transpose_B, const float *A, const float *B, const float *bias,
                             float *C, char *room) {
  const ptrdiff_t padded_K = padded(K, PADDING);
  const int at_once = rows_at_once(M, DOT_ROWS);
  float sums[DOT_ROWS * COLUMNS] __attribute__((aligned(64)));
  unsigned short *operand = take_rows(&room, padded(M, 16), K);
  unsigned *panel = take(&room, padded_K / 2 * COLUMNS * 4);
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
      if (bias && columns) added[j / 16] = load_part(bias + column, columns);
      if (transpose_B)
        pack_transposed_pairs(K, K, columns, B + column * K, panel + j);
      else
        pack_pairs(K, N, columns, B + column, panel + j);
    }
    for (ptrdiff_t m = 0; m < M; m += at_once) {
      const int rows = (int)least(at_once, M - m);
      product_of_pairs(rows, operand + m * padded_K, padded_K, panel, sums);
      for (int r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < COLUMNS && first + j < N; j += 16)
          store_part(C + (m + r) * N + first + j, load(sums + r * COLUMNS + j) + added[j / 16],
                     N - first - j);
    }
  }
  END_PRODUCTS;
}
