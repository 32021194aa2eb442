"""Rounding to bfloat16, and products and recurrences with rounded operands."""

import math
from fractions import Fraction

import numpy as np
import pytest
from oracles import relative_error

from charlstm import kernels
from charlstm.kernels import reference
from charlstm.kernels.bfloat16 import round_to_bfloat16

SIGNIFICANT = 8  # bits of a bfloat16's significand, the leading one included
SMALLEST = Fraction(1, 2 ** (126 + SIGNIFICANT - 1))  # the spacing below the smallest normal one


def nearest(x: float) -> float:
    """The nearest bfloat16 by the definition, in exact arithmetic; ties go to the even one."""
    if math.isnan(x) or math.isinf(x) or x == 0:
        return x
    exponent = math.frexp(x)[1]  # |x| is 0.5 to 1 times 2 to this
    spacing = max(Fraction(2) ** (exponent - SIGNIFICANT), SMALLEST)
    rounded = round(Fraction(x) / spacing) * spacing  # round() takes ties to even
    if abs(rounded) >= Fraction(2) ** 128:
        return math.copysign(math.inf, x)
    return math.copysign(float(rounded), x)


def from_bits(bits: object) -> np.ndarray:
    return np.asarray(bits, np.uint32).view(np.float32)


ONE = 0x3F800000
SPECIAL_CASES = {
    "ties to even": [ONE + 0x8000, ONE + 0x18000, 0x7F7E8000, 0x00008000, 0x00018000],
    "beside ties": [ONE + 0x7FFF, ONE + 0x8001, ONE + 0x17FFF, ONE + 0x18001],
    "denormals": [0x1, 0x7FFF, 0x8001, 0x10000, 0x7F8000, 0x7FFFFF],
    "over an exponent": [0x3FFF8000, 0x3FFFFFFF, 0x007F8000],
    "beyond the largest": [0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF],
    "zero and infinity": [0, 0x7F800000],
    "NaN": [0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0x7F80FFFF],
}


@pytest.mark.parametrize("bits", SPECIAL_CASES.values(), ids=SPECIAL_CASES)
def test_rounding_is_to_nearest_even(bits):
    for sign in (0, 0x80000000):
        x = from_bits(np.array(bits, np.uint32) | np.uint32(sign))
        y = round_to_bfloat16(x)
        expected = np.array([nearest(float(value)) for value in x], np.float32)
        assert np.array_equal(y, expected, equal_nan=True)
        numbers = ~np.isnan(x)
        assert (np.signbit(y) == np.signbit(x))[numbers].all()
        assert not (y.view(np.uint32) & 0xFFFF).any()  # a bfloat16 has 16 bits


def test_rounding_of_random_bits_follows_the_definition_and_pytorch():
    bits = np.random.default_rng(0).integers(2**32, size=200_000, dtype=np.uint32)
    x = from_bits(np.concatenate((bits, bits & 0xFFFF8000)))  # the second half: many ties
    y = round_to_bfloat16(x)
    some = np.arange(0, len(x), 40)
    expected = np.array([nearest(float(value)) for value in x[some]], np.float32)
    assert np.array_equal(y[some], expected, equal_nan=True)
    torch = pytest.importorskip("torch")
    by_torch = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    assert np.array_equal(y, by_torch, equal_nan=True)


def test_rounding_does_not_change_its_argument_and_takes_any_memory_order():
    x = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    before = x.copy()
    assert (round_to_bfloat16(x.T[::2]) == round_to_bfloat16(x).T[::2]).all()
    assert (x == before).all()
    with pytest.raises(ValueError, match="only float32 is rounded to bfloat16, not float64"):
        round_to_bfloat16(x.astype(np.float64))


PRODUCTS = {  # by name: the dimensions of its operands (R rows, K inputs, N outputs), and itself
    "project": (("RK", "KN"), lambda x, W: x @ W),
    "weight_gradient": (("RK", "RN"), lambda x, dout: x.T @ dout),
    "input_gradient": (("RN", "KN"), lambda dout, W: dout @ W.T),
}


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_the_float32_product_of_rounded_operands(module, name):
    operands, product = PRODUCTS[name]
    sizes, rng = {"R": 21, "K": 40, "N": 17}, np.random.default_rng(3)
    first, second = (
        rng.normal(size=[sizes[letter] for letter in letters]).astype(np.float32)
        for letters in operands
    )
    exact = product(first.astype(np.float64), second.astype(np.float64))
    rounded = product(*(round_to_bfloat16(a).astype(np.float64) for a in (first, second)))
    out = np.full(exact.shape, np.nan, np.float32)
    getattr(module, name)(first, second, out)
    assert relative_error(out, exact) < 1e-6
    getattr(module, name)(first, second, out, precision="bfloat16")
    assert relative_error(out, rounded) < 1e-6
    assert relative_error(out, exact) > 1e-4


# -- recurrences -----------------------------------------------------------------------------------
# The expected results are computed one step at a time in float32: the test itself computes the
# product of rounded operands, and calls the kernel with recurrent weights of 0 for the gates alone.

# Over several steps, an error in the last place can change how an operand is rounded: two bounds.
STEPS = [(1, 1e-5), (12, 1e-3)]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def product(a, W):
    return round_to_bfloat16(a) @ round_to_bfloat16(W)


def draw_window(cell, T, B=5, H=64):
    """The arguments of a cell's forward kernel: inputs, and arrays for its outputs."""
    rng = np.random.default_rng(T)

    def draw(*shape, scale=1.0):
        return rng.normal(0, scale, shape).astype(np.float32)

    Wh = draw(H, GATES[cell] * H, scale=H**-0.5)
    a, h, c, output = (
        draw(T, B, GATES[cell] * H), draw(T + 1, B, H), draw(T + 1, B, H), draw(T, B, H)
    )  # fmt: skip
    if cell == "lstm":
        return [a, h, c, output, Wh]
    return [a, h, output, Wh, draw(H)] if cell == "gru" else [a, h, Wh]


def forward_by_steps(cell, arrays):
    """Compute the same as the forward kernel, into the same arrays."""
    a, h = arrays[:2]
    H = h.shape[2]
    Wh = arrays[3] if cell == "gru" else arrays[-1]
    for t in range(len(a)):
        now, both = slice(t, t + 1), slice(t, t + 2)
        recurrent, no_Wh = product(h[t], Wh), np.zeros_like(Wh)
        if cell == "gru":
            a[t, :, : 2 * H] += recurrent[:, : 2 * H]
            bias = recurrent[:, 2 * H :] + arrays[4]
            reference.gru_forward(a[now], h[both], arrays[2][now], no_Wh, bias)
            continue
        a[t] += recurrent
        if cell == "lstm":
            reference.lstm_forward(a[now], h[both], arrays[2][both], arrays[3][now], no_Wh)
        else:
            reference.rnn_forward(a[now], h[both], no_Wh)


def backward_by_steps(cell, arrays, dstate, dout):
    """Compute the same as the backward kernel, into arrays[0], the GRU's arrays[2], and dstate."""
    a, h = arrays[:2]
    H = h.shape[2]
    Wh = arrays[3] if cell == "gru" else arrays[-1]
    for t in reversed(range(len(a))):
        now, both, no_Wh = slice(t, t + 1), slice(t, t + 2), np.zeros_like(Wh)
        da = a[t]
        if cell == "lstm":
            c, tanh_c = arrays[2][both], arrays[3][now]
            reference.lstm_backward(a[now], *dstate, dout[now], h[both], c, tanh_c, no_Wh)
        elif cell == "gru":
            m = arrays[2]
            reference.gru_backward(a[now], dstate[0], dout[now], h[both], m[now], no_Wh)
            da = np.concatenate((a[t, :, : 2 * H], m[t]), axis=1)
        else:
            reference.rnn_backward(a[now], dstate[0], dout[now], h[both], no_Wh)
        dstate[0] += product(da, Wh.T)


@pytest.mark.parametrize("module", [kernels, reference])
@pytest.mark.parametrize(("steps", "bound"), STEPS)
@pytest.mark.parametrize("cell", GATES)
def test_a_recurrence_multiplies_rounded_operands_and_rounds_nothing_else(
    cell, steps, bound, module
):
    result, stepwise = draw_window(cell, steps), draw_window(cell, steps)
    getattr(module, f"{cell}_forward")(*result, precision="bfloat16")
    forward_by_steps(cell, stepwise)
    for k, (array, expected) in enumerate(zip(result, stepwise, strict=True)):
        if (cell, k) != ("rnn", 0):  # overwritten with other numbers
            assert relative_error(array, expected) < bound, k
    # from the same activations: states and outputs of a window are float32, not rounded
    h = stepwise[1]
    assert (h[1:] != round_to_bfloat16(h[1:])).mean() > 0.9
    result = [array.copy() for array in stepwise]
    rng = np.random.default_rng(1)
    dstate = rng.normal(size=(2, *h.shape[1:])).astype(np.float32)
    dout = rng.normal(size=(steps, *h.shape[1:])).astype(np.float32)
    expected_dstate = dstate.copy()
    backward_by_steps(cell, stepwise, expected_dstate, dout)
    states = dstate if cell == "lstm" else dstate[:1]
    bias = cell == "gru"  # the last argument, which the backward pass does not take
    arguments = [result[0], *states, dout, *result[1 : len(result) - bias]]
    getattr(module, f"{cell}_backward")(*arguments, precision="bfloat16")
    assert relative_error(dstate, expected_dstate) < bound
    for k, (array, expected) in enumerate(zip(result, stepwise, strict=True)):
        assert relative_error(array, expected) < bound, k
    assert (result[0] != round_to_bfloat16(result[0])).mean() > 0.9
