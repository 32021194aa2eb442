/* Macros for the instructions that multiply pairs of bfloat16. If CHARLSTM_EMULATED is defined, the
 * macros are plain C instead, so that the kernels that use them can be tested on any machine.
 *
 *   HAS_BF16_DOT               1 if the compiler has these instructions, else 0
 *   ADD_PAIRS(sum, x, y)       sum + x[0] y[0] + x[1] y[1], for 16 sums and 16 pairs of x and y
 *   TILE_ZERO, TILE_LOAD, ...  operate on a thread's eight tiles, 0 to 7, of 16 rows by 64 bytes
 *   TILE_ADD_PAIRS(sum, x, y)  adds a matrix product of pairs to a tile of 16 by 16 floats: for
 *                              tiles x, y of 16 by 16 pairs, sum[r][c] increases by the sum over k
 *                              of x[r][k][0] y[k][c][0] + x[r][k][1] y[k][c][1]
 */
#if defined(CHARLSTM_EMULATED)
#define HAS_BF16_DOT 1
#elif defined(__x86_64__) && (__GNUC__ >= 11 || __clang_major__ >= 12)
#define HAS_BF16_DOT 1
#include <immintrin.h>
#else
#define HAS_BF16_DOT 0
#endif

#if HAS_BF16_DOT && !defined(CHARLSTM_EMULATED)
#define LARGER(x, y) (vec)_mm512_max_ps(x, y)
#define SMALLER(x, y) (vec)_mm512_min_ps(x, y)
#define ADD_PAIRS(sum, x, y) (vec)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(y))
#define TILE_CONFIGURE(config) _tile_loadconfig(config)
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, bytes)                  \
  do {                                                \
    __asm__ volatile("" ::: "memory"); /* the compiler does not know that tiles read memory */ \
    _tile_loadd(tile, from, (size_t)(bytes));         \
  } while (0)
#define TILE_STORE(tile, to, bytes) _tile_stored(tile, to, (size_t)(bytes))
#define TILE_ADD_PAIRS(sum, x, y) _tile_dpbf16ps(sum, x, y)
#elif HAS_BF16_DOT
#include <stddef.h>
#include <string.h>
#define ADD_PAIRS(sum, x, y)                                          \
  ((sum) + (vec)((x) & 0xffff0000) * (vec)((y) & 0xffff0000) +        \
   (vec)((x) << 16) * (vec)((y) << 16))
#define TILE_CONFIGURE(config) memset(tiles, 0x7f, sizeof tiles)
#define TILE_RELEASE() memset(tiles, 0x7f, sizeof tiles)
#define TILE_ZERO(tile) memset(tiles[tile], 0, sizeof tiles[tile])
#define TILE_LOAD(tile, from, bytes)                                                     \
  for (int row = 0; row < 16; row++)                                                     \
  memcpy(tiles[tile][row], (const char *)(from) + row * (ptrdiff_t)(bytes), 64)
#define TILE_STORE(tile, to, bytes)                                                      \
  for (int row = 0; row < 16; row++)                                                     \
  memcpy((char *)(to) + row * (ptrdiff_t)(bytes), tiles[tile][row], 64)
#define TILE_ADD_PAIRS(sum, x, y) add_pairs_of_tiles(tiles[sum], tiles[x], tiles[y])

static __thread unsigned tiles[8][16][16] __attribute__((unused));

static inline float as_float(unsigned bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline void add_pairs_of_tiles(unsigned sum[16][16], unsigned x[16][16],
                                      unsigned y[16][16]) {
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 16; column++) {
      float total = as_float(sum[row][column]);
      for (int pair = 0; pair < 16; pair++)
        total += as_float(x[row][pair] << 16) * as_float(y[pair][column] << 16) +
                 as_float(x[row][pair] & 0xffff0000) * as_float(y[pair][column] & 0xffff0000);
      memcpy(&sum[row][column], &total, sizeof total);
    }
}
#endif
