/* Whatever the compiler targets by default: SSE2 on x86-64, NEON on 64-bit ARM (32 registers). */
#define SUFFIX portable
#define WIDTH 4
#define VECTORS 2
#define MOST_ROWS 6
#include "native_kernels.h"
