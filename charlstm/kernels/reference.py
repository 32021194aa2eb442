"""The kernels in NumPy: they define the results of the native kernels, and run where C cannot.

Shapes: T time steps, B streams, H hidden units, V symbols. All arrays of a call are C-contiguous
and have the same dtype. Results are written into arrays that the caller passes. `precision` is the
precision of the operands of matrix products: see bfloat16.py.

The LSTM, with the gates in one block of 4H columns in the order i f o g (Gers, Schmidhuber and
Cummins 2000, without peepholes):

    a_t = x_t Wx + b + h_{t-1} Wh
    i, f, o = sigmoid(a_t[:3H]);  g = tanh(a_t[3H:])
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t)

With capped input gates, min(i, 1 - f) takes the place of i everywhere (Melis et al. 2020), so that
cells stay between -1 and 1.
"""

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.kernels.bfloat16 import MIN_STEPS_TO_PACK as MIN_STEPS_TO_PACK
from charlstm.kernels.bfloat16 import RecurrentGradient, column_blocks, operand

# Number of weights that Adam updates at a time. These weights and their moments then stay in the
# processor's cache through all operations.
ADAM_BLOCK = 16_384


def project(
    x: Array, W: Array, out: Array, precision: str = "float32", b: Array | None = None
) -> None:
    """Compute out (R, N) = x (R, K) W (K, N), plus b (N) unless b is None."""
    np.matmul(operand(x, precision), operand(W, precision), out=out)
    if b is not None:
        out += b


def weight_gradient(x: Array, dout: Array, dW: Array, precision: str = "float32") -> None:
    """Compute dW (K, N) = x^T dout, for x (R, K) and dout (R, N)."""
    np.matmul(operand(x, precision).T, operand(dout, precision), out=dW)


def input_gradient(dout: Array, W: Array, dx: Array, precision: str = "float32") -> None:
    """Compute dx (R, K) = dout W^T, for dout (R, N) and W (K, N)."""
    np.matmul(operand(dout, precision), operand(W, precision).T, out=dx)


def log_softmax(logits: Array, b: Array) -> None:
    """Overwrite logits (N, V) with log softmax(logits + b), for b (V).

    The largest logit of each row is subtracted first, so that exp cannot overflow.
    """
    logits += b
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))


def cross_entropy_gradient(log_probs: Array, targets: Ids, scales: Array) -> None:
    """Overwrite log_probs (N, V) with the gradient of the logits.

    The gradient is that of sum_n scales[n] * loss[n], where loss[n] is the cross-entropy of
    targets[n]. Row n of the gradient is scales[n] * (softmax - one-hot of targets[n]).
    targets (N): the id to predict in each row. scales (N): the factor of each loss.
    """
    np.exp(log_probs, out=log_probs)
    log_probs[np.arange(len(targets)), targets] -= 1
    log_probs *= scales[:, None]


def sum_rows(ids: Ids, rows: Array, sums: Array) -> None:
    """Add up the rows (R, N) that have the same id: row v of sums (V, N) is the sum for id v.

    ids (R): the id of each row. Back-propagation through a selection of matrix rows by id computes
    these sums.
    """
    sums[...] = 0
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(ids)], strict=True):
        rows[order[start:stop]].sum(axis=0, out=sums[ordered[start]])


def add_ngram_logits(table: Array, rows: Ids, logits: Array) -> None:
    """Add n rows of the n-gram table (R, V) to each row of logits (N, V).

    rows (N, n): the indices of the table rows to add to each row of logits.
    """
    for row in rows.T:
        logits += table[row]


def update_ngram_rows(
    table: Array,
    squares: Array,
    rows: Ids,
    dlogits: Array,
    span: slice,
    *,
    rate: float,
    epsilon: float,
) -> None:
    """Make a step of AdaGrad on rows of the n-gram table (R, V).

    rows (N, n): the indices of the table rows that add_ngram_logits added to the logits. The
        step changes only the table rows whose index is in `span`.
    dlogits (N, V): the gradient of the logits. The gradient of a table row is the sum of dlogits[k]
        over all k with the table row in rows[k].
    squares (R): for each table row, the sum of its squared gradient norms over all steps.
    """
    found = np.flatnonzero((rows >= span.start) & (rows < span.stop))
    own, place = np.unique(rows.reshape(-1)[found], return_inverse=True)
    if not len(own):
        return
    gradient = np.empty((len(own), dlogits.shape[1]), dlogits.dtype)
    sum_rows(place, dlogits[found // rows.shape[1]], gradient)
    squares[own] += np.einsum("nv,nv->n", gradient, gradient)
    gradient *= (rate / (np.sqrt(squares[own]) + epsilon))[:, None]
    table[own] -= gradient


def adam_update(
    weights: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    *,
    beta1: float,
    beta2: float,
    step_size: float,
    root_correction: float,
    epsilon: float,
    kept: float,
) -> None:
    """Make one step of Adam on 1-D arrays; the gradient is overwritten.

        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient^2
        weights = kept * weights - step_size * mean / (root_correction * sqrt(square) + epsilon)

    kept: the factor by which weight decay shrinks the weights; 1 without weight decay.
    """
    for start in range(0, len(weights), ADAM_BLOCK):
        block = slice(start, start + ADAM_BLOCK)
        w, g, m, s = weights[block], gradient[block], mean[block], square[block]
        scratch = g * g
        scratch *= 1 - beta2
        s *= beta2
        s += scratch
        m *= beta1
        g *= 1 - beta1
        m += g
        np.sqrt(s, out=scratch)
        scratch *= root_correction
        scratch += epsilon
        np.divide(m, scratch, out=scratch)
        scratch *= step_size
        w *= kept
        w -= scratch


def cap_input_gate(i: Array, f: Array, scratch: Array) -> None:
    """Overwrite i (B, H) with min(i, 1 - f): a cell takes in no more than it forgets."""
    np.subtract(1.0, f, out=scratch)
    np.minimum(i, scratch, out=i)


def lstm_forward(
    gates: Array,
    h: Array,
    c: Array,
    tanh_c: Array,
    Wh: Array,
    precision: str = "float32",
    capped: bool = False,
) -> None:
    """Run the LSTM over a window.

    gates (T, B, 4H): on entry x Wx + b, on return the activated gates i f o g.
    h, c (T+1, B, H): on entry row 0 holds the state before the window; rows 1..T are written.
    tanh_c (T, B, H): written, for the backward pass.
    Wh (H, 4H).
    """
    T, B, H = tanh_c.shape
    blocks = column_blocks(operand(Wh, precision), T)
    product = np.empty((len(blocks), B, blocks.shape[2]), gates.dtype)
    # A view (B, blocks, width): for each stream, a row of h Wh with its columns in order.
    recurrent = product.swapaxes(0, 1)
    scratch = np.empty((B, H), gates.dtype)
    for t in range(T):
        a = gates[t]
        np.matmul(operand(h[t], precision), blocks, out=product)
        a_in_blocks = a.reshape(recurrent.shape)
        a_in_blocks += recurrent
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, so that one call of tanh serves all four gates
        sigmoids = a[:, : 3 * H]
        sigmoids *= 0.5
        np.tanh(a, out=a)
        sigmoids *= 0.5
        sigmoids += 0.5
        i, f, o, g = a[:, :H], a[:, H : 2 * H], a[:, 2 * H : 3 * H], a[:, 3 * H :]
        if capped:
            cap_input_gate(i, f, scratch)
        np.multiply(f, c[t], out=c[t + 1])
        np.multiply(i, g, out=scratch)
        c[t + 1] += scratch
        np.tanh(c[t + 1], out=tanh_c[t])
        np.multiply(o, tanh_c[t], out=h[t + 1])


def lstm_backward(
    gates: Array,
    dh: Array,
    dc: Array,
    dh_out: Array,
    h: Array,
    c: Array,
    tanh_c: Array,
    Wh: Array,
    precision: str = "float32",
    capped: bool = False,
) -> None:
    """Run the LSTM's backward pass over a window.

    gates (T, B, 4H): on entry the activated gates, on return the gradient of a_t.
    dh, dc (B, H): on entry the gradient of the state after the window (zero in truncated
        back-propagation through time), on return the gradient of the state before the window.
    dh_out (T, B, H): the gradient of each h_t from the layer above.
    h, c (T+1, B, H), tanh_c (T, B, H): as lstm_forward left them.
    Wh (H, 4H).

    The gradient reaches c_t on two paths, through h_t and through the forget gate of the next step:

        dc_t = dh_t * o_t * (1 - tanh(c_t)^2) + dc_{t+1} * f_{t+1}

    network/textbook_cells.py derives the gradient of each gate. The code uses h = o tanh(c) to
    compute o (1 - tanh(c)^2) as o - h tanh(c), and tanh(c) o (1 - o) as h (1 - o).

    Where the input gate is capped at 1 - f, the gradient of i is zero and the gradient of f is
    dc_t * (c_{t-1} - g), because c_t is then f * c_{t-1} + (1 - f) * g.
    """
    T, B, H = tanh_c.shape
    back = RecurrentGradient(Wh, B, T, precision)
    slopes = np.empty((B, 2 * H), gates.dtype)  # the slopes s (1 - s) of the sigmoids i and f
    scratch = np.empty((B, H), gates.dtype)
    for t in reversed(range(T)):
        a = gates[t]
        i, f, o, g = a[:, :H], a[:, H : 2 * H], a[:, 2 * H : 3 * H], a[:, 3 * H :]
        input_and_forget = a[:, : 2 * H]
        dh += dh_out[t]
        # back-propagation through h_t = o tanh(c_t)
        np.multiply(h[t + 1], tanh_c[t], out=scratch)
        np.subtract(o, scratch, out=scratch)
        scratch *= dh
        dc += scratch
        np.subtract(1.0, o, out=o)
        o *= h[t + 1]
        o *= dh
        # back-propagation through c_t = f c_{t-1} + i g
        np.multiply(input_and_forget, input_and_forget, out=slopes)
        np.subtract(input_and_forget, slopes, out=slopes)
        slopes_i, slopes_f = slopes[:, :H], slopes[:, H:]
        slopes_i *= g
        if capped:
            at_cap = i >= 1 - f
            slopes_i[at_cap] = 0
            slopes_f *= c[t] - at_cap * g
        else:
            slopes_f *= c[t]
        g *= g
        np.subtract(1.0, g, out=g)
        g *= i
        g *= dc
        np.multiply(slopes_i, dc, out=i)
        np.multiply(slopes_f, dc, out=slopes_f)
        dc *= f
        f[...] = slopes_f
        # back-propagation through a_t, to which h_{t-1} Wh is added
        recurrent = back(a)
        dh.reshape(recurrent.shape)[...] = recurrent


def gru_forward(
    gates: Array, h: Array, candidate: Array, Wh: Array, bn: Array, precision: str = "float32"
) -> None:
    """Run the GRU of network/textbook_cells.py over a window, gates in the order r z n.

    gates (T, B, 3H): on entry x Wx + b, on return r, z and n.
    h (T+1, B, H): on entry row 0 holds the state before the window; rows 1..T are written.
    candidate (T, B, H): overwritten with (h_{t-1} Wh)_n + bn, for the backward pass.
    Wh (H, 3H), bn (H).
    """
    T, B, H = candidate.shape
    blocks = column_blocks(operand(Wh, precision), T)
    product = np.empty((len(blocks), B, blocks.shape[2]), gates.dtype)
    recurrent = np.empty((B, 3 * H), gates.dtype)
    recurrent_in_blocks = recurrent.reshape(B, len(blocks), -1)
    for t in range(T):
        np.matmul(operand(h[t], precision), blocks, out=product)
        recurrent_in_blocks[...] = product.swapaxes(0, 1)
        a = gates[t]
        r, z, n = a[:, :H], a[:, H : 2 * H], a[:, 2 * H :]
        sigmoids = a[:, : 2 * H]
        sigmoids += recurrent[:, : 2 * H]
        sigmoids *= 0.5
        np.tanh(sigmoids, out=sigmoids)
        sigmoids *= 0.5
        sigmoids += 0.5
        np.add(recurrent[:, 2 * H :], bn, out=candidate[t])
        scratch = recurrent[:, 2 * H :]
        np.multiply(r, candidate[t], out=scratch)
        n += scratch
        np.tanh(n, out=n)
        # (1 - z) n + z h  =  n + z (h - n)
        np.subtract(h[t], n, out=scratch)
        scratch *= z
        np.add(n, scratch, out=h[t + 1])


def gru_backward(
    gates: Array,
    dh: Array,
    dh_out: Array,
    h: Array,
    candidate: Array,
    Wh: Array,
    precision: str = "float32",
) -> None:
    """Run the GRU's backward pass over a window.

    gates (T, B, 3H): on entry r, z and n, on return the gradient of x Wx + b.
    dh (B, H): on entry the gradient of the state after the window, on return the gradient of the
        state before the window.
    dh_out (T, B, H): the gradient of each h_t from the layer above.
    h (T+1, B, H): as gru_forward left it.
    candidate (T, B, H): on entry as gru_forward left it, on return its gradient: r times the
        gradient of n's pre-activation.
    Wh (H, 3H).
    """
    T, B, H = candidate.shape
    back = RecurrentGradient(Wh, B, T, precision)
    da_h = np.empty((B, 3 * H), gates.dtype)
    scratch = np.empty((B, H), gates.dtype)
    for t in reversed(range(T)):
        r, z, n = gates[t, :, :H], gates[t, :, H : 2 * H], gates[t, :, 2 * H :]
        dh += dh_out[t]
        # da_z = dh (h_{t-1} - n) z (1 - z), in a separate array, as z itself is needed again below
        da_z = da_h[:, H : 2 * H]
        np.subtract(h[t], n, out=da_z)
        da_z *= dh
        da_z *= z
        np.subtract(1.0, z, out=scratch)
        da_z *= scratch
        # da_n = dh (1 - z) (1 - n^2)
        scratch *= dh
        n *= n
        np.subtract(1.0, n, out=n)
        n *= scratch
        # da_r = da_n m r (1 - r) and da_m = r da_n, where m = (h Wh)_n + bn is in `candidate`
        da_r, da_m = da_h[:, :H], da_h[:, 2 * H :]
        np.multiply(n, r, out=da_m)
        np.subtract(1.0, r, out=da_r)
        da_r *= da_m
        da_r *= candidate[t]
        candidate[t] = da_m
        dh *= z
        gates[t, :, : 2 * H] = da_h[:, : 2 * H]
        recurrent = back(da_h)
        dh.reshape(recurrent.shape)[...] += recurrent


def rnn_forward(a: Array, h: Array, Wh: Array, precision: str = "float32") -> None:
    """Run h_t = tanh(a_t + h_{t-1} Wh) over a window.

    a (T, B, H): x Wx + b, overwritten. h (T+1, B, H): row 0 is given, rows 1..T are written.
    Wh (H, H): the recurrent weights.
    """
    T, B, _ = a.shape
    blocks = column_blocks(operand(Wh, precision), T)
    product = np.empty((len(blocks), B, blocks.shape[2]), a.dtype)
    for t in range(T):
        np.matmul(operand(h[t], precision), blocks, out=product)
        a[t].reshape(B, len(blocks), -1)[...] += product.swapaxes(0, 1)
        np.tanh(a[t], out=h[t + 1])


def rnn_backward(
    a: Array, dh: Array, dh_out: Array, h: Array, Wh: Array, precision: str = "float32"
) -> None:
    """Run the backward pass of rnn_forward.

    a (T, B, H): overwritten with the gradient of x Wx + b.
    dh (B, H): on entry the gradient of the state after the window, on return the gradient of the
        state before the window.
    dh_out (T, B, H): the gradient of each h_t from the layer above.
    h (T+1, B, H): as rnn_forward left it. Wh (H, H).
    """
    T, B, _ = a.shape
    back = RecurrentGradient(Wh, B, T, precision)
    for t in reversed(range(T)):
        dh += dh_out[t]
        np.multiply(h[t + 1], h[t + 1], out=a[t])
        np.subtract(1.0, a[t], out=a[t])
        a[t] *= dh
        recurrent = back(a[t])
        dh.reshape(recurrent.shape)[...] = recurrent
