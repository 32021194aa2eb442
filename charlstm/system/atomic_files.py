"""Atomic writing of files: a file has its old content or its new content, never a mixture."""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Error numbers of an attempt to flush a folder on a system that cannot flush folders. Such a system
# can still write files in the folder, so these errors are ignored.
UNFLUSHABLE = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)
# Windows refuses to replace a file while another program has it open, such as a reader of the file
# or a virus scanner. A replacement is tried again after each of these times, in seconds.
WAITS_FOR_READERS = (0.01, 0.1, 0.4, 1.5) if os.name == "nt" else ()


def flush_folder(folder: Path) -> None:
    """Flush `folder` to disk: renames in it then survive a power cut. Does nothing on Windows."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNFLUSHABLE:
            raise


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file to write to, which replaces `path` when the context ends.

    The content is flushed to disk before the file is renamed to `path`; then the folder is flushed.
    On any exception the temporary file is removed and `path` stays as it was. Raises OSError if
    `path` exists and is not a regular file: links, devices and folders are never replaced.
    """
    _require_regular(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Another process may have replaced `path` while the content was written.
        _require_regular(path)
        _replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # An error of unlink must not hide the caught one.
            temporary.unlink()
        raise
    flush_folder(path.parent)


def _replace(temporary: Path, path: Path) -> None:
    """Rename a file to `path`; on Windows, wait for programs that have `path` open."""
    for seconds in WAITS_FOR_READERS:
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(seconds)
    temporary.replace(path)


def _require_regular(path: Path) -> None:
    """Raise OSError if a path exists and is not a regular file."""
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            reason = "not a regular file: name another"
            if stat.S_ISLNK(mode):
                reason = "not a regular file but a link: remove the link"
            elif stat.S_ISDIR(mode):
                reason = "not a regular file but a folder: name another"
            raise OSError(errno.EEXIST, reason, str(path))
