"""Text from a model: which symbol comes next, one at a time, for one sample or several at once."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import Record, knob
from charlstm.errors import CharlstmError
from charlstm.network.layers.ngrams import history_codes, symbol_codes
from charlstm.network.stack import RecurrentStack
from charlstm.seeds import generator
from charlstm.system.memory import require_memory
from charlstm.system.threads import Workers, available_cores, share
from charlstm.text.vocab import Vocab, line_end, start_ids

MOST_STEPS_AT_ONCE = 32
SAMPLES_A_WORKER = 6


@dataclass(frozen=True)
class Sampling(Record):
    """How the next symbol is drawn from the model's probabilities.

    The temperature divides the log-probabilities (0: always the likeliest); then only those
    symbols stay that pass all the filters.
    """

    temperature: float = knob(
        1.0,
        "Divisor of the log-probabilities: below 1 the text is safer, above 1 wilder; 0 takes the "
        "likeliest character each time.",
        within="[0, inf)",
    )
    top_k: int = knob(
        0, "Draw from the k likeliest characters only; 0: from all.", within="[0, inf)"
    )
    top_p: float = knob(
        1.0,
        "Draw from the fewest likeliest characters only that have this probability together "
        "(Holtzman et al. 2020).",
        within="(0, 1]",
    )
    min_p: float = knob(
        0.0,
        "Draw only from characters at least this many times as likely as the likeliest (Nguyen et "
        "al. 2024).",
        within="[0, 1]",
    )


def probabilities(log_probs: Array, sampling: Sampling) -> Array:
    """The distribution to draw from, (B, V) in float64, for a temperature above 0."""
    # below the likeliest, which is 0: so a tiny temperature leaves that one, and not nan
    below = log_probs.astype(np.float64) - log_probs.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        p: Array = np.exp(below / sampling.temperature)
    p /= p.sum(axis=1, keepdims=True)
    keep = p >= sampling.min_p * p.max(axis=1, keepdims=True)
    if 0 < sampling.top_k < p.shape[1] or sampling.top_p < 1:
        order = np.argsort(-p, axis=1, kind="stable")
        falling = np.take_along_axis(p, order, axis=1)
        # a symbol is in the nucleus if those before it have not yet reached top_p
        in_nucleus = falling.cumsum(axis=1) - falling < sampling.top_p
        if sampling.top_k:
            in_nucleus[:, sampling.top_k :] = False
        kept = np.empty_like(in_nucleus)
        np.put_along_axis(kept, order, in_nucleus, axis=1)
        keep &= kept
    p *= keep
    return p


def draw(log_probs: Array, sampling: Sampling, rng: np.random.Generator) -> Ids:
    """The next id of each row of log_probs (B, V): one uniform number a row, one row an order."""
    if sampling.temperature == 0:
        likeliest: Ids = log_probs.argmax(axis=1)
        return likeliest
    below = probabilities(log_probs, sampling).cumsum(axis=1)
    thresholds = rng.random((len(below), 1)) * below[:, -1:]
    chosen: Ids = (below <= thresholds).sum(axis=1)
    return chosen.clip(max=below.shape[1] - 1)


def generate(
    model: RecurrentStack, prime: Ids, count: int, sampling: Sampling, rng: np.random.Generator
) -> Iterator[Ids]:
    """Ids of `count` samples, (count,) at a time and without end, after the ids of the prime."""
    state = model.initial_state(1)
    for id_ in prime[:-1]:
        _, state = model.step(np.array([id_]), state)
    # the samples part only now, so the prime is read once
    state = np.repeat(state, count, axis=2)
    if len(prime):
        ids = np.repeat(prime[-1:].astype(np.intp), count)
    else:  # nothing to follow: each symbol is as likely as any other
        ids = draw(np.zeros((count, len(model.vocab))), sampling, rng)
        yield ids
    if kernels.generates(model.config):
        yield from _generate_natively(model, ids, state, sampling, rng)
    while True:
        log_probs, state = model.step(ids, state)
        ids = draw(log_probs, sampling, rng)
        yield ids


def _generate_natively(
    model: RecurrentStack, ids: Ids, state: Array, sampling: Sampling, rng: np.random.Generator
) -> Iterator[Ids]:
    """What generate's last loop gives, with the same draws, a block of steps at a time."""
    end = line_end(model.vocab) if model.config.lines else -1
    # a thread is worth its while for a few samples at least
    workers = Workers(min(available_cores(), -(-len(ids) // SAMPLES_A_WORKER)))
    shares = [share(len(ids), workers.count, k) for k in range(workers.count)]
    codes = symbol_codes(model.vocab.symbols)
    recent = history_codes(state[model.config.layers :], model.config.ngrams, codes)
    parts = [
        kernels.NativeGeneration(
            model.config, model.parameters, ids[own], state[:, :, own], end, codes, recent[own],
            **asdict(sampling),
        )
        for own in shares
    ]  # fmt: skip
    steps = 1  # the first symbol comes at once
    while True:
        uniforms = rng.random((steps, len(ids)))

        def work(k: int, steps: int = steps, uniforms: Array = uniforms) -> Ids:
            return parts[k].run(steps, uniforms[:, shares[k]])

        yield from np.concatenate(workers.run(work), axis=1)
        steps = min(2 * steps, MOST_STEPS_AT_ONCE)


class _Text:
    """One sample as it grows: decodes ids, and holds back what may become a stop string."""

    def __init__(self, vocab: Vocab, stops: Sequence[str]) -> None:
        self._decoder = vocab.decoder()
        self._stops = stops
        self._held = ""
        self.ended = False

    def add(self, id_: int) -> str:
        """The text that is certain now."""
        if self.ended:
            return ""
        text = self._held + self._decoder.feed(id_)
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.ended = True
            return text[: min(found)]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back when the length was reached."""
        return "" if self.ended else self._held + self._decoder.finish()


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`, but not all of it."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((n for n in sizes if text.endswith(stop[:n])), 0)


def stream_texts(
    model: RecurrentStack,
    *,
    length: int = 0,
    count: int = 1,
    prime: str = "",
    unknown: str = "error",
    sampling: Sampling | None = None,
    stops: Sequence[str] = (),
    seed: int | None = None,
) -> Iterator[list[str]]:
    """`count` samples side by side: at each step the piece of text that each one has grown by.

    length: symbols of each sample, without the prime; 0: without end.
    stops: a sample ends before the first of these that it would contain.
    unknown: what to do with characters of the prime that the model does not know: "error",
        "skip" or "replace".
    seed: the same seed gives the same texts (for the same backend and machine).

    Raises CharlstmError at once, not with the first piece, for what it refuses.
    """
    if length < 0:
        raise CharlstmError(f"length must be 0 (endless) or above, not {length}")
    if count < 1:
        raise CharlstmError(f"count must be 1 or more, not {count}")
    if "" in stops:
        raise CharlstmError("a stop string must not be empty")
    state = model.initial_state(1).nbytes
    require_memory(count * (2 * state + 8 * len(model.vocab)), f"--count {count}", "take fewer")
    prime_ids = model.vocab.encode(prime, unknown=unknown)
    if len(prime_ids) == 0:
        prime_ids = start_ids(model.vocab)
    steps = generate(model, prime_ids, count, sampling or Sampling(), generator(seed, "sample"))
    return _pieces(steps, [_Text(model.vocab, stops) for _ in range(count)], length)


def _pieces(steps: Iterator[Ids], texts: Sequence[_Text], length: int) -> Iterator[list[str]]:
    """What each text grows by at each of `length` steps (0: all), until all have ended."""
    for step, ids in enumerate(steps, start=1):
        pieces = [text.add(int(id_)) for text, id_ in zip(texts, ids, strict=True)]
        if step == length:
            pieces = [piece + text.finish() for piece, text in zip(pieces, texts, strict=True)]
        yield pieces
        if step == length or all(text.ended for text in texts):
            return
