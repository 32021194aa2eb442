"""The kinds of damage that scripts/mutate_checkpoints does to checkpoints."""

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from charlstm.tensorfile import MAX_HEADER, MAX_VALUES, NO_CHECKSUM, checksummed

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**39, 10**50, 0.5,
    -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), "", "x", "1", "NaN", "\x1b[2J", "\0",
    "\ud800", "/dev/zero", "a" * 3000, [], [1, 2, 3], [[]], ["x"], {}, {"a": 1}, {"": {"": {}}},
]  # fmt: skip


def take_apart(name: str, content: bytes) -> "Original":
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    about = json.loads(header.pop("__metadata__")["charlstm"])
    return Original(name, content, header, {**about, "checksum": NO_CHECKSUM}, content[end:])


class Original(NamedTuple):
    """A checkpoint as it was written, and what is to be read from it."""

    name: str
    content: bytes
    header: dict[str, Any]  # of the arrays alone
    about: dict[str, Any]  # with NO_CHECKSUM
    body: bytes


# A kind of damage takes a generator of random numbers and the original.
Damage = Callable[[random.Random, Original], bytes]


def bits(rng: random.Random, o: Original) -> bytes:
    return flipped(rng, o.content, 0, len(o.content))


def header_bits(rng: random.Random, o: Original) -> bytes:
    return flipped(rng, o.content, 0, len(o.content) - len(o.body))


def flipped(rng: random.Random, content: bytes, start: int, stop: int) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(start, stop)] ^= 1 << rng.randrange(8)
    return bytes(data)


def overwritten(rng: random.Random, o: Original) -> bytes:
    data = bytearray(o.content)
    start, length = rng.randrange(len(data)), rng.choice((1, 4, 64, 4096))
    data[start : start + length] = rng.choice((rng.randbytes(length), bytes(length)))
    return bytes(data[: len(o.content)])


def truncated(rng: random.Random, o: Original) -> bytes:
    begin = len(o.content) - len(o.body)
    border = begin + rng.choice([entry["data_offsets"][1] for entry in o.header.values()])
    end = rng.choice((rng.randrange(17), rng.randrange(begin), rng.randrange(len(o.content))))
    return o.content[: rng.choice((end, begin, border, border - 1, len(o.content) - 1))]


def lengthened(rng: random.Random, o: Original) -> bytes:
    more = rng.choice((b"\0", bytes(4096), o.content, o.body, rng.randbytes(rng.randrange(1, 99))))
    place = rng.choice((len(o.content), rng.randrange(len(o.content))))
    return o.content[:place] + more + o.content[place:]


def shortened(rng: random.Random, o: Original) -> bytes:
    start = rng.randrange(len(o.content))
    return o.content[:start] + o.content[start + rng.randrange(1, 99) :]


def header_length(rng: random.Random, o: Original) -> bytes:
    true = int.from_bytes(o.content[:8], "little")
    near = true + rng.randrange(-9, 10)
    length = rng.choice((0, 1, near, rng.randrange(2**20), rng.randrange(2**64), 2**64 - 1))
    return length.to_bytes(8, "little") + o.content[8:]


def header_values(rng: random.Random, o: Original) -> bytes:
    """An entry of the header that tells another shape, type or place."""
    header = json.loads(json.dumps(o.header))
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
    return sealed(o.about, header, o.body)


def header_entries(rng: random.Random, o: Original) -> bytes:
    """Arrays that are missing, renamed, doubled or no arrays at all."""
    header = json.loads(json.dumps(o.header))
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
    return sealed(o.about, text, o.body)


def metadata(rng: random.Random, o: Original) -> bytes:
    """Some value within model, vocab or progress, or one of them, is another or gone."""
    return with_damage(rng, o, rng.choice(("format", "model", "vocab", "progress", "checksum")))


def training(rng: random.Random, o: Original) -> bytes:
    """Some value that training goes on from is another or gone."""
    return with_damage(rng, o, "training")


def with_damage(rng: random.Random, o: Original, key: str) -> bytes:
    about = json.loads(json.dumps(o.about))
    place: Any = about
    inside: Any = key
    while isinstance(place.get(inside) if isinstance(place, dict) else place[inside], dict | list):
        deeper = place[inside]
        names = list(deeper) if isinstance(deeper, dict) else list(range(len(deeper)))
        if not names or rng.random() < 0.1:
            break
        place, inside = deeper, rng.choice(names)
    if rng.random() < 0.1 and isinstance(place, dict):
        del place[inside]
    elif rng.random() < 0.1 and isinstance(place, dict):
        place[rng.choice(("more", "", "\x1b"))] = rng.choice(VALUES)
    else:
        place[inside] = rng.choice(VALUES)
    return sealed(about, o.header, o.body)


def weights(rng: random.Random, o: Original) -> bytes:
    """Numbers that are none, in any of the arrays."""
    data = bytearray(o.body)
    for _ in range(rng.choice((1, 3))):
        place = 4 * rng.randrange(len(data) // 4)
        data[place : place + 4] = rng.choice((b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\1\0\xc0\x7f"))
    return sealed(o.about, o.header, bytes(data))


def sizes(rng: random.Random, o: Original) -> bytes:
    """A config or a vocabulary that asks for more than the file has."""
    about = json.loads(json.dumps(o.about))
    if rng.random() < 0.5:
        about["model"] |= {"hidden": rng.choice((7, 16_384)), "layers": rng.choice((1, 3, 64))}
    else:
        count = rng.choice((1, 2, 3, 300, 20_000))
        symbols = [chr(k) for k in range(count)]
        symbols = rng.choice((symbols, symbols[::-1], symbols * 2, ["ab", *symbols]))
        about["vocab"] = {"level": rng.choice(("char", "word", "byte")), "symbols": symbols}
    return sealed(about, o.header, o.body)


def large(rng: random.Random, o: Original) -> bytes:
    """A header of megabytes."""
    values, room = MAX_VALUES - 1000, MAX_HEADER - 100_000
    about = dict(o.about)
    choice = rng.randrange(8)
    if choice == 0:
        about["vocab"] = {"level": "char", "symbols": [chr(k) for k in range(0x110000)]}
    elif choice == 1:
        about["vocab"] = {"level": "word", "symbols": [f"{k:015}" for k in range(1_000_000)]}
    elif choice == 2:
        about["progress"] = {"more": [{}] * (values // 2)}
    elif choice == 3:
        about["training"] = {"config": [[]] * (values // 2)}
    elif choice == 4:
        about["progress"] = {"more": "x" * room}
    elif choice == 5:
        entry = {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
        return sealed(about, {f"{k}": entry for k in range(190_000)}, o.body)
    elif choice == 6:
        return sealed(about, {"x" * room: o.header}, o.body)
    else:
        return sealed(about, " " * (MAX_HEADER + rng.randrange(2)), o.body)
    return sealed(about, o.header, o.body)


def sealed(about: dict[str, Any], header: dict[str, Any] | str, body: bytes) -> bytes:
    """A file of these parts whose checksum is right, where it is to have one."""
    metadata = {"charlstm": json.dumps(about, sort_keys=True)}
    entries = header if isinstance(header, str) else json.dumps(header)[1:-1]
    text = f'{{"__metadata__": {json.dumps(metadata)}, {entries}}}'.encode("utf-8", "replace")
    content = len(text).to_bytes(8, "little") + text + body
    return content if len(text) > MAX_HEADER else b"".join(checksummed(content))


# Each with its part of the files; those of megabytes take long to make.
KINDS: dict[Damage, float] = {
    bits: 2, header_bits: 2, overwritten: 1, truncated: 1, lengthened: 1, shortened: 1,
    header_length: 1, header_values: 2, header_entries: 2, metadata: 2, training: 2, weights: 1,
    sizes: 0.5, large: 0.1,
}  # fmt: skip
SEALED = (metadata, training, sizes)  # which may be read as what they say
