/* Whatever the compiler targets by default: SSE2 on x86-64, NEON on 64-bit ARM (32 registers). */
#define SUFFIX portable
#define WIDTH 4
#if defined(__aarch64__)
#define MOST_ROWS 6
#else
#define MOST_ROWS 3
#endif
#include "native_kernels.h"
#include "native_generate.h"
