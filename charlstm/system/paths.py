"""Paths that the user gave."""

from pathlib import Path

from charlstm.errors import CharlstmError


def absolute(path: str | Path) -> Path:
    """Return a path as an absolute one; CharlstmError if the working directory was deleted."""
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        raise CharlstmError(
            f"{path}: the working directory was deleted: change to another one"
        ) from None
