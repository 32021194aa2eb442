"""The native kernels against those in NumPy, and their activations against float64."""

import ctypes

import numpy as np
import pytest
from oracles import relative_error

from charlstm.kernels import native, native_library, reference

try:
    native_library.chosen_instruction_set()
except native_library.UnavailableError as error:
    pytest.skip(f"no native kernels here: {error}", allow_module_level=True)

SHAPES = [
    *[(1, 1, 1), (1, 1, 2), (2, 1, 15), (3, 2, 16), (1, 5, 17), (4, 6, 31), (2, 7, 33)],
    *[(3, 12, 63), (2, 13, 64), (5, 25, 65), (50, 3, 40), (9, 50, 100), (4, 32, 128)],
]


@pytest.fixture(autouse=True)
def _native_kernels_for_short_windows(monkeypatch):
    monkeypatch.setattr(reference, "MIN_STEPS_TO_PACK", 1)


GATES = {"lstm": 4, "gru": 3, "rnn": 1}
KINDS = [("lstm", {}), ("lstm", {"capped": True}), ("gru", {}), ("rnn", {})]
MODULES = native, reference
CELLS = pytest.mark.parametrize("cell", GATES)


def forward_arguments(cell, T, B, H):
    """The arguments of a cell's forward function, by name; NaN where it writes."""
    rng = np.random.default_rng(T * 10_000 + B * 100 + H)

    def draw(*shape, scale=1.0):
        return rng.normal(0, scale, shape).astype(np.float32)

    N, unwritten = GATES[cell] * H, np.full((T, B, H), np.nan, np.float32)
    arrays = {"a" if cell == "rnn" else "gates": draw(T, B, N), "h": draw(T + 1, B, H, scale=0.5)}
    arrays["Wh"] = draw(H, N, scale=H**-0.5)
    if cell == "lstm":
        arrays |= {"c": draw(T + 1, B, H), "tanh_c": unwritten}
        arrays["c"][1:] = np.nan
    elif cell == "gru":
        arrays |= {"candidate": unwritten, "bn": draw(H)}
    arrays["h"][1:] = np.nan
    return arrays


def backward_arguments(cell, after):
    """The arguments of a cell's backward function, by name, from its forward function's."""
    (T, B, H), rng = after["h"][1:].shape, np.random.default_rng(1)
    arrays = {name: array for name, array in after.items() if name != "bn"}
    if cell == "rnn":
        arrays["a"] = np.full_like(after["a"], np.nan)
    arrays["dh_out"] = rng.normal(size=(T, B, H)).astype(np.float32)
    for name in ("dh", "dc") if cell == "lstm" else ("dh",):
        arrays[name] = rng.normal(size=(B, H)).astype(np.float32)
    return arrays


def run(module, function, arrays, precision="float32", **options):
    """Call module.function with copies of the arrays; returns the copies."""
    copies = {name: array.copy() for name, array in arrays.items()}
    getattr(module, function)(**copies, precision=precision, **options)
    return copies


def assert_equal(result, expected):
    for name in result:
        assert relative_error(result[name], expected[name]) < 1e-5, name


@pytest.mark.parametrize(("cell", "options"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_recurrence_equals_the_reference(cell, options, shape):
    forward = forward_arguments(cell, *shape)
    result, expected = (run(module, f"{cell}_forward", forward, **options) for module in MODULES)
    if cell == "rnn":  # which only the reference overwrites
        del result["a"]
    assert_equal(result, expected)
    backward = backward_arguments(cell, expected)
    assert_equal(*(run(module, f"{cell}_backward", backward, **options) for module in MODULES))


def units_in_the_last_place(y, exact):
    """|y - exact| in units of the last place of float32 at exact; 0 is exact below 2^-126."""
    place = np.spacing(np.maximum(np.abs(exact), 2.0**-126).astype(np.float32))
    error = np.abs(y.astype(np.float64) - exact) / place
    return np.where((y == 0) & (np.abs(exact) < 2.0**-126), 0, error)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_activations_are_within_four_units_in_the_last_place(name):
    powers = np.ldexp(1.0, np.arange(-149, 127)) * np.linspace(1, 2, 57)[:, None]
    x = np.concatenate(
        (np.linspace(-110, 110, 2_000_003), np.linspace(-1, 1, 500_001), powers.ravel())
    ).astype(np.float32)
    x = np.concatenate((x, -x, [0.0, -0.0, np.inf, -np.inf, np.nan])).astype(np.float32)
    y = native.activation(name, x)
    with np.errstate(over="ignore"):
        wide = x.astype(np.float64)
        exact = np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))
    assert np.isnan(y[-1])
    worst = units_in_the_last_place(y[:-1], exact[:-1]).max()
    print(
        f"{name}, {native_library.chosen_instruction_set()}: at most {worst:.2f} units in the last "
        "place"
    )
    assert worst < 4
    assert y[-3:-1].tolist() == ([1.0, -1.0] if name == "tanh" else [1.0, 0.0])


@pytest.mark.parametrize(("cell", "options"), KINDS)
def test_a_nan_spreads_along_its_stream_only(cell, options):
    forward = forward_arguments(cell, 3, 4, 20)
    forward["h"][0, 1, 7] = np.nan
    h = run(native, f"{cell}_forward", forward, **options)["h"]
    assert np.isnan(h[1:, 1]).all() and np.isfinite(h[1:, [0, 2, 3]]).all()
    forward["h"][0, 1, 7] = 0
    backward = backward_arguments(cell, run(native, f"{cell}_forward", forward, **options))
    backward["dh_out"][1, 2, 19] = np.nan
    dh = run(native, f"{cell}_backward", backward, **options)["dh"]
    assert np.isnan(dh[2]).all() and np.isfinite(dh[[0, 1, 3]]).all()


@pytest.mark.parametrize(("cell", "options"), KINDS)
def test_float64_is_computed_by_the_reference(cell, options):
    forward = {
        name: array.astype(np.float64) for name, array in forward_arguments(cell, 4, 3, 5).items()
    }
    result, expected = (run(module, f"{cell}_forward", forward, **options) for module in MODULES)
    assert (result["h"] == expected["h"]).all()
    backward = {
        name: array.astype(np.float64) for name, array in backward_arguments(cell, result).items()
    }
    result, expected = (run(module, f"{cell}_backward", backward, **options) for module in MODULES)
    assert (result["dh"] == expected["dh"]).all()


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_bfloat16_of_the_gru_and_the_rnn_is_computed_by_the_reference(cell):
    forward = forward_arguments(cell, 4, 3, 5)
    result, expected = (run(module, f"{cell}_forward", forward, "bfloat16") for module in MODULES)
    assert (result["h"] == expected["h"]).all()
    backward = backward_arguments(cell, result)
    result, expected = (run(module, f"{cell}_backward", backward, "bfloat16") for module in MODULES)
    assert (result["dh"] == expected["dh"]).all()


@pytest.mark.parametrize("gate", range(4))
def test_a_nan_of_one_gate_reaches_the_state_of_a_capped_lstm(gate):
    """min(i, 1 - f) must be NaN where either is."""
    forward = forward_arguments("lstm", 2, 3, 20)
    forward["gates"][0, 1, gate * 20 + 17] = np.nan
    h = run(native, "lstm_forward", forward, capped=True)["h"]
    assert np.isnan(h[1, 1, 17]) and np.isnan(h[2, 1]).all()
    assert np.isfinite(h[:, [0, 2]]).all()


@CELLS
def test_arrays_of_another_shape_order_or_dtype_are_refused(cell):
    forward = forward_arguments(cell, 4, 3, 5)
    backward = backward_arguments(cell, run(native, f"{cell}_forward", forward))
    for function, arrays in ((f"{cell}_forward", forward), (f"{cell}_backward", backward)):
        for name, array in arrays.items():
            wrong = [array[1:], array[..., ::-1]]
            if name not in ("a", "gates"):  # where float64 selects the reference
                wrong.append(array.astype(np.float64))
            if (function, name) == ("lstm_backward", "h"):  # which the reference alone reads
                wrong = []
            for instead in wrong:
                with pytest.raises(ValueError, match="not a contiguous float32 array of shape"):
                    getattr(native, function)(**arrays | {name: instead})


def test_a_library_of_another_version_is_not_used(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda path: object())
    refused = "^the native kernels were built from another version of charlstm: install it again$"
    with pytest.raises(native_library.UnavailableError, match=refused):
        native_library.load.__wrapped__()


def test_the_library_has_kernels_for_each_instruction_set_of_this_machine():
    assert isinstance(native_library.load(), ctypes.CDLL)
    fastest_first = ("amx", "avx512bf16", "avx512", "avx2", "neon", "portable")
    usable = native_library.usable()
    assert usable == tuple(name for name in fastest_first if name in usable)
    assert usable[-1] == "portable"
    for name in usable:
        function = "multiply_bfloat16" if name in ("amx", "avx512bf16") else "multiply"
        assert hasattr(native_library.load(), f"{function}_{name}")


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (7, 5, 3), (6, 64, 65), (130, 33, 300), (40, 520, 270)]
)
def test_products_equal_the_reference(shape):
    R, K, N = shape
    rng = np.random.default_rng(R)

    def draw(*size):
        return rng.normal(size=size).astype(np.float32)

    x, W, dout, b = draw(R, K), draw(K, N), draw(R, N), draw(N)
    for name, arguments, size, further in (
        ("project", (x, W), (R, N), {}),
        ("project", (x, W), (R, N), {"b": b}),
        ("weight_gradient", (x, dout), (K, N), {}),
        ("input_gradient", (dout, W), (R, K), {}),
    ):
        result, expected = (np.full(size, np.nan, np.float32) for _ in range(2))
        getattr(native, name)(*arguments, result, **further)
        getattr(reference, name)(*arguments, expected, **further)
        assert relative_error(result, expected) < 1e-5, name
    # our own products, which project and the others use only where they are faster
    for exact, arguments, flags in (
        (x @ W, (x, W), {}),
        (x @ W + b, (x, W), {"b": b}),
        (x.T @ dout, (x, dout), {"transpose_A": True}),
        (dout @ W.T, (dout, W), {"transpose_B": True}),
    ):
        result = np.full(exact.shape, np.nan, np.float32)
        native.multiply(*arguments, result, **flags)
        assert relative_error(result, exact) < 1e-5


@pytest.mark.parametrize(("N", "V"), [(1, 2), (3, 16), (50, 65), (7, 300)])
def test_the_softmax_and_its_gradient_equal_the_reference(N, V):
    rng = np.random.default_rng(N)
    logits = rng.normal(size=(N, V), scale=3).astype(np.float32)
    b, scales = rng.normal(size=V).astype(np.float32), rng.random(N).astype(np.float32)
    targets = rng.integers(V, size=N)
    result, expected = logits.copy(), logits.copy()
    native.log_softmax(result, b)
    reference.log_softmax(expected, b)
    assert relative_error(result, expected) < 1e-6
    native.cross_entropy_gradient(result, targets, scales)
    reference.cross_entropy_gradient(expected, targets, scales)
    assert relative_error(result, expected) < 1e-5
    with pytest.raises(ValueError, match="ids must be"):
        native.cross_entropy_gradient(result, targets + V, scales)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5, 64])
def test_a_number_that_is_not_finite_shows_in_the_softmax_of_its_row(bad, place):
    logits = np.zeros((2, 65), np.float32)
    logits[1, place] = bad
    native.log_softmax(logits, np.zeros(65, np.float32))
    assert np.isfinite(logits[0]).all()
    assert np.isnan(logits[1]).all() if bad != -np.inf else logits[1, place] == bad


@pytest.mark.parametrize(("R", "V", "N"), [(1, 1, 1), (50, 7, 19), (300, 65, 64), (20, 400, 33)])
def test_sums_of_rows_equal_the_reference(R, V, N):
    rng = np.random.default_rng(N)
    ids, rows = rng.integers(V, size=R), rng.normal(size=(R, N)).astype(np.float32)
    result, expected = (np.full((V, N), np.nan, np.float32) for _ in range(2))
    native.sum_rows(ids, rows, result)
    reference.sum_rows(ids, rows, expected)
    assert relative_error(result, expected) < 1e-6
    with pytest.raises(ValueError, match="ids must be"):
        native.sum_rows(ids + V, rows, result)


TABLES = [(1, 1, 1, 1), (1, 5, 2, 7), (40, 3, 11, 8), (64, 5, 500, 65), (200, 15, 3, 33)]


@pytest.mark.parametrize(("N", "n", "R", "V"), TABLES)
def test_sums_of_table_rows_equal_the_reference(N, n, R, V):
    rng = np.random.default_rng(N)
    table, rows = rng.normal(size=(R, V)).astype(np.float32), rng.integers(R, size=(N, n))
    logits = rng.normal(size=(N, V)).astype(np.float32)
    result, expected = logits.copy(), logits.copy()
    native.add_ngram_logits(table, rows, result)
    reference.add_ngram_logits(table, rows, expected)
    assert relative_error(result, expected) < 1e-7 and not np.array_equal(result, logits)
    for bad in (rows + R, rows - R):
        with pytest.raises(ValueError, match="ids must be"):
            native.add_ngram_logits(table, bad, result)


@pytest.mark.parametrize(("N", "n", "R", "V"), TABLES)
def test_a_step_of_table_rows_equals_the_reference(N, n, R, V):
    rng = np.random.default_rng(N)
    start = [rng.normal(size=(R, V)).astype(np.float32), rng.random(R).astype(np.float32)]
    copies = [(module, *(array.copy() for array in start)) for module in (native, reference)]
    spans = (slice(0, R // 3), slice(R // 3, R))
    for _ in range(3):
        rows = rng.integers(R, size=(N, n))
        dlogits = rng.normal(size=(N, V)).astype(np.float32)
        for module, table, squares in copies:
            for span in spans:
                module.update_ngram_rows(
                    table, squares, rows, dlogits, span, rate=0.3, epsilon=1e-12
                )
    for result, expected, before in zip(copies[0][1:], copies[1][1:], start, strict=True):
        assert relative_error(result, expected) < 1e-6 and relative_error(result, before) > 1e-3
    # rows that are not listed do not change at all
    table, squares = copies[0][1:]
    kept = table.copy(), squares.copy()
    native.update_ngram_rows(
        table, squares, np.zeros_like(rows), dlogits, slice(1, R), rate=1.0, epsilon=1e-12
    )
    assert all(map(np.array_equal, kept, (table, squares)))


@pytest.mark.parametrize("n", [1, 15, 16, 1000])
def test_adam_equals_the_reference(n):
    rng = np.random.default_rng(n)
    weights, mean = rng.normal(size=(2, n)).astype(np.float32)
    square = rng.random(n).astype(np.float32)
    gradients = rng.normal(size=(3, n)).astype(np.float32)
    constants = {"beta1": 0.9, "beta2": 0.99, "step_size": 0.02, "root_correction": 3.0}
    constants |= {"epsilon": 1e-8, "kept": 0.999}
    results = []
    for module in (native, reference):
        w, m, s = weights.copy(), mean.copy(), square.copy()
        for gradient in gradients:
            module.adam_update(w, gradient.copy(), m, s, **constants)
        results.append((w, m, s))
    for name, a, b in zip(("weights", "mean", "square"), *results, strict=True):
        assert relative_error(a, b) < 1e-5, name
