"""The cache of encoded texts: one folder an entry, named by its key, there whole or not at all."""

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

# Nothing else in the folder is ever touched: CHARLSTM_CACHE may name a folder with other things.
ENTRY = re.compile(r"[0-9a-f]{64}")
UNFINISHED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]+\.tmp")
DAY = 24 * 60 * 60  # seconds


def cache_folder() -> Path:
    """Return the folder of the cache, made if need be.

    It is $CHARLSTM_CACHE, or "charlstm" in the platform's folder for caches; if that cannot be
    written to, a folder of this user's own among the temporary files.
    """
    try:
        folder = Path(os.environ.get("CHARLSTM_CACHE") or _platform_folder() / "charlstm")
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        pass
    return _temporary_folder()


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _temporary_folder() -> Path:
    owner = os.getuid() if hasattr(os, "getuid") else 0  # 0 is what Windows reports as st_uid
    folder = Path(tempfile.gettempdir()) / f"charlstm-{owner}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        # Anyone may have made a folder of this name there, to feed us a text of theirs.
        if folder.lstat().st_uid == owner and not folder.is_symlink():
            return folder
    return Path(tempfile.mkdtemp(prefix="charlstm-"))


@contextmanager
def new_entry(root: Path, key: str) -> Iterator[Path]:
    """Give a folder to fill; it becomes the entry `key` if all goes well, else it is removed.

    Where another process has made the same entry meanwhile, that one stays. Raises OSError.
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
    """Make `entry` the most recently used."""
    with suppress(OSError):
        os.utime(entry)


def discard(entry: Path) -> None:
    """Remove `entry`; if the system does not let go of it now, it stays."""
    # Renamed first, so that nobody ever opens half an entry.
    away = entry.with_name(f"{entry.name[:64]}.{secrets.token_hex(8)}.tmp")
    with suppress(OSError):
        entry.rename(away)
        shutil.rmtree(away)


def make_room(root: Path, newest: str) -> None:
    """Remove the least recently used entries of `root` beyond the limit, never `newest`.

    The limit is $CHARLSTM_CACHE_GB (10^9 bytes each), 10 if unset.
    """
    limit = cache_limit()
    ages = {entry: _modified(entry) for entry in _folders(root, ENTRY)}
    sizes = {entry: _size(entry) for entry in ages}
    total = sum(sizes.values())
    for entry in sorted(ages, key=ages.__getitem__):
        if total > limit and entry.name != newest:
            discard(entry)
            total -= sizes[entry]
    for folder in _folders(root, UNFINISHED):  # left by a process that was killed
        if time.time() - _modified(folder) > DAY:
            discard(folder)


def cache_limit() -> float:
    """Return the most bytes that the cache keeps; CharlstmError if $CHARLSTM_CACHE_GB is bad."""
    text = os.environ.get("CHARLSTM_CACHE_GB") or "10"
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
    entries = _folders(root, ENTRY)
    return sum(map(_size, entries + _folders(root, UNFINISHED))), len(entries)


def clear_cache() -> int:
    """Empty the cache; return the bytes freed."""
    before, _ = cache_size()
    root = cache_folder()
    for folder in _folders(root, ENTRY) + _folders(root, UNFINISHED):
        discard(folder)
    return before - cache_size()[0]


def _folders(root: Path, name: re.Pattern[str]) -> list[Path]:
    return [path for path in root.iterdir() if name.fullmatch(path.name) and path.is_dir()]


# Other processes remove entries too: one that is gone has no size, and is as old as can be.
def _size(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            total += path.stat().st_size
    return total


def _modified(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
