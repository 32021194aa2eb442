/* The LSTM recurrence over a window of T time steps, B streams and H units, forward and backward:
 * the products and the gates of a step in one pass. The results are those of lstm_forward and
 * lstm_backward in reference.py, which has the equations.
 */

/* Number of streams whose sums are computed before their gates. */
#define ROWS_AT_ONCE MAX_GATE_ROWS
/* About the number of rows of a panel that are multiplied with all streams before the next rows, so
 * that these rows stay in the first-level cache. */
#define CHUNK 96

/* The number of rows of each chunk of K rows; the last chunk may be shorter. */
INLINE ptrdiff_t chunk_of(ptrdiff_t K) {
  const ptrdiff_t chunks = K > CHUNK ? (K + CHUNK / 2) / CHUNK : 1;
  return (K + chunks - 1) / chunks;
}

/* sums (rows, width) = A (rows, K), whose rows are `lda` floats apart, times a panel of `vectors`
 * vectors. The rows of sums are `stride` floats apart. */
static void product_in_chunks(ptrdiff_t rows, int vectors, const float *A, ptrdiff_t lda,
                              ptrdiff_t K, const float *panel, float *sums, ptrdiff_t stride) {
  const ptrdiff_t chunk = chunk_of(K);
  for (ptrdiff_t k = 0; k < K; k += chunk)
    product_of_rows(rows, vectors, k == 0, A + k, lda, 1, min_of(chunk, K - k),
                    panel + k * vectors * WIDTH, sums, stride);
}

/* The forward pass of a part: see lstm_forward. packed: scratch for size_of_gate_panels(H, units)
 * bytes. Ends early if the team is to stop. */
static void forward_part(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates, float *h,
                         float *c, float *tanh_c, const float *Wh, const Part *part,
                         float *packed) {
  float sums[ROWS_AT_ONCE * GATES];
  const ptrdiff_t stop = part->unit + part->units;
  const int block = rows_per_block(part->rows, ROWS_AT_ONCE);
  pack_units(H, H, part->unit, stop, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    if (meet(part->team)) return; /* the step reads all units of the step before */
    for (ptrdiff_t first = part->unit; first < stop; first += WIDTH) {
      const float *panels = packed + (first - part->unit) * 4 * H;
      for (ptrdiff_t row = part->row; row < part->row + part->rows; row += block) {
        const int rows = (int)min_of(block, part->row + part->rows - row);
        const ptrdiff_t before = (t * B + row) * H + first, after = before + B * H;
        float *a = gates + (t * B + row) * 4 * H + first;
        prefetch_units(rows, H, a, c + before, c + after, tanh_c + before, h + after);
        for (int gate = 0; gate < 4; gate += VECTORS)
          product_in_chunks(rows, VECTORS, h + (t * B + row) * H, H, H,
                            panels + gate * WIDTH * H, sums + gate * WIDTH, GATES);
        advance_units(rows, H - first, H, capped, sums, a, c + before, c + after, tanh_c + before,
                      h + after);
      }
    }
  }
}

/* gates (T, B, 4H): in, x Wx + b; out, i f o g. h, c (T+1, B, H): row 0 is given, the others are
 * written. tanh_c (T, B, H): written. Wh (H, 4H). capped: min(i, 1 - f) takes the place of i.
 * packed: scratch of size_of_gate_panels(H, H) bytes, for the panels of Wh. */
void NAME(lstm_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates, float *h,
                        float *c, float *tanh_c, const float *Wh, float *packed) {
  Team alone = {.members = 1};
  const Part all = {0, B, 0, H, &alone};
  forward_part(T, B, H, capped, gates, h, c, tanh_c, Wh, &all, packed);
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

/* The backward pass of a part: see lstm_backward. dh_out has rows `stride` floats apart. needs_dh: 0
 * leaves out the gradient dh of the state before the window. packed: scratch for the columns of the
 * units, padded to a multiple of WIDTH, times 4H floats. Ends early if the team is to stop. */
static void backward_part(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                          float *dh, float *dc, const float *dh_out, ptrdiff_t stride,
                          const float *c, const float *tanh_c, const float *Wh, int needs_dh,
                          const Part *part, float *packed) {
  float sums[ROWS_AT_ONCE * PANEL];
  const ptrdiff_t unit = part->unit, panels = panel_count(part->units);
  const int block = rows_per_block(part->rows, ROWS_AT_ONCE);
  for (ptrdiff_t p = 0; p < panels; p++) {
    const ptrdiff_t first = panel_start(part->units, p);
    pack_panel(1, 4 * H, part->units - first, panel_start(part->units, p + 1) - first,
               Wh + (unit + first) * 4 * H, 4 * H, packed + first * 4 * H);
  }
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = part->row; row < part->row + part->rows; row++) {
      const ptrdiff_t at = t * B + row;
      gate_gradients(H, unit, unit + part->units, capped, gates + at * 4 * H, dh + row * H,
                     dc + row * H, dh_out + at * stride, c + at * H, tanh_c + at * H);
    }
    if (meet(part->team)) return; /* the product reads the gradients of all units */
    if (t == 0 && !needs_dh) return;
    for (ptrdiff_t p = 0; p < panels; p++) {
      const ptrdiff_t first = panel_start(part->units, p);
      const int vectors = (int)((panel_start(part->units, p + 1) - first) / WIDTH);
      for (ptrdiff_t row = part->row; row < part->row + part->rows; row += block) {
        const int rows = (int)min_of(block, part->row + part->rows - row);
        product_in_chunks(rows, vectors, gates + (t * B + row) * 4 * H, 4 * H, 4 * H,
                          packed + first * 4 * H, sums, PANEL);
        for (int r = 0; r < rows; r++)
          for (ptrdiff_t j = 0; j < vectors * WIDTH; j += WIDTH)
            store_n(dh + (row + r) * H + unit + first + j, load(sums + r * PANEL + j),
                    part->units - first - j);
      }
    }
  }
}

/* gates (T, B, 4H): in, i f o g; out, the gradient of x Wx + b. dh, dc (B, H): in, the gradient
 * of the state after the window; out, the gradient of the state before the window.
 * dh_out (T, B, H): the gradient of each h_t from the layer above. c (T+1, B, H), tanh_c (T, B, H):
 * as lstm_forward left them. packed: scratch of size_of_panels(4H, H) bytes, for the panels of the
 * transpose of Wh. */
void NAME(lstm_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                         float *dh, float *dc, const float *dh_out, const float *c,
                         const float *tanh_c, const float *Wh, float *packed) {
  Team alone = {.members = 1};
  const Part all = {0, B, 0, H, &alone};
  backward_part(T, B, H, capped, gates, dh, dc, dh_out, H, c, tanh_c, Wh, 1, &all, packed);
}
