"""The native kernels against their NumPy twins, and their activations against float64."""

import ctypes

import numpy as np
import pytest
from oracles import relative_error

from charlstm.kernels import native, native_library, reference

try:
    native_library.instruction_set()
except native_library.UnavailableError as error:
    pytest.skip(f"no native kernels here: {error}", allow_module_level=True)

SHAPES = [
    *[(1, 1, 1), (1, 1, 2), (2, 1, 15), (3, 2, 16), (1, 5, 17), (4, 6, 31), (2, 7, 33)],
    *[(3, 12, 63), (2, 13, 64), (5, 25, 65), (50, 3, 40), (9, 50, 100), (4, 32, 128)],
]


@pytest.fixture(autouse=True)
def _serve_short_windows(monkeypatch):
    monkeypatch.setattr(reference, "MIN_STEPS_TO_PACK", 1)


GATES = {"lstm": 4, "gru": 3, "rnn": 1}
KINDS = [("lstm", {}), ("lstm", {"capped": True}), ("gru", {}), ("rnn", {})]
MODULES = native, reference
CELLS = pytest.mark.parametrize("cell", GATES)


def window(cell, T, B, H):
    """What the cell's forward function takes, by name; NaN stands in all that it writes."""
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


def window_back(cell, after):
    """What the cell's backward function takes, by name, after its forward function."""
    (T, B, H), rng = after["h"][1:].shape, np.random.default_rng(1)
    arrays = {name: array for name, array in after.items() if name != "bn"}
    if cell == "rnn":
        arrays["a"] = np.full_like(after["a"], np.nan)
    arrays["dh_out"] = rng.normal(size=(T, B, H)).astype(np.float32)
    for name in ("dh", "dc") if cell == "lstm" else ("dh",):
        arrays[name] = rng.normal(size=(B, H)).astype(np.float32)
    return arrays


def run(module, function, arrays, precision="float32", **options):
    """The same arrays after module.function, which works on copies."""
    copies = {name: array.copy() for name, array in arrays.items()}
    getattr(module, function)(**copies, precision=precision, **options)
    return copies


def assert_equal(mine, theirs):
    for name in mine:
        assert relative_error(mine[name], theirs[name]) < 1e-5, name


@pytest.mark.parametrize(("cell", "options"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_recurrence_equals_its_twin(cell, options, shape):
    begun = window(cell, *shape)
    mine, theirs = (run(module, f"{cell}_forward", begun, **options) for module in MODULES)
    if cell == "rnn":  # of no use any more
        del mine["a"]
    assert_equal(mine, theirs)
    back = window_back(cell, theirs)
    assert_equal(*(run(module, f"{cell}_backward", back, **options) for module in MODULES))


def units_in_the_last_place(y, exact):
    """|y - exact| in units of the float32 place at exact; below 2^-126 zero may stand for it."""
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
        f"{name}, {native_library.instruction_set()}: at most {worst:.2f} units in the last place"
    )
    assert worst < 4
    assert y[-3:-1].tolist() == ([1.0, -1.0] if name == "tanh" else [1.0, 0.0])


@pytest.mark.parametrize(("cell", "options"), KINDS)
def test_a_nan_is_not_lost(cell, options):
    begun = window(cell, 3, 4, 20)
    begun["h"][0, 1, 7] = np.nan
    h = run(native, f"{cell}_forward", begun, **options)["h"]
    assert np.isnan(h[1:, 1]).all() and np.isfinite(h[1:, [0, 2, 3]]).all()
    begun["h"][0, 1, 7] = 0
    back = window_back(cell, run(native, f"{cell}_forward", begun, **options))
    back["dh_out"][1, 2, 19] = np.nan
    dh = run(native, f"{cell}_backward", back, **options)["dh"]
    assert np.isnan(dh[2]).all() and np.isfinite(dh[[0, 1, 3]]).all()


@pytest.mark.parametrize(("cell", "options"), KINDS)
def test_float64_takes_the_numpy_way(cell, options):
    begun = {name: array.astype(np.float64) for name, array in window(cell, 4, 3, 5).items()}
    mine, theirs = (run(module, f"{cell}_forward", begun, **options) for module in MODULES)
    assert (mine["h"] == theirs["h"]).all()
    back = {name: array.astype(np.float64) for name, array in window_back(cell, mine).items()}
    mine, theirs = (run(module, f"{cell}_backward", back, **options) for module in MODULES)
    assert (mine["dh"] == theirs["dh"]).all()


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_bfloat16_takes_the_numpy_way(cell):
    begun = window(cell, 4, 3, 5)
    mine, theirs = (run(module, f"{cell}_forward", begun, "bfloat16") for module in MODULES)
    assert (mine["h"] == theirs["h"]).all()
    back = window_back(cell, mine)
    mine, theirs = (run(module, f"{cell}_backward", back, "bfloat16") for module in MODULES)
    assert (mine["dh"] == theirs["dh"]).all()


@pytest.mark.parametrize("gate", range(4))
def test_a_capped_gate_does_not_lose_a_nan_of_one_gate(gate):
    """The smaller of two numbers may be the one that is none."""
    begun = window("lstm", 2, 3, 20)
    begun["gates"][0, 1, gate * 20 + 17] = np.nan
    h = run(native, "lstm_forward", begun, capped=True)["h"]
    assert np.isnan(h[1, 1, 17]) and np.isnan(h[2, 1]).all()
    assert np.isfinite(h[:, [0, 2]]).all()


@CELLS
def test_what_c_would_not_notice_is_refused(cell):
    begun = window(cell, 4, 3, 5)
    back = window_back(cell, run(native, f"{cell}_forward", begun))
    for function, arrays in ((f"{cell}_forward", begun), (f"{cell}_backward", back)):
        for name, array in arrays.items():
            wrong = [array[1:], array[..., ::-1]]
            if name not in ("a", "gates"):  # float64 in these takes the NumPy way
                wrong.append(array.astype(np.float64))
            if (function, name) == ("lstm_backward", "h"):  # which NumPy alone makes use of
                wrong = []
            for instead in wrong:
                with pytest.raises(ValueError, match="not a contiguous float32 array of shape"):
                    getattr(native, function)(**arrays | {name: instead})


def test_the_library_has_every_instruction_set_that_the_machine_has():
    assert isinstance(native_library.load(), ctypes.CDLL)
    assert native_library.usable()[-1] == "portable"
    for name in native_library.usable():
        serves = "multiply_bfloat16" if name in ("amx", "avx512bf16") else "multiply"
        assert hasattr(native_library.load(), f"{serves}_{name}")


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (7, 5, 3), (6, 64, 65), (130, 33, 300), (40, 520, 270)]
)
def test_products_equal_their_twins(shape):
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
        mine, theirs = (np.full(size, np.nan, np.float32) for _ in range(2))
        getattr(native, name)(*arguments, mine, **further)
        getattr(reference, name)(*arguments, theirs, **further)
        assert relative_error(mine, theirs) < 1e-5, name
    for exact, arguments, flags in (  # by our own products, which not every machine prefers
        (x @ W, (x, W), {}),
        (x @ W + b, (x, W), {"b": b}),
        (x.T @ dout, (x, dout), {"transpose_A": True}),
        (dout @ W.T, (dout, W), {"transpose_B": True}),
    ):
        mine = np.full(exact.shape, np.nan, np.float32)
        native.multiply(*arguments, mine, **flags)
        assert relative_error(mine, exact) < 1e-5


@pytest.mark.parametrize(("N", "V"), [(1, 2), (3, 16), (50, 65), (7, 300)])
def test_the_softmax_and_its_gradient_equal_their_twins(N, V):
    rng = np.random.default_rng(N)
    logits = rng.normal(size=(N, V), scale=3).astype(np.float32)
    b, scales = rng.normal(size=V).astype(np.float32), rng.random(N).astype(np.float32)
    targets = rng.integers(V, size=N)
    mine, theirs = logits.copy(), logits.copy()
    native.log_softmax(mine, b)
    reference.log_softmax(theirs, b)
    assert relative_error(mine, theirs) < 1e-6
    native.cross_entropy_gradient(mine, targets, scales)
    reference.cross_entropy_gradient(theirs, targets, scales)
    assert relative_error(mine, theirs) < 1e-5
    with pytest.raises(ValueError, match="ids must be"):
        native.cross_entropy_gradient(mine, targets + V, scales)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5, 64])
def test_the_softmax_shows_what_is_not_finite(bad, place):
    logits = np.zeros((2, 65), np.float32)
    logits[1, place] = bad
    native.log_softmax(logits, np.zeros(65, np.float32))
    assert np.isfinite(logits[0]).all()
    assert np.isnan(logits[1]).all() if bad != -np.inf else logits[1, place] == bad


@pytest.mark.parametrize(("R", "V", "N"), [(1, 1, 1), (50, 7, 19), (300, 65, 64), (20, 400, 33)])
def test_sums_of_rows_equal_their_twin(R, V, N):
    rng = np.random.default_rng(N)
    ids, rows = rng.integers(V, size=R), rng.normal(size=(R, N)).astype(np.float32)
    mine, theirs = (np.full((V, N), np.nan, np.float32) for _ in range(2))
    native.sum_rows(ids, rows, mine)
    reference.sum_rows(ids, rows, theirs)
    assert relative_error(mine, theirs) < 1e-6
    with pytest.raises(ValueError, match="ids must be"):
        native.sum_rows(ids + V, rows, mine)


TABLES = [(1, 1, 1, 1), (1, 5, 2, 7), (40, 3, 11, 8), (64, 5, 500, 65), (200, 15, 3, 33)]


@pytest.mark.parametrize(("N", "n", "slots", "V"), TABLES)
def test_rows_of_a_table_are_added_as_by_their_twin(N, n, slots, V):
    rng = np.random.default_rng(N)
    table, rows = rng.normal(size=(slots, V)).astype(np.float32), rng.integers(slots, size=(N, n))
    logits = rng.normal(size=(N, V)).astype(np.float32)
    mine, theirs = logits.copy(), logits.copy()
    native.add_rows(table, rows, mine)
    reference.add_rows(table, rows, theirs)
    assert relative_error(mine, theirs) < 1e-7 and not np.array_equal(mine, logits)
    for bad in (rows + slots, rows - slots):
        with pytest.raises(ValueError, match="ids must be"):
            native.add_rows(table, bad, mine)


@pytest.mark.parametrize(("N", "n", "slots", "V"), TABLES)
def test_a_step_of_a_tables_rows_equals_its_twin(N, n, slots, V):
    rng = np.random.default_rng(N)
    start = [rng.normal(size=(slots, V)).astype(np.float32), rng.random(slots).astype(np.float32)]
    ways = [(module, *(array.copy() for array in start)) for module in (native, reference)]
    spans = (slice(0, slots // 3), slice(slots // 3, slots))
    for _ in range(3):
        rows = rng.integers(slots, size=(N, n))
        dlogits = rng.normal(size=(N, V)).astype(np.float32)
        for module, table, squares in ways:
            for span in spans:
                module.update_rows(table, squares, rows, dlogits, span, rate=0.3, epsilon=1e-12)
    for mine, theirs, before in zip(ways[0][1:], ways[1][1:], start, strict=True):
        assert relative_error(mine, theirs) < 1e-6 and relative_error(mine, before) > 1e-3
    # what no row names stays as it is, to the bit
    table, squares = ways[0][1:]
    kept = table.copy(), squares.copy()
    native.update_rows(
        table, squares, np.zeros_like(rows), dlogits, slice(1, slots), rate=1.0, epsilon=1e-12
    )
    assert all(map(np.array_equal, kept, (table, squares)))


@pytest.mark.parametrize("n", [1, 15, 16, 1000])
def test_adam_equals_its_twin(n):
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
