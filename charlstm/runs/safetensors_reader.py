"""Reads safetensors files that may come from anyone: sizes are checked before room is made.

A file is 8 bytes with the length of the header, the header (a JSON object: for each array its
type, shape and place; under `__metadata__` texts), then the arrays one after the other. The
library of the same name serves to write them. To read, it would take headers of up to 100 MB and
map the file into memory, where a file that is cut short meanwhile ends the process.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np

from charlstm.arrays import Array
from charlstm.errors import CharlstmError

# The largest header of use has a vocabulary of all characters, in 22 MB. Parsed, a header takes
# several times its length, and what is made of each value in it even more: hence both limits.
MAX_HEADER = 32 << 20  # bytes
MAX_VALUES = 0x110000 + (1 << 16)  # in JSON: all characters, and some for the rest
MAX_DIGITS = 40  # of a whole number: the state of a random generator has 128 bits

MAX_ARRAYS, MAX_DIMENSIONS = 1_000, 8
ITEM_SIZES = {"F32": 4, "F64": 8}
NO_CHECKSUM = "0" * 64  # what stands in its place while it is computed


@dataclass(frozen=True)
class Place:
    """Where an array lies: bytes start to stop of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SafetensorsReader:
    """An open file whose header holds good: its arrays fill the rest of it without a gap.

    metadata: the texts of the header. places: by name, in the order of the file.

    Raises CharlstmError, ValueError or OSError for a file that is not as it should be.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise CharlstmError("cut short, or of another kind")
        if length > MAX_HEADER:
            raise CharlstmError(f"a header of {length:,} bytes, at most {MAX_HEADER:,} are read")
        self._header = file.read(length)
        if not self._header.isascii():
            raise CharlstmError("the header is not of ASCII characters")
        header = strict_json(self._header.decode("ascii"))
        if not isinstance(header, dict):
            raise CharlstmError("the header is no JSON object")
        self.metadata = _texts(header.pop("__metadata__", {}))
        if len(header) > MAX_ARRAYS:
            raise CharlstmError(f"{len(header):,} arrays, at most {MAX_ARRAYS:,} are read")
        begin = 8 + length
        found = {name: _place(name, entry, begin) for name, entry in header.items()}
        self.places = dict(sorted(found.items(), key=lambda item: (item[1].start, item[1].stop)))
        end = begin
        for name, place in self.places.items():
            if place.start != end:
                raise CharlstmError(f"{name!r} is not where the array before it ends")
            end = place.stop
        if end != size:
            raise CharlstmError(f"{size:,} bytes, but the header tells of {end:,}")

    def read(self, arrays: Mapping[str, Array], checksum: str) -> None:
        """Read all arrays into those given, one for each of `places` and of its shape.

        checksum: the one in the metadata, see `checksummed`.
        """
        stored = checksum.encode()
        whole = hashlib.sha256(len(self._header).to_bytes(8, "little"))
        whole.update(self._header.replace(stored, NO_CHECKSUM.encode(), 1))
        for name, place in self.places.items():
            self._file.seek(place.start)
            data = arrays[name].reshape(-1).view(np.uint8).data
            if self._file.readinto(data) != len(data):
                raise CharlstmError("cut short while it was read")
            whole.update(data)
        if whole.hexdigest() != checksum:
            raise CharlstmError("damaged: its checksum differs")


def checksummed(content: bytes) -> tuple[bytes, memoryview]:
    """The header and the rest of a file in which NO_CHECKSUM, where it first stands, is replaced.

    The checksum is the SHA-256 of the whole file with NO_CHECKSUM in its place: it covers names,
    types, shapes, arrays and metadata at once. It is there against damage, which a faster sum would
    show as well, but not as surely over gigabytes; recent processors compute it as fast as a disk
    reads.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    if end - 8 > MAX_HEADER:
        raise CharlstmError(f"its header would have {end - 8:,} bytes, at most {MAX_HEADER:,}")
    digest = hashlib.sha256(content).hexdigest()
    header = content[:end].replace(NO_CHECKSUM.encode(), digest.encode(), 1)
    return header, memoryview(content)[end:]


def require_few_values(text: str) -> None:
    """ValueError for a JSON text that strict_json would not read."""
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise ValueError("JSON of too many values")


def strict_json(text: str) -> Any:
    """What a JSON text holds, of bounded size: finite numbers, and no name twice in an object.

    Raises ValueError, or RecursionError for what is nested too deeply.
    """
    require_few_values(text)
    return json.loads(
        text,
        object_pairs_hook=_unique,
        parse_int=_whole,
        parse_float=_finite,
        parse_constant=_finite,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in a JSON object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a number of too many digits")
    return int(digits)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return value


def _texts(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CharlstmError("the metadata are not texts by name")
    return metadata


def _place(name: str, entry: object, begin: int) -> Place:
    """Where an entry of the header says that its array lies, if its size fits its shape."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CharlstmError(f"{name!r} is not described as an array")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_whole_numbers(shape) and _whole_numbers(offsets) and len(offsets) == 2):
        raise CharlstmError(f"{name!r} has no shape or place")
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise CharlstmError(f"{name} is {dtype!r}, not F32 or F64")
    start, stop = offsets
    if stop - start != math.prod(shape) * ITEM_SIZES[dtype]:
        raise CharlstmError(f"{name!r} has another size than its shape")
    return Place(dtype, tuple(shape), begin + start, begin + stop)


def _whole_numbers(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= MAX_DIMENSIONS
        and all(type(value) is int and value >= 0 for value in values)
    )
