/* Products of a few rows with weights in panels: what training and sampling spend their time in.
 *
 * Weights are packed into panels a few vectors wide, in the order in which they are read: panel
 * after panel, in each row after row. With 16 registers, six rows by two vectors beat three rows by
 * four: a panel that streams from the second-level cache is read half as often.
 */
#define PANEL (VECTORS * WIDTH) /* columns of a panel */

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
