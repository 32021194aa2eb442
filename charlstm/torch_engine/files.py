"""Files of PyTorch's own layers: torch_file writes one, read_model reads one of any program."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from charlstm.config import Cell
from charlstm.errors import CharlstmError, errors_begin_with
from charlstm.network.model import CharModel
from charlstm.text.vocab import Vocab
from charlstm.torch_engine.conversion import KINDS, from_torch, to_torch

BLOCKS: dict[int, Cell] = {4: "lstm", 3: "gru", 1: "rnn"}  # cells by the number of their gates


def torch_file(model: CharModel) -> bytes:
    """Return what torch.save writes: the state dictionaries of the layers and of the head.

    Raises ArgumentError for a model that PyTorch's layers cannot express: see to_torch.
    """
    layers, head = to_torch(model)
    saved = {
        "producer": "charlstm",
        "layers": layers.state_dict(),
        "head": head.state_dict(),
        "symbols": list(model.vocab.symbols),
    }
    content = io.BytesIO()
    torch.save(saved, content)
    return content.getvalue()


def lines_to_load(model: CharModel, file: Path) -> str:
    """Return the lines of Python by which PyTorch loads a file of torch_file."""
    config, V = model.config, len(model.vocab)
    layers = f"torch.nn.{config.cell.upper()}({V}, {config.hidden}, {config.layers})"
    return (
        f"saved = torch.load({str(file)!r}, weights_only=True)  # symbols: saved['symbols']\n"
        f"layers = {layers}; layers.load_state_dict(saved['layers'])  # reads one-hot vectors\n"
        f"head = torch.nn.Linear({config.hidden}, {V}); head.load_state_dict(saved['head'])"
    )


def read_model(path: Path, vocab_path: Path | None = None) -> CharModel:
    """Return the model of a file with the weights of nn.LSTM, nn.GRU or nn.RNN and of nn.Linear.

    path: a .safetensors file, or a file that torch.save wrote, from which no code is run: a
        dictionary of tensors, or one that holds such dictionaries. The names that their modules add
        do not matter. If an nn.Embedding is before the layers, it is multiplied into their weights.
    vocab_path: a JSON file: a list of the characters in the order of their ids, or an object from
        characters to ids. Without it, the file of the weights must hold such a list, named symbols,
        as those of torch_file do.
    """
    try:
        if path.suffix == ".safetensors":
            saved: Any = safetensors.torch.load_file(path)
        else:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        symbols = json.loads(vocab_path.read_text("utf-8")) if vocab_path else None
    except OSError as error:
        raise CharlstmError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except Exception as error:  # the errors of damaged files are of many classes
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise CharlstmError(
            f"{path} or its vocabulary cannot be read as weights and JSON: {reason}"
        ) from error
    if symbols is None and isinstance(saved, dict):
        symbols = saved.get("symbols")
    with errors_begin_with(f"{path}: ", CharlstmError):
        return _model(dict(_tensors(saved)), _vocab(symbols))


def _tensors(saved: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of nested dictionaries, with all their names."""
    if isinstance(saved, Tensor):
        yield prefix, saved.float() if saved.dtype != torch.float64 else saved
    elif isinstance(saved, Mapping):
        for name, entry in saved.items():
            yield from _tensors(entry, f"{prefix}.{name}")


def _vocab(symbols: object) -> Vocab:
    if isinstance(symbols, dict) and sorted(symbols.values()) == list(range(len(symbols))):
        symbols = sorted(symbols, key=symbols.__getitem__)
    if not isinstance(symbols, list):
        raise CharlstmError(
            "the vocabulary must be a JSON list of characters in the order of their ids, or an "
            "object from characters to ids"
        )
    return Vocab.from_dict({"level": "char", "symbols": symbols})


def _model(tensors: Mapping[str, Tensor], vocab: Vocab) -> CharModel:
    found = re.compile(r"(.*)((?:weight|bias)_[ih]h_l\d+)")
    matches = {name: match for name in tensors if (match := found.fullmatch(name))}
    weights = {match[2]: tensors[name] for name, match in matches.items()}
    if "weight_hh_l0" not in weights or len({match[1] for match in matches.values()}) != 1:
        raise CharlstmError("the weights of one nn.LSTM, nn.GRU or nn.RNN are not in it")
    rows, hidden = weights["weight_hh_l0"].shape
    others = {name: tensor for name, tensor in tensors.items() if name not in matches}
    V, D = len(vocab), weights["weight_ih_l0"].shape[1]
    heads = [name for name, tensor in others.items() if tensor.shape == (V, hidden)]
    embeddings = [name for name, tensor in others.items() if tensor.shape == (V, D)]
    if hidden == D:  # a head and an embedding have the same shape
        heads = [name for name in heads if not re.search("emb|enc", name)]
        embeddings = [name for name in embeddings if name not in heads]
    if len(heads) != 1:
        raise CharlstmError(
            f"it must have one weight of nn.Linear of {V} symbols (as the vocabulary) by {hidden} "
            f"units, not {len(heads)}"
        )
    if D != V or embeddings:
        if len(embeddings) != 1:
            raise CharlstmError(f"it must have one nn.Embedding of {V} symbols by {D} numbers")
        weights["weight_ih_l0"] = weights["weight_ih_l0"] @ others[embeddings[0]].T
    count = sum(name.startswith("weight_hh_") for name in weights)
    dtype = weights["weight_hh_l0"].dtype
    layers = KINDS[BLOCKS[rows // hidden]](V, hidden, count, dtype=dtype)
    head = nn.Linear(hidden, V, dtype=dtype)
    bias = others.get(heads[0].removesuffix("weight") + "bias", torch.zeros(V))
    zeros = {name: torch.zeros_like(weight) for name, weight in layers.state_dict().items()}
    try:
        layers.load_state_dict({**zeros, **weights})
        head.load_state_dict({"weight": others[heads[0]], "bias": bias})
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CharlstmError(f"the weights fit no nn.LSTM, nn.GRU or nn.RNN: {reason}") from error
    return from_torch(layers, head, vocab)
