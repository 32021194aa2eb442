"""Recurrent cells as textbooks write them: to read first, and to check the fast layers against.

N samples, T time steps, D inputs, H hidden units. Weights multiply from the right: x Wx, h Wh.
`d` before a name stands for the gradient of the loss with respect to it. Products with a weight
matrix or a transposed matrix are matrix products, all others go element by element.

Each cell has four functions: forward and backward, for one step and for a sequence. The functions
of a sequence only repeat the step: forward in order of time, backward in reverse order. The
backward function also sums the gradients of the shared weights over the steps (back-propagation
through time, Werbos 1990).

The layers used in training (network/layers) compute the same numbers. The fast layers compute
all steps of a window at once, except for the recurrence, which charlstm/kernels computes step by
step.
"""

from typing import Any

import numpy as np

from charlstm.arrays import Array, require_float, require_shape

Cache = tuple[Any, ...]  # values of a forward function that its backward function needs


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), in a form that does not overflow."""
    half: Array = 0.5 * np.tanh(0.5 * a) + 0.5
    return half


# -- LSTM -------------------------------------------------------------------------------------


def capped_input_gate(i: Array, f: Array) -> Array:
    """Return min(i, 1 - f), which replaces the input gate i (Melis et al. 2020)."""
    capped: Array = np.minimum(i, 1 - f)
    return capped


def lstm_step_forward(
    x: Array,
    prev_h: Array,
    prev_c: Array,
    Wx: Array,
    Wh: Array,
    b: Array,
    capped: bool = False,
) -> tuple[Array, Array, Cache]:
    """One step of an LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al.
    2000), gates in the order i f o g.

        a = x Wx + prev_h Wh + b                      pre-activations, (N, 4H)
        i, f, o = sigmoid(a[:, :3H]);  g = tanh(a[:, 3H:])
        next_c = f * prev_c + i * g                   keep the share f, add the share i of g
        next_h = o * tanh(next_c)                     show the share o

    x (N, D), prev_h and prev_c (N, H), Wx (D, 4H), Wh (H, 4H), b (4H).
    capped: min(i, 1 - f) takes the place of i (Melis et al. 2020), so that a cell takes in no more
        than it forgets, and stays between -1 and 1.
    Returns next_h and next_c, (N, H), and the cache for lstm_step_backward.
    """
    N, D, H = _sizes(x, prev_h, ("N", "D"))
    require_shape("prev_c", prev_c, (N, H))
    require_shape("Wx", Wx, (D, 4 * H))
    require_shape("Wh", Wh, (H, 4 * H))
    require_shape("b", b, (4 * H,))
    a = x @ Wx + prev_h @ Wh + b
    i, f, o = (sigmoid(a[:, k * H : (k + 1) * H]) for k in range(3))
    g = np.tanh(a[:, 3 * H :])
    written = capped_input_gate(i, f) if capped else i
    next_c = f * prev_c + written * g
    tanh_c = np.tanh(next_c)
    next_h = o * tanh_c
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, written, i, f, o, g, tanh_c)


def lstm_step_backward(
    dnext_h: Array, dnext_c: Array, cache: Cache
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return the gradients of lstm_step_forward, by the chain rule.

    next_c reaches the loss on two paths, whose gradients add up: through next_h = o * tanh(next_c),
    with tanh' = 1 - tanh^2, and through the cell state of the next step, which gives dnext_c:

        dc = dnext_h * o * (1 - tanh(next_c)^2) + dnext_c

    From next_c = f * prev_c + i * g, the gradient of each factor is dc times the other factor:

        di = dc * g     df = dc * prev_c     dg = dc * i     dprev_c = dc * f

    and from next_h = o * tanh(next_c):  do = dnext_h * tanh(next_c).  The cell state is multiplied
    by f alone, and passes through no weight and no squashing function. Where f is near 1, dprev_c
    is near dc: the gradient does not vanish.

    Through the activation functions, with sigmoid' = s (1 - s) for s = sigmoid(a):

        da_i = di i (1 - i)   da_f = df f (1 - f)   da_o = do o (1 - o)   da_g = dg (1 - g^2)

    and through a = x Wx + prev_h Wh + b:

        dx = da Wx^T   dprev_h = da Wh^T   dWx = x^T da   dWh = prev_h^T da   db = sum of da over N

    Where the cap replaces i by 1 - f, next_c = f * prev_c + (1 - f) * g does not depend on i. So
    di = 0 and df = dc * (prev_c - g).

    (Equations as in Greff et al. 2017, "LSTM: A Search Space Odyssey", without peepholes.)
    Returns dx, dprev_h, dprev_c, dWx, dWh, db, each in the shape of the array it belongs to.
    """
    x, prev_h, prev_c, Wx, Wh, written, i, f, o, g, tanh_c = cache
    require_shape("dnext_h", dnext_h, prev_h.shape)
    require_shape("dnext_c", dnext_c, prev_h.shape)
    dc = dnext_h * o * (1 - tanh_c**2) + dnext_c
    at_cap = written < i
    da = np.concatenate(
        (
            dc * np.where(at_cap, 0, g) * i * (1 - i),
            dc * np.where(at_cap, prev_c - g, prev_c) * f * (1 - f),
            dnext_h * tanh_c * o * (1 - o),
            dc * written * (1 - g**2),
        ),
        axis=1,
    )
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def lstm_forward(
    x: Array, h0: Array, Wx: Array, Wh: Array, b: Array, capped: bool = False
) -> tuple[Array, list[Cache]]:
    """Run an LSTM over sequences, from the hidden state h0 and a cell state of zeros.

    x (N, T, D), h0 (N, H), weights and capped as in lstm_step_forward. Returns h (N, T, H), the
    hidden state after each step, and the cache for lstm_backward.
    """
    N, T, _, H = _sizes(x, h0, ("N", "T", "D"))
    h = np.empty((N, T, H), h0.dtype)
    prev_h, prev_c = h0, np.zeros_like(h0)
    caches = []
    for t in range(T):
        prev_h, prev_c, cache = lstm_step_forward(x[:, t], prev_h, prev_c, Wx, Wh, b, capped)
        h[:, t] = prev_h
        caches.append(cache)
    return h, caches


def lstm_backward(dh: Array, cache: list[Cache]) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients of lstm_forward, for the gradient dh (N, T, H) of its result h.

    The hidden state of step t also reaches the loss through step t+1, so dprev_h of step t+1 is
    added to dh[:, t]. The last cell state is not part of the result, so dnext_c of step T is zero.
    Returns dx (N, T, D), dh0, dWx, dWh, db.
    """
    x, prev_h, _, Wx, Wh, *_ = cache[0]
    N, T = _check_dh(dh, cache, prev_h)
    dx = np.empty((N, T, x.shape[1]), dh.dtype)
    dprev_h, dprev_c = np.zeros_like(prev_h), np.zeros_like(prev_h)
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(Wh.shape[1], Wh.dtype)
    for t in reversed(range(T)):
        dx[:, t], dprev_h, dprev_c, *step = lstm_step_backward(
            dh[:, t] + dprev_h, dprev_c, cache[t]
        )
        for total, gradient in zip((dWx, dWh, db), step, strict=True):
            total += gradient
    return dx, dprev_h, dWx, dWh, db


# -- GRU --------------------------------------------------------------------------------------


def gru_step_forward(
    x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array, bn: Array
) -> tuple[Array, Cache]:
    """One step of a GRU (Cho et al. 2014), gates in the order r z n. The reset gate acts after the
    product with Wh, as in PyTorch and cuDNN. The index n stands for the columns [:, 2H:].

        r, z = sigmoid((x Wx + prev_h Wh + b)[:, :2H])        reset and update gate
        n = tanh((x Wx + b)_n + r * ((prev_h Wh)_n + bn))     candidate for the next state
        next_h = (1 - z) * n + z * prev_h                     mixture of candidate and old state

    x (N, D), prev_h (N, H), Wx (D, 3H), Wh (H, 3H), b (3H); bn (H) is the recurrent bias of n.
    Returns next_h (N, H) and the cache for gru_step_backward.
    """
    _, D, H = _sizes(x, prev_h, ("N", "D"))
    require_shape("Wx", Wx, (D, 3 * H))
    require_shape("Wh", Wh, (H, 3 * H))
    require_shape("b", b, (3 * H,))
    require_shape("bn", bn, (H,))
    from_x, from_h = x @ Wx + b, prev_h @ Wh
    r = sigmoid(from_x[:, :H] + from_h[:, :H])
    z = sigmoid(from_x[:, H : 2 * H] + from_h[:, H : 2 * H])
    m = from_h[:, 2 * H :] + bn
    n = np.tanh(from_x[:, 2 * H :] + r * m)
    next_h = (1 - z) * n + z * prev_h
    return next_h, (x, prev_h, Wx, Wh, r, z, n, m)


def gru_step_backward(
    dnext_h: Array, cache: Cache
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return the gradients of gru_step_forward, by the chain rule.

    From next_h = (1 - z) * n + z * prev_h:

        dn = dnext_h (1 - z)     dz = dnext_h (prev_h - n)     directly to prev_h: dnext_h z

    Where z is near 1, the state and its gradient pass nearly unchanged: z has the role that the
    forget gate has in an LSTM. Through the activation functions, with m = (prev_h Wh)_n + bn:

        da_n = dn (1 - n^2)   da_z = dz z (1 - z)   dr = da_n m   da_r = dr r (1 - r)

    n depends on m through the product r * m, so the gradient of m is dm = r da_n. In the gradients
    of Wh and prev_h, dm takes the place of da_n:

        da = [da_r da_z da_n]   da_h = [da_r da_z dm]
        dx = da Wx^T   dprev_h = dnext_h z + da_h Wh^T   dWx = x^T da   dWh = prev_h^T da_h
        db = sum of da over N   dbn = sum of dm over N

    Returns dx, dprev_h, dWx, dWh, db, dbn.
    """
    x, prev_h, Wx, Wh, r, z, n, m = cache
    require_shape("dnext_h", dnext_h, prev_h.shape)
    da_n = dnext_h * (1 - z) * (1 - n**2)
    da_z = dnext_h * (prev_h - n) * z * (1 - z)
    da_r = da_n * m * r * (1 - r)
    dm = r * da_n
    da = np.concatenate((da_r, da_z, da_n), axis=1)
    da_h = np.concatenate((da_r, da_z, dm), axis=1)
    dprev_h = dnext_h * z + da_h @ Wh.T
    return da @ Wx.T, dprev_h, x.T @ da, prev_h.T @ da_h, da.sum(axis=0), dm.sum(axis=0)


def gru_forward(
    x: Array, h0: Array, Wx: Array, Wh: Array, b: Array, bn: Array
) -> tuple[Array, list[Cache]]:
    """Run a GRU over sequences: x (N, T, D) and h0 (N, H) give h (N, T, H) and a cache."""
    N, T, _, H = _sizes(x, h0, ("N", "T", "D"))
    h = np.empty((N, T, H), h0.dtype)
    prev_h, caches = h0, []
    for t in range(T):
        prev_h, cache = gru_step_forward(x[:, t], prev_h, Wx, Wh, b, bn)
        h[:, t] = prev_h
        caches.append(cache)
    return h, caches


def gru_backward(dh: Array, cache: list[Cache]) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return the gradients of gru_forward, for dh (N, T, H): dx, dh0, dWx, dWh, db, dbn."""
    x, prev_h, Wx, Wh, *_ = cache[0]
    N, T = _check_dh(dh, cache, prev_h)
    dx = np.empty((N, T, x.shape[1]), dh.dtype)
    dprev_h = np.zeros_like(prev_h)
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(Wh.shape[1], Wh.dtype)
    dbn = np.zeros(len(Wh), Wh.dtype)
    for t in reversed(range(T)):
        dx[:, t], dprev_h, *step = gru_step_backward(dh[:, t] + dprev_h, cache[t])
        for total, gradient in zip((dWx, dWh, db, dbn), step, strict=True):
            total += gradient
    return dx, dprev_h, dWx, dWh, db, dbn


# -- RNN --------------------------------------------------------------------------------------


def rnn_step_forward(
    x: Array, prev_h: Array, Wx: Array, Wh: Array, b: Array
) -> tuple[Array, Cache]:
    """One step of a plain recurrent network (Elman 1990): next_h = tanh(x Wx + prev_h Wh + b).

    x (N, D), prev_h (N, H), Wx (D, H), Wh (H, H), b (H). Returns next_h (N, H) and the cache for
    rnn_step_backward.
    """
    _, D, H = _sizes(x, prev_h, ("N", "D"))
    require_shape("Wx", Wx, (D, H))
    require_shape("Wh", Wh, (H, H))
    require_shape("b", b, (H,))
    next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h: Array, cache: Cache) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients of rnn_step_forward, with tanh' = 1 - tanh^2:

        da = dnext_h (1 - next_h^2)
        dx = da Wx^T   dprev_h = da Wh^T   dWx = x^T da   dWh = prev_h^T da   db = sum of da over N

    Each step back in time multiplies the gradient by Wh^T and by slopes of tanh, which are at most
    1. The product of the factors of k steps is like a k-th power: the gradient vanishes or explodes
    (Bengio et al. 1994, Pascanu et al. 2013).
    Returns dx, dprev_h, dWx, dWh, db.
    """
    x, prev_h, Wx, Wh, next_h = cache
    require_shape("dnext_h", dnext_h, prev_h.shape)
    da = dnext_h * (1 - next_h**2)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def rnn_forward(x: Array, h0: Array, Wx: Array, Wh: Array, b: Array) -> tuple[Array, list[Cache]]:
    """Run a plain recurrent network over sequences: x (N, T, D), h0 (N, H) give h (N, T, H)."""
    N, T, _, H = _sizes(x, h0, ("N", "T", "D"))
    h = np.empty((N, T, H), h0.dtype)
    prev_h, caches = h0, []
    for t in range(T):
        prev_h, cache = rnn_step_forward(x[:, t], prev_h, Wx, Wh, b)
        h[:, t] = prev_h
        caches.append(cache)
    return h, caches


def rnn_backward(dh: Array, cache: list[Cache]) -> tuple[Array, Array, Array, Array, Array]:
    """Return the gradients of rnn_forward, for dh (N, T, H): dx, dh0, dWx, dWh, db."""
    x, prev_h, Wx, Wh, _ = cache[0]
    N, T = _check_dh(dh, cache, prev_h)
    dx = np.empty((N, T, x.shape[1]), dh.dtype)
    dprev_h = np.zeros_like(prev_h)
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(Wh.shape[1], Wh.dtype)
    for t in reversed(range(T)):
        dx[:, t], dprev_h, *step = rnn_step_backward(dh[:, t] + dprev_h, cache[t])
        for total, gradient in zip((dWx, dWh, db), step, strict=True):
            total += gradient
    return dx, dprev_h, dWx, dWh, db


def _sizes(x: Array, h: Array, letters: tuple[str, ...]) -> tuple[int, ...]:
    """Check the shapes of x and h; return the lengths of the axes of x, then H.

    letters: the names of the axes of x, for error messages.
    """
    require_float("x", x)
    require_float("h0" if len(letters) == 3 else "prev_h", h)
    require_shape("x", x, letters)
    require_shape("h0" if len(letters) == 3 else "prev_h", h, (len(x), "H"))
    return (*x.shape, h.shape[1])


def _check_dh(dh: Array, caches: list[Cache], h0: Array) -> tuple[int, int]:
    """Check the shape of dh, (N, T, H); return N and T."""
    N, H = h0.shape
    require_shape("dh", dh, (N, len(caches), H))
    return N, len(caches)
