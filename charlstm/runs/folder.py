"""The folder of a run: its files, and what can be read from them.

best.safetensors   the weights of the lowest validation loss; without validation, the latest
last.safetensors   the latest weights and everything needed to continue the run from them
good.safetensors   the state at the last evaluation, kept while `last` is newer. A run that
                   diverges resumes from it.
step-N.safetensors with keep_every: the weights of step N, or their average where there is one
metrics.jsonl      the events of the run, one a line
stdin-N.txt        the corpus, if it came from standard input
lock               the process that trains here, while one does (see lock.py)

A file that is being written lies beside its place as NAME.PID.tmp. Files of other names, and files
that charlstm did not write, stay as they are: see ownership.py.
"""

from pathlib import Path
from typing import Any

from charlstm import kernels
from charlstm.config import AUTO, ModelConfig
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.precision import explain_precision
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlstm.system.paths import require_path
from charlstm.text.vocab import Vocab

BEST, LAST, GOOD = "best.safetensors", "last.safetensors", "good.safetensors"
METRICS = "metrics.jsonl"
LOCK = "lock"
CHECKPOINTS = (BEST, LAST, GOOD, "step-*.safetensors")


def load(path: str | Path) -> CharModel:
    """Return the best model of a run's folder, or the model of a checkpoint file."""
    require_path("path", path)
    return load_checkpoint(checkpoint_path(Path(path))).model


def save(model: CharModel, path: str | Path) -> None:
    """Write a model to a file that `load` and the commands read.

    If that fails, the file stays as it was.
    """
    require_path("path", path)
    save_checkpoint(Path(path), Checkpoint(model, {}))


def checkpoint_path(path: Path) -> Path:
    """Return the checkpoint to read: a file itself; of a run's folder `best`, or else `last`."""
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
    """Return the time at which `last` was saved, in nanoseconds; None if there is none."""
    try:
        return (folder / LAST).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def describe(path: Path) -> dict[str, Any]:
    """Return the facts of a run's folder or of a checkpoint file, for JSON."""
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
    """The symbols of a vocabulary, in short."""
    if vocab.level == "char":
        return "".join(vocab.symbols)
    return "all bytes" if vocab.level == "byte" else f"{len(vocab)} words"


def describe_machine(model: ModelConfig | None = None, precision: str = AUTO) -> dict[str, Any]:
    """Return which kernels and which precision train a model on this machine.

    model: its config; by default an LSTM of float32.
    """
    return {
        "kernels": kernels.DESCRIPTION,
        "precision": explain_precision(precision, model or ModelConfig()),
    }


def newest_run(root: Path = Path("runs")) -> Path:
    """Return the folder under `root` whose checkpoint was written last."""
    checkpoints = [*root.glob(f"*/{LAST}"), *root.glob(f"*/{BEST}")]
    if not checkpoints:
        raise CharlstmError(f"no run under {root}/: name one with -r, or begin with charlstm train")
    return max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent
