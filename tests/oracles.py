"""What several tests compare with: relative error, numeric gradients, and PyTorch's modules."""

from collections.abc import Callable
from typing import Any

import numpy as np

from charlstm import CharModel


def relative_error(a: Any, b: Any) -> float:
    """||a - b|| / max(||a||, ||b||), 0 for two zeros."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape, (a.shape, b.shape)
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / scale) if scale else 0.0


def numeric_gradient(f: Callable[[], float], x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of f() over every element of x, changed in place and put back."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + step
        above = f()
        x[index] = value - step
        below = f()
        x[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


def to_torch_gates(cell: str, array: np.ndarray) -> np.ndarray:
    """Our columns (..., G H) as PyTorch's rows (G H, ...); its LSTM has i f g o for our i f o g."""
    if cell == "lstm":
        i, f, o, g = np.split(array, 4, axis=-1)
        array = np.concatenate((i, f, g, o), axis=-1)
    return array.T.copy()


def from_torch_gates(cell: str, array: np.ndarray) -> np.ndarray:
    """PyTorch's rows as our columns."""
    columns = array.T
    if cell == "lstm":
        i, f, g, o = np.split(columns, 4, axis=-1)
        columns = np.concatenate((i, f, o, g), axis=-1)
    return columns.copy()


def _copy_weights(module: Any, suffix: str, cell: str, weights: dict[str, np.ndarray]) -> None:
    """Our weights into a PyTorch cell, or one layer of a stack; its second bias is our bn, or 0."""
    import torch

    H = len(weights["Wh"])
    recurrent_bias = np.zeros_like(weights["b"])
    if cell == "gru":
        recurrent_bias[2 * H :] = weights["bn"]
    theirs = {
        "weight_ih": to_torch_gates(cell, weights["Wx"]),
        "weight_hh": to_torch_gates(cell, weights["Wh"]),
        "bias_ih": to_torch_gates(cell, weights["b"]),
        "bias_hh": recurrent_bias,
    }
    with torch.no_grad():
        for name, array in theirs.items():
            getattr(module, name + suffix).copy_(torch.from_numpy(array))


def torch_cell(cell: str, weights: dict[str, np.ndarray]) -> Any:
    """nn.LSTMCell, nn.GRUCell or nn.RNNCell in float64 with our weights."""
    import torch

    D, H = len(weights["Wx"]), len(weights["Wh"])
    module = getattr(torch.nn, f"{cell.upper()}Cell")(D, H, dtype=torch.float64)
    _copy_weights(module, "", cell, weights)
    return module


def torch_layers(cell: str, stack: list[dict[str, np.ndarray]], dtype: str) -> Any:
    """nn.LSTM, nn.GRU or nn.RNN with the weights of each of our layers."""
    import torch

    D, H = len(stack[0]["Wx"]), len(stack[0]["Wh"])
    module = getattr(torch.nn, cell.upper())(D, H, len(stack), dtype=getattr(torch, dtype))
    for k, weights in enumerate(stack):
        _copy_weights(module, f"_l{k}", cell, weights)
    return module


def torch_model(model: CharModel) -> tuple[Any, Any]:
    """PyTorch's stack and nn.Linear with the weights of a model."""
    import torch

    config, V = model.config, len(model.vocab)
    stack = [model.parameters.part(f"layers.{k}.") for k in range(config.layers)]
    head = torch.nn.Linear(config.hidden, V, dtype=getattr(torch, config.dtype))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(model.parameters["head.W"].T.copy()))
        head.bias.copy_(torch.from_numpy(model.parameters["head.b"]))
    return torch_layers(config.cell, stack, config.dtype), head
