"""The network: recurrent layers on top of each other, a softmax head, and a table of n-grams."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids, checked_ids, require_float, require_shape
from charlstm.config import ModelConfig
from charlstm.errors import ArgumentError, CharlstmError, shown
from charlstm.network.activations import Activations, allocate_activations, first_steps, flat_rows
from charlstm.network.dropout import NO_MASKS, Masks
from charlstm.network.layers import LayerActivations, head, layer_of, ngrams
from charlstm.network.memory_needs import activation_bytes, require_memory_for_model
from charlstm.network.parameters import NGRAM_TABLE, Parameters, parameter_shapes
from charlstm.seeds import generator
from charlstm.system.memory import require_memory
from charlstm.text.vocab import Vocab, line_end
from charlstm.untrusted import require_type, whole_number

READ_STEPS = 256  # time steps of a window in `read`


def state_shape(config: ModelConfig, B: int) -> tuple[int, ...]:
    """Return the shape of the state of a model for B streams, (L, S, B, H): see RecurrentStack."""
    S = layer_of(config).STATE_PARTS
    further = ngrams.history_layers(config.ngrams, S, config.hidden)
    return (config.layers + further, S, B, config.hidden)


class RecurrentStack:
    """A network with its vocabulary of V symbols.

    The state is an argument and a result of each call, and is not kept in the network. Several
    threads may therefore use one network at once.

    The state is an array (L, S, B, H), for L layers, B streams and H units. S is 2 for the LSTM (h,
    then c), else 1. With n-grams, L includes extra layers, which hold the last symbols: see
    layers/ngrams.py.
    """

    def __init__(self, config: ModelConfig, vocab: Vocab, seed: int | None = 0) -> None:
        """Make a network with random weights.

        seed: None makes all parameters zero, for a caller that overwrites them.
        """
        require_type("config", config, ModelConfig)
        require_type("vocab", vocab, Vocab)
        config.require_chosen()
        kernels.require_requested_kernels()
        if len(vocab) < 2:
            raise CharlstmError("a model needs a vocabulary of 2 symbols or more")
        self.config = config
        self.vocab = vocab
        self._cell = layer_of(config)
        shapes = parameter_shapes(config, len(vocab))
        require_memory_for_model(shapes, config)
        self.parameters: Parameters = Parameters(shapes, config.dtype)
        self._layers = [self.parameters.part(f"layers.{k}.") for k in range(config.layers)]
        self._head = self.parameters.part("head.")
        self._codes = ngrams.symbol_codes(vocab.symbols if config.ngrams else ())
        if seed is None:
            return
        rng = generator(seed, "weights")
        for layer in self._layers:
            self._cell.initialise(layer, rng)
        head.initialise(self._head, rng)

    def initial_state(self, B: int) -> Array:
        """Return the state of B streams before the start of a text: zeros, (L, S, B, H)."""
        B = whole_number("B", B, least=0)
        needed = B * math.prod(state_shape(self.config, 1)) * self.parameters.vector.itemsize
        require_memory(needed, f"`B={B}`", "take a smaller `B`")
        return np.zeros(state_shape(self.config, B), self.config.dtype)

    def new_activations(
        self, T: int, B: int, dropout: bool = False, precision: str = "float32"
    ) -> Activations:
        """Allocate the activations of T steps of B streams, to use for any number of windows.

        dropout: whether masks will drop outputs; outputs after dropout need arrays of their own.
        precision: the precision of the operands of matrix products: see resolve_precision.
        """
        T, B = whole_number("T", T, least=0), whole_number("B", B, least=0)
        require_type("dropout", dropout, bool)
        needed = T * B * activation_bytes(self.config, len(self.vocab))
        require_memory(needed, f"`T={T}, B={B}`", "take a smaller `T` or `B`")
        return allocate_activations(self.config, len(self.vocab), T, B, dropout, precision)

    # -- forward -----------------------------------------------------------------------------------

    def forward(
        self, inputs: Ids, state: Array, activations: Activations, masks: Masks = NO_MASKS
    ) -> Array:
        """Read a window; return the state after it.

        inputs (T, B): ids. state (L, S, B, H): the state before the window.
        activations: overwritten; their log_probs (T * B, V) predict the symbol after each input.
        masks: may drop outputs only if the activations were allocated with dropout=True.
        """
        inputs = self._checked("inputs", inputs)
        state = self._checked_state(state, inputs.shape[1])
        self._require_activations(activations, inputs.shape)
        require_type("masks", masks, Masks)
        new_state = self._forward_layers(inputs, state, activations, masks)
        self._fill_head_input(activations, masks)
        table = self.parameters.get(NGRAM_TABLE)
        if table is not None:
            activations.ngram_rows[...] = self.context_rows(inputs, state, new_state)
        head.forward(
            self._head,
            flat_rows(activations.head_input),
            activations.log_probs,
            activations.precision,
            table,
            activations.ngram_rows,
        )
        return new_state

    def _forward_layers(
        self, inputs: Ids, state: Array, activations: Activations, masks: Masks = NO_MASKS
    ) -> Array:
        """Run the recurrent layers over a window; return the state after it.

        In the returned state, the layers that hold symbols are not set yet: see _keep_history.
        """
        new_state = np.empty_like(state)
        activations.inputs[0] = inputs
        for k, layer in enumerate(activations.layers):
            new_state[k] = self._cell.forward(
                self._layer_parameters(k, masks),
                activations.inputs[k],
                state[k],
                layer,
                self._symbols_beside(k, inputs),
            )
            if masks.between is not None and k < len(masks.between):
                np.multiply(layer.h[1:], masks.between[k], out=activations.inputs[k + 1])
        return new_state

    def _layer_parameters(self, k: int, masks: Masks) -> Mapping[str, Array]:
        """Return the parameters of layer k, with the Wh of `masks` if the masks drop weights."""
        layer = self._layers[k]
        return {**layer, "Wh": masks.recurrent[k].weights} if masks.recurrent else layer

    def _symbols_beside(self, k: int, inputs: Ids) -> Ids | None:
        """Return the ids that layer k reads in addition to the output of layer k - 1, if any."""
        return inputs if self.config.skip and k else None

    def _fill_head_input(self, activations: Activations, masks: Masks) -> None:
        """Fill head_input with the outputs that the head reads, unless it is a view of them."""
        count = self.config.layers_seen
        for k, layer in enumerate(activations.layers[-count:]):
            if masks.head_input is not None:
                factors = masks.head_input[k]
                np.multiply(layer.h[1:], factors, out=activations.head_input[:, :, k])
            elif count > 1:
                activations.head_input[:, :, k] = layer.h[1:]

    def context_rows(self, inputs: Ids, state: Array, new_state: Array) -> Ids:
        """Return the indices (T * B, ngrams - 1) of the n-gram table's rows for each prediction.

        Only for a model with n-grams. inputs (T, B): the ids of a window.
        state, new_state: the states before and after the window. The last symbols of the window are
            written into new_state, which may be the same array as `state`.
        """
        if not self.config.ngrams:
            raise CharlstmError("a model without a table of n-grams (`ngrams=0`) has no such rows")
        inputs = self._checked("inputs", inputs)
        state = self._checked_state(state, inputs.shape[1])
        require_type("new_state", new_state, np.ndarray)
        require_shape("new_state", new_state, state.shape)
        require_float("new_state", new_state)
        symbols = self._keep_history(inputs, state, new_state)
        return ngrams.context_rows(self._codes[symbols], len(inputs), self.config.ngram_slots)

    def _keep_history(self, inputs: Ids, state: Array, new_state: Array) -> Ids:
        """Write the last symbols of a window into the state after the window.

        Returns the last symbols before the window and those in it, (longest - 1 + T, B), as ids
        plus one.
        """
        L, longest = self.config.layers, self.config.ngrams
        history = ngrams.read_history(state[L:], longest, len(self.vocab))
        symbols: Ids = np.concatenate((history, inputs + 1))
        ngrams.write_history(symbols[len(inputs) :], new_state[L:])
        return symbols

    # -- backward ----------------------------------------------------------------------------------

    def backward(
        self,
        targets: Ids,
        activations: Activations,
        gradients: Parameters,
        scale: float | Array,
        masks: Masks = NO_MASKS,
        dstate: Array | None = None,
    ) -> Array:
        """Back-propagate after a forward pass: backward_activations, then weight_gradients."""
        dstate = self.backward_activations(targets, activations, scale, masks, dstate)
        for task in self.weight_gradients(activations, gradients, masks):
            task()
        return dstate

    def backward_activations(
        self,
        targets: Ids,
        activations: Activations,
        scale: float | Array,
        masks: Masks = NO_MASKS,
        dstate: Array | None = None,
    ) -> Array:
        """Back-propagate the loss, from the head to the inputs; return the gradient of the state.

        The loss is the sum over all targets (T, B) of scale * cross-entropy. `scale` is one factor
        for all targets, or an array (T * B) with a factor for each.

        activations, masks: those of the forward pass. Gradients overwrite some of the activations;
            weight_gradients reads these gradients and the remaining activations.
        dstate (L, S, B, H): the gradient of the state after the window; None for zeros, as in
            truncated back-propagation through time.
        Returns the gradient of the state before the window.
        """
        targets = self._checked("targets", targets)
        self._require_activations(activations, targets.shape)
        require_type("masks", masks, Masks)
        dstate = self._checked_state(dstate, targets.shape[1], "dstate").copy()
        scales = np.empty(targets.size, self.config.dtype)
        try:
            scales[...] = scale
        except (TypeError, ValueError):
            raise ArgumentError(
                f"`scale` must be a number, or an array of {targets.size} numbers"
            ) from None
        dout, dhead_input = activations.dout, activations.dhead_input
        head.backward(
            self._head,
            targets.reshape(-1),
            activations.log_probs,
            scales,
            flat_rows(dhead_input),
            activations.precision,
        )
        if masks.head_input is not None:
            dhead_input *= masks.head_input.swapaxes(0, 1)
        # If the head reads one layer only, dhead_input is a view of dout.
        several_seen = self.config.layers_seen > 1
        if several_seen:
            dout[...] = dhead_input[:, :, -1]
        dstate[len(self._layers) :] = 0  # layers of the state that hold symbols have no gradient
        for k in reversed(range(len(self._layers))):
            self._cell.backward(
                self._layer_parameters(k, masks),
                dout,
                dstate[k],
                activations.layers[k],
                dout if k else None,
            )
            if k and masks.between is not None:
                dout *= masks.between[k - 1]
            if k and several_seen:
                dout += dhead_input[:, :, k - 1]
        return dstate

    def weight_gradients(
        self, activations: Activations, gradients: Parameters, masks: Masks = NO_MASKS
    ) -> list[Callable[[], None]]:
        """Return the tasks that overwrite `gradients` with the gradients of the weights.

        The tasks may run after backward_activations, on any threads and in any order. If
        `gradients` has no n-gram table, no task computes the gradient of the table. The caller can
        then compute it from ngram_rows and log_probs of the activations.
        """
        require_type("activations", activations, Activations)
        self._require_activations(activations, activations.inputs[0].shape)
        require_type("gradients", gradients, Parameters)
        require_type("masks", masks, Masks)
        for name, weights in self.parameters.items():
            if name in gradients or name != NGRAM_TABLE:
                require_shape(
                    f"gradients[{name}]", gradients.get(name, np.empty(())), weights.shape
                )
        tasks: list[Callable[[], None]] = []
        for k, layer in enumerate(activations.layers):
            own, x = gradients.part(f"layers.{k}."), activations.inputs[k]
            symbols = self._symbols_beside(k, activations.inputs[0])
            factors = masks.recurrent[k].factors if masks.recurrent else None
            tasks += [
                partial(self._recurrent_gradients, own, layer, factors),
                partial(self._cell.projection_gradients, own, x, layer, symbols),
            ]
        own, x = gradients.part("head."), flat_rows(activations.head_input)
        dlogits = activations.log_probs
        tasks.append(partial(head.weight_gradients, own, x, dlogits, activations.precision))
        if NGRAM_TABLE in gradients:
            rows, dtable = activations.ngram_rows, gradients[NGRAM_TABLE]
            tasks.append(partial(ngrams.table_gradient, rows, dlogits, dtable))
        return tasks

    def _recurrent_gradients(
        self, gradients: Mapping[str, Array], layer: LayerActivations, factors: Array | None
    ) -> None:
        """Overwrite the recurrent gradients of a layer: that of Wh and, in a GRU, that of bn.

        factors: see DroppedWeights; None if no weights of the layer were dropped.
        """
        self._cell.recurrent_gradients(gradients, layer)
        if factors is not None:
            gradients["Wh"][...] *= factors

    # -- losses and single steps -------------------------------------------------------------------

    def losses(
        self, inputs: Ids, targets: Ids, state: Array, activations: Activations | None = None
    ) -> tuple[Array, Array]:
        """Return the loss (T, B) of each target in nats, and the state after the window.

        inputs, targets: ids (T, B). activations: the result of new_activations(T, B), which may be
        used for many calls; None allocates new ones.
        """
        inputs, targets = self._checked_window(inputs, targets)
        if activations is None:
            activations = self.new_activations(*inputs.shape)
        state = self.forward(inputs, state, activations)
        losses = head.cross_entropy(activations.log_probs, targets.reshape(-1))
        return losses.reshape(inputs.shape), state

    def loss_and_gradients(
        self, inputs: Ids, targets: Ids, state: Array | None = None
    ) -> tuple[float, dict[str, Array], Array]:
        """Return the mean loss in nats, its gradients by parameter name, and the next state.

        inputs, targets: (T, B) ids below the size of the vocabulary.
        state: (L, S, B, H) as initial_state or an earlier call returned it; None for zeros.
        """
        inputs, targets = self._checked_window(inputs, targets)
        activations = self.new_activations(*inputs.shape)
        state = self._checked_state(state, inputs.shape[1])
        losses, state = self.losses(inputs, targets, state, activations)
        gradients = self.parameters.zeros_like()
        self.backward(targets, activations, gradients, 1 / inputs.size)
        return float(losses.mean(dtype=np.float64)), gradients, state

    def step(self, ids: Ids, state: Array) -> tuple[Array, Array]:
        """Read one symbol of each stream; return log-probabilities (B, V) and the next state.

        ids (B,). For a model of lines, a line end starts a new text: it is read from a zero state.
        """
        row = self._checked("ids", ids, "B")[None]
        state = self._checked_state(state, row.shape[1])
        if self.config.lines:
            state = np.where((row == line_end(self.vocab))[..., None], 0, state)
        activations = self.new_activations(*row.shape)
        state = self.forward(row, state, activations)
        return activations.log_probs, state

    def read(self, ids: Ids, state: Array) -> Array:
        """Read a text (N,) of one stream in windows; return the state after it.

        `read` makes no predictions, so it is much faster than N calls of `step`. For a model of
        lines, a line end starts a new text, as in `step`.
        """
        inputs = self._checked("ids", ids, "N")[:, None]
        before = self._checked_state(state, 1)
        if self.config.lines:
            line_ends = np.flatnonzero(inputs == line_end(self.vocab))
            if len(line_ends):
                inputs, before = inputs[line_ends[-1] :], self.initial_state(1)
        T = min(READ_STEPS, len(inputs))
        # A vocabulary size of 0 saves the memory for log-probabilities, which are not computed.
        activations = allocate_activations(self.config, 0, T, 1, dropout=False, precision="float32")
        after = before
        for start in range(0, len(inputs), T):
            window = inputs[start : start + T]
            if len(window) < T:
                activations = first_steps(activations, len(window))
            after = self._forward_layers(window, after, activations)
        if self.config.ngrams:
            self._keep_history(inputs, before, after)
        return after

    def _checked(self, name: str, ids: Ids, shape: str = "TB") -> Ids:
        """Return ids as np.intp; CharlstmError for bad ones. shape: a letter per dimension."""
        found = checked_ids(name, ids, tuple(shape), len(self.vocab))
        if not found.size:
            raise ArgumentError(f"`{name}` must not be empty, but is of shape {found.shape}")
        return found.astype(np.intp, copy=False)

    def _checked_window(self, inputs: Ids, targets: Ids) -> tuple[Ids, Ids]:
        inputs, targets = self._checked("inputs", inputs), self._checked("targets", targets)
        if inputs.shape != targets.shape:
            raise ArgumentError(
                f"`targets` must have the shape of `inputs`, {inputs.shape}, not {targets.shape}"
            )
        return inputs, targets

    def _require_activations(self, activations: Activations, shape: tuple[int, ...]) -> None:
        """Raise CharlstmError for activations of another model or of other windows (T, B)."""
        require_type("activations", activations, Activations)
        found = (activations.inputs[0].shape, activations.dout.shape, len(activations.layers))
        needed = (shape, (*shape, self.config.hidden), self.config.layers)
        of_symbols = (math.prod(shape), len(self.vocab))
        if found != needed or activations.log_probs.shape != of_symbols:
            raise ArgumentError(
                "`activations` must come from new_activations of this model for ids of shape "
                f"{shape}"
            )

    def _checked_state(self, state: Array | None, B: int, name: str = "state") -> Array:
        if state is None:
            return self.initial_state(B)
        try:
            checked = np.asarray(state, self.config.dtype)
        except (TypeError, ValueError):
            raise ArgumentError(f"`{name}` must hold numbers, not {shown(state)}") from None
        require_shape(name, checked, state_shape(self.config, B))
        return checked
