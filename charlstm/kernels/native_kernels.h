/* The kernels, in float32. Included once for each instruction set, with
 *
 *   SUFFIX           of the exported names
 *   WIDTH            floats in a vector
 *   VECTORS          in a row of a panel: 4, or 2
 *   MOST_ROWS        rows of a product whose sums fit into registers beside one panel row; up to 6
 *   LARGER, SMALLER  of two vectors, where the instruction set has a way of its own
 */
#include "native_vector.h"

#include "native_gates.h"

#include "native_product.h"

#include "native_dense.h"

#include "native_lstm.h"

#include "native_gru.h"

#include "native_rnn.h"

#include "native_generate.h"
