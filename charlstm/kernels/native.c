/* The list of usable instruction sets.
 *
 * The kernels are plain C functions in a shared library that needs nothing of Python: ctypes calls
 * them with addresses.
 */
#include <string.h>

#include "native_bf16_dot.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Whether bits of a register of cpuid are set. The compilers' __builtin_cpu_supports is not in every
 * runtime library. */
enum { EAX, EBX, ECX, EDX };
static int cpuid_has(unsigned leaf, unsigned subleaf, int reg, unsigned bits) {
  unsigned r[4];
  return __get_cpuid_count(leaf, subleaf, r, r + 1, r + 2, r + 3) && (r[reg] & bits) == bits;
}

/* Whether the operating system saves these parts of the state of the processor: bits of the register
 * XCR0. */
static int saves(unsigned bits) {
  unsigned low, high;
  if (!cpuid_has(1, 0, ECX, 1u << 27)) return 0; /* OSXSAVE: xgetbv exists */
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & bits) == bits;
}

static int has_avx2(void) {
  return cpuid_has(1, 0, ECX, 1u << 12 | 1u << 28) && /* FMA, AVX */
         cpuid_has(7, 0, EBX, 1u << 5) && saves(0x6);
}

static int has_avx512(void) {
  const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  return has_avx2() && cpuid_has(7, 0, EBX, f_dq_bw_vl) && saves(0xe6);
}

#if HAS_BF16_DOT
static int has_avx512bf16(void) { return has_avx512() && cpuid_has(7, 1, EAX, 1u << 5); }

/* Whether the processor has AMX, even if the operating system does not grant its use. */
static int has_amx(void) {
  return has_avx512bf16() && cpuid_has(7, 0, EDX, 1u << 22 | 1u << 24);
}

/* Whether the operating system lets this process use the tiles (matrix registers) of AMX. The
 * system has to save 8 KiB more per thread for them. Linux grants them on request
 * (Documentation/arch/x86/xstate.rst). */
static int tiles_are_granted(void) {
  if (!saves(3u << 17)) return 0; /* the state of tiles */
#if defined(__linux__)
  const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA */
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
  return 1;
#endif
}
#endif
#endif

/* The instruction sets that this library, processor and operating system support, the fastest
 * first, separated by spaces. Each name is the SUFFIX of the functions of that instruction set. */
const char *instruction_set_names(void) {
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
int amx_is_not_granted(void) {
#if defined(__x86_64__) && HAS_BF16_DOT && !defined(CHARLSTM_EMULATED)
  return has_amx() && !tiles_are_granted();
#else
  return 0;
#endif
}
