"""The native kernels against their NumPy twins, and their activations against float64."""

import ctypes

import numpy as np
import pytest
from oracles import relative_error

from charlstm.kernels import library, native, reference

try:
    library.instruction_set()
except library.UnavailableError as error:
    pytest.skip(f"no native kernels here: {error}", allow_module_level=True)

SHAPES = [
    *[(1, 1, 1), (1, 1, 2), (2, 1, 15), (3, 2, 16), (1, 5, 17), (4, 6, 31), (2, 7, 33)],
    *[(3, 12, 63), (2, 13, 64), (5, 25, 65), (50, 3, 40), (9, 50, 100), (4, 32, 128)],
]


@pytest.fixture(autouse=True)
def _serve_short_windows(monkeypatch):
    monkeypatch.setattr(reference, "WORTH_BLOCKING", 1)


def window(T, B, H):
    rng = np.random.default_rng(T * 10_000 + B * 100 + H)

    def draw(*shape, scale=1.0):
        return rng.normal(0, scale, shape).astype(np.float32)

    h, c = draw(T + 1, B, H, scale=0.5), draw(T + 1, B, H)
    return draw(T, B, 4 * H), h, c, np.empty((T, B, H), np.float32), draw(H, 4 * H, scale=H**-0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_lstm_equals_its_twin(shape):
    T, B, H = shape
    theirs, mine = window(*shape), window(*shape)
    reference.lstm_forward(*theirs)
    native.lstm_forward(*mine)
    for name, a, b in zip(("gates", "h", "c", "tanh_c"), mine, theirs, strict=False):
        assert relative_error(a, b) < 1e-5, name
    rng = np.random.default_rng(1)
    dh, dc = rng.normal(size=(2, B, H)).astype(np.float32)
    dh_out = rng.normal(size=(T, B, H)).astype(np.float32)
    results = []
    for module in (native, reference):
        gates, h, c, tanh_c, Wh = (array.copy() for array in theirs)
        out = gates, dh.copy(), dc.copy()
        module.lstm_backward(*out, dh_out, h, c, tanh_c, Wh)
        results.append(out)
    for name, a, b in zip(("gates", "dh", "dc"), *results, strict=True):
        assert relative_error(a, b) < 1e-5, name


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
    print(f"{name}, {library.instruction_set()}: at most {worst:.2f} units in the last place")
    assert worst < 4
    assert y[-3:-1].tolist() == ([1.0, -1.0] if name == "tanh" else [1.0, 0.0])


def test_a_nan_is_not_lost():
    gates, h, c, tanh_c, Wh = window(3, 4, 20)
    h[0, 1, 7] = np.nan
    native.lstm_forward(gates, h, c, tanh_c, Wh)
    assert np.isnan(h[1:, 1]).all() and np.isfinite(h[1:, [0, 2, 3]]).all()


def test_float64_takes_the_numpy_way():
    arrays = [array.astype(np.float64) for array in window(4, 3, 5)]
    theirs = [array.copy() for array in arrays]
    native.lstm_forward(*arrays)
    reference.lstm_forward(*theirs)
    assert (arrays[1][1:] == theirs[1][1:]).all()


def test_what_c_would_not_notice_is_refused():
    gates, h, c, tanh_c, Wh = window(4, 3, 5)
    with pytest.raises(ValueError, match=r"shape \(5, 20\)"):
        native.lstm_forward(gates, h, c, tanh_c, Wh.T.copy())
    with pytest.raises(ValueError, match="contiguous"):
        native.lstm_forward(gates, h[:, ::-1], c, tanh_c, Wh)


def test_the_library_has_every_instruction_set_that_the_machine_has():
    assert isinstance(library.load(), ctypes.CDLL)
    assert library.usable()[-1] == "portable"
    for name in library.usable():
        serves = "multiply_bfloat16" if name in ("amx", "avx512bf16") else "multiply"
        assert hasattr(library.load(), f"{serves}_{name}")


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (7, 5, 3), (6, 64, 65), (130, 33, 300), (40, 520, 270)]
)
def test_products_equal_their_twins(shape):
    R, K, N = shape
    rng = np.random.default_rng(R)

    def draw(*size):
        return rng.normal(size=size).astype(np.float32)

    x, W, dout = draw(R, K), draw(K, N), draw(R, N)
    for name, arguments, size in (
        ("project", (x, W), (R, N)),
        ("weight_gradient", (x, dout), (K, N)),
    ):
        mine, theirs = (np.full(size, np.nan, np.float32) for _ in range(2))
        getattr(native, name)(*arguments, mine)
        getattr(reference, name)(*arguments, theirs)
        assert relative_error(mine, theirs) < 1e-5, name
    for exact, arguments, flags in (  # by our own products, which not every machine prefers
        (x @ W, (x, W), {}),
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
