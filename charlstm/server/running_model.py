"""RunningModel: one model that continues and scores the texts of all requests together.

The running model belongs to the event loop of the server. Two threads compute: one advances the
running batch, the other reads prompts and scores texts. The other work of a request happens in the
loop, between two computations, so no lock is needed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.network.continuous_batch import ContinuousBatch, RunningSample
from charlstm.network.sampling import Sampling
from charlstm.network.scoring import MAX_LOG_PROBABILITIES
from charlstm.network.stack import READ_STEPS, RecurrentStack
from charlstm.seeds import generator
from charlstm.system.threads import Workers
from charlstm.text.vocab import line_end, start_ids

# The running batch is advanced by as many steps at a time as take this long.
SECONDS_AT_ONCE = 0.02
FIRST_STEPS, MOST_STEPS = 8, 512
# Seconds between two events of a stream, when one text is written; they grow with the number of
# texts, as events cost more than characters.
EVENT_SECONDS, TEXTS_OF_AN_EVENT = 0.02, 16

Result = TypeVar("Result")


@dataclass
class Threads:
    """The threads that compute for all models of a server.

    batch: advances running batches, with `workers`. reader: reads prompts and scores texts.
    """

    workers: Workers
    batch: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "batch"))
    reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "reader"))

    def close(self) -> None:
        """End the threads after their current computations."""
        self.batch.shutdown(cancel_futures=True)
        self.reader.shutdown(cancel_futures=True)
        self.workers.close()


@dataclass(eq=False)
class Draft:
    """A text that the running batch is writing, until the request takes it out.

    ids: those that were drawn and not yet taken by the request, which may be some too many.
    limit: the number of ids after which the batch lets the text go.
    on_ids: a function that is called when there are further ids, or an error.
    """

    sample: RunningSample
    limit: int
    on_ids: Callable[[], None]
    ids: list[int]
    drawn: int = 0
    error: Exception | None = None

    @property
    def is_written(self) -> bool:
        """Whether the batch has let the text go."""
        return self.drawn >= self.limit

    def take(self) -> list[int]:
        """Return the ids that are new since the last call; raise the error of the batch, if any."""
        if self.error is not None:
            raise self.error
        ids, self.ids = self.ids, []
        return ids


@dataclass(frozen=True)
class TokenScores:
    """The log-probabilities of N symbols, and of the K likeliest alternatives at each position.

    log_probs (N,), alternatives (N, K): ids; alternative_log_probs (N, K).
    """

    log_probs: Array
    alternatives: Ids
    alternative_log_probs: Array


class RunningModel:
    """One model, with its running batch."""

    def __init__(self, model: RecurrentStack, threads: Threads) -> None:
        self.model = model
        self._threads = threads
        self._batch = ContinuousBatch(model, threads.workers)
        self._drafts: dict[Draft, None] = {}  # in the order in which they joined
        self._advancing: asyncio.Task[None] | None = None
        # The log-probabilities of a window must fit into memory.
        self._window = max(1, min(READ_STEPS, MAX_LOG_PROBABILITIES // len(model.vocab)))

    @property
    def event_seconds(self) -> float:
        """The seconds between two events of a stream."""
        return EVENT_SECONDS * (1 + len(self._drafts) / TEXTS_OF_AN_EVENT)

    async def _compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in the thread that reads and scores."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads.reader, function, *arguments)

    async def read(self, prime: Ids) -> Array:
        """Return the state (L, S, 1, H) after all ids of a prime but the last.

        The prime is read in pieces: several primes are read in turn, and a request that is gone
        costs no further piece.
        """
        state = self.model.initial_state(1)
        for start in range(0, len(prime) - 1, READ_STEPS):
            piece = prime[start : min(start + READ_STEPS, len(prime) - 1)]
            state = await self._compute(self.model.read, piece, state)
        return state

    def join(
        self,
        prime: Ids,
        state: Array,
        sampling: Sampling,
        seed: int,
        number: int,
        limit: int,
        on_ids: Callable[[], None],
    ) -> Draft:
        """Let a text join the running batch, which then writes it; `leave` takes it out.

        prime, state: as `read` takes and returns them. seed, number: those of its generator.
        """
        rng = generator(seed, "sample", number)
        sample = self._batch.begin(prime, state, sampling, rng)
        first = sample.first.tolist()
        draft = Draft(sample, limit, on_ids, first, len(first))
        self._drafts[draft] = None
        if self._advancing is None:
            self._advancing = asyncio.create_task(self._advance())
        return draft

    def leave(self, draft: Draft) -> None:
        """Take a text out of the running batch; it need not be there any more."""
        self._drafts.pop(draft, None)

    async def _advance(self) -> None:
        """Advance the running batch until no text is left in it.

        When a text joins, the next steps are few, so that its first symbol comes soon. Then the
        number of steps doubles each time.
        """
        loop = asyncio.get_running_loop()
        steps, known = FIRST_STEPS, set[Draft]()
        try:
            while drafts := list(self._drafts):
                if not known.issuperset(drafts):
                    steps = min(steps, FIRST_STEPS)
                known = set(drafts)
                left = max(draft.limit - draft.drawn for draft in drafts)
                steps = max(1, min(steps, left))
                began = time.perf_counter()
                samples = [draft.sample for draft in drafts]
                ids = await loop.run_in_executor(
                    self._threads.batch, self._batch.advance, samples, steps
                )
                seconds_per_step = (time.perf_counter() - began) / steps
                for draft, drawn in zip(drafts, ids.T.tolist(), strict=True):
                    draft.ids += drawn
                    draft.drawn += steps
                    if draft.is_written:
                        self.leave(draft)
                    draft.on_ids()
                fitting = int(SECONDS_AT_ONCE / seconds_per_step)
                steps = max(1, min(2 * steps, fitting, MOST_STEPS))
        except Exception as error:
            for draft in self._drafts:
                draft.error = error
                draft.on_ids()
            self._drafts.clear()
        finally:
            self._advancing = None

    async def scores(self, sequence: Ids, state: Array, top: int) -> tuple[TokenScores, Array]:
        """Return the scores of every id of a sequence but the first, and the state after them.

        state: the state before the sequence. It becomes the state before the last id.
        """
        top = min(top, len(self.model.vocab))
        pieces = [TokenScores(np.empty(0), np.empty((0, top), np.intp), np.empty((0, top)))]
        for start in range(0, len(sequence) - 1, self._window):
            window = sequence[start : start + self._window + 1]
            found, state = await self._compute(self._score, window, state, top)
            pieces.append(found)
        names = ("log_probs", "alternatives", "alternative_log_probs")
        joined = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in names)
        return TokenScores(*joined), state

    def _score(self, window: Ids, state: Array, top: int) -> tuple[TokenScores, Array]:
        inputs = window[:-1, None].astype(np.intp)
        activations = self.model.new_activations(*inputs.shape)
        state = self.model.forward(inputs, state, activations)
        log_probs = activations.log_probs
        likeliest = np.empty((len(inputs), 0), np.intp)
        if top:
            likeliest = np.argpartition(-log_probs, top - 1, axis=1)[:, :top]
        order = np.argsort(-np.take_along_axis(log_probs, likeliest, axis=1), axis=1)
        alternatives = np.take_along_axis(likeliest, order, axis=1)
        return (
            TokenScores(
                np.take_along_axis(log_probs, window[1:, None].astype(np.intp), axis=1)[:, 0],
                alternatives,
                np.take_along_axis(log_probs, alternatives, axis=1),
            ),
            state,
        )

    async def prompt_scores(self, prompt: Ids, top: int) -> AsyncIterator[TokenScores]:
        """Yield the scores of the symbols of a prompt, as `charlstm score` gives them.

        The prompt is read as if it followed a line end; a model of lines reads each line from a
        state of zeros. Without a line end in the vocabulary, the first symbol has no score.
        """
        sequence = np.concatenate((start_ids(self.model.vocab), prompt)).astype(np.intp)
        starts = np.zeros(1, np.intp)
        if self.model.config.lines:
            ends = np.flatnonzero(sequence[:-1] == line_end(self.model.vocab))
            starts = np.union1d(starts, ends)
        for start, stop in zip(starts, [*starts[1:], len(sequence) - 1], strict=True):
            found, _ = await self.scores(
                sequence[start : stop + 1], self.model.initial_state(1), top
            )
            yield found
