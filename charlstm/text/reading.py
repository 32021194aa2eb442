"""Text files: finding them, and reading, decompressing and decoding them one chunk at a time."""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, get_args

from charlstm.config import Newlines
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.system.paths import require_path
from charlstm.text.decompression import READ_BYTES, decompressed
from charlstm.text.encodings import decoded_chunks, encoding_for, refuse_other_unicode
from charlstm.text.file_kinds import START_BYTES, is_html, refuse_other_kinds
from charlstm.text.vocab import LEVELS, Vocab
from charlstm.untrusted import require_choice

NEWLINES: tuple[str, ...] = get_args(Newlines)
ReadingProgress = Callable[[int, int, str], None]  # bytes done, bytes in total, stage
Stamp = tuple[int, int, int]  # size in bytes, modification time in nanoseconds, inode


class ChangedTextError(CharlstmError):
    """Raised for files whose size or digest is not the expected size or digest."""


@dataclass(frozen=True)
class TextFiles:
    """Text files and the options with which they are read.

    files: the paths of the training files, then those of the validation files.
    stamps: the size, the modification time and the inode that each file had when it was found. If a
        file's stamp has changed when the file is read, the file is refused.
    train_files: the number of training files; the others are for validation.
    encoding: Python's normalised name of the encoding; not used at level "byte".
    chunk_bytes: the number of bytes to read at a time.
    """

    files: tuple[Path, ...]
    stamps: tuple[Stamp, ...]
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
        most_bytes: int | None = None,
    ) -> "TextFiles":
        """Return the files at the paths, with each folder replaced by the files in it.

        run: the folder of a run, whose files are not read as text.
        most_bytes: the size that the files of a folder may have in total. ChangedTextError is
            raised as soon as the files found are larger than most_bytes.

        Raises CharlstmError for a path that cannot be read, and for a bad option.
        """
        require_choice("level", level, LEVELS)
        require_choice("newlines", newlines, NEWLINES)
        encoding = encoding_for(level, encoding)
        train = _expand(paths, run, most_bytes)
        if not train:
            raise ArgumentError("no text to learn from: name at least one file or folder")
        files = train + _expand(validation_paths, run, most_bytes)
        stamps = tuple(_stamp_of(path) for path in files)
        return cls(files, stamps, len(train), level, encoding, newlines, chunk_bytes)

    def check_kinds(self, named: Iterable[str | Path]) -> tuple[Path, ...]:
        """Return the files that are HTML pages; CharlstmError for a file that is no plain text.

        Text in UTF-16 or UTF-32 that would be read as UTF-8 is refused too. At level "byte", any
        file is accepted, and no file is looked at.

        named: the paths that the user gave; other files were found in folders.
        """
        pages = []
        for path in self.files if self.level != "byte" else ():
            start = _start_of(path)
            try:
                refuse_other_kinds(path, start)
            except CharlstmError as error:
                if path in map(Path, named):
                    raise
                raise CharlstmError(
                    f"{error}; or, in place of the folder, name the files to read, such as "
                    f"{path.parent}/*.txt"
                ) from error
            refuse_other_unicode(path, start, self.encoding)
            if is_html(start):
                pages.append(path)
        return tuple(pages)

    @property
    def total_bytes(self) -> int:
        """Size of all files on disk, in bytes."""
        return sum(size for size, _, _ in self.stamps)

    def digest(self, progress: ReadingProgress | None = None) -> str:
        """Return a SHA-256, in hexadecimal, that identifies the encoded text.

        The digest depends on the bytes of each file, the order of the files, their roles (training
        or validation), the level, the encoding and the newlines.
        """
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
                self._refuse_changed(number, file)
                yield data
            self._refuse_changed(number, file)

    def _refuse_changed(self, number: int, file: BinaryIO) -> None:
        """Raise CharlstmError if an open file is not as it was when it was found."""
        if _stamp(os.fstat(file.fileno())) != self.stamps[number]:
            raise CharlstmError(f"{self.files[number]} changed while it was read: start again")

    def chunks(
        self,
        stage: str,
        progress: ReadingProgress | None = None,
        changed: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[int, str]]:
        """Yield the text of the files in order, as pairs (number of the file from 0, text).

        No text is empty. At level "byte", each character stands for one byte, whose value is its
        code point.

        stage: the name of this pass over the files, with which `progress` is called.
        changed: called with the number of line ends that `newlines` changed, as they are read.
        """
        done = 0
        for number, (size, _, _) in enumerate(self.stamps):
            for position, text in self._chunks_of_file(number, changed):
                yield number, text
                if progress is not None:
                    progress(done + position, self.total_bytes, stage)
            done += size

    def _chunks_of_file(
        self, number: int, changed: Callable[[int], None] | None
    ) -> Iterator[tuple[int, str]]:
        """Yield the text of a file, as pairs (bytes of the file read so far, text)."""
        path = self.files[number]
        with _opened(path) as file:
            stream, damage_errors = decompressed(path, file)

            def read() -> bytes:
                try:
                    return stream.read(self.chunk_bytes)
                finally:
                    # If a compressed file changed, reading it usually raises an error as well.
                    self._refuse_changed(number, file)

            for text in decoded_chunks(
                path, read, damage_errors, self.level, self.encoding, self.newlines, changed
            ):
                if text:
                    yield file.tell(), text


def _start_of(path: Path) -> bytes:
    """Return the first bytes of a file, decompressed; b"" if they are damaged."""
    with _opened(path) as file:
        stream, damage_errors = decompressed(path, file)
        with suppress(*damage_errors):
            return stream.read(START_BYTES)
    return b""


def newlines_for(vocab: Vocab) -> Newlines:
    """Return the treatment of line ends with which texts for a vocabulary are read.

    The result is "keep" for a vocabulary that has "\\r", as one of bytes has, and else "lf".
    """
    keeps = vocab.level == "byte" or (vocab.level == "char" and "\r" in vocab.characters)
    return "keep" if keeps else "lf"


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _stamp_of(path: Path) -> Stamp:
    try:
        return _stamp(path.stat())
    except OSError as error:
        raise _unreadable(path, error) from error


def _expand(
    paths: Sequence[str | Path], run: Path | None, most_bytes: int | None
) -> tuple[Path, ...]:
    """Return the files at the paths, with each folder replaced by the files in it."""
    files: list[Path] = []
    for given in paths:
        require_path("the name of a text", given)
        path = Path(given)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise _unreadable(path, error) from error
        if stat.S_ISDIR(mode):
            inside = _files_below(path, run, most_bytes)
            if not inside:
                raise CharlstmError(
                    f"{path}: this folder has no files to read: name another folder"
                )
            files += inside
        elif stat.S_ISREG(mode):
            files.append(path)
        else:
            raise CharlstmError(
                f"{path} is neither a file nor a folder: pipe it into standard input instead"
            )
    return tuple(files)


def _files_below(folder: Path, run: Path | None, most_bytes: int | None) -> list[Path]:
    """Return the files in a folder and its subfolders, except hidden files and runs' folders.

    Raises ChangedTextError as soon as the files have more than `most_bytes` bytes.
    """

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    run_folder = run and run.resolve()
    if folder.resolve() == run_folder:
        raise CharlstmError(
            f"{folder} is the folder of the text, where no run can be kept: name another folder "
            "as `run`"
        )
    found, size = [], 0
    for parent, folders, names in os.walk(folder, onerror=refuse):
        is_run = _holds_models(names) or Path(parent).resolve() == run_folder
        if Path(parent) != folder and is_run:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            if not path.is_file():  # Broken links, pipes and devices are left out.
                continue
            found.append(path)
            if most_bytes is not None:
                size += _stamp_of(path)[0]
                if size > most_bytes:
                    raise ChangedTextError(f"{folder} has more than {most_bytes:,} bytes of text")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _holds_models(names: list[str]) -> bool:
    return any(name.endswith(".safetensors") for name in names)


def _unreadable(path: Path, error: OSError) -> CharlstmError:
    return CharlstmError(f"cannot read {path}: {error.strerror or error}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error
