"""Holder: the process that a lock file names, and whether that process is still running."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple

from charlstm.errors import CharlstmError
from charlstm.runs.safetensors_reader import strict_json
from charlstm.system.paths import is_regular
from charlstm.untrusted import entry, of_type

MAX_LOCK_BYTES = 4096  # A lock file of charlstm is never longer than this.
# Numbers of Windows: the access that a program asks for, an error, and the exit code of a process
# that has not ended
QUERY_LIMITED_INFORMATION, ACCESS_DENIED, STILL_ACTIVE = 0x1000, 5, 259


class Holder(NamedTuple):
    """The process that has a lock, as the lock file names it.

    since: the time at which the process locked the folder.
    process_started: the start of the process, as _process_start returns it.
    """

    pid: int
    host: str
    since: str
    process_started: str | None


def write_holder(path: Path, descriptor: int) -> None:
    """Write the number, host and start of this process into the lock file.

    If writing fails, the lock file is removed.
    """
    holder = Holder(
        pid=os.getpid(),
        host=socket.gethostname(),
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
        process_started=_process_start(os.getpid()),
    )
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(holder._asdict()).encode())
    except OSError:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise


def read_holder(path: Path) -> Holder | None:
    """Return the process that a lock file names; None if the file names no process.

    Only a regular file is opened: in a run from a stranger, the name may be that of a pipe.
    """
    if not is_regular(path):
        return None
    try:
        with path.open("rb") as file:
            saved = strict_json(file.read(MAX_LOCK_BYTES).decode("ascii", "replace"))
        started = entry(saved, "process_started")
        return Holder(
            pid=of_type(int, saved, "pid"),
            host=of_type(str, saved, "host"),
            since=of_type(str, saved, "since"),
            process_started=None if started is None else of_type(str, saved, "process_started"),
        )
    except (OSError, CharlstmError):
        return None


def is_running(holder: Holder) -> bool:
    """Whether the process that a lock file names is running, or may run on another machine.

    After the named process has ended, another process may get the same number. Therefore the times
    at which the processes started are compared too.
    """
    if holder.host != socket.gethostname():
        return True  # Processes on another machine cannot be checked, and count as running.
    pid = holder.pid
    if sys.platform == "win32":
        import ctypes

        kernel32 = ctypes.windll.kernel32
        process = kernel32.OpenProcess(QUERY_LIMITED_INFORMATION, False, pid)
        if not process:  # A process of another user exists, but may not be opened.
            return bool(kernel32.GetLastError() == ACCESS_DENIED)
        # A process that has ended can be opened as long as another program has it open.
        code = ctypes.c_ulong()
        is_known = kernel32.GetExitCodeProcess(process, ctypes.byref(code))
        kernel32.CloseHandle(process)
        return not is_known or code.value == STILL_ACTIVE
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return _process_start(pid) == holder.process_started


def _process_start(pid: int) -> str | None:
    """Return when a process started, in clock ticks since the system booted; None if not known."""
    try:
        # /proc/PID/stat has the name of the program in parentheses, and the name may hold spaces
        # and parentheses: the other fields are counted from the last closing parenthesis.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
