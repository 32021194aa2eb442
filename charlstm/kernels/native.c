/* What the processor at hand can run, and the shape of a Python extension around the kernels.
 *
 * The kernels are plain C functions, called through ctypes with addresses; Python's own interface
 * is used for nothing but an empty module, so that the usual build tools make and install the
 * library, and in its stable form, so that one build serves every Python from 3.10 on.
 */
#define Py_LIMITED_API 0x030A0000
#include <Python.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* The instruction sets that this processor and its operating system support: 1 AVX2, 2 AVX-512,
 * 4 NEON, which is part of 64-bit ARM. */
EXPORT int instruction_sets(void) {
  int found = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found |= 1;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    found |= 2;
#elif defined(__aarch64__)
  found |= 4;
#endif
  return found;
}

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = 0};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
