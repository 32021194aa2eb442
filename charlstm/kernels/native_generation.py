"""Sampling from an LSTM in native code, many symbols per call: see native_generate.h."""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.errors import CharlstmError
from charlstm.kernels import native, native_library
from charlstm.kernels.native_team import Teams
from charlstm.system.threads import Workers


class _Generation(ctypes.Structure):
    """The struct Generation of native_generate.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_ssize_t) for name in ("L", "B", "H", "V", "workers", "teams", "steps")),
        *((name, ctypes.c_ssize_t) for name in ("seen", "line_end", "capped")),
        *((name, ctypes.c_void_p) for name in ("temperature", "top_p", "min_p", "top_k")),
        *((name, ctypes.c_void_p) for name in ("by_symbol", "b", "Wx", "Wh", "head_W", "head_b")),
        *((name, ctypes.c_ssize_t) for name in ("ngrams", "R")),
        *((name, ctypes.c_void_p) for name in ("table", "codes", "recent")),
        *((name, ctypes.c_void_p) for name in ("h", "next_h", "c", "ids", "tanh_c", "gates")),
        *((name, ctypes.c_void_p) for name in ("logits", "probabilities", "ranks")),
        *((name, ctypes.c_void_p) for name in ("uniforms", "out", "meetings", "threads")),
        ("patience", ctypes.c_double),
    )


@cache
def generate_functions(mirror: type[ctypes.Structure]) -> tuple[Any, Any]:
    """Return the two C functions that sample; raise CharlstmError if `mirror` does not fit them.

    mirror: the Python copy of the C struct Generation. The size of `mirror` and the offset of its
        last field must equal those of the struct.
    """
    expected = np.empty(2, np.intp)
    layout = native_library.function("generation_layout")
    layout(ctypes.c_void_p(expected.ctypes.data))
    last_field = getattr(mirror, mirror._fields_[-1][0])
    if [ctypes.sizeof(mirror), last_field.offset] != expected.tolist():
        raise CharlstmError(f"the native kernels {native_library.OTHER_VERSION}")
    begin = native_library.function("begin_generation")
    begin.argtypes = [ctypes.c_void_p]
    generate = native_library.function("generate")
    generate.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]
    generate.restype = ctypes.c_int
    return begin, generate


class GenerationWeights:
    """The weights of a float32 LSTM, packed once for any number of NativeGenerations.

    layers: the parameters of each layer: Wx, Wh, b and, above the first layer of a model with skip
        connections, Wi. head: W and b. The parameters are copied: later changes have no effect.
    line_end: the id that clears the state of a model of lines, or -1.
    table (R, V): the n-gram table, not copied; None for a model without n-grams.
    codes (1 + V): the numbers that are hashed: one for "no symbol", then one for each symbol (see
        network/layers/ngrams.py).
    """

    def __init__(
        self,
        config: ModelConfig,
        layers: Sequence[Mapping[str, Array]],
        head: Mapping[str, Array],
        line_end: int,
        *,
        table: Array | None,
        codes: Ids,
    ) -> None:
        L = len(layers)
        self._arrays = _Arrays()
        keep, copy, pointers = self._arrays.keep, self._arrays.copy, self._arrays.pointers
        self.fields: dict[str, int] = {
            "L": L,
            "H": config.hidden,
            "V": len(head["b"]),
            "seen": config.layers_seen,
            "line_end": line_end,
            "capped": int(config.capped),
            "by_symbol": pointers("by_symbol", map(self._by_symbol, range(L), layers)),
            "b": pointers("b", (copy(f"b {k}", w["b"]) for k, w in enumerate(layers))),
            "Wx": pointers("Wx", self._packed_gates("Wx", layers[1:])),
            "Wh": pointers("Wh", self._packed_gates("Wh", layers)),
            "head_W": keep("head_W", native.packed(head["W"], gates=False)),
            "head_b": copy("head_b", head["b"]),
            "ngrams": config.ngrams,
            "R": 0 if table is None else len(table),
            "table": 0 if table is None else keep("table", np.ascontiguousarray(table)),
            "codes": copy("codes", codes, np.uint64),
        }

    def _by_symbol(self, k: int, layer: Mapping[str, Array]) -> int:
        """Return the address of a table (V, 4H) for layer k; 0 if the layer reads no symbols.

        Row v of the table is the sum of the bias and the numbers that symbol v adds to the gates.
        """
        rows = layer.get("Wi") if k else layer["Wx"]
        return 0 if rows is None else self._arrays.copy(f"by_symbol {k}", rows + layer["b"])

    def _packed_gates(self, name: str, layers: Sequence[Mapping[str, Array]]) -> list[int]:
        """Return the addresses of the packed weight matrices `name` of all layers."""
        packed = [native.packed(layer[name], gates=True) for layer in layers]
        return [self._arrays.keep(f"{name} {k}", panels) for k, panels in enumerate(packed)]


class NativeGeneration:
    """Continues B samples in parallel, from given states.

    ids (B): the last symbol of each sample. state (L, 2, B, H): the state before that symbol.
    recent (B, ngrams - 1): the codes of the symbols before the last symbol of each sample, newest
        first. These three arrays are copied.
    workers: the threads. teams: the number of groups of threads with samples of their own. members:
        the number of threads of a team; by default the threads are divided among the teams.
    stays_ready: whether idle threads keep their cores for a moment, for a next call of `run`.
    The other arguments are those of network.sampling.Sampling: a number for all samples, or an
    array (B) with a number for each.

    The ids of a sample depend neither on the threads nor on the other samples: each sum is made in
    the same order for any number of them.
    """

    def __init__(
        self,
        weights: GenerationWeights,
        ids: Ids,
        state: Array,
        recent: Ids,
        *,
        temperature: float | Array,
        top_k: int | Ids,
        top_p: float | Array,
        min_p: float | Array,
        workers: Workers,
        teams: int = 1,
        members: int | None = None,
        stays_ready: bool = True,
    ) -> None:
        (B,), L, H, V = ids.shape, *(weights.fields[name] for name in "LHV")
        threads = teams * (members or workers.count // teams)
        self._count, self._weights, self._arrays = B, weights, _Arrays()
        self._workers, self._teams = workers, Teams(threads, teams)
        keep, copy = self._arrays.keep, self._arrays.copy

        def each(name: str, numbers: Any, dtype: type = np.float64) -> int:
            return copy(name, np.broadcast_to(numbers, B), dtype)

        def scratch(name: str, *shape: int, dtype: type = np.float32) -> int:
            return keep(name, np.empty(shape, dtype))

        self._struct = _Generation(
            B=B,
            workers=threads,
            teams=teams,
            temperature=each("temperature", temperature),
            top_k=each("top_k", top_k, np.int64),
            top_p=each("top_p", top_p),
            min_p=each("min_p", min_p),
            recent=copy("recent", recent, np.uint64),
            h=copy("h", state[:L, 0].swapaxes(0, 1)),
            next_h=scratch("next_h", B, L, H),
            c=copy("c", state[:L, 1]),
            ids=copy("ids", ids, np.int64),
            tanh_c=scratch("tanh_c", B, H),
            gates=scratch("gates", B, 4 * H),
            logits=scratch("logits", B, V),
            probabilities=scratch("probabilities", threads, V, dtype=np.float64),
            ranks=scratch("ranks", threads, V, 2, dtype=np.float64),
            patience=self._teams.patience if stays_ready else 0.0,
            **weights.fields,
        )
        for name, array in self._teams.arrays.items():
            setattr(self._struct, name, keep(name, array))
        self._begin, self._generate = generate_functions(_Generation)

    def run(self, steps: int, uniforms: Array) -> Ids:
        """Return the next ids (steps, B), drawn with uniform numbers (steps, B).

        At temperature 0, the uniform numbers have no effect.
        """
        out = np.empty((steps, self._count), np.int64)
        self._struct.steps = steps
        self._struct.uniforms = self._arrays.copy("uniforms", uniforms, np.float64)
        self._struct.out = self._arrays.keep("out", out)
        self._workers.run_together(
            lambda: self._teams.begin(self._begin, self._struct),
            lambda worker: self._teams.run(self._generate, self._struct, worker),
            self._teams.stop,
        )
        return out

    def states(self) -> tuple[Array, Ids]:
        """Return the state (L, 2, B, H) before the last symbols, and the recent codes."""
        kept = self._arrays.kept
        # Each step swaps h and next_h.
        h = kept["h"] if self._struct.h == kept["h"].ctypes.data else kept["next_h"]
        return np.stack((h.swapaxes(0, 1), kept["c"]), axis=1), kept["recent"].copy()


class _Arrays:
    """Arrays that live as long as this object, because C code has their addresses."""

    def __init__(self) -> None:
        self.kept: dict[str, Array] = {}

    def keep(self, name: str, array: Array) -> int:
        """Return the address of an array; keep the array."""
        self.kept[name] = array
        return array.ctypes.data

    def copy(self, name: str, array: Array, dtype: type = np.float32) -> int:
        """Return the address of a contiguous copy of an array."""
        return self.keep(name, np.array(array, dtype, order="C"))

    def pointers(self, name: str, addresses: Iterable[int]) -> int:
        """Return the address of an array of the given addresses."""
        return self.copy(f"pointers to {name}", np.array(list(addresses), np.uint64), np.uint64)
