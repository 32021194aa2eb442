/* The GRU recurrence over a window of T time steps, B streams and H units, forward and backward:
 * the products and the gates of a step in one pass. The results are those of gru_forward and
 * gru_backward in reference.py.
 *
 * In the forward pass, three consecutive panels are the gates r z n of the same PANEL units. As in
 * the LSTM, the arithmetic of the gates runs over a block of sums after the products.
 */
/* Compute one time step of a block of streams, for the first `units` of PANEL units (all if units >
 * PANEL).
 *
 * sums (3, rows, PANEL): h_{t-1} Wh for r, z and n. a (rows, 3H): in, x_t Wx + b; out, r z n.
 * bn (H). h (rows, H): the state before the step. candidate (rows, H): overwritten with
 * (h_{t-1} Wh)_n + bn. next_h (rows, H): overwritten with the state after the step. */
INLINE void advance_gru_units(int rows, ptrdiff_t units, ptrdiff_t H,
                              float sums[3][MAX_ROWS * PANEL], float *a, const float *bn,
                              const float *h, float *candidate, float *next_h) {
  vec bias[VECTORS];
  load_row(bn, units, bias);
  for (int row = 0; row < rows; row++, a += 3 * H, h += H, candidate += H, next_h += H) {
    vec gates[3 * VECTORS], *r = gates, *z = r + VECTORS, *n = z + VECTORS;
    vec m[VECTORS], state[VECTORS];
    for (int gate = 0; gate < 3; gate++) load_row(a + gate * H, units, gates + gate * VECTORS);
    load_row(h, units, state);
    for (int j = 0; j < VECTORS; j++) {
      const int column = row * PANEL + j * WIDTH;
      r[j] += load(sums[0] + column);
      z[j] += load(sums[1] + column);
      m[j] = load(sums[2] + column) + bias[j];
    }
    for (int j = 0; j < 2 * VECTORS; j += 4) activate(4, 4, gates + j); /* r and z */
    for (int j = 0; j < VECTORS; j++) n[j] += r[j] * m[j];
    activate(0, VECTORS, n);
    for (int j = 0; j < VECTORS; j++) state[j] = n[j] + z[j] * (state[j] - n[j]);
    for (int gate = 0; gate < 3; gate++) store_row(a + gate * H, gates + gate * VECTORS, units);
    store_row(candidate, m, units);
    store_row(next_h, state, units);
  }
}

/* gates (T, B, 3H): in, x Wx + b; out, r z n. h (T+1, B, H): row 0 is given, the others are
 * written. candidate (T, B, H): overwritten with (h_{t-1} Wh)_n + bn. packed: scratch of
 * size_of_panels(3H, H) bytes, for the panels of Wh. */
void NAME(gru_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *h,
                       float *candidate, const float *Wh, const float *bn, float *packed) {
  float sums[3][MAX_ROWS * PANEL];
  const int block = rows_per_block(B, MAX_ROWS);
  const ptrdiff_t panel = H * PANEL; /* floats in a panel */
  for (ptrdiff_t first = 0; first < H; first += PANEL)
    for (ptrdiff_t gate = 0; gate < 3; gate++)
      pack_panel(0, H, H - first, PANEL, Wh + gate * H + first, 3 * H,
                 packed + first * 3 * H + gate * panel);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
        const ptrdiff_t at = t * B + row, before = at * H + first;
        float *a = gates + at * 3 * H + first;
        for (int r = 0; r < rows; r++) {
          for (int gate = 0; gate < 3; gate++) prefetch_row(a + (r * 3 + gate) * H);
          prefetch_row(candidate + before + r * H);
          prefetch_row(h + before + (B + r) * H);
        }
        for (int gate = 0; gate < 3; gate++)
          product(rows, h + at * H, H, H, packed + first * 3 * H + gate * panel, sums[gate]);
        advance_gru_units(rows, H - first, H, sums, a, bn + first, h + before,
                          candidate + before, h + before + B * H);
      }
    }
  }
}

/* Back-propagate through one time step of one stream. All arrays have H elements, but a has 3H.
 *
 * a: in, r z n; out, the gradient of x_t Wx + b. candidate: in, (h_{t-1} Wh)_n + bn; out, the
 * gradient of these values. dh: in, the gradient of h_t from the step after; out, the share of
 * h_{t-1}'s gradient that does not pass through the gates. dh_out: the gradient of h_t from the
 * layer above. h: h_{t-1}. */
INLINE void gru_gate_gradients(ptrdiff_t H, float *a, float *dh, const float *dh_out,
                               const float *h, float *candidate) {
  for (ptrdiff_t unit = 0; unit < H; unit += WIDTH) {
    const ptrdiff_t left = H - unit;
    vec r = load_n(a + unit, left), z = load_n(a + H + unit, left);
    vec n = load_n(a + 2 * H + unit, left), m = load_n(candidate + unit, left);
    vec dh_now = load_n(dh + unit, left) + load_n(dh_out + unit, left);
    vec dn = dh_now * (1.0f - z) * (1.0f - n * n), dm = dn * r;
    store_n(a + unit, dm * m * (1.0f - r), left);
    store_n(a + H + unit, dh_now * (load_n(h + unit, left) - n) * z * (1.0f - z), left);
    store_n(a + 2 * H + unit, dn, left);
    store_n(candidate + unit, dm, left);
    store_n(dh + unit, dh_now * z, left);
  }
}

/* gates (T, B, 3H): in, r z n; out, the gradient of x Wx + b. dh (B, H): in, the gradient of the
 * state after the window; out, the gradient of the state before the window.
 * dh_out (T, B, H): the gradient of each h_t from the layer above. h (T+1, B, H): as gru_forward
 * left it. candidate (T, B, H): in, as gru_forward left it; out, the gradient of these values.
 * packed: scratch as in gru_forward. */
void NAME(gru_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *dh,
                        const float *dh_out, const float *h, float *candidate, const float *Wh,
                        float *packed) {
  float sums[MAX_ROWS * PANEL], candidate_sums[MAX_ROWS * PANEL];
  const int block = rows_per_block(B, MAX_ROWS);
  pack_transpose(H, 3 * H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      const ptrdiff_t at = t * B + row;
      gru_gate_gradients(H, gates + at * 3 * H, dh + row * H, dh_out + at * H, h + at * H,
                         candidate + at * H);
    }
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      const float *panel = packed + first * 3 * H;
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
        const ptrdiff_t at = t * B + row;
        /* The gradient of h_{t-1} comes through r, z and the recurrent input of the candidate. */
        product(rows, gates + at * 3 * H, 3 * H, 2 * H, panel, sums);
        product(rows, candidate + at * H, H, H, panel + 2 * H * PANEL, candidate_sums);
        for (int r = 0; r < rows; r++) {
          float *to = dh + (row + r) * H + first;
          vec x[VECTORS];
          load_row(to, H - first, x);
          for (int j = 0; j < VECTORS; j++) {
            const int column = r * PANEL + j * WIDTH;
            x[j] += load(sums + column) + load(candidate_sums + column);
          }
          store_row(to, x, H - first);
        }
      }
    }
  }
}
