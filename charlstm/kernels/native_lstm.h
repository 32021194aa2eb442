/* The LSTM recurrence over a window, fused: the twin of lstm_forward and lstm_backward in
 * reference.py. T steps, B lanes, H units.
 */
/* gates (T, B, 4H): x Wx + b, becomes i f o g. h, c (T+1, B, H): row 0 given. tanh_c (T, B, H).
 * capped: i is 1 - f at the most. packed: room for ceil(H / WIDTH) * WIDTH * 4H floats. */
void NAME(lstm_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates, float *h,
                        float *c, float *tanh_c, const float *Wh, float *packed) {
  float sums[MOST_ROWS * GATES];
  const int at_once = rows_at_once(B, MOST_ROWS);
  NAME(pack_gates)(H, H, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += WIDTH) {
      const float *panel = packed + first * 4 * H;
      const ptrdiff_t n = H - first;
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        const ptrdiff_t before = (t * B + row) * H + first, after = before + B * H;
        float *a = gates + (t * B + row) * 4 * H + first;
        prefetch_units(rows, H, a, c + before, c + after, tanh_c + before, h + after);
        product_of_gates(rows, h + (t * B + row) * H, H, panel, sums);
        advance_units(rows, n, H, capped, sums, a, c + before, c + after, tanh_c + before,
                      h + after);
      }
    }
  }
}

/* gates (T, B, 4H): i f o g, becomes the gradient of the pre-activations. dh, dc (B, H): in, what
 * reaches the last state from outside; out, the gradient of the state before the window.
 * dh_out, tanh_c (T, B, H), c (T+1, B, H). packed: room for ceil(H / PANEL) * PANEL * 4H floats. */
void NAME(lstm_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                         float *dh, float *dc, const float *dh_out, const float *c,
                         const float *tanh_c, const float *Wh, float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B, MOST_ROWS);
  pack_transpose(H, 4 * H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      const ptrdiff_t lane = t * B + row;
      gate_gradients(H, capped, gates + lane * 4 * H, dh + row * H, dc + row * H,
                     dh_out + lane * H, c + lane * H, tanh_c + lane * H);
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
