"""The text of a completion while it grows, and its characters with their log-probabilities."""

from collections.abc import Sequence
from typing import Any

from charlstm.network.sample_text import SampleText
from charlstm.server.running_model import TokenScores
from charlstm.text.spelling import byte_named
from charlstm.text.vocab import Vocab

NAMES = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


class CompletionText:
    """A text that ends before the first stop string, or else after `length` symbols.

    symbols: the number of symbols so far, those of the stop string included.
    added: the number of symbols that the last call of `extend` added.
    finish_reason: "stop" or "length" once the text has ended, before that None.
    """

    def __init__(self, vocab: Vocab, stops: Sequence[str], length: int) -> None:
        self._decoder = vocab.decoder()
        self._sample = SampleText(vocab, stops, "replace") if stops else None
        self._length = length
        self.symbols = self.added = 0
        self.finish_reason: str | None = None

    def extend(self, ids: Sequence[int]) -> str:
        """Add symbols; return the text that now certainly belongs to the completion."""
        ids = ids[: self._length - self.symbols]
        if self._sample is None:
            self.added = len(ids)
            text = self._decoder.feed_all(ids)
        else:
            text = self._extend_to_stop(self._sample, ids)
        self.symbols += self.added
        if self.finish_reason is None and self.symbols >= self._length:
            self.finish_reason = "length"
            text += self._decoder.finish() if self._sample is None else self._sample.finish()
        return text

    def _extend_to_stop(self, sample: SampleText, ids: Sequence[int]) -> str:
        text, self.added = "", 0
        for id_ in ids:
            text += sample.add(id_)
            self.added += 1
            if sample.ended:
                self.finish_reason = "stop"
                break
        return text


class TokenList:
    """The symbols of a text with their log-probabilities, as OpenAI's API lists tokens.

    top: the number of alternatives of each symbol.
    """

    def __init__(self, vocab: Vocab, top: int) -> None:
        self.top, self._vocab, self._decoder = top, vocab, vocab.decoder()
        self._tokens: list[tuple[Any, ...]] = []  # those that were not yet taken; see NAMES
        self._end = 0  # the place in the text that the added symbols reach
        self._taken = 0  # the length of the text whose symbols were taken

    def _name(self, id_: int) -> str:
        symbol = self._vocab.symbols[id_]
        is_byte = self._vocab.level != "word" and byte_named(symbol) is not None
        return f"bytes:{symbol}" if is_byte else symbol

    def _add(self, id_: int, log_prob: float | None, top: dict[str, float] | None) -> None:
        text = self._decoder.feed(id_)
        name = text if self._vocab.level == "word" else self._name(id_)
        self._tokens.append((name, log_prob, top, self._end))
        self._end += len(text)

    def add_unscored(self, ids: Sequence[int]) -> None:
        """Add symbols that nothing comes before, from which they could be predicted."""
        for id_ in ids:
            self._add(int(id_), None, None)

    def add(self, ids: Sequence[int], scores: TokenScores) -> None:
        """Add symbols with their scores."""
        rows = (scores.alternatives.tolist(), scores.alternative_log_probs.tolist())
        for id_, log_prob, others, log_probs in zip(
            ids, scores.log_probs.tolist(), *rows, strict=True
        ):
            top = {self._name(other): p for other, p in zip(others, log_probs, strict=True)}
            self._add(int(id_), log_prob, top)

    def take(self, characters: int, is_last: bool = False) -> dict[str, list[Any]]:
        """Return the symbols of the next characters of the text.

        is_last: whether the text ends with these characters. Symbols after them are dropped.
        """
        self._taken += characters
        own = [token for token in self._tokens if token[3] < self._taken]
        self._tokens = [] if is_last else self._tokens[len(own) :]
        return {name: [token[k] for token in own] for k, name in enumerate(NAMES)}

    @staticmethod
    def joined(parts: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]] | None:
        """Return the parts of a text that `take` returned as one; None if there is none."""
        if not parts:
            return None
        return {name: [value for part in parts for value in part[name]] for name in NAMES}
