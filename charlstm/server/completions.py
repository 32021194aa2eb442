"""The texts of a request for completions, which the running batch writes.

The prompts are read, the texts join the running batch, and their pieces are handed on as they are
written, until all texts have ended.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids, checked_ids
from charlstm.config.limits import Limits
from charlstm.errors import CharlstmError
from charlstm.network.sampling import sample_stops
from charlstm.server.errors import RequestError
from charlstm.server.requests import CompletionRequest, Prompt
from charlstm.server.running_model import Draft, RunningModel
from charlstm.server.texts import CompletionText, TokenList
from charlstm.text.vocab import start_ids

Message = dict[str, Any]


@dataclass(eq=False)
class Choice:
    """A text of the answer: prompt number `index` // n, continued."""

    index: int
    prompt: Ids
    text: CompletionText
    tokens: TokenList | None
    draft: Draft | None = None
    state: Array | None = None  # before the last of the ids whose log-probabilities are known
    last: Ids = field(default_factory=lambda: np.empty(0, np.intp))


@dataclass(frozen=True)
class Piece:
    """A part of the text of a choice, as it is sent; finish_reason: None before the end."""

    index: int
    text: str
    logprobs: Message | None
    finish_reason: str | None

    def to_dict(self) -> Message:
        return {
            "text": self.text,
            "index": self.index,
            "logprobs": self.logprobs,
            "finish_reason": self.finish_reason,
        }


class Completion:
    """The texts of one request while they are written. RequestError for prompts that are refused.

    seed: that of all texts of a prompt, each of which has a generator of its own. The first text is
    the one that `charlstm sample` writes with this seed.
    """

    def __init__(
        self, running: RunningModel, request: CompletionRequest, seed: int, limits: Limits
    ) -> None:
        self._running, self.request, self._seed = running, request, seed
        # set when the batch has written more of a text; when it has written all texts
        self._more, self._all = asyncio.Event(), asyncio.Event()
        if sum(map(len, request.prompts)) > limits.max_prompt:
            raise RequestError(
                400,
                f"the prompts have more than {limits.max_prompt:,} characters: send less text",
                "prompt",
                "context_length_exceeded",
            )
        vocab, stops = running.model.vocab, sample_stops(running.model, request.stops)
        self._prompts = [self._encoded(prompt) for prompt in request.prompts]
        self.choices = [
            Choice(
                index=number * request.n + k,
                prompt=prompt,
                text=CompletionText(vocab, stops, request.max_tokens),
                tokens=None if request.logprobs is None else TokenList(vocab, request.logprobs),
            )
            for number, prompt in enumerate(self._prompts)
            for k in range(request.n)
        ]

    def _encoded(self, prompt: Prompt) -> Ids:
        vocab = self._running.model.vocab
        try:
            if isinstance(prompt, str):
                return vocab.encode(prompt, unknown=self.request.unknown)
            return checked_ids("prompt", prompt, ("N",), len(vocab))
        except CharlstmError as error:
            raise RequestError(400, str(error).replace("`", ""), "prompt") from None

    def usage(self) -> Message:
        """Return the numbers of symbols that were read and written."""
        read = sum(map(len, self._prompts))
        written = sum(choice.text.symbols for choice in self.choices)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }

    async def pieces(self) -> AsyncGenerator[list[Piece], None]:
        """Yield the pieces of the texts as they are written, until all texts have ended."""
        try:
            n = self.request.n
            for number in range(len(self._prompts)):
                echoed = await self._begin(self.choices[number * n : (number + 1) * n])
                if echoed:
                    yield echoed
            loop = asyncio.get_running_loop()
            next_event = loop.time()
            while any(choice.draft is not None for choice in self.choices):
                await self._more.wait()
                if not self._all.is_set() and loop.time() < next_event:
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._all.wait(), next_event - loop.time())
                self._more.clear()
                next_event = loop.time() + self._running.event_seconds
                pieces = [await self._next(c) for c in self.choices if c.draft is not None]
                if found := [piece for piece in pieces if piece is not None]:
                    yield found
        finally:
            for choice in self.choices:
                if choice.draft is not None:
                    self._running.leave(choice.draft)

    def _on_ids(self) -> None:
        self._more.set()
        if all(choice.draft is None or choice.draft.is_written for choice in self.choices):
            self._all.set()

    async def _begin(self, choices: Sequence[Choice]) -> list[Piece]:
        """Let the texts of a prompt join the running batch; return the prompt if it is echoed."""
        running, request, prompt = self._running, self.request, choices[0].prompt
        pieces = []
        if request.echo or not request.max_tokens:
            reason = None if request.max_tokens else "length"
            pieces = [await self._echoed(choice, reason) for choice in choices]
        if request.max_tokens:
            prime = prompt if len(prompt) else start_ids(running.model.vocab)
            state = await running.read(prime)
            for number, choice in enumerate(choices):
                choice.state, choice.last = state, prime[-1:].astype(np.intp)
                choice.draft = running.join(
                    prime,
                    state,
                    request.sampling,
                    self._seed % 2**64,
                    number,
                    request.max_tokens,
                    self._on_ids,
                )
        return pieces

    async def _echoed(self, choice: Choice, reason: str | None) -> Piece:
        """Return the prompt of a choice, with its log-probabilities if they are asked for."""
        if not self.request.echo:
            return Piece(
                choice.index, "", None if choice.tokens is None else choice.tokens.take(0), reason
            )
        text = self._running.model.vocab.decode(choice.prompt)
        if choice.tokens is None:
            return Piece(choice.index, text, None, reason)
        scores = [
            each async for each in self._running.prompt_scores(choice.prompt, choice.tokens.top)
        ]
        ids = choice.prompt.tolist()
        place = len(ids) - sum(len(each.log_probs) for each in scores)
        choice.tokens.add_unscored(ids[:place])
        for each in scores:
            choice.tokens.add(ids[place : place + len(each.log_probs)], each)
            place += len(each.log_probs)
        return Piece(choice.index, text, choice.tokens.take(len(text), is_last=True), reason)

    async def _next(self, choice: Choice) -> Piece | None:
        """Return the next piece of a text; None if there is nothing new."""
        assert choice.draft is not None
        ids = choice.draft.take()
        if not ids:
            return None
        text = choice.text.extend(ids)
        reason, tokens = choice.text.finish_reason, choice.tokens
        if reason:
            self._running.leave(choice.draft)
            choice.draft = None
        if tokens is not None:
            await self._score(choice, tokens, ids[: choice.text.added])
        if not (text or reason):
            return None
        logprobs = None if tokens is None else tokens.take(len(text), bool(reason))
        return Piece(choice.index, text, logprobs, reason)

    async def _score(self, choice: Choice, tokens: TokenList, ids: list[int]) -> None:
        """Add the log-probabilities of the next ids of a choice to its tokens."""
        assert choice.state is not None
        sequence = np.concatenate((choice.last, np.array(ids, np.intp)))
        unscored = 1 - len(choice.last)  # the first symbol after an empty prompt
        scores, choice.state = await self._running.scores(sequence, choice.state, tokens.top)
        tokens.add_unscored(ids[:unscored])
        tokens.add(ids[unscored:], scores)
        choice.last = sequence[-1:]


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Return one piece for each choice, in their order, from all the pieces that were made."""
    by_choice: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_choice.setdefault(piece.index, []).append(piece)
    return [
        Piece(
            index,
            "".join(piece.text for piece in own),
            TokenList.joined([piece.logprobs for piece in own if piece.logprobs]),
            own[-1].finish_reason,
        )
        for index, own in sorted(by_choice.items())
    ]
