"""Checks of paths that the user gave."""

import os
import stat
from pathlib import Path

from charlstm.errors import ArgumentError, CharlstmError, shown
from charlstm.untrusted import require_type


def absolute(path: str | Path) -> Path:
    """Return the absolute form of a path; CharlstmError if the working directory was deleted."""
    try:
        return Path(path).absolute()
    except FileNotFoundError:
        raise CharlstmError(
            f"{path}: the working directory was deleted: change to another directory"
        ) from None


def is_regular(path: Path) -> bool:
    """Whether a path is that of a regular file; False for a link to one, and for a missing file."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def require_path(name: str, path: str | os.PathLike[str]) -> None:
    """Raise CharlstmError for a path that no file can have, or that the system refuses to look up.

    An empty path is refused too: Path would take it for the current folder.

    name: the name of the argument, or words such as "the name of a text", for the message.
    """
    require_type(name, path, str, os.PathLike)
    text, name = os.fspath(path), f"`{name}`" if name.isidentifier() else name
    require_type(name.strip("`"), text, str)
    if not text:
        raise ArgumentError(f"{name} is empty: name a file or a folder")
    if "\0" in text:
        raise ArgumentError(f"{name} has a NUL character, which no path can have: {shown(text)}")
    try:
        os.lstat(text)
    except (FileNotFoundError, NotADirectoryError):
        return
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise ArgumentError(
            f"{name} has the character {character!r}, which no path can have here: {shown(text)}"
        ) from error
    except OSError as error:  # The path may be too long, for example.
        raise CharlstmError(f"{name} cannot be read: {error.strerror}: {text!r:.60}") from error
