/* The LSTM recurrence over a window, fused: the twin of lstm_forward and lstm_backward in
 * reference.py, for float32. Included once for each instruction set, with
 *
 *   SUFFIX      of the exported names
 *   WIDTH       floats in a vector
 *   MOST_ROWS   rows of a product that fit into registers beside one panel row
 *
 * T steps, B lanes, H units. A step's product multiplies the B rows of h (or of the gates'
 * gradients) by weights that are packed once a window into panels of four vectors' width, in the
 * order in which they are read: panel after panel, in each row after row. In the forward panels
 * the four vectors are the four gates i f o g of the same WIDTH units, so that the arithmetic of
 * the gates finds them side by side. It runs over a small block of sums after the product, not
 * inside it, where it would push the accumulators out of the registers.
 */
#include <stddef.h>
#include <string.h>

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int ivec __attribute__((vector_size(4 * WIDTH)));
typedef float unaligned_vec __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

#define PANEL (4 * WIDTH)
#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, SUFFIX)

INLINE vec load(const float *p) { return *(const unaligned_vec *)p; }

INLINE void store(float *p, vec x) { *(unaligned_vec *)p = x; }

/* The first n floats, and zeros; n above WIDTH counts as WIDTH. */
INLINE vec load_part(const float *p, ptrdiff_t n) {
  if (n >= WIDTH) return load(p);
  float full[WIDTH] = {0};
  memcpy(full, p, (size_t)n * sizeof(float));
  return load(full);
}

INLINE void store_part(float *p, vec x, ptrdiff_t n) {
  if (n >= WIDTH) {
    store(p, x);
    return;
  }
  float full[WIDTH];
  store(full, x);
  memcpy(p, full, (size_t)n * sizeof(float));
}

INLINE vec choose(ivec mask, vec yes, vec no) {
  return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}

/* exp(x) for x >= -87, infinite from 128 ln 2 on, NaN for NaN. x = n ln 2 + r with |r| <= ln 2 / 2,
 * ln 2 in two parts (Cody and Waite 1980); exp(r) by its Taylor polynomial, whose first term left
 * out is below 2^-26 of the sum. */
INLINE vec exponential(vec x) {
  const float most = 88.8f, magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  x = choose(x > most, most - (vec){0}, x);
  vec shifted = x * 1.44269504f + magic;
  vec n = shifted - magic;
  vec r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  vec p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  /* 2^n: n stands in the lowest bits of `shifted`, and goes to the exponent's */
  ivec power = ((ivec)shifted << 23) + (127 << 23);
  return p * (vec)power;
}

INLINE vec sigmoid(vec x) {
  /* below -88.8, exp(-x) is infinite and the result 0 instead of less than 2^-126 */
  vec minus = -x;
  minus = choose(minus < -80.0f, -80.0f - (vec){0}, minus);
  return 1.0f / (1.0f + exponential(minus));
}

/* tanh(x): below 0.625 an odd polynomial (coefficients of Cephes' tanhf, Moshier 1992), above it
 * 1 - 2 / (exp(2 |x|) + 1) with the sign of x. */
INLINE vec hyperbolic_tangent(vec x) {
  ivec sign = (ivec)x & (ivec)(-0.0f - (vec){0});
  vec size = (vec)((ivec)x & ~(ivec)(-0.0f - (vec){0}));
  vec z = x * x;
  vec p = z * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * z + -5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z + -3.33332819422e-1f;
  p = p * z * x + x;
  vec large = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
  large = (vec)((ivec)large | sign);
  return choose(size < 0.625f, p, large);
}

/* sums (rows, PANEL) = A (rows, K) times a panel (K, PANEL). The element (r, k) of A lies at
 * A[r * lda + k * step], so that A may be a transpose. */
INLINE void product_of(const int rows, const float *A, ptrdiff_t lda, ptrdiff_t step, ptrdiff_t K,
                       const float *panel, float *sums) {
  vec acc[MOST_ROWS][4];
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < 4; j++) acc[r][j] = (vec){0};
  for (ptrdiff_t k = 0; k < K; k++, panel += PANEL) {
    vec w0 = load(panel), w1 = load(panel + WIDTH);
    vec w2 = load(panel + 2 * WIDTH), w3 = load(panel + 3 * WIDTH);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      float a = A[r * lda + k * step];
      acc[r][0] += a * w0;
      acc[r][1] += a * w1;
      acc[r][2] += a * w2;
      acc[r][3] += a * w3;
    }
  }
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < 4; j++) store(sums + r * PANEL + j * WIDTH, acc[r][j]);
}

/* The same for a number of rows that is known only now, up to MOST_ROWS. */
INLINE void product_with(int rows, const float *A, ptrdiff_t lda, ptrdiff_t step, ptrdiff_t K,
                         const float *panel, float *sums) {
  switch (rows) {
    case 1: product_of(1, A, lda, step, K, panel, sums); break;
    case 2: product_of(2, A, lda, step, K, panel, sums); break;
    case 3: product_of(3, A, lda, step, K, panel, sums); break;
#if MOST_ROWS > 3
    case 4: product_of(4, A, lda, step, K, panel, sums); break;
    case 5: product_of(5, A, lda, step, K, panel, sums); break;
    case 6: product_of(6, A, lda, step, K, panel, sums); break;
#endif
  }
}

static void product(int rows, const float *A, ptrdiff_t lda, ptrdiff_t K, const float *panel,
                    float *sums) {
  product_with(rows, A, lda, 1, K, panel, sums);
}

static void product_of_transpose(int rows, const float *A, ptrdiff_t lda, ptrdiff_t K,
                                 const float *panel, float *sums) {
  product_with(rows, A, 1, lda, K, panel, sums);
}

/* How many rows to take at once, so that B rows fall into blocks of nearly one size. */
INLINE int rows_at_once(ptrdiff_t B) {
  ptrdiff_t blocks = (B + MOST_ROWS - 1) / MOST_ROWS;
  return (int)((B + blocks - 1) / blocks);
}

INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* W (K, 4H) to panels of WIDTH units: (ceil(H / WIDTH), K, 4 gates, WIDTH). */
void NAME(pack_gates)(ptrdiff_t K, ptrdiff_t H, const float *W, float *packed) {
  for (ptrdiff_t first = 0; first < H; first += WIDTH)
    for (ptrdiff_t k = 0; k < K; k++)
      for (ptrdiff_t gate = 0; gate < 4; gate++, packed += WIDTH)
        store(packed, load_part(W + (k * 4 + gate) * H + first, H - first));
}

/* Wh^T (4H, H) to panels of PANEL columns: (ceil(H / PANEL), 4H, PANEL). */
static void pack_backward(ptrdiff_t H, const float *Wh, float *packed) {
  for (ptrdiff_t first = 0; first < H; first += PANEL) {
    ptrdiff_t columns = least(PANEL, H - first);
    for (ptrdiff_t k = 0; k < 4 * H; k++, packed += PANEL) {
      for (ptrdiff_t j = 0; j < columns; j++) packed[j] = Wh[(first + j) * 4 * H + k];
      for (ptrdiff_t j = columns; j < PANEL; j++) packed[j] = 0;
    }
  }
}

/* What the product's sums do to WIDTH units of one lane, n of which are there: the gates a (4H),
 * whose pre-activations lack the sums, become i f o g; the cell, its tanh and h are written. */
INLINE void advance_units(ptrdiff_t n, ptrdiff_t H, const float *sum, float *a, const float *c,
                          float *next_c, float *tanh_c, float *next_h) {
  vec i = sigmoid(load_part(a, n) + load(sum));
  vec f = sigmoid(load_part(a + H, n) + load(sum + WIDTH));
  vec o = sigmoid(load_part(a + 2 * H, n) + load(sum + 2 * WIDTH));
  vec g = hyperbolic_tangent(load_part(a + 3 * H, n) + load(sum + 3 * WIDTH));
  vec cell = f * load_part(c, n) + i * g;
  vec shown = hyperbolic_tangent(cell);
  store_part(a, i, n);
  store_part(a + H, f, n);
  store_part(a + 2 * H, o, n);
  store_part(a + 3 * H, g, n);
  store_part(next_c, cell, n);
  store_part(tanh_c, shown, n);
  store_part(next_h, o * shown, n);
}

/* gates (T, B, 4H): x Wx + b, becomes i f o g. h, c (T+1, B, H): row 0 given. tanh_c (T, B, H).
 * packed: room for ceil(H / WIDTH) * WIDTH * 4H floats. */
void NAME(lstm_forward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *h, float *c,
                        float *tanh_c, const float *Wh, float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B);
  NAME(pack_gates)(H, H, Wh, packed);
  for (ptrdiff_t t = 0; t < T; t++) {
    for (ptrdiff_t first = 0; first < H; first += WIDTH) {
      const float *panel = packed + first * 4 * H;
      const ptrdiff_t n = H - first;
      for (ptrdiff_t row = 0; row < B; row += at_once) {
        const int rows = (int)least(at_once, B - row);
        product(rows, h + (t * B + row) * H, H, H, panel, sums);
        for (int r = 0; r < rows; r++) {
          const ptrdiff_t before = (t * B + row + r) * H + first, after = before + B * H;
          advance_units(n, H, sums + r * PANEL, gates + (t * B + row + r) * 4 * H + first,
                        c + before, c + after, tanh_c + before, h + after);
        }
      }
    }
  }
}

/* gates (T, B, 4H): i f o g, becomes the gradient of the pre-activations. dh, dc (B, H): in, what
 * reaches the last state from outside; out, the gradient of the state before the window.
 * dh_out, tanh_c (T, B, H), c (T+1, B, H). packed: room for ceil(H / PANEL) * PANEL * 4H floats. */
void NAME(lstm_backward)(ptrdiff_t T, ptrdiff_t B, ptrdiff_t H, float *gates, float *dh, float *dc,
                         const float *dh_out, const float *c, const float *tanh_c, const float *Wh,
                         float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(B);
  pack_backward(H, Wh, packed);
  for (ptrdiff_t t = T - 1; t >= 0; t--) {
    for (ptrdiff_t row = 0; row < B; row++) {
      float *a = gates + (t * B + row) * 4 * H;
      for (ptrdiff_t unit = 0; unit < H; unit += WIDTH) {
        const ptrdiff_t n = H - unit, state = row * H + unit, now = t * B * H + state;
        vec i = load_part(a + unit, n), f = load_part(a + H + unit, n);
        vec o = load_part(a + 2 * H + unit, n), g = load_part(a + 3 * H + unit, n);
        vec shown = load_part(tanh_c + now, n);
        vec dh_now = load_part(dh + state, n) + load_part(dh_out + now, n);
        vec dc_now = load_part(dc + state, n) + dh_now * o * (1.0f - shown * shown);
        store_part(a + unit, dc_now * g * i * (1.0f - i), n);
        store_part(a + H + unit, dc_now * load_part(c + now, n) * f * (1.0f - f), n);
        store_part(a + 2 * H + unit, dh_now * shown * o * (1.0f - o), n);
        store_part(a + 3 * H + unit, dc_now * i * (1.0f - g * g), n);
        store_part(dc + state, dc_now * f, n);
      }
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

/* C (M, N) = A (M, K) B (K, N), or A^T B for A (K, M), or A B^T for B (N, K). Column by column of
 * panels: B's is packed, then meets all of A's rows. packed: room for K * PANEL floats. */
void NAME(multiply)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, int transpose_A, int transpose_B,
                    const float *A, const float *B, float *C, float *packed) {
  float sums[MOST_ROWS * PANEL];
  const int at_once = rows_at_once(M);
  for (ptrdiff_t first = 0; first < N; first += PANEL) {
    const ptrdiff_t columns = least(PANEL, N - first);
    for (ptrdiff_t k = 0; k < K; k++) {
      float *row = packed + k * PANEL;
      if (!transpose_B && columns == PANEL) {
        for (ptrdiff_t j = 0; j < PANEL; j += WIDTH) store(row + j, load(B + k * N + first + j));
      } else {
        for (ptrdiff_t j = 0; j < columns; j++)
          row[j] = transpose_B ? B[(first + j) * K + k] : B[k * N + first + j];
        for (ptrdiff_t j = columns; j < PANEL; j++) row[j] = 0;
      }
    }
    for (ptrdiff_t m = 0; m < M; m += at_once) {
      const int rows = (int)least(at_once, M - m);
      if (transpose_A)
        product_of_transpose(rows, A + m, M, K, packed, sums);
      else
        product(rows, A + m * K, K, K, packed, sums);
      for (int r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < columns; j += WIDTH)
          store_part(C + (m + r) * N + first + j, load(sums + r * PANEL + j), columns - j);
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
    store_part(y + k, is_tanh ? hyperbolic_tangent(v) : sigmoid(v), n - k);
  }
}
