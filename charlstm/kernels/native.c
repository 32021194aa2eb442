/* What the processor at hand can run, and the shape of a Python extension around the kernels.
 *
 * The kernels are plain C functions, called through ctypes with addresses; Python's own interface
 * is used for nothing but an empty module, so that the usual build tools make and install the
 * library, and in its stable form, so that one build serves every Python from 3.10 on.
 */
#define Py_LIMITED_API 0x030A0000
#include <Python.h>

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

/* Whether the operating system lets this process use the tiles of AMX: it has to keep 8 KiB more for
 * each of its threads. Linux wants to be asked first (Documentation/arch/x86/xstate.rst). */
static int tiles_are_granted(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & (3u << 17)) != (3u << 17)) return 0; /* the tiles and their configuration */
#if defined(__linux__)
  const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA */
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
  return 1;
#endif
}
#endif

/* The instruction sets that this processor and its operating system support: 1 AVX2, 2 AVX-512,
 * 4 NEON, which is part of 64-bit ARM, 8 AVX512-BF16, 16 AMX; 32: AMX, but it is not granted. */
EXPORT int instruction_sets(void) {
  int found = 0;
#if defined(__x86_64__)
  unsigned a, b, c, d;
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found |= 1;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    found |= 2;
#if HAS_BF16_DOT
  if ((found & 2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5))) {
    found |= 8;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & (1u << 22)) && (d & (1u << 24)))
      found |= tiles_are_granted() ? 16 : 32;
  }
#endif
#elif defined(__aarch64__)
  found |= 4;
#endif
#if defined(CHARLSTM_EMULATED)
  found |= 8 | 16;
#endif
  return found;
}

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = 0};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
