/* NEON, which every 64-bit ARM has: 32 registers of 4 floats; the sums of 6 rows by 4 vectors take
 * 24 of them. */
#if defined(__aarch64__)
#include <arm_neon.h>
#define LARGER(x, y) (vec)vmaxq_f32((float32x4_t)(x), (float32x4_t)(y))
#define SMALLER(x, y) (vec)vminq_f32((float32x4_t)(x), (float32x4_t)(y))
#define SUFFIX neon
#define WIDTH 4
#define VECTORS 4
#define MAX_ROWS 6
#include "native_kernels.h"
#endif
