/* The float32 kernels of one instruction set: start reading here. Each instruction set has a .c
 * file, which makes the definitions at the end of this comment and includes this file.
 *
 * Most of the time goes into products of a few rows (the B streams of a worker) with large weights.
 * So the weights W (K, N) are packed once per window into panels of PANEL = VECTORS * WIDTH
 * columns. A panel is contiguous, row after row; the last panel is filled up with zeros.
 *
 *        PANEL   PANEL   PANEL         In the LSTM's forward pass, four vectors (one panel, or
 *       +-------+-------+-------+      two) are the four gates of the same WIDTH units:
 *     K | panel | panel | panel |        +-------+-------+-------+-------+
 *       |   0   |   1   | 2 |000|      K |   i   |   f   |   o   |   g   |
 *       +-------+-------+-------+        +-------+-------+-------+-------+
 *           W (K, N), packed               WIDTH   WIDTH   WIDTH   WIDTH
 *
 * The order of the loops:
 *
 *   for each time step                   (a step needs the h of the step before)
 *     for each panel                     (a panel stays in the cache for all blocks of streams)
 *       for each block of streams        (at most MAX_ROWS, so that their sums fit into registers)
 *         for each row of the panel      (a row is loaded once for all streams of the block)
 *           add to rows * PANEL sums
 *         apply the gates to the sums    (the sums are still in the nearest cache)
 *
 * The definitions:
 *
 *   SUFFIX           ends the names of the exported functions
 *   WIDTH            floats in a vector
 *   VECTORS          vectors in a row of a panel: 4, or 2 if the processor has only 16 registers
 *   MAX_ROWS         maximum number of streams in a block, up to 6: the registers must hold a row
 *                    of the panel and the sums of all streams
 *   LARGER, SMALLER  optional: the larger or smaller elements of two vectors, as one instruction
 */
#include "native_vector.h"

#include "native_team.h"

#include "native_gates.h"

#include "native_dense.h"

#include "native_product.h"

#include "native_lstm.h"

#include "native_gru.h"

#include "native_rnn.h"

#include "native_training.h"

#include "native_generate.h"
