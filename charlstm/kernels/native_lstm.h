/* The LSTM recurrence over a window of T time steps, B streams and H units, forward and backward:
 * the products and the gates of a step in one pass. The results are those of lstm_forward and
 * lstm_backward in reference.py, which has the equations.
 */
/* gates (T, B, 4H): in, x Wx + b; out, i f o g. h, c (T+1, B, H): row 0 is given, the others are
 * written. tanh_c (T, B, H): written. Wh (H, 4H). capped: min(i, 1 - f) takes the place of i.
 * packed: scratch of size_of_gate_panels(H, H) bytes, for the panels of Wh. */
void NAME(lstm_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates, float *h,
                        float *c, float *tanh_c, const float *Wh, float *packed) {
  float sums[MAX_ROWS * GATES];
  const int block = rows_per_block(B, MAX_ROWS);
  NAME(pack_gates)(H, H, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += WIDTH) {
      const float *panel = packed + first * 4 * H;
      const ptrdiff_t n = H - first;
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
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

/* gates (T, B, 4H): in, i f o g; out, the gradient of x Wx + b. dh, dc (B, H): in, the gradient
 * of the state after the window; out, the gradient of the state before the window.
 * dh_out (T, B, H): the gradient of each h_t from the layer above. c (T+1, B, H), tanh_c (T, B, H):
 * as lstm_forward left them. packed: scratch of size_of_panels(4H, H) bytes, for the panels of the
 * transpose of Wh. */
void NAME(lstm_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                         float *dh, float *dc, const float *dh_out, const float *c,
                         const float *tanh_c, const float *Wh, float *packed) {
  float sums[MAX_ROWS * PANEL];
  const int block = rows_per_block(B, MAX_ROWS);
  pack_transpose(H, 4 * H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      const ptrdiff_t at = t * B + row;
      gate_gradients(H, capped, gates + at * 4 * H, dh + row * H, dc + row * H,
                     dh_out + at * H, c + at * H, tanh_c + at * H);
    }
    for (ptrdiff_t first = 0; first < H; first += PANEL) {
      const float *panel = packed + first * 4 * H;
      for (ptrdiff_t row = 0; row < B; row += block) {
        const int rows = (int)min_of(block, B - row);
        product(rows, gates + (t * B + row) * 4 * H, 4 * H, 4 * H, panel, sums);
        for (int r = 0; r < rows; r++)
          for (ptrdiff_t j = 0; j < PANEL && first + j < H; j += WIDTH)
            store_n(dh + (row + r) * H + first + j, load(sums + r * PANEL + j), H - first - j);
      }
    }
  }
}
