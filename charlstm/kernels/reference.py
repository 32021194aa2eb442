"""The recurrences in NumPy, a whole window at a time: the fallback, and the twin of native ones.

Shapes: T time steps, B lanes, H hidden units. Every array is C-contiguous and of one dtype.
What an argument is called says what it holds; arrays named first are written, never allocated.

The LSTM, with the gates in one block of 4H columns in the order i f o g (Gers, Schmidhuber and
Cummins 2000, without peepholes):

    a_t = x_t Wx + b + h_{t-1} Wh
    i, f, o = sigmoid(a_t[:3H]);  g = tanh(a_t[3H:])
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t)
"""

import numpy as np

from ..arrays import Array

# One product of a time step has few rows (the lanes of one worker). OpenBLAS runs such a product
# half as fast again, or better, on column blocks of this width that lie contiguous in memory.
BLOCK_COLUMNS = 128
WORTH_BLOCKING = 8  # steps: below that, the copy costs more than it saves


def column_blocks(W: Array, T: int) -> Array:
    """W (K, N) as column blocks (N / width, K, width), contiguous where T steps are worth it."""
    K, N = W.shape
    if T < WORTH_BLOCKING:
        return W[None]
    width = BLOCK_COLUMNS if N % BLOCK_COLUMNS == 0 else N
    return np.ascontiguousarray(W.reshape(K, N // width, width).swapaxes(0, 1))


def lstm_forward(gates: Array, h: Array, c: Array, tanh_c: Array, Wh: Array) -> None:
    """Run the LSTM over a window.

    gates (T, B, 4H): on entry x Wx + b, on return the activated gates i f o g.
    h, c (T+1, B, H): on entry row 0 holds the state before the window; rows 1..T are written.
    tanh_c (T, B, H): written, for the backward pass.
    Wh (H, 4H).
    """
    T, B, H = tanh_c.shape
    blocks = column_blocks(Wh, T)
    product = np.empty((len(blocks), B, blocks.shape[2]), gates.dtype)
    recurrent = product.swapaxes(0, 1)  # (B, blocks, width): the columns in their own order
    scratch = np.empty((B, H), gates.dtype)
    for t in range(T):
        a = gates[t]
        np.matmul(h[t], blocks, out=product)
        a_in_blocks = a.reshape(recurrent.shape)
        a_in_blocks += recurrent
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, so that one call of tanh serves all four gates
        sigmoids = a[:, : 3 * H]
        sigmoids *= 0.5
        np.tanh(a, out=a)
        sigmoids *= 0.5
        sigmoids += 0.5
        i, f, o, g = a[:, :H], a[:, H : 2 * H], a[:, 2 * H : 3 * H], a[:, 3 * H :]
        np.multiply(f, c[t], out=c[t + 1])
        np.multiply(i, g, out=scratch)
        c[t + 1] += scratch
        np.tanh(c[t + 1], out=tanh_c[t])
        np.multiply(o, tanh_c[t], out=h[t + 1])


def lstm_backward(
    gates: Array, dh: Array, dc: Array, dh_out: Array, h: Array, c: Array, tanh_c: Array, Wh: Array
) -> None:
    """Run the LSTM's backward pass over a window.

    gates (T, B, 4H): on entry the activated gates, on return the gradient of a_t, in place.
    dh, dc (B, H): on entry the gradient that reaches the window's last state from outside
        (zero under truncation), on return the gradient of the state before the window.
    dh_out (T, B, H): the gradient that reaches each h_t from above.
    h, c (T+1, B, H), tanh_c (T, B, H): as lstm_forward left them.
    Wh (H, 4H).

    Two paths reach c_t, one through h_t and one through the forget gate of the next step:

        dc_t = dh_t * o_t * (1 - tanh(c_t)^2) + dc_{t+1} * f_{t+1}

    charlstm/cells.py derives each gate's gradient. With h = o tanh(c) two of them shorten to
    o (1 - tanh(c)^2) = o - h tanh(c) and tanh(c) o (1 - o) = h (1 - o).
    """
    T, B, H = tanh_c.shape
    blocks = column_blocks(Wh.T, T)
    product = np.empty((len(blocks), B, blocks.shape[2]), gates.dtype)
    recurrent = product.swapaxes(0, 1)
    dh_in_blocks = dh.reshape(recurrent.shape)
    slopes = np.empty((B, 2 * H), gates.dtype)  # of i and f: s (1 - s)
    scratch = np.empty((B, H), gates.dtype)
    for t in reversed(range(T)):
        a = gates[t]
        i, f, o, g = a[:, :H], a[:, H : 2 * H], a[:, 2 * H : 3 * H], a[:, 3 * H :]
        input_and_forget = a[:, : 2 * H]
        dh += dh_out[t]
        # through h_t = o tanh(c_t)
        np.multiply(h[t + 1], tanh_c[t], out=scratch)
        np.subtract(o, scratch, out=scratch)
        scratch *= dh
        dc += scratch
        np.subtract(1.0, o, out=o)
        o *= h[t + 1]
        o *= dh
        # through c_t = f c_{t-1} + i g
        np.multiply(input_and_forget, input_and_forget, out=slopes)
        np.subtract(input_and_forget, slopes, out=slopes)
        slopes_i, slopes_f = slopes[:, :H], slopes[:, H:]
        slopes_i *= g
        slopes_f *= c[t]
        g *= g
        np.subtract(1.0, g, out=g)
        g *= i
        g *= dc
        np.multiply(slopes_i, dc, out=i)
        np.multiply(slopes_f, dc, out=slopes_f)
        dc *= f
        f[...] = slopes_f
        # through a_t, which h_{t-1} reaches by Wh
        np.matmul(a, blocks, out=product)
        dh_in_blocks[...] = recurrent
