/* The instruction set that the compiler targets by default; on x86-64 that is SSE2, with 16
 * registers. */
#define SUFFIX portable
#define WIDTH 4
#define VECTORS 2
#define MAX_ROWS 6
#include "native_kernels.h"
