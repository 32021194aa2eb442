"""The recurrence of a layer over a window in PyTorch, with its backward pass.

Shapes: T time steps, B streams, H hidden units, N columns of Wh. The state of a layer is (S, B, H):
S is 2 for an LSTM, h and then c, else 1.

PyTorch's own layers have no capped input gates, and its autograd would add up the gradient of Wh
once for each time step. Here a window is one function: only the steps of the recurrence are
computed one after the other, and the gradient of Wh is one product. kernels/reference.py has the
same equations in NumPy.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from charlstm.config import ModelConfig


def operand(x: Tensor, precision: str) -> Tensor:
    """Return an operand of a matrix product, rounded to bfloat16 if that is the precision."""
    return x.bfloat16() if precision == "bfloat16" else x


def product(x: Tensor, W: Tensor) -> Tensor:
    """Return x (R, K) W (K, N) of two operands; the sums of a product in bfloat16 are float32."""
    if x.dtype != torch.bfloat16:
        return x @ W
    if x.is_cuda:
        return torch.mm(x, W, out_dtype=torch.float32)
    return x.float() @ W.float()


class Product(torch.autograd.Function):
    """The product x (R, K) W (K, N), whose operands have a precision in both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, precision: str) -> Tensor:
        """Return x W."""
        ctx.precision = precision
        x, W = operand(x, precision), operand(W, precision)
        ctx.save_for_backward(x, W)
        return product(x, W)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and W."""
        x, W = ctx.saved_tensors
        dout = operand(dout, ctx.precision)
        return product(dout, W.T), product(x.T, dout), None


def multiply(x: Tensor, W: Tensor, precision: str) -> Tensor:
    """Return x (..., K) W (K, N), whose operands have a precision in both directions."""
    out: Tensor = Product.apply(x.flatten(0, -2), W, precision)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], -1)


# -- one time step ---------------------------------------------------------------------------------
# A forward step takes the projection a (B, N) of the input, the product r (B, N) = h Wh plus its
# bias, and the state before it; it returns numbers to keep for the backward step, and the state
# after it. A backward step takes the numbers kept, both states, and the gradient of the state after
# it; it returns the gradients of a, of r, and of the state before it, without the part through r.


def lstm_step(a: Tensor, r: Tensor, before: Tensor, *, capped: bool) -> tuple[Tensor, Tensor]:
    """Make a step of an LSTM with the gates i f o g."""
    H = before.shape[-1]
    i, f, o = torch.sigmoid((a + r)[:, : 3 * H]).chunk(3, 1)
    g = torch.tanh((a + r)[:, 3 * H :])
    if capped:
        i = torch.minimum(i, 1 - f)
    c = f * before[1] + i * g
    return torch.cat((i, f, o, g), 1), torch.stack((o * torch.tanh(c), c))


def lstm_step_back(
    kept: Tensor, before: Tensor, after: Tensor, dafter: Tensor, *, capped: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Make the backward step; where i is capped at 1 - f, c is f c + (1 - f) g."""
    i, f, o, g = kept.chunk(4, 1)
    dh, dc = dafter
    tanh_c = torch.tanh(after[1])
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    di, df = dc * g, dc * before[1]
    if capped:
        at_cap = i >= 1 - f
        df = torch.where(at_cap, df - di, df)
        di = torch.where(at_cap, 0.0, di)
    da = torch.cat(
        (di * i * (1 - i), df * f * (1 - f), dh * tanh_c * o * (1 - o), dc * i * (1 - g * g)), 1
    )
    return da, da, torch.stack((torch.zeros_like(dh), dc * f))


def gru_step(a: Tensor, r: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Make a step of a GRU with the gates r z n, of which r is called `reset` here."""
    h = before[0]
    H = h.shape[-1]
    reset, z = torch.sigmoid((a + r)[:, : 2 * H]).chunk(2, 1)
    m = r[:, 2 * H :]
    n = torch.tanh(a[:, 2 * H :] + reset * m)
    return torch.cat((reset, z, n, m), 1), (n + z * (h - n))[None]


def gru_step_back(
    kept: Tensor, before: Tensor, after: Tensor, dafter: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Make the backward step of a GRU."""
    reset, z, n, m = kept.chunk(4, 1)
    dh = dafter[0]
    dn = dh * (1 - z) * (1 - n * n)
    dz = dh * (before[0] - n) * z * (1 - z)
    dreset = dn * m * reset * (1 - reset)
    return (
        torch.cat((dreset, dz, dn), 1),
        torch.cat((dreset, dz, dn * reset), 1),
        (dh * z)[None],
    )


def rnn_step(a: Tensor, r: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Make a step of a plain RNN, which keeps nothing but its states."""
    h = torch.tanh(a + r)
    return h[:, :0], h[None]


def rnn_step_back(
    kept: Tensor, before: Tensor, after: Tensor, dafter: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Make the backward step of a plain RNN."""
    da = dafter[0] * (1 - after[0] * after[0])
    return da, da, torch.zeros_like(dafter)


class Cell(NamedTuple):
    """The time step of a kind of cell, forward and backward."""

    step: Callable[..., tuple[Tensor, Tensor]]
    step_back: Callable[..., tuple[Tensor, Tensor, Tensor]]


@cache
def cell_of(kind: str, capped: bool, fused: bool) -> Cell:
    """Return the time steps of a kind of cell; `fused` compiles each of them into one kernel."""
    cells = {
        "lstm": Cell(partial(lstm_step, capped=capped), partial(lstm_step_back, capped=capped)),
        "gru": Cell(gru_step, gru_step_back),
        "rnn": Cell(rnn_step, rnn_step_back),
    }
    cell = cells[kind]
    return Cell(torch.compile(cell.step), torch.compile(cell.step_back)) if fused else cell


class Window(torch.autograd.Function):
    """The recurrence over a window, from its first time step to its last."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, state: Tensor, Wh: Tensor, b: Tensor, cell: Cell, precision: str
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs h (T, B, H) and the state after the window.

        a (T, B, N): the projection of the input. state (S, B, H): the state before the window.
        Wh (H, N). b (N): the bias of h Wh.
        """
        W = operand(Wh, precision)
        states, kept = [state], []
        for a_t in a:
            r = product(operand(states[-1][0], precision), W) + b
            numbers, after = cell.step(a_t, r, states[-1])
            kept.append(numbers)
            states.append(after)
        ctx.cell, ctx.precision = cell, precision
        all_states = torch.stack(states)
        ctx.save_for_backward(all_states, torch.stack(kept), W)
        return all_states[1:, 0].clone(), states[-1]

    @staticmethod
    def backward(ctx: Any, dout: Tensor, dend: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of a, state, Wh and b."""
        states, kept, W = ctx.saved_tensors
        dstate, da, dr = dend, [], []
        for t in reversed(range(len(kept))):
            dstate = torch.cat((dstate[:1] + dout[t], dstate[1:]))
            da_t, dr_t, dstate = ctx.cell.step_back(kept[t], states[t], states[t + 1], dstate)
            dh = product(operand(dr_t, ctx.precision), W.T)
            dstate = torch.cat((dstate[:1] + dh, dstate[1:]))
            da.append(da_t)
            dr.append(dr_t)
        h = states[:-1, 0].flatten(0, 1)
        dr_rows = torch.stack(dr[::-1]).flatten(0, 1)
        dWh = product(operand(h, ctx.precision).T, operand(dr_rows, ctx.precision))
        return torch.stack(da[::-1]), dstate, dWh, dr_rows.sum(0), None, None


def run_window(
    config: ModelConfig, a: Tensor, state: Tensor, Wh: Tensor, bn: Tensor | None, precision: str
) -> tuple[Tensor, Tensor]:
    """Return the outputs (T, B, H) of a layer, and its state after the window: see Window.

    bn (H): the recurrent bias of a GRU's candidate; None for other cells.
    """
    b = Wh.new_zeros(Wh.shape[1])
    if bn is not None:
        b = torch.cat((b[: -len(bn)], bn))
    cell = cell_of(config.cell, config.capped, a.is_cuda)
    h, end = Window.apply(a, state, Wh, b, cell, precision)  # type: ignore[no-untyped-call]
    return h, end
