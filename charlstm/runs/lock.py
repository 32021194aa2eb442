"""Locks: only one process at a time trains in the folder of a run.

The file `lock` in the folder names the process. If the system has flock, the process locks the open
file with flock. A lock of flock ends with the process, even if the process is killed, and the
content of the file is only read for error messages. On other systems, a lock is valid as long as
the process that the file names is running.
"""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from charlstm.errors import CharlstmError
from charlstm.runs.folder import LOCK, RUNS, holds_run
from charlstm.runs.lock_holder import is_running, read_holder, write_holder
from charlstm.runs.ownership import LOCK_BEGINNING, foreign_files, is_lock, require_ours
from charlstm.system.paths import absolute

flock: Callable[[int, int], None] | None = None
EXCLUSIVE_NO_WAIT = 0
if sys.platform != "win32":
    import fcntl

    flock, EXCLUSIVE_NO_WAIT = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB

# Locking fails after this many attempts, each of which found that another process had just removed
# the lock file.
MAX_ATTEMPTS = 100
SECONDS_BETWEEN_ATTEMPTS = 0.01  # A process waits this long while another removes a stale lock.
# A process that creates a lock file is given this long to write its name into the file.
SECONDS_TO_NAME_HOLDER = 10
# The folder of a new run takes at most this many characters from the name of its text: at most 240
# bytes in UTF-8. As a name may have 255 bytes, a number can follow the characters.
MAX_NAME = 60


class LockedError(CharlstmError):
    """Raised when another process is training in the folder of a run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder of a run in a with block; LockedError if another process has the lock.

    The folder and its parents are made if they are missing. At the end of the block, the lock file
    is removed, and so are the folders that were made and are still empty.
    """
    at = absolute(folder)  # The working directory may be another one at the end of the block.
    made = [path for path in (at, *at.parents) if not path.exists()]
    path = at / LOCK
    try:
        descriptor = _acquire(folder / LOCK)
    except BaseException:
        _remove_empty(made)
        raise
    holder = read_holder(path)
    try:
        yield
    finally:
        # The lock file is removed before the lock is released. A process that has just opened the
        # lock file then finds that the file was removed, and tries again. If the folder was moved
        # during training, the lock file in `folder` may be that of another process.
        with suppress(OSError):
            if read_holder(path) == holder:
                path.unlink()
        if descriptor is not None:
            os.close(descriptor)
        _remove_empty(made)


def lock_check(folder: Path) -> Callable[[], None]:
    """Return a function that raises CharlstmError if this process no longer has the folder's lock.

    The process has lost the lock if the folder was moved, and another run has begun in a new folder
    of the same name. If the folder was moved and its old name is free, the returned function does
    nothing, because writing into the folder fails anyway.
    """
    at = absolute(folder)  # The working directory may change during training.
    holder = read_holder(at / LOCK)

    def require_lock() -> None:
        if read_holder(at / LOCK) != holder and at.exists():
            raise CharlstmError(
                f"{folder}: the file {LOCK} was removed or replaced during training, so training "
                "ends: if you moved the folder, the run is saved at its new place; if you removed "
                "the folder, the run is lost"
            )

    return require_lock


@contextmanager
def new_folder(first: str | Path, run: str | Path | None, overwrite: bool) -> Iterator[Path]:
    """Lock the folder of a new run: `run`, or a free folder named after its first text.

    The free folder is the first of runs/NAME, runs/NAME-2, runs/NAME-3 and so on that holds no run
    and no other files, and is not locked.

    overwrite: accept a folder `run` that holds a run or files of the user. The files of the user
        are not removed; CharlstmError if such a file has the name of a run's file.
    """
    if run is not None:
        folder = Path(run)
        with locked(folder):
            require_ours(folder, overwrite)
            if not overwrite and holds_run(folder):
                raise CharlstmError(
                    f"{run} holds a run already: `resume=True` goes on with it, `overwrite=True` "
                    "replaces it"
                )
            if not overwrite and (foreign := foreign_files(folder)):
                raise CharlstmError(
                    f"{run} holds files but no run ({foreign[0].name}): name another folder, or "
                    "train there with `overwrite=True`, which removes only files that charlstm "
                    "wrote"
                )
            yield folder
        return
    text = Path("stdin") if str(first) == "-" else Path(os.path.realpath(absolute(first)))
    name = text.name.split(".")[0][:MAX_NAME]
    for n in count(1):
        folder = RUNS / (f"{name or 'run'}-{n}" if n > 1 else name or "run")
        if holds_run(folder) or (folder.is_dir() and foreign_files(folder)):
            continue
        with ExitStack() as lock:
            try:
                lock.enter_context(locked(folder))
            except LockedError:
                continue
            # Another run may have begun and ended in the folder since the check above.
            if not holds_run(folder):
                yield folder
                return


def _acquire(path: Path) -> int | None:
    """Lock the file `path` and return the file descriptor that holds the lock; None without flock.

    A lock that was made with flock lasts as long as the descriptor is open.
    """
    try:
        for _ in range(MAX_ATTEMPTS):
            descriptor, is_new = _open_lock(path)
            if descriptor is None:
                continue
            if _try_flock(path, descriptor):
                with suppress(FileNotFoundError):
                    if os.path.samestat(path.stat(), os.fstat(descriptor)):
                        write_holder(path, descriptor)
                        return descriptor
                os.close(descriptor)  # Another process has removed the file: try again.
            elif is_new:
                write_holder(path, descriptor)
                os.close(descriptor)
                return None
            else:
                os.close(descriptor)
                found = _fingerprint(path)
                if _is_locked(path):
                    raise _locked_error(path)
                _remove_stale(path, found)
    except OSError as error:
        reason = error.strerror or error
        raise CharlstmError(f"{path.parent}: the folder cannot be written: {reason}") from error
    raise _locked_error(path)


def _open_lock(path: Path) -> tuple[int | None, bool]:
    """Open or create the lock file; return its file descriptor, and whether it was created.

    Returns None as the descriptor if another process removes the file or the folder meanwhile.
    """
    with suppress(FileNotFoundError):
        _make_folder(path.parent)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
        except FileExistsError:
            _require_lock(path)
            return os.open(path, os.O_RDWR), False
    return None, False


def _require_lock(path: Path) -> None:
    """Raise CharlstmError if a file that charlstm did not write has the name of the lock file."""
    beginning = b""
    if is_file := stat.S_ISREG(path.lstat().st_mode):
        with path.open("rb") as file:
            beginning = file.read(len(LOCK_BEGINNING))
    if not (is_file and is_lock(beginning)):
        raise CharlstmError(
            f"{path} was not written by charlstm: move it away, or name another folder"
        )


def _try_flock(path: Path, descriptor: int) -> bool:
    """Lock an open file with flock; LockedError if another process has locked the file.

    Returns False if the system or the file system has no flock.
    """
    if flock is None:
        return False
    try:
        flock(descriptor, EXCLUSIVE_NO_WAIT)
    except BlockingIOError:
        os.close(descriptor)
        raise _locked_error(path) from None
    except OSError:  # Some file systems have no locks.
        return False
    return True


def _fingerprint(path: Path) -> str:
    """Return 16 hexadecimal digits that differ between lock files written at different times."""
    digest = hashlib.sha256()
    with suppress(FileNotFoundError):
        status = path.stat()
        digest.update(f"{status.st_ino} {status.st_mtime_ns} ".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _remove_stale(path: Path, found: str) -> None:
    """Without flock: remove a stale lock file, unless another process is removing that file.

    If several processes find the same stale lock, only one of them can create the file
    lock.FINGERPRINT.tmp, and only that process removes the lock. If a slower process creates
    lock.FINGERPRINT.tmp again later, the lock file is gone or has another fingerprint, and the
    slower process removes nothing.

    found: the fingerprint of the stale lock file.
    """
    claim = path.with_name(f"{path.name}.{found}.tmp")
    try:
        os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        with suppress(FileNotFoundError):
            if time.time() - claim.stat().st_mtime > SECONDS_TO_NAME_HOLDER:
                claim.unlink()  # The process that created `claim` was killed.
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        return
    try:
        if _fingerprint(path) == found:
            path.unlink(missing_ok=True)
    finally:
        claim.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    """Without flock: whether a lock file is valid.

    A lock file is valid if the process that it names is running. A file that names no process is
    valid for SECONDS_TO_NAME_HOLDER, in which its process may write its name.
    """
    holder = read_holder(path)
    if holder is None:
        with suppress(FileNotFoundError):
            return time.time() - path.stat().st_mtime < SECONDS_TO_NAME_HOLDER
        return False
    return is_running(holder)


def _locked_error(path: Path) -> LockedError:
    """Return the error that names the process of a lock file."""
    holder = read_holder(path)
    process = "another process"
    if holder is not None:
        process = f"process {holder.pid} on {holder.host} since {holder.since}"
    return LockedError(
        f"{path.parent} is being trained by {process}: wait for it to end, or stop it"
    )


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents; CharlstmError if that is not possible.

    Raises FileNotFoundError if another process removed one of the folders at the same time: the
    caller must try again.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        may_pass = isinstance(error, FileExistsError | FileNotFoundError)
        other = next(filter(_is_other_than_folder, (folder, *folder.parents)), None)
        if may_pass and other is None:
            raise FileNotFoundError from error
        reason = error.strerror if other is None else f"{other} is not a folder: name another"
        raise CharlstmError(f"{folder}: the folder cannot be made: {reason}") from error


def _is_other_than_folder(path: Path) -> bool:
    """Whether a path exists and is not a folder.

    The path is examined only once, because another process may make or remove a folder there at any
    time.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISDIR(mode) and not (stat.S_ISLNK(mode) and path.is_dir())


def _remove_empty(folders: list[Path]) -> None:
    """Remove empty folders, in the order of the list, until a folder cannot be removed."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
