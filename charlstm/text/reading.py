"""Files and folders to text, a piece at a time: which files, unpacking, decoding, newlines."""

import codecs
import gzip
import hashlib
import io
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from charlstm.errors import CharlstmError
from charlstm.text.vocab import LEVELS

NEWLINES = ("keep", "lf")
ReadingProgress = Callable[[int, int, str], None]  # bytes done, bytes in all, what is being done

READ_BYTES = 1 << 18  # bytes read at a time; with more, encoding was measured to be slower
XZ_MEMORY = 1 << 28  # bytes to unpack with, which such a file asks for: `xz -9` for a quarter of it

Unpacked = BinaryIO | io.BufferedIOBase
# "utf-16" and "utf-32" drop their own byte-order mark, as it tells them the order.
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@dataclass(frozen=True)
class TextFiles:
    """Files to be read as text, training files first, and how to read them.

    stamps: of each file, its size and time of change when it was found.
    encoding: normalised name; at level "byte" it is not used.
    """

    files: tuple[Path, ...]
    stamps: tuple[tuple[int, int], ...]
    train_files: int
    level: str
    encoding: str
    newlines: str
    chunk_bytes: int

    @classmethod
    def find(
        cls,
        paths: Sequence[str | Path],
        validation_paths: Sequence[str | Path] = (),
        *,
        level: str = "char",
        encoding: str = "utf-8",
        newlines: str = "keep",
        chunk_bytes: int = READ_BYTES,
        run: Path | None = None,
    ) -> "TextFiles":
        """Return the files that the paths stand for; CharlstmError for a bad path or option.

        run: a folder that is not text, wherever it lies.
        """
        if level not in LEVELS:
            raise CharlstmError(f"--level must be char, byte or word, not {level!r}")
        if newlines not in NEWLINES:
            raise CharlstmError(f"--newlines must be keep or lf, not {newlines!r}")
        encoding = _text_encoding(encoding)
        if level == "byte" and encoding != "utf-8":
            raise CharlstmError(f"--level byte reads bytes as they are: leave out {encoding}")
        train = _expand(paths, run)
        if not train:
            raise CharlstmError("no text to learn from: name at least one file or folder")
        files = train + _expand(validation_paths, run)
        stamps = tuple(_stamp_of(path) for path in files)
        return cls(files, stamps, len(train), level, encoding, newlines, chunk_bytes)

    @property
    def total_bytes(self) -> int:
        """Size of all the files as they are on disk."""
        return sum(size for size, _ in self.stamps)

    def digest(self, progress: ReadingProgress | None = None) -> str:
        """Return the SHA-256, in hexadecimal, of the files' bytes, their roles and the options."""
        options = [self.level, self.encoding, self.newlines]
        whole = hashlib.sha256(json.dumps(options).encode())
        done = 0
        for number in range(len(self.files)):
            one = hashlib.sha256()
            for data in self._raw_pieces(number):
                one.update(data)
                done += len(data)
                if progress is not None:
                    progress(done, self.total_bytes, "hashing")
            whole.update(b"T" if number < self.train_files else b"V")
            whole.update(one.digest())
        return whole.hexdigest()

    def _raw_pieces(self, number: int) -> Iterator[bytes]:
        with _opened(self.files[number]) as file:
            while data := file.read(self.chunk_bytes):
                yield data

    def pieces(
        self, what: str, progress: ReadingProgress | None = None
    ) -> Iterator[tuple[bool, str]]:
        """Yield (whether it is for validation, text), in order, never empty texts.

        At level "byte" each character stands for the byte of its code point.
        """
        done = 0
        for number, (size, _) in enumerate(self.stamps):
            for position, text in self._pieces_of(number):
                yield number >= self.train_files, text
                if progress is not None:
                    progress(done + position, self.total_bytes, what)
            done += size

    def _pieces_of(self, number: int) -> Iterator[tuple[int, str]]:
        """Yield (bytes of the file read so far, text) for one file."""
        path = self.files[number]
        with _opened(path) as file:
            stream, damage = _unpacked(path, file)
            decode = self._decoder()
            try:
                data = stream.read(4)
                mark = MARKS.get(self.encoding, b"")
                fed = len(mark) if data.startswith(mark) else 0
                data = data[fed:] + stream.read(self.chunk_bytes)
                while True:
                    if _stamp(os.fstat(file.fileno())) != self.stamps[number]:
                        raise CharlstmError(f"{path} changed while it was read: start again")
                    fed += len(data)
                    text = decode(data, not data)
                    if text:
                        yield file.tell(), text
                    if not data:
                        return
                    data = stream.read(self.chunk_bytes)
            except damage as error:
                raise CharlstmError(f"{path}: damaged or cut off inside ({error})") from error
            except UnicodeDecodeError as error:
                # What the decoder was given ends where the data ends, whatever it kept of before.
                offset = fed - len(error.object) + error.start
                name = "UTF-8" if self.encoding == "utf-8" else self.encoding
                raise CharlstmError(
                    f"{path}: invalid {name} at byte {offset} (0x{error.object[error.start]:02x}, "
                    f"{error.reason}): name the text's encoding with --encoding, or take the "
                    "bytes as they are with --level byte"
                ) from error
            except UnicodeError as error:  # a codec without positions, such as utf-16 unmarked
                raise CharlstmError(
                    f"{path}: {error}: name the text's encoding with --encoding"
                ) from error

    def _decoder(self) -> Callable[[bytes, bool], str]:
        name = "latin-1" if self.level == "byte" else self.encoding
        decoder = codecs.getincrementaldecoder(name)("strict")
        if self.newlines == "keep":
            return decoder.decode
        return io.IncrementalNewlineDecoder(decoder, translate=True).decode


def _text_encoding(name: str) -> str:
    """Return the normalised name of an encoding; CharlstmError if it is not one of text."""
    try:
        b" ".decode(name, "replace")  # refuses codecs from bytes to bytes, such as hex
        codecs.getincrementaldecoder(name)
        normal = codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise CharlstmError(f"--encoding {name!r} is not a text encoding known here") from error
    return "utf-8" if normal == "utf-8-sig" else normal


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _stamp_of(path: Path) -> tuple[int, int]:
    try:
        return _stamp(path.stat())
    except OSError as error:
        raise _unreadable(path, error) from error


def _expand(paths: Sequence[str | Path], run: Path | None) -> tuple[Path, ...]:
    files: list[Path] = []
    for path in map(Path, paths):
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise _unreadable(path, error) from error
        if stat.S_ISDIR(mode):
            inside = _files_below(path, run)
            if not inside:
                raise CharlstmError(f"{path}: this folder has no files to read")
            files += inside
        elif stat.S_ISREG(mode):
            files.append(path)
        else:
            raise CharlstmError(
                f"{path} is neither a file nor a folder: pipe it into standard input instead"
            )
    return tuple(files)


def _files_below(folder: Path, run: Path | None) -> list[Path]:
    """All but hidden names, and the folders of runs: what such a one keeps is no text."""

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    own = run and run.resolve()
    if folder.resolve() == own:
        raise CharlstmError(
            f"{folder} is the folder of the text, where no run can be kept: name another with -r"
        )
    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        if Path(parent) != folder and (_holds_models(names) or Path(parent).resolve() == own):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    # Broken links, pipes and devices are not files.
    regular = [path for path in found if path.is_file()]
    return sorted(regular, key=lambda path: path.relative_to(folder).as_posix())


def _holds_models(names: list[str]) -> bool:
    return any(name.endswith(".safetensors") for name in names)


def _unreadable(path: Path, error: OSError | ValueError) -> CharlstmError:
    return CharlstmError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error


def _unpacked(path: Path, file: BinaryIO) -> tuple[Unpacked, tuple[type[Exception], ...]]:
    """Return what a compressed file holds, and what reading it raises if it is damaged."""
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file), (EOFError, zlib.error, gzip.BadGzipFile)
    if magic == b"\xfd7zXZ\0":
        try:
            import lzma  # some builds of Python go without
        except ImportError as error:
            raise CharlstmError(f"{path}: this Python cannot read xz: unpack it first") from error
        return io.BufferedReader(_Unxz(file), READ_BYTES), (EOFError, lzma.LZMAError)
    return file, ()


class _Unxz(io.RawIOBase):
    """What an xz file holds. lzma.LZMAFile would take as much memory as the file asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begin_stream()

    def _begin_stream(self) -> None:
        import lzma

        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            packed = b""
            if self._stream.eof:  # others may follow, after zeros
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
