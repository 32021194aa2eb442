"""The cache of encoded texts. Each entry is a folder named by its key.

An entry is complete or missing, never half written. The entries that were used least recently are
removed when the cache grows beyond its limit.
"""

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

# The names of entries, finished and not. No other file is ever touched: CHARLSTM_CACHE may name a
# folder with other things in it.
ENTRY = re.compile(r"[0-9a-f]{64}")
UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]+\.tmp")
DAY_SECONDS = 24 * 60 * 60
DEFAULT_LIMIT_GB = "10"


def cache_folder() -> Path:
    """Return the folder of the cache, which is made if it does not exist.

    It is $CHARLSTM_CACHE, or else "charlstm" in the platform's folder for caches. If it cannot be
    written to, the cache is a folder of this user among the temporary files.
    """
    try:
        folder = Path(os.environ.get("CHARLSTM_CACHE") or _platform_folder() / "charlstm")
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        pass
    return _temporary_folder()


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _temporary_folder() -> Path:
    owner = os.getuid() if hasattr(os, "getuid") else 0  # Windows reports 0 as st_uid
    folder = Path(tempfile.gettempdir()) / f"charlstm-{owner}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        # Another user may have made a folder of this name, to slip in a text of their own.
        if folder.lstat().st_uid == owner and not folder.is_symlink():
            return folder
    return Path(tempfile.mkdtemp(prefix="charlstm-"))


@contextmanager
def new_entry(root: Path, key: str) -> Iterator[Path]:
    """Make a folder to fill, which becomes the entry `key`; it is removed on any exception.

    If another process has made the same entry meanwhile, that entry stays. Raises OSError.
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
    """Mark `entry` as the one used most recently."""
    with suppress(OSError):
        os.utime(entry)


def discard(entry: Path) -> None:
    """Remove `entry`; it stays if the system does not allow that now."""
    # Renamed first, so that no process ever opens an entry that is half removed.
    renamed = entry.with_name(f"{entry.name[:64]}.{secrets.token_hex(8)}.tmp")
    with suppress(OSError):
        entry.rename(renamed)
        shutil.rmtree(renamed)


def trim_to_limit(root: Path, newest: str) -> None:
    """Remove the entries used least recently until the cache fits its limit; keep `newest`.

    Unfinished entries older than a day are removed too.
    """
    limit = cache_limit()
    ages = {entry: _modified(entry) for entry in entries(root)}
    sizes = {entry: _size(entry) for entry in ages}
    total = sum(sizes.values())
    for entry in sorted(ages, key=ages.__getitem__):
        if total > limit and entry.name != newest:
            discard(entry)
            total -= sizes[entry]
    for folder in _folders(root, UNFINISHED):  # left by a process that was killed
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
    """Return the bytes in the cache and the number of its entries."""
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
    """Return the bytes of the files in a folder; 0 if another process has removed it."""
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            total += path.stat().st_size
    return total


def _modified(folder: Path) -> float:
    """Return a folder's time of change; 0 if another process has removed it."""
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
