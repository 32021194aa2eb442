"""A training step of an LSTM in native code, shared among threads: see native_training.h."""

import ctypes
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from charlstm.arrays import Array
from charlstm.errors import CharlstmError
from charlstm.kernels import native_library
from charlstm.kernels.native_team import CACHE_LINE, TEAM_INTS, THREAD_INTS, Teams, aligned

# Operands rounded to bfloat16: zeros pad each row to a multiple of PADDING, and products may read
# EXTRA_ROWS rows beyond the last one. See native_bfloat16.h.
PADDING = 32
EXTRA_ROWS = 32
UNITS = 16  # of a block: see native_gates.h
# The phases of a step, in the order of `enum phase` of native_training.h.
PHASES = (
    "input projection",
    "forward recurrence",
    "head and softmax",
    "backward recurrence",
    "input gradient",
    "weight gradients",
    "clipping, Adam, average",
    "table of n-grams",
    "waiting for other workers",
)


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class _Layer(ctypes.Structure):
    """The struct TrainedLayer of native_training.h, field by field."""

    _fields_ = _fields(
        ctypes.c_void_p,
        "by_symbol Wx Wh b Wh_factors dby_symbol dWx dWh db h gates c tanh_c x_factors "
        "head_factors h_rows x_rows d_rows h_columns x_columns",
    )


class _Step(ctypes.Structure):
    """The struct TrainingStep of native_training.h, field by field."""

    _fields_ = (
        *_fields(ctypes.c_ssize_t, "T B H V L seen capped workers teams dropout"),
        *_fields(ctypes.c_void_p, "layers inputs targets scales state"),
        *_fields(ctypes.c_void_p, "head_W head_b dhead_W dhead_b"),
        *_fields(ctypes.c_void_p, "head_rows head_columns dlogit_rows dhead_input dout dh dc"),
        *_fields(ctypes.c_void_p, "log_probs losses nats"),
        *_fields(ctypes.c_ssize_t, "ngrams R"),
        *_fields(ctypes.c_void_p, "codes history rows table table_squares table_constants"),
        *_fields(ctypes.c_void_p, "squares gradient_norm"),
        *_fields(ctypes.c_ssize_t, "updates weight_count"),
        *_fields(ctypes.c_void_p, "weights gradient mean square average constants"),
        *_fields(ctypes.c_double, "clip clip_value average_step"),
        *_fields(ctypes.c_void_p, "scratch"),
        *_fields(ctypes.c_ssize_t, "scratch_size"),
        *_fields(ctypes.c_void_p, "places"),
        *_fields(ctypes.c_ssize_t, "places_size"),
        *_fields(ctypes.c_void_p, "meetings threads"),
        *_fields(ctypes.c_double, "patience"),
        *_fields(ctypes.c_ssize_t, "next_task"),
        *_fields(ctypes.c_void_p, "seconds"),
    )


class NativeTrainingStep:
    """The memory of the training steps of an LSTM, and their computation.

    sizes: the numbers T, B, H, V, L, seen, capped, dropout, ngrams and R of the struct
        TrainingStep. The arrays that a step shares with others are set later.
    workers: the number of threads. teams: the number of groups of threads with streams of their
        own; a divisor of `workers`.
    precision: that of the operands of products, "float32" or "bfloat16".

    log_probs (T * B, V): after a step, the gradient of the logits.
    rows (T * B, n): the rows of the table of n-grams that each prediction used.
    """

    def __init__(self, sizes: Mapping[str, int], workers: int, teams: int, precision: str) -> None:
        self._rounded = precision == "bfloat16"
        isa = native_library.bfloat16_set() if self._rounded else native_library.float32_set()
        assert isa is not None  # can_train
        _check_layout(isa)
        self._kept: dict[str, Array] = {}
        self._layers = (_Layer * sizes["L"])()
        self._step = _Step(**sizes, workers=workers, teams=teams)
        self._step.layers = ctypes.addressof(self._layers)
        self._begin = native_library.function("begin_training_step", isa)
        self._begin.argtypes = [ctypes.c_void_p]
        self._run = native_library.function("train_step", isa)
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]
        self._run.restype = ctypes.c_int
        size_of = native_library.size_of
        T, B, H, V, L, seen = (sizes[name] for name in ("T", "B", "H", "V", "L", "seen"))
        scratch_size = _whole_lines(size_of("training", T, B, H, V, seen, isa=isa))
        places_size = 0
        if sizes["ngrams"]:
            places = 2 * T * B * sizes["ngrams"]
            places_size = -(-sizes["R"] // workers) + places
        self._teams = Teams(workers, teams)
        self.set(
            scratch=aligned(workers * scratch_size, np.uint8),
            scratch_size=scratch_size,
            squares=np.zeros(size_of("squares", L, H, V, seen, isa=isa)),
            places=np.zeros(workers * places_size, np.int32),
            places_size=places_size,
            **self._teams.arrays,
            patience=self._teams.patience,
        )
        self._set_activations()

    def set(self, **values: Array | float | None) -> None:
        """Set fields of the struct TrainingStep: numbers, or arrays, which are kept alive."""
        for name, value in values.items():
            setattr(self._step, name, self._field(name, value))

    def set_layer(self, k: int, **values: Array | None) -> None:
        """Set fields of the struct TrainedLayer of layer k to arrays, which are kept alive."""
        for name, value in values.items():
            setattr(self._layers[k], name, self._field(f"{name} of layer {k}", value))

    def _set_activations(self) -> None:
        """Allocate the arrays of a window: see native_training.h."""
        step, rounded = self._step, self._rounded
        T, B, H, V, seen = step.T, step.B, step.H, step.V, step.seen
        matrix, K = (_rounded, _padded(H)) if rounded else (_floats, H)
        of_step = B * -(-H // UNITS) * UNITS
        column = T * (B + B % 2)  # numbers in a column of rounded operands
        below: Array | None = None  # the operands of the output of the layer below
        for k in range(step.L):
            h, gates = _floats((T + 1) * B, H), _floats(T * of_step, 4)
            h_rows = matrix((T + 1) * B, K) if rounded else h
            self.set_layer(
                k,
                h=h,
                gates=gates,
                c=_floats((T + 1) * of_step),
                tanh_c=_floats(T * of_step),
                h_rows=h_rows,
                x_rows=matrix(T * B, K) if k and step.dropout else below,
                d_rows=matrix(T * B, 4 * K) if rounded else gates,
                h_columns=matrix(H, column) if rounded else None,
                x_columns=matrix(H, column) if rounded and k else None,
            )
            below = h_rows[B:]
        self.log_probs, self.rows = _floats(T * B, V), np.empty((T * B, step.ngrams), np.int64)
        self.set(
            head_rows=matrix(T * B, seen * K) if step.dropout or seen > 1 else below,
            head_columns=matrix(seen * H, column) if rounded else None,
            log_probs=self.log_probs,
            dlogit_rows=matrix(T * B, V) if rounded else self.log_probs,
            dhead_input=_floats(T * seen * of_step),
            dout=_floats(T * of_step),
            dh=_floats(of_step),
            dc=_floats(of_step),
            losses=_floats(T * B),
            rows=self.rows,
        )

    def _field(self, name: str, value: Array | float | None) -> float | None:
        """Return a number as it is, None for None, and the address of an array."""
        if not isinstance(value, np.ndarray):
            return value
        if not value.flags.c_contiguous:
            raise ValueError(f"{name} is not contiguous")
        self._kept[name] = value
        return value.ctypes.data

    def measure(self) -> Array:
        """Return an array (workers, PHASES) of seconds, to which each step from now on adds."""
        seconds = np.zeros((self._step.workers, len(PHASES)))
        self.set(seconds=seconds)
        return seconds

    def begin(self) -> list[int]:
        """Begin a step; see Teams.begin. The step before must have ended."""
        self._step.next_task = 0
        return self._teams.begin(self._begin, self._step)

    def run(self, worker: int) -> None:
        """Make the share of a worker in a step; see Teams.run."""
        self._teams.run(self._run, self._step, worker)

    def stop(self) -> None:
        """Let all workers return. The step is then made by all workers or by none."""
        self._teams.stop()


@cache
def _check_layout(isa: str) -> None:
    """Raise CharlstmError if the structs above differ in size from those of the library."""
    expected = np.empty(4, np.intp)
    native_library.function("training_layout", isa)(ctypes.c_void_p(expected.ctypes.data))
    sizes = [ctypes.sizeof(_Layer), ctypes.sizeof(_Step), 4 * TEAM_INTS, 4 * THREAD_INTS]
    if sizes != expected.tolist():
        raise CharlstmError(f"the native kernels {native_library.OTHER_VERSION}")


def _floats(*shape: int) -> Array:
    """Return an array for activations. Its memory is zero, and is allocated when it is used."""
    return aligned(math.prod(shape), np.float32).reshape(shape)


def _rounded(rows: int, columns: int) -> Array:
    """Return a matrix of zeros for operands rounded to bfloat16, with all that products read."""
    rows, columns = rows + EXTRA_ROWS, _padded(columns)
    return aligned(rows * columns, np.uint16).reshape(rows, columns)


def _padded(columns: int) -> int:
    """Return the number of operands in a row, with the zeros that pad it."""
    return -(-columns // PADDING) * PADDING


def _whole_lines(size: int) -> int:
    """Return a number of bytes rounded up to whole cache lines."""
    return -(-size // CACHE_LINE) * CACHE_LINE
