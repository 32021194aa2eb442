/* NEON, which every 64-bit ARM has: 32 registers of 4 floats; 6 rows by 4 vectors of sums. */
#if defined(__aarch64__)
#include <arm_neon.h>
/* these give NaN where one of two operands is NaN */
#define AT_LEAST(bound, x) (vec)vmaxq_f32(vdupq_n_f32(bound), (float32x4_t)(x))
#define AT_MOST(bound, x) (vec)vminq_f32(vdupq_n_f32(bound), (float32x4_t)(x))
#define SUFFIX neon
#define WIDTH 4
#define VECTORS 4
#define MOST_ROWS 6
#include "native_kernels.h"
#include "native_generate.h"
#endif
