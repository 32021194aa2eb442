"""Checkpoint files: a model and, in `last`, everything needed to continue its training.

The format is safetensors (https://huggingface.co/docs/safetensors): named arrays, no code. The
metadata has one entry, `charlstm`: a JSON object with checksum, format, model, vocab, summary and
training. The names of arrays of the training state begin with `training.`.

A file may come from a stranger. No array is made from it before all names, types and shapes have
been compared with those that its config implies, and the sizes with that of the file.
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
from charlstm.network.parameters import Shapes, parameter_shapes
from charlstm.runs.safetensors_reader import (
    NO_CHECKSUM,
    SafetensorsReader,
    insert_checksum,
    require_few_values,
    strict_json,
)
from charlstm.system.atomic_files import atomic_write
from charlstm.text.vocab import Vocab
from charlstm.training.trainer import Trainer

FORMAT = 2  # raised whenever files are written in another way

MAX_REASON = 300  # characters of an error's reason; a file may have names of megabytes
MAX_SUMMARY_ENTRY = 100  # characters of a name and its value together

# The errors of reading a file in which anything may stand; RecursionError: deeply nested JSON.
_UNREADABLE_ERRORS = (OSError, KeyError, TypeError, ValueError, RecursionError)
_TRAINING = "training."
_DTYPES = {"float32": "F32", "float64": "F64"}
_ENTRIES = {"checksum", "format", "model", "vocab", "summary", "training"}


@dataclass
class Checkpoint:
    """The content of a checkpoint file.

    summary: facts for `charlstm info`, such as which weights these are, step, epoch and losses.
    training, arrays: a TrainingState as a dictionary, and the arrays beside the weights that
        training changes; both empty in every file but `last` and `good`.
    """

    model: CharModel
    summary: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; if that fails, the file stays as it was.

    Raises CharlstmError for weights that are NaN or infinite, UnwritableError if the file cannot be
    written.
    """
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
        # A single entry, as safetensors writes several in no fixed order.
        text = json.dumps(about, sort_keys=True, allow_nan=False)
        require_few_values(text)
        header, rest = insert_checksum(save(arrays, {"charlstm": text}))
    except ValueError as error:
        raise CharlstmError(f"{path}: not written: {error}") from None
    except BaseException as error:
        # safetensors panics if it gets no memory. The class of that error cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise MemoryError(f"{path}: not written: not enough memory") from error
    try:
        with atomic_write(path) as file:
            file.write(header)
            file.write(rest)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot write {len(header) + len(rest):,} bytes: {error.strerror or error}"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; CharlstmError if the file holds none, or is damaged."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CharlstmError("not a file")  # to open a pipe would wait for its writer
        with path.open("rb") as file:
            return _read(SafetensorsReader(file))
    except FileNotFoundError:
        raise CharlstmError(f"{path}: no such file") from None
    except _UNREADABLE_ERRORS as error:
        reason = " ".join(str(error)[:MAX_REASON].split())
        raise CharlstmError(f"{path}: not a checkpoint of charlstm ({reason})") from None


def _read(file: SafetensorsReader) -> Checkpoint:
    """Return the content of an open file."""
    if "charlstm" not in file.metadata:
        raise CharlstmError("safetensors of another program")
    metadata = strict_json(file.metadata.pop("charlstm"))
    found = metadata.get("format", "none") if isinstance(metadata, dict) else "none"
    if found != FORMAT:
        raise CharlstmError(f"format {found!r:.20}, this program reads format {FORMAT}")
    if unknown := sorted(metadata.keys() - _ENTRIES):
        raise CharlstmError(f"unknown entry {unknown[0]!r} in the metadata")
    checksum = metadata["checksum"]
    if not (isinstance(checksum, str) and len(checksum) == 64):
        raise CharlstmError("the checksum in its metadata is not a SHA-256")
    config = ModelConfig.from_dict(metadata["model"])
    config.require_chosen()
    vocab = Vocab.from_dict(metadata["vocab"])
    summary, training = _summary(metadata["summary"]), _object(metadata["training"])
    parameter_names = set(shapes := parameter_shapes(config, len(vocab)))
    if training:
        train_config = TrainConfig.from_dict(training["config"])
        train_config.require_chosen("eval_every")
        training_shapes = Trainer.array_shapes(config, shapes, train_config)
        shapes |= {_TRAINING + name: shape for name, shape in training_shapes.items()}
    _require_arrays(file, shapes, _DTYPES[config.dtype])
    # The arrays made from here on are together no larger than the file.
    model = CharModel(config, vocab, seed=None)
    arrays = {
        name: np.empty(shape, config.dtype)
        for name, shape in shapes.items()
        if name not in parameter_names
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


def _require_arrays(file: SafetensorsReader, shapes: Shapes, dtype: str) -> None:
    """Raise CharlstmError unless the file has exactly the arrays of these names and shapes."""
    for name, shape in shapes.items():
        if name not in file.places:
            raise CharlstmError(f"{name} is missing")
        found = file.places[name]
        if (found.dtype, found.shape) != (dtype, shape):
            raise CharlstmError(f"{name} is {found.dtype} {found.shape}, expected {shape}")
    if unknown := sorted(file.places.keys() - shapes.keys()):
        raise CharlstmError(f"unknown array {unknown[0]!r}")


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CharlstmError("summary and training must be JSON objects")
    return value


def _summary(value: object) -> dict[str, Any]:
    """Return a summary; CharlstmError unless its values are numbers and short texts."""
    for name, item in _object(value).items():
        if isinstance(item, dict | list) or len(name) + len(str(item)) > MAX_SUMMARY_ENTRY:
            raise CharlstmError(f"summary: {name[:MAX_SUMMARY_ENTRY]!r} is no number or short text")
    return _object(value)
