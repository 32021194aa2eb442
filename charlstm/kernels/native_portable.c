/* The instruction set that the compiler targets by default. On x86-64 this is SSE2, with 16
 * registers of 4 floats. */
#define SUFFIX portable
#define WIDTH 4
#define VECTORS 2
#define MAX_ROWS 6
#include "native_kernels.h"
