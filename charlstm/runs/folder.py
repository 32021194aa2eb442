"""The folder of a run: which files lie there, and what can be read from them.

best.safetensors   the weights of the lowest validation loss (the latest, without validation)
last.safetensors   all that it takes to go on: its model is of the last weights
good.safetensors   what last was at the last evaluation, where it is of a step after that: what to
                   go back to if the numbers go wrong
metrics.jsonl      one event a line
step-N.safetensors with keep_every; of the average of the weights, where there is one
stdin-N.txt        the corpus, if it came from standard input
lock               while a process trains there: which one (see lock.py)

While a file is written it lies beside as NAME.PID.tmp.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlstm import kernels
from charlstm.config import AUTO, ModelConfig
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.precision import explain_precision
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlstm.text.vocab import Vocab

BEST, LAST, GOOD = "best.safetensors", "last.safetensors", "good.safetensors"
METRICS = "metrics.jsonl"
LOCK = "lock"
CHECKPOINTS = (BEST, LAST, GOOD, "step-*.safetensors")
FILES = (*CHECKPOINTS, METRICS, "stdin-[0-9]*.txt")


@dataclass(frozen=True)
class TrainedRun:
    """What training leaves.

    path: the run's folder. best_val_loss: the lowest validation loss in nats a character, None
    without validation text. reason: "finished", "stopped early" (config.stop_after), or the name
    of the signal that interrupted it. warnings: that the model over- or underfits, with what to
    change.
    """

    path: Path
    best_val_loss: float | None
    steps: int
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> CharModel:
        """The best model."""
        return load(self.path)


def load(path: str | Path) -> CharModel:
    """The model of a run's folder (its best so far), or of a checkpoint file."""
    return load_checkpoint(checkpoint_path(Path(path))).model


def save(model: CharModel, path: str | Path) -> None:
    """Write a model into a file, which `load` and the commands read; whole or not at all."""
    save_checkpoint(Path(path), Checkpoint(model, {}))


def checkpoint_path(path: Path) -> Path:
    """The file to read for a run's folder: best, or last before there is a best."""
    try:
        if not path.is_dir():
            return path
        for name in (BEST, LAST):
            if (path / name).exists():
                return path / name
    except OSError as error:  # such as a name that is too long
        raise CharlstmError(f"{path}: {error.strerror}") from error
    raise CharlstmError(f"{path}: no run in this folder (it has no {BEST})")


def holds_run(folder: Path) -> bool:
    """Whether a run has been saved in a folder."""
    return any(any(folder.glob(name)) for name in CHECKPOINTS)


def last_saved(folder: Path) -> int | None:
    """When a run was saved in a folder: the time of its `last`, in nanoseconds; None: never."""
    try:
        return (folder / LAST).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def describe(path: Path) -> dict[str, Any]:
    """What a run's folder or a checkpoint file holds, as a JSON object."""
    file = path / LAST if (path / LAST).exists() else checkpoint_path(path)
    checkpoint = load_checkpoint(file)
    vocab = checkpoint.model.vocab
    about: dict[str, Any] = {
        "path": str(path),
        "bytes": file.stat().st_size,
        "model": checkpoint.model.config.to_dict(),
        "parameters": checkpoint.model.parameters.count,
        "level": vocab.level,
        "vocabulary": len(vocab),
        "symbols": _symbols(vocab),
        "summary": checkpoint.summary,
    }
    precision = AUTO
    if checkpoint.training:
        about["training"] = checkpoint.training["config"]
        about["corpus"] = checkpoint.training.get("corpus")
        precision = about["training"]["precision"]
    return about | describe_machine(checkpoint.model.config, precision)


def _symbols(vocab: Vocab) -> str:
    """What a vocabulary knows, in short."""
    if vocab.level == "char":
        return "".join(vocab.symbols)
    return "all bytes" if vocab.level == "byte" else f"{len(vocab)} words"


def describe_machine(model: ModelConfig | None = None, precision: str = AUTO) -> dict[str, Any]:
    """What trains such a model here: by default one that nobody chose anything for."""
    return {
        "kernels": kernels.DESCRIPTION,
        "precision": explain_precision(precision, model or ModelConfig()),
    }


def newest_run(root: Path = Path("runs")) -> Path:
    """The folder under `root` whose checkpoint was written last."""
    checkpoints = [*root.glob(f"*/{LAST}"), *root.glob(f"*/{BEST}")]
    if not checkpoints:
        raise CharlstmError(f"no run under {root}/: name one with -r, or begin with charlstm train")
    return max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent


def clear_folder(folder: Path, keep: Sequence[str | Path]) -> None:
    """Remove the files of a run but for those to keep; what else lies there stays."""
    kept = {Path(path).resolve() for path in keep}
    _remove(path for name in FILES for path in folder.glob(name) if path.resolve() not in kept)
    remove_unfinished(folder)


def remove_unfinished(folder: Path) -> None:
    """Remove what a process was writing when it was killed (see files.written_whole)."""
    _remove(path for name in FILES for path in folder.glob(f"{name}.*.tmp"))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise CharlstmError(f"{path}: cannot be removed: {error.strerror}") from error
