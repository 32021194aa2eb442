/* The plain recurrence over a window, fused: the twin of rnn_forward and rnn_backward in
 * reference.py. T steps, B lanes, H units.
 */
/* a (T, B, H): x Wx + b. h (T+1, B, H): row 0 given. packed: room for ceil(H / PANEL) * PANEL * H
 * floats. */
void NAME(rnn_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, const float *a, float *h,
                       const float *Wh, float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B, MOST_ROWS);
  NAME(pack_columns)(H, H, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
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

/* a (T, B, H): written, the gradient of x Wx + b. dh (B, H): in, what reaches the last state from
 * outside; out, the gradient of the state before the window. dh_out (T, B, H), h (T+1, B, H).
 * packed: as in rnn_forward. */
void NAME(rnn_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *a, float *dh,
                        const float *dh_out, const float *h, const float *Wh, float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B, MOST_ROWS);
  pack_transpose(H, H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    float *da = a + t * B * H;
    for (ptrdiff_t k = 0; k < B * H; k += WIDTH) {
      const ptrdiff_t n = B * H - k, now = t * B * H + k;
      vec next_h = load_part(h + now + B * H, n);
      vec dh_now = load_part(dh + k, n) + load_part(dh_out + now, n);
      store_part(da + k, dh_now * (1.0f - next_h * next_h), n);
    }
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
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
