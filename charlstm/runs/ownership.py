"""Tells the files in a run's folder that charlstm wrote from files of the user.

A run removes and replaces only files that charlstm wrote. A checkpoint is recognised by the first
bytes of its header, metrics.jsonl by the format in its first event, the file `lock` by the
beginning of its content, and report.html by the mark of a page.

The content of stdin-N.txt, a copy of standard input, does not show that charlstm wrote the file. A
copy that is named in last.safetensors belongs to the saved run. A copy that belongs to no saved run
is recognised by its marker, an empty file stdin-N.txt.0.tmp.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from charlstm.errors import CharlstmError
from charlstm.runs.folder import CHECKPOINTS, LAST, LOCK, METRICS, REPORT
from charlstm.runs.metrics import require_format
from charlstm.runs.safetensors_reader import SafetensorsReader, strict_json
from charlstm.runs.training_state import recorded_corpus
from charlstm.system.output_files import is_marked
from charlstm.system.paths import is_regular
from charlstm.untrusted import entry, of_type

LOCK_BEGINNING = b'{"pid": '
METRICS_BEGINNING = b'{"event": "start", '
# The beginning of metrics.jsonl if its folder was emptied while a process was training in it.
LATER_EVENT = re.compile(rb'\{"event": "(?!start)[a-z_]+", "step": [0-9]+, "epoch": ')
# In a checkpoint, this beginning of the header follows 8 bytes with the header's length.
CHECKPOINT_BEGINNING = b'{"__metadata__":{"charlstm":'
COPY = re.compile(r"stdin-[0-9]+\.txt")
# The pattern matches the temporary files of atomic_write and of lock.py, and the markers of copies.
TEMPORARY = re.compile(
    r"((best|last|good|step-[0-9]+)\.safetensors|stdin-[0-9]+\.txt|report\.html)\.[0-9]+\.tmp"
    r"|lock\.[0-9a-f]{16}\.tmp"
)


def marker_of(copy: Path) -> Path:
    """Return the path of the marker of stdin-N.txt, a copy of standard input.

    The marker cannot be mistaken for a file that a process is writing, stdin-N.txt.PID.tmp, as no
    process has the number 0.
    """
    return copy.with_name(f"{copy.name}.0.tmp")


def is_lock(beginning: bytes) -> bool:
    """Whether the first bytes of a file are those of a lock that charlstm wrote.

    A lock may be incomplete, or even empty, while a process writes it.
    """
    return _is_prefix(beginning, LOCK_BEGINNING)


def _is_prefix(beginning: bytes, expected: bytes) -> bool:
    """Whether the shorter of two byte strings is the beginning of the longer one."""
    return beginning[: len(expected)] == expected[: len(beginning)]


def is_ours(path: Path) -> bool:
    """Whether charlstm wrote a file in the folder of a run; False for folders, links and pipes."""
    try:
        if not is_regular(path):
            return False
        if TEMPORARY.fullmatch(path.name):
            return True
        if COPY.fullmatch(path.name):
            return marker_of(path).exists()
        if path.name == REPORT:
            return is_marked(path)
        with path.open("rb") as file:
            beginning = file.read(8 + len(CHECKPOINT_BEGINNING))
        if path.name == METRICS:
            require_format(path)
            return _is_prefix(beginning, METRICS_BEGINNING)
    except (OSError, CharlstmError):
        return False
    if path.name == LOCK:
        return is_lock(beginning)
    named = any(path.match(name) for name in CHECKPOINTS)
    return named and beginning[8:] == CHECKPOINT_BEGINNING


def begins_later(metrics: Path) -> bool:
    """Whether charlstm wrote a file metrics.jsonl that lacks the start of its run."""
    try:
        if not is_regular(metrics):
            return False
        with metrics.open("rb") as file:
            return LATER_EVENT.match(file.read(80)) is not None
    except OSError:
        return False


def foreign_files(folder: Path) -> list[Path]:
    """Return the files and subfolders of a folder that charlstm did not write, except hidden ones.

    Returns an empty list for a missing folder.
    """
    with suppress(FileNotFoundError):
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        return sorted(path for path in found if not is_ours(path))
    return []


def require_ours(folder: Path, overwrite: bool) -> None:
    """Raise CharlstmError if charlstm did not write a file that has the name of a run's file.

    overwrite: accept a file metrics.jsonl that lacks the start of its run.
    """
    without_start = begins_later(folder / METRICS)
    if without_start and not overwrite:
        raise CharlstmError(
            f"{folder / METRICS} has events of a run, but not the start of the run: "
            "`overwrite=True` replaces the file, or name another folder"
        )
    for name in (*CHECKPOINTS, METRICS):
        for path in sorted(folder.glob(name)):
            if not is_ours(path) and not (without_start and path.name == METRICS):
                raise CharlstmError(
                    f"{path} was not written by charlstm: move it away, or name another folder"
                )


def mark_copies_of_last(folder: Path) -> None:
    """Make markers for the copies of standard input that last.safetensors names.

    A new run calls this function before it replaces last.safetensors, because the new
    last.safetensors does not name the copies of the earlier run.
    """
    try:
        for text in _texts_of_last(folder):
            # The recorded path of a copy is the name of the copy: see recorded() in texts.py.
            if COPY.fullmatch(text) and (folder / text).exists():
                marker_of(folder / text).touch()
    except (OSError, CharlstmError):
        return  # Copies without a marker are not removed.


def _texts_of_last(folder: Path) -> tuple[str, ...]:
    """Return the paths of texts that last.safetensors names, as it records them.

    Raises OSError or CharlstmError for a file that cannot be read.
    """
    with (folder / LAST).open("rb") as file:
        saved = strict_json(of_type(str, SafetensorsReader(file).metadata, "charlstm"))
    corpus = recorded_corpus(entry(of_type(dict, saved, "training"), "corpus"))
    return corpus.all_paths


def clear_folder(folder: Path, keep: Sequence[str | Path]) -> None:
    """Remove the files of a run from its folder, except the files in `keep`.

    Files that charlstm did not write are not removed.
    """
    kept = {Path(path).resolve() for path in keep}
    found = [path for name in (*CHECKPOINTS, METRICS, REPORT) for path in folder.glob(name)]
    ours = (path for path in found if is_ours(path) or begins_later(path))
    _remove(path for path in ours if path.resolve() not in kept)
    remove_unfinished(folder, keep)


def remove_unfinished(folder: Path, keep: Sequence[str | Path]) -> None:
    """Remove half-written files of a killed process, and copies of standard input with a marker.

    keep: files that are not removed, even if they have a marker. All markers are removed.
    """
    kept = {Path(path).resolve() for path in keep}
    names = [path for path in folder.glob("*.tmp") if TEMPORARY.fullmatch(path.name)]
    copies = [path for path in folder.glob("stdin-*.txt") if is_ours(path)]
    _remove(path for path in (*copies, *names) if path.resolve() not in kept)


def _remove(paths: Iterable[Path]) -> None:
    """Remove files; CharlstmError if that fails."""
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise CharlstmError(
                f"cannot remove the file {path} of an earlier run: {error.strerror}"
            ) from error
