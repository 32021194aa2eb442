/* Vectors of WIDTH floats: loads, stores, tanh, sigmoid and exp, in the vector notation of GCC and
 * Clang. All other kernels are written with these. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, SUFFIX)
#define LINE 16 /* number of floats in a cache line of 64 bytes */

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int ivec __attribute__((vector_size(4 * WIDTH)));
typedef float unaligned_vec __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

INLINE ptrdiff_t min_of(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* n rounded up to the next multiple of `multiple`. */
INLINE ptrdiff_t padded(ptrdiff_t n, ptrdiff_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/* The number of rows per block, at most max, that cuts B rows into blocks of nearly equal size. */
INLINE int rows_per_block(ptrdiff_t B, ptrdiff_t max) {
  ptrdiff_t blocks = (B + max - 1) / max;
  return (int)((B + blocks - 1) / blocks);
}

INLINE vec load(const float *p) { return *(const unaligned_vec *)p; }

INLINE void store(float *p, vec x) { *(unaligned_vec *)p = x; }

/* The first n floats at p, then zeros; n above WIDTH counts as WIDTH. */
INLINE vec load_n(const float *p, ptrdiff_t n) {
  if (n >= WIDTH) return load(p);
  float full[WIDTH] = {0};
  memcpy(full, p, (size_t)n * sizeof(float));
  return load(full);
}

/* Store the first n floats of x at p; n above WIDTH counts as WIDTH. */
INLINE void store_n(float *p, vec x, ptrdiff_t n) {
  if (n >= WIDTH) {
    store(p, x);
    return;
  }
  float full[WIDTH];
  store(full, x);
  memcpy(p, full, (size_t)n * sizeof(float));
}

/* LARGER(x, y) and SMALLER(x, y) compare element by element. If x or y is NaN, the result is y (on
 * ARM, NaN). Callers therefore pass the number that may be NaN as y, so that NaN is kept. */
#ifndef LARGER
INLINE vec choose(ivec mask, vec yes, vec no) {
  return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
}
#define LARGER(x, y) choose((x) > (y), x, y)
#define SMALLER(x, y) choose((x) < (y), x, y)
#endif

/* at_least replaces elements of x below the bound by the bound, at_most those above it. NaN stays
 * NaN. */
INLINE vec at_least(float bound, vec x) { return LARGER(bound - (vec){0}, x); }
INLINE vec at_most(float bound, vec x) { return SMALLER(bound - (vec){0}, x); }

/* Compute exp(y) = (1 + less_one) * power for `count` vectors y (up to 4), with -87 <= y <= 88.8;
 * the result is infinite from y = 128 ln 2 on. Each step of the computation needs the result of the
 * step before. With one vector alone, the processor would be idle between steps. So each step is
 * done for all vectors before the next step.
 *
 * y = n ln 2 + r with |r| <= ln 2 / 2; ln 2 is the sum of two constants, so that n ln 2 loses no
 * digits (Cody and Waite 1980). power = 2^n. less_one = exp(r) - 1, by a polynomial fitted to it
 * with a relative error of 3e-9. */
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
  /* The lowest bits of power hold n, which is moved into the bits of the exponent. */
  EACH power[j] = (vec)(((ivec)power[j] << 23) + (127 << 23));
}

/* Replace the first `sigmoid_count` of `count` vectors (up to 4) by their sigmoid, the others by
 * their tanh.
 *   sigmoid(x) = 1 / (1 + exp(-x)); 0 below -88.8, where it is less than 2^-126
 *   tanh(x) = m / (m + 2), m = exp(2x) - 1, a form that is accurate also for small x */
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

/* exp(x) for x <= 0; below -87 it is exp(-87) = 1.6e-38. */
INLINE vec exponential(vec x) {
  vec less_one, power;
  x = at_least(-87.0f, x);
  exponentials(1, &x, &less_one, &power);
  return less_one * power + power;
}
