/* The arithmetic of an LSTM's gates, forward and backward, for float32 and bfloat16 products alike.
 *
 * In the forward pass, four neighbouring vectors of a product are the four gates i f o g of the
 * same WIDTH units. The arithmetic runs over a block of sums after the product. Inside the loop of
 * the product, it would push the sums out of the registers.
 *
 * The arrays of a time step lie in blocks of UNITS units. All numbers that a worker computes for a
 * block of units are neighbours in memory. If the units of a stream were neighbours instead, the same
 * work would touch eight lines of memory in far places for each stream, and wait for them most of the
 * time.
 *
 *   units (blocks, B, UNITS): c, tanh_c and the gradients of h and c
 *   gates (blocks, B, 4, UNITS): i f o g
 *
 * The last block is filled up with units whose weights, states and gradients are 0.
 */
#define UNITS 16
#define GATES (4 * WIDTH) /* columns of the gates of WIDTH units */
#define MAX_GATE_ROWS 32  /* maximum number of streams in a block of any instruction set */

/* Compute one time step of a block of streams, for the first n of WIDTH units (all if n > WIDTH).
 *
 * sums (rows, GATES): h_{t-1} Wh. a: in, x_t Wx + b; out, the gates i f o g of each stream, `stride`
 * floats apart. c: the cell states before the step. next_c, tanh_c: written. The rows of these three
 * are `stride` floats apart. next_h: written; its rows are `h_stride` floats apart, and have n_h
 * units. capped: min(i, 1 - f) takes the place of i.
 *
 * tanh of the cells is computed for two streams at a time: the processor works on one stream while
 * the other waits for a result. */
INLINE void advance_units(int rows, ptrdiff_t n, ptrdiff_t stride, int capped, const float *sums,
                          float *a, const float *c, float *next_c, float *tanh_c, ptrdiff_t n_h,
                          ptrdiff_t h_stride, float *next_h) {
  vec cells[MAX_GATE_ROWS + 1];
  for (int r = 0; r < rows; r++, sums += GATES) {
    float *gates = a + r * 4 * stride;
    vec gate[4];
    for (int j = 0; j < 4; j++) gate[j] = load_n(gates + j * stride, n) + load(sums + j * WIDTH);
    activate(3, 4, gate);
    if (capped) gate[0] = SMALLER(1.0f - gate[1], gate[0]);
    cells[r] = gate[1] * load_n(c + r * stride, n) + gate[0] * gate[3];
    for (int j = 0; j < 4; j++) store_n(gates + j * stride, gate[j], n);
    store_n(next_c + r * stride, cells[r], n);
  }
  cells[rows] = (vec){0};
  for (int r = 0; r < rows; r += 2) {
    activate(0, 2, cells + r);
    for (int k = r; k < r + 2 && k < rows; k++) {
      store_n(tanh_c + k * stride, cells[k], n);
      store_n(next_h + k * h_stride, load_n(a + (k * 4 + 2) * stride, n) * cells[k], n_h);
    }
  }
}

/* Back-propagate through one time step of one stream, for the units of a block.
 *
 * a (4, UNITS): in, the gates i f o g; out, the gradient of their pre-activations. dh, dh_out: the
 * gradients of h_t from the step after and from the layer above. dc: in, the gradient of c_t from
 * the step after; out, that of c_{t-1}. c: c_{t-1}. tanh_c: tanh(c_t). capped: where i is 1 - f, the
 * gradient of i goes to f instead, with the opposite sign. */
INLINE void gate_gradients(int capped, float *a, const float *dh, float *dc, const float *dh_out,
                           const float *c, const float *tanh_c) {
  for (int unit = 0; unit < UNITS; unit += WIDTH) {
    float *gates = a + unit;
    vec i = load(gates), f = load(gates + UNITS);
    vec o = load(gates + 2 * UNITS), g = load(gates + 3 * UNITS);
    vec shown = load(tanh_c + unit);
    vec dh_now = load(dh + unit) + load(dh_out + unit);
    vec dc_now = load(dc + unit) + dh_now * o * (1.0f - shown * shown);
    vec di = dc_now * g, df = dc_now * load(c + unit);
    if (capped) {
      const ivec at_cap = i >= 1.0f - f;
      df -= (vec)((ivec)di & at_cap);
      di = (vec)((ivec)di & ~at_cap);
    }
    store(gates, di * i * (1.0f - i));
    store(gates + UNITS, df * f * (1.0f - f));
    store(gates + 2 * UNITS, dh_now * shown * o * (1.0f - o));
    store(gates + 3 * UNITS, dc_now * i * (1.0f - g * g));
    store(dc + unit, dc_now * f);
  }
}
