"""Reading of text files, one chunk at a time: finds the files, decompresses and decodes them."""

import codecs
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, get_args

from charlstm.config import Newlines
from charlstm.errors import CharlstmError
from charlstm.system.paths import require_path
from charlstm.text.decompression import READ_BYTES, decompressed
from charlstm.text.vocab import LEVELS

NEWLINES: tuple[str, ...] = get_args(Newlines)
ReadingProgress = Callable[[int, int, str], None]  # bytes done, bytes in total, stage

# Byte-order marks to drop. "utf-16" and "utf-32" drop their own, which says the order of bytes.
BYTE_ORDER_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@dataclass(frozen=True)
class TextFiles:
    """Files to read as text, and how to read them. The training files come first.

    stamps: size and time of change of each file when it was found.
    train_files: the number of training files; the others are for validation.
    encoding: normalised name; not used at level "byte".
    chunk_bytes: the number of bytes to read at a time.
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
        """Return the files at the paths, folders expanded; CharlstmError for a bad path or option.

        run: the folder of a run, whose files are not read as text.
        """
        if level not in LEVELS:
            raise CharlstmError(f"--level must be char, byte or word, not {level!r}")
        if newlines not in NEWLINES:
            raise CharlstmError(f"--newlines must be keep or lf, not {newlines!r}")
        encoding = _text_encoding(encoding)
        if level == "byte" and encoding != "utf-8":
            raise CharlstmError(
                f"--level byte reads bytes as they are: leave out --encoding {encoding}"
            )
        train = _expand(paths, run)
        if not train:
            raise CharlstmError("no text to learn from: name at least one file or folder")
        files = train + _expand(validation_paths, run)
        stamps = tuple(_stamp_of(path) for path in files)
        return cls(files, stamps, len(train), level, encoding, newlines, chunk_bytes)

    @property
    def total_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(size for size, _ in self.stamps)

    def digest(self, progress: ReadingProgress | None = None) -> str:
        """Return a SHA-256, in hexadecimal, of the files' bytes, their roles and the options."""
        options = [self.level, self.encoding, self.newlines]
        digest = hashlib.sha256(json.dumps(options).encode())
        done = 0
        for number in range(len(self.files)):
            file_digest = hashlib.sha256()
            for data in self._raw_chunks(number):
                file_digest.update(data)
                done += len(data)
                if progress is not None:
                    progress(done, self.total_bytes, "hashing")
            digest.update(b"T" if number < self.train_files else b"V")
            digest.update(file_digest.digest())
        return digest.hexdigest()

    def _raw_chunks(self, number: int) -> Iterator[bytes]:
        with _opened(self.files[number]) as file:
            while data := file.read(self.chunk_bytes):
                yield data

    def chunks(
        self, stage: str, progress: ReadingProgress | None = None
    ) -> Iterator[tuple[bool, str]]:
        """Yield (whether the text is for validation, text) in order, without empty texts.

        At level "byte", each character stands for the byte with its code point.

        stage: the name of this pass over the files for `progress`.
        """
        done = 0
        for number, (size, _) in enumerate(self.stamps):
            for position, text in self._chunks_of_file(number):
                yield number >= self.train_files, text
                if progress is not None:
                    progress(done + position, self.total_bytes, stage)
            done += size

    def _chunks_of_file(self, number: int) -> Iterator[tuple[int, str]]:
        """Yield (bytes of the file read so far, text)."""
        path = self.files[number]
        with _opened(path) as file:
            stream, damage_errors = decompressed(path, file)
            decode = self._decoder()
            try:
                data = stream.read(4)
                mark = BYTE_ORDER_MARKS.get(self.encoding, b"")
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
            except damage_errors as error:
                raise CharlstmError(
                    f"{path}: the compressed data is damaged or incomplete ({error}): "
                    "copy the file again"
                ) from error
            except UnicodeDecodeError as error:
                # error.object is the last input, after any bytes kept from earlier inputs.
                offset = fed - len(error.object) + error.start
                name = "UTF-8" if self.encoding == "utf-8" else self.encoding
                raise CharlstmError(
                    f"{path}: invalid {name} at byte {offset} (0x{error.object[error.start]:02x}, "
                    f"{error.reason}): name the text's encoding with --encoding, or take the "
                    "bytes as they are with --level byte"
                ) from error
            except UnicodeError as error:  # without a position: from utf-16 without its mark
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
        raise CharlstmError(
            f"--encoding {name!r} is not a text encoding that Python knows"
        ) from error
    return "utf-8" if normal == "utf-8-sig" else normal


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _stamp_of(path: Path) -> tuple[int, int]:
    try:
        return _stamp(path.stat())
    except OSError as error:
        raise _unreadable(path, error) from error


def _expand(paths: Sequence[str | Path], run: Path | None) -> tuple[Path, ...]:
    """Return the files of the paths, each folder replaced by the files in it."""
    files: list[Path] = []
    for given in paths:
        require_path("the name of a text", given)
        path = Path(given)
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
    """Return the files in a folder and below it, without hidden ones and those of runs."""

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    run_folder = run and run.resolve()
    if folder.resolve() == run_folder:
        raise CharlstmError(
            f"{folder} is the folder of the text, where no run can be kept: name another with -r"
        )
    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        is_run = _holds_models(names) or Path(parent).resolve() == run_folder
        if Path(parent) != folder and is_run:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    # Broken links, pipes and devices are left out.
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
