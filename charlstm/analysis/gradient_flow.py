"""How far back in time the gradient of a loss reaches: where it vanishes, lasts or explodes.

Going back one step multiplies the gradient of the state by that step's Jacobian. For a plain RNN
this is a slope of at most 1 times the recurrent weights, for all steps the same: over k steps the
gradient shrinks or grows as a k-th power (Hochreiter 1991; Bengio et al. 1994), and vanishes for
sure where the largest singular value of the weights is below 1 (Pascanu et al. 2013). The cell
state of an LSTM has a path that passes through the forget gates alone (Hochreiter and Schmidhuber
1997, Gers et al. 2000): over k steps, the product of k gates, near 1 where they are open. What
explodes, clipping the norm of the gradient tames (Pascanu et al. 2013); what vanished is gone.

The measurement runs the layers and kernels that train, in windows of one step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig, TrainConfig
from charlstm.errors import CharlstmError
from charlstm.network.layers.lstm import LSTMActivations
from charlstm.network.memory_needs import require_memory_for
from charlstm.network.model import CharModel
from charlstm.network.parameters import parameter_shapes
from charlstm.seeds import generator
from charlstm.system.memory import require_memory
from charlstm.text.vocab import Vocab
from charlstm.training.trainer import Trainer

LAGS, STREAMS = 500, 8
WARM_UP = 100  # steps before the lags begin, so that no state is still near its zero beginning
TRAINING_WINDOW = 200  # steps of the training step that shows clipping
GONE = 1e-3  # a gradient is gone where its norm is below this part of that at lag 1


@dataclass(frozen=True)
class ClippedStep:
    """The norm of the gradient in one training step: as it was, and as the optimizer got it."""

    norm: float
    clipped: float


@dataclass(frozen=True)
class GradientFlow:
    """What was measured of one layer of a model."""

    label: str
    cell: str
    layer: int  # from 1
    norms: dict[str, Array]  # those of `measure` that there are, (lags,)
    step: ClippedStep

    def gone_at(self, name: str) -> int | None:
        """The first lag whose norm is below GONE times that at lag 1; None if there is none."""
        norms = self.norms[name]
        below = np.flatnonzero(norms < GONE * norms[0])
        return int(below[0]) + 1 if len(below) else None


def gradient_norms(
    model: CharModel, ids: Ids, lags: int = LAGS, streams: int = STREAMS
) -> dict[str, Array]:
    """Measure gradients over the lag on a text of ids (1-D), of which `streams` parts are read.

    Returns arrays (lags, L), with row k-1 for lag k and a column for each of L layers:

    dh, dc: |dL_t/dh_{t-k}| and |dL_t/dc_{t-k}|, the mean over the streams. L_t is the loss of the
        last symbol alone; h and c are the two parts of the state that step t-k hands on to the
        next step of its layer. No dc where the cell has no c.
    forget: the product of the forget gates of the last k steps, the mean over units and streams.
        LSTM only.

    Back-propagation goes one step at a time: the gradient of the state before a window of one step
    goes into the window before it, and only the last window's loss counts. Each step is run again
    from the state that a first pass kept, so that room for one step is enough. All is computed in
    float64, so that norms far below the range of float32 still show.
    """
    steps = WARM_UP + lags
    if len(ids) <= steps:
        raise CharlstmError(
            f"a text of {len(ids)} symbols is too short for --lags {lags}: "
            f"it takes {steps + 1} or more"
        )
    state_size = math.prod(model.initial_state(streams).shape)
    require_memory(8 * steps * state_size, f"--lags {lags}", "take fewer")
    model = _in_float64(model)
    starts = np.unique(np.linspace(0, len(ids) - steps - 1, streams, dtype=np.intp))
    window = ids[starts + np.arange(steps + 1)[:, None]].astype(np.intp)  # (steps + 1, B)
    activations = model.new_activations(1, len(starts))
    states = [model.initial_state(len(starts))]  # each (L, S, B, H)
    for t in range(steps):
        states.append(model.forward(window[t : t + 1], states[t], activations))

    L, (_, S, B, H) = model.config.layers, states[0].shape
    norms, forget = np.empty((lags, L, S)), np.empty((lags, L))
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
            norms[lag - 1] = np.linalg.norm(dstate[:L], axis=-1).mean(axis=-1)
        forget[lag - 1] = product.mean(axis=(1, 2))
        if not np.isfinite(norms[lag - 1]).all():
            raise CharlstmError(f"the gradient overflows float64 at lag {lag}: lower --lags")
    if S == 1:
        return {"dh": norms[:, :, 0]}
    return {"dh": norms[:, :, 0], "dc": norms[:, :, 1], "forget": forget}


def clipped_step(model: CharModel, ids: Ids, clip: float) -> ClippedStep:
    """One step of the trainer on a copy of the model: plain gradient descent at rate 1, so that
    the change of the weights is the gradient that clipping let through. clip: 0 for none.
    """
    model = _in_float64(model)
    before = model.parameters.vector.copy()
    config = TrainConfig(
        batch_size=STREAMS,
        seq_length=TRAINING_WINDOW,
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
        raise CharlstmError("the gradient of a training step overflows: take smaller weights")
    change = float(np.linalg.norm(model.parameters.vector - before))
    return ClippedStep(trainer.gradient_norm, change)


def measure_gradient_flow(
    models: Mapping[str, CharModel],
    ids: Ids,
    lags: int = LAGS,
    layer: int | None = None,
    clip: float = 5.0,
) -> list[GradientFlow]:
    """Measure models, given by label, on the same ids; layer: from 1, None for the last."""
    flows = []
    for label, model in models.items():
        layers = model.config.layers
        if layer is not None and layer > layers:
            raise CharlstmError(f"--layer {layer}: there is no such layer among {layers}")
        shown = layer or layers
        norms = {name: all[:, shown - 1] for name, all in gradient_norms(model, ids, lags).items()}
        step = clipped_step(model, ids, clip)
        flows.append(GradientFlow(label, model.config.cell, shown, norms, step))
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
    """An untrained model.

    forget_bias: bias of the gate that keeps the state, the LSTM's f or the GRU's z, in place of 1.
    recurrent_scale: a factor on all recurrent weights, which are drawn from N(0, 1/H), so that
        it is about their spectral radius; PyTorch's initialisation has 1/sqrt(3) = 0.58.
    """
    if forget_bias is not None and config.cell == "rnn":
        raise CharlstmError("--forget-bias is for lstm and gru: rnn has no gates")
    # it is measured in a copy of float64, beside a gradient, and trained for a step
    require_memory_for(parameter_shapes(config, len(vocab)), replace(config, dtype="float64"), 3)
    model = CharModel(config, vocab, seed)
    for k in range(config.layers):
        layer = model.parameters.part(f"layers.{k}.")
        layer["Wh"] *= recurrent_scale
        if forget_bias is not None:
            layer["b"][config.hidden : 2 * config.hidden] = forget_bias
    return model


def models_to_compare(
    hidden: int, layers: int, vocab: Vocab, seed: int = 0
) -> dict[str, CharModel]:
    """Fresh models of one size by label: the same cells, with small, plain and wide beginnings."""

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


def random_ids(vocab: Vocab, lags: int = LAGS, seed: int = 0) -> Ids:
    """A text of ids that are all equally likely, as long as `measure` wants it."""
    size = STREAMS * (WARM_UP + max(lags, TRAINING_WINDOW) + 1)
    require_memory(8 * size, f"--lags {lags}", "take fewer")
    ids: Ids = generator(seed, "sample").integers(len(vocab), size=size)
    return ids


def _in_float64(model: CharModel) -> CharModel:
    """A copy, which reads lines as any text: with the state of the line before."""
    copy = CharModel(replace(model.config, dtype="float64", lines=False), model.vocab, seed=None)
    copy.parameters.copy_from(model.parameters)
    return copy


# -- the picture ------------------------------------------------------------------------------
