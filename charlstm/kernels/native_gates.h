/* The arithmetic of an LSTM's gates, forward and backward, for float32 and bfloat16 products alike.
 *
 * In the forward pass, four neighbouring vectors of a product are the four gates i f o g of the
 * same WIDTH units. The arithmetic runs over a block of sums after the product. Inside the loop of
 * the product, it would push the sums out of the registers.
 */
#define GATES (4 * WIDTH) /* columns of the gates of WIDTH units */
#define MAX_GATE_ROWS 32  /* maximum number of streams in a block of any instruction set */

/* Prefetch the arrays that advance_units will read and write, before the product that it needs. */
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

/* Compute one time step of a block of streams, for the first n of WIDTH units (all if n > WIDTH).
 *
 * sums (rows, GATES): h_{t-1} Wh. a (rows, 4H): in, x_t Wx + b; out, the gates i f o g.
 * c (rows, H): the cell states before the step. next_c, tanh_c, next_h (rows, H): written.
 * capped: min(i, 1 - f) takes the place of i.
 *
 * tanh of the cells is computed for two streams at a time: the processor works on one stream while
 * the other waits for a result. */
INLINE void advance_units(int rows, ptrdiff_t n, ptrdiff_t H, int capped, const float *sums,
                          float *a, const float *c, float *next_c, float *tanh_c, float *next_h) {
  vec cells[MAX_GATE_ROWS + 1];
  for (int r = 0; r < rows; r++, sums += GATES) {
    float *i = a + r * 4 * H, *f = i + H, *o = f + H, *g = o + H;
    vec gate[4] = {load_n(i, n), load_n(f, n), load_n(o, n), load_n(g, n)};
    for (int j = 0; j < 4; j++) gate[j] += load(sums + j * WIDTH);
    activate(3, 4, gate);
    if (capped) gate[0] = SMALLER(1.0f - gate[1], gate[0]);
    cells[r] = gate[1] * load_n(c + r * H, n) + gate[0] * gate[3];
    store_n(i, gate[0], n);
    store_n(f, gate[1], n);
    store_n(o, gate[2], n);
    store_n(g, gate[3], n);
    store_n(next_c + r * H, cells[r], n);
  }
  cells[rows] = (vec){0};
  for (int r = 0; r < rows; r += 2) {
    activate(0, 2, cells + r);
    for (int k = r; k < r + 2 && k < rows; k++) {
      store_n(tanh_c + k * H, cells[k], n);
      store_n(next_h + k * H, load_n(a + (k * 4 + 2) * H, n) * cells[k], n);
    }
  }
}

/* Back-propagate through one time step of one stream, for the units from start, a multiple of WIDTH,
 * to stop - 1. All arrays have H elements, but a has 4H.
 *
 * a: in, the gates i f o g; out, the gradient of their pre-activations. dh, dh_out: the gradients
 * of h_t from the step after and from the layer above. dc: in, the gradient of c_t from the step
 * after; out, that of c_{t-1}. c: c_{t-1}. tanh_c: tanh(c_t). capped: where i is 1 - f, the
 * gradient of i goes to f instead, with the opposite sign. */
INLINE void gate_gradients(ptrdiff_t H, ptrdiff_t start, ptrdiff_t stop, int capped, float *a,
                           const float *dh, float *dc, const float *dh_out, const float *c,
                           const float *tanh_c) {
  for (ptrdiff_t unit = start; unit < stop; unit += WIDTH) {
    const ptrdiff_t n = H - unit;
    vec i = load_n(a + unit, n), f = load_n(a + H + unit, n);
    vec o = load_n(a + 2 * H + unit, n), g = load_n(a + 3 * H + unit, n);
    vec shown = load_n(tanh_c + unit, n);
    vec dh_now = load_n(dh + unit, n) + load_n(dh_out + unit, n);
    vec dc_now = load_n(dc + unit, n) + dh_now * o * (1.0f - shown * shown);
    vec di = dc_now * g, df = dc_now * load_n(c + unit, n);
    if (capped) {
      const ivec at_cap = i >= 1.0f - f;
      df -= (vec)((ivec)di & at_cap);
      di = (vec)((ivec)di & ~at_cap);
    }
    store_n(a + unit, di * i * (1.0f - i), n);
    store_n(a + H + unit, df * f * (1.0f - f), n);
    store_n(a + 2 * H + unit, dh_now * shown * o * (1.0f - o), n);
    store_n(a + 3 * H + unit, dc_now * i * (1.0f - g * g), n);
    store_n(dc + unit, dc_now * f, n);
  }
}
