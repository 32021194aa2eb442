"""Samples that join and leave a running batch between any two steps, as a server needs them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.network.sampling import (
    MIN_SAMPLES_OF_TEAM,
    Sampling,
    draw,
    generation_weights,
    recent_codes,
)
from charlstm.network.stack import RecurrentStack
from charlstm.system.threads import Workers


@dataclass(eq=False)
class RunningSample:
    """A sample between two steps. It holds all that the next steps need, but for the weights.

    first: the ids that were drawn before the first step: one if there was no prime, else none.
    last: the last symbol. state (L, S, 1, H): the state before that symbol.
    recent (1, ngrams - 1): the codes of the symbols before the last one. Native sampling reads
        them in place of the layers of the state that hold symbols, which it leaves out.
    """

    sampling: Sampling
    rng: np.random.Generator
    first: Ids
    last: int
    state: Array
    recent: Ids


class ContinuousBatch:
    """Advances any samples of one model together.

    Each sample has the ids that `stream_texts` gives for its prime, settings and generator with
    `count=1`, bit for bit, whichever samples are advanced with it. Native sampling makes each sum
    in the same order for every number of samples. The matrix products that other models use do not:
    each of their samples is advanced by itself.
    """

    def __init__(self, model: RecurrentStack, workers: Workers) -> None:
        self._model, self._workers = model, workers
        is_native = kernels.can_generate(model.config)
        self._weights = generation_weights(model) if is_native else None

    def begin(
        self, prime: Ids, state: Array, sampling: Sampling, rng: np.random.Generator
    ) -> RunningSample:
        """Return a sample that continues the ids `prime` (N,), which may be empty.

        state (L, S, 1, H): the state of the model after all ids of the prime but the last.
        """
        first = np.empty(0, np.intp)
        if not len(prime):
            prime = first = draw(np.zeros((1, len(self._model.vocab))), sampling, rng)
        recent = recent_codes(self._model, state)
        return RunningSample(sampling, rng, first, int(prime[-1]), state, recent)

    def advance(self, samples: Sequence[RunningSample], steps: int) -> Ids:
        """Draw the next ids (steps, B) of B samples, and update the samples."""
        if self._weights is not None:
            return self._advance_natively(self._weights, samples, steps)
        ids = np.empty((steps, len(samples)), np.intp)
        for k, sample in enumerate(samples):
            for step in range(steps):
                last = np.array([sample.last])
                log_probs, sample.state = self._model.step(last, sample.state)
                ids[step, k] = sample.last = int(draw(log_probs, sample.sampling, sample.rng)[0])
        return ids

    def _advance_natively(
        self, weights: kernels.GenerationWeights, samples: Sequence[RunningSample], steps: int
    ) -> Ids:
        settings, L = [sample.sampling for sample in samples], self._model.config.layers
        generation = kernels.NativeGeneration(
            weights,
            np.array([sample.last for sample in samples]),
            np.concatenate([sample.state[:L] for sample in samples], axis=2),
            np.concatenate([sample.recent for sample in samples]),
            temperature=np.array([each.temperature for each in settings]),
            top_k=np.array([each.top_k for each in settings]),
            top_p=np.array([each.top_p for each in settings]),
            min_p=np.array([each.min_p for each in settings]),
            workers=self._workers,
            # The threads of a team wait for one another many times a step, which takes long if
            # another thread of the server has the core of one of them. So each works alone.
            teams=min(self._workers.count, -(-len(samples) // MIN_SAMPLES_OF_TEAM)),
            members=1,
            stays_ready=False,
        )
        ids = generation.run(
            steps, np.stack([sample.rng.random(steps) for sample in samples], axis=1)
        )
        state, recent = generation.states()
        for k, sample in enumerate(samples):
            sample.last, sample.state = int(ids[-1, k]), state[:, :, k : k + 1]
            sample.recent = recent[k : k + 1]
        return ids
