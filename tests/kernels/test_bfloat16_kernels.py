"""The native kernels for bfloat16 against those in NumPy, under each instruction set for it.

Each instruction set is tested as this machine has it, if it does, and emulated: the same files
compiled with the instructions written out in C.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import small_trainers
from oracles import relative_error

from charlstm import kernels
from charlstm.kernels import native, native_library, reference
from charlstm.training.native_step import NativeStep

SOURCES = Path(native_library.__file__).parent
INSTRUCTION_SETS = ("amx", "avx512bf16")
SHAPES = [(8, 1, 1), (9, 7, 5), (16, 25, 33), (8, 50, 70), (12, 17, 128), (10, 33, 16)]


def has(isa):
    try:
        return isa in native_library.usable()
    except native_library.UnavailableError:
        return False


@pytest.fixture(scope="module")
def emulations(tmp_path_factory):
    """For each instruction set, a library in which its instructions are plain C."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("emulations")
    flags = ["-O1", "-shared", "-fPIC", "-Wno-psabi", "-DCHARLSTM_EMULATED"]
    flags += shlex.split(os.environ.get("CFLAGS", ""))
    compilations = [  # at the same time
        subprocess.Popen([compiler, *flags, SOURCES / f"native_{isa}.c", "-o", folder / isa, "-lm"])
        for isa in INSTRUCTION_SETS
    ]
    assert [compilation.wait() for compilation in compilations] == [0, 0]
    return {isa: ctypes.CDLL(str(folder / isa)) for isa in INSTRUCTION_SETS}


@pytest.fixture(
    params=[
        *((isa, "emulated") for isa in INSTRUCTION_SETS),
        *((isa, "real") for isa in INSTRUCTION_SETS if has(isa)),
    ],
    ids=" ".join,
    autouse=True,
)
def instruction_set(request, monkeypatch):
    """The native kernels multiply bfloat16 with each instruction set, emulated and real."""
    isa, kind = request.param
    native_library.typed_function.cache_clear()
    native_library.size_of.cache_clear()
    if kind == "emulated":
        emulation = request.getfixturevalue("emulations")[isa]
        monkeypatch.setattr(native_library, "load", lambda: emulation)
    for module in (native, native_library):
        monkeypatch.setattr(module, "bfloat16_set", lambda: isa)
    yield
    native_library.typed_function.cache_clear()
    native_library.size_of.cache_clear()


def draw(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_forward_and_backward_equals_the_reference(shape, capped):
    T, B, H = shape
    rng = np.random.default_rng(H)
    Wh = draw(rng, H, 4 * H) / np.float32(H**0.5)
    x, dh_out, last_dh, last_dc = (
        draw(rng, *size) for size in ((T, B, 4 * H), (T, B, H), (B, H), (B, H))
    )
    first_h, first_c = np.tanh(draw(rng, B, H)), draw(rng, B, H)
    results = []
    for module in (native, reference):
        gates, dh, dc = x.copy(), last_dh.copy(), last_dc.copy()
        h, c, tanh_c = (np.full((n, B, H), np.nan, np.float32) for n in (T + 1, T + 1, T))
        h[0], c[0] = first_h, first_c
        module.lstm_forward(gates, h, c, tanh_c, Wh, "bfloat16", capped)
        forward = [array.copy() for array in (gates, h, c, tanh_c)]
        module.lstm_backward(gates, dh, dc, dh_out, h, c, tanh_c, Wh, "bfloat16", capped)
        results.append([*forward, gates, dh, dc])
    for result, expected in zip(*results, strict=True):
        assert relative_error(result, expected) < 1e-3
    exact = x.copy()
    reference.lstm_forward(exact, h, c, tanh_c, Wh, capped=capped)
    assert relative_error(exact, results[0][0]) > 1e-5, "the operands were not rounded"


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (7, 5, 3), (33, 65, 31), (50, 70, 520), (17, 16, 64), (100, 130, 33)]
)
def test_each_product_equals_the_reference(shape):
    R, K, N = shape
    rng = np.random.default_rng(R)
    x, W, dout, b = draw(rng, R, K), draw(rng, K, N), draw(rng, R, N), draw(rng, N)
    for name, arguments, further, size in (
        ("project", (x, W), {}, (R, N)),
        ("project", (x, W), {"b": b}, (R, N)),
        ("weight_gradient", (x, dout), {}, (K, N)),
        ("input_gradient", (dout, W), {}, (R, K)),
    ):
        result, expected = (np.full(size, np.nan, np.float32) for _ in range(2))
        getattr(native, name)(*arguments, result, "bfloat16", **further)
        getattr(reference, name)(*arguments, expected, "bfloat16", **further)
        assert relative_error(result, expected) < 1e-5, name


def trained_weights(monkeypatch, native_step, precision="bfloat16"):
    """The weights after three steps, by the native step or layer by layer."""
    with monkeypatch.context() as patched:
        patched.setattr(kernels, "can_train", lambda *_: native_step)
        trainer = small_trainers.make_trainer(
            hidden=37, skip=True, precision=precision, workers=2, dropout=0.2
        )
    for _ in range(3):
        trainer.step()
    trainer.close()
    assert isinstance(trainer._step, NativeStep) == native_step
    return trainer.model.parameters.vector


@pytest.fixture(scope="module")
def weights_layer_by_layer():
    """Those in bfloat16, then those in float32."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return [trained_weights(monkeypatch, False, each) for each in ("bfloat16", "float32")]


def test_training_steps_equal_those_made_layer_by_layer(weights_layer_by_layer, monkeypatch):
    rounded, exact = weights_layer_by_layer
    found = trained_weights(monkeypatch, native_step=True)
    assert relative_error(found, rounded) < relative_error(exact, rounded) / 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_shows_in_its_row(bad):
    x, W = np.ones((3, 40), np.float32), np.ones((40, 5), np.float32)
    x[1, 37] = bad
    out = np.zeros((3, 5), np.float32)
    native.project(x, W, out, "bfloat16")
    assert np.array_equal(out[[0, 2]], np.full((2, 5), 40))
    assert np.array_equal(out[1], np.full(5, bad), equal_nan=True)


def test_operands_are_rounded_to_nearest_even():
    # the last place of a bfloat16 at 1 is 2^-7; ties go to the even one
    x = np.float32([[1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-16, -1 - 2**-8, 2**-130, 3.4e38]])
    out = np.zeros((6, 6), np.float32)
    native.weight_gradient(x, np.ones((1, 6), np.float32), out, "bfloat16")
    expected = [1, 1 + 2**-6, 1 + 2**-7, -1, 0, np.inf]  # below 2^-126, 0 is allowed
    assert np.allclose(out[:, 0], expected, rtol=0, atol=2**-126)
