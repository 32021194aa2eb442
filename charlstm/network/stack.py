"""The network itself: a gather of rows by symbol, a stack of recurrent layers, a softmax head."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids, require_shape
from charlstm.config import ModelConfig
from charlstm.errors import CharlstmError
from charlstm.network.activations import Activations, allocate_activations, by_step
from charlstm.network.dropout import Masks
from charlstm.network.layers import LayerActivations, layer_of
from charlstm.network.layers.head import (
    cross_entropy,
    head_backward,
    head_gradients,
    head_initialise,
    head_shapes,
    log_probabilities,
)
from charlstm.network.layers.ngrams import (
    history_layers,
    ngram_rows,
    ngrams_backward,
    read_history,
    symbol_codes,
    write_history,
)
from charlstm.network.memory_needs import require_memory_for
from charlstm.network.parameters import NGRAM_TABLE, Parameters
from charlstm.seeds import generator
from charlstm.text.vocab import Vocab, line_end

NOTHING_DROPPED = Masks()


def parameter_shapes(config: ModelConfig, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """The name and shape of every parameter, in the order of the flat vector."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(config.layers):
        D = config.hidden if k else vocabulary
        layer = layer_of(config).shapes(D, config.hidden)
        if config.skip and k:
            layer["Wi"] = (vocabulary, layer["Wx"][1])
        for name, shape in layer.items():
            shapes[f"layers.{k}.{name}"] = shape
    for name, shape in head_shapes(config.layers_seen * config.hidden, vocabulary).items():
        shapes[f"head.{name}"] = shape
    if config.ngrams:
        shapes[NGRAM_TABLE] = (config.ngram_slots, vocabulary)
    return shapes


def _without_dropped(layer: Mapping[str, Array], k: int, masks: Masks) -> Mapping[str, Array]:
    """The parameters of layer k with what is left of Wh in its place."""
    return {**layer, "Wh": masks.recurrent[k].weights} if masks.recurrent else layer


class RecurrentStack:
    """A character-level language model.

    A model holds nothing but its parameters: state goes in and comes out of every call, so one
    model may serve several threads at once.

    State: (L, S, B, H) for L layers and B streams; S = 2 for the LSTM (h, then c), else 1. With
    n-grams, further layers hold the last symbols: see layers/ngrams.py.
    """

    def __init__(self, config: ModelConfig, vocab: Vocab, seed: int | None = 0) -> None:
        """Make a model of fresh weights; seed None leaves all zero, for who fills them."""
        kernels.require_requested_kernels()
        if len(vocab) < 2:
            raise CharlstmError("a model needs a vocabulary of 2 symbols or more")
        self.config = config
        self.vocab = vocab
        self._cell = layer_of(config)
        shapes = parameter_shapes(config, len(vocab))
        require_memory_for(shapes, config)
        self.parameters = Parameters(shapes, config.dtype)
        self._layers = [self.parameters.part(f"layers.{k}.") for k in range(config.layers)]
        self._head = self.parameters.part("head.")
        self._codes = symbol_codes(vocab.symbols if config.ngrams else ())
        if seed is None:
            return
        rng = generator(seed, "weights")
        for layer in self._layers:
            self._cell.initialise(layer, rng)
        head_initialise(self._head, rng)

    def initial_state(self, batch: int) -> Array:
        """The state before a text: zeros, (L, S, B, H)."""
        return np.zeros(self._state_shape(batch), self.config.dtype)

    def _state_shape(self, batch: int) -> tuple[int, ...]:
        config, parts = self.config, self._cell.STATE_PARTS
        further = history_layers(config.ngrams, parts, config.hidden)
        return (config.layers + further, parts, batch, config.hidden)

    def new_activations(
        self, T: int, B: int, dropout: bool = False, precision: str = "float32"
    ) -> Activations:
        """Room for forward and backward over T steps and B streams, to be used again and again.

        dropout: whether outputs will be masked, which then need room of their own.
        precision: of the operands of matrix products: see resolve_precision.
        """
        return allocate_activations(self.config, len(self.vocab), T, B, dropout, precision)

    def forward(
        self, inputs: Ids, state: Array, activations: Activations, masks: Masks = NOTHING_DROPPED
    ) -> Array:
        """Leave log-probabilities and activations in the workspace; return the new state.

        inputs (T, B) ids; state (L, S, B, H); masks: what is left out, outputs for a workspace
        with dropout and for no other.
        """
        w = activations
        w.inputs[0] = inputs
        new_state = np.empty_like(state)
        for k, layer in enumerate(self._layers):
            left = _without_dropped(layer, k, masks)
            symbols = inputs if self.config.skip and k else None
            new_state[k] = self._cell.forward(left, w.inputs[k], state[k], w.layers[k], symbols)
            if masks.between is not None and k < len(masks.between):
                np.multiply(w.layers[k].h[1:], masks.between[k], out=w.inputs[k + 1])
        self._gather_seen(w, masks)
        table = self.parameters.get(NGRAM_TABLE)
        if table is not None:
            self._find_ngrams(inputs, state, new_state, w)
        log_probabilities(
            self._head, by_step(w.seen), w.log_probs, w.precision, table, w.ngram_rows
        )
        return new_state

    def _find_ngrams(self, inputs: Ids, state: Array, new_state: Array, w: Activations) -> None:
        """Write the rows of all contexts into the workspace, the last symbols into new_state."""
        L = self.config.layers
        recent = read_history(state[L:], self.config.ngrams, len(self.vocab))
        symbols = np.concatenate((recent, inputs + 1))
        codes = self._codes[symbols]
        w.ngram_rows = ngram_rows(codes, len(inputs), self.config.ngram_slots)
        write_history(symbols[-len(recent) :], new_state[L:])

    def _gather_seen(self, activations: Activations, masks: Masks) -> None:
        """Write what the head sees into the workspace, where it is not the last layer's output."""
        count = self.config.layers_seen
        for k, layer in enumerate(activations.layers[-count:]):
            if masks.seen is not None:
                np.multiply(layer.h[1:], masks.seen[k], out=activations.seen[:, :, k])
            elif count > 1:
                activations.seen[:, :, k] = layer.h[1:]

    def backward(
        self,
        targets: Ids,
        activations: Activations,
        gradients: Parameters,
        scale: float | Array,
        masks: Masks = NOTHING_DROPPED,
        dstate: Array | None = None,
    ) -> Array:
        """Back-propagate the sum of the cross-entropies, each times scale, after a forward pass.

        See backward_activations and weight_gradients, which this does one after the other.
        """
        dstate = self.backward_activations(targets, activations, scale, masks, dstate)
        for task in self.weight_gradients(activations, gradients, masks):
            task()
        return dstate

    def backward_activations(
        self,
        targets: Ids,
        activations: Activations,
        scale: float | Array,
        masks: Masks = NOTHING_DROPPED,
        dstate: Array | None = None,
    ) -> Array:
        """Back-propagate through all but the weights, after a forward pass.

        targets (T, B). scale: one factor, or one for each target, (T * B). masks: those of the
        forward pass. dstate (L, S, B, H) is the gradient that reaches the last state from outside,
        none under truncation. Uses up the activations, for what weight_gradients takes, and returns
        the gradient of the state before the window.
        """
        w = activations
        scales = np.empty(targets.size, self.config.dtype)
        scales[...] = scale
        head_backward(
            self._head, targets.reshape(-1), w.log_probs, scales, by_step(w.dseen), w.precision
        )
        if masks.seen is not None:
            w.dseen *= masks.seen.swapaxes(0, 1)
        several_seen = self.config.layers_seen > 1  # else dout is dseen
        if several_seen:
            w.dout[...] = w.dseen[:, :, -1]
        dstate = self.initial_state(targets.shape[1]) if dstate is None else dstate.copy()
        dstate[len(self._layers) :] = 0  # symbols have no gradient
        for k in reversed(range(len(self._layers))):
            left = _without_dropped(self._layers[k], k, masks)
            self._cell.backward(left, w.dout, dstate[k], w.layers[k], w.dout if k else None)
            if k and masks.between is not None:
                w.dout *= masks.between[k - 1]
            if k and several_seen:
                w.dout += w.dseen[:, :, k - 1]
        return dstate

    def weight_gradients(
        self, activations: Activations, gradients: Parameters, masks: Masks = NOTHING_DROPPED
    ) -> list[Callable[[], None]]:
        """What overwrites the gradients after backward_activations: tasks for any order and thread.

        That of TABLE only if it is among them: a step that changes few of its rows finds them in
        the workspace.
        """
        w = activations
        tasks: list[Callable[[], None]] = []
        for k, layer in enumerate(w.layers):
            own = gradients.part(f"layers.{k}.")
            symbols = w.inputs[0] if self.config.skip and k else None
            factors = masks.recurrent[k].factors if masks.recurrent else None
            tasks += [
                partial(self._recurrent_gradients, own, layer, factors),
                partial(self._cell.projection_gradients, own, w.inputs[k], layer, symbols),
            ]
        head = gradients.part("head.")
        tasks.append(partial(head_gradients, head, by_step(w.seen), w.log_probs, w.precision))
        if NGRAM_TABLE in gradients:
            tasks.append(
                partial(ngrams_backward, w.ngram_rows, w.log_probs, gradients[NGRAM_TABLE])
            )
        return tasks

    def _recurrent_gradients(
        self, gradients: Mapping[str, Array], layer: LayerActivations, factors: Array | None
    ) -> None:
        """Those of one layer; factors: of Wh, what dropout left of it."""
        self._cell.recurrent_gradients(gradients, layer)
        if factors is not None:
            gradients["Wh"][...] *= factors

    def losses(
        self, inputs: Ids, targets: Ids, state: Array, activations: Activations | None = None
    ) -> tuple[Array, Array]:
        """The nats of each target, (T, B), for inputs and targets (T, B); and the new state.

        workspace: room for (T, B), where there are many calls.
        """
        w = activations or self.new_activations(*inputs.shape)
        state = self.forward(inputs, state, w)
        return cross_entropy(w.log_probs, targets.reshape(-1)).reshape(inputs.shape), state

    def loss_and_gradients(
        self, inputs: Ids, targets: Ids, state: Array | None = None
    ) -> tuple[float, dict[str, Array], Array]:
        """The mean loss in nats, its gradients by parameter name, and the state after the window.

        inputs, targets: (T, B) ids below the size of the vocabulary.
        state: (L, S, B, H) as initial_state or an earlier call gave it; zeros if None.
        """
        inputs, targets = self._checked("inputs", inputs), self._checked("targets", targets)
        if inputs.shape != targets.shape:
            raise CharlstmError(
                f"targets must have the shape of inputs, {inputs.shape}, not {targets.shape}"
            )
        state = self._checked_state(state, inputs.shape[1])
        activations = self.new_activations(*inputs.shape)
        state = self.forward(inputs, state, activations)
        loss = cross_entropy(activations.log_probs, targets.reshape(-1)).mean(dtype=np.float64)
        gradients = self.parameters.like()
        self.backward(targets, activations, gradients, 1 / inputs.size)
        return float(loss), gradients, state

    def step(self, ids: Ids, state: Array) -> tuple[Array, Array]:
        """One symbol: ids (B,) and a state to log-probabilities (B, V) and the next state.

        To a model of lines, a line end is the start of a new text: what came before is forgotten.
        """
        row = self._checked("ids", np.asarray(ids)[None])
        state = self._checked_state(state, row.shape[1])
        if self.config.lines:
            state = np.where((row == line_end(self.vocab))[..., None], 0, state)
        activations = self.new_activations(*row.shape)
        state = self.forward(row, state, activations)
        return activations.log_probs, state

    def _checked(self, name: str, ids: Ids) -> Ids:
        ids = np.asarray(ids)
        if ids.ndim != 2 or ids.size == 0:
            raise CharlstmError(f"{name} must be of shape (T, B), not {ids.shape}")
        if not np.issubdtype(ids.dtype, np.integer):
            raise CharlstmError(f"{name} must be whole numbers, not {ids.dtype}")
        if ids.min() < 0 or ids.max() >= len(self.vocab):
            raise CharlstmError(
                f"{name} must be 0 to {len(self.vocab) - 1}, not {ids.min()} to {ids.max()}"
            )
        return ids.astype(np.intp, copy=False)

    def _checked_state(self, state: Array | None, batch: int) -> Array:
        if state is None:
            return self.initial_state(batch)
        require_shape("state", state, self._state_shape(batch))
        return np.asarray(state, self.config.dtype)
