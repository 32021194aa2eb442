"""CharNetwork: the network of a CharModel as a module of PyTorch."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from charlstm.config import ModelConfig
from charlstm.network.dropout import Masks
from charlstm.network.layers.ngrams import MULTIPLIER, symbol_codes
from charlstm.network.model import CharModel
from charlstm.network.parameters import parameter_shapes
from charlstm.network.stack import state_shape
from charlstm.text.vocab import Vocab
from charlstm.torch_engine.recurrence import multiply, run_window


class TensorMasks(NamedTuple):
    """The factors of dropout in one window as tensors: see network/dropout.py.

    recurrent: the factors of the matrix Wh of each layer; empty if no weights are dropped.
    """

    between: Tensor | None = None
    head_input: Tensor | None = None
    recurrent: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, masks: Masks, device: torch.device) -> "TensorMasks":
        """Return masks on a device."""
        between, head_input = (
            None if factors is None else torch.as_tensor(factors, device=device)
            for factors in (masks.between, masks.head_input)
        )
        recurrent = (torch.as_tensor(each.factors, device=device) for each in masks.recurrent)
        return cls(between, head_input, tuple(recurrent))

    def tensors(self) -> list[Tensor]:
        """Return all factors, one tensor after the other."""
        return [
            each for each in (self.between, self.head_input, *self.recurrent) if each is not None
        ]

    def clone(self) -> "TensorMasks":
        """Return masks of the same factors in memory of their own."""
        between, head_input = (
            None if factors is None else factors.clone()
            for factors in (self.between, self.head_input)
        )
        return TensorMasks(between, head_input, tuple(each.clone() for each in self.recurrent))


NO_MASKS = TensorMasks()


class CharNetwork(nn.Module):
    """The network of a CharModel: recurrent layers, a softmax head, and a table of n-grams.

    The parameters have the names, shapes and gate order of CharModel.parameters.

    precision: that of the operands of matrix products, "float32" or "bfloat16". The weights, sums
        and states keep the type of the model.
    """

    codes: Tensor

    def __init__(self, config: ModelConfig, vocab: Vocab, precision: str = "float32") -> None:
        """Make a network whose parameters are all zero."""
        super().__init__()
        self.config, self.vocab, self.precision = config, vocab, precision
        dtype = getattr(torch, config.dtype)
        parts: dict[str, nn.ParameterDict] = {}
        for name, shape in parameter_shapes(config, len(vocab)).items():
            place, own = name.rsplit(".", 1)
            part = parts.setdefault(place, nn.ParameterDict())
            part[own] = nn.Parameter(torch.zeros(shape, dtype=dtype))
        self.layers = nn.ModuleList(parts[f"layers.{k}"] for k in range(config.layers))
        self.head = parts["head"]
        if config.ngrams:
            self.ngrams = parts["ngrams"]
        codes = symbol_codes(vocab.symbols if config.ngrams else ()).astype(np.int64)
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)

    @classmethod
    def from_model(cls, model: CharModel, precision: str = "float32") -> "CharNetwork":
        """Return a network with the weights of a model."""
        network = cls(model.config, model.vocab, precision)
        network.load_state_dict({name: torch.from_numpy(a) for name, a in model.parameters.items()})
        return network

    def to_model(self) -> CharModel:
        """Return a CharModel with the weights of this network."""
        model = CharModel(self.config, self.vocab, seed=None)
        for name, tensor in self.state_dict().items():
            model.parameters[name] = tensor.cpu().numpy()
        return model

    def initial_state(self, B: int) -> Tensor:
        """Return the state (L, S, B, H) of B streams before the start of a text: zeros."""
        W = self.head["W"]
        return torch.zeros(state_shape(self.config, B), dtype=W.dtype, device=W.device)

    def forward(
        self, inputs: Tensor, state: Tensor, masks: TensorMasks = NO_MASKS
    ) -> tuple[Tensor, Tensor]:
        """Read a window of ids (T, B); return the logits (T * B, V) and the state after it."""
        config, x = self.config, inputs
        outputs, ends = [], []
        for k in range(config.layers):
            layer: Any = self.layers[k]
            Wh = layer["Wh"] * masks.recurrent[k] if masks.recurrent else layer["Wh"]
            a = self._projection(layer, x, inputs)
            x, end = run_window(config, a, state[k], Wh, layer.get("bn"), self.precision)
            ends.append(end)
            outputs.append(x)
            if masks.between is not None and k < len(masks.between):
                x = x * masks.between[k]
        outputs = outputs[-config.layers_seen :]
        if masks.head_input is not None:
            outputs = [each * mask for each, mask in zip(outputs, masks.head_input, strict=True)]
        rows = torch.cat(outputs, -1).flatten(0, 1)
        logits = multiply(rows, self.head["W"], self.precision) + self.head["b"]
        if config.ngrams:
            logits = logits + nn.functional.embedding_bag(
                self.context_rows(inputs, state), self.ngrams["W"], mode="sum"
            )
        return logits, torch.cat((torch.stack(ends), self._history_after(inputs, state)))

    def _projection(self, layer: Any, x: Tensor, inputs: Tensor) -> Tensor:
        """Return x Wx + b (T, B, N); in a layer that also reads the symbols, plus Wi[symbols]."""
        a: Tensor
        if x is inputs:
            a = nn.functional.embedding(inputs, layer["Wx"])
        else:
            a = multiply(x, layer["Wx"], self.precision)
        if "Wi" in layer:
            a = a + nn.functional.embedding(inputs, layer["Wi"])
        b: Tensor = layer["b"]
        return a + b

    # -- the table of n-grams: see network/layers/ngrams.py ----------------------------------------

    def context_rows(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return the indices (T * B, ngrams - 1) of the table's rows for each prediction.

        PyTorch multiplies no unsigned integers of 64 bits. The products of signed integers have the
        same bits; `& 0xFFFFFFFF` removes the copies of the sign that a shift to the right brings.
        """
        longest, steps = self.config.ngrams, len(inputs)
        codes = self.codes[self._symbols(inputs, state)]
        multiplier = MULTIPLIER - 2**64  # the same bits as a signed integer
        hashes = torch.zeros_like(inputs)
        rows = []
        for back in range(longest):
            hashes = (hashes + codes[longest - 1 - back :][:steps]) * multiplier
            if back:
                mixed = (hashes ^ ((hashes >> 32) & 0xFFFFFFFF)) * multiplier
                rows.append(((mixed >> 32) & 0xFFFFFFFF) * self.config.ngram_slots >> 32)
        return torch.stack(rows, -1).flatten(0, 1)

    def _symbols(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return the last symbols before a window and those in it, as ids plus one."""
        numbers = state[self.config.layers :].movedim(2, 0).flatten(1)
        history = numbers[:, : max(0, self.config.ngrams - 1)].T
        history = history.round().clamp(0, len(self.vocab)).long()
        return torch.cat((history, inputs + 1))

    def _history_after(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return the layers of the state after a window that hold symbols."""
        layers, S, B, H = state[self.config.layers :].shape
        symbols = self._symbols(inputs, state)[len(inputs) :].T.to(state.dtype)
        numbers = nn.functional.pad(symbols, (0, layers * S * H - symbols.shape[1]))
        return numbers.view(B, layers, S, H).movedim(0, 2)
