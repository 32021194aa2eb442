"""Decompression of gzip and xz files while they are read, in bounded memory."""

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from charlstm.errors import CharlstmError

READ_BYTES = 1 << 18  # read at a time; with more, encoding a text was measured to be slower
XZ_MEMORY_BYTES = 1 << 28  # that an xz file may need for decompression; `xz -9` needs a quarter

ByteStream = BinaryIO | io.BufferedIOBase


def decompressed(path: Path, file: BinaryIO) -> tuple[ByteStream, tuple[type[Exception], ...]]:
    """Return a stream of a file's decompressed bytes, and the errors it raises for damaged data.

    Its first bytes tell whether a file is compressed; one that is not is returned as it is.
    """
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file), (EOFError, zlib.error, gzip.BadGzipFile)
    if magic == b"\xfd7zXZ\0":
        try:
            import lzma  # missing in some builds of Python
        except ImportError as error:
            raise CharlstmError(f"{path}: this Python cannot read xz: unpack it first") from error
        return io.BufferedReader(XzStream(file), READ_BYTES), (EOFError, lzma.LZMAError)
    return file, ()


class XzStream(io.RawIOBase):
    """The decompressed bytes of an xz file, in at most XZ_MEMORY_BYTES.

    lzma.LZMAFile has no such limit: it takes as much memory as the file demands.
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
            if self._stream.eof:  # zeros and further xz streams may follow
                packed = self._stream.unused_data.lstrip(b"\0")
                while not packed:
                    if not (packed := self._file.read(READ_BYTES)):
                        return 0
                    packed = packed.lstrip(b"\0")
                self._begin_stream()
            elif self._stream.needs_input and not (packed := self._file.read(READ_BYTES)):
                raise EOFError("it ends too early")
            if data := self._stream.decompress(packed, len(buffer)):
                buffer[: len(data)] = data
                return len(data)
