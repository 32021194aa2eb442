"""Checkpoint files: a model and, in last.safetensors, everything needed to resume its training.

The format is safetensors (https://huggingface.co/docs/safetensors): named arrays, no code. The
metadata has one entry, `charlstm`: a JSON object with the members checksum, format, model, vocab,
summary and training. The arrays that only training needs have names that begin with `training.`.

A file may come from an untrusted source. The reader allocates no array before it has compared the
names, types and shapes of all arrays with those that the model's config implies, and their sizes
with the size of the file.
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
from charlstm.untrusted import entry, of_type

FORMAT = 2  # The number of the file format is raised whenever the format changes.

# An error message quotes at most this many characters of its reason, because a malicious file may
# contain names of megabytes.
MAX_REASON = 300
# The name and the value of an entry of a summary may have this many characters in total.
MAX_SUMMARY_ENTRY = 100

_TRAINING = "training."
_DTYPES = {"float32": "F32", "float64": "F64"}
_ENTRIES = {"checksum", "format", "model", "vocab", "summary", "training"}


@dataclass
class Checkpoint:
    """The content of a checkpoint file.

    summary: facts for `charlstm info`, such as the step, the epoch, the losses, and whether the
        weights are the last ones or an average.
    training: a TrainingState as a dictionary.
    arrays: the arrays that training changes beside the weights, such as the optimiser's moments.

    In checkpoints other than last.safetensors and good.safetensors, training and arrays are empty.
    """

    model: CharModel
    summary: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


def save_checkpoint(
    path: Path,
    checkpoint: Checkpoint,
    weights: str | None = None,
    at: Path | None = None,
) -> None:
    """Write a checkpoint to a file; if writing fails, an existing file stays unchanged.

    path: the file, in the form in which messages name it.
    weights: the type in which the file holds the weights; by default that of the model. A file with
        "float16", which has no arrays of training, is read into a model of its own type.
    at: the absolute form of the path, for a caller whose working directory may have changed.

    Raises CharlstmError for weights that are NaN or infinite, UnwritableError if the file cannot be
    written.
    """
    model = checkpoint.model
    dtype = np.dtype(weights or model.config.dtype)
    arrays: dict[str, Array] = {
        name: array.astype(dtype, copy=False) for name, array in model.parameters.items()
    }
    arrays |= {_TRAINING + name: array for name, array in checkpoint.arrays.items()}
    if not all(map(all_finite, arrays.values())):
        raise CharlstmError(
            f"{path}: the checkpoint is not written, as some weights are not finite numbers"
        )
    about = {
        "checksum": NO_CHECKSUM,
        "format": FORMAT,
        "model": model.config.to_dict(),
        "vocab": model.vocab.to_dict(),
        "summary": checkpoint.summary,
        "training": checkpoint.training,
    }
    try:
        # Equal states must give files with equal bytes. The metadata therefore has a single entry:
        # the safetensors library writes several entries in no fixed order.
        text = json.dumps(about, sort_keys=True, allow_nan=False)
        require_few_values(text)
        header, rest = insert_checksum(save(arrays, {"charlstm": text}))
    except CharlstmError as error:
        raise CharlstmError(f"{path}: the checkpoint is not written: {error}") from None
    except BaseException as error:
        # The safetensors library raises PanicException if it cannot allocate memory. The class of
        # that error cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise MemoryError(f"{path}: the checkpoint is not written: not enough memory") from error
    try:
        with atomic_write(at or path) as file:
            file.write(header)
            file.write(rest)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot write {len(header) + len(rest):,} bytes: {error.strerror or error}"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file; CharlstmError if the file is damaged or not a checkpoint."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # Opening a named pipe would wait until another process writes to the pipe.
            raise CharlstmError("not a regular file")
        with path.open("rb") as file:
            return _read_checked(SafetensorsReader(file))
    except FileNotFoundError as error:
        raise CharlstmError(f"{path}: no such file") from error
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be read: {error.strerror or error}") from error
    except CharlstmError as error:
        reason = " ".join(str(error)[:MAX_REASON].split())
        raise CharlstmError(f"{path}: not a checkpoint of charlstm ({reason})") from None


def _read_checked(file: SafetensorsReader) -> Checkpoint:
    """Return the content of an open checkpoint file; CharlstmError if it is malformed."""
    if "charlstm" not in file.metadata:
        raise CharlstmError("a safetensors file that another program wrote")
    metadata = strict_json(file.metadata.pop("charlstm"))
    found = metadata.get("format", "none") if isinstance(metadata, dict) else "none"
    if found != FORMAT:
        raise CharlstmError(f"format {found!r:.20}, this program reads format {FORMAT}")
    if unknown := sorted(metadata.keys() - _ENTRIES):
        raise CharlstmError(f"unknown entry {unknown[0]!r} in the metadata")
    checksum = of_type(str, metadata, "checksum")
    if len(checksum) != 64:
        raise CharlstmError("the checksum in its metadata is not a SHA-256")
    config = ModelConfig.from_dict(entry(metadata, "model"))
    config.require_chosen()
    vocab = Vocab.from_dict(entry(metadata, "vocab"))
    summary = _summary(of_type(dict, metadata, "summary"))
    training = of_type(dict, metadata, "training")
    parameter_names = set(shapes := parameter_shapes(config, len(vocab)))
    if training:
        train_config = TrainConfig.from_dict(entry(training, "config"))
        train_config.require_chosen("eval_every")
        training_shapes = Trainer.array_shapes(config, shapes, train_config)
        shapes |= {_TRAINING + name: shape for name, shape in training_shapes.items()}
    halves = not training and {place.dtype for place in file.places.values()} == {"F16"}
    _require_arrays(file, shapes, "F16" if halves else _DTYPES[config.dtype])
    # _require_arrays has compared the shapes with the file. The arrays that are allocated below
    # therefore take no more bytes than the file has.
    model = CharModel(config, vocab, seed=None)
    arrays = {
        name: np.empty(shape, config.dtype)
        for name, shape in shapes.items()
        if name not in parameter_names
    }
    if halves:
        stored = {name: np.empty(shape, np.float16) for name, shape in shapes.items()}
        file.read(stored, checksum)
        for name, array in stored.items():
            model.parameters[name] = array
    else:
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
    """Raise CharlstmError unless the file has exactly the arrays of these names and shapes.

    dtype: the type that every array must have, as safetensors names types: "F16", "F32" or "F64".
    """
    for name, shape in shapes.items():
        if name not in file.places:
            raise CharlstmError(f"the array {name} is missing")
        found = file.places[name]
        if (found.dtype, found.shape) != (dtype, shape):
            raise CharlstmError(
                f"the array {name} is {found.dtype} of shape {found.shape}, expected {dtype} of "
                f"shape {shape}"
            )
    if unknown := sorted(file.places.keys() - shapes.keys()):
        raise CharlstmError(f"unknown array {unknown[0]!r}")


def _summary(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a checkpoint; CharlstmError if a value is a list, an object or long."""
    for name, item in summary.items():
        if isinstance(item, dict | list) or len(name) + len(str(item)) > MAX_SUMMARY_ENTRY:
            raise CharlstmError(
                f"the value of {name[:MAX_SUMMARY_ENTRY]!r} in the summary is neither a number "
                "nor a short text"
            )
    return summary
