"""SafetensorsReader: reads safetensors files from untrusted sources, in bounded memory.

A safetensors file consists of 8 bytes with the length of the header, the header (a JSON object with
the type, shape and place of each array, and strings under `__metadata__`), then the arrays one
after the other. charlstm writes safetensors files with the safetensors library, but does not use
the library to read files: the library accepts headers of up to 100 MB, and maps the file into
memory. If another process shortens a mapped file, the system kills the process that reads the file.
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

# A header with a vocabulary of all Unicode characters has 22 MB: no valid header is much larger.
# Parsing a header takes memory of several times its length, and additional memory for each JSON
# value. Both MAX_HEADER and MAX_VALUES are needed to limit the memory.
MAX_HEADER = 32 << 20  # The header of a file may have at most this many bytes.
# A JSON text may have one value for each character of Unicode, and 65,536 other values.
MAX_VALUES = 0x110000 + (1 << 16)
MAX_DIGITS = 40  # States of random generators are integers of 128 bits, which have 39 digits.

MAX_ARRAYS, MAX_DIMENSIONS = 1_000, 8
ITEM_BYTES = {"F16": 2, "F32": 4, "F64": 8}
NO_CHECKSUM = "0" * 64  # These zeros stand for the checksum while the checksum is computed.


@dataclass(frozen=True)
class Place:
    """The type and shape of an array, and its place: the bytes `start` to `stop` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class SafetensorsReader:
    """An open safetensors file whose header has been checked.

    The arrays that the header describes fill the rest of the file without a gap.

    metadata: the strings under `__metadata__` in the header, by name.
    places: the type, shape and place of each array by name, in the order of the file.

    Raises CharlstmError for a file that is not well-formed, OSError if it cannot be read.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise CharlstmError("the file is cut short, or not a safetensors file")
        if length > MAX_HEADER:
            raise CharlstmError(f"the header has {length:,} bytes, at most {MAX_HEADER:,} are read")
        self._header = file.read(length)
        if not self._header.isascii():
            raise CharlstmError("the header of the file is not of ASCII characters")
        header = strict_json(self._header.decode("ascii"))
        if not isinstance(header, dict):
            raise CharlstmError("the header of the file is no JSON object")
        self.metadata = _checked_metadata(header.pop("__metadata__", {}))
        if len(header) > MAX_ARRAYS:
            raise CharlstmError(
                f"the file has {len(header):,} arrays, at most {MAX_ARRAYS:,} are read"
            )
        begin = 8 + length
        found = {name: _place(name, entry, begin) for name, entry in header.items()}
        self.places = dict(sorted(found.items(), key=lambda item: (item[1].start, item[1].stop)))
        end = begin
        for name, place in self.places.items():
            if place.start != end:
                raise CharlstmError(
                    f"the array {name!r} does not begin where the array before it ends"
                )
            end = place.stop
        if end != size:
            raise CharlstmError(f"the file has {size:,} bytes, but the header describes {end:,}")

    def read(self, arrays: Mapping[str, Array], checksum: str) -> None:
        """Read all arrays of the file into the given arrays of the same names, shapes and types.

        checksum: the checksum in the file's metadata (see insert_checksum). Raises CharlstmError if
            the content of the file has another checksum.
        """
        stored = checksum.encode()
        digest = hashlib.sha256(len(self._header).to_bytes(8, "little"))
        digest.update(self._header.replace(stored, NO_CHECKSUM.encode(), 1))
        for name, place in self.places.items():
            self._file.seek(place.start)
            data = arrays[name].reshape(-1).view(np.uint8).data
            if self._file.readinto(data) != len(data):
                raise CharlstmError("the file was cut short while it was read")
            digest.update(data)
        if digest.hexdigest() != checksum:
            raise CharlstmError(
                "the file is damaged: its checksum differs from the checksum in its metadata"
            )


def insert_checksum(content: bytes) -> tuple[bytes, memoryview]:
    """Replace NO_CHECKSUM in the content of a file by the checksum; return the header and the rest.

    The checksum is the SHA-256 of the content with NO_CHECKSUM in place of the checksum. The
    checksum covers names, types, shapes, arrays and metadata, and detects damage, but not forgery.
    A faster checksum would detect damage of large files less surely. Recent processors compute a
    SHA-256 as fast as a disk reads.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    if end - 8 > MAX_HEADER:
        raise CharlstmError(
            f"the header of the file would have {end - 8:,} bytes, but at most {MAX_HEADER:,} "
            "can be read again"
        )
    digest = hashlib.sha256(content).hexdigest()
    header = content[:end].replace(NO_CHECKSUM.encode(), digest.encode(), 1)
    return header, memoryview(content)[end:]


def require_few_values(text: str) -> None:
    """Raise CharlstmError for a JSON text of more values than strict_json reads."""
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise CharlstmError("the JSON text has too many values")


def strict_json(text: str) -> Any:
    """Parse a JSON text in which all numbers are finite and no object has a name twice.

    Raises CharlstmError if the text is not valid JSON, has a number that is not finite or an object
    with a name twice, has more than MAX_VALUES values, or is nested too deeply.
    """
    require_few_values(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_names,
            parse_int=_bounded_integer,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise CharlstmError(str(error)) from None


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in a JSON object")
    return found


def _bounded_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("the JSON text has a number of too many digits")
    return int(digits)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("the JSON text has a number that is not finite")
    return value


def _checked_metadata(metadata: object) -> dict[str, str]:
    """Return the metadata of a file; CharlstmError unless it is a dictionary of strings."""
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CharlstmError("the metadata of the file is not a JSON object of strings")
    return metadata


def _place(name: str, entry: object, begin: int) -> Place:
    """Return the place of an array; CharlstmError unless its entry in the header is well-formed.

    entry: the header's description of the array; a value of any type, as it is not checked yet.
    begin: the offset of the first array in the file, in bytes.
    """
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CharlstmError(f"the header's entry {name!r} does not describe an array")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise CharlstmError(f"the array {name!r} has no valid shape or place in the header")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise CharlstmError(f"the array {name} has type {dtype!r}, not F16, F32 or F64")
    start, stop = offsets
    if stop - start != math.prod(shape) * ITEM_BYTES[dtype]:
        raise CharlstmError(f"the size of the array {name!r} in bytes does not fit its shape")
    return Place(dtype, tuple(shape), begin + start, begin + stop)


def _are_sizes(values: object) -> bool:
    """Whether the values are a list of at most MAX_DIMENSIONS integers, none of them negative."""
    return (
        isinstance(values, list)
        and len(values) <= MAX_DIMENSIONS
        and all(type(value) is int and value >= 0 for value in values)
    )
