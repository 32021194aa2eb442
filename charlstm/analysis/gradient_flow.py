"""Gradient flow: how far back in time the gradient of a loss vanishes, lasts or explodes.

One step back in time multiplies the gradient of the state by that step's Jacobian. In a plain RNN,
the Jacobian is the matrix of recurrent weights, which is the same in all steps, times slopes of
tanh, which are at most 1. Over k steps, the gradient of a plain RNN shrinks or grows like a k-th
power (Hochreiter 1991; Bengio et al. 1994). The gradient always vanishes if the largest singular
value of the recurrent weights is below 1 (Pascanu et al. 2013). In an LSTM, the gradient of the
cell state has a path through the forget gates alone (Hochreiter and Schmidhuber 1997, Gers et al.
2000): k steps multiply it by k gates, which are near 1 when open. Clipping the norm limits
gradients that explode (Pascanu et al. 2013), but does not enlarge gradients that vanish.

The measurement runs the same layers and kernels as training does, in windows of one time step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig, TrainConfig
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.network.layers.lstm import LSTMActivations
from charlstm.network.memory_needs import require_memory_for_model
from charlstm.network.model import CharModel
from charlstm.network.parameters import parameter_shapes
from charlstm.seeds import generator
from charlstm.system.memory import require_memory
from charlstm.text.vocab import Vocab
from charlstm.training.trainer import Trainer
from charlstm.untrusted import real_value

DEFAULT_LAGS = 500  # number of time steps over which gradients are followed back
STREAMS = 8  # streams of text that are read in parallel, from places all over the text
WARM_UP_STEPS = 100  # time steps read before those measured, because the state begins at zero
CLIPPED_STEPS = 200  # time steps in the window of the training step that shows clipping
MAX_FORGET_BIAS, MAX_RECURRENT_SCALE = 100, 1_000  # of untrained models
GONE_FRACTION = 1e-3  # a gradient has vanished if norm < GONE_FRACTION * (norm at lag 1)


@dataclass(frozen=True)
class ClippedStep:
    """The norm of the gradient of one training step, before and after clipping."""

    norm: float
    clipped: float


@dataclass(frozen=True)
class GradientFlow:
    """The measurements of one layer of a model.

    label: the name of the model. layer: the number of the layer, from 1.
    streams: arrays (lags, B) by name, a column for each of B streams; the docstring of
        gradient_norms explains the names.
    step: the gradient norm of the complete model in a training step.
    """

    label: str
    cell: str
    layer: int
    streams: dict[str, Array]
    step: ClippedStep

    @cached_property
    def norms(self) -> dict[str, Array]:
        """The means over the streams: arrays (lags,) by name."""
        return {name: norms.mean(axis=1) for name, norms in self.streams.items()}

    def gone_at(self, name: str) -> int | None:
        """Return the first lag whose norm is below GONE_FRACTION * the norm at lag 1, or None."""
        norms = self.norms[name]
        below = np.flatnonzero(norms < GONE_FRACTION * norms[0])
        return int(below[0]) + 1 if len(below) else None


def gradient_norms(
    model: CharModel, ids: Ids, lags: int = DEFAULT_LAGS, streams: int = STREAMS
) -> dict[str, Array]:
    """Measure the norms of gradients by lag, on streams that start at places all over a text.

    ids: (N,) the text.

    Returns arrays (lags, L, B), with row k - 1 for lag k, for L layers and B streams:

    dh, dc: |dL_t/dh_{t-k}| and |dL_t/dc_{t-k}|. L_t is the loss of the last symbol only; h_{t-k}
        and c_{t-k} are the hidden state and the cell state after time step t - k. Only an LSTM has
        dc.
    forget: the product of the forget gates of the last k steps, the mean over the units; only for
        an LSTM.

    A first forward pass stores the state before each time step. Back-propagation then runs each
    step again from its stored state, in a window of one step, so that only the activations of one
    step are in memory. The computation is in float64, which holds norms far below the range of
    float32.
    """
    steps = WARM_UP_STEPS + lags
    if len(ids) <= steps:
        raise CharlstmError(
            f"a text of {len(ids)} symbols is too short for `lags={lags}`: "
            f"give a text of {steps + 1} symbols or more, or a smaller `lags`"
        )
    state_size = math.prod(model.initial_state(streams).shape)
    require_memory(8 * steps * state_size, f"`lags={lags}`", "give a smaller `lags`")
    model = _in_float64(model)
    starts = np.unique(np.linspace(0, len(ids) - steps - 1, streams, dtype=np.intp))
    window = ids[starts + np.arange(steps + 1)[:, None]].astype(np.intp)  # (steps + 1, B)
    activations = model.new_activations(1, len(starts))
    states = [model.initial_state(len(starts))]  # each (L, S, B, H)
    for t in range(steps):
        states.append(model.forward(window[t : t + 1], states[t], activations))

    L, (_, S, B, H) = model.config.layers, states[0].shape
    norms, forget = np.empty((lags, S, L, B)), np.empty((lags, L, B))
    product = np.ones((L, B, H))
    dstate = np.zeros_like(states[0])
    for lag in range(1, lags + 1):
        t = steps - lag
        model.forward(window[t : t + 1], states[t], activations)
        for k, layer in enumerate(activations.layers):
            if isinstance(layer, LSTMActivations):
                product[k] *= layer.gates[0, :, H : 2 * H]
        scale, targets = float(lag == 1), window[t + 1 : t + 2]
        with np.errstate(over="ignore", invalid="ignore"):
            dstate = model.backward_activations(targets, activations, scale, dstate=dstate)
            norms[lag - 1] = np.linalg.norm(dstate[:L], axis=-1).swapaxes(0, 1)
        forget[lag - 1] = product.mean(axis=2)
        if not np.isfinite(norms[lag - 1]).all():
            raise CharlstmError(
                f"the gradient overflows float64 at lag {lag}: give `lags` below {lag}"
            )
    if S == 1:
        return {"dh": norms[:, 0]}
    return {"dh": norms[:, 0], "dc": norms[:, 1], "forget": forget}


def clipped_step(model: CharModel, ids: Ids, clip: float) -> ClippedStep:
    """Measure the gradient of one training step on a copy of the model.

    The step is plain gradient descent at a learning rate of 1: the change of the weights then
    equals the clipped gradient.

    clip: the norm above which the gradient is clipped; 0 for no clipping.
    """
    model = _in_float64(model)
    before = model.parameters.vector.copy()
    config = TrainConfig(
        batch_size=STREAMS,
        seq_length=CLIPPED_STEPS,
        optimizer="sgd",
        beta1=0.0,
        lr=1.0,
        clip=clip,
        steps=1,
        workers=1,
    )
    trainer = Trainer(model, ids, config)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            trainer.step()
    finally:
        trainer.close()
    if not np.isfinite(trainer.gradient_norm):
        raise CharlstmError(
            "the gradient of a training step overflows float64: the weights are too large, "
            "try a smaller `recurrent_scale` or another model"
        )
    change = float(np.linalg.norm(model.parameters.vector - before))
    return ClippedStep(trainer.gradient_norm, change)


def measure_gradient_flow(
    models: Mapping[str, CharModel],
    ids: Ids,
    lags: int = DEFAULT_LAGS,
    layer: int | None = None,
    clip: float = 5.0,
) -> list[GradientFlow]:
    """Measure the gradient flow of several models, given by label, on the same text.

    layer: the number of the layer to measure, from 1; None for the last layer. clip: see
    clipped_step.
    """
    flows = []
    for label, model in models.items():
        layers = model.config.layers
        if layer is not None and layer > layers:
            raise CharlstmError(
                f"`layer={layer}`: the model {label} has no such layer: give 1 to {layers}"
            )
        shown = layer or layers
        norms = gradient_norms(model, ids, lags)
        streams = {name: all_layers[:, shown - 1] for name, all_layers in norms.items()}
        step = clipped_step(model, ids, clip)
        flows.append(GradientFlow(label, model.config.cell, shown, streams, step))
    return flows


# -- the models -------------------------------------------------------------------------------


def fresh_model(
    config: ModelConfig,
    vocab: Vocab,
    seed: int = 0,
    *,
    forget_bias: float | None = None,
    recurrent_scale: float = 1.0,
) -> CharModel:
    """Return an untrained model.

    forget_bias: the bias of the gate that keeps the state, f of an LSTM or z of a GRU; None for 1.
    recurrent_scale: a factor on all recurrent weights, which are drawn from N(0, 1/H). The matrix
        of recurrent weights then has a spectral radius of about recurrent_scale. PyTorch's initial
        weights correspond to a factor of 1/sqrt(3) = 0.58.
    """
    if forget_bias is not None:
        real_value("forget_bias", forget_bias, -MAX_FORGET_BIAS, MAX_FORGET_BIAS)
        if config.cell == "rnn":
            raise ArgumentError("`forget_bias` is for lstm and gru: rnn has no gates")
    real_value("recurrent_scale", recurrent_scale, 0, MAX_RECURRENT_SCALE)
    # The measurement needs a copy of the model in float64, a gradient of the same size, and a copy
    # of the weights before the training step.
    require_memory_for_model(
        parameter_shapes(config, len(vocab)), replace(config, dtype="float64"), 3
    )
    model = CharModel(config, vocab, seed)
    for k in range(config.layers):
        layer = model.parameters.part(f"layers.{k}.")
        layer["Wh"] *= recurrent_scale
        if forget_bias is not None:
            # The second H biases belong to the gate f of an LSTM or the gate z of a GRU.
            layer["b"][config.hidden : 2 * config.hidden] = forget_bias
    return model


def models_to_compare(
    hidden: int, layers: int, vocab: Vocab, seed: int = 0
) -> dict[str, CharModel]:
    """Return untrained models of one size by label; they differ in cells and initial weights."""

    def fresh(cell: Any, **options: float) -> CharModel:
        return fresh_model(ModelConfig(cell, hidden, layers), vocab, seed, **options)

    return {
        "RNN, Wh × 0.58": fresh("rnn", recurrent_scale=3**-0.5),
        "RNN": fresh("rnn"),
        "RNN, Wh × 2": fresh("rnn", recurrent_scale=2.0),
        "GRU": fresh("gru"),
        "LSTM, forget bias 0": fresh("lstm", forget_bias=0.0),
        "LSTM, forget bias 1": fresh("lstm"),
        "LSTM, forget bias 5": fresh("lstm", forget_bias=5.0),
    }


def random_ids(vocab: Vocab, lags: int = DEFAULT_LAGS, seed: int = 0) -> Ids:
    """Return a text of independent, equally likely symbols, long enough for the measurements."""
    size = STREAMS * (WARM_UP_STEPS + max(lags, CLIPPED_STEPS) + 1)
    require_memory(8 * size, f"`lags={lags}`", "give a smaller `lags`")
    ids: Ids = generator(seed, "sample").integers(len(vocab), size=size)
    return ids


def _in_float64(model: CharModel) -> CharModel:
    """Return a copy of a model in float64.

    The copy keeps its state at line ends even if the model is one of lines, so that gradients can
    be followed back across line ends.
    """
    copy = CharModel(replace(model.config, dtype="float64", lines=False), model.vocab, seed=None)
    copy.parameters.copy_from(model.parameters)
    return copy
