"""References to compare with: relative error, finite differences, and PyTorch's modules."""

from collections.abc import Callable
from typing import Any

import numpy as np
from plain_ngrams import ngram_rows

from charlstm import CharModel, ModelConfig
from charlstm.network.dropout import Masks


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


def import_torch() -> Any:
    """PyTorch, on one thread: on networks of a few units, more threads take twice as long."""
    import torch

    torch.set_num_threads(1)
    return torch


LSTMS = ("lstm", "capped")  # "capped": with capped input gates


def to_torch_gates(cell: str, array: np.ndarray) -> np.ndarray:
    """Our columns (..., G H) as PyTorch's rows (G H, ...); its LSTM has i f g o for our i f o g."""
    if cell in LSTMS:
        i, f, o, g = np.split(array, 4, axis=-1)
        array = np.concatenate((i, f, g, o), axis=-1)
    return array.T.copy()


def from_torch_gates(cell: str, array: np.ndarray) -> np.ndarray:
    """PyTorch's rows as our columns."""
    columns = array.T
    if cell in LSTMS:
        i, f, g, o = np.split(columns, 4, axis=-1)
        columns = np.concatenate((i, f, o, g), axis=-1)
    return columns.copy()


def _copy_weights(module: Any, suffix: str, cell: str, weights: dict[str, np.ndarray]) -> None:
    """Copy our weights into a PyTorch cell, or a layer of a stack; its second bias is bn, or 0."""
    torch = import_torch()

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
    torch = import_torch()

    D, H = len(weights["Wx"]), len(weights["Wh"])
    module = getattr(torch.nn, f"{cell.upper()}Cell")(D, H, dtype=torch.float64)
    _copy_weights(module, "", cell, weights)
    return module


def torch_capped_lstm(*arguments: Any, **options: Any) -> Any:
    """nn.LSTM with capped input gates, computed step by step from its parameters."""
    torch = import_torch()

    class CappedLSTM(torch.nn.LSTM):
        def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, tuple[Any, Any]]:
            ends = []
            for k in range(self.num_layers):
                h, c, outputs = state[0][k], state[1][k], []
                Wx, Wh, *biases = (
                    getattr(self, f"{name}_l{k}")
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                for step in x:
                    i, f, g, o = (step @ Wx.T + h @ Wh.T + sum(biases)).chunk(4, -1)
                    f = f.sigmoid()
                    c = f * c + torch.minimum(i.sigmoid(), 1 - f) * g.tanh()
                    h = o.sigmoid() * c.tanh()
                    outputs.append(h)
                x = torch.stack(outputs)
                ends.append((h, c))
            return x, (torch.stack([h for h, _ in ends]), torch.stack([c for _, c in ends]))

    return CappedLSTM(*arguments, **options)


def torch_layers(cell: str, stack: list[dict[str, np.ndarray]], dtype: str) -> Any:
    """nn.LSTM, nn.GRU or nn.RNN with the weights of our layers."""
    torch = import_torch()

    D, H = len(stack[0]["Wx"]), len(stack[0]["Wh"])
    kind = torch_capped_lstm if cell == "capped" else getattr(torch.nn, cell.upper())
    module = kind(D, H, len(stack), dtype=getattr(torch, dtype))
    for k, weights in enumerate(stack):
        _copy_weights(module, f"_l{k}", cell, weights)
    return module


def _kind(config: ModelConfig) -> str:
    """The name of a model's cell for torch_layers."""
    return "capped" if config.capped else config.cell


def torch_model(model: CharModel) -> tuple[Any, Any]:
    """PyTorch's recurrent layers and nn.Linear with the weights of a model."""
    torch = import_torch()

    config, V = model.config, len(model.vocab)
    stack = [model.parameters.part(f"layers.{k}.") for k in range(config.layers)]
    head = torch.nn.Linear(len(model.parameters["head.W"]), V, dtype=getattr(torch, config.dtype))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(model.parameters["head.W"].T.copy()))
        head.bias.copy_(torch.from_numpy(model.parameters["head.b"]))
    layers = None if config.skip else torch_layers(_kind(config), stack, config.dtype)
    return layers, head


class TorchStack:
    """A CharModel in PyTorch: a module for each layer, with masks between them.

    With skip connections, the input of a layer is the output below and the one-hot symbol.
    """

    def __init__(self, model: CharModel, masks: Masks) -> None:
        torch = import_torch()
        self._torch, self._model = torch, model
        _, self._head = torch_model(model)
        config, self._dtype = model.config, getattr(torch, model.config.dtype)
        self._layers = []
        self._table = None
        if config.ngrams:
            self._table = torch.from_numpy(model.parameters["ngrams.W"]).requires_grad_()
        for k in range(config.layers):
            weights = dict(model.parameters.part(f"layers.{k}."))
            if "Wi" in weights:
                weights["Wx"] = np.concatenate((weights["Wx"], weights["Wi"]))
            self._layers.append(torch_layers(_kind(config), [weights], config.dtype))
        drops = masks.head_input is not None
        self._between = torch.from_numpy(masks.between) if drops else None
        self._seen = torch.from_numpy(masks.head_input) if drops else None
        self._factors = [
            torch.from_numpy(to_torch_gates(config.cell, dropped.factors))
            for dropped in masks.recurrent
        ]

    def __call__(self, ids: Any, state: Any) -> tuple[Any, Any]:
        """The logits (T, B, V) and the state after the window, for tensors ids and state."""
        torch, ends, outputs = self._torch, [], []
        x = one_hot = torch.nn.functional.one_hot(ids, len(self._model.vocab)).to(self._dtype)
        for k, layer in enumerate(self._layers):
            weights = dict(layer.named_parameters())
            if self._factors:
                weights["weight_hh_l0"] = weights["weight_hh_l0"] * self._factors[k]
            before = state[k, :, None]
            before = tuple(before) if len(before) == 2 else before[0]
            if k and self._model.config.skip:
                x = torch.cat((x, one_hot), -1)
            x, end = torch.func.functional_call(layer, weights, (x, before))
            ends.append(torch.cat(end if isinstance(end, tuple) else (end,)))
            outputs.append(x)
            if self._between is not None and k < len(self._between):
                x = x * self._between[k]
        seen = outputs if self._model.config.skip else outputs[-1:]
        if self._seen is not None:
            seen = [output * mask for output, mask in zip(seen, self._seen, strict=True)]
        logits = self._head(torch.cat(seen, -1))
        if self._table is not None:
            history = state[len(self._layers) :].detach().numpy()
            rows, history_after = ngram_rows(self._model, ids.numpy(), history)
            logits = logits + self._table[torch.from_numpy(rows)].sum(2)
            ends += list(torch.from_numpy(history_after))
        return logits, torch.stack(ends)

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradients after a backward pass, by the names of the model's parameters."""
        cell, H = self._model.config.cell, self._model.config.hidden
        found = {"head.W": self._head.weight.grad.numpy().T, "head.b": self._head.bias.grad.numpy()}
        for k, layer in enumerate(self._layers):
            for ours, name in (("Wx", "weight_ih"), ("Wh", "weight_hh"), ("b", "bias_ih")):
                gradient = getattr(layer, f"{name}_l0").grad.numpy()
                found[f"layers.{k}.{ours}"] = from_torch_gates(cell, gradient)
            if k and self._model.config.skip:
                Wx = found[f"layers.{k}.Wx"]
                found[f"layers.{k}.Wx"], found[f"layers.{k}.Wi"] = Wx[:H], Wx[H:]
            if self._table is not None:
                found["ngrams.W"] = self._table.grad.numpy()
            if cell == "gru":
                found[f"layers.{k}.bn"] = layer.bias_hh_l0.grad.numpy()[2 * H :]
        return found
