/* A training step of an LSTM, shared among worker threads: forward pass, loss, backward pass,
 * gradients of the weights, clipping, Adam, average of the weights, and the table of n-grams. The
 * results are those of the step that trainer.py makes with the other kernels.
 *
 * The workers share one set of activations of all B streams. A team of workers computes some of the
 * streams; within a team, each worker computes some of the units, and some of the time steps of the
 * head. The gradients of the weights are cut into tasks, panels of columns, and a worker that is
 * done takes the next one.
 *
 *              team 0, streams 0..11      team 1, streams 12..23
 *             worker 0      worker 1     worker 2      worker 3
 *            units 0..127  128..255     units 0..127  128..255     recurrence
 *             steps 0..31   32..63       steps 0..31   32..63      head, loss
 *               task 0       task 1       task 2        task 3     gradients of the weights
 *                task 5  ...
 *                a quarter of all weights each                     clipping, Adam
 *
 * Each number is computed by one worker, from the same numbers in the same order, whatever the number
 * of workers. So a step gives the same weights, bit for bit, on any number of cores.
 *
 * Like native_lstm.h, this file is included for float32 and for bfloat16. The rows and columns of
 * operands below are those of its products: see native_product.h and native_bfloat16.h. Without
 * rounding, the rows are the floats themselves, and there are no columns.
 */
#define TASK_ROWS 512 /* maximum number of rows of the weights in a task */
#define SMALL_TASK 64 /* about the minimum, unless the matrix has fewer rows */
#define GROUP 32      /* rows whose squares are summed together, as floats */
#define ROWS_AHEAD 12 /* distant rows that are fetched into the cache before they are written */

/* A layer and its activations of the window, as in network/layers/lstm.py. */
#ifndef CHARLSTM_TRAINING
#define CHARLSTM_TRAINING
typedef struct {
  const float *by_symbol; /* (V, 4H): Wx of the first layer; Wi of a layer with skip connections;
                             NULL for other layers */
  const float *Wx;        /* (H, 4H), NULL for the first layer */
  const float *Wh, *b;    /* (H, 4H) after weight dropout; (4H) */
  const float *Wh_factors; /* (H, 4H): factors of weight dropout, or NULL */
  float *dby_symbol, *dWx, *dWh, *db; /* gradients: written */
  float *h;                  /* (T+1, B, H) */
  float *gates, *c, *tanh_c; /* (T, blocks, B, 4, UNITS), (T+1, blocks, B, UNITS) and (T, blocks, B,
                                UNITS): see native_gates.h */
  const float *x_factors;    /* (B, H): factors of dropout that the input x is multiplied by, or NULL;
                                without dropout, x is the output of the layer below */
  const float *head_factors; /* (B, H): the factors of its output for the head, or NULL */
  /* Operands, in a layout that the other files define: */
  void *h_rows;    /* (T+1, B, H): of h */
  void *x_rows;    /* (T, B, H): of x; NULL for the first layer */
  void *d_rows;    /* of the gradients of the gates */
  void *h_columns; /* (H, TB): the transpose of rows 0 to T - 1 of h */
  void *x_columns; /* (H, TB): the transpose of x; NULL for the first layer */
} TrainedLayer;

/* The phases of a step. */
enum phase { PROJECTION, FORWARD, HEAD, BACKWARD, INPUT_GRADIENT, WEIGHTS, UPDATE, TABLE, WAIT, PHASES };

/* A step. The caller owns the memory at all pointers. native_training.py has the same fields in the
 * same order. */
typedef struct {
  ptrdiff_t T, B, H, V, L;
  ptrdiff_t seen;   /* the head reads the outputs of the last `seen` layers */
  ptrdiff_t capped; /* 1: min(i, 1 - f) takes the place of i */
  ptrdiff_t workers, teams;
  ptrdiff_t dropout; /* 1: the head reads the outputs after dropout */
  const TrainedLayer *layers;
  const long long *inputs, *targets; /* (T, B) */
  const float *scales;               /* (T * B): factor of each loss */
  float *state;                      /* (L, 2, B, H), in and out */
  const float *head_W, *head_b;      /* (seen * H, V), (V) */
  float *dhead_W, *dhead_b;          /* their gradients: written */
  void *head_rows;    /* operands of the head's input (T, B, seen * H): written if `dropout` or
                         seen > 1, else those of the output of the last layer */
  void *head_columns; /* operands of the transpose of the head's input: written */
  void *dlogit_rows;  /* operands of log_probs after the backward pass: written */
  float *dhead_input; /* (T, seen, blocks, B, UNITS): written */
  float *dout;        /* (T, blocks, B, UNITS): written */
  float *dh, *dc;     /* (blocks, B, UNITS): written */
  float *log_probs;   /* (T * B, V): written, the gradient of the logits */
  float *losses;      /* (T * B): written, without the factors */
  double *nats;       /* (1): written, the sum of the losses whose factor is not 0 */
  ptrdiff_t ngrams, R;     /* table rows of a prediction, or 0; number of table rows */
  const unsigned long long *codes; /* (1 + V): see network/layers/ngrams.py */
  float *history;          /* (layers, 2, B, H): the last symbols of each stream, in and out */
  long long *rows;         /* (T * B, ngrams): written, the indices of the table rows of each
                              prediction */
  float *table;            /* (R, V): updated */
  float *table_squares;    /* (R): updated, as in update_ngram_rows */
  const float *table_constants; /* rate, epsilon */
  double *squares;              /* (size_of_squares): sums of squares of gradients, in an order that does
                                   not depend on the number of workers */
  double *gradient_norm;        /* (1): written, before clipping */
  ptrdiff_t updates;            /* 1: clip, update the weights by Adam, and the table; 0: compute the
                                   gradients only */
  ptrdiff_t weight_count;
  float *weights, *gradient;    /* (weight_count): all weights above; their gradients */
  float *mean, *square;         /* (weight_count): the moments of Adam */
  float *average;               /* (weight_count), or NULL */
  const float *constants;       /* those of adam_update */
  double clip, clip_value;      /* 0: no limit */
  double average_step;          /* the share of the difference by which the average moves */
  char *scratch;                /* size_of_training(...) bytes for each worker */
  ptrdiff_t scratch_size;       /* of a worker */
  int *places;                  /* places of update_ngram_rows: see size_of_places */
  ptrdiff_t places_size;        /* of a worker, in ints */
  Team *meetings;               /* (1 + teams): of all workers, then of each team */
  Thread *threads;              /* (workers): of each worker; the caller is that of worker 0 */
  double patience;              /* seconds for which a thread stays ready after a step */
  ptrdiff_t next_task;          /* 0 before the step */
  double *seconds;              /* (workers, PHASES): the time of each phase is added, or NULL */
} TrainingStep;
#endif

/* The number of blocks of H units. */
INLINE ptrdiff_t block_count(ptrdiff_t H) { return whole_blocks(H) / UNITS; }

/* The number of groups of rows whose squares are summed. */
INLINE ptrdiff_t group_count(ptrdiff_t rows) { return (rows + GROUP - 1) / GROUP; }

/* The number of parts into which tasks cut the rows of a matrix: enough for all workers to have some
 * tasks, as long as the parts are not small. A part has whole groups of rows, TASK_ROWS rows at most. */
static ptrdiff_t row_parts(ptrdiff_t rows, ptrdiff_t H, ptrdiff_t workers) {
  const ptrdiff_t least = (rows + TASK_ROWS - 1) / TASK_ROWS, most = (rows + SMALL_TASK - 1) / SMALL_TASK;
  const ptrdiff_t wanted = 4 * workers / block_count(H);
  return wanted < least ? least : min_of(wanted, most);
}

/* The first of the rows of a part, and their number. */
static ptrdiff_t part_rows(ptrdiff_t rows, ptrdiff_t parts, ptrdiff_t part, ptrdiff_t *count) {
  ptrdiff_t groups;
  const ptrdiff_t first = share_of(group_count(rows), parts, part, &groups) * GROUP;
  *count = min_of(groups * GROUP, rows - first);
  return first;
}

/* The number of sums of squares of a step. */
ptrdiff_t NAME(size_of_squares)(ptrdiff_t L, ptrdiff_t H, ptrdiff_t V, ptrdiff_t seen) {
  return (2 * L - 1) * block_count(H) * group_count(H) + panel_count(V) * group_count(seen * H);
}

/* The number of time steps whose gradients one panel of a task holds. */
INLINE ptrdiff_t steps_at_once(ptrdiff_t B) { return B < CHUNK ? CHUNK / B : 1; }

/* The number of rows of a panel of some time steps. Packing fills up the last step with 2 * UNITS rows at
 * most. */
INLINE ptrdiff_t packed_rows(ptrdiff_t steps, ptrdiff_t B) { return steps * rows_of_step(B) + 4 * UNITS; }

/* Bytes of Wh or Wx, packed. */
INLINE ptrdiff_t packed_bytes(ptrdiff_t H) { return packed_size(H) * (ptrdiff_t)sizeof(operand); }

/* Bytes of scratch for pack_symbols. */
static ptrdiff_t size_of_symbols(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, ptrdiff_t V) {
  const ptrdiff_t numbers = padded((2 * T * B + V) * (ptrdiff_t)sizeof(int), 64);
  return numbers + min_of(V, T * B) * 4 * whole_blocks(H) * (ptrdiff_t)sizeof(float);
}

/* Bytes of scratch that a worker needs for a step. */
ptrdiff_t NAME(size_of_training)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, ptrdiff_t V, ptrdiff_t seen) {
  const ptrdiff_t of_operand = sizeof(operand), of_float = sizeof(float);
  const ptrdiff_t recurrence = packed_bytes(H) + size_of_symbols(T, B, H, V);
  const ptrdiff_t head = PANEL * (seen * operands(H) + operands(V)) * of_operand;
  const ptrdiff_t width = 4 * UNITS; /* columns of a task, or more */
  const ptrdiff_t sums = width * (TASK_ROWS + MAX_GATE_ROWS + 1 + V) * of_float;
  const ptrdiff_t task = packed_rows(steps_at_once(B), B) * width * of_operand + sums;
  const ptrdiff_t largest = recurrence > head ? recurrence : head;
  return largest > task ? largest : task;
}

/* Write the state before the window into row 0 of h and c, for a part. */
static void begin_window(const TrainingStep *s, const TrainedLayer *layer, const float *state,
                         const Part *part) {
  const ptrdiff_t B = s->B, H = s->H;
  for (ptrdiff_t first = part->unit; first < part->unit + part->units; first += UNITS)
    for (ptrdiff_t row = part->row; row < part->row + part->rows; row++) {
      const ptrdiff_t n = min_of(UNITS, H - first), at = row * H + first;
      float *c = layer->c + unit_place(B, row, first);
      memset(c, 0, UNITS * sizeof(float));
      memcpy(c, state + B * H + at, (size_t)n * sizeof(float));
      memcpy(layer->h + at, state + at, (size_t)n * sizeof(float));
      if (ROUNDED)
        round_floats(n, state + at,
                     (operand *)layer->h_rows + place_of(B, operands(H), 0, row, first));
    }
}

/* Write row T of h and c into the state, for a part. */
static void end_window(const TrainingStep *s, const TrainedLayer *layer, float *state,
                       const Part *part) {
  const ptrdiff_t B = s->B, H = s->H;
  const float *h = layer->h + s->T * B * H, *c = layer->c + s->T * B * whole_blocks(H);
  for (ptrdiff_t first = part->unit; first < part->unit + part->units; first += UNITS)
    for (ptrdiff_t row = part->row; row < part->row + part->rows; row++) {
      const size_t bytes = (size_t)min_of(UNITS, H - first) * sizeof(float);
      const ptrdiff_t at = row * H + first;
      memcpy(state + at, h + at, bytes);
      memcpy(state + B * H + at, c + unit_place(B, row, first), bytes);
    }
}

/* Write the input projection of a layer above the first, x Wx + by_symbol[id] + b, into its gates, for a
 * part. */
static void project_part(const TrainingStep *s, const TrainedLayer *layer, const Part *part,
                         operand *packed) {
  float sums[ROWS_AT_ONCE * GATES] ALIGNED;
  const ptrdiff_t B = s->B, H = s->H, K = operands(H), end = part->row + part->rows;
  const ptrdiff_t block = rows_per_block(part->rows, ROWS_AT_ONCE);
  const operand *x = layer->x_rows;
  for (ptrdiff_t first = part->unit; first < part->unit + part->units; first += WIDTH) {
    const ptrdiff_t n = units_from(first, H);
    pack_units(H, H, first, first + WIDTH, layer->Wx, packed);
    for (ptrdiff_t t = 0; t < s->T; t++)
      for (ptrdiff_t row = part->row; row < end; row += block) {
        const ptrdiff_t rows = min_of(block, end - row);
        float *a = layer->gates + t * B * 4 * whole_blocks(H) + gates_place(B, row, first);
        for (int gate = 0; gate < 4; gate += VECTORS)
          multiply_panel(rows, VECTORS, x + place_of(B, K, t, row, 0), B, K,
                         packed + gate * WIDTH * K, sums + gate * WIDTH, GATES);
        for (ptrdiff_t r = 0; r < rows; r++, a += 4 * UNITS)
          for (ptrdiff_t gate = 0; gate < 4; gate++) {
            vec sum = load(sums + r * GATES + gate * WIDTH) + load_n(layer->b + gate * H + first, n);
            if (layer->by_symbol)
              sum += load_n(layer->by_symbol + (s->inputs[t * B + row + r] * 4 + gate) * H + first, n);
            store(a + gate * UNITS, sum);
          }
      }
  }
}

/* Pack the rows by_symbol[id] + b of the first layer, for the symbols that a part's streams read. In
 * by_symbol, the same units of all symbols may fall into the same sets of the cache. scratch: see
 * size_of_symbols. */
static Symbols pack_symbols(const TrainingStep *s, const Part *part, char *scratch) {
  const ptrdiff_t B = s->B, H = s->H;
  Symbols to = {.numbers = (int *)scratch};
  int *number_of = to.numbers + s->T * B, *ids = number_of + s->V;
  to.rows = (float *)(scratch + padded((2 * s->T * B + s->V) * (ptrdiff_t)sizeof(int), 64));
  for (ptrdiff_t id = 0; id < s->V; id++) number_of[id] = -1;
  for (ptrdiff_t t = 0; t < s->T; t++)
    for (ptrdiff_t at = t * B + part->row; at < t * B + part->row + part->rows; at++) {
      int *number = number_of + s->inputs[at];
      if (*number < 0) {
        ids[to.count] = (int)s->inputs[at];
        *number = (int)to.count++;
      }
      to.numbers[at] = *number;
    }
  float *row = to.rows;
  for (ptrdiff_t first = part->unit; first < part->unit + part->units; first += UNITS)
    for (ptrdiff_t number = 0; number < to.count; number++)
      for (ptrdiff_t gate = 0; gate < 4; gate++)
        for (ptrdiff_t k = 0; k < UNITS; k += WIDTH, row += WIDTH) {
          const ptrdiff_t n = units_from(first + k, H), at = gate * H + first + k;
          store(row, load_n(s->layers->b + at, n) +
                         load_n(s->layers->by_symbol + ids[number] * 4 * H + at, n));
        }
  return to;
}

/* Write factor * h as operands, for the streams of a part, and some time steps and units. factors
 * (B, H) or NULL, which means 1. to: a matrix of operands (T, B, K), in which the units begin at number
 * `column` of a row. */
static void copy_output(const TrainingStep *s, const float *h, const float *factors, ptrdiff_t start,
                        ptrdiff_t stop, ptrdiff_t unit, ptrdiff_t units, const Part *part,
                        operand *to, ptrdiff_t K, ptrdiff_t column) {
  const ptrdiff_t B = s->B, H = s->H;
  for (ptrdiff_t t = start; t < stop; t++)
    for (ptrdiff_t row = part->row; row < part->row + part->rows; row++)
      for (ptrdiff_t k = unit; k < unit + units && k < H; k += WIDTH) {
        vec x = load_n(h + ((t + 1) * B + row) * H + k, H - k);
        if (factors) x *= load_n(factors + row * H + k, H - k);
        store_operands(to + place_of(B, K, t, row, column + k), x, H - k);
      }
}

/* Write the transpose of a matrix of operands (T, B, K) for add_transposed, for the streams of a part,
 * some time steps and some of the units, which begin at number `column` of a row. Each row of the
 * result ends with zeros. */
static void transpose_rows(const TrainingStep *s, const operand *rows, ptrdiff_t K, ptrdiff_t column,
                           ptrdiff_t start, ptrdiff_t stop, ptrdiff_t unit, ptrdiff_t units,
                           const Part *part, operand *columns) {
  const ptrdiff_t B = s->B, of_step = rows_of_step(B), length = operands(s->T * of_step);
  const ptrdiff_t last = min_of(unit + units, s->H), end = part->row + part->rows;
  for (ptrdiff_t first = unit; first < last; first += UNITS)
    for (ptrdiff_t t = start; t < stop; t++)
      for (ptrdiff_t k = first; k < last && k < first + UNITS; k++) {
        const operand *from = rows + place_of(B, K, t, 0, column + k);
        const ptrdiff_t stride = place_of(B, K, 0, 1, 0);
        operand *to = columns + k * length + t * of_step;
        for (ptrdiff_t row = part->row; row < end; row++) to[row] = from[row * stride];
        if (end == B && of_step > B) to[B] = 0;
      }
  for (ptrdiff_t k = unit; stop == s->T && part->row == 0 && k < last; k++)
    for (ptrdiff_t j = s->T * of_step; j < length; j++) columns[k * length + j] = 0;
}

/* The place of number k of those that the history holds of a stream. */
INLINE ptrdiff_t history_place(const TrainingStep *s, ptrdiff_t k, ptrdiff_t row) {
  return (k / s->H * s->B + row) * s->H + k % s->H;
}

/* The code of the symbol of a stream at a time step; those before the window are in the history. */
INLINE unsigned long long code_at(const TrainingStep *s, ptrdiff_t t, ptrdiff_t row) {
  if (t >= 0) return s->codes[1 + s->inputs[t * s->B + row]];
  const float symbol = s->history[history_place(s, s->ngrams + t, row)]; /* from a file: any number */
  return s->codes[symbol > 0 ? symbol < (float)s->V ? (ptrdiff_t)rintf(symbol) : s->V : 0];
}

/* Write the indices of the table rows of the contexts that end at some time steps, for a part: those of
 * context_rows in network/layers/ngrams.py. */
static void find_table_rows(const TrainingStep *s, ptrdiff_t start, ptrdiff_t stop, const Part *part) {
  for (ptrdiff_t t = start; t < stop; t++)
    for (ptrdiff_t row = part->row; row < part->row + part->rows; row++) {
      unsigned long long hash = longer_context(0, code_at(s, t, row));
      for (ptrdiff_t back = 1; back <= s->ngrams; back++) {
        hash = longer_context(hash, code_at(s, t - back, row));
        s->rows[(t * s->B + row) * s->ngrams + back - 1] = context_row(hash, s->R);
      }
    }
}

/* Write the last symbols of a window into the history. */
static void keep_history(const TrainingStep *s) {
  for (ptrdiff_t row = 0; row < s->B; row++)
    for (ptrdiff_t k = 0; k < s->ngrams; k++) {
      const ptrdiff_t t = s->T - s->ngrams + k;
      s->history[history_place(s, k, row)] =
          t < 0 ? s->history[history_place(s, k + s->T, row)] : (float)(1 + s->inputs[t * s->B + row]);
    }
}

/* Compute the losses of some time steps of a part's streams, and back-propagate them to the outputs
 * that the head reads. */
static void head_part(const TrainingStep *s, ptrdiff_t start, ptrdiff_t stop, const Part *part,
                      operand *packed) {
  const ptrdiff_t B = s->B, H = s->H, V = s->V, K = s->seen * operands(H), of_logits = operands(V);
  const ptrdiff_t end = part->row + part->rows, block = rows_per_block(part->rows, ROWS_AT_ONCE);
  float sums[ROWS_AT_ONCE * PANEL] ALIGNED;
  operand *inputs = s->head_rows, *dlogits = s->dlogit_rows, *columns = s->head_columns;
  for (ptrdiff_t k = 0; k < s->seen; k++) {
    const TrainedLayer *layer = s->layers + s->L - s->seen + k;
    if (s->dropout || s->seen > 1)
      copy_output(s, layer->h, layer->head_factors, start, stop, 0, H, part, inputs, K,
                  k * operands(H));
    if (ROUNDED)
      transpose_rows(s, inputs, K, k * operands(H), start, stop, 0, H, part,
                     columns + k * H * operands(s->T * rows_of_step(B)));
  }
  for (ptrdiff_t p = 0; p < panel_count(V) && start < stop; p++) {
    const ptrdiff_t first = panel_start(V, p), width = panel_start(V, p + 1) - first;
    for (ptrdiff_t k = 0; k < s->seen; k++)
      pack_panel(0, H, V - first, width, s->head_W + k * H * V + first, V,
                 packed + k * operands(H) * width);
    for (ptrdiff_t t = start; t < stop; t++)
      for (ptrdiff_t row = part->row; row < end; row += block) {
        const ptrdiff_t rows = min_of(block, end - row);
        float *logits = s->log_probs + (t * B + row) * V + first;
        multiply_panel(rows, (int)(width / WIDTH), inputs + place_of(B, K, t, row, 0), B, K, packed,
                       sums, PANEL);
        for (ptrdiff_t r = 0; r < rows; r++)
          for (ptrdiff_t j = 0; j < width; j += WIDTH)
            store_n(logits + r * V + j, load(sums + r * PANEL + j), V - first - j);
      }
  }
  if (s->ngrams) find_table_rows(s, start, stop, part);
  for (ptrdiff_t t = start; t < stop; t++) {
    const ptrdiff_t row = t * B + part->row, rows = part->rows;
    float *log_probs = s->log_probs + row * V;
    if (s->ngrams)
      NAME(add_ngram_logits)(rows, s->ngrams, V, s->rows + row * s->ngrams, s->table, log_probs);
    NAME(log_softmax)(rows, V, log_probs, s->head_b);
    for (ptrdiff_t r = 0; r < rows; r++)
      s->losses[row + r] = -log_probs[r * V + s->targets[row + r]];
    NAME(cross_entropy_gradient)(rows, V, s->targets + row, log_probs, s->scales + row);
    for (ptrdiff_t r = 0; ROUNDED && r < rows; r++)
      for (ptrdiff_t k = 0; k < V; k += UNITS)
        round_floats(min_of(UNITS, V - k), log_probs + r * V + k,
                     dlogits + place_of(B, of_logits, t, part->row + r, k));
  }
  for (ptrdiff_t k = 0; k < s->seen; k++) {
    const float *W = s->head_W + k * H * V, *factors = s->layers[s->L - s->seen + k].head_factors;
    for (ptrdiff_t p = 0; p < panel_count(whole_blocks(H)) && start < stop; p++) {
      const ptrdiff_t first = panel_start(whole_blocks(H), p);
      const ptrdiff_t width = panel_start(whole_blocks(H), p + 1) - first;
      pack_panel(1, V, H - first, width, W + first * V, V, packed);
      for (ptrdiff_t t = start; t < stop; t++)
        for (ptrdiff_t row = part->row; row < end; row += block) {
          const ptrdiff_t rows = min_of(block, end - row);
          float *gradient = s->dhead_input + (t * s->seen + k) * B * whole_blocks(H);
          multiply_panel(rows, (int)(width / WIDTH), dlogits + place_of(B, of_logits, t, row, 0), B,
                         of_logits, packed, sums, PANEL);
          for (ptrdiff_t j = 0; j < width; j += WIDTH)
            for (ptrdiff_t r = 0; r < rows; r++) {
              const ptrdiff_t unit = first + j;
              vec sum = load(sums + r * PANEL + j);
              if (s->dropout) sum *= load_n(factors + (row + r) * H + unit, units_from(unit, H));
              store(gradient + unit_place(B, row + r, unit), sum);
            }
        }
    }
  }
}

/* Write the gradient of the output of layer k - 1 into dout, for a part: through the input of layer
 * k, and from the head if it reads layer k - 1. */
static void input_gradient_part(const TrainingStep *s, ptrdiff_t k, const Part *part,
                                operand *packed) {
  const ptrdiff_t B = s->B, H = s->H, of_step = B * whole_blocks(H), K = 4 * whole_blocks(H);
  const ptrdiff_t end = part->row + part->rows, block = rows_per_block(part->rows, ROWS_AT_ONCE);
  const TrainedLayer *layer = s->layers + k;
  const float *from_head = s->seen > s->L - k ? s->dhead_input + (s->seen - s->L + k - 1) * of_step : NULL;
  const operand *d = layer->d_rows;
  float sums[ROWS_AT_ONCE * PANEL] ALIGNED;
  pack_panels_of_gates(H, part->unit, part->unit + part->units, layer->Wx, packed);
  for (ptrdiff_t p = 0; p < panel_count(part->units); p++) {
    const ptrdiff_t first = panel_start(part->units, p);
    const ptrdiff_t width = panel_start(part->units, p + 1) - first;
    for (ptrdiff_t t = 0; t < s->T; t++)
      for (ptrdiff_t row = part->row; row < end; row += block) {
        const ptrdiff_t rows = min_of(block, end - row);
        multiply_panel_of_gates(rows, (int)(width / WIDTH), d + t * B * K + row * GATES_OF_ROW, B, K,
                                packed + first * K, sums, PANEL);
        for (ptrdiff_t j = 0; j < width; j += WIDTH)
          for (ptrdiff_t r = 0; r < rows; r++) {
            const ptrdiff_t unit = part->unit + first + j, place = unit_place(B, row + r, unit);
            vec sum = load(sums + r * PANEL + j);
            if (layer->x_factors)
              sum *= load_n(layer->x_factors + (row + r) * H + unit, units_from(unit, H));
            if (from_head) sum += load(from_head + t * s->seen * of_step + place);
            store(s->dout + t * of_step + place, sum);
          }
      }
  }
}

/* Write sums, times the factors if any, into columns of a matrix. The rows of the sums are `width`
 * floats apart, those of the matrix and the factors `stride` floats. squares: the sum of squares of each
 * GROUP of rows is added. */
static void write_sums(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t width, const float *sums,
                       const float *factors, float *to, ptrdiff_t stride, double *squares) {
  for (ptrdiff_t start = 0; start < rows; start += GROUP) {
    vec sums_of_squares = {0};
    float sum = 0;
    for (ptrdiff_t r = start; r < rows && r < start + GROUP; r++)
      for (ptrdiff_t j = 0; j < columns; j += WIDTH) {
        vec x = load(sums + r * width + j);
        __builtin_prefetch(to + (r + ROWS_AHEAD) * stride + j, 1);
        if (factors) x *= load_n(factors + r * stride + j, columns - j);
        store_n(to + r * stride + j, x, columns - j);
        sums_of_squares += x * x; /* the columns of padding are 0 */
      }
    for (int j = 0; j < WIDTH; j++) sum += sums_of_squares[j];
    squares[start / GROUP] += sum;
  }
}

/* Like write_sums, for the columns of the gates of a block of units, into a matrix (rows, 4H). */
static void write_gates(ptrdiff_t rows, ptrdiff_t H, ptrdiff_t unit, const float *sums,
                        const float *factors, float *to, double *squares) {
  const ptrdiff_t columns = min_of(UNITS, H - unit);
  for (ptrdiff_t gate = 0; gate < 4; gate++) {
    const ptrdiff_t at = gate * H + unit;
    write_sums(rows, columns, 4 * UNITS, sums + gate * UNITS, factors ? factors + at : NULL, to + at,
               4 * H, squares);
  }
}

/* Compute a task of a layer: the gradient of a part of the rows of W (H, 4H) = x^T d, for x (TB, H) and d
 * (TB, 4H), in the columns of the gates of a block of units; TB = T * B. of_x: 1 for Wx, 0 for Wh, where
 * x is the output of the step before. The tasks of the first rows of Wh also compute the gradients of the
 * bias and of the weights by symbol. squares: the sums of squares of all gradients of W. */
static void layer_task(const TrainingStep *s, const TrainedLayer *layer, int of_x, ptrdiff_t task,
                       double *squares, char *scratch) {
  const ptrdiff_t B = s->B, H = s->H, parts = row_parts(H, H, s->workers), width = 4 * UNITS;
  const ptrdiff_t p = task / parts, unit = p * UNITS, jump = B * 4 * whole_blocks(H);
  const ptrdiff_t of_step = rows_of_step(B), length = operands(s->T * of_step), chunk = steps_at_once(B);
  const ptrdiff_t of_panel = packed_rows(chunk, B) * PANEL;
  ptrdiff_t rows, start = part_rows(H, parts, task % parts, &rows);
  const operand *x = (operand *)(of_x ? layer->x_rows : layer->h_rows) + start;
  const operand *columns = of_x ? layer->x_columns : layer->h_columns;
  const int sums_symbols = !of_x && start == 0;
  operand *panels = (operand *)scratch;
  float *bias = (float *)(panels + width / PANEL * of_panel), *by_symbol = bias + width;
  float *sums = by_symbol + (layer->by_symbol ? s->V * width : 0);
  if (sums_symbols) memset(bias, 0, (size_t)(sums - bias) * sizeof(float));
  squares += p * group_count(H) + start / GROUP;
  memset(squares, 0, (size_t)group_count(rows) * sizeof(double));
  for (ptrdiff_t t = 0; t < s->T; t += chunk) {
    const ptrdiff_t n = min_of(chunk, s->T - t);
    const float *gates = layer->gates + t * jump + unit * 4 * B;
    for (ptrdiff_t j = 0; j < width; j += PANEL)
      pack_steps(n, B, PANEL, PANEL, gates + j, jump, width, panels + j / PANEL * of_panel);
    for (ptrdiff_t j = 0; j < width; j += PANEL)
      add_transposed(rows, VECTORS, t == 0, x + t * B * H, H,
                     ROUNDED ? columns + start * length + t * of_step : NULL, length, n, B,
                     panels + j / PANEL * of_panel, sums + j, width);
    for (ptrdiff_t row = 0; sums_symbols && row < n * B; row++) {
      float *sum = layer->by_symbol ? by_symbol + s->inputs[t * B + row] * width : bias;
      const float *gradient = gates + row / B * jump + row % B * width;
      for (ptrdiff_t j = 0; j < width; j += WIDTH) store(sum + j, load(sum + j) + load(gradient + j));
    }
  }
  write_gates(rows, H, unit, sums, of_x || !layer->Wh_factors ? NULL : layer->Wh_factors + start * 4 * H,
              (of_x ? layer->dWx : layer->dWh) + start * 4 * H, squares);
  if (!sums_symbols) return;
  for (ptrdiff_t v = 0; layer->by_symbol && v < s->V; v += GROUP) /* all into the first sum of squares */
    write_gates(min_of(GROUP, s->V - v), H, unit, by_symbol + v * width, NULL,
                layer->dby_symbol + v * 4 * H, squares);
  for (ptrdiff_t v = 0; layer->by_symbol && v < s->V; v++)
    for (ptrdiff_t j = 0; j < width; j += WIDTH)
      store(bias + j, load(bias + j) + load(by_symbol + v * width + j));
  write_gates(1, H, unit, bias, NULL, layer->db, squares);
}

/* Compute a task of the head: see layer_task. */
static void head_task(const TrainingStep *s, ptrdiff_t task, double *squares, char *scratch) {
  const ptrdiff_t B = s->B, K = s->seen * s->H, V = s->V, parts = row_parts(K, s->H, s->workers);
  const ptrdiff_t p = task / parts, first = panel_start(V, p), width = panel_start(V, p + 1) - first;
  const ptrdiff_t of_step = rows_of_step(B), length = operands(s->T * of_step);
  const ptrdiff_t chunk = steps_at_once(B), columns = min_of(width, V - first);
  ptrdiff_t rows, start = part_rows(K, parts, task % parts, &rows);
  const operand *inputs = s->head_rows, *input_columns = s->head_columns;
  operand *panel = (operand *)scratch;
  float *bias = (float *)(panel + packed_rows(chunk, B) * PANEL), *sums = bias + width;
  memset(bias, 0, (size_t)width * sizeof(float));
  squares += p * group_count(K) + start / GROUP;
  memset(squares, 0, (size_t)group_count(rows) * sizeof(double));
  for (ptrdiff_t t = 0; t < s->T; t += chunk) {
    const ptrdiff_t n = min_of(chunk, s->T - t);
    const float *dlogits = s->log_probs + t * B * V + first;
    pack_steps(n, B, V - first, width, dlogits, B * V, V, panel);
    add_transposed(rows, (int)(width / WIDTH), t == 0, inputs + t * B * K + start, K,
                   ROUNDED ? input_columns + start * length + t * of_step : NULL, length, n, B, panel,
                   sums, width);
    for (ptrdiff_t r = 0; r < n * B && start == 0; r++)
      for (ptrdiff_t j = 0; j < columns; j += WIDTH)
        store(bias + j, load(bias + j) + load_n(dlogits + r * V + j, columns - j));
  }
  write_sums(rows, columns, width, sums, NULL, s->dhead_W + start * V + first, V, squares);
  if (start == 0) write_sums(1, columns, width, bias, NULL, s->dhead_b + first, V, squares);
}

/* Compute task number `task` of a step; returns 0 if there is none. */
static int weight_task(const TrainingStep *s, ptrdiff_t task, char *scratch) {
  const ptrdiff_t H = s->H, tasks = block_count(H) * row_parts(H, H, s->workers);
  double *squares = s->squares;
  for (ptrdiff_t k = 0; k < s->L; k++)
    for (int of_x = 0; of_x <= (k > 0); of_x++) {
      if (task < tasks) {
        layer_task(s, s->layers + k, of_x, task, squares, scratch);
        return 1;
      }
      task -= tasks;
      squares += block_count(H) * group_count(H);
    }
  if (task >= panel_count(s->V) * row_parts(s->seen * H, H, s->workers)) return 0;
  head_task(s, task, squares, scratch);
  return 1;
}

/* Clip the gradients of some weights, and update the weights and their average. */
static void update_part(const TrainingStep *s, double norm, ptrdiff_t start, ptrdiff_t count) {
  const float scale = s->clip > 0 && norm > s->clip ? (float)(s->clip / norm) : 1;
  const float limit = (float)s->clip_value, moved = (float)s->average_step;
  const ptrdiff_t block = 4096; /* its arrays stay in the first-level cache */
  for (ptrdiff_t k = start; k < start + count; k += block) {
    const ptrdiff_t n = min_of(block, start + count - k);
    for (ptrdiff_t j = 0; j < n && scale != 1; j++) s->gradient[k + j] *= scale;
    for (ptrdiff_t j = 0; j < n && limit > 0; j += WIDTH)
      store_n(s->gradient + k + j,
              LARGER(-limit - (vec){0}, SMALLER(limit - (vec){0}, load_n(s->gradient + k + j, n - j))),
              n - j);
    NAME(adam_update)(n, s->weights + k, s->gradient + k, s->mean + k, s->square + k, s->constants);
    for (ptrdiff_t j = 0; j < n && s->average; j++)
      s->average[k + j] += (s->weights[k + j] - s->average[k + j]) * moved;
  }
}

/* Add the time since *since to a phase of a worker, and set *since to now. */
static void end_phase(const TrainingStep *s, ptrdiff_t worker, enum phase phase, double *since) {
  if (!s->seconds) return;
  const double now = seconds_now();
  s->seconds[worker * PHASES + phase] += now - *since;
  *since = now;
}

/* Like meet, and count the time that the worker waits. */
static int wait_for(const TrainingStep *s, ptrdiff_t worker, Team *team, double *since) {
  const int stopped = meet(team);
  end_phase(s, worker, WAIT, since);
  return stopped;
}

/* See train_step. Returns 1 if the step was made, 0 if it was stopped. */
static int step_of_worker(TrainingStep *s, ptrdiff_t worker) {
  const ptrdiff_t members = s->workers / s->teams, team = worker / members, member = worker % members;
  const ptrdiff_t B = s->B, H = s->H, of_row = operands(H), of_step = B * whole_blocks(H);
  char *scratch = s->scratch + worker * s->scratch_size;
  operand *packed = (operand *)scratch;
  Part part = {.team = s->meetings + 1 + team};
  ptrdiff_t start, steps;
  double since = s->seconds ? seconds_now() : 0;
  part.row = share_of(B, s->teams, team, &part.rows);
  part.unit = share_of(whole_blocks(H) / UNITS, members, member, &part.units) * UNITS;
  part.units *= UNITS;
  for (ptrdiff_t k = 0; k < s->L; k++) {
    const TrainedLayer *layer = s->layers + k;
    begin_window(s, layer, s->state + k * 2 * B * H, &part);
    if (k) {
      if (layer->x_factors)
        copy_output(s, layer[-1].h, layer->x_factors, 0, s->T, part.unit, part.units, &part,
                    layer->x_rows, of_row, 0);
      if (ROUNDED)
        transpose_rows(s, layer->x_rows, of_row, 0, 0, s->T, part.unit, part.units, &part,
                       layer->x_columns);
      /* the projection reads all units of the layer below */
      if (wait_for(s, worker, part.team, &since)) return 0;
    }
    if (k) project_part(s, layer, &part, packed);
    end_phase(s, worker, PROJECTION, &since);
    pack_units(H, H, part.unit, part.unit + part.units, layer->Wh, packed);
    const Symbols symbols = k ? (Symbols){0} : pack_symbols(s, &part, scratch + packed_bytes(H));
    forward_part(s->T, B, H, (int)s->capped, k ? NULL : &symbols, layer->gates, layer->h, layer->h_rows, layer->c,
                 layer->tanh_c, &part, packed);
    if (ROUNDED)
      transpose_rows(s, layer->h_rows, of_row, 0, 0, s->T, part.unit, part.units, &part,
                     layer->h_columns);
    end_phase(s, worker, FORWARD, &since);
  }
  if (wait_for(s, worker, part.team, &since)) return 0; /* the head reads all units */
  start = share_of(s->T, members, member, &steps);
  head_part(s, start, start + steps, &part, packed);
  end_phase(s, worker, HEAD, &since);
  if (wait_for(s, worker, part.team, &since)) return 0; /* the backward pass reads all time steps */
  for (ptrdiff_t k = s->L - 1; k >= 0; k--) {
    const TrainedLayer *layer = s->layers + k;
    const int top = k == s->L - 1;
    for (ptrdiff_t first = part.unit; first < part.unit + part.units; first += UNITS) {
      const ptrdiff_t at = unit_place(B, part.row, first);
      memset(s->dh + at, 0, (size_t)(part.rows * UNITS) * sizeof(float));
      memset(s->dc + at, 0, (size_t)(part.rows * UNITS) * sizeof(float));
    }
    pack_panels_of_gates(H, part.unit, part.unit + part.units, layer->Wh, packed);
    backward_part(s->T, B, H, (int)s->capped, layer->gates, layer->d_rows, s->dh, s->dc,
                  top ? s->dhead_input + (s->seen - 1) * of_step : s->dout,
                  top ? s->seen * of_step : of_step, layer->c, layer->tanh_c, 0, &part, packed);
    end_phase(s, worker, BACKWARD, &since);
    if (k) input_gradient_part(s, k, &part, packed);
    end_phase(s, worker, INPUT_GRADIENT, &since);
  }
  if (wait_for(s, worker, s->meetings, &since)) return 0;
  while (weight_task(s, __atomic_fetch_add(&s->next_task, 1, __ATOMIC_RELAXED), scratch)) continue;
  end_phase(s, worker, WEIGHTS, &since);
  /* After this second meeting of all, no worker stops: a stopped step changes no state or weight. */
  if (wait_for(s, worker, s->meetings, &since)) return 0;
  for (ptrdiff_t k = 0; k < s->L; k++) end_window(s, s->layers + k, s->state + k * 2 * B * H, &part);
  double norm = 0;
  const ptrdiff_t count_of_squares = NAME(size_of_squares)(s->L, H, s->V, s->seen);
  for (ptrdiff_t k = 0; k < count_of_squares; k++) norm += s->squares[k];
  norm = sqrt(norm);
  if (worker == 0) {
    *s->gradient_norm = norm;
    *s->nats = 0;
    for (ptrdiff_t k = 0; k < s->T * B; k++) *s->nats += s->scales[k] ? s->losses[k] : 0;
    if (s->ngrams) keep_history(s);
  }
  if (!s->updates) return 1;
  ptrdiff_t count, first = share_of(s->weight_count, s->workers, worker, &count);
  update_part(s, norm, first, count);
  end_phase(s, worker, UPDATE, &since);
  if (s->ngrams) {
    first = share_of(s->R, s->workers, worker, &count);
    update_table_rows(s->T * s->B, s->ngrams, s->V, first, first + count, s->rows, s->log_probs,
                      s->table, s->table_squares, s->table_constants,
                      s->places + worker * s->places_size, (float *)scratch);
    end_phase(s, worker, TABLE, &since);
  }
  return 1;
}

/* Begin a step: threads that are ready start. The caller sends a thread for each other worker, and then
 * makes the share of worker 0 itself. */
void NAME(begin_training_step)(TrainingStep *s) {
  for (ptrdiff_t worker = 1; worker < s->workers; worker++) begin_share(s->threads + worker);
}

/* Make the share of one worker in a step. For worker 0, return when all workers have done their shares.
 * The threads of other workers stay ready for further steps for some time. Returns 1 if the step was made,
 * 0 if the meeting of all workers was stopped before. */
int NAME(train_step)(TrainingStep *s, ptrdiff_t worker) {
  int is_made;
  do {
    BEGIN_PRODUCTS;
    is_made = step_of_worker(s, worker);
    END_PRODUCTS;
  } while (worker && end_share(s->threads + worker, s->patience, s->meetings));
  for (ptrdiff_t k = 1; is_made && worker == 0 && k < s->workers; k++) wait_for_share(s->threads + k);
  return is_made;
}

/* Write the sizes in bytes of TrainedLayer, TrainingStep, Team and Thread, which native_training.py
 * checks. */
void NAME(training_layout)(ptrdiff_t *sizes) {
  sizes[0] = sizeof(TrainedLayer);
  sizes[1] = sizeof(TrainingStep);
  sizes[2] = sizeof(Team);
  sizes[3] = sizeof(Thread);
}
