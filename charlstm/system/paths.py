"""Checks of paths that the user gave."""

from pathlib import Path

from charlstm.errors import CharlstmError


def absolute(path: str | Path) -> Path:
    """Return the absolute form of a path; CharlstmError if the working directory was deleted."""
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        raise CharlstmError(
            f"{path}: the working directory was deleted: change to another directory"
        ) from None


def require_path(name: str, path: str | Path) -> None:
    """Raise CharlstmError for an empty path, which Path would take for the current folder.

    name: the name of the argument, for the message.
    """
    if not str(path):
        raise CharlstmError(f"{name} is empty: name a file or a folder")
