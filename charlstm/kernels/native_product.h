/* Products of a few rows with weights in panels: what training and sampling spend their time in.
 *
 * Weights are packed into panels a few vectors wide, in the order in which they are read: panel
 * after panel, in each row after row. With 16 registers, six rows by two vectors beat three rows by
 * four: a panel that streams from the second-level cache is read half as often.
 */
#define PANEL (VECTORS * WIDTH) /* columns of a panel */
#define LINE 16                 /* floats of a cache line */

/* sums (rows, PANEL) = A (rows, K) times a panel (K, PANEL). The element (r, k) of A lies at
 * A[r * lda + k * step], so that A may be a transpose; the rows of sums are `stride` apart. */
INLINE void product_of(const int rows, const float *A, ptrdiff_t lda, ptrdiff_t step, ptrdiff_t K,
                       const float *panel, float *sums, const int stride) {
  vec acc[MOST_ROWS][VECTORS];
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < VECTORS; j++) acc[r][j] = (vec){0};
  for (ptrdiff_t k = 0; k < K; k++, panel += PANEL) {
    vec w[VECTORS];
    for (int j = 0; j < VECTORS; j++) w[j] = load(panel + j * WIDTH);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      float a = A[r * lda + k * step];
      for (int j = 0; j < VECTORS; j++) acc[r][j] += a * w[j];
    }
  }
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < VECTORS; j++) store(sums + r * stride + j * WIDTH, acc[r][j]);
}

/* The same for a number of rows that is known only now, up to MOST_ROWS. */
INLINE void product_with(int rows, const float *A, ptrdiff_t lda, ptrdiff_t step, ptrdiff_t K,
                         const float *panel, float *sums, const int stride) {
  switch (rows) {
    case 1: product_of(1, A, lda, step, K, panel, sums, stride); break;
    case 2: product_of(2, A, lda, step, K, panel, sums, stride); break;
    case 3: product_of(3, A, lda, step, K, panel, sums, stride); break;
    case 4: product_of(4, A, lda, step, K, panel, sums, stride); break;
    case 5: product_of(5, A, lda, step, K, panel, sums, stride); break;
    case 6: product_of(6, A, lda, step, K, panel, sums, stride); break;
  }
}

static void product(int rows, const float *A, ptrdiff_t lda, ptrdiff_t K, const float *panel,
                    float *sums) {
  product_with(rows, A, lda, 1, K, panel, sums, PANEL);
}

static void product_of_transpose(int rows, const float *A, ptrdiff_t lda, ptrdiff_t K,
                                 const float *panel, float *sums) {
  product_with(rows, A, 1, lda, K, panel, sums, PANEL);
}

/* sums (rows, GATES) = x (rows, K) times the gates of WIDTH units, packed by pack_gates. */
static void product_of_gates(int rows, const float *x, ptrdiff_t K, const float *panels,
                             float *sums) {
  for (int first = 0; first < GATES; first += PANEL, panels += K * PANEL)
    product_with(rows, x, K, 1, K, panels, sums + first, GATES);
}

/* W (K, 4H) to panels of WIDTH units: (ceil(H / WIDTH), 4 / VECTORS, K, VECTORS gates, WIDTH). */
void NAME(pack_gates)(ptrdiff_t K, ptrdiff_t H, const float *W, float *packed) {
  for (ptrdiff_t first = 0; first < H; first += WIDTH)
    for (ptrdiff_t gate = 0; gate < 4; gate += VECTORS)
      for (ptrdiff_t k = 0; k < K; k++)
        for (ptrdiff_t j = 0; j < VECTORS; j++, packed += WIDTH)
          store(packed, load_part(W + (k * 4 + gate + j) * H + first, H - first));
}

/* One panel (K, PANEL) of so many columns, and zeros: of W (K, columns), or of the transpose of W
 * (columns, K); the rows of W are `stride` apart. A transpose is read LINE floats at a time: with
 * rows apart by a power of two, all that start in one column have one place in the cache. */
INLINE void pack_panel(int transposed, ptrdiff_t K, ptrdiff_t columns, const float *W,
                       ptrdiff_t stride, float *packed) {
  columns = least(PANEL, columns);
  for (ptrdiff_t k = 0; k < K; k += LINE, packed += LINE * PANEL) {
    const ptrdiff_t rows = least(LINE, K - k);
    if (columns < PANEL) memset(packed, 0, (size_t)(rows * PANEL) * sizeof(float));
    if (transposed)
      for (ptrdiff_t j = 0; j < columns; j++)
        for (ptrdiff_t r = 0; r < rows; r++) packed[r * PANEL + j] = W[j * stride + k + r];
    else
      for (ptrdiff_t r = 0; r < rows; r++)
        memcpy(packed + r * PANEL, W + (k + r) * stride, (size_t)columns * sizeof(float));
  }
}

/* W (K, N) to panels: (ceil(N / PANEL), K, PANEL). */
void NAME(pack_columns)(ptrdiff_t K, ptrdiff_t N, const float *W, float *packed) {
  for (ptrdiff_t first = 0; first < N; first += PANEL, packed += K * PANEL)
    pack_panel(0, K, N - first, W + first, N, packed);
}

/* The transpose of W (H, N) to panels: (ceil(H / PANEL), N, PANEL). */
static void pack_transpose(ptrdiff_t H, ptrdiff_t N, const float *W, float *packed) {
  for (ptrdiff_t first = 0; first < H; first += PANEL, packed += N * PANEL)
    pack_panel(1, N, H - first, W + first * N, N, packed);
}

/* As many floats as a panel has columns, or the first n of them and zeros. */
INLINE void load_row(const float *p, ptrdiff_t n, vec *row) {
  if (n >= PANEL)
    for (int j = 0; j < VECTORS; j++) row[j] = load(p + j * WIDTH);
  else
    for (int j = 0; j < VECTORS; j++)
      row[j] = j * WIDTH < n ? load_part(p + j * WIDTH, n - j * WIDTH) : (vec){0};
}

INLINE void store_row(float *p, const vec *row, ptrdiff_t n) {
  if (n >= PANEL)
    for (int j = 0; j < VECTORS; j++) store(p + j * WIDTH, row[j]);
  else
    for (int j = 0; j < VECTORS && j * WIDTH < n; j++)
      store_part(p + j * WIDTH, row[j], n - j * WIDTH);
}

/* Ask for as many floats as a panel has columns, before a product, for the arithmetic after it. */
INLINE void prefetch_row(const float *p) {
  for (int j = 0; j < PANEL; j += LINE) __builtin_prefetch(p + j, 1);
}
