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
    """Raise CharlstmError for a path that no file can have.

    An empty path is refused too: Path would take it for the current folder.

    name: the name of the argument, for the message.
    """
    if not str(path):
        raise CharlstmError(f"{name} is empty: name a file or a folder")
    if "\0" in str(path):
        raise CharlstmError(
            f"{name} has a NUL character, which no path can have: {str(path)!r:.60}"
        )
