"""The losses of a text by their definition: one step at a time, in one stream."""

from itertools import pairwise

import numpy as np


def losses_in_nats(model, text):
    """The loss of each character of a text but the first."""
    ids = model.vocab.encode(text)
    state, nats = model.initial_state(1), []
    for before, id_ in pairwise(ids):
        log_probs, state = model.step(np.array([before]), state)
        nats.append(-float(log_probs[0, id_]))
    return nats
