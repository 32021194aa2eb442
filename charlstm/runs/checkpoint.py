"""One self-contained file for a model and, in `last`, for all that it takes to train on.

The format is safetensors (https://huggingface.co/docs/safetensors): arrays by name, no code. The
metadata has one entry, `charlstm`: a JSON object with checksum, format, model, vocab, summary and
training. Arrays of the training state have names that begin with `training.`.

A file may come from anyone: nothing is made from it before all names, types and shapes have been
compared with what its config asks for, and the sizes of the arrays with that of the file.
"""

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from charlstm.arrays import Array, all_finite
from charlstm.config import ModelConfig, TrainConfig
from charlstm.errors import CharlstmError, UnwritableError
from charlstm.network.model import CharModel
from charlstm.network.stack import parameter_shapes
from charlstm.runs.safetensors_reader import (
    NO_CHECKSUM,
    SafetensorsReader,
    checksummed,
    require_few_values,
    strict_json,
)
from charlstm.system.atomic_files import atomic_write
from charlstm.text.vocab import Vocab
from charlstm.training.trainer import Trainer

FORMAT = 2  # raised whenever a file is written otherwise
# RecursionError: JSON of a thousand brackets
UNREADABLE = (OSError, KeyError, TypeError, ValueError, RecursionError)
_TRAINING = "training."
_DTYPES = {"float32": "F32", "float64": "F64"}
_ENTRIES = {"checksum", "format", "model", "vocab", "summary", "training"}
LONGEST_REASON = 300  # characters: a file may have names of megabytes
MAX_TEXT = 100  # characters of an entry of summary


@dataclass
class Checkpoint:
    """What a file holds.

    summary: which weights these are, step, epoch, seconds, losses: what `charlstm info` shows, in
        every file.
    training, arrays: what only a run that goes on needs; empty in `best`.
    """

    model: CharModel
    summary: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all; numbers that are not finite are refused."""
    model = checkpoint.model
    arrays: dict[str, Array] = dict(model.parameters)
    arrays |= {_TRAINING + name: array for name, array in checkpoint.arrays.items()}
    if not all(map(all_finite, arrays.values())):
        raise CharlstmError(f"{path}: not written, as some weights are not finite numbers")
    about = {
        "checksum": NO_CHECKSUM,
        "format": FORMAT,
        "model": model.config.to_dict(),
        "vocab": model.vocab.to_dict(),
        "summary": checkpoint.summary,
        "training": checkpoint.training,
    }
    try:
        # one metadata entry, because the library writes several in no fixed order
        text = json.dumps(about, sort_keys=True, allow_nan=False)
        require_few_values(text)
        header, rest = checksummed(save(arrays, {"charlstm": text}))
    except ValueError as error:
        raise CharlstmError(f"{path}: not written: {error}") from None
    try:
        with atomic_write(path) as file:
            file.write(header)
            file.write(rest)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot write {len(header) + len(rest):,} bytes: {error.strerror or error}"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; CharlstmError for a file that is not one, or is damaged."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CharlstmError("not a file")  # to open a pipe would wait for its writer
        with path.open("rb") as file:
            return _read(SafetensorsReader(file))
    except FileNotFoundError:
        raise CharlstmError(f"{path}: no such file") from None
    except UNREADABLE as error:
        reason = " ".join(str(error)[:LONGEST_REASON].split())
        raise CharlstmError(f"{path}: not a checkpoint of charlstm ({reason})") from None


def _read(file: SafetensorsReader) -> Checkpoint:
    if "charlstm" not in file.metadata:
        raise CharlstmError("safetensors of another program")
    about = strict_json(file.metadata.pop("charlstm"))
    found = about.get("format", "none") if isinstance(about, dict) else "none"
    if found != FORMAT:
        raise CharlstmError(f"format {found!r:.20}, this program reads format {FORMAT}")
    if unknown := sorted(about.keys() - _ENTRIES):
        raise CharlstmError(f"unknown entry {unknown[0]!r} in the metadata")
    checksum = about["checksum"]
    if not (isinstance(checksum, str) and len(checksum) == 64):
        raise CharlstmError("the checksum in its metadata is not one")
    config = ModelConfig.from_dict(about["model"])
    config.require_chosen()
    vocab = Vocab.from_dict(about["vocab"])
    summary, training = _flat(about["summary"]), _object(about["training"])
    shapes = parameter_shapes(config, len(vocab))
    parameters = set(shapes)
    if training:
        train = TrainConfig.from_dict(training["config"])
        train.require_chosen("eval_every")
        saved = Trainer.array_shapes(config, shapes, train)
        shapes |= {_TRAINING + name: shape for name, shape in saved.items()}
    for name, shape in shapes.items():
        if name not in file.places:
            raise CharlstmError(f"{name} is missing")
        found = file.places[name]
        if (found.dtype, found.shape) != (_DTYPES[config.dtype], shape):
            raise CharlstmError(f"{name} is {found.dtype} {found.shape}, expected {shape}")
    if unknown := sorted(file.places.keys() - shapes.keys()):
        raise CharlstmError(f"unknown array {unknown[0]!r}")
    # the shapes fit the places, and the places the file: so all of this is no larger than the file
    model = CharModel(config, vocab, seed=None)
    arrays = {
        name: np.empty(shape, config.dtype)
        for name, shape in shapes.items()
        if name not in parameters
    }
    file.read({**model.parameters, **arrays}, checksum)
    if not all(map(all_finite, (*model.parameters.values(), *arrays.values()))):
        raise CharlstmError("some weights are not finite numbers")
    return Checkpoint(
        model=model,
        summary=summary,
        training=training,
        arrays={name[len(_TRAINING) :]: array for name, array in arrays.items()},
    )


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CharlstmError("summary and training must be JSON objects")
    return value


def _flat(value: object) -> dict[str, Any]:
    """The summary: numbers and short texts by name, as `charlstm info` prints them."""
    for name, item in _object(value).items():
        if isinstance(item, dict | list) or len(name) + len(str(item)) > MAX_TEXT:
            raise CharlstmError(f"summary: {name[:MAX_TEXT]!r} is no number or short text")
    return _object(value)
