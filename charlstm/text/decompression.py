"""Decompression of gzip and xz files while they are read, in bounded memory."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from charlstm.errors import CharlstmError

READ_BYTES = 1 << 18  # bytes to read at a time; larger chunks made encoding slower in measurements
# Limit of the memory for decompressing an xz file, of which a file from `xz -9` needs a quarter.
XZ_MEMORY_BYTES = 1 << 28

GZIP_MAGIC, XZ_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\0"  # the first bytes of gzip and xz files

ByteStream = BinaryIO | io.BufferedIOBase
DamageErrors = tuple[type[Exception], ...]


def decompressed(path: Path, file: BinaryIO) -> tuple[ByteStream, DamageErrors]:
    """Return a stream of a file's decompressed bytes, and the exceptions for damaged data.

    The exceptions are those that the stream raises if the compressed data is damaged. The first
    bytes of the file show whether it is compressed. For a file that is not compressed, the stream
    is the file itself, and there are no such exceptions.
    """
    start = file.read(len(XZ_MAGIC))
    file.seek(0)
    return _decompressed_by_magic(start, path, file) or (file, ())


def decompressed_input(
    path: Path, stream: io.BufferedIOBase
) -> tuple[io.BufferedIOBase, DamageErrors]:
    """Return a decompressed stream like `decompressed`, for a stream that can be read only once.

    If the stream is not compressed, `read1` of the result returns the bytes that have arrived,
    without waiting for more.

    path: the name of the stream in error messages.
    """
    start = b""
    while any(magic != start and magic.startswith(start) for magic in (GZIP_MAGIC, XZ_MAGIC)):
        if not (more := stream.read1(READ_BYTES)):
            break
        start += more
    file = io.BufferedReader(_Continued(start, stream), READ_BYTES)
    return _decompressed_by_magic(start, path, file) or (file, ())


def _decompressed_by_magic(
    start: bytes, path: Path, file: BinaryIO
) -> tuple[io.BufferedIOBase, DamageErrors] | None:
    """Return the result of `decompressed` for a file that begins with `start`.

    Returns None if these bytes do not begin a compressed file.
    """
    if start.startswith(GZIP_MAGIC):
        return gzip.GzipFile(fileobj=file), (EOFError, zlib.error, gzip.BadGzipFile)
    if start.startswith(XZ_MAGIC):
        try:
            import lzma  # Some builds of Python lack lzma.
        except ImportError as error:
            raise CharlstmError(
                f"{path}: this Python cannot read xz: decompress it first"
            ) from error
        return io.BufferedReader(XzStream(file), READ_BYTES), (EOFError, lzma.LZMAError)
    return None


class _Continued(io.RawIOBase):
    """A stream that gives the bytes `start`, and then those of another stream."""

    def __init__(self, start: bytes, stream: io.BufferedIOBase) -> None:
        self._start, self._stream = start, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._start[: len(buffer)] or self._stream.read1(len(buffer))
        self._start = self._start[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class XzStream(io.RawIOBase):
    """A stream of the decompressed bytes of an xz file.

    Decompression takes at most XZ_MEMORY_BYTES of memory. lzma.LZMAFile has no such limit: it takes
    as much memory as the file demands.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begin_stream()

    def _begin_stream(self) -> None:
        import lzma

        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            packed = b""
            if self._stream.eof:  # Padding and further xz streams may follow.
                packed = self._stream.unused_data.lstrip(b"\0")
                while not packed:
                    if not (packed := self._file.read(READ_BYTES)):
                        return 0
                    packed = packed.lstrip(b"\0")
                self._begin_stream()
            elif self._stream.needs_input and not (packed := self._file.read(READ_BYTES)):
                raise EOFError("the data ends too early")
            if data := self._stream.decompress(packed, len(buffer)):
                buffer[: len(data)] = data
                return len(data)
