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
        *((name, ctypes.c_ssize_t) for name in ("seen", "top_k", "line_end", "capped")),
        *((name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")),
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


class NativeGeneration:
    """Continues B samples of a float32 LSTM in parallel, from given states.

    layers: the parameters of each layer: Wx, Wh, b and, above the first layer of a model with skip
        connections, Wi. head: W and b. The parameters are copied: later changes have no effect.
    ids (B): the last symbol of each sample. state (L, 2, B, H): the state before that symbol.
    line_end: the id that clears the state of a model of lines, or -1.
    table (R, V): the n-gram table, not copied; None for a model without n-grams.
    codes (1 + V): the numbers that are hashed: one for "no symbol", then one for each symbol (see
        network/layers/ngrams.py).
    recent (B, ngrams - 1): the codes of the symbols before the last symbol of each sample, newest
        first.
    workers: the threads. teams: the number of groups of threads with samples of their own; a
        divisor of the number of threads. The ids depend on neither.
    The other arguments are those of network.sampling.Sampling.
    """

    def __init__(
        self,
        config: ModelConfig,
        layers: Sequence[Mapping[str, Array]],
        head: Mapping[str, Array],
        ids: Ids,
        state: Array,
        line_end: int,
        *,
        table: Array | None,
        codes: Ids,
        recent: Ids,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        workers: Workers,
        teams: int = 1,
    ) -> None:
        L, (B,), H, seen = len(layers), ids.shape, config.hidden, config.layers_seen
        V = len(head["b"])
        self._count, self._kept = B, dict[str, Array]()
        self._workers, self._teams = workers, Teams(workers.count, teams)
        self._struct = _Generation(
            L=L,
            B=B,
            H=H,
            V=V,
            workers=workers.count,
            teams=teams,
            seen=seen,
            top_k=top_k,
            line_end=line_end,
            capped=config.capped,
            temperature=temperature,
            top_p=top_p,
            min_p=min_p,
            by_symbol=self._pointers("by_symbol", map(self._by_symbol, range(L), layers)),
            b=self._pointers("b", (self._copy(f"b {k}", w["b"]) for k, w in enumerate(layers))),
            Wx=self._pointers("Wx", self._packed_gates("Wx", layers[1:])),
            Wh=self._pointers("Wh", self._packed_gates("Wh", layers)),
            head_W=self._keep("head_W", native.packed(head["W"], gates=False)),
            head_b=self._copy("head_b", head["b"]),
            ngrams=config.ngrams,
            R=0 if table is None else len(table),
            table=0 if table is None else self._keep("table", np.ascontiguousarray(table)),
            codes=self._copy("codes", codes, np.uint64),
            recent=self._copy("recent", recent, np.uint64),
            h=self._copy("h", state[:L, 0].swapaxes(0, 1)),
            next_h=self._copy("next_h", np.zeros((B, L, H))),
            c=self._copy("c", state[:L, 1]),
            ids=self._copy("ids", ids, np.int64),
            tanh_c=self._copy("tanh_c", np.zeros((B, H))),
            gates=self._copy("gates", np.zeros((B, 4 * H))),
            logits=self._copy("logits", np.zeros((B, V))),
            probabilities=self._copy("p", np.zeros((workers.count, V)), np.float64),
            ranks=self._copy("ranks", np.zeros((workers.count, V, 2)), np.float64),
        )
        self._struct.patience = self._teams.patience
        for name, array in self._teams.arrays.items():
            setattr(self._struct, name, self._keep(name, array))
        self._begin, self._generate = generate_functions(_Generation)

    def run(self, steps: int, uniforms: Array) -> Ids:
        """Return the next ids (steps, B), drawn with uniform numbers (steps, B).

        At temperature 0, the uniform numbers have no effect.
        """
        out = np.empty((steps, self._count), np.int64)
        self._struct.steps = steps
        self._struct.uniforms = self._copy("uniforms", uniforms, np.float64)
        self._struct.out = self._keep("out", out)
        self._workers.run_together(
            lambda: self._teams.begin(self._begin, self._struct),
            lambda worker: self._teams.run(self._generate, self._struct, worker),
            self._teams.stop,
        )
        return out

    def _keep(self, name: str, array: Array) -> int:
        """Return the address of an array; keep the array alive as long as this object."""
        self._kept[name] = array
        return array.ctypes.data

    def _copy(self, name: str, array: Array, dtype: type = np.float32) -> int:
        """Return the address of a contiguous copy of an array."""
        return self._keep(name, np.array(array, dtype, order="C"))

    def _pointers(self, name: str, addresses: Iterable[int]) -> int:
        """Return the address of an array of the given addresses."""
        return self._copy(f"pointers to {name}", np.array(list(addresses), np.uint64), np.uint64)

    def _by_symbol(self, k: int, layer: Mapping[str, Array]) -> int:
        """Return the address of a table (V, 4H) for layer k; 0 if the layer reads no symbols.

        Row v of the table is the sum of the bias and the numbers that symbol v adds to the gates.
        """
        rows = layer.get("Wi") if k else layer["Wx"]
        return 0 if rows is None else self._copy(f"by_symbol {k}", rows + layer["b"])

    def _packed_gates(self, name: str, layers: Sequence[Mapping[str, Array]]) -> list[int]:
        """Return the addresses of the packed weight matrices `name` of all layers."""
        packed = [native.packed(layer[name], gates=True) for layer in layers]
        return [self._keep(f"{name} {k}", panels) for k, panels in enumerate(packed)]
