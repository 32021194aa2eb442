"""The models of the server by name; each is loaded again when training has saved a better one."""

import asyncio
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from charlstm.errors import ArgumentError, CharlstmError
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint
from charlstm.runs.folder import checkpoint_path
from charlstm.server.errors import RequestError
from charlstm.server.running_model import RunningModel, Threads

Warn = Callable[[str], None]


class ServedModel:
    """A run, or the file of a checkpoint, whose best model is served under its name.

    Texts that are being written go on with the model that began them, also when a better one has
    been loaded meanwhile.
    """

    def __init__(self, path: Path, threads: Threads, warn: Warn) -> None:
        """Load the model; CharlstmError if there is none. warn: a function that shows a warning."""
        self.path, self._threads, self._warn = path, threads, warn
        self.name = name_of(path)
        self._loading, self._warning = asyncio.Lock(), ""
        self._seen = self._file()
        self._set(load_checkpoint(self._seen[0]))

    def _file(self) -> tuple[Path, tuple[int, ...]]:
        """Return the path of the checkpoint, and numbers that change when it is replaced."""
        path = checkpoint_path(self.path)
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise CharlstmError(f"{path}: no such file") from error
        except OSError as error:
            raise CharlstmError(f"{path}: cannot be read: {error.strerror or error}") from error
        return path, (found.st_mtime_ns, found.st_size, found.st_ino)

    def _set(self, checkpoint: Checkpoint) -> None:
        self.running = RunningModel(checkpoint.model, self._threads)
        self._summary = checkpoint.summary
        self._created = self._seen[1][0] // 10**9

    async def newest(self) -> RunningModel:
        """Return the newest model.

        If a new file cannot be loaded, a warning is shown once, and the old model stays.
        """
        async with self._loading:
            try:
                file = self._file()
                if file != self._seen:
                    self._seen = file
                    self._set(await asyncio.to_thread(load_checkpoint, file[0]))
            except CharlstmError as error:
                if str(error) != self._warning:
                    self._warning = str(error)
                    self._warn(f"{error}; the model that was loaded before stays")
        return self.running

    def to_dict(self) -> dict[str, Any]:
        """Return the facts of the model, as OpenAI's API lists models, and some of our own."""
        model = self.running.model
        loss = self._summary.get("val_loss")
        step = self._summary.get("step")
        return {
            "id": self.name,
            "object": "model",
            "created": self._created,
            "owned_by": "charlstm",
            "level": model.vocab.level,
            "vocabulary": len(model.vocab),
            "lines": model.config.lines,
            "cell": model.config.cell,
            "layers": model.config.layers,
            "hidden": model.config.hidden,
            "parameters": model.parameters.count,
            "step": step if type(step) is int else None,
            "val_loss": loss if type(loss) is float and math.isfinite(loss) else None,
        }

    @property
    def fingerprint(self) -> str:
        """A text that changes when the model does, for the member `system_fingerprint`."""
        return f"{self._created:x}-{self._summary.get('step')}"


def name_of(path: Path) -> str:
    """Return the name under which a run or a checkpoint is served."""
    place = Path(os.path.normpath(path.absolute()))
    in_run = place.suffix == ".safetensors" and place.stem in ("best", "last", "good")
    return place.parent.name if in_run else place.stem if place.is_file() else place.name


class Models:
    """The models of a server, in the order in which they were named."""

    def __init__(self, paths: Sequence[Path], threads: Threads, warn: Warn) -> None:
        names = [name_of(path) for path in paths]
        for name in names:
            if names.count(name) > 1:
                raise ArgumentError(
                    f"`run`: several models are named {name}, by which clients choose one: serve "
                    "one of them, or rename its folder"
                )
        self._by_name = {
            name: ServedModel(path, threads, warn) for name, path in zip(names, paths, strict=True)
        }

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._by_name.values())

    def named(self, name: str | None) -> ServedModel:
        """Return a model by its name; the first one for None. RequestError for an unknown name."""
        if name is None:
            return next(iter(self))
        if name not in self._by_name:
            raise RequestError(
                404, "no model has this name: GET /v1/models lists them", "model", "model_not_found"
            )
        return self._by_name[name]
