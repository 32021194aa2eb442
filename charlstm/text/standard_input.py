"""Standard input as a text, which the user names "-".

Texts are read several times, but standard input can be read only once: it is copied to a file.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from charlstm.errors import CharlstmError
from charlstm.system.atomic_files import atomic_write
from charlstm.text.decompression import READ_BYTES


def copy_standard_input(paths: Sequence[str | Path], copy: Path) -> tuple[str, ...]:
    """Copy standard input to the file `copy` if "-" is among the paths.

    Returns the paths with that file in place of "-". Raises CharlstmError if "-" is among them
    twice, if this process has no standard input, or if the file cannot be written.
    """
    names = tuple(map(str, paths))
    if "-" not in names:
        return names
    if names.count("-") > 1:
        raise CharlstmError("standard input (-) can be given only once")
    if sys.stdin is None:  # A process may be started without a standard input.
        raise CharlstmError("there is no standard input to read (-): name a file instead")
    copy_stream(sys.stdin.buffer, copy)
    return tuple(str(copy) if name == "-" else name for name in names)


def copy_stream(stream: BinaryIO, path: Path) -> None:
    """Copy a stream to the file `path`.

    Raises CharlstmError if the copy cannot be written; an earlier file `path` is then unchanged.
    """
    try:
        with atomic_write(path) as file:
            shutil.copyfileobj(stream, file, READ_BYTES)
    except OSError as error:
        raise CharlstmError(f"cannot write {path}: {error.strerror or error}") from error
