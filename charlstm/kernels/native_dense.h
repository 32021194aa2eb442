/* The kernels without products: sums of rows by id, rows of the table of n-grams, the softmax, the
 * cross-entropy and Adam. The results are those of the functions of the same names in reference.py.
 */
/* Add up the rows (count, N) that have the same id in ids (count): row v of sums (V, N) is the sum
 * for id v. */
void NAME(sum_rows)(ptrdiff_t count, ptrdiff_t N, ptrdiff_t V, const long long *ids,
                    const float *rows, float *sums) {
  memset(sums, 0, (size_t)(V * N) * sizeof(float));
  for (ptrdiff_t row = 0; row < count; row++) {
    const float *from = rows + row * N;
    float *sum = sums + ids[row] * N;
    ptrdiff_t k = 0;
    for (; k + WIDTH <= N; k += WIDTH) store(sum + k, load(sum + k) + load(from + k));
    for (; k < N; k++) sum[k] += from[k];
  }
}

#define AHEAD 4 /* table rows that are prefetched before their turn */

/* Prefetch n floats at p, an address that the processor's own prefetching cannot predict. */
INLINE void prefetch_floats(const float *p, ptrdiff_t n) {
  for (ptrdiff_t j = 0; j < n; j += LINE) __builtin_prefetch(p + j);
}

/* The hash of a context that is longer by one symbol, of which `code` is the code, and the index of the
 * table row of a context, of which there are R: as in context_rows in network/layers/ngrams.py. */
#define MULTIPLIER 0x9E3779B97F4A7C15ull /* of multiplicative hashing */
INLINE unsigned long long longer_context(unsigned long long hash, unsigned long long code) {
  return (hash + code) * MULTIPLIER;
}
INLINE ptrdiff_t context_row(unsigned long long hash, ptrdiff_t R) {
  const unsigned long long mixed = (hash ^ hash >> 32) * MULTIPLIER;
  return (ptrdiff_t)((mixed >> 32) * (unsigned long long)R >> 32);
}

/* Add n rows of the n-gram table (R, V) to each row of logits (N, V). rows (N, n): the indices
 * of the table rows to add to each row of logits. */
void NAME(add_ngram_logits)(ptrdiff_t N, ptrdiff_t n, ptrdiff_t V, const long long *rows,
                    const float *table, float *logits) {
  for (ptrdiff_t i = 0; i < N; i++, rows += n, logits += V) {
    if (i + 1 < N)
      for (ptrdiff_t k = 0; k < n; k++) prefetch_floats(table + rows[n + k] * V, V);
    for (ptrdiff_t j = 0; j < V; j += WIDTH) {
      vec sum = load_n(logits + j, V - j);
      for (ptrdiff_t k = 0; k < n; k++) sum += load_n(table + rows[k] * V + j, V - j);
      store_n(logits + j, sum, V - j);
    }
  }
}

/* Make one step of AdaGrad on rows of the n-gram table (R, V): those whose indices occur in
 * rows (N, n) and are from start to stop - 1.
 *
 * rows, dlogits, table, squares: as in reference.update_ngram_rows. constants: rate, epsilon.
 * places: (stop - start) + 2 * N * n ints, of which the first (stop - start) are 0 before and after.
 * gradient: scratch for V floats.
 *
 * For each table row, a linked list has the places in rows (N * n) where the index of the table row
 * occurs. heads[row - start] is the first place in the list, and next[place - 1] is the place after
 * `place`. Places are counted from 1; 0 ends a list. */
static void update_table_rows(ptrdiff_t N, ptrdiff_t n, ptrdiff_t V, ptrdiff_t start, ptrdiff_t stop,
                              const long long *rows, const float *dlogits, float *table,
                              float *squares, const float *constants, int *places,
                              float *gradient) {
  const float rate = constants[0], epsilon = constants[1];
  int *heads = places, *next = heads + (stop - start), *found = next + N * n, count = 0;
  for (ptrdiff_t place = N * n; place > 0; place--) {
    const long long row = rows[place - 1];
    if (row < start || row >= stop) continue;
    if (!heads[row - start]) found[count++] = (int)(row - start);
    next[place - 1] = heads[row - start];
    heads[row - start] = (int)place;
  }
  table += start * V;
  squares += start;
  for (int k = 0; k < count; k++) {
    float *row = table + (ptrdiff_t)found[k] * V, sum = 0;
    if (k + AHEAD < count) {
      prefetch_floats(table + (ptrdiff_t)found[k + AHEAD] * V, V);
      __builtin_prefetch(squares + found[k + AHEAD]);
    }
    vec sums = {0};
    memset(gradient, 0, (size_t)V * sizeof(float));
    for (int place = heads[found[k]]; place; place = next[place - 1]) {
      const float *from = dlogits + (place - 1) / n * V;
      for (ptrdiff_t j = 0; j < V; j += WIDTH)
        store_n(gradient + j, load_n(gradient + j, V - j) + load_n(from + j, V - j), V - j);
    }
    heads[found[k]] = 0;
    for (ptrdiff_t j = 0; j < V; j += WIDTH) {
      const vec g = load_n(gradient + j, V - j);
      sums += g * g;
    }
    for (int j = 0; j < WIDTH; j++) sum += sums[j];
    squares[found[k]] += sum;
    const float step = rate / (sqrtf(squares[found[k]]) + epsilon);
    for (ptrdiff_t j = 0; j < V; j += WIDTH)
      store_n(row + j, load_n(row + j, V - j) - load_n(gradient + j, V - j) * step, V - j);
  }
}

/* See update_table_rows. scratch: (stop - start) + 2 * N * n ints, then V floats. */
void NAME(update_ngram_rows)(ptrdiff_t N, ptrdiff_t n, ptrdiff_t V, ptrdiff_t start, ptrdiff_t stop,
                             const long long *rows, const float *dlogits, float *table,
                             float *squares, const float *constants, void *scratch) {
  int *places = scratch;
  memset(places, 0, (size_t)(stop - start) * sizeof(int));
  update_table_rows(N, n, V, start, stop, rows, dlogits, table, squares, constants, places,
                    (float *)(places + (stop - start) + 2 * N * n));
}

/* Overwrite logits (rows, V) with log softmax(logits + b). The largest logit of each row is
 * subtracted first, so that exp cannot overflow. */
void NAME(log_softmax)(ptrdiff_t rows, ptrdiff_t V, float *logits, const float *b) {
  for (ptrdiff_t row = 0; row < rows; row++, logits += V) {
    vec largest_of = -INFINITY - (vec){0}, sums = {0};
    float largest = -INFINITY, sum = 0;
    ptrdiff_t k = 0;
    for (; k + WIDTH <= V; k += WIDTH) {
      vec x = load(logits + k) + load(b + k);
      store(logits + k, x);
      largest_of = LARGER(x, largest_of);
    }
    for (int j = 0; j < WIDTH; j++) largest = largest_of[j] > largest ? largest_of[j] : largest;
    for (; k < V; k++) {
      logits[k] += b[k];
      largest = logits[k] > largest ? logits[k] : largest;
    }
    for (k = 0; k + WIDTH <= V; k += WIDTH) sums += exponential(load(logits + k) - largest);
    if (k < V) {
      vec last = exponential(load_n(logits + k, V - k) - largest);
      for (ptrdiff_t j = 0; j < V - k; j++) sum += last[j];
    }
    for (int j = 0; j < WIDTH; j++) sum += sums[j];
    const float shift = largest + logf(sum);
    for (k = 0; k < V; k++) logits[k] -= shift;
  }
}

/* Overwrite log_probs (rows, V) with the gradient of the logits, scale * (softmax - one-hot of the
 * target), for targets (rows) and scales (rows). */
void NAME(cross_entropy_gradient)(ptrdiff_t rows, ptrdiff_t V, const long long *targets,
                                  float *log_probs, const float *scales) {
  for (ptrdiff_t row = 0; row < rows; row++, log_probs += V) {
    for (ptrdiff_t k = 0; k < V; k += WIDTH) {
      const ptrdiff_t n = V - k;
      store_n(log_probs + k, exponential(load_n(log_probs + k, n)) * scales[row], n);
    }
    log_probs[targets[row]] -= scales[row];
  }
}

INLINE vec square_root(vec x) {
  for (int k = 0; k < WIDTH; k++) x[k] = __builtin_sqrtf(x[k]);
  return x;
}

/* Make one step of Adam on n weights, in one pass over memory. constants: beta1, beta2, step_size,
 * root_correction, epsilon, kept, as in reference.adam_update. */
void NAME(adam_update)(ptrdiff_t n, float *weights, const float *gradient, float *mean,
                       float *square, const float *constants) {
  const float beta1 = constants[0], beta2 = constants[1], step_size = constants[2];
  const float root_correction = constants[3], epsilon = constants[4], kept = constants[5];
  for (ptrdiff_t k = 0; k < n; k += WIDTH) {
    const ptrdiff_t left = n - k;
    vec g = load_n(gradient + k, left);
    vec m = load_n(mean + k, left) * beta1 + g * (1.0f - beta1);
    vec s = load_n(square + k, left) * beta2 + g * g * (1.0f - beta2);
    vec step = m * step_size / (square_root(s) * root_correction + epsilon);
    store_n(mean + k, m, left);
    store_n(square + k, s, left);
    store_n(weights + k, load_n(weights + k, left) * kept - step, left);
  }
}

/* y = tanh(x) or sigmoid(x), for n floats. This function serves the tests of `activate`. */
void NAME(activation)(ptrdiff_t n, int is_tanh, const float *x, float *y) {
  for (ptrdiff_t k = 0; k < n; k += WIDTH) {
    vec v = load_n(x + k, n - k);
    activate(!is_tanh, 1, &v);
    store_n(y + k, v, n - k);
  }
}
