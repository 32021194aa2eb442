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
 * pointers. native_generation.py has the same fields in the same order. */
typedef struct {
  ptrdiff_t L, B, H, V;
  ptrdiff_t seen;          /* the head reads the outputs of the last `seen` layers */
  ptrdiff_t top_k;
  ptrdiff_t line_end;      /* model of lines: the id of the line end, which clears the state;
                              other models: -1 */
  ptrdiff_t capped;        /* 1: min(i, 1 - f) takes the place of i */
  double temperature, top_p, min_p;
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
  float *h, *c;            /* (L, B, H), in and out: the state */
  long long *ids;          /* (B), in and out: the last symbol of each sample */
  float *next_h, *tanh_c;  /* (B, H) scratch */
  float *gates;            /* (B, 4H) scratch */
  float *head_x;           /* (B, seen * H) scratch */
  float *logits;           /* (B, V) scratch */
  double *probabilities;   /* (V) scratch */
  struct Rank *ranks;      /* (V) scratch */
} Generation;

/* Order by falling probability, and by rising id among equal probabilities. */
static int compare_ranks(const void *a, const void *b) {
  const struct Rank *x = a, *y = b;
  if (x->probability != y->probability) return x->probability > y->probability ? -1 : 1;
  return (x->id > y->id) - (x->id < y->id);
}

/* Add to the logits (V) of sample b the table rows of the n-grams that end with its last symbol,
 * found by the hash of network/layers/ngrams.py. Then put the code of that symbol in front of the
 * recent codes. */
static void add_ngrams(const Generation *s, ptrdiff_t b, float *logits) {
  unsigned long long *recent = s->recent + b * (s->ngrams - 1), last = s->codes[1 + s->ids[b]];
  unsigned long long hash = longer_context(0, last);
  for (ptrdiff_t back = 1; back < s->ngrams; back++) {
    hash = longer_context(hash, recent[back - 1]);
    const float *row = s->table + context_row(hash, s->R) * s->V;
    for (ptrdiff_t k = 0; k < s->V; k++) logits[k] += row[k];
  }
  memmove(recent + 1, recent, (size_t)(s->ngrams - 2) * sizeof *recent);
  recent[0] = last;
}

/* Return the id that a uniform number in [0, 1) selects, for the logits (V). The temperature and
 * the filters work as in `probabilities` in network/sampling.py. */
static long long draw(const Generation *s, const float *logits, double uniform) {
  const ptrdiff_t V = s->V;
  double *p = s->probabilities;
  ptrdiff_t likeliest = 0;
  for (ptrdiff_t k = 1; k < V; k++)
    if (logits[k] > logits[likeliest]) likeliest = k;
  if (s->temperature == 0) return likeliest;
  double sum = 0, total = 0, below = 0;
  for (ptrdiff_t k = 0; k < V; k++) {
    p[k] = exp(((double)logits[k] - (double)logits[likeliest]) / s->temperature);
    sum += p[k];
  }
  for (ptrdiff_t k = 0; k < V; k++) p[k] /= sum;
  const double least_p = s->min_p * p[likeliest];
  if ((s->top_k > 0 && s->top_k < V) || s->top_p < 1) {
    for (ptrdiff_t k = 0; k < V; k++) s->ranks[k] = (struct Rank){p[k], k};
    qsort(s->ranks, (size_t)V, sizeof(struct Rank), compare_ranks);
    double before = 0; /* the total probability of all likelier symbols */
    for (ptrdiff_t k = 0; k < V; k++) {
      const struct Rank rank = s->ranks[k];
      if (before >= s->top_p || (s->top_k > 0 && k >= s->top_k)) p[rank.id] = 0;
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
  layout[1] = offsetof(Generation, ranks);
}

/* out (B, N) = x (B, K) W (K, N) + b (N), for W packed by pack_columns. */
static void NAME(dense)(ptrdiff_t B, ptrdiff_t K, ptrdiff_t N, const float *x, const float *packed,
                        const float *b, float *out) {
  float sums[MAX_ROWS * PANEL];
  const int block = rows_per_block(B, MAX_ROWS);
  for (ptrdiff_t first = 0; first < N; first += PANEL, packed += K * PANEL)
    for (ptrdiff_t row = 0; row < B; row += block) {
      const int rows = (int)min_of(block, B - row);
      product(rows, x + row * K, K, K, packed, sums);
      for (int r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < PANEL && first + j < N; j += WIDTH) {
          const ptrdiff_t n = N - first - j;
          store_n(out + (row + r) * N + first + j,
                     load(sums + r * PANEL + j) + load_n(b + first + j, n), n);
        }
    }
}

/* Compute one step of one layer. On entry, s->gates holds the bias plus the row that the last
 * symbol of each sample adds. x (B, H): the output of the layer below; NULL for the first layer. */
static void NAME(advance_layer)(const Generation *s, ptrdiff_t layer, const float *x) {
  float sums[MAX_ROWS * GATES], from_x[MAX_ROWS * GATES];
  const ptrdiff_t B = s->B, H = s->H;
  float *h = s->h + layer * B * H, *c = s->c + layer * B * H;
  const int block = rows_per_block(B, MAX_ROWS);
  for (ptrdiff_t first = 0; first < H; first += WIDTH)
    for (ptrdiff_t row = 0; row < B; row += block) {
      const int rows = (int)min_of(block, B - row);
      product_of_gates(rows, h + row * H, H, s->Wh[layer] + first * 4 * H, sums);
      if (x != NULL) {
        product_of_gates(rows, x + row * H, H, s->Wx[layer - 1] + first * 4 * H, from_x);
        for (int k = 0; k < rows * GATES; k += WIDTH)
          store(sums + k, load(sums + k) + load(from_x + k));
      }
      const ptrdiff_t unit = row * H + first;
      advance_units(rows, H - first, H, (int)s->capped, sums, s->gates + row * 4 * H + first,
                    c + unit, c + unit, s->tanh_c + unit, H - first, H, s->next_h + unit);
    }
  memcpy(h, s->next_h, (size_t)(B * H) * sizeof(float));
}

/* Draw `steps` symbols of each sample into out (steps, B). Each is drawn with the number at the
 * same place in uniforms (steps, B). */
void NAME(generate)(const Generation *s, ptrdiff_t steps, const double *uniforms, long long *out) {
  const ptrdiff_t B = s->B, H = s->H, K = s->seen * H;
  const size_t row = (size_t)(4 * H) * sizeof(float);
  for (ptrdiff_t step = 0; step < steps; step++) {
    for (ptrdiff_t b = 0; b < B; b++)
      if (s->ids[b] == s->line_end)
        for (ptrdiff_t layer = 0; layer < s->L; layer++) {
          memset(s->h + (layer * B + b) * H, 0, (size_t)H * sizeof(float));
          memset(s->c + (layer * B + b) * H, 0, (size_t)H * sizeof(float));
          if (s->ngrams)
            memset(s->recent + b * (s->ngrams - 1), 0,
                   (size_t)(s->ngrams - 1) * sizeof *s->recent);
        }
    for (ptrdiff_t layer = 0; layer < s->L; layer++) {
      const float *by_symbol = s->by_symbol[layer];
      for (ptrdiff_t b = 0; b < B; b++)
        memcpy(s->gates + b * 4 * H, by_symbol ? by_symbol + s->ids[b] * 4 * H : s->b[layer], row);
      NAME(advance_layer)(s, layer, layer ? s->h + (layer - 1) * B * H : NULL);
    }
    for (ptrdiff_t k = 0; k < s->seen; k++)
      for (ptrdiff_t b = 0; b < B; b++)
        memcpy(s->head_x + b * K + k * H, s->h + ((s->L - s->seen + k) * B + b) * H,
               (size_t)H * sizeof(float));
    NAME(dense)(B, K, s->V, s->head_x, s->head_W, s->head_b, s->logits);
    if (s->ngrams)
      for (ptrdiff_t b = 0; b < B; b++) add_ngrams(s, b, s->logits + b * s->V);
    for (ptrdiff_t b = 0; b < B; b++)
      s->ids[b] = out[step * B + b] =
          draw(s, s->logits + b * s->V, uniforms[step * B + b]);
  }
}
