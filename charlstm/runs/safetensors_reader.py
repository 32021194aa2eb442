"""SafetensorsReader: reads safetensors files from strangers; sizes are checked before room is made.

A file is 8 bytes with the length of the header, the header (a JSON object with the type, shape and
place of each array, and texts under `__metadata__`), then the arrays one after the other. The
library safetensors writes such files. To read them it would accept headers of up to 100 MB, and map
the file into memory, where a file that another process shortens ends this one.
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

# The largest header in use has a vocabulary of all characters, in 22 MB. A header takes several
# times its length when it is parsed, and more for each value: hence both limits.
MAX_HEADER = 32 << 20  # bytes
MAX_VALUES = 0x110000 + (1 << 16)  # of JSON: all characters of Unicode, and some for the rest
MAX_DIGITS = 40  # of an integer: the state of a random generator has 128 bits

MAX_ARRAYS, MAX_DIMENSIONS = 1_000, 8
ITEM_BYTES = {"F32": 4, "F64": 8}
NO_CHECKSUM = "0" * 64  # stands in place of the checksum while that is computed


@dataclass(frozen=True)
class Place:
    """The type and shape of an array, and where it lies: bytes start to stop of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SafetensorsReader:
    """An open file whose header has been checked: its arrays fill the rest of it without a gap.

    metadata: the texts of the header. places: the places of the arrays, in the order of the file.

    Raises CharlstmError, ValueError or OSError for a file that is not well-formed.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise CharlstmError("cut short, or not a safetensors file")
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
            raise CharlstmError(f"{size:,} bytes, but the header describes {end:,}")

    def read(self, arrays: Mapping[str, Array], checksum: str) -> None:
        """Read the arrays of all `places` into those given, which have the same names and shapes.

        checksum: the one in the metadata, see insert_checksum. Raises CharlstmError if it differs.
        """
        stored = checksum.encode()
        digest = hashlib.sha256(len(self._header).to_bytes(8, "little"))
        digest.update(self._header.replace(stored, NO_CHECKSUM.encode(), 1))
        for name, place in self.places.items():
            self._file.seek(place.start)
            data = arrays[name].reshape(-1).view(np.uint8).data
            if self._file.readinto(data) != len(data):
                raise CharlstmError("cut short while it was read")
            digest.update(data)
        if digest.hexdigest() != checksum:
            raise CharlstmError("damaged: its checksum differs")


def insert_checksum(content: bytes) -> tuple[bytes, memoryview]:
    """Return the header and the rest of a file, with its checksum in place of NO_CHECKSUM.

    The checksum is the SHA-256 of the file that has NO_CHECKSUM in its place. So it covers names,
    types, shapes, arrays and metadata at once. It serves against damage: a faster sum would find
    that too, but less surely over gigabytes, and recent processors compute a SHA-256 as fast as a
    disk reads.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    if end - 8 > MAX_HEADER:
        raise CharlstmError(f"its header would have {end - 8:,} bytes, at most {MAX_HEADER:,}")
    digest = hashlib.sha256(content).hexdigest()
    header = content[:end].replace(NO_CHECKSUM.encode(), digest.encode(), 1)
    return header, memoryview(content)[end:]


def require_few_values(text: str) -> None:
    """Raise ValueError for a JSON text of more values than strict_json reads."""
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise ValueError("JSON of too many values")


def strict_json(text: str) -> Any:
    """Parse a JSON text of bounded size, with finite numbers and no name twice in an object.

    Raises ValueError for any other text, and RecursionError for one that is nested too deeply.
    """
    require_few_values(text)
    return json.loads(
        text,
        object_pairs_hook=_unique_names,
        parse_int=_bounded_integer,
        parse_float=_finite,
        parse_constant=_finite,
    )


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in a JSON object")
    return found


def _bounded_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a number of too many digits")
    return int(digits)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return value


def _texts(metadata: object) -> dict[str, str]:
    """Return the metadata; CharlstmError unless they are texts by name."""
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CharlstmError("the metadata are not texts by name")
    return metadata


def _place(name: str, entry: object, begin: int) -> Place:
    """Return the place of an array; CharlstmError unless its entry in the header is well-formed.

    begin: the offset of the first array in the file.
    """
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CharlstmError(f"{name!r} is not described as an array")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise CharlstmError(f"{name!r} has no shape or place")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise CharlstmError(f"{name} is {dtype!r}, not F32 or F64")
    start, stop = offsets
    if stop - start != math.prod(shape) * ITEM_BYTES[dtype]:
        raise CharlstmError(f"{name!r} has another size than its shape")
    return Place(dtype, tuple(shape), begin + start, begin + stop)


def _are_sizes(values: object) -> bool:
    """Whether the values are a short list of integers from 0."""
    return (
        isinstance(values, list)
        and len(values) <= MAX_DIMENSIONS
        and all(type(value) is int and value >= 0 for value in values)
    )
