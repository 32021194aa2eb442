"""Kinds of damage to a checkpoint file, for damaged_checkpoints.py.

Each kind of damage is a function of a random generator and an undamaged checkpoint. The function
returns the bytes of a damaged file. KINDS lists all of these functions.
"""

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from charlstm.runs.safetensors_reader import MAX_HEADER, MAX_VALUES, NO_CHECKSUM, insert_checksum

# JSON values of every type and of extreme sizes, which replace valid values.
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**39, 10**50, 0.5,
    -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), "", "x", "1", "NaN", "\x1b[2J", "\0",
    "\ud800", "/dev/zero", "a" * 3000, [], [1, 2, 3], [[]], ["x"], {}, {"a": 1}, {"": {"": {}}},
]  # fmt: skip


class Original(NamedTuple):
    """An undamaged checkpoint, parsed."""

    name: str  # the name of the file
    content: bytes  # the bytes of the whole file
    header: dict[str, Any]  # the entries of the arrays, without the metadata
    metadata: dict[str, Any]  # the metadata, with NO_CHECKSUM in place of the checksum
    body: bytes  # the bytes of the arrays


def parse(name: str, content: bytes) -> Original:
    """Parse the content of an undamaged checkpoint file."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    metadata = json.loads(header.pop("__metadata__")["charlstm"])
    return Original(name, content, header, {**metadata, "checksum": NO_CHECKSUM}, content[end:])


def with_checksum(metadata: dict[str, Any], header: dict[str, Any] | str, body: bytes) -> bytes:
    """Assemble a file with a correct checksum, as an attacker would.

    header: the entries of the arrays, or their JSON text without the outer braces. A file whose
    header is above the limit of the reader gets no checksum.
    """
    own = {"charlstm": json.dumps(metadata, sort_keys=True)}
    entries = header if isinstance(header, str) else json.dumps(header)[1:-1]
    text = f'{{"__metadata__": {json.dumps(own)}, {entries}}}'.encode("utf-8", "replace")
    content = len(text).to_bytes(8, "little") + text + body
    return content if len(text) > MAX_HEADER else b"".join(insert_checksum(content))


def _copied(value: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(value))
    return copy


# -- damage to the bytes of the file, whose checksum is then wrong --------------------------------


def bits(rng: random.Random, o: Original) -> bytes:
    """Flip a few bits anywhere in the file."""
    return _flip_bits(rng, o.content, 0, len(o.content))


def header_bits(rng: random.Random, o: Original) -> bytes:
    """Flip a few bits in the header or its length."""
    return _flip_bits(rng, o.content, 0, len(o.content) - len(o.body))


def _flip_bits(rng: random.Random, content: bytes, start: int, stop: int) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(start, stop)] ^= 1 << rng.randrange(8)
    return bytes(data)


def overwritten(rng: random.Random, o: Original) -> bytes:
    """Overwrite a stretch of the file with random bytes or zeros."""
    data = bytearray(o.content)
    start, length = rng.randrange(len(data)), rng.choice((1, 4, 64, 4096))
    data[start : start + length] = rng.choice((rng.randbytes(length), bytes(length)))
    return bytes(data[: len(o.content)])


def truncated(rng: random.Random, o: Original) -> bytes:
    """Cut off the end of the file: in the header, at the end of an array, or anywhere."""
    begin = len(o.content) - len(o.body)
    border = begin + rng.choice([entry["data_offsets"][1] for entry in o.header.values()])
    end = rng.choice((rng.randrange(17), rng.randrange(begin), rng.randrange(len(o.content))))
    return o.content[: rng.choice((end, begin, border, border - 1, len(o.content) - 1))]


def lengthened(rng: random.Random, o: Original) -> bytes:
    """Insert bytes at the end or anywhere."""
    more = rng.choice((b"\0", bytes(4096), o.content, o.body, rng.randbytes(rng.randrange(1, 99))))
    place = rng.choice((len(o.content), rng.randrange(len(o.content))))
    return o.content[:place] + more + o.content[place:]


def shortened(rng: random.Random, o: Original) -> bytes:
    """Remove up to 98 bytes anywhere."""
    start = rng.randrange(len(o.content))
    return o.content[:start] + o.content[start + rng.randrange(1, 99) :]


def header_length(rng: random.Random, o: Original) -> bytes:
    """Write a wrong length of the header: nearly right, random or huge."""
    true = int.from_bytes(o.content[:8], "little")
    near = true + rng.randrange(-9, 10)
    length = rng.choice((0, 1, near, rng.randrange(2**20), rng.randrange(2**64), 2**64 - 1))
    return length.to_bytes(8, "little") + o.content[8:]


# -- damage under a correct checksum --------------------------------------------------------------


def header_values(rng: random.Random, o: Original) -> bytes:
    """Give one array another shape, type or place in the header."""
    header = _copied(o.header)
    name = rng.choice(list(header))
    entry = header[name]
    shape, (start, stop) = entry["shape"], entry["data_offsets"]
    changes: list[tuple[str, Any]] = [
        ("dtype", rng.choice(["F16", "F64", "F32", "I64", "U8", "f32", *VALUES])),
        ("shape", rng.choice(VALUES)),
        ("shape", [*shape, rng.choice(VALUES)]),
        ("shape", [2**32, 2**32]),
        ("shape", [2**62, 4, *shape]),
        ("shape", shape[::-1] if len(set(shape)) > 1 else [0]),
        ("data_offsets", rng.choice(VALUES)),
        ("data_offsets", [rng.choice(VALUES), stop]),
        ("data_offsets", [start, rng.choice(VALUES)]),
        ("data_offsets", [start + 4, stop + 4]),
        ("data_offsets", [stop, start]),
        ("data_offsets", [float(start), stop + 0.5]),
        ("data_offsets", [0, len(o.body)]),
        ("code", rng.choice(VALUES)),
    ]
    key, value = rng.choice(changes)
    if value == entry.get(key):
        value = None
    entry[key] = value
    return with_checksum(o.metadata, header, o.body)


def header_entries(rng: random.Random, o: Original) -> bytes:
    """Remove, rename, duplicate or replace the entry of an array, or nest brackets deeply."""
    header = _copied(o.header)
    name, other = rng.sample(list(header), 2)
    choice = rng.randrange(7)
    if choice == 0:
        del header[name]
    elif choice == 1:
        header[rng.choice(("x", "", "training.x", "\0", name + " "))] = header.pop(name)
    elif choice == 2:
        header[name] = header[other]
    elif choice == 3:
        header["training.more"] = header[name]
    elif choice == 4:
        header[name] = rng.choice(VALUES)
    text = json.dumps(header)[1:-1]
    if choice == 5:
        text += f", {json.dumps(name)}: {json.dumps(header[name])}"
    elif choice == 6:
        text = "[" * rng.choice((10, 1000, 100_000)) + text
    return with_checksum(o.metadata, text, o.body)


def metadata(rng: random.Random, o: Original) -> bytes:
    """Change or remove a value of the model, the vocabulary, the summary, or the format number."""
    return _change_metadata(rng, o, rng.choice(("format", "model", "vocab", "summary", "checksum")))


def training(rng: random.Random, o: Original) -> bytes:
    """Change or remove a value of the training state, which only resumption reads."""
    return _change_metadata(rng, o, "training")


def _change_metadata(rng: random.Random, o: Original, key: str) -> bytes:
    """Replace, remove or add a value at a random depth below `key`."""
    changed = _copied(o.metadata)
    parent: Any = changed
    inside: Any = key
    while isinstance(parent[inside], dict | list):
        deeper = parent[inside]
        keys = list(deeper) if isinstance(deeper, dict) else list(range(len(deeper)))
        if not keys or rng.random() < 0.1:
            break
        parent, inside = deeper, rng.choice(keys)
    if rng.random() < 0.1 and isinstance(parent, dict):
        del parent[inside]
    elif rng.random() < 0.1 and isinstance(parent, dict):
        parent[rng.choice(("more", "", "\x1b"))] = rng.choice(VALUES)
    else:
        parent[inside] = rng.choice(VALUES)
    return with_checksum(changed, o.header, o.body)


def weights(rng: random.Random, o: Original) -> bytes:
    """Put infinities or NaN into the arrays."""
    data = bytearray(o.body)
    for _ in range(rng.choice((1, 3))):
        place = 4 * rng.randrange(len(data) // 4)
        data[place : place + 4] = rng.choice((b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\1\0\xc0\x7f"))
    return with_checksum(o.metadata, o.header, bytes(data))


def sizes(rng: random.Random, o: Original) -> bytes:
    """Write the config of a model, or a vocabulary, whose size differs from that of the arrays."""
    changed = _copied(o.metadata)
    if rng.random() < 0.5:
        changed["model"] |= {"hidden": rng.choice((7, 16_384)), "layers": rng.choice((1, 3, 64))}
    else:
        count = rng.choice((1, 2, 3, 300, 20_000))
        symbols = [chr(k) for k in range(count)]
        symbols = rng.choice((symbols, symbols[::-1], symbols * 2, ["ab", *symbols]))
        changed["vocab"] = {"level": rng.choice(("char", "word", "byte")), "symbols": symbols}
    return with_checksum(changed, o.header, o.body)


def large(rng: random.Random, o: Original) -> bytes:
    """Write a header of megabytes, near the limits of the reader."""
    values, room = MAX_VALUES - 1000, MAX_HEADER - 100_000
    changed = dict(o.metadata)
    choice = rng.randrange(8)
    if choice == 0:
        changed["vocab"] = {"level": "char", "symbols": [chr(k) for k in range(0x110000)]}
    elif choice == 1:
        changed["vocab"] = {"level": "word", "symbols": [f"{k:015}" for k in range(1_000_000)]}
    elif choice == 2:
        changed["summary"] = {"more": [{}] * (values // 2)}
    elif choice == 3:
        changed["training"] = {"config": [[]] * (values // 2)}
    elif choice == 4:
        changed["summary"] = {"more": "x" * room}
    elif choice == 5:
        entry = {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
        return with_checksum(changed, {f"{k}": entry for k in range(190_000)}, o.body)
    elif choice == 6:
        return with_checksum(changed, {"x" * room: o.header}, o.body)
    else:
        return with_checksum(changed, " " * (MAX_HEADER + rng.randrange(2)), o.body)
    return with_checksum(changed, o.header, o.body)


Damage = Callable[[random.Random, Original], bytes]

# How often each kind of damage is chosen, relative to the others. `large` is rare, because its
# files have megabytes and take long to make.
KINDS: dict[Damage, float] = {
    bits: 2, header_bits: 2, overwritten: 1, truncated: 1, lengthened: 1, shortened: 1,
    header_length: 1, header_values: 2, header_entries: 2, metadata: 2, training: 2, weights: 1,
    sizes: 0.5, large: 0.1,
}  # fmt: skip
# The kinds of damage after which a file may be valid. A valid file is read with the changed values.
MAY_BE_VALID = (metadata, training, sizes)
