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


def to_torch_gates(array: np.ndarray) -> np.ndarray:
    """Our i f o g columns (..., 4H) as PyTorch's rows i f g o (4H, ...)."""
    i, f, o, g = np.split(array, 4, axis=-1)
    return np.concatenate((i, f, g, o), axis=-1).T.copy()


def torch_stack(model: CharModel) -> tuple[Any, Any]:
    """nn.LSTM and nn.Linear with the model's weights (its second bias zero)."""
    import torch

    config, V = model.config, len(model.vocab)
    dtype = getattr(torch, config.dtype)
    lstm = torch.nn.LSTM(V, config.hidden, config.layers, dtype=dtype)
    head = torch.nn.Linear(config.hidden, V, dtype=dtype)
    p = {name: torch.from_numpy(array.copy()) for name, array in model.parameters.items()}
    with torch.no_grad():
        for k in range(config.layers):
            for ours, theirs in (("Wx", "weight_ih"), ("Wh", "weight_hh"), ("b", "bias_ih")):
                rows = to_torch_gates(model.parameters[f"layers.{k}.{ours}"])
                getattr(lstm, f"{theirs}_l{k}").copy_(torch.from_numpy(rows))
            getattr(lstm, f"bias_hh_l{k}").zero_()
        head.weight.copy_(p["head.W"].T)
        head.bias.copy_(p["head.b"])
    return lstm, head
