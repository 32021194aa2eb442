/* An empty Python extension around the kernels, and the list of usable instruction sets.
 *
 * The kernels are plain C functions that ctypes calls with addresses. The Python C API is used only
 * to make an extension module, which the usual build tools compile and install. With its stable ABI
 * (Py_LIMITED_API), one build serves every Python from 3.10 on.
 */
#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <string.h>

#include "native_bf16_dot.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Whether the operating system lets this process use the tiles (matrix registers) of AMX. The
 * system has to save 8 KiB more per thread for them. Linux grants them on request
 * (Documentation/arch/x86/xstate.rst). */
static int tiles_are_granted(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & (3u << 17)) != (3u << 17)) return 0; /* XCR0 bits 17 and 18: the state of tiles */
#if defined(__linux__)
  const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA */
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
  return 1;
#endif
}

static int has_avx2(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

#if HAS_BF16_DOT
static int has_avx512bf16(void) {
  unsigned a, b, c, d;
  return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
}

/* Whether the processor has AMX, even if the operating system does not grant its use. */
static int has_amx(void) {
  unsigned a, b, c, d;
  return has_avx512bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & (1u << 22)) &&
         (d & (1u << 24));
}
#endif
#endif

/* The instruction sets that this library, processor and operating system support, the fastest
 * first, separated by spaces. Each name is the SUFFIX of the functions of that instruction set. */
EXPORT const char *instruction_set_names(void) {
  static char names[64];
  *names = 0;
#if defined(CHARLSTM_EMULATED)
  strcat(names, "amx avx512bf16 ");
#elif defined(__x86_64__) && HAS_BF16_DOT
  if (has_amx() && tiles_are_granted()) strcat(names, "amx ");
  if (has_avx512bf16()) strcat(names, "avx512bf16 ");
#endif
#if defined(__x86_64__)
  if (has_avx512()) strcat(names, "avx512 ");
  if (has_avx2()) strcat(names, "avx2 ");
#elif defined(__aarch64__)
  strcat(names, "neon ");
#endif
  return strcat(names, "portable");
}

/* Whether the processor has AMX, but the operating system does not let this process use it. */
EXPORT int amx_is_not_granted(void) {
#if defined(__x86_64__) && HAS_BF16_DOT && !defined(CHARLSTM_EMULATED)
  return has_amx() && !tiles_are_granted();
#else
  return 0;
#endif
}

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = 0};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
