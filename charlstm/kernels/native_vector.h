/* Vectors of WIDTH floats, in the compiler's own notation: what all other kernels are written in. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, SUFFIX)

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int ivec __attribute__((vector_size(4 * WIDTH)));
typedef float unaligned_vec __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* How many rows to take at once, so that B rows fall into blocks of nearly one size. */
INLINE int rows_at_once(ptrdiff_t B, ptrdiff_t most) {
  ptrdiff_t blocks = (B + most - 1) / most;
  return (int)((B + blocks - 1) / blocks);
}

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

/* The larger or smaller of two, by element; where either is NaN, the second, or NaN. */
#ifndef LARGER
INLINE vec choose(ivec mask, vec yes, vec no) {
  return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}
#define LARGER(x, y) choose((x) > (y), x, y)
#define SMALLER(x, y) choose((x) < (y), x, y)
#endif

/* x held to a bound; NaN for NaN. */
INLINE vec at_least(float bound, vec x) { return LARGER(bound - (vec){0}, x); }
INLINE vec at_most(float bound, vec x) { return SMALLER(bound - (vec){0}, x); }

/* exp(y) = (1 + less_one) * power of `count` vectors, for -87 <= y <= 88.8 (infinite from 128 ln 2
 * on), in steps that all take side by side: each step waits for the one before, and one vector
 * alone would leave the processor idle meanwhile.
 *
 * y = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts (Cody and Waite 1980); power = 2^n, and
 * less_one = exp(r) - 1 by a polynomial of relative error 3e-9, fitted here. */
INLINE void exponentials(const int count, const vec *y, vec *less_one, vec *power) {
  const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  vec r[4], *p = less_one;
#define EACH for (int j = 0; j < count; j++)
  EACH power[j] = y[j] * 1.44269504f + magic;
  EACH p[j] = power[j] - magic;
  EACH r[j] = y[j] - p[j] * 0.693359375f;
  EACH r[j] = r[j] - p[j] * -2.12194440e-4f;
  EACH p[j] = r[j] * 1.3814539989e-3f + 8.3687451164e-3f;
  EACH p[j] = p[j] * r[j] + 4.1668390787e-2f;
  EACH p[j] = p[j] * r[j] + 1.6666520399e-1f;
  EACH p[j] = p[j] * r[j] + 4.9999993432e-1f;
  EACH p[j] = p[j] * (r[j] * r[j]) + r[j];
  /* n stands in the lowest bits of the rounded sum, and goes to the exponent's */
  EACH power[j] = (vec)(((ivec)power[j] << 23) + (127 << 23));
}

/* Of `count` vectors, the sigmoids of the first `sigmoid_count` and tanh of the rest.
 *   sigmoid(x) = 1 / (1 + exp(-x)); below -88.8, 0 instead of less than 2^-126
 *   tanh(x) = m / (m + 2), m = exp(2x) - 1, which loses nothing where x is small */
INLINE void activate(const int sigmoid_count, const int count, vec *x) {
  vec less_one[4], power[4];
#define IS_SIGMOID (j < sigmoid_count)
  EACH x[j] = IS_SIGMOID ? at_most(88.8f, at_least(-80.0f, -x[j]))
                         : at_most(20.0f, at_least(-20.0f, x[j] + x[j]));
  exponentials(count, x, less_one, power);
  EACH x[j] = IS_SIGMOID ? (less_one[j] + 1.0f) * power[j] + 1.0f
                         : less_one[j] * power[j] + (power[j] - 1.0f);
  EACH x[j] = IS_SIGMOID ? 1.0f / x[j] : x[j] / (x[j] + 2.0f);
#undef IS_SIGMOID
}
#undef EACH

/* exp(x) for x <= 0; below -87, exp(-87), which is 1.6e-38. */
INLINE vec exponential(vec x) {
  vec less_one, power;
  x = at_least(-87.0f, x);
  exponentials(1, &x, &less_one, &power);
  return less_one * power + power;
}
