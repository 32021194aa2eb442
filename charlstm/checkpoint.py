"""One self-contained file for a model and, in `last`, for all that it takes to train on.

The format is safetensors (https://huggingface.co/docs/safetensors): arrays by name, no code. The
metadata has one entry, `charlstm`: a JSON object with format, model, vocab, progress and training.
Arrays of the training state have names that begin with `training.`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .arrays import Array
from .config import ModelConfig, config_from_json, config_to_json
from .errors import CharlstmError, UnwritableError
from .files import written_whole
from .model import CharModel, parameter_shapes
from .vocab import Vocab

FORMAT = 1
# RecursionError: JSON of a thousand brackets
UNREADABLE = (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError)
_TRAINING = "training."
_DTYPES = {"float32": "F32", "float64": "F64"}


@dataclass
class Checkpoint:
    """What a file holds.

    progress: which weights these are, step, epoch, seconds, losses: what `charlstm info` shows, in
        every file.
    training, arrays: what only a run that goes on needs; empty in `best`.
    """

    model: CharModel
    progress: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all; numbers that are not finite are refused."""
    model = checkpoint.model
    for array in (model.parameters.vector, *checkpoint.arrays.values()):
        if not np.isfinite(array).all():
            raise CharlstmError(f"{path}: not written, as some weights are not finite numbers")
    about = {
        "format": FORMAT,
        "model": config_to_json(model.config),
        "vocab": model.vocab.to_json(),
        "progress": checkpoint.progress,
        "training": checkpoint.training,
    }
    arrays: dict[str, Array] = dict(model.parameters)
    arrays |= {_TRAINING + name: array for name, array in checkpoint.arrays.items()}
    # one metadata entry, because the library writes several in no fixed order
    content = save(arrays, {"charlstm": json.dumps(about, sort_keys=True)})
    try:
        with written_whole(path) as file:
            file.write(content)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot write {len(content):,} bytes: {error.strerror or error}"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Names, shapes and types are checked before any array is read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return _read(file)
    except FileNotFoundError:
        raise CharlstmError(f"{path}: no such file") from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise CharlstmError(f"{path}: not a checkpoint of charlstm ({reason})") from None


def _read(file: Any) -> Checkpoint:
    metadata = file.metadata() or {}
    if "charlstm" not in metadata:
        raise CharlstmError("safetensors of another program")
    about = json.loads(metadata["charlstm"])
    if about["format"] != FORMAT:
        raise CharlstmError(f"format {about['format']}, this program reads format {FORMAT}")
    config = config_from_json(ModelConfig, about["model"])
    vocab = Vocab.from_json(about["vocab"])
    names = set(file.keys())
    shapes = parameter_shapes(config, len(vocab))
    for name, shape in shapes.items():
        if name not in names:
            raise CharlstmError(f"{name} is missing")
        part = file.get_slice(name)
        found = tuple(part.get_shape()), part.get_dtype()
        if found != (shape, _DTYPES[config.dtype]):
            raise CharlstmError(f"{name} is {found[1]} {found[0]}, expected {shape}")
    training_names = {name for name in names if name.startswith(_TRAINING)}
    if unknown := sorted(names - set(shapes) - training_names):
        raise CharlstmError(f"unknown array {unknown[0]!r}")
    model = CharModel(config, vocab)
    for name in shapes:
        model.parameters[name] = file.get_tensor(name)
    if not np.isfinite(model.parameters.vector).all():
        raise CharlstmError("some weights are not finite numbers")
    return Checkpoint(
        model=model,
        progress=dict(about["progress"]),
        training=dict(about["training"]),
        arrays={name[len(_TRAINING) :]: file.get_tensor(name) for name in sorted(training_names)},
    )
