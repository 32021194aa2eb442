"""Which files in a folder charlstm wrote: a run removes and replaces no others.

A checkpoint is known by the first bytes of its header, metrics.jsonl by the format in its first
event, and `lock` by the beginning of its content. A copy of standard input, stdin-N.txt, looks like
any text: it is charlstm's if `last` names it, or if a marker lies beside it, an empty file
stdin-N.txt.0.tmp. The marker says that the copy belongs to no saved run (yet).
"""

import re
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from charlstm.errors import CharlstmError
from charlstm.runs.folder import CHECKPOINTS, LAST, LOCK, METRICS
from charlstm.runs.metrics import require_format
from charlstm.runs.safetensors_reader import SafetensorsReader, strict_json
from charlstm.untrusted import MALFORMED_ERRORS

LOCK_BEGINNING = b'{"pid": '
METRICS_BEGINNING = b'{"event": "start", '
CHECKPOINT_BEGINNING = b'{"__metadata__":{"charlstm":'  # after 8 bytes with the header's length
COPY = re.compile(r"stdin-[0-9]+\.txt")
TEMPORARY = re.compile(  # see atomic_write
    r"((best|last|good|step-[0-9]+)\.safetensors|stdin-[0-9]+\.txt)\.[0-9]+\.tmp"
    r"|lock\.[0-9a-f]{16}\.tmp"  # see lock.py
)


def marker_of(copy: Path) -> Path:
    """Return the marker of a copy of standard input. No process has the number 0."""
    return copy.with_name(f"{copy.name}.0.tmp")


def is_lock(beginning: bytes) -> bool:
    """Whether a file with these first bytes is a lock of charlstm, perhaps cut short."""
    return _is_prefix(beginning, LOCK_BEGINNING)


def _is_prefix(beginning: bytes, expected: bytes) -> bool:
    """Whether a file with these first bytes begins as expected, or is a shorter beginning."""
    return beginning[: len(expected)] == expected[: len(beginning)]


def is_ours(path: Path) -> bool:
    """Whether charlstm wrote a file in the folder of a run; False for all but regular files."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        if TEMPORARY.fullmatch(path.name):
            return True
        if COPY.fullmatch(path.name):
            return marker_of(path).exists()
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


def foreign_files(folder: Path) -> list[Path]:
    """Return the files and folders in a folder that charlstm did not write, but no hidden ones."""
    with suppress(FileNotFoundError):
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        return sorted(path for path in found if not is_ours(path))
    return []


def require_ours(folder: Path) -> None:
    """Raise CharlstmError for a foreign file that has the name of a file of runs."""
    for name in (*CHECKPOINTS, METRICS):
        for path in sorted(folder.glob(name)):
            if not is_ours(path):
                raise CharlstmError(
                    f"{path} was not written by charlstm: move it away, or name another folder"
                )


def mark_copies_of_last(folder: Path) -> None:
    """Mark the copies of standard input that `last` names, before another `last` replaces it."""
    try:
        with (folder / LAST).open("rb") as file:
            saved = strict_json(SafetensorsReader(file).metadata["charlstm"])
        corpus = saved["training"]["corpus"]
        for text in (*corpus["paths"], *corpus["val_file"]):
            copy = folder / Path(text).name
            is_same = (folder / text).resolve() == copy.resolve()
            if is_same and COPY.fullmatch(copy.name) and copy.exists():
                marker_of(copy).touch()
    except (OSError, CharlstmError, *MALFORMED_ERRORS):
        return  # the copies then stay


def clear_folder(folder: Path, keep: Sequence[str | Path]) -> None:
    """Remove the files of a run except those in `keep`; files that charlstm did not write stay."""
    kept = {Path(path).resolve() for path in keep}
    found = [path for name in (*CHECKPOINTS, METRICS) for path in folder.glob(name)]
    _remove(path for path in found if path.resolve() not in kept and is_ours(path))
    remove_unfinished(folder, keep)


def remove_unfinished(folder: Path, keep: Sequence[str | Path]) -> None:
    """Remove the files that a process was writing when it was killed, and marked copies.

    keep: files that stay; the markers of copies go.
    """
    kept = {Path(path).resolve() for path in keep}
    names = [path for path in folder.glob("*.tmp") if TEMPORARY.fullmatch(path.name)]
    copies = [path for path in folder.glob("stdin-*.txt") if is_ours(path)]
    _remove(path for path in (*copies, *names) if path.resolve() not in kept)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise CharlstmError(f"{path}: cannot be removed: {error.strerror}") from error
