"""The folder of a run: the names of its files, and functions that read the files.

best.safetensors   the weights with the lowest validation loss; without validation, the newest
last.safetensors   the newest weights and everything needed to resume the run from them
good.safetensors   the state at the last evaluation, kept while last.safetensors is newer: a
                   run that diverges goes back to this state
step-000050.safetensors, and so on, with keep_every: the weights of step 50, averaged if the run
                   averages weights
metrics.jsonl      the events of the run, one JSON object per line
report.html        a page that shows the run
stdin-N.txt        the corpus, if it came from standard input
lock               names the process that trains in the folder; missing at other times (lock.py)

While the file NAME is being written, it is called NAME.PID.tmp, where PID is the number of the
process. Files of other names, and files that charlstm did not write, are never changed or removed:
see ownership.py.
"""

from os.path import normpath
from pathlib import Path
from typing import Any

from charlstm import kernels
from charlstm.config import AUTO, ModelConfig, TrainConfig, beyond_textbook, takes_options
from charlstm.errors import CharlstmError, errors_begin_with
from charlstm.network.model import CharModel
from charlstm.network.precision import explain_precision
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlstm.runs.origin import Origin
from charlstm.runs.training_state import recorded_corpus
from charlstm.system.paths import absolute, require_path
from charlstm.text.vocab import Vocab
from charlstm.untrusted import require_type

RUNS = Path("runs")  # the folder in which a run without a given folder is made
BEST, LAST, GOOD = "best.safetensors", "last.safetensors", "good.safetensors"
EXPORTED = "model.safetensors"  # in a folder in Hugging Face's layout
METRICS = "metrics.jsonl"
REPORT = "report.html"
LOCK = "lock"
CHECKPOINTS = (BEST, LAST, GOOD, "step-*.safetensors")


@takes_options()
def load(path: str | Path) -> CharModel:
    """Return the best model of a run's folder, or the model of a checkpoint file.

    A folder in Hugging Face's layout, as `charlstm export` writes it, is also read.
    """
    require_path("path", path)
    return load_checkpoint(checkpoint_path(Path(path))).model


@takes_options()
def save(model: CharModel, path: str | Path) -> None:
    """Write a model to a checkpoint file, which `load` and the commands can read.

    An existing regular file is replaced without a question, whatever it holds, as numpy.save does.
    If writing fails, an existing file stays unchanged.
    """
    require_type("model", model, CharModel)
    require_path("path", path)
    save_checkpoint(Path(path), Checkpoint(model, {}))


def checkpoint_path(path: Path) -> Path:
    """Return the path of the checkpoint to read from a path that the user gave.

    For a run's folder, that is best.safetensors, or last.safetensors if there is no
    best.safetensors; for a folder in Hugging Face's layout, model.safetensors. A path that is not a
    folder is returned unchanged. Raises CharlstmError for a folder with none of these files.
    """
    try:
        if not path.is_dir():
            refuse_name_of_run(path)
            return path
        for name in (BEST, LAST, EXPORTED):
            if (path / name).exists():
                return path / name
    except OSError as error:  # for example if the path is too long
        raise CharlstmError(f"{path}: the path cannot be read: {error.strerror}") from error
    raise CharlstmError(f"{path}: no run in this folder (it has no {BEST})")


def refuse_name_of_run(path: Path) -> None:
    """Raise CharlstmError for a path at which nothing is, if a folder under runs/ has this name."""
    if not path.exists() and (RUNS / path).is_dir():
        raise CharlstmError(f"{path}: no such file: the run of this name is {RUNS / path}")


def holds_run(folder: Path) -> bool:
    """Whether a folder has a checkpoint of a run."""
    return any(any(folder.glob(name)) for name in CHECKPOINTS)


def last_saved(folder: Path) -> int | None:
    """Return the time at which last.safetensors was written, in nanoseconds; None if missing."""
    try:
        return (folder / LAST).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def describe(path: Path) -> dict[str, Any]:
    """Return the facts that `charlstm info` shows for a run's folder or a checkpoint file.

    The dictionary can be written as JSON.
    """
    file = path / LAST if (path / LAST).exists() else checkpoint_path(path)
    checkpoint = load_checkpoint(file)
    vocab = checkpoint.model.vocab
    about: dict[str, Any] = {
        "path": str(path),
        "absolute_path": normpath(absolute(path)),
        "bytes": file.stat().st_size,
        "model": checkpoint.model.config.to_dict(),
        "parameters": checkpoint.model.parameters.count,
        "level": vocab.level,
        "vocabulary": len(vocab),
        "symbols": _symbols(vocab),
        "summary": checkpoint.summary,
    }
    precision, train_config = AUTO, None
    if checkpoint.training:
        about["training"] = checkpoint.training["config"]
        about["corpus"] = corpus = checkpoint.training.get("corpus")
        about["digest"] = checkpoint.training.get("digest")
        with errors_begin_with(
            f"{file}: does not say which text the run was trained on: ", CharlstmError
        ):
            settings = recorded_corpus(corpus)
        names = (*settings.paths, *settings.val_file)
        about["texts"] = [normpath(absolute(file.parent / name)) for name in names]
        if "origin" in checkpoint.training:
            with errors_begin_with(
                f"{file}: does not say which run this run started from: ", CharlstmError
            ):
                about["origin"] = Origin.from_dict(checkpoint.training["origin"]).to_dict()
        precision = about["training"]["precision"]
        train_config = TrainConfig.from_dict(about["training"])
    about["sample"] = _used_by_sample(path, file, checkpoint)
    about["files"] = {
        str(each): each.stat().st_size for each in sorted({file, checkpoint_path(path)})
    }
    about["beyond_textbook"] = beyond_textbook(checkpoint.model.config, train_config)
    return about | describe_machine(checkpoint.model.config, precision)


def _used_by_sample(path: Path, read: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the file that `charlstm sample` reads, the step of its weights, and which they are.

    read: a file that was read already. checkpoint: its content.
    """
    file = checkpoint_path(path)
    summary = (checkpoint if file == read else load_checkpoint(file)).summary
    return {"file": str(file), "step": summary.get("step"), "weights": summary.get("weights")}


def _symbols(vocab: Vocab) -> str:
    """Return the symbols of a vocabulary as a string for people: the characters, or a summary."""
    if vocab.level == "char":
        return vocab.characters
    return "all bytes" if vocab.level == "byte" else f"{len(vocab)} words"


def describe_machine(config: ModelConfig | None = None, precision: str = AUTO) -> dict[str, Any]:
    """Return which kernels and which precision are used to train a model on this machine.

    config: the config of the model; by default an LSTM of float32.
    precision: the setting `precision`.
    """
    return {
        "kernels": ": ".join(filter(None, (kernels.DESCRIPTION, kernels.ADVICE))),
        "precision": explain_precision(precision, config or ModelConfig()),
    }


def newest_run(root: Path = RUNS) -> Path:
    """Return the folder under `root` whose best or last checkpoint was written most recently."""
    checkpoints = [*root.glob(f"*/{LAST}"), *root.glob(f"*/{BEST}")]
    if not checkpoints:
        raise CharlstmError(
            f"no run under {root}/: name the folder of a run with `run`, or begin a run with "
            "charlstm train"
        )
    return max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent
