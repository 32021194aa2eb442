"""Many characters in one native call: the twin of the loop in charlstm/sampler.py."""

import ctypes
from collections.abc import Mapping

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.kernels import native, native_library
from charlstm.network.parameters import NGRAM_TABLE


class _Generation(ctypes.Structure):
    """The struct of native_generate.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_ssize_t) for name in ("L", "B", "H", "V", "seen", "top_k")),
        *((name, ctypes.c_ssize_t) for name in ("line_end", "capped")),
        *((name, ctypes.c_double) for name in ("temperature", "top_p", "min_p")),
        *((name, ctypes.c_void_p) for name in ("by_symbol", "b", "Wx", "Wh", "head_W", "head_b")),
        *((name, ctypes.c_ssize_t) for name in ("ngrams", "slots")),
        *((name, ctypes.c_void_p) for name in ("table", "codes", "recent")),
        *((name, ctypes.c_void_p) for name in ("h", "c", "ids", "next_h", "tanh_c", "gates")),
        *((name, ctypes.c_void_p) for name in ("head_x", "logits", "probabilities", "ranks")),
    )


class NativeGeneration:
    """Samples of an LSTM in float32, side by side, from where their states stand.

    parameters: the model's, by name; packed now, so that later changes do not count, but for
        those of the table of n-grams.
    ids (B,): the last symbol of each sample. state (L, 2, B, H): the state before it.
    line_end: the id that clears the state of a model of lines, or -1.
    codes (1 + V,) of nothing and of each symbol in the hash of n-grams, and those before the last
        symbol of each sample, recent (B, n), newest first: see layers/ngrams.py; both empty
        without n-grams.
    """

    def __init__(
        self,
        config: ModelConfig,
        parameters: Mapping[str, Array],
        ids: Ids,
        state: Array,
        line_end: int,
        codes: Ids,
        recent: Ids,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
    ) -> None:
        L, (B,), H, seen = config.layers, ids.shape, config.hidden, config.layers_seen
        V = len(parameters["head.b"])
        self._count, self._kept = B, dict[str, Array]()
        layers = [f"layers.{k}." for k in range(L)]
        self._struct = _Generation(
            L=L,
            B=B,
            H=H,
            V=V,
            seen=seen,
            top_k=top_k,
            line_end=line_end,
            capped=config.capped,
            temperature=temperature,
            top_p=top_p,
            min_p=min_p,
            by_symbol=self._pointers("rows", [self._by_symbol(parameters, k) for k in range(L)]),
            b=self._pointers("b", [self._keep(f"{k}b", parameters[f"{k}b"]) for k in layers]),
            Wx=self._pointers("Wx", [self._packed(parameters, f"{k}Wx") for k in layers[1:]]),
            Wh=self._pointers("Wh", [self._packed(parameters, f"{k}Wh") for k in layers]),
            head_W=self._packed(parameters, "head.W"),
            head_b=self._keep("head_b", parameters["head.b"]),
            ngrams=config.ngrams,
            slots=config.ngram_slots,
            table=self._table(parameters),
            codes=self._keep("codes", codes, np.uint64),
            recent=self._keep("recent", recent, np.uint64),
            h=self._keep("h", state[:L, 0]),
            c=self._keep("c", state[:L, 1]),
            ids=self._keep("ids", ids, np.int64),
            next_h=self._keep("next_h", np.zeros((B, H))),
            tanh_c=self._keep("tanh_c", np.zeros((B, H))),
            gates=self._keep("gates", np.zeros((B, 4 * H))),
            head_x=self._keep("head_x", np.zeros((B, seen * H))),
            logits=self._keep("logits", np.zeros((B, V))),
            probabilities=self._keep("probabilities", np.zeros(V), np.float64),
            ranks=self._keep("ranks", np.zeros((V, 2)), np.float64),
        )
        self._generate = native_library.function("generate")
        self._generate.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t] + 2 * [ctypes.c_void_p]

    def run(self, steps: int, uniforms: Array) -> Ids:
        """The next (steps, B) ids, for uniform numbers (steps, B), which temperature 0 ignores."""
        out = np.empty((steps, self._count), np.int64)
        numbers = np.ascontiguousarray(uniforms, np.float64)
        address = ctypes.addressof(self._struct)
        self._generate(address, steps, numbers.ctypes.data, out.ctypes.data)
        return out

    def _keep(self, name: str, array: Array, dtype: type = np.float32) -> int:
        """The address of a contiguous copy that lives as long as this object."""
        self._kept[name] = np.array(array, dtype, order="C")
        return self._kept[name].ctypes.data

    def _table(self, parameters: Mapping[str, Array]) -> int:
        """The address of the table of n-grams, which is not copied; 0 if there is none."""
        if NGRAM_TABLE not in parameters:
            return 0
        self._kept["table"] = np.ascontiguousarray(parameters[NGRAM_TABLE])
        return self._kept["table"].ctypes.data

    def _by_symbol(self, parameters: Mapping[str, Array], k: int) -> int:
        """The address of what a symbol adds to layer k's gates; 0 if it sees no symbols."""
        rows = parameters.get(f"layers.{k}.Wi" if k else "layers.0.Wx")
        if rows is None:
            return 0
        return self._keep(f"rows {k}", rows + parameters[f"layers.{k}.b"])

    def _pointers(self, name: str, addresses: list[int]) -> int:
        """The address of an array of pointers."""
        return self._keep(f"pointers to {name}", np.array(addresses, np.uint64), np.uint64)

    def _packed(self, parameters: Mapping[str, Array], name: str) -> int:
        """The address of a weight matrix, packed for the products of a step."""
        self._kept[name] = native.packed(parameters[name], gates=name != "head.W")
        return self._kept[name].ctypes.data
