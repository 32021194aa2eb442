"""An entry of the cache: the ids of a text and the facts about it, in two files with checksums.

ids.bin     the ids as they lie in memory
facts.json  {"facts": {...}, "checksum": the SHA-256 of the facts}
"""

import hashlib
import json
import os
from collections.abc import Iterable
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
CHECKED_BYTES = 1 << 26  # the most ids whose checksum is computed at each opening, in 0.1 s

CACHE_FORMAT = 2  # raised whenever the same text would be stored in another way


class DamagedEntryError(Exception):
    """Raised for an entry that is missing, or that is not as it was written."""


@dataclass(frozen=True)
class EntryFacts:
    """The facts about an encoded text.

    characters, train_characters: the number of ids, and of those of the training files.
    bytes: size of the text in UTF-8, or at level "byte" of the bytes themselves.
    """

    vocab: Vocab
    characters: int
    train_characters: int
    bytes: int

    @property
    def ids_bytes(self) -> int:
        """The size of the ids on disk."""
        return self.characters * self.vocab.dtype.itemsize


def cache_key(digest: str, vocab_size: int | None, base_vocab: Vocab | None) -> str:
    """Return the name of the entry for a text: a SHA-256, in hexadecimal.

    digest: the digest of the files and of the options by which they are read.
    vocab_size, base_vocab: as in `open_corpus`.
    """
    facts = [CACHE_FORMAT, digest, vocab_size, None if base_vocab is None else base_vocab.to_dict()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def write_entry(folder: Path, facts: EntryFacts, ids: Iterable[bytes | memoryview]) -> None:
    """Write the files of an entry into a folder. ids: the bytes of the ids, in chunks."""
    digest = hashlib.sha256()
    # On a full disk, writing raises OSError; writing to a mapped file would end the process.
    with (folder / IDS).open("wb") as file:
        for data in ids:
            file.write(data)
            digest.update(data)
        file.flush()
        os.fsync(file.fileno())
    record = {
        "vocab": facts.vocab.to_dict(),
        "characters": facts.characters,
        "train_characters": facts.train_characters,
        "bytes": facts.bytes,
        "ids_type": facts.vocab.dtype.str,
        "ids_checksum": digest.hexdigest(),
    }
    with atomic_write(folder / FACTS) as file:
        file.write(json.dumps({"facts": record, "checksum": _checksum(record)}).encode())


def open_entry(entry: Path, check_all: bool = False) -> tuple[EntryFacts, Ids]:
    """Return the facts of an entry, and its ids, read-only and mapped from disk.

    check_all: whether to check ids of more than CHECKED_BYTES too; of these, the size is always
        checked, as are the facts.

    Raises DamagedEntryError.
    """
    try:
        record = _read_facts(entry / FACTS)
        facts = EntryFacts(
            vocab=Vocab.from_dict(record["vocab"]),
            characters=integer(record, "characters", least=1),
            train_characters=integer(record, "train_characters", least=1),
            bytes=integer(record, "bytes"),
        )
        path = entry / IDS
        if record["ids_type"] != facts.vocab.dtype.str:  # written on a machine of another kind
            raise DamagedEntryError(f"{path}: of type {record['ids_type']}")
        if path.stat().st_size != facts.ids_bytes:
            raise DamagedEntryError(f"{path}: not of {facts.ids_bytes:,} bytes")
        is_checked = check_all or facts.ids_bytes <= CHECKED_BYTES
        if is_checked and _file_checksum(path) != record["ids_checksum"]:
            raise DamagedEntryError(f"{path}: its checksum is wrong")
        mapped = np.memmap(path, facts.vocab.dtype, "r", shape=(facts.characters,))
    except OSError as error:
        raise DamagedEntryError(f"{entry}: {error.strerror or error}") from error
    # A plain array over the mapping: slices of np.memmap are slower to take.
    return facts, mapped.view(np.ndarray)


def remove_damaged_entries(progress: ReadingProgress | None = None) -> tuple[int, int]:
    """Check all entries of the cache with all their checksums, and remove the damaged ones.

    progress: called as progress(done, total, "checking"), in entries.

    Returns the number of entries that are as they were written, and the number of those removed.
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
    """Read the facts and check them against their checksum; raises DamagedEntryError."""
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedEntryError(f"{path}: not JSON") from error
    facts = record.get("facts") if isinstance(record, dict) else None
    if not isinstance(facts, dict) or record.get("checksum") != _checksum(facts):
        raise DamagedEntryError(f"{path}: its checksum is wrong")
    return facts


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _file_checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
    return digest.hexdigest()
