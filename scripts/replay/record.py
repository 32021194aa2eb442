#!/usr/bin/env python3
"""Record calls of the native library in a file, for replay.c: record.py FILE.

A file holds calls one after another, each as the structs of replay.c: a Call, its arguments, the
regions (stretches of memory in which arrays and structs lie), the pointers within regions, and the
arrays to compare; then the bytes of each region before the call, and of each compared array after
the call. All integers and addresses have 64 bits; the order of bytes is little-endian.
"""

import ctypes
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer, Vocab
from charlstm.kernels import native_library, native_training
from charlstm.training.native_step import NativeStep

Array = np.ndarray[Any, Any]
SCRATCH = 4_000_000  # bytes: enough for the calls of `cells` in every instruction set
ROOM = 10  # Other instruction sets may need this many times the scratch memory of this machine's.


class Memory:
    """The regions of a call. Arrays that overlap or touch lie in the same region."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        """spans: the address and the size in bytes of each array and struct."""
        self.regions: list[tuple[int, int]] = []
        for start, size in sorted(spans):
            if self.regions and start <= sum(self.regions[-1]):
                first, so_far = self.regions[-1]
                self.regions[-1] = first, max(so_far, start + size - first)
            elif size:
                self.regions.append((start, size))

    def place(self, address: int) -> tuple[int, int]:
        """Return the number of the region of an address, and the offset in it."""
        for k, (start, size) in enumerate(self.regions):
            if start <= address < start + size:
                return k, address - start
        raise ValueError(f"no array lies at {address:#x}")

    def content(self) -> list[bytes]:
        return [ctypes.string_at(start, size) for start, size in self.regions]


def span(array: Array) -> tuple[int, int]:
    return array.ctypes.data, array.nbytes


def recorded(
    name: str,
    rounded: bool,
    workers: int,
    arguments: Sequence[tuple[int, int, int]],
    memory: Memory,
    before: Sequence[bytes],
    pointers: Sequence[tuple[int, int, int, int]],
    results: Sequence[tuple[Array, float]],
) -> bytes:
    """Return a call that was made, in the format of a file. results: arrays and tolerances."""
    counts = len(arguments), len(memory.regions), len(pointers), len(results)
    parts = [struct.pack("<40s6q", name.encode(), rounded, workers, *counts)]
    parts += [struct.pack("<3q", *argument) for argument in arguments]
    parts += [struct.pack("<2q", size, start % 64) for start, size in memory.regions]
    parts += [struct.pack("<4q", *pointer) for pointer in pointers]
    for array, tolerance in results:
        parts.append(struct.pack("<3qd", *memory.place(array.ctypes.data), array.size, tolerance))
    return b"".join([*parts, *before, *(array.tobytes() for array, _ in results)])


def function_call(name: str, numbers: Sequence[int], arrays: Sequence[Array]) -> bytes:
    """Call a float32 function with numbers and arrays, and record it. It may write all arrays."""
    scratch = np.zeros(SCRATCH, np.uint8)
    given = [*arrays, scratch]
    memory = Memory(map(span, given))
    before = memory.content()
    function = native_library.function(name)
    addresses = [array.ctypes.data for array in given]
    function(*map(ctypes.c_ssize_t, numbers), *map(ctypes.c_void_p, addresses))
    arguments = [(0, number, 0) for number in numbers]
    arguments += [(1, *memory.place(address)) for address in addresses]
    results = [(array, 1e-5) for array in arrays]
    return recorded(name, False, 0, arguments, memory, before, [], results)


def cells() -> Iterator[bytes]:
    """Record the functions of a GRU and an RNN, which training calls one by one, and a product."""
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> Array:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    T, B, H = 5, 7, 37
    gates, h, candidate, Wh, bn = (
        draw(*shape) for shape in ((T, B, 3 * H), (T + 1, B, H), (T, B, H), (H, 3 * H), (H,))
    )
    yield function_call("gru_forward", (T, B, H), (gates, h, candidate, Wh, bn))
    dh, dh_out = draw(B, H), draw(T, B, H)
    yield function_call("gru_backward", (T, B, H), (gates, dh, dh_out, h, candidate, Wh))
    a, h, Wh = draw(T, B, H), draw(T + 1, B, H), draw(H, H)
    yield function_call("rnn_forward", (T, B, H), (a, h, Wh))
    yield function_call("rnn_backward", (T, B, H), (a, draw(B, H), dh_out, h, Wh))
    x, W, b, out = draw(B, H), draw(H, 131), draw(131), draw(B, 131)
    yield function_call("multiply", (B, 131, H, 0, 0), (x, W, b, out))


class Recorder:
    """Stands in the place of a trainer's worker threads, and records the step that they make."""

    def __init__(self, trainer: Trainer) -> None:
        self._step = trainer._step
        assert isinstance(self._step, NativeStep)
        self.count, self._workers, self.call = trainer.workers.count, trainer.workers, b""
        self._step._workers = self  # type: ignore[assignment]

    def run_together(
        self,
        begin: Callable[[], Iterable[int]],
        function: Callable[[int], None],
        stop: Callable[[], None],
    ) -> None:
        """See Workers.run_together."""
        native = self._step._native  # type: ignore[union-attr]
        native.set(patience=0)
        structs = [native._step, *native._layers]
        spans = [(ctypes.addressof(one), ctypes.sizeof(one)) for one in structs]
        memory = Memory([*spans, *map(span, native._kept.values())])
        pointers = [
            (*memory.place(ctypes.addressof(one) + getattr(type(one), name).offset), *place)
            for one in structs
            for name, kind in one._fields_
            if kind is ctypes.c_void_p and (address := getattr(one, name))
            for place in [memory.place(address)]
        ]
        before: list[bytes] = []

        def begin_and_keep() -> Iterable[int]:
            needed = begin()
            before.extend(memory.content())
            return needed

        self._workers.run_together(begin_and_keep, function, stop)
        compared = {"log_probs": 1e-4, "losses": 1e-4, "gradient": 1e-3, "weights": 1e-2}
        compared |= {"state": 1e-4, "table": 1e-3}
        results = [(native._kept[name], tolerance) for name, tolerance in compared.items()]
        argument = (1, *memory.place(ctypes.addressof(native._step)))
        rounded = native._rounded
        if rounded:
            results = [(array, 10 * tolerance) for array, tolerance in results]
        self.call = recorded(
            "train_step", rounded, self.count, [argument], memory, before, pointers, results
        )

    def run(self, function: Callable[[int], None]) -> None:
        self._workers.run(function)


def training_step(precision: str, workers: int, **options: Any) -> bytes:
    """Record a training step of a small LSTM with capped gates and a table of n-grams."""
    vocab = Vocab.from_text("abcdefghijklmnopq")
    config = ModelConfig(hidden=37, layers=2, capped=True, ngrams=3, ngram_slots=512)
    ids = np.random.default_rng(1).integers(0, len(vocab), 3000).astype(np.uint16)
    settings = TrainConfig(
        batch_size=20, seq_length=9, steps=100, precision=precision, workers=workers, **options
    )
    with Trainer(CharModel(config, vocab, seed=1), ids, settings) as trainer:
        for _ in range(5):
            trainer.step()
        recorder = Recorder(trainer)
        trainer.step()
    return recorder.call


def main(path: Path) -> None:
    """Record calls of the native library of this installation."""
    size_of = native_training.native_library.size_of
    native_library.size_of = lambda *words, **isa: ROOM * size_of(*words, **isa)
    calls = [*cells(), training_step("float32", 2, dropout=0.2), training_step("float32", 3)]
    if native_library.bfloat16_set() is not None:
        calls += [training_step("bfloat16", 2, dropout=0.2), training_step("bfloat16", 1)]
    path.write_bytes(b"".join(calls))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
