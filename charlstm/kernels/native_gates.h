/* The arithmetic of an LSTM's gates, whatever computed the products around it.
 *
 * In the forward pass four neighbouring vectors of a product are the four gates i f o g of the same
 * WIDTH units, so that they are found side by side. This runs over a small block of sums after the
 * product, not inside it, where it would push the accumulators out of the registers.
 */
#define GATES (4 * WIDTH) /* columns of the gates of WIDTH units */
#define GATE_ROWS 32      /* lanes of a block, at the most */

/* Fetch what advance_units will read and write, while the product before it runs. */
INLINE void prefetch_units(int rows, ptrdiff_t H, float *a, const float *c, float *next_c,
                           float *tanh_c, float *next_h) {
  for (int r = 0; r < rows; r++) {
    for (int j = 0; j < 4; j++) __builtin_prefetch(a + (r * 4 + j) * H, 1);
    __builtin_prefetch(c + r * H);
    __builtin_prefetch(next_c + r * H, 1);
    __builtin_prefetch(tanh_c + r * H, 1);
    __builtin_prefetch(next_h + r * H, 1);
  }
}

/* What the product's sums (rows, GATES) do to WIDTH units of some lanes, n of which are there: the
 * gates a (rows, 4H), whose pre-activations lack the sums, become i f o g; the cells, their tanh and
 * h (rows, H) are written. capped: i is 1 - f at the most. tanh takes two lanes at a time, so that
 * neither waits. */
INLINE void advance_units(int rows, ptrdiff_t n, ptrdiff_t H, int capped, const float *sums,
                          float *a, const float *c, float *next_c, float *tanh_c, float *next_h) {
  vec cells[GATE_ROWS + 1];
  for (int r = 0; r < rows; r++, sums += GATES) {
    float *i = a + r * 4 * H, *f = i + H, *o = f + H, *g = o + H;
    vec gate[4] = {load_part(i, n), load_part(f, n), load_part(o, n), load_part(g, n)};
    for (int j = 0; j < 4; j++) gate[j] += load(sums + j * WIDTH);
    activate(3, 4, gate);
    if (capped) gate[0] = SMALLER(1.0f - gate[1], gate[0]);
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

/* One lane's gates a (4H), i f o g, become the gradient of their pre-activations. dh (H): the
 * gradient of h from the step after, to which dh_out is added; dc (H) becomes that of the cell
 * before. c: the cell before, tanh_c: of the cell after. Where capped, i is 1 - f, it is f alone
 * that the gradient of i reaches. */
INLINE void gate_gradients(ptrdiff_t H, int capped, float *a, const float *dh, float *dc,
                           const float *dh_out, const float *c, const float *tanh_c) {
  for (ptrdiff_t unit = 0; unit < H; unit += WIDTH) {
    const ptrdiff_t n = H - unit;
    vec i = load_part(a + unit, n), f = load_part(a + H + unit, n);
    vec o = load_part(a + 2 * H + unit, n), g = load_part(a + 3 * H + unit, n);
    vec shown = load_part(tanh_c + unit, n);
    vec dh_now = load_part(dh + unit, n) + load_part(dh_out + unit, n);
    vec dc_now = load_part(dc + unit, n) + dh_now * o * (1.0f - shown * shown);
    vec di = dc_now * g, df = dc_now * load_part(c + unit, n);
    if (capped) {
      const ivec at_cap = i >= 1.0f - f;
      df -= (vec)((ivec)di & at_cap);
      di = (vec)((ivec)di & ~at_cap);
    }
    store_part(a + unit, di * i * (1.0f - i), n);
    store_part(a + H + unit, df * f * (1.0f - f), n);
    store_part(a + 2 * H + unit, dh_now * shown * o * (1.0f - o), n);
    store_part(a + 3 * H + unit, dc_now * i * (1.0f - g * g), n);
    store_part(dc + unit, dc_now * f, n);
  }
}
