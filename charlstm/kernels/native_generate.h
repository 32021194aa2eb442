/* Sampling from an LSTM, many symbols per call. The samples equal those that the loop at the end of
 * generate in charlstm/network/sampling.py draws.
 */

#ifndef CHARLSTM_GENERATION
#define CHARLSTM_GENERATION

struct Rank {
  double probability;
  long long id;
};

/* B samples of a model of L layers, H units and V symbols. The caller owns the memory at all
 * pointers. native_generation.py has the same fields in the same order.
 *
 * The workers are divided into teams. A team draws some of the samples. Its members divide the units
 * of each layer and the columns of the head among them, so that each reads its own part of the
 * weights, from the cache of its own core. */
typedef struct {
  ptrdiff_t L, B, H, V;
  ptrdiff_t workers, teams; /* the number of threads; a divisor of it */
  ptrdiff_t steps;          /* the number of symbols of each sample to draw */
  ptrdiff_t seen;          /* the head reads the outputs of the last `seen` layers */
  ptrdiff_t line_end;      /* model of lines: the id of the line end, which clears the state;
                              other models: -1 */
  ptrdiff_t capped;        /* 1: min(i, 1 - f) takes the place of i */
  const double *temperature, *top_p, *min_p; /* (B): the settings of each sample */
  const long long *top_k;  /* (B) */
  const float **by_symbol; /* per layer: (V, 4H), b plus the row of Wx (first layer) or Wi that a
                              symbol adds to the gates; NULL for a layer that sees no symbols */
  const float **b;         /* per layer: (4H) */
  const float **Wx;        /* per layer above the first: (H, 4H), packed by pack_gates */
  const float **Wh;        /* per layer: (H, 4H), packed by pack_gates */
  const float *head_W;     /* (seen * H, V), packed by pack_columns */
  const float *head_b;     /* (V) */
  ptrdiff_t ngrams, R;     /* the length of the longest n-gram, or 0; the number of table rows */
  const float *table;      /* (R, V): the logits that n-grams add */
  const unsigned long long *codes; /* (1 + V): the numbers that are hashed: one for "no symbol",
                                      then one for each symbol */
  unsigned long long *recent; /* (B, ngrams - 1), in and out: the codes of the symbols before the
                                 last one, newest first */
  float *h, *next_h;       /* (B, L, H): h in and out; the last `seen` layers of a sample are the input
                              of the head. next_h is scratch. Each step swaps the two. */
  float *c;                /* (L, B, H), in and out */
  long long *ids;          /* (B), in and out: the last symbol of each sample */
  float *tanh_c;           /* (B, H) scratch */
  float *gates;            /* (B, 4H) scratch */
  float *logits;           /* (B, V) scratch */
  double *probabilities;   /* (workers, V) scratch */
  struct Rank *ranks;      /* (workers, V) scratch */
  const double *uniforms;  /* (steps, B): each symbol is drawn with the number at its place */
  long long *out;          /* (steps, B): written, the drawn symbols */
  Team *meetings;          /* (1 + teams): of all workers, which only stops them; of each team */
  Thread *threads;         /* (workers): of each worker; the caller is that of worker 0 */
  double patience;         /* seconds for which a thread stays ready after its share */
} Generation;

/* Order by falling probability, and by rising id among equal probabilities. */
static int compare_ranks(const void *a, const void *b) {
  const struct Rank *x = a, *y = b;
  if (x->probability != y->probability) return x->probability > y->probability ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

/* Add to the logits of sample b, in `columns` columns from `first` on, the table rows of the n-grams
 * that end with its last symbol, found by the hash of network/layers/ngrams.py. */
static void add_ngrams(const Generation *s, ptrdiff_t b, ptrdiff_t first, ptrdiff_t columns) {
  const unsigned long long *recent = s->recent + b * (s->ngrams - 1);
  unsigned long long hash = longer_context(0, s->codes[1 + s->ids[b]]);
  float *logits = s->logits + b * s->V + first;
  for (ptrdiff_t back = 1; back < s->ngrams; back++) {
    hash = longer_context(hash, recent[back - 1]);
    const float *row = s->table + context_row(hash, s->R) * s->V + first;
    for (ptrdiff_t k = 0; k < columns; k++) logits[k] += row[k];
  }
}

/* Put the code of the last symbol of sample b in front of its recent codes. */
static void keep_code(const Generation *s, ptrdiff_t b) {
  unsigned long long *recent = s->recent + b * (s->ngrams - 1);
  memmove(recent + 1, recent, (size_t)(s->ngrams - 2) * sizeof *recent);
  recent[0] = s->codes[1 + s->ids[b]];
}

/* Return the id that a uniform number in [0, 1) selects for sample b. The temperature and the filters
 * work as in `filtered_probabilities` in network/sampling.py. p, ranks (V): scratch. */
static long long draw(const Generation *s, ptrdiff_t b, double uniform, double *p,
                      struct Rank *ranks) {
  const ptrdiff_t V = s->V;
  const long long top_k = s->top_k[b];
  const double temperature = s->temperature[b], top_p = s->top_p[b];
  const float *logits = s->logits + b * V;
  ptrdiff_t likeliest = 0;
  for (ptrdiff_t k = 1; k < V; k++)
    if (logits[k] > logits[likeliest]) likeliest = k;
  if (temperature == 0) return likeliest;
  double sum = 0, total = 0, below = 0;
  for (ptrdiff_t k = 0; k < V; k++) {
    p[k] = exp(((double)logits[k] - (double)logits[likeliest]) / temperature);
    sum += p[k];
  }
  for (ptrdiff_t k = 0; k < V; k++) p[k] /= sum;
  const double least_p = s->min_p[b] * p[likeliest];
  if ((top_k > 0 && top_k < V) || top_p < 1) {
    for (ptrdiff_t k = 0; k < V; k++) ranks[k] = (struct Rank){p[k], k};
    qsort(ranks, (size_t)V, sizeof(struct Rank), compare_ranks);
    double before = 0; /* the total probability of all likelier symbols */
    for (ptrdiff_t k = 0; k < V; k++) {
      const struct Rank rank = ranks[k];
      if (before >= top_p || (top_k > 0 && k >= top_k)) p[rank.id] = 0;
      before += rank.probability;
    }
  }
  for (ptrdiff_t k = 0; k < V; k++) {
    if (p[k] < least_p) p[k] = 0;
    total += p[k];
  }
  for (ptrdiff_t k = 0; k < V; k++) {
    below += p[k];
    if (below > uniform * total) return k;
  }
  return V - 1;
}
#endif

/* Write the size of Generation and the offset of its last field into layout. native_generation.py
 * compares them with those of its mirror of the struct. */
void NAME(generation_layout)(ptrdiff_t *layout) {
  layout[0] = sizeof(Generation);
  layout[1] = offsetof(Generation, patience);
}

/* Compute the logits of the samples of a part in some of the panels of the head, `panels` from `panel`
 * on. h (B, L, H): the outputs of all layers. */
static void NAME(logits_part)(const Generation *s, const Part *part, ptrdiff_t panel,
                              ptrdiff_t panels, const float *h) {
  float sums[MAX_ROWS * PANEL];
  const ptrdiff_t V = s->V, K = s->seen * s->H, stride = s->L * s->H;
  const ptrdiff_t stop = part->row + part->rows;
  const int block = rows_per_block(part->rows, MAX_ROWS);
  const float *x = h + stride - K;
  for (ptrdiff_t p = panel; p < panel + panels; p++) {
    const ptrdiff_t first = p * PANEL, columns = min_of(PANEL, V - first);
    for (ptrdiff_t row = part->row; row < stop; row += block) {
      const int rows = (int)min_of(block, stop - row);
      product(rows, x + row * stride, stride, K, s->head_W + first * K, sums);
      for (int r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < columns; j += WIDTH)
          store_n(s->logits + (row + r) * V + first + j,
                  load(sums + r * PANEL + j) + load_n(s->head_b + first + j, columns - j),
                  columns - j);
    }
    if (s->ngrams)
      for (ptrdiff_t b = part->row; b < stop; b++) add_ngrams(s, b, first, columns);
  }
}

/* Compute one step of one layer for a part. h, next_h (B, L, H): the outputs of all layers in the step
 * before, and in this one.
 *
 * Every other step goes through the weights backwards, because of the cache of the core. It holds the
 * weights that were read last. If it cannot hold all of them, and each step began with the first, each
 * step would find them just replaced. */
static void NAME(advance_part)(const Generation *s, ptrdiff_t layer, const Part *part,
                               int backwards, const float *h, float *next_h) {
  float sums[MAX_ROWS * GATES], from_x[MAX_ROWS * GATES];
  const ptrdiff_t H = s->H, stride = s->L * H, unit = part->unit, stop = part->row + part->rows;
  const size_t size = (size_t)min_of(part->units, H - unit) * sizeof(float);
  const float *by_symbol = s->by_symbol[layer];
  float *c = s->c + layer * s->B * H;
  for (ptrdiff_t b = part->row; b < stop; b++)
    for (ptrdiff_t gate = 0; gate < 4; gate++)
      memcpy(s->gates + (b * 4 + gate) * H + unit,
             (by_symbol ? by_symbol + s->ids[b] * 4 * H : s->b[layer]) + gate * H + unit, size);
  h += layer * H;
  next_h += layer * H;
  const int block = rows_per_block(part->rows, MAX_ROWS);
  const ptrdiff_t blocks = part->units / WIDTH;
  for (ptrdiff_t k = 0; k < blocks; k++) {
    const ptrdiff_t first = unit + (backwards ? blocks - 1 - k : k) * WIDTH;
    for (ptrdiff_t row = part->row; row < stop; row += block) {
      const int rows = (int)min_of(block, stop - row);
      product_of_gates(rows, h + row * stride, stride, H, s->Wh[layer] + first * 4 * H,
                       sums);
      if (layer) { /* the output of the layer below */
        product_of_gates(rows, next_h - H + row * stride, stride, H,
                         s->Wx[layer - 1] + first * 4 * H, from_x);
        for (int k = 0; k < rows * GATES; k += WIDTH)
          store(sums + k, load(sums + k) + load(from_x + k));
      }
      const ptrdiff_t at = row * H + first;
      advance_units(rows, H - first, H, (int)s->capped, sums, s->gates + row * 4 * H + first,
                    c + at, c + at, s->tanh_c + at, H - first, stride,
                    next_h + row * stride + first);
    }
  }
}

/* Clear the states of the samples of a part that are at a line end. Returns 1 if there are any. */
static int NAME(clear_lines)(const Generation *s, const Part *part, float *h) {
  const size_t size = (size_t)min_of(part->units, s->H - part->unit) * sizeof(float);
  int any = 0;
  for (ptrdiff_t b = part->row; b < part->row + part->rows; b++) {
    if (s->ids[b] != s->line_end) continue;
    any = 1;
    for (ptrdiff_t layer = 0; layer < s->L; layer++) {
      memset(h + (b * s->L + layer) * s->H + part->unit, 0, size);
      memset(s->c + (layer * s->B + b) * s->H + part->unit, 0, size);
    }
    if (s->ngrams && part->unit == 0)
      memset(s->recent + b * (s->ngrams - 1), 0, (size_t)(s->ngrams - 1) * sizeof *s->recent);
  }
  return any;
}

/* Draw the symbols of one worker: see generate. Returns 1, or 0 if the work was stopped. */
static int NAME(generate_part)(const Generation *s, ptrdiff_t worker) {
  const ptrdiff_t members = s->workers / s->teams, team = worker / members, member = worker % members;
  Part part = {.team = s->meetings + 1 + team};
  ptrdiff_t panels, drawn;
  part.row = share_of(s->B, s->teams, team, &part.rows);
  part.unit = share_of((s->H + WIDTH - 1) / WIDTH, members, member, &part.units) * WIDTH;
  part.units *= WIDTH;
  const ptrdiff_t panel = share_of((s->V + PANEL - 1) / PANEL, members, member, &panels);
  const ptrdiff_t first = part.row + share_of(part.rows, members, member, &drawn);
  float *h = s->h, *next_h = s->next_h;
  for (ptrdiff_t step = 0; step < s->steps; step++) {
    /* A meeting follows all that other members of the team read. */
    if (NAME(clear_lines)(s, &part, h) && meet(part.team)) return 0;
    for (ptrdiff_t layer = 0; layer < s->L; layer++) {
      NAME(advance_part)(s, layer, &part, (int)(step % 2), h, next_h);
      if (meet(part.team)) return 0;
    }
    NAME(logits_part)(s, &part, panel, panels, next_h);
    if (meet(part.team)) return 0;
    for (ptrdiff_t b = first; b < first + drawn; b++) {
      if (s->ngrams) keep_code(s, b);
      s->ids[b] = s->out[step * s->B + b] =
          draw(s, b, s->uniforms[step * s->B + b],
               s->probabilities + worker * s->V, s->ranks + worker * s->V);
    }
    if (meet(part.team)) return 0;
    float *const last = h;
    h = next_h;
    next_h = last;
  }
  return 1;
}

/* Begin to draw: threads that are ready start. The caller sends a thread for each other worker, and then
 * draws the share of worker 0 itself. */
void NAME(begin_generation)(Generation *s) {
  for (ptrdiff_t worker = 1; worker < s->workers; worker++) begin_share(s->threads + worker);
}

/* Draw s->steps symbols of the samples of one worker. For worker 0, return when all workers have done
 * their shares. The threads of other workers stay ready for some time. Returns 1, or 0 if the work was
 * stopped. */
int NAME(generate)(Generation *s, ptrdiff_t worker) {
  int is_made;
  do {
    is_made = NAME(generate_part)(s, worker);
  } while (worker && end_share(s->threads + worker, s->patience, s->meetings));
  if (worker || !is_made) return is_made;
  for (ptrdiff_t k = 1; k < s->workers; k++) wait_for_share(s->threads + k);
  if (s->steps % 2) {
    float *const last = s->h;
    s->h = s->next_h;
    s->next_h = last;
  }
  return 1;
}
