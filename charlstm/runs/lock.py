"""One training process at a time in the folder of a run.

The file `lock` names that process. Where the system has flock, the open file is locked with it: the
lock ends with its process, however that ends, and the content of the file is only for people.
Elsewhere a lock counts for as long as the process that the file names is running.
"""

import hashlib
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.runs.folder import LOCK, holds_run
from charlstm.runs.ownership import LOCK_BEGINNING, foreign_files, is_lock, require_ours
from charlstm.system.paths import absolute

flock: Callable[[int, int], None] | None = None
EXCLUSIVE_NO_WAIT = 0
if sys.platform != "win32":
    import fcntl

    flock, EXCLUSIVE_NO_WAIT = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB

MAX_ATTEMPTS = 100  # to lock a file that other processes remove at that moment
SECONDS_BETWEEN_ATTEMPTS = 0.01  # while another process removes a stale lock
SECONDS_TO_NAME_HOLDER = 10  # between the creation of a lock file and the name of its process in it


class LockedError(CharlstmError):
    """Raised when another process trains in the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder of a run, which is made if need be; LockedError if another process has it.

    At the end the lock is removed, and so are folders that were made for it and stayed empty.
    """
    absolute(folder)  # raises CharlstmError if the working directory has been deleted
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder / LOCK
    try:
        descriptor = _acquire(path)
    except BaseException:
        _remove_empty(made)
        raise
    try:
        yield
    finally:
        # Removed while it is locked: a process that has opened it meanwhile sees that it is gone.
        with suppress(OSError):
            path.unlink()
        if descriptor is not None:
            os.close(descriptor)
        _remove_empty(made)


@contextmanager
def new_folder(first: str | Path, run: str | Path | None, overwrite: bool) -> Iterator[Path]:
    """Lock the folder of a new run: `run`, or a free folder named after its first text.

    The free folder is runs/NAME, or runs/NAME-2 and so on if the others before hold a run or other
    files or are locked. overwrite: accept a `run` that holds a run already, or files of the user's,
    which stay; CharlstmError if one of them has the name of a file of runs.
    """
    if run is not None:
        folder = Path(run)
        with locked(folder):
            if not overwrite and holds_run(folder):
                raise CharlstmError(
                    f"{run} holds a run already: --resume goes on with it, --overwrite replaces it"
                )
            if not overwrite and (foreign := foreign_files(folder)):
                raise CharlstmError(
                    f"{run} holds files but no run ({foreign[0].name}): name another folder, or "
                    "train there with --overwrite, which removes only files that charlstm wrote"
                )
            require_ours(folder)
            yield folder
        return
    name = "stdin" if str(first) == "-" else Path(os.path.realpath(first)).name.split(".")[0]
    for n in count(1):
        folder = Path("runs") / (f"{name or 'run'}-{n}" if n > 1 else name or "run")
        if holds_run(folder) or (folder.is_dir() and foreign_files(folder)):
            continue
        with ExitStack() as lock:
            try:
                lock.enter_context(locked(folder))
            except LockedError:
                continue
            if not holds_run(folder):  # else one has begun and ended since the look above
                yield folder
                return


def _acquire(path: Path) -> int | None:
    """Lock the file; return its descriptor, to be kept open, or None if there is no flock."""
    try:
        for _ in range(MAX_ATTEMPTS):
            descriptor, is_new = _open_lock(path)
            if descriptor is None:
                continue
            if _try_flock(path, descriptor):
                with suppress(FileNotFoundError):
                    if os.path.samestat(path.stat(), os.fstat(descriptor)):
                        _write_holder(path, descriptor)
                        return descriptor
                os.close(descriptor)  # the file has been removed meanwhile: try again
            elif is_new:
                _write_holder(path, descriptor)
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
        raise CharlstmError(f"{path.parent}: cannot be written: {reason}") from error
    raise _locked_error(path)


def _open_lock(path: Path) -> tuple[int | None, bool]:
    """Return the descriptor of the open file, None if that fails; and whether the file is new."""
    with suppress(FileNotFoundError):  # another process removes the folder with its lock
        _make_folder(path.parent)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
        except FileExistsError:
            _require_lock(path)
            return os.open(path, os.O_RDWR), False
    return None, False


def _require_lock(path: Path) -> None:
    """Raise CharlstmError for a file of the user's that happens to have the name of the lock."""
    beginning = b""
    if is_file := stat.S_ISREG(path.lstat().st_mode):
        with path.open("rb") as file:
            beginning = file.read(len(LOCK_BEGINNING))
    if not (is_file and is_lock(beginning)):
        raise CharlstmError(
            f"{path} was not written by charlstm: move it away, or name another folder"
        )


def _try_flock(path: Path, descriptor: int) -> bool:
    """Lock an open file; return False if the system or the file system has no such locks."""
    if flock is None:
        return False
    try:
        flock(descriptor, EXCLUSIVE_NO_WAIT)
    except BlockingIOError:
        os.close(descriptor)
        raise _locked_error(path) from None
    except OSError:  # a file system without locks
        return False
    return True


def _fingerprint(path: Path) -> str:
    """Return 16 hexadecimal digits that tell one lock file from others of the same name."""
    digest = hashlib.sha256()
    with suppress(FileNotFoundError):
        status = path.stat()
        digest.update(f"{status.st_ino} {status.st_mtime_ns} ".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _remove_stale(path: Path, found: str) -> None:
    """Without flock: remove the lock file with that fingerprint, unless another process does.

    Of several processes that find a stale lock, only one can make the file lock.FINGERPRINT.tmp,
    and only that one removes the lock. A process that is slower makes such a file too, but by then
    the lock is another one, which it leaves alone.
    """
    claim = path.with_name(f"{path.name}.{found}.tmp")
    try:
        os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        with suppress(FileNotFoundError):
            if time.time() - claim.stat().st_mtime > SECONDS_TO_NAME_HOLDER:
                claim.unlink()  # its process was killed
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        return
    try:
        if _fingerprint(path) == found:
            path.unlink(missing_ok=True)
    finally:
        claim.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    """Without flock: whether the process that a lock names is running, or will yet be named."""
    holder = _read_holder(path)
    if not holder:
        with suppress(FileNotFoundError):
            return time.time() - path.stat().st_mtime < SECONDS_TO_NAME_HOLDER
    return _is_running(holder)


def _write_holder(path: Path, descriptor: int) -> None:
    """Write the name of this process into the lock file; if that fails, remove the file."""
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "process_started": _process_start(os.getpid()),
    }
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(holder).encode())
    except OSError:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise


def _read_holder(path: Path) -> dict[str, Any]:
    """Return the process that the file names, as a dictionary; empty if it names none."""
    try:
        holder = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    names_host = isinstance(holder, dict) and isinstance(holder.get("host"), str)
    return holder if names_host and type(holder.get("pid")) is int else {}


def _locked_error(path: Path) -> LockedError:
    """Return the error that names the process of a lock file."""
    holder = _read_holder(path)
    process = "another process"
    if holder:
        process = f"process {holder['pid']} on {holder['host']} since {holder.get('since')}"
    return LockedError(
        f"{path.parent} is being trained by {process}: wait for it to end, or stop it"
    )


def _is_running(holder: dict[str, Any]) -> bool:
    """Whether the process that a lock names may be running; its number may be another's by now."""
    if not holder:
        return False
    if holder["host"] != socket.gethostname():
        return True  # processes of another machine cannot be seen from here
    pid = holder["pid"]
    if sys.platform == "win32":
        import ctypes

        process = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)
        ctypes.windll.kernel32.CloseHandle(process)
        return bool(process)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return _process_start(pid) == holder.get("process_started")


def _process_start(pid: int) -> str | None:
    """Return when a process started, in ticks since the system did; None if that is not known."""
    try:
        # the name of the program, in parentheses, may hold spaces and parentheses
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _make_folder(folder: Path) -> None:
    """Make a folder; FileNotFoundError if another process interferes, CharlstmError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        may_pass = isinstance(error, FileExistsError | FileNotFoundError)
        if may_pass and not any(map(_is_other_than_folder, (folder, *folder.parents))):
            raise FileNotFoundError from error  # another process removed one: try again
        raise CharlstmError(f"{folder}: cannot be made: {error.strerror}") from error


def _is_other_than_folder(path: Path) -> bool:
    """Whether a path names something other than a folder, in one look, as folders come and go."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(mode) and not (stat.S_ISLNK(mode) and path.is_dir())


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, innermost first, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
