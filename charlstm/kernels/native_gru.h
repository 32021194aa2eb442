/* The GRU recurrence over a window, fused: the twin of gru_forward and gru_backward in reference.py.
 * T steps, B lanes, H units.
 *
 * In the forward pass three panels in a row are the gates r z n of the same PANEL units, so that
 * panels of two vectors serve as well as those of four. As in the LSTM, the arithmetic of the gates
 * runs over a small block of sums after the products.
 */
/* What the sums (3 gates, rows, PANEL) do to the units of a panel, of which so many are there: for
 * some lanes, the gates a (rows, 3H), whose pre-activations lack the sums, become r z n; candidate
 * and next_h (rows, H) are written. bn (units); h (rows, H). */
INLINE void advance_gru_units(int rows, ptrdiff_t units, ptrdiff_t H,
                              float sums[3][MOST_ROWS * PANEL], float *a, const float *bn,
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
    for (int j = 0; j < 2 * VECTORS; j += 4) activate(4, 4, gates + j); /* all of r and z */
    for (int j = 0; j < VECTORS; j++) n[j] += r[j] * m[j];
    activate(0, VECTORS, n);
    for (int j = 0; j < VECTORS; j++) state[j] = n[j] + z[j] * (state[j] - n[j]);
    for (int gate = 0; gate < 3; gate++) store_row(a + gate * H, gates + gate * VECTORS, units);
    store_row(candidate, m, units);
    store_row(next_h, state, units);
  }
}

/* gates (T, B, 3H): x Wx + b, becomes r z n. h (T+1, B, H): row 0 given. candidate (T, B, H):
 * written, (h Wh)_n + bn. packed: room for ceil(H / PANEL) * PANEL * 3H floats. */
void NAME(gru_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *h,
                       float *candidate, const float *Wh, const float *bn, float *packed) {
  float sums[3][MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B, MOST_ROWS);
  const ptrdiff_t panel = H * PANEL; /* floats */
  for (ptrdiff_t first = 0; first < H; first += PANEL)
    for (ptrdiff_t gate = 0; gate < 3; gate++)
      pack_panel(0, H, H - first, Wh + gate * H + first, 3 * H,
                 packed + first * 3 * H + gate * panel);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        const ptrdiff_t lane = t * B + row, before = lane * H + first;
        float *a = gates + lane * 3 * H + first;
        for (int r = 0; r < rows; r++) {
          for (int gate = 0; gate < 3; gate++) prefetch_row(a + (r * 3 + gate) * H);
          prefetch_row(candidate + before + r * H);
          prefetch_row(h + before + (B + r) * H);
        }
        for (int gate = 0; gate < 3; gate++)
          product(rows, h + lane * H, H, H, packed + first * 3 * H + gate * panel, sums[gate]);
        advance_gru_units(rows, H - first, H, sums, a, bn + first, h + before,
                          candidate + before, h + before + B * H);
      }
    }
  }
}

/* One lane's gates a (3H), r z n, become the gradient of x Wx + b; candidate (H) that of
 * (h Wh)_n + bn. dh (H): the gradient of h from the step after, to which dh_out is added; becomes
 * what reaches h directly, past the gates. h: the state before. */
INLINE void gru_gate_gradients(ptrdiff_t H, float *a, float *dh, const float *dh_out,
                               const float *h, float *candidate) {
  for (ptrdiff_t unit = 0; unit < H; unit += WIDTH) {
    const ptrdiff_t left = H - unit;
    vec r = load_part(a + unit, left), z = load_part(a + H + unit, left);
    vec n = load_part(a + 2 * H + unit, left), m = load_part(candidate + unit, left);
    vec dh_now = load_part(dh + unit, left) + load_part(dh_out + unit, left);
    vec dn = dh_now * (1.0f - z) * (1.0f - n * n), dm = dn * r;
    store_part(a + unit, dm * m * (1.0f - r), left);
    store_part(a + H + unit, dh_now * (load_part(h + unit, left) - n) * z * (1.0f - z), left);
    store_part(a + 2 * H + unit, dn, left);
    store_part(candidate + unit, dm, left);
    store_part(dh + unit, dh_now * z, left);
  }
}

/* gates (T, B, 3H): r z n, becomes the gradient of x Wx + b. dh (B, H): in, what reaches the last
 * state from outside; out, the gradient of the state before the window. dh_out (T, B, H),
 * h (T+1, B, H). candidate (T, B, H): becomes the gradient of (h Wh)_n + bn. packed: as in
 * gru_forward. */
void NAME(gru_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *dh,
                        const float *dh_out, const float *h, float *candidate, const float *Wh,
                        float *packed) {
  float sums[MOST_ROWS * PANEL], candidate_sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B, MOST_ROWS);
  pack_transpose(H, 3 * H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      const ptrdiff_t lane = t * B + row;
      gru_gate_gradients(H, gates + lane * 3 * H, dh + row * H, dh_out + lane * H, h + lane * H,
                         candidate + lane * H);
    }
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      const float *panel = packed + first * 3 * H;
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        const ptrdiff_t lane = t * B + row;
        /* h reaches r and z through their sums, but n through the candidate */
        product(rows, gates + lane * 3 * H, 3 * H, 2 * H, panel, sums);
        product(rows, candidate + lane * H, H, H, panel + 2 * H * PANEL, candidate_sums);
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
