"""Interruptions of a training process, for crash.py: signals, and a disk that is full for a while.

An interruption is a function of the process and a random generator.
"""

import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DISK_SIZE = "24m"  # the size of the file system in memory
MAX_FILE_BYTES = 4_096  # the limit on the size of files that takes the place of a full disk
Interrupt = Callable[[subprocess.Popen, random.Random], None]


def kill(process: subprocess.Popen, rng: random.Random) -> None:
    """Send SIGKILL."""
    process.kill()


def terminate(process: subprocess.Popen, rng: random.Random) -> None:
    """Send SIGTERM, and in one case of four a second one shortly after."""
    process.terminate()
    if rng.random() < 0.25:
        time.sleep(0.02 * rng.random())
        process.terminate()


def fill(disk: Path | None) -> Interrupt:
    """Return an interruption that fills the disk for a while, or until the process ends.

    disk: the folder of the small file system. If it is None, the interruption limits the size of
        the files that the process writes.
    """

    def interrupt(process: subprocess.Popen, rng: random.Random) -> None:
        until_end = rng.random() < 0.5
        if disk is None:
            limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, limits[1]))
        else:
            write_until_full(disk / "filler")
        with suppress(subprocess.TimeoutExpired):
            process.wait(60 if until_end else 0.3 * rng.random())
        if disk is not None:
            (disk / "filler").unlink()
        elif process.poll() is None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)

    return interrupt


def write_until_full(path: Path) -> None:
    """Write a file until its disk has less than 512 bytes left."""
    size = 1 << 20
    with path.open("wb", buffering=0) as file:
        while size >= 512:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small file system in memory at `folder`; yield None if that is not possible."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
