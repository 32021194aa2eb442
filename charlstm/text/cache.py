"""The cache of encoded texts. Each entry is a folder named by its key.

An entry is complete or missing, never half written. The entries that were used least recently are
removed when the cache grows beyond its limit.
"""

import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from charlstm.errors import CharlstmError
from charlstm.system.atomic_files import flush_folder

# Patterns of the folder names of finished and of unfinished entries. Nothing else is ever removed
# from the cache, as the user may set CHARLSTM_CACHE to a folder that holds other files.
ENTRY = re.compile(r"[0-9a-f]{64}")
UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]+\.tmp")
DAY_SECONDS = 24 * 60 * 60
DEFAULT_LIMIT_GB = "10"


def cache_folder() -> Path:
    """Return the folder of the cache, and make it if it does not exist.

    The folder is $CHARLSTM_CACHE, or by default "charlstm" in the platform's folder for caches. If
    the default folder cannot be written to, the cache is a folder among the system's temporary
    files. Raises CharlstmError if $CHARLSTM_CACHE cannot be written to.
    """
    asked = os.environ.get("CHARLSTM_CACHE")
    try:
        folder = Path(asked or _platform_folder() / "charlstm")
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        reason = os.strerror(errno.EACCES)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileExistsError):
            reason = "it is a file"
    if asked:
        raise CharlstmError(
            f"CHARLSTM_CACHE={asked}: the folder cannot be written to: {reason}: name another one"
        )
    return _temporary_folder()


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _temporary_folder() -> Path:
    owner = os.getuid() if hasattr(os, "getuid") else 0  # On Windows, st_uid is always 0.
    folder = Path(tempfile.gettempdir()) / f"charlstm-{owner}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        # If the folder belongs to another user, that user could put false texts into it.
        if folder.lstat().st_uid == owner and not folder.is_symlink():
            return folder
    return Path(tempfile.mkdtemp(prefix="charlstm-"))


@contextmanager
def new_entry(root: Path, key: str) -> Iterator[Path]:
    """Yield an empty folder to write to, which becomes the entry `key` when the context ends.

    If another process has made the entry `key` in the meantime, that entry is kept instead. On an
    exception the folder is removed. Raises OSError if the folder cannot be made or renamed.
    """
    root.mkdir(parents=True, exist_ok=True)
    temporary = root / f"{key}.{secrets.token_hex(8)}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        flush_folder(temporary)
        try:
            temporary.rename(root / key)
        except OSError:
            if not (root / key).is_dir():
                raise
            shutil.rmtree(temporary)
        flush_folder(root)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def mark_used(entry: Path) -> None:
    """Mark `entry` as the most recently used entry."""
    with suppress(OSError):
        os.utime(entry)


def discard(entry: Path) -> None:
    """Remove `entry`, or leave it in the cache if the system refuses to remove it."""
    # The entry is renamed first: otherwise another process might open it while only some of its
    # files are removed.
    renamed = entry.with_name(f"{entry.name[:64]}.{secrets.token_hex(8)}.tmp")
    with suppress(OSError):
        entry.rename(renamed)
        shutil.rmtree(renamed)


def trim_to_limit(root: Path, newest: str) -> None:
    """Remove the least recently used entries until the cache is within its limit.

    Unfinished entries older than a day are removed too. The entry named `newest` is never removed.
    """
    limit = cache_limit()
    ages = {entry: _modified(entry) for entry in entries(root)}
    sizes = {entry: _size(entry) for entry in ages}
    total = sum(sizes.values())
    for entry in sorted(ages, key=ages.__getitem__):
        if total > limit and entry.name != newest:
            discard(entry)
            total -= sizes[entry]
    for folder in _folders(root, UNFINISHED):  # A killed process leaves its entry unfinished.
        if time.time() - _modified(folder) > DAY_SECONDS:
            discard(folder)


def cache_limit() -> float:
    """Return the limit of the cache in bytes: $CHARLSTM_CACHE_GB times 10^9.

    Raises CharlstmError if the variable is not a number of 0 or more.
    """
    text = os.environ.get("CHARLSTM_CACHE_GB") or DEFAULT_LIMIT_GB
    try:
        limit = float(text) * 1e9
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise CharlstmError(f"CHARLSTM_CACHE_GB must be a number of at least 0, not {text!r}")
    return limit


def cache_size() -> tuple[int, int]:
    """Return the size of the cache in bytes, and the number of its entries."""
    root = cache_folder()
    found = entries(root)
    return sum(map(_size, found + _folders(root, UNFINISHED))), len(found)


def clear_cache() -> int:
    """Empty the cache and return the number of bytes freed."""
    before, _ = cache_size()
    root = cache_folder()
    for folder in entries(root) + _folders(root, UNFINISHED):
        discard(folder)
    return before - cache_size()[0]


def entries(root: Path) -> list[Path]:
    """Return the folders of the entries in the cache `root`."""
    return _folders(root, ENTRY)


def _folders(root: Path, name: re.Pattern[str]) -> list[Path]:
    return [path for path in root.iterdir() if name.fullmatch(path.name) and path.is_dir()]


def _size(folder: Path) -> int:
    """Return the size of a folder's files in bytes; 0 if another process removed the folder."""
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            total += path.stat().st_size
    return total


def _modified(folder: Path) -> float:
    """Return the time when a folder was last changed; 0 if another process removed the folder."""
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
