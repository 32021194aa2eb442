/* Packing of weights into panels (see native_kernels.h), and products of a few rows with a panel.
 * Training and sampling spend most of their time here.
 *
 * With 16 registers, blocks of six rows by two vectors are faster than blocks of three rows by four
 * vectors, because a panel is then read half as often from the second-level cache.
 */
#define PANEL (VECTORS * WIDTH) /* number of columns of a panel */

/* The factors of a product: A (rows, pieces * K) and a panel (pieces * K, vectors * WIDTH).
 *
 * The element (r, k) of a piece of A lies at A[r * lda + k * step], so A may be a transpose; the next
 * piece begins `jump` floats further. The panel has the rows of all pieces one after the other. */
typedef struct {
  const float *A, *panel;
  ptrdiff_t lda, step, K, pieces, jump;
} Factors;

/* Add a product to sums (rows, vectors * WIDTH), whose rows are `stride` floats apart. fresh: 1 if the
 * sums start from zero, else 0. `rows` and `vectors` are constants at compile time, so that the
 * compiler keeps the sums in registers. */
INLINE void product_of(const int rows, const int vectors, int fresh, const Factors f, float *sums,
                       const ptrdiff_t stride) {
  const float *A = f.A, *panel = f.panel;
  vec acc[MAX_ROWS][VECTORS];
  if (fresh) {
    for (int r = 0; r < rows; r++)
      for (int j = 0; j < vectors; j++) acc[r][j] = (vec){0};
  } else {
    for (int r = 0; r < rows; r++)
      for (int j = 0; j < vectors; j++) acc[r][j] = load(sums + r * stride + j * WIDTH);
  }
  for (ptrdiff_t piece = 0; piece < f.pieces; piece++, A += f.jump)
    for (ptrdiff_t k = 0; k < f.K; k++, panel += vectors * WIDTH) {
      vec w[VECTORS];
      for (int j = 0; j < vectors; j++) w[j] = load(panel + j * WIDTH);
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        float a = A[r * f.lda + k * f.step];
        for (int j = 0; j < vectors; j++) acc[r][j] += a * w[j];
      }
    }
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < vectors; j++) store(sums + r * stride + j * WIDTH, acc[r][j]);
}

/* Like product_of, but `rows` (at most MAX_ROWS) is known at run time only. */
INLINE void product_with(int rows, const int vectors, int fresh, const Factors f, float *sums,
                         const ptrdiff_t stride) {
#define CASE(n) \
  case n: product_of(n, vectors, fresh, f, sums, stride); break
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

/* Like product_with, for any number of rows, and `vectors` known at run time only. */
INLINE void product_of_rows(ptrdiff_t rows, int vectors, int fresh, Factors f, float *sums,
                            ptrdiff_t stride) {
  const int block = rows_per_block(rows > 0 ? rows : 1, MAX_ROWS);
  for (ptrdiff_t row = 0; row < rows; row += block, f.A += block * f.lda, sums += block * stride) {
    const int n = (int)min_of(block, rows - row);
    if (vectors == VECTORS)
      product_with(n, VECTORS, fresh, f, sums, stride);
    else if (vectors == 1)
      product_with(n, 1, fresh, f, sums, stride);
    else if (vectors == 2)
      product_with(n, 2, fresh, f, sums, stride);
    else
      product_with(n, VECTORS - 1, fresh, f, sums, stride);
  }
}

/* sums (rows, PANEL) = A (rows, K), whose rows are `lda` floats apart, times a panel (K, PANEL). */
static void product(int rows, const float *A, ptrdiff_t lda, ptrdiff_t K, const float *panel,
                    float *sums) {
  product_with(rows, VECTORS, 1, (Factors){A, panel, lda, 1, K, 1, 0}, sums, PANEL);
}

/* sums (rows, PANEL) = the transpose of A (K, rows), whose rows are `lda` floats apart, times a
 * panel (K, PANEL). */
static void product_of_transpose(int rows, const float *A, ptrdiff_t lda, ptrdiff_t K,
                                 const float *panel, float *sums) {
  product_with(rows, VECTORS, 1, (Factors){A, panel, 1, lda, K, 1, 0}, sums, PANEL);
}

/* sums (rows, GATES) = x (rows, K) times the weights of the gates of WIDTH units, as pack_gates
 * packs them. The rows of x are lda floats apart.
 *
 * One row goes through all panels at once: each addition to a sum waits for the addition before, and
 * the sums of four vectors take no longer than those of one. */
static void product_of_gates(int rows, const float *x, ptrdiff_t lda, ptrdiff_t K,
                             const float *panels, float *sums) {
  if (rows > 1 || PANEL == GATES) {
    for (int first = 0; first < GATES; first += PANEL, panels += K * PANEL)
      product_with(rows, VECTORS, 1, (Factors){x, panels, lda, 1, K, 1, 0}, sums + first, GATES);
    return;
  }
  vec acc[4] = {{0}};
  for (ptrdiff_t k = 0; k < K; k++)
    for (int j = 0; j < 4; j++)
      acc[j] += x[k] * load(panels + (j / VECTORS * K + k) * PANEL + j % VECTORS * WIDTH);
  for (int j = 0; j < 4; j++) store(sums + j * WIDTH, acc[j]);
}

/* Bytes that pack_gates writes for W (K, 4H). */
ptrdiff_t NAME(size_of_gate_panels)(ptrdiff_t K, ptrdiff_t H) {
  return padded(H, WIDTH) * 4 * K * (ptrdiff_t)sizeof(float);
}

/* Bytes that pack_columns writes for W (K, N). */
ptrdiff_t NAME(size_of_panels)(ptrdiff_t K, ptrdiff_t N) {
  return padded(N, PANEL) * K * (ptrdiff_t)sizeof(float);
}

/* Pack the columns of some units of W (K, 4H), from a multiple of WIDTH to `stop` - 1, into panels of
 * WIDTH units: (units / WIDTH rounded up, 4 / VECTORS, K, VECTORS gates, WIDTH). The columns of units
 * from H on become zeros. */
static void pack_units(ptrdiff_t K, ptrdiff_t H, ptrdiff_t start, ptrdiff_t stop, const float *W,
                       float *packed) {
  for (ptrdiff_t first = start; first < stop; first += WIDTH)
    for (ptrdiff_t gate = 0; gate < 4; gate += VECTORS)
      for (ptrdiff_t k = 0; k < K; k++)
        for (ptrdiff_t j = 0; j < VECTORS; j++, packed += WIDTH)
          store(packed, first < H ? load_n(W + (k * 4 + gate + j) * H + first, H - first) : (vec){0});
}

/* Pack the columns of all units of W (K, 4H). */
void NAME(pack_gates)(ptrdiff_t K, ptrdiff_t H, const float *W, float *packed) {
  pack_units(K, H, 0, H, W, packed);
}

/* Write one panel (K, width) from W (K, columns) or, if transposed, from W (columns, K). Missing
 * columns become zeros; columns beyond `width` are left out. The rows of W are `stride` floats apart.
 *
 * A transpose is read LINE floats of each row at a time. If the stride is a power of two, the same
 * column of all rows falls into the same set of the cache. More than LINE floats of a row would
 * then be evicted before they are read. */
INLINE void pack_panel(int transposed, ptrdiff_t K, ptrdiff_t columns, const ptrdiff_t width,
                       const float *W, ptrdiff_t stride, float *packed) {
  columns = columns > 0 ? min_of(width, columns) : 0;
  for (ptrdiff_t k = 0; k < K; k += LINE, packed += LINE * width) {
    const ptrdiff_t rows = min_of(LINE, K - k);
    if (columns < width) memset(packed, 0, (size_t)(rows * width) * sizeof(float));
    if (transposed)
      for (ptrdiff_t j = 0; j < columns; j++)
        for (ptrdiff_t r = 0; r < rows; r++) packed[r * width + j] = W[j * stride + k + r];
    else
      for (ptrdiff_t r = 0; r < rows; r++)
        memcpy(packed + r * width, W + (k + r) * stride, (size_t)columns * sizeof(float));
  }
}

/* Pack W (K, N) into panels: (ceil(N / PANEL), K, PANEL). */
void NAME(pack_columns)(ptrdiff_t K, ptrdiff_t N, const float *W, float *packed) {
  for (ptrdiff_t first = 0; first < N; first += PANEL, packed += K * PANEL)
    pack_panel(0, K, N - first, PANEL, W + first, N, packed);
}

/* Pack the transpose of W (H, N) into panels: (ceil(H / PANEL), N, PANEL). */
static void pack_transpose(ptrdiff_t H, ptrdiff_t N, const float *W, float *packed) {
  for (ptrdiff_t first = 0; first < H; first += PANEL, packed += N * PANEL)
    pack_panel(1, N, H - first, PANEL, W + first * N, N, packed);
}

/* The first n of PANEL floats at p, then zeros; n above PANEL counts as PANEL. */
INLINE void load_row(const float *p, ptrdiff_t n, vec *row) {
  if (n >= PANEL)
    for (int j = 0; j < VECTORS; j++) row[j] = load(p + j * WIDTH);
  else
    for (int j = 0; j < VECTORS; j++)
      row[j] = j * WIDTH < n ? load_n(p + j * WIDTH, n - j * WIDTH) : (vec){0};
}

/* Store the first n of PANEL floats at p; n above PANEL counts as PANEL. */
INLINE void store_row(float *p, const vec *row, ptrdiff_t n) {
  if (n >= PANEL)
    for (int j = 0; j < VECTORS; j++) store(p + j * WIDTH, row[j]);
  else
    for (int j = 0; j < VECTORS && j * WIDTH < n; j++)
      store_n(p + j * WIDTH, row[j], n - j * WIDTH);
}

/* Prefetch PANEL floats at p, which will be read and written after the next product. */
INLINE void prefetch_row(const float *p) {
  for (int j = 0; j < PANEL; j += LINE) __builtin_prefetch(p + j, 1);
}

/* Serves the functions project, weight_gradient and input_gradient of reference.py.
 *
 * C (M, N) = A (M, K) B (K, N), or A^T B for A (K, M), or A B^T for B (N, K). bias (N) is added to
 * each row unless it is NULL. One panel of B at a time is packed and multiplied with all rows of A.
 * packed: scratch of size_of_panels(K, 1) bytes, for one panel. */
void NAME(multiply)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, int transpose_A, int transpose_B,
                    const float *A, const float *B, const float *bias, float *C, float *packed) {
  float sums[MAX_ROWS * PANEL];
  const int block = rows_per_block(M, MAX_ROWS);
  for (ptrdiff_t first = 0; first < N; first += PANEL) {
    const ptrdiff_t columns = min_of(PANEL, N - first);
    vec added[VECTORS] = {{0}};
    if (bias) load_row(bias + first, columns, added);
    pack_panel(transpose_B, K, columns, PANEL, transpose_B ? B + first * K : B + first,
               transpose_B ? K : N, packed);
    for (ptrdiff_t m = 0; m < M; m += block) {
      const int rows = (int)min_of(block, M - m);
      if (transpose_A)
        product_of_transpose(rows, A + m, M, K, packed, sums);
      else
        product(rows, A + m * K, K, K, packed, sums);
      for (int r = 0; r < rows; r++)
        for (int j = 0; j < VECTORS && j * WIDTH < columns; j++)
          store_n(C + (m + r) * N + first + j * WIDTH,
                     load(sums + r * PANEL + j * WIDTH) + added[j], columns - j * WIDTH);
    }
  }
}

/* The operands of the products in native_lstm.h and native_training.h: here the floats themselves.
 * native_bfloat16.h has the same definitions for operands that are rounded to bfloat16.
 *
 * A matrix of operands (T, B, K) has B rows of K numbers for each time step. */
typedef float operand;
#define ROUNDED 0 /* 1: the operands are rounded copies of the floats */
#define BEGIN_PRODUCTS
#define END_PRODUCTS
/* About the number of rows of a panel that are multiplied with all streams before the next rows, so
 * that these rows, 24 kB, stay in the first-level cache. */
#define PANEL_CHUNK (6144 / PANEL)
/* About the number of rows of the gradients that a panel of add_transposed holds. */
#define CHUNK 96

/* The number of operands of a row of K numbers. */
INLINE ptrdiff_t operands(ptrdiff_t K) { return K; }

/* The place of number k of a row in a matrix (T, B, K). */
INLINE ptrdiff_t place_of(ptrdiff_t B, ptrdiff_t K, ptrdiff_t t, ptrdiff_t row, ptrdiff_t k) {
  return (t * B + row) * K + k;
}

/* Write n floats, or the first n floats of a vector, as operands. */
INLINE void round_floats(ptrdiff_t n, const float *from, operand *to) {
  memcpy(to, from, (size_t)n * sizeof(float));
}
INLINE void store_operands(operand *to, vec x, ptrdiff_t n) { store_n(to, x, n); }

/* The number of rows of each chunk of K rows; the last chunk may be shorter. */
INLINE ptrdiff_t chunk_of(ptrdiff_t K) {
  const ptrdiff_t chunks = K > PANEL_CHUNK ? (K + PANEL_CHUNK / 2) / PANEL_CHUNK : 1;
  return (K + chunks - 1) / chunks;
}

/* sums (rows, width) = some rows of a matrix of operands (T, B, K) times a panel of `vectors` vectors.
 * A: the first of the rows. The rows of sums are `stride` floats apart. */
static void multiply_panel(ptrdiff_t rows, int vectors, const operand *A, ptrdiff_t B, ptrdiff_t K,
                           const operand *panel, float *sums, ptrdiff_t stride) {
  const ptrdiff_t chunk = chunk_of(K);
  (void)B;
  for (ptrdiff_t k = 0; k < K; k += chunk)
    product_of_rows(rows, vectors, k == 0,
                    (Factors){A + k, panel + k * vectors * WIDTH, K, 1, min_of(chunk, K - k), 1, 0},
                    sums, stride);
}

/* Pack n rows (up to UNITS) of a panel from columns of W (columns, n), and zeros up to UNITS rows. */
INLINE void pack_rows_of_units(ptrdiff_t n, ptrdiff_t columns, ptrdiff_t width, const float *W,
                               ptrdiff_t stride, operand *packed) {
  pack_panel(1, n, columns, width, W, stride, packed);
  memset(packed + n * width, 0, (size_t)((UNITS - n) * width) * sizeof(operand));
}

/* A matrix of gradients of gates (T, blocks, B, 4, UNITS) is its own matrix of operands. */
#define GATES_OF_ROW (4 * UNITS) /* neighbouring operands of a row */

/* Like multiply_panel, for rows of a matrix of gradients of gates; K = blocks * 4 * UNITS. */
static void multiply_panel_of_gates(ptrdiff_t rows, int vectors, const operand *A, ptrdiff_t B,
                                    ptrdiff_t K, const operand *panel, float *sums,
                                    ptrdiff_t stride) {
  const ptrdiff_t most = PANEL_CHUNK < GATES_OF_ROW ? 1 : PANEL_CHUNK / GATES_OF_ROW;
  for (ptrdiff_t k = 0; k < K; k += most * GATES_OF_ROW) {
    const ptrdiff_t pieces = min_of(most, (K - k) / GATES_OF_ROW);
    product_of_rows(rows, vectors, k == 0,
                    (Factors){A + k * B, panel + k * vectors * WIDTH, GATES_OF_ROW, 1, GATES_OF_ROW,
                              pieces, GATES_OF_ROW * B},
                    sums, stride);
  }
}

/* Not used, because the gradients of gates are their own operands. See native_bfloat16.h. */
INLINE void round_gates(ptrdiff_t B, const float *gates, operand *to) {
  (void)B, (void)gates, (void)to;
}

/* The number of rows of a panel of B streams, for add_transposed. */
INLINE ptrdiff_t rows_of_step(ptrdiff_t B) { return B; }

/* Pack a panel for add_transposed from a matrix of B rows for each of some time steps, which lie `jump`
 * floats apart; its rows lie `stride` floats apart. Missing columns become zeros. */
static void pack_steps(ptrdiff_t steps, ptrdiff_t B, ptrdiff_t columns, ptrdiff_t width,
                       const float *from, ptrdiff_t jump, ptrdiff_t stride, operand *panel) {
  for (ptrdiff_t t = 0; t < steps; t++)
    pack_panel(0, B, columns, width, from + t * jump, stride, panel + t * B * width);
}

/* Add the product of the transpose of A (steps * B, rows) and a panel of `vectors` vectors to sums
 * (rows, vectors * WIDTH), whose rows are `width` floats apart. The rows of A are `lda` floats apart.
 * fresh: 1 if the sums start from zero, else 0. columns: not used; see native_bfloat16.h. */
static void add_transposed(ptrdiff_t rows, int vectors, int fresh, const operand *A, ptrdiff_t lda,
                           const operand *columns, ptrdiff_t stride, ptrdiff_t steps, ptrdiff_t B,
                           const operand *panel, float *sums, ptrdiff_t width) {
  (void)columns, (void)stride;
  product_of_rows(rows, vectors, fresh, (Factors){A, panel, 1, lda, steps * B, 1, 0}, sums, width);
}
