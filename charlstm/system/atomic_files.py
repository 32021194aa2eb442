"""Atomic writing of files: a file has its old content or its new content, never a mixture."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Error numbers of an attempt to flush a folder on a system that cannot flush folders. Such a system
# can still write files in the folder, so these errors are ignored.
UNFLUSHABLE = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)


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
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # An error of unlink must not hide the caught one.
            temporary.unlink()
        raise
    flush_folder(path.parent)


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
