/* All that is not recurrent: large products, sums of rows, the softmax, Adam. */
/* C (M, N) = A (M, K) B (K, N), or A^T B for A (K, M), or A B^T for B (N, K); bias (N), if there is
 * one, is added to each row. Column by column of panels: B's is packed, then meets all of A's rows.
 * packed: room for K * PANEL floats. */
void NAME(multiply)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, int transpose_A, int transpose_B,
                    const float *A, const float *B, const float *bias, float *C, float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(M, MOST_ROWS);
  for (ptrdiff_t first = 0; first < N; first += PANEL) {
    const ptrdiff_t columns = least(PANEL, N - first);
    vec added[VECTORS] = {{0}};
    if (bias) load_row(bias + first, columns, added);
    pack_panel(transpose_B, K, columns, transpose_B ? B + first * K : B + first,
               transpose_B ? K : N, packed);
    for (ptrdiff_t m = 0; m < M; m += at_once) {
      const int rows = (int)least(at_once, M - m);
      if (transpose_A)
        product_of_transpose(rows, A + m, M, K, packed, sums);
      else
        product(rows, A + m * K, K, K, packed, sums);
      for (int r = 0; r < rows; r++)
        for (int j = 0; j < VECTORS && j * WIDTH < columns; j++)
          store_part(C + (m + r) * N + first + j * WIDTH,
                     load(sums + r * PANEL + j * WIDTH) + added[j], columns - j * WIDTH);
    }
  }
}

/* sums (V, N) = for each id the sum of its rows, of `count` rows (count, N). */
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

/* Ask for n floats that lie nobody knows where, while the ones before them are worked on. */
INLINE void prefetch_floats(const float *p, ptrdiff_t n) {
  for (ptrdiff_t j = 0; j < n; j += LINE) __builtin_prefetch(p + j);
}

/* logits (N, V) += for each, of the rows of a table (slots, V), the n that rows (N, n) names. */
void NAME(add_rows)(ptrdiff_t N, ptrdiff_t n, ptrdiff_t V, const long long *rows,
                    const float *table, float *logits) {
  for (ptrdiff_t i = 0; i < N; i++, rows += n, logits += V) {
    if (i + 1 < N)
      for (ptrdiff_t k = 0; k < n; k++) prefetch_floats(table + rows[n + k] * V, V);
    for (ptrdiff_t j = 0; j < V; j += WIDTH) {
      vec sum = load_part(logits + j, V - j);
      for (ptrdiff_t k = 0; k < n; k++) sum += load_part(table + rows[k] * V + j, V - j);
      store_part(logits + j, sum, V - j);
    }
  }
}

/* The twin of reference.update_rows, for the rows from start to stop of a table (slots, V).
 *
 * rows, dlogits, table, squares: as there. room: for stop - start + 2 N n ints and V floats. Each row
 * has a list of the places (N * n) that name it: heads has its first one and next the one after, all
 * counted from 1, 0 for none. */
void NAME(update_rows)(ptrdiff_t N, ptrdiff_t n, ptrdiff_t V, ptrdiff_t start, ptrdiff_t stop,
                       const long long *rows, const float *dlogits, float *table, float *squares,
                       const float *constants, void *room) {
  const float rate = constants[0], epsilon = constants[1];
  int *heads = room, *next = heads + (stop - start), *found = next + N * n, count = 0;
  float *gradient = (float *)(found + N * n);
  memset(heads, 0, (size_t)(stop - start) * sizeof(int));
  for (ptrdiff_t place = N * n; place > 0; place--) {
    const long long row = rows[place - 1];
    if (row < start || row >= stop) continue;
    if (!heads[row - start]) found[count++] = (int)row;
    next[place - 1] = heads[row - start];
    heads[row - start] = (int)place;
  }
  for (int k = 0; k < count; k++) {
    float *row = table + (ptrdiff_t)found[k] * V, sum = 0;
    if (k + 1 < count) prefetch_floats(table + (ptrdiff_t)found[k + 1] * V, V);
    vec sums = {0};
    memset(gradient, 0, (size_t)V * sizeof(float));
    for (int place = heads[found[k] - start]; place; place = next[place - 1]) {
      const float *from = dlogits + (place - 1) / n * V;
      for (ptrdiff_t j = 0; j < V; j += WIDTH)
        store_part(gradient + j, load_part(gradient + j, V - j) + load_part(from + j, V - j), V - j);
    }
    for (ptrdiff_t j = 0; j < V; j += WIDTH) {
      const vec g = load_part(gradient + j, V - j);
      sums += g * g;
    }
    for (int j = 0; j < WIDTH; j++) sum += sums[j];
    squares[found[k]] += sum;
    const float step = rate / (sqrtf(squares[found[k]]) + epsilon);
    for (ptrdiff_t j = 0; j < V; j += WIDTH)
      store_part(row + j, load_part(row + j, V - j) - load_part(gradient + j, V - j) * step, V - j);
  }
}

/* logits (rows, V) become log softmax(logits + b), shifted by each row's largest. */
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
      vec last = exponential(load_part(logits + k, V - k) - largest);
      for (ptrdiff_t j = 0; j < V - k; j++) sum += last[j];
    }
    for (int j = 0; j < WIDTH; j++) sum += sums[j];
    const float shift = largest + logf(sum);
    for (k = 0; k < V; k++) logits[k] -= shift;
  }
}

/* log_probs (rows, V) become the gradient of the summed cross-entropies, times scales (rows), with
 * respect to the logits: softmax minus one-hot. targets (rows). */
void NAME(cross_entropy_gradient)(ptrdiff_t rows, ptrdiff_t V, const long long *targets,
                                  float *log_probs, const float *scales) {
  for (ptrdiff_t row = 0; row < rows; row++, log_probs += V) {
    for (ptrdiff_t k = 0; k < V; k += WIDTH) {
      const ptrdiff_t n = V - k;
      store_part(log_probs + k, exponential(load_part(log_probs + k, n)) * scales[row], n);
    }
    log_probs[targets[row]] -= scales[row];
  }
}

INLINE vec square_root(vec x) {
  for (int k = 0; k < WIDTH; k++) x[k] = __builtin_sqrtf(x[k]);
  return x;
}

/* n weights by Adam, in one pass; the twin of reference.adam_update. */
void NAME(adam_update)(ptrdiff_t n, float *weights, const float *gradient, float *mean,
                       float *square, const float *constants) {
  const float beta1 = constants[0], beta2 = constants[1], step_size = constants[2];
  const float root_correction = constants[3], epsilon = constants[4], kept = constants[5];
  for (ptrdiff_t k = 0; k < n; k += WIDTH) {
    const ptrdiff_t left = n - k;
    vec g = load_part(gradient + k, left);
    vec m = load_part(mean + k, left) * beta1 + g * (1.0f - beta1);
    vec s = load_part(square + k, left) * beta2 + g * g * (1.0f - beta2);
    vec step = m * step_size / (square_root(s) * root_correction + epsilon);
    store_part(mean + k, m, left);
    store_part(square + k, s, left);
    store_part(weights + k, load_part(weights + k, left) * kept - step, left);
  }
}

/* For the tests: y = tanh(x) or sigmoid(x), n floats. */
void NAME(activation)(ptrdiff_t n, int is_tanh, const float *x, float *y) {
  for (ptrdiff_t k = 0; k < n; k += WIDTH) {
    vec v = load_part(x + k, n - k);
    activate(!is_tanh, 1, &v);
    store_part(y + k, v, n - k);
  }
}
