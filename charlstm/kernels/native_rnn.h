/* The plain recurrence h_t = tanh(a_t + h_{t-1} Wh) over a window of T time steps, B streams and H
 * units, forward and backward. The results are those of rnn_forward and rnn_backward in
 * reference.py.
 */
/* a (T, B, H): x Wx + b. h (T+1, B, H): row 0 is given, the others are written. packed: scratch of
 * size_of_panels(H, H) bytes, for the panels of Wh. */
void NAME(rnn_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, const float *a, float *h,
                       const float *Wh, float *packed) {
  float sums[MAX_ROWS * PANEL];
  const int block = rows_per_block(B, MAX_ROWS);
  NAME(pack_columns)(H, H, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
        const ptrdiff_t before = (t * B + row) * H;
        const float *now = a + before + first;
        float *next = h + before + B * H + first;
        for (int r = 0; r < rows; r++) {
          prefetch_row(now + r * H);
          prefetch_row(next + r * H);
        }
        product(rows, h + before, H, H, packed + first * H, sums);
        for (int r = 0; r < rows; r++) {
          vec x[VECTORS];
          load_row(now + r * H, H - first, x);
          for (int j = 0; j < VECTORS; j++) x[j] += load(sums + r * PANEL + j * WIDTH);
          activate(0, VECTORS, x);
          store_row(next + r * H, x, H - first);
        }
      }
    }
  }
}

/* a (T, B, H): out, the gradient of x Wx + b. dh (B, H): in, the gradient of the state after
 * the window; out, the gradient of the state before the window. dh_out (T, B, H): the
 * gradient of each h_t from the layer above. h (T+1, B, H): as rnn_forward left it. packed: scratch
 * as in rnn_forward. */
void NAME(rnn_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *a, float *dh,
                        const float *dh_out, const float *h, const float *Wh, float *packed) {
  float sums[MAX_ROWS * PANEL];
  const int block = rows_per_block(B, MAX_ROWS);
  pack_transpose(H, H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    float *da = a + t * B * H;
    for (ptrdiff_t k = 0; k < B * H; k += WIDTH) {
      const ptrdiff_t n = B * H - k, now = t * B * H + k;
      vec next_h = load_n(h + now + B * H, n);
      vec dh_now = load_n(dh + k, n) + load_n(dh_out + now, n);
      store_n(da + k, dh_now * (1.0f - next_h * next_h), n);
    }
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
        product(rows, da + row * H, H, H, packed + first * H, sums);
        for (int r = 0; r < rows; r++) {
          vec x[VECTORS];
          load_row(sums + r * PANEL, PANEL, x);
          store_row(dh + (row + r) * H + first, x, H - first);
        }
      }
    }
  }
}
