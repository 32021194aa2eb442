/* The LSTM recurrence over a window of T time steps, B streams and H units, forward and backward:
 * the products and the gates of a step in one pass. The results are those of lstm_forward and
 * lstm_backward in reference.py, which has the equations.
 *
 * This file is included for float32 after native_product.h, and for bfloat16 after native_bfloat16.h.
 * Both define operands, panels and their products. Gates, states and sums are float32 in both. The
 * arrays of forward_part and backward_part lie in blocks of units: see native_gates.h.
 */

/* Number of streams whose sums are computed before their gates. */
#define ROWS_AT_ONCE MAX_GATE_ROWS
#define ALIGNED __attribute__((aligned(64)))

/* H units as whole blocks. */
INLINE ptrdiff_t whole_blocks(ptrdiff_t H) { return padded(H, UNITS); }

/* The number of units from `first` on, of which there are H in all. */
INLINE ptrdiff_t units_from(ptrdiff_t first, ptrdiff_t H) { return first < H ? H - first : 0; }

/* The place of a unit of a row in an array (blocks, B, UNITS), and in an array (blocks, B, 4, UNITS) of
 * gates, of which it is the first gate's. */
INLINE ptrdiff_t unit_place(ptrdiff_t B, ptrdiff_t row, ptrdiff_t unit) {
  return (unit / UNITS * B + row) * UNITS + unit % UNITS;
}
INLINE ptrdiff_t gates_place(ptrdiff_t B, ptrdiff_t row, ptrdiff_t unit) {
  return (unit / UNITS * B + row) * 4 * UNITS + unit % UNITS;
}

/* The input of a layer that reads only symbols. numbers (T, B): the number of each symbol among the
 * `count` symbols that occur. rows (blocks, count, 4, UNITS): what a symbol adds to the gates of the blocks
 * of a part, with the bias. */
typedef struct {
  int *numbers;
  float *rows;
  ptrdiff_t count;
} Symbols;

/* Compute T time steps forward, for a part.
 *
 * symbols: the input x of a layer that reads only symbols, whose projection x Wx + b takes the place of
 * that in the gates; or NULL. gates (T, blocks, B, 4, UNITS), c (T+1, blocks, B, UNITS), tanh_c (T, blocks, B, UNITS), h (T+1, B,
 * H): as in lstm_forward. h_rows (T+1, B, H): the operands of h, of which row 0 is given; they are h
 * itself unless ROUNDED. packed: Wh as pack_units packs it for the units of the part. Ends early if the
 * team is to stop. */
static void forward_part(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, const Symbols *symbols,
                         float *gates, float *h, operand *h_rows, float *c, float *tanh_c, const Part *part,
                         const operand *packed) {
  float sums[ROWS_AT_ONCE * GATES] ALIGNED;
  const ptrdiff_t stop = part->unit + part->units, K = operands(H), of_step = B * whole_blocks(H);
  const int block = rows_per_block(part->rows, ROWS_AT_ONCE);
  for (ptrdiff_t t = 0; t < T; t++) {
    if (meet(part->team)) return; /* the step reads all units of the step before */
    for (ptrdiff_t first = part->unit; first < stop; first += WIDTH) {
      const operand *panels = packed + (first - part->unit) * 4 * K;
      for (ptrdiff_t row = part->row; row < part->row + part->rows; row += block) {
        const int rows = (int)min_of(block, part->row + part->rows - row);
        const ptrdiff_t at = t * of_step + unit_place(B, row, first);
        float *a = gates + t * 4 * of_step + gates_place(B, row, first);
        float *next_h = h + ((t + 1) * B + row) * H + first;
        /* before the products: the memory of the gates is on its way to the cache meanwhile */
        for (int r = 0; symbols && r < rows; r++) {
          const ptrdiff_t place = gates_place(symbols->count, symbols->numbers[t * B + row + r],
                                              first - part->unit);
          for (ptrdiff_t gate = 0; gate < 4 * UNITS; gate += UNITS)
            store(a + r * 4 * UNITS + gate, load(symbols->rows + place + gate));
        }
        for (int gate = 0; gate < 4; gate += VECTORS)
          multiply_panel(rows, VECTORS, h_rows + place_of(B, K, t, row, 0), B, K,
                         panels + gate * WIDTH * K, sums + gate * WIDTH, GATES);
        advance_units(rows, WIDTH, UNITS, capped, sums, a, c + at, c + at + of_step, tanh_c + at,
                      units_from(first, H), H, next_h);
        for (int r = 0; ROUNDED && r < rows; r++)
          round_floats(min_of(WIDTH, H - first), next_h + r * H,
                       h_rows + place_of(B, K, t + 1, row + r, first));
      }
    }
  }
}

/* The number of panels of N columns. All panels have nearly the same number of vectors, so that the
 * last one is hardly filled up with zeros. */
INLINE ptrdiff_t panel_count(ptrdiff_t N) {
  return ((N + WIDTH - 1) / WIDTH + VECTORS - 1) / VECTORS;
}

/* The first column of panel p of N columns; for p = panel_count(N), N or more. */
INLINE ptrdiff_t panel_start(ptrdiff_t N, ptrdiff_t p) {
  return (N + WIDTH - 1) / WIDTH * p / panel_count(N) * WIDTH;
}

/* Pack panels of the transpose of W (H, 4H), for products of gradients of gates: those of the units
 * from `start` to `stop` - 1. The columns of units from H on become zeros. Panel p begins at
 * panel_start(stop - start, p) * 4 * whole_blocks(H). */
static void pack_panels_of_gates(ptrdiff_t H, ptrdiff_t start, ptrdiff_t stop, const float *W,
                                 operand *packed) {
  for (ptrdiff_t p = 0; p < panel_count(stop - start); p++) {
    const ptrdiff_t first = start + panel_start(stop - start, p);
    const ptrdiff_t width = start + panel_start(stop - start, p + 1) - first;
    for (ptrdiff_t unit = 0; unit < H; unit += UNITS)
      for (ptrdiff_t gate = 0; gate < 4; gate++, packed += UNITS * width)
        pack_rows_of_units(min_of(UNITS, H - unit), H - first, width,
                           W + (first * 4 + gate) * H + unit, 4 * H, packed);
  }
}

/* Compute T time steps backward, for a part.
 *
 * gates, c, tanh_c: as forward_part left them; gates become their gradients. d_rows (T, B, 4H):
 * written, the operands of these gradients; they are the gates themselves unless ROUNDED. dh, dc
 * (blocks, B, UNITS): as in lstm_backward. dh_out: the gradient of h from the layer above, (blocks, B,
 * UNITS) for each time step, `stride` floats apart. needs_dh: 0 leaves out the gradient dh of the state
 * before the window. packed: Wh as pack_panels_of_gates packs it for the units of the part. Ends early
 * if the team is to stop. */
static void backward_part(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                          operand *d_rows, float *dh, float *dc, const float *dh_out,
                          ptrdiff_t stride, const float *c, const float *tanh_c, int needs_dh,
                          const Part *part, const operand *packed) {
  float sums[ROWS_AT_ONCE * PANEL] ALIGNED;
  const ptrdiff_t unit = part->unit, panels = panel_count(part->units), of_step = B * whole_blocks(H);
  const ptrdiff_t K = 4 * whole_blocks(H), end = part->row + part->rows;
  const int block = rows_per_block(part->rows, ROWS_AT_ONCE);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    operand *d = d_rows + t * B * K;
    for (ptrdiff_t first = unit; first < unit + part->units; first += UNITS)
      for (ptrdiff_t row = part->row; row < end; row++) {
        const ptrdiff_t place = unit_place(B, row, first), at = t * of_step + place;
        float *a = gates + t * B * K + gates_place(B, row, first);
        gate_gradients(capped, a, dh + place, dc + place, dh_out + t * stride + place, c + at,
                       tanh_c + at);
        if (ROUNDED) round_gates(B, a, d + first * 4 * B + row * GATES_OF_ROW);
      }
    if (meet(part->team)) return; /* the product reads the gradients of all units */
    if (t == 0 && !needs_dh) return;
    for (ptrdiff_t p = 0; p < panels; p++) {
      const ptrdiff_t first = panel_start(part->units, p);
      const int vectors = (int)((panel_start(part->units, p + 1) - first) / WIDTH);
      for (ptrdiff_t row = part->row; row < end; row += block) {
        const int rows = (int)min_of(block, end - row);
        multiply_panel_of_gates(rows, vectors, d + row * GATES_OF_ROW, B, K, packed + first * K,
                                sums, PANEL);
        for (ptrdiff_t j = 0; j < vectors * WIDTH; j += WIDTH)
          for (int r = 0; r < rows; r++)
            store(dh + unit_place(B, row + r, unit + first + j), load(sums + r * PANEL + j));
      }
    }
  }
}

/* Copy rows (B, parts * H) into blocks (blocks, B, parts, UNITS), filled up with zeros. */
static void to_blocks(ptrdiff_t B, ptrdiff_t H, ptrdiff_t parts, const float *rows, float *blocks) {
  for (ptrdiff_t first = 0; first < H; first += UNITS)
    for (ptrdiff_t row = 0; row < B * parts; row++, blocks += UNITS)
      for (ptrdiff_t k = 0; k < UNITS; k += WIDTH)
        store(blocks + k, first + k < H ? load_n(rows + row * H + first + k, H - first - k) : (vec){0});
}

/* Copy blocks (blocks, B, parts, UNITS) into rows (B, parts * H). */
static void to_rows(ptrdiff_t B, ptrdiff_t H, ptrdiff_t parts, const float *blocks, float *rows) {
  for (ptrdiff_t first = 0; first < H; first += UNITS)
    for (ptrdiff_t row = 0; row < B * parts; row++, blocks += UNITS)
      for (ptrdiff_t k = 0; k < UNITS && first + k < H; k += WIDTH)
        store_n(rows + row * H + first + k, load(blocks + k), H - first - k);
}

/* Numbers of operands in the scratch of lstm_forward and lstm_backward: of Wh, and of the rows of two
 * time steps, which are not needed unless ROUNDED. */
INLINE ptrdiff_t packed_size(ptrdiff_t H) { return whole_blocks(H) * 4 * padded(H, 2 * UNITS); }
INLINE ptrdiff_t rows_size(ptrdiff_t B, ptrdiff_t H) {
  return ROUNDED ? (2 * B + MAX_GATE_ROWS) * 4 * padded(H, 2 * UNITS) : 0;
}

/* Bytes of scratch for lstm_forward or lstm_backward. */
ptrdiff_t NAME(size_of_lstm)(ptrdiff_t B, ptrdiff_t H) {
  return 10 * B * whole_blocks(H) * (ptrdiff_t)sizeof(float) +
         (packed_size(H) + rows_size(B, H)) * (ptrdiff_t)sizeof(operand);
}

/* The scratch of lstm_forward and lstm_backward. */
typedef struct {
  float *gates, *c, *tanh_c, *dh, *dc, *dh_out; /* one time step in blocks; c has two */
  operand *packed, *rows;
} LSTMScratch;

/* Cut scratch into its parts. The rows are filled with zeros, which products need. */
static LSTMScratch cut_scratch(ptrdiff_t B, ptrdiff_t H, char *scratch) {
  const ptrdiff_t units = B * whole_blocks(H);
  float *f = (float *)scratch;
  operand *packed = (operand *)(f + 10 * units), *rows = packed + packed_size(H);
  memset(rows, 0, (size_t)rows_size(B, H) * sizeof(operand));
  return (LSTMScratch){.gates = f, .c = f + 4 * units, .tanh_c = f + 6 * units, .dh = f + 7 * units,
                       .dc = f + 8 * units, .dh_out = f + 9 * units, .packed = packed, .rows = rows};
}

/* gates (T, B, 4H): in, x Wx + b; out, i f o g. h, c (T+1, B, H): row 0 is given, the others are
 * written. tanh_c (T, B, H): written. Wh (H, 4H). capped: min(i, 1 - f) takes the place of i.
 * scratch: size_of_lstm(B, H) bytes. */
void NAME(lstm_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates, float *h,
                        float *c, float *tanh_c, const float *Wh, char *scratch) {
  Team alone = {.members = 1};
  const Part all = {0, B, 0, whole_blocks(H), &alone};
  const ptrdiff_t units = B * whole_blocks(H), K = operands(H);
  const LSTMScratch s = cut_scratch(B, H, scratch);
  pack_units(H, H, 0, whole_blocks(H), Wh, s.packed);
  to_blocks(B, H, 1, c, s.c);
  BEGIN_PRODUCTS;
  for (ptrdiff_t t = 0; t < T; t++, gates += 4 * B * H, h += B * H, tanh_c += B * H) {
    to_blocks(B, H, 4, gates, s.gates);
    for (ptrdiff_t row = 0; ROUNDED && row < B; row++)
      for (ptrdiff_t k = 0; k < H; k += UNITS)
        round_floats(min_of(UNITS, H - k), h + row * H + k, s.rows + place_of(B, K, 0, row, k));
    forward_part(1, B, H, capped, NULL, s.gates, h, ROUNDED ? s.rows : (void *)h, s.c, s.tanh_c, &all,
                 s.packed);
    memcpy(s.c, s.c + units, (size_t)units * sizeof(float));
    to_rows(B, H, 4, s.gates, gates);
    to_rows(B, H, 1, s.c, c += B * H);
    to_rows(B, H, 1, s.tanh_c, tanh_c);
  }
  END_PRODUCTS;
}

/* gates (T, B, 4H): in, i f o g; out, the gradient of x Wx + b. dh, dc (B, H): in, the gradient
 * of the state after the window; out, the gradient of the state before the window.
 * dh_out (T, B, H): the gradient of each h_t from the layer above. c (T+1, B, H), tanh_c (T, B, H):
 * as lstm_forward left them. scratch: size_of_lstm(B, H) bytes. */
void NAME(lstm_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, int capped, float *gates,
                         float *dh, float *dc, const float *dh_out, const float *c,
                         const float *tanh_c, const float *Wh, char *scratch) {
  Team alone = {.members = 1};
  const Part all = {0, B, 0, whole_blocks(H), &alone};
  const LSTMScratch s = cut_scratch(B, H, scratch);
  pack_panels_of_gates(H, 0, whole_blocks(H), Wh, s.packed);
  to_blocks(B, H, 1, dh, s.dh);
  to_blocks(B, H, 1, dc, s.dc);
  BEGIN_PRODUCTS;
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    float *a = gates + t * 4 * B * H;
    to_blocks(B, H, 4, a, s.gates);
    to_blocks(B, H, 1, dh_out + t * B * H, s.dh_out);
    to_blocks(B, H, 1, c + t * B * H, s.c);
    to_blocks(B, H, 1, tanh_c + t * B * H, s.tanh_c);
    backward_part(1, B, H, capped, s.gates, ROUNDED ? s.rows : (void *)s.gates, s.dh, s.dc, s.dh_out,
                  0, s.c, s.tanh_c, 1, &all, s.packed);
    to_rows(B, H, 4, s.gates, a);
  }
  END_PRODUCTS;
  to_rows(B, H, 1, s.dh, dh);
  to_rows(B, H, 1, s.dc, dc);
}
