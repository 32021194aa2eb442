/* The LSTM recurrence over a window, fused: the twin of lstm_forward and lstm_backward in
 * reference.py. T steps, B lanes, H units.
 *
 * In the forward pass four neighbouring vectors of a product are the four gates i f o g of the same
 * WIDTH units, in one panel or in two, so that the arithmetic of the gates finds them side by side.
 * It runs over a small block of sums after the product, not inside it, where it would push the
 * accumulators out of the registers.
 */
/* Wh^T (4H, H) to panels of PANEL columns: (ceil(H / PANEL), 4H, PANEL). */
static void pack_backward(ptrdiff_t H, const float *Wh, float *packed) {
  for (ptrdiff_t first = 0; first < H; first += PANEL) {
    ptrdiff_t columns = least(PANEL, H - first);
    for (ptrdiff_t k = 0; k < 4 * H; k++, packed += PANEL) {
      for (ptrdiff_t j = 0; j < columns; j++) packed[j] = Wh[(first + j) * 4 * H + k];
      for (ptrdiff_t j = columns; j < PANEL; j++) packed[j] = 0;
    }
  }
}

/* What the product's sums (rows, GATES) do to WIDTH units of some lanes, n of which are there: the
 * gates a (rows, 4H), whose pre-activations lack the sums, become i f o g; the cells, their tanh and
 * h (rows, H) are written. tanh takes two lanes at a time, so that neither waits. */
INLINE void advance_units(int rows, ptrdiff_t n, ptrdiff_t H, const float *sums, float *a,
                          const float *c, float *next_c, float *tanh_c, float *next_h) {
  vec cells[MOST_ROWS + 1];
  for (int r = 0; r < rows; r++, sums += GATES) {
    float *i = a + r * 4 * H, *f = i + H, *o = f + H, *g = o + H;
    vec gate[4] = {load_part(i, n), load_part(f, n), load_part(o, n), load_part(g, n)};
    for (int j = 0; j < 4; j++) gate[j] += load(sums + j * WIDTH);
    activate(3, 4, gate);
    cells[r] = gate[1] * load_part(c + r * H, n) + gate[0] * gate[3];
    store_part(i, gate[0], n);
    store_part(f, gate[1], n);
    store_part(o, gate[2], n);
    store_part(g, gate[3], n);
    store_part(next_c + r * H, cells[r], n);
  }
  cells[rows] = (vec){0};
  for (int r = 0; r < rows; r += 2) {
    activate(0, 2, cells + r);
    for (int k = r; k < r + 2 && k < rows; k++) {
      store_part(tanh_c + k * H, cells[k], n);
      store_part(next_h + k * H, load_part(a + (k * 4 + 2) * H, n) * cells[k], n);
    }
  }
}

/* gates (T, B, 4H): x Wx + b, becomes i f o g. h, c (T+1, B, H): row 0 given. tanh_c (T, B, H).
 * packed: room for ceil(H / WIDTH) * WIDTH * 4H floats. */
void NAME(lstm_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *h, float *c,
                        float *tanh_c, const float *Wh, float *packed) {
  float sums[MOST_ROWS * GATES];
  const int at_once = rows_at_once(B);
  NAME(pack_gates)(H, H, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += WIDTH) {
      const float *panel = packed + first * 4 * H;
      const ptrdiff_t n = H - first;
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        for (int r = 0; r < rows; r++) {
          const ptrdiff_t lane = t * B + row + r;
          for (int j = 0; j < 4; j++) __builtin_prefetch(gates + (lane * 4 + j) * H + first, 1);
          __builtin_prefetch(c + lane * H + first);
          __builtin_prefetch(c + (lane + B) * H + first, 1);
          __builtin_prefetch(h + (lane + B) * H + first, 1);
          __builtin_prefetch(tanh_c + lane * H + first, 1);
        }
        product_of_gates(rows, h + (t * B + row) * H, H, panel, sums);
        const ptrdiff_t before = (t * B + row) * H + first, after = before + B * H;
        advance_units(rows, n, H, sums, gates + (t * B + row) * 4 * H + first, c + before,
                      c + after, tanh_c + before, h + after);
      }
    }
  }
}

/* gates (T, B, 4H): i f o g, becomes the gradient of the pre-activations. dh, dc (B, H): in, what
 * reaches the last state from outside; out, the gradient of the state before the window.
 * dh_out, tanh_c (T, B, H), c (T+1, B, H). packed: room for ceil(H / PANEL) * PANEL * 4H floats. */
void NAME(lstm_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *dh, float *dc,
                         const float *dh_out, const float *c, const float *tanh_c, const float *Wh,
                         float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B);
  pack_backward(H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      float *a = gates + (t * B + row) * 4 * H;
      for (ptrdiff_t unit = 0; unit < H; unit += WIDTH) {
        const ptrdiff_t n = H - unit, state = row * H + unit, now = t * B * H + state;
        vec i = load_part(a + unit, n), f = load_part(a + H + unit, n);
        vec o = load_part(a + 2 * H + unit, n), g = load_part(a + 3 * H + unit, n);
        vec shown = load_part(tanh_c + now, n);
        vec dh_now = load_part(dh + state, n) + load_part(dh_out + now, n);
        vec dc_now = load_part(dc + state, n) + dh_now * o * (1.0f - shown * shown);
        store_part(a + unit, dc_now * g * i * (1.0f - i), n);
        store_part(a + H + unit, dc_now * load_part(c + now, n) * f * (1.0f - f), n);
        store_part(a + 2 * H + unit, dh_now * shown * o * (1.0f - o), n);
        store_part(a + 3 * H + unit, dc_now * i * (1.0f - g * g), n);
        store_part(dc + state, dc_now * f, n);
      }
    }
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      const float *panel = packed + first * 4 * H;
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        product(rows, gates + (t * B + row) * 4 * H, 4 * H, 4 * H, panel, sums);
        for (int r = 0; r < rows; r++)
          for (ptrdiff_t j = 0; j < PANEL && first + j < H; j += WIDTH)
            store_part(dh + (row + r) * H + first + j, load(sums + r * PANEL + j), H - first - j);
      }
    }
  }
}
