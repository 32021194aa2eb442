"""Files that commands write, and the check before: none may replace another file of the user."""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from charlstm.errors import ArgumentError, CharlstmError
from charlstm.system.atomic_files import atomic_write

# How to recognise files that charlstm wrote. Each pair stands for one kind of file: the bytes that
# the file begins with, and other bytes that are found among its first MARK_BYTES bytes.
MARKS = (
    (b"<!doctype html>", b'<meta name="generator" content="charlstm">'),
    (b"<?xml", b"<dc:title>charlstm</dc:title>"),  # an .svg file, by its Creator
    (b"\x89PNG", b"tEXtCreator\x00charlstm"),
    (b"", b'{"__metadata__":{"charlstm":'),  # .safetensors, behind the length of its header
    (b"\x08\x09\x12\x08charlstm", b""),  # .onnx, by its producer
    (b"PK", b"producerq\x01X\x08\x00\x00\x00charlstm"),  # .pt, by the first entry in it
    (b'{\n  "model_type": "charlstm"', b""),  # two files of a folder in Hugging Face's layout
    (b"---\nlibrary_name: charlstm\n", b""),
)
MARK_BYTES = 4096


def require_output(path: Path, inputs: Iterable[str | Path], overwrite: bool) -> None:
    """Raise CharlstmError unless a command may write the file `path`.

    A command may always write a new file. A command may replace a regular file if charlstm wrote
    that file or if `overwrite` is true. A command may never replace a link, a device, a folder, or
    a file that it reads. The path "-" is refused, as it means standard output elsewhere.

    inputs: the files and folders that the command reads; "-" is standard input.
    """
    if str(path) == "-":
        raise ArgumentError("`output` must name a file: - for standard output is not accepted")
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
        reason = getattr(error, "strerror", None) or error
        raise CharlstmError(f"{path}: cannot be written: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        raise CharlstmError(f"{path} is not a regular file: name another file to write to")
    if any(_reads(name, path, status) for name in inputs):
        raise CharlstmError(f"{path} is read by this command: name another file to write to")
    if not overwrite and not is_marked(path):
        raise CharlstmError(
            f"{path} exists, and charlstm did not write it: name another file, or replace it with "
            "`overwrite=True`"
        )


def write_output(path: Path, content: bytes) -> int:
    """Write a file atomically; return its size in bytes. Raises CharlstmError if it cannot."""
    try:
        with atomic_write(path) as file:
            file.write(content)
    except (OSError, ValueError) as error:  # ValueError: the path has no file name, as "."
        reason = getattr(error, "strerror", None) or error
        raise CharlstmError(f"{path}: cannot be written: {reason}") from error
    return len(content)


def _reads(name: str | Path, path: Path, status: os.stat_result) -> bool:
    """Whether an input is the file `path`, or a folder that contains that file."""
    try:
        if str(name) == "-":
            return sys.stdin is not None and os.path.samestat(os.fstat(sys.stdin.fileno()), status)
        if Path(name).is_dir():
            return path.resolve().is_relative_to(Path(name).resolve())
        return os.path.samestat(Path(name).stat(), status)
    except (OSError, ValueError):  # The code that reads the input reports the error.
        return False


def is_marked(path: Path) -> bool:
    """Whether a file has the marks of a file that charlstm wrote."""
    try:
        with path.open("rb") as file:
            head = file.read(MARK_BYTES)
    except OSError:
        return False
    return any(head.startswith(beginning) and mark in head for beginning, mark in MARKS)
