"""The network by its definition in plain NumPy, for many variants of its parameters at once.

Each array has a leading axis of P variants, or of 1 where all variants share it. So the finite
differences of all elements of a parameter take one pass.
"""

import numpy as np
from plain_ngrams import ngram_rows

from charlstm.network.dropout import Masks
from charlstm.network.parameters import NGRAM_TABLE


def numeric_gradients(model, inputs, targets, state, masks=None, step=1e-4):
    """Finite differences of the mean loss, by parameter name, and those of the "state".

    Of fourth order: (8 (f(step) - f(-step)) - (f(2 step) - f(-2 step))) / (12 step).
    """
    arrays = {**model.parameters, "state": state}
    gradients = {}
    for name, array in arrays.items():
        changes = step * np.eye(array.size).reshape(array.size, *array.shape)
        variants = np.concatenate([array + k * changes for k in (1, -1, 2, -2)])
        losses = mean_losses(model, inputs, targets, state, masks, name, variants)
        above, below, far_above, far_below = np.split(losses, 4)
        differences = 8 * (above - below) - (far_above - far_below)
        gradients[name] = (differences / (12 * step)).reshape(array.shape)
    return gradients


def mean_losses(model, inputs, targets, state, masks=None, changed="", variants=None):
    """The mean loss (P,) with P variants (P, ...) in place of one parameter, or of the "state"."""
    arrays = {name: array[None] for name, array in {**model.parameters, "state": state}.items()}
    if changed:
        arrays[changed] = variants
    (T, B), config, masks = inputs.shape, model.config, masks or Masks()
    one_hot = np.eye(len(model.vocab))[inputs]
    x, outputs = one_hot, []  # x: T arrays (P, B, D)
    for k in range(config.layers):
        prefix = f"layers.{k}."
        own = (name for name in arrays if name.startswith(prefix))
        layer = {name.removeprefix(prefix): arrays[name] for name in own}
        if masks.recurrent:
            layer["Wh"] = layer["Wh"] * masks.recurrent[k].factors
        own_state = arrays["state"][:, k]
        outputs.append([])
        for t in range(T):
            a = x[t] @ layer["Wx"] + layer["b"][:, None]
            if "Wi" in layer:
                a = a + one_hot[t] @ layer["Wi"]
            own_state = STEPS[config.cell](a, own_state, layer, config)
            outputs[k].append(own_state[:, 0])
        factors = 1.0 if masks.between is None or k == config.layers - 1 else masks.between[k]
        x = [h * factors for h in outputs[k]]
    losses = []
    rows, _ = ngram_rows(model, inputs, state[config.layers :])
    for t in range(T):
        seen = [output[t] for output in outputs[-config.layers_seen :]]
        if masks.head_input is not None:
            seen = [h * factors for h, factors in zip(seen, masks.head_input, strict=True)]
        head_input = np.concatenate(np.broadcast_arrays(*seen), axis=-1)
        logits = head_input @ arrays["head.W"] + arrays["head.b"][:, None]
        if config.ngrams:
            logits = logits + arrays[NGRAM_TABLE][:, rows[t]].sum(axis=2)
        log_sums = np.log(np.exp(logits).sum(axis=-1))
        losses.append(log_sums - logits[:, np.arange(B), targets[t]])
    return np.mean(losses, axis=(0, 2))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm_step(a, state, layer, config):
    h, c = state[:, 0], state[:, 1]
    i, f, o, g = np.split(a + h @ layer["Wh"], 4, axis=-1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    c = f * c + (np.minimum(i, 1 - f) if config.capped else i) * g
    return np.stack((o * np.tanh(c), c), axis=1)


def gru_step(a, state, layer, config):
    h = state[:, 0]
    r, z, n = np.split(a, 3, axis=-1)
    from_r, from_z, m = np.split(h @ layer["Wh"], 3, axis=-1)
    r, z = sigmoid(r + from_r), sigmoid(z + from_z)
    n = np.tanh(n + r * (m + layer["bn"][:, None]))
    return ((1 - z) * n + z * h)[:, None]


def rnn_step(a, state, layer, config):
    return np.tanh(a + state[:, 0] @ layer["Wh"])[:, None]


STEPS = {"lstm": lstm_step, "gru": gru_step, "rnn": rnn_step}
