"""to_torch and from_torch: PyTorch's own layers from a CharModel, and a CharModel from them.

This is the one place that knows how PyTorch's layers differ from ours. PyTorch keeps the transpose
of each matrix. The gates of nn.LSTM have the order i f g o, ours i f o g. PyTorch adds two biases,
where one would do: only the bias of a GRU's candidate that is added to the recurrent part is
another parameter of ours, `bn`.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from charlstm.arrays import Array
from charlstm.config import Cell, Dtype, ModelConfig
from charlstm.errors import ArgumentError
from charlstm.network.model import CharModel
from charlstm.text.vocab import Vocab
from charlstm.untrusted import require_type

KINDS: dict[Cell, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def to_torch(model: CharModel) -> tuple[nn.RNNBase, nn.Linear]:
    """Return a model as nn.LSTM, nn.GRU or nn.RNN, and nn.Linear from its outputs to the logits.

    The input of the layers is one-hot: torch.nn.functional.one_hot(ids, len(model.vocab)). Raises
    ArgumentError for a model that PyTorch's layers cannot express: with capped gates, skip
    connections or a table of n-grams. CharNetwork expresses all models.
    """
    require_type("model", model, CharModel)
    config = model.config
    for name in ("capped", "skip", "ngrams"):
        if value := getattr(config, name):
            raise ArgumentError(
                f"`{name}={value}` has no counterpart in PyTorch's layers: CharNetwork.from_model "
                "converts such a model, and a run with `textbook=True` has none of these"
            )
    V, dtype = len(model.vocab), getattr(torch, config.dtype)
    layers: nn.RNNBase = KINDS[config.cell](V, config.hidden, config.layers, dtype=dtype)
    head = nn.Linear(config.hidden, V, dtype=dtype)
    for k in range(config.layers):
        own = model.parameters.part(f"layers.{k}.")
        recurrent_bias = np.zeros_like(own["b"])
        if "bn" in own:
            recurrent_bias[-config.hidden :] = own["bn"]
        theirs = {"weight_ih": own["Wx"], "weight_hh": own["Wh"], "bias_ih": own["b"]}
        for name, array in {**theirs, "bias_hh": recurrent_bias}.items():
            _write(getattr(layers, f"{name}_l{k}"), _other_gate_order(config.cell, array).T)
    _write(head.weight, model.parameters["head.W"].T)
    _write(head.bias, model.parameters["head.b"])
    return layers, head


def from_torch(layers: nn.RNNBase, head: nn.Linear, vocab: Vocab) -> CharModel:
    """Return the CharModel that computes what nn.LSTM, nn.GRU or nn.RNN and nn.Linear compute.

    layers: reads one-hot vectors of the vocabulary's symbols, time-major or batch-major; its two
        biases become their sum.
    head: from the outputs of the layers to the logits.
    """
    require_type("layers", layers, nn.RNNBase)
    require_type("head", head, nn.Linear)
    require_type("vocab", vocab, Vocab)
    cell = next((cell for cell, kind in KINDS.items() if isinstance(layers, kind)), None)
    refused = {
        "`layers` must be an nn.LSTM, nn.GRU or nn.RNN": cell is None,
        "`layers` must read in one direction": layers.bidirectional,
        "`layers` must have no projections (proj_size=0)": layers.proj_size,
        "`layers` must have the nonlinearity tanh": getattr(layers, "nonlinearity", "tanh")
        != "tanh",
        f"`layers` must read one-hot vectors of {len(vocab)} symbols": layers.input_size
        != len(vocab),
        "`head` must lead from the outputs of `layers` to the symbols": (
            head.in_features, head.out_features) != (layers.hidden_size, len(vocab)),
    }  # fmt: skip
    for message in (message for message, is_so in refused.items() if is_so):
        raise ArgumentError(message)
    assert cell is not None
    dtype: Dtype = "float64" if head.weight.dtype == torch.float64 else "float32"
    hidden, count = layers.hidden_size, layers.num_layers
    config = ModelConfig(cell=cell, hidden=hidden, layers=count, dtype=dtype)
    model = CharModel(config, vocab, seed=None)
    weights = {name: _read(tensor) for name, tensor in layers.named_parameters()}
    for k in range(count):
        own = model.parameters.part(f"layers.{k}.")
        for name, theirs in (("Wx", "weight_ih"), ("Wh", "weight_hh")):
            own[name][...] = _other_gate_order(cell, weights[f"{theirs}_l{k}"].T)
        zeros = np.zeros_like(own["b"])  # for layers with bias=False
        b = _other_gate_order(cell, weights.get(f"bias_ih_l{k}", zeros))
        recurrent = _other_gate_order(cell, weights.get(f"bias_hh_l{k}", zeros)).copy()
        if "bn" in own:
            own["bn"][...] = recurrent[-hidden:]
            recurrent[-hidden:] = 0
        own["b"][...] = b + recurrent
    model.parameters["head.W"] = _read(head.weight).T
    if head.bias is not None:
        model.parameters["head.b"] = _read(head.bias)
    return model


def _other_gate_order(cell: str, array: Array) -> Array:
    """Swap the last two of the four blocks of columns of an LSTM: i f o g becomes i f g o."""
    if cell != "lstm":
        return array
    i, f, third, fourth = np.split(array, 4, axis=-1)
    return np.concatenate((i, f, fourth, third), axis=-1)


def _read(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array


def _write(tensor: torch.Tensor, array: Array) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)))
