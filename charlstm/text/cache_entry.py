"""An entry of the cache: the ids of a text and the facts about it, in two files with checksums.

ids.bin     the ids, in the bytes of a NumPy array
facts.json  {"facts": {...}, "checksum": the SHA-256 of the facts}
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlstm.arrays import Ids
from charlstm.system.atomic_files import atomic_write
from charlstm.text.cache import cache_folder, discard, entries
from charlstm.text.decompression import READ_BYTES
from charlstm.text.reading import ReadingProgress
from charlstm.text.vocab import Vocab
from charlstm.untrusted import integer

IDS, FACTS = "ids.bin", "facts.json"
# Ids of at most this size are compared with their checksum whenever the entry is opened, which
# takes up to 0.1 s. Larger ids are compared if their file is newer than the file of the facts.
CHECKED_BYTES = 1 << 26
# Version of the format of entries. The key of an entry depends on the version, so that entries of
# other versions are not found.
CACHE_FORMAT = 5


FACT_NAMES = {"vocab", "file_symbols", "bytes", "changed_line_ends", "ids_type", "ids_checksum"}


class DamagedEntryError(Exception):
    """Raised for an entry that is missing, incomplete, or changed since it was written."""


@dataclass(frozen=True, eq=False)
class EntryFacts:
    """The facts about an encoded text.

    file_symbols: (files,) the number of ids of each file: one for each character, byte or word,
        depending on the level.
    bytes: size of the text in UTF-8; at level "byte", the number of its bytes.
    changed_line_ends: the number of line ends \\r\\n and \\r that were read as \\n.
    """

    vocab: Vocab
    file_symbols: Ids
    bytes: int
    changed_line_ends: int

    @property
    def length(self) -> int:
        """The number of ids of all files."""
        return int(self.file_symbols.sum())

    @property
    def ids_bytes(self) -> int:
        """The size of the ids on disk, in bytes."""
        return self.length * self.vocab.dtype.itemsize


def cache_key(
    digest: str,
    vocab_size: int | None,
    spell_below: float,
    base_vocab: Vocab | None,
    held_out: float = 0,
) -> str:
    """Return the name of the entry for a text: a SHA-256 in hexadecimal.

    digest: the digest of the files' bytes and of the options with which they are read.
    vocab_size, spell_below, base_vocab: the arguments of `open_corpus` that determine the
        vocabulary.
    held_out: the argument of `open_corpus` that determines the order of the ids.
    """
    base = None if base_vocab is None else base_vocab.to_dict()
    facts = [CACHE_FORMAT, digest, vocab_size, float(spell_below), base, float(held_out)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def write_entry(folder: Path, facts: EntryFacts, ids: Iterable[bytes | memoryview]) -> None:
    """Write the files of an entry into a folder. ids: the bytes of the ids, in chunks."""
    digest = hashlib.sha256()
    # On a full disk, writing to an ordinary file raises OSError. Writing to a memory-mapped file
    # would kill the process.
    with (folder / IDS).open("wb") as file:
        for data in ids:
            file.write(data)
            digest.update(data)
        file.flush()
        os.fsync(file.fileno())
    record = {
        "vocab": facts.vocab.to_dict(),
        "file_symbols": facts.file_symbols.tolist(),
        "bytes": facts.bytes,
        "changed_line_ends": facts.changed_line_ends,
        "ids_type": facts.vocab.dtype.str,
        "ids_checksum": digest.hexdigest(),
    }
    with atomic_write(folder / FACTS) as file:
        file.write(json.dumps({"facts": record, "checksum": _checksum(record)}).encode())


def open_entry(entry: Path, check_all: bool = False) -> tuple[EntryFacts, Ids]:
    """Return the facts of an entry, and its ids, which are read-only and mapped from disk.

    facts.json must have the checksum that it records, and ids.bin the size that follows from the
    facts. The checksum of ids.bin is compared too if the file has at most CHECKED_BYTES, or if the
    file was modified after facts.json was written.

    check_all: whether to check the checksum of all ids.

    Raises DamagedEntryError if the entry is missing or fails a check.
    """
    try:
        record = _read_facts(entry / FACTS)
        facts = EntryFacts(
            vocab=Vocab.from_dict(record["vocab"]),
            file_symbols=np.array(record["file_symbols"], np.int64),
            bytes=integer(record, "bytes"),
            changed_line_ends=integer(record, "changed_line_ends"),
        )
        path = entry / IDS
        # The ids may come from a machine of another byte order.
        if record["ids_type"] != facts.vocab.dtype.str:
            raise DamagedEntryError(f"{path}: the ids are of type {record['ids_type']}")
        status = path.stat()
        if status.st_size != facts.ids_bytes:
            raise DamagedEntryError(
                f"{path}: the size of the file is not {facts.ids_bytes:,} bytes"
            )
        # The facts are written after the ids.
        is_modified = status.st_mtime_ns > (entry / FACTS).stat().st_mtime_ns
        is_checked = check_all or is_modified or facts.ids_bytes <= CHECKED_BYTES
        if is_checked and _file_checksum(path) != record["ids_checksum"]:
            raise DamagedEntryError(f"{path}: the ids do not have the recorded checksum")
        if is_modified:
            # Copying a cache can make ids.bin newer than facts.json without damage. The ids have
            # just passed their check. If facts.json is given the present time, later calls need
            # not repeat the check.
            with suppress(OSError):
                os.utime(entry / FACTS)
        mapped = np.memmap(path, facts.vocab.dtype, "r", shape=(facts.length,))
    except OSError as error:
        raise DamagedEntryError(f"{entry}: {error.strerror or error}") from error
    # The view is a plain array: taking a slice of it is faster than of an np.memmap.
    return facts, mapped.view(np.ndarray)


def remove_damaged_entries(progress: ReadingProgress | None = None) -> tuple[int, int]:
    """Compare all entries of the cache with their checksums, and remove the damaged entries.

    progress: called as progress(done, total, "checking"), where done and total count entries.

    Returns the number of undamaged entries and the number of removed entries.
    """
    found = entries(cache_folder())
    removed = 0
    for number, entry in enumerate(found, start=1):
        try:
            open_entry(entry, check_all=True)
        except DamagedEntryError:
            discard(entry)
            removed += 1
        if progress is not None:
            progress(number, len(found), "checking")
    return len(found) - removed, removed


def _read_facts(path: Path) -> dict[str, Any]:
    """Return the facts in a file; DamagedEntryError if they are damaged or of another version."""
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedEntryError(f"{path}: the file is not JSON") from error
    facts = record.get("facts") if isinstance(record, dict) else None
    if not isinstance(facts, dict) or record.get("checksum") != _checksum(facts):
        raise DamagedEntryError(f"{path}: the facts do not have the recorded checksum")
    if facts.keys() != FACT_NAMES:
        raise DamagedEntryError(f"{path}: another version of charlstm wrote the facts")
    return facts


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _file_checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
    return digest.hexdigest()
