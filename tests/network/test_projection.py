"""The input projection: few symbols and many give the same bits, and few cost little."""

import tracemalloc

import numpy as np
import pytest

from charlstm.network.layers import projection

V, N = 500, 12


def make_parameters(skip, dtype="float32"):
    rng = np.random.default_rng(0)
    shapes = {"Wx": (3 if skip else V, N), "b": (N,), **({"Wi": (V, N)} if skip else {})}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def project(parameters, ids):
    """The projection (T, B, N) of ids (T, B), beside a dense input where the layer has a Wi."""
    out = np.empty((*ids.shape, N), parameters["b"].dtype)
    if "Wi" in parameters:
        x = np.ones((*ids.shape, 3), out.dtype)
        projection.forward(parameters, x, out, "float32", ids)
    else:
        projection.forward(parameters, ids, out, "float32")
    return out


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_symbol_at_a_time_gives_the_bits_of_a_large_window(skip, dtype):
    parameters = make_parameters(skip, dtype)
    ids = np.random.default_rng(1).integers(V, size=(2 * V, 1))
    window = project(parameters, ids)
    steps = np.concatenate([project(parameters, row[None]) for row in ids])
    assert window.tobytes() == steps.tobytes()


@pytest.mark.parametrize("skip", [False, True])
def test_a_step_does_not_add_the_bias_to_the_rows_of_all_symbols(skip):
    """The sum of one matrix of weights and the bias would take as much memory as the matrix."""
    parameters = make_parameters(skip)
    tracemalloc.start()
    project(parameters, np.array([[7]]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < parameters["Wi" if skip else "Wx"].nbytes / 2
