/* The LSTM recurrence over a window of T time steps, B streams and H units, forward and backward:
 * the products and the gates of a step in one pass. The results are those of lstm_forward and
 * lstm_backward in reference.py, which has the equations.
 *
 * This file is included for float32 after native_product.h, and for bfloat16 after native_bfloat16.h.
 * Both define operands, panels and their products. Gates, states and sums are float32 in both.
 */

/* Number of streams whose sums are computed before their gates. */
#define ROWS_AT_ONCE MAX_GATE_ROWS
#define ALIGNED __attribute__((aligned(64)))

/* The forward pass of a part: see lstm_forward. h_rows (T+1, B, operands(H)): the operands of h, of
 * which row 0 is given; they are h itself unless ROUNDED. packed: scratch for 4 * operands(H)
 * operands for each unit of the part, padded to a multiple of WIDTH units. Ends early if the team is
 * to stop. */
static void forward_part(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates, float *h,
                         operand *h_rows, float *c, float *tanh_c, const float *Wh,
                         const Part *part, operand *packed) {
  float sums[ROWS_AT_ONCE * GATES] ALIGNED;
  const ptrdiff_t stop = part->unit + part->units, K = operands(H);
  const int block = rows_per_block(part->rows, ROWS_AT_ONCE);
  pack_units(H, H, part->unit, stop, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    if (meet(part->team)) return; /* the step reads all units of the step before */
    for (ptrdiff_t first = part->unit; first < stop; first += WIDTH) {
      const operand *panels = packed + (first - part->unit) * 4 * K;
      for (ptrdiff_t row = part->row; row < part->row + part->rows; row += block) {
        const int rows = (int)min_of(block, part->row + part->rows - row);
        const ptrdiff_t before = (t * B + row) * H + first, after = before + B * H;
        float *a = gates + (t * B + row) * 4 * H + first;
        prefetch_units(rows, H, a, c + before, c + after, tanh_c + before, h + after);
        for (int gate = 0; gate < 4; gate += VECTORS)
          multiply_panel(rows, VECTORS, h_rows + (t * B + row) * K, K, K, panels + gate * WIDTH * K,
                         sums + gate * WIDTH, GATES);
        advance_units(rows, H - first, H, capped, sums, a, c + before, c + after, tanh_c + before,
                      h + after);
        for (int r = 0; ROUNDED && r < rows; r++)
          round_floats(min_of(WIDTH, H - first), h + after + r * H,
                       h_rows + ((t + 1) * B + row + r) * K + first);
      }
    }
  }
}

/* The number of panels of N columns. All panels have nearly the same number of vectors, so that the
 * last one is hardly filled up with zeros. */
INLINE ptrdiff_t panel_count(ptrdiff_t N) {
  return ((N + WIDTH - 1) / WIDTH + VECTORS - 1) / VECTORS;
}

/* The first column of panel p of N columns; for p = panel_count(N), N or more. */
INLINE ptrdiff_t panel_start(ptrdiff_t N, ptrdiff_t p) {
  return (N + WIDTH - 1) / WIDTH * p / panel_count(N) * WIDTH;
}

/* Pack a panel of the transpose of W (columns, 4H), for a product with the operands of the four gates:
 * (4 * operands(H), width). */
INLINE void pack_panel_of_gates(ptrdiff_t H, ptrdiff_t columns, ptrdiff_t width, const float *W,
                                operand *packed) {
  for (ptrdiff_t gate = 0; gate < 4; gate++)
    pack_panel(1, H, columns, width, W + gate * H, 4 * H, packed + gate * operands(H) * width);
}

/* The backward pass of a part: see lstm_backward. d_rows (T, B, 4, operands(H)): written, the operands
 * of the gradients of the gates; they are the gates themselves unless ROUNDED. dh_out has rows
 * `stride` floats apart. needs_dh: 0 leaves out the gradient dh of the state before the window.
 * packed: scratch as in forward_part. Ends early if the team is to stop. */
static void backward_part(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                          operand *d_rows, float *dh, float *dc, const float *dh_out,
                          ptrdiff_t stride, const float *c, const float *tanh_c, const float *Wh,
                          int needs_dh, const Part *part, operand *packed) {
  float sums[ROWS_AT_ONCE * PANEL] ALIGNED;
  const ptrdiff_t unit = part->unit, panels = panel_count(part->units), K = 4 * operands(H);
  const int block = rows_per_block(part->rows, ROWS_AT_ONCE);
  for (ptrdiff_t p = 0; p < panels; p++) {
    const ptrdiff_t first = panel_start(part->units, p);
    pack_panel_of_gates(H, part->units - first, panel_start(part->units, p + 1) - first,
                        Wh + (unit + first) * 4 * H, packed + first * K);
  }
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = part->row; row < part->row + part->rows; row++) {
      const ptrdiff_t at = t * B + row;
      gate_gradients(H, unit, unit + part->units, capped, gates + at * 4 * H, dh + row * H,
                     dc + row * H, dh_out + at * stride, c + at * H, tanh_c + at * H);
      for (ptrdiff_t gate = 0; ROUNDED && gate < 4; gate++)
        round_floats(part->units, gates + (at * 4 + gate) * H + unit,
                     d_rows + at * K + gate * operands(H) + unit);
    }
    if (meet(part->team)) return; /* the product reads the gradients of all units */
    if (t == 0 && !needs_dh) return;
    for (ptrdiff_t p = 0; p < panels; p++) {
      const ptrdiff_t first = panel_start(part->units, p);
      const int vectors = (int)((panel_start(part->units, p + 1) - first) / WIDTH);
      for (ptrdiff_t row = part->row; row < part->row + part->rows; row += block) {
        const int rows = (int)min_of(block, part->row + part->rows - row);
        multiply_panel(rows, vectors, d_rows + (t * B + row) * K, K, K, packed + first * K, sums,
                       PANEL);
        for (int r = 0; r < rows; r++)
          for (ptrdiff_t j = 0; j < vectors * WIDTH; j += WIDTH)
            store_n(dh + (row + r) * H + unit + first + j, load(sums + r * PANEL + j),
                    part->units - first - j);
      }
    }
  }
}

/* Operands of a matrix of `rows` rows with `count` operands each. A product may read up to
 * MAX_GATE_ROWS rows beyond the last one. */
INLINE ptrdiff_t matrix_of_operands(ptrdiff_t rows, ptrdiff_t count) {
  return ROUNDED ? (rows + MAX_GATE_ROWS) * count : 0;
}

/* Bytes of scratch for lstm_forward or lstm_backward. */
ptrdiff_t NAME(size_of_lstm)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H) {
  const ptrdiff_t of_unit = 4 * operands(H);
  return (padded(H, WIDTH) * of_unit + matrix_of_operands((T + 1) * B, of_unit)) *
         (ptrdiff_t)sizeof(operand);
}

/* gates (T, B, 4H): in, x Wx + b; out, i f o g. h, c (T+1, B, H): row 0 is given, the others are
 * written. tanh_c (T, B, H): written. Wh (H, 4H). capped: min(i, 1 - f) takes the place of i.
 * scratch: size_of_lstm(T, B, H) bytes. */
void NAME(lstm_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates, float *h,
                        float *c, float *tanh_c, const float *Wh, void *scratch) {
  Team alone = {.members = 1};
  const Part all = {0, B, 0, H, &alone};
  const ptrdiff_t K = operands(H), size = matrix_of_operands((T + 1) * B, K);
  operand *h_rows = ROUNDED ? scratch : (void *)h, *packed = (operand *)scratch + size;
  if (ROUNDED) memset(h_rows, 0, (size_t)size * sizeof(operand));
  for (ptrdiff_t row = 0; ROUNDED && row < B; row++) round_floats(H, h + row * H, h_rows + row * K);
  BEGIN_PRODUCTS;
  forward_part(T, B, H, capped, gates, h, h_rows, c, tanh_c, Wh, &all, packed);
  END_PRODUCTS;
}

/* gates (T, B, 4H): in, i f o g; out, the gradient of x Wx + b. dh, dc (B, H): in, the gradient
 * of the state after the window; out, the gradient of the state before the window.
 * dh_out (T, B, H): the gradient of each h_t from the layer above. c (T+1, B, H), tanh_c (T, B, H):
 * as lstm_forward left them. scratch: size_of_lstm(T, B, H) bytes. */
void NAME(lstm_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                         float *dh, float *dc, const float *dh_out, const float *c,
                         const float *tanh_c, const float *Wh, void *scratch) {
  Team alone = {.members = 1};
  const Part all = {0, B, 0, H, &alone};
  const ptrdiff_t size = matrix_of_operands(T * B, 4 * operands(H));
  operand *d_rows = ROUNDED ? scratch : (void *)gates, *packed = (operand *)scratch + size;
  if (ROUNDED) memset(d_rows, 0, (size_t)size * sizeof(operand));
  BEGIN_PRODUCTS;
  backward_part(T, B, H, capped, gates, d_rows, dh, dc, dh_out, H, c, tanh_c, Wh, 1, &all, packed);
  END_PRODUCTS;
}
