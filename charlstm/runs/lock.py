"""One training process at a time in the folder of a run.

The file `lock` tells who trains there. Where the system has flock, the lock is that of the open
file: it goes with its process, however that ends, and what the file says is only there to be read.
Elsewhere a lock counts for as long as the process that it names is running.
"""

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

flock: Callable[[int, int], None] | None = None
TRY = 0
if sys.platform != "win32":
    import fcntl

    flock, TRY = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB

ATTEMPTS = 100  # to lock a file that others remove at that moment
SECONDS_TO_SIGN = 10


class LockedError(CharlstmError):
    """Another process trains in the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder of a run, made if need be; LockedError where another process does.

    On the way out the lock goes, and so does a folder that was made for it and stayed empty.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder / LOCK
    try:
        descriptor = _take(path)
    except BaseException:
        _remove_empty(made)
        raise
    try:
        yield
    finally:
        # removed while it is held: whoever has opened it meanwhile sees that it is gone
        with suppress(OSError):
            path.unlink()
        if descriptor is not None:
            os.close(descriptor)
        _remove_empty(made)


@contextmanager
def new_folder(first: str | Path, run: str | Path | None, overwrite: bool) -> Iterator[Path]:
    """Hold the folder of a new run: the one named, or a free one named after its first text.

    The free one is runs/NAME, or runs/NAME-2 and so on where others have, or hold, those before.
    """
    if run is not None:
        with locked(Path(run)):
            if not overwrite and holds_run(Path(run)):
                raise CharlstmError(
                    f"{run} holds a run already: --resume goes on with it, --overwrite replaces it"
                )
            yield Path(run)
        return
    name = "stdin" if str(first) == "-" else Path(os.path.realpath(first)).name.split(".")[0]
    for n in count(1):
        folder = Path("runs") / (f"{name or 'run'}-{n}" if n > 1 else name or "run")
        if holds_run(folder):
            continue
        with ExitStack() as lock:
            try:
                lock.enter_context(locked(folder))
            except LockedError:
                continue
            if not holds_run(folder):  # one that has begun and ended since the look above
                yield folder
                return


def _take(path: Path) -> int | None:
    """Lock the file; its descriptor, to be kept open, or None where there is no flock."""
    try:
        for _ in range(ATTEMPTS):
            descriptor, is_new = _open(path)
            if descriptor is None:
                continue
            if _flocked(path, descriptor):
                with suppress(FileNotFoundError):
                    if os.path.samestat(path.stat(), os.fstat(descriptor)):
                        _sign(path, descriptor)
                        return descriptor
                os.close(descriptor)  # of a lock that was released meanwhile
            elif is_new:
                _sign(path, descriptor)
                os.close(descriptor)
                return None
            else:
                os.close(descriptor)
                if _is_held(path):
                    raise _refusal(path)
                path.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise CharlstmError(f"{path.parent}: cannot be written: {reason}") from error
    raise _refusal(path)


def _open(path: Path) -> tuple[int | None, bool]:
    """The open file, and whether it is new; None if others keep removing it."""
    with suppress(FileNotFoundError):  # the folder went with the lock of another
        _make_folder(path.parent)
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
        except FileExistsError:
            return os.open(path, os.O_RDWR), False
    return None, False


def _flocked(path: Path, descriptor: int) -> bool:
    """Lock an open file; False where that is not to be had."""
    if flock is None:
        return False
    try:
        flock(descriptor, TRY)
    except BlockingIOError:
        os.close(descriptor)
        raise _refusal(path) from None
    except OSError:  # a file system without locks
        return False
    return True


def _is_held(path: Path) -> bool:
    """Without flock: whether the process that a lock names is running, or is about to sign it."""
    holder = _holder(path)
    if not holder:
        with suppress(FileNotFoundError):
            return time.time() - path.stat().st_mtime < SECONDS_TO_SIGN
    return _is_running(holder)


def _sign(path: Path, descriptor: int) -> None:
    """Let the file tell who holds it; where that fails it goes."""
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


def _holder(path: Path) -> dict[str, Any]:
    """What the file says of who holds it; empty if it does not."""
    try:
        holder = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_one = isinstance(holder, dict) and isinstance(holder.get("host"), str)
    return holder if is_one and type(holder.get("pid")) is int else {}


def _refusal(path: Path) -> LockedError:
    holder = _holder(path)
    who = "another process"
    if holder:
        who = f"process {holder['pid']} on {holder['host']} since {holder.get('since')}"
    return LockedError(f"{path.parent} is being trained by {who}: wait for it to end, or stop it")


def _is_running(holder: dict[str, Any]) -> bool:
    """Whether the process that a lock names may be there; its number may be another's by now."""
    if not holder:
        return False
    if holder["host"] != socket.gethostname():
        return True  # which cannot be seen from here
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
    """When a process started, in ticks since the system did; None where that is not to be seen."""
    try:
        # the name of the program, in parentheses, may hold spaces and parentheses
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        may_pass = isinstance(error, FileExistsError | FileNotFoundError)
        if may_pass and not any(map(_is_no_folder, (folder, *folder.parents))):
            raise FileNotFoundError from error  # others removed one, and may have made it again
        raise CharlstmError(f"{folder}: cannot be made: {error.strerror}") from error


def _is_no_folder(path: Path) -> bool:
    """Whether something else has that name; one look, since folders come and go meanwhile."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(mode) and not (stat.S_ISLNK(mode) and path.is_dir())


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, up to one that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
