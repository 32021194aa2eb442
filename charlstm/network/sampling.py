"""Generate text symbol by symbol, for one sample or several in parallel."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import Record, knob
from charlstm.errors import ArgumentError
from charlstm.network.layers.ngrams import history_codes, symbol_codes
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.network.sample_text import LINE_END, SENTENCE_END, SampleText
from charlstm.network.stack import RecurrentStack
from charlstm.seeds import generator
from charlstm.system.memory import require_memory
from charlstm.system.threads import Workers, worker_count
from charlstm.text.decoder import DecodingErrors
from charlstm.text.vocab import UnknownTreatment, line_end, start_ids
from charlstm.untrusted import require_type, whole_number

# Maximum number of symbols per sample that one native call draws. Symbols that are drawn after the
# end of a sample are wasted.
MAX_STEPS_PER_CALL = 32
# Minimum number of samples of a team of threads, and of units of each thread of a team. More
# threads would not make sampling faster.
MIN_SAMPLES_OF_TEAM, MIN_UNITS_OF_WORKER = 6, 64
BYTES_PER_STEP = 64  # bytes of memory at least for the list of the new texts of a step


@dataclass(frozen=True)
class Sampling(Record):
    """How the next symbol is drawn from the model's probabilities.

    The temperature divides the log-probabilities. Then a symbol can be drawn only if it passes all
    filters: top_k, top_p and min_p.
    """

    temperature: float = knob(
        1.0,
        "Divisor of the log-probabilities: below 1 the text is safer, above 1 it is wilder; 0 "
        "takes the likeliest character each time.",
        within="[0, inf)",
    )
    top_k: int = knob(
        0, "Draw only from the k likeliest characters; 0: from all.", within="[0, inf)"
    )
    top_p: float = knob(
        1.0,
        "Draw only from the smallest set of likeliest characters that have at least this "
        "probability together (Holtzman et al. 2020).",
        within="(0, 1]",
    )
    min_p: float = knob(
        0.0,
        "Draw only from characters at least this many times as likely as the likeliest (Nguyen et "
        "al. 2024).",
        within="[0, 1]",
    )


def filtered_probabilities(log_probs: Array, sampling: Sampling) -> Array:
    """Return the probabilities (B, V) to draw from, not normalised, for a temperature above 0.

    log_probs (B, V): the model's log-probabilities. The result is float64.
    """
    # The log-probabilities are shifted so that the likeliest symbol has 0. Even at a tiny
    # temperature, its probability is then positive. Without the shift, it could be NaN.
    below = log_probs.astype(np.float64) - log_probs.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        p: Array = np.exp(below / sampling.temperature)
    p /= p.sum(axis=1, keepdims=True)
    keep = p >= sampling.min_p * p.max(axis=1, keepdims=True)
    if 0 < sampling.top_k < p.shape[1] or sampling.top_p < 1:
        order = np.argsort(-p, axis=1, kind="stable")
        falling = np.take_along_axis(p, order, axis=1)
        # A symbol is in the nucleus if the total probability of all likelier ones is below top_p.
        in_nucleus = falling.cumsum(axis=1) - falling < sampling.top_p
        if sampling.top_k:
            in_nucleus[:, sampling.top_k :] = False
        kept = np.empty_like(in_nucleus)
        np.put_along_axis(kept, order, in_nucleus, axis=1)
        keep &= kept
    p *= keep
    return p


def draw(log_probs: Array, sampling: Sampling, rng: np.random.Generator) -> Ids:
    """Draw an id for each row of log_probs (B, V).

    Each row takes one uniform number from rng, in the order of the rows.
    """
    if sampling.temperature == 0:
        likeliest: Ids = log_probs.argmax(axis=1)
        return likeliest
    cumulative = filtered_probabilities(log_probs, sampling).cumsum(axis=1)
    thresholds = rng.random((len(cumulative), 1)) * cumulative[:, -1:]
    chosen: Ids = (cumulative <= thresholds).sum(axis=1)
    return chosen.clip(max=cumulative.shape[1] - 1)


def generate(
    model: RecurrentStack,
    prime: Ids,
    count: int,
    sampling: Sampling,
    rng: np.random.Generator,
    workers: int | Literal["auto"] = "auto",
) -> Iterator[Ids]:
    """Yield the next ids (count,) of `count` samples at each step, without end.

    prime (N,): the ids that each sample continues. If the prime is empty, the first id of each
        sample is drawn uniformly.
    workers: the largest number of threads; "auto": one per core.
    """
    state = model.initial_state(1)
    if len(prime) > 1:  # the prime is read once, as the samples differ only after it
        state = model.read(prime[:-1], state)
    state = np.repeat(state, count, axis=2)
    if len(prime):
        ids = np.repeat(prime[-1:].astype(np.intp), count)
    else:
        ids = draw(np.zeros((count, len(model.vocab))), sampling, rng)
        yield ids
    if kernels.can_generate(model.config):
        teams, members = sampling_teams(count, model.config.hidden, worker_count(workers))
        with closing(Workers(teams * members)) as threads:
            yield from _generate_natively(model, ids, state, sampling, rng, threads, teams)
    while True:
        log_probs, state = model.step(ids, state)
        ids = draw(log_probs, sampling, rng)
        yield ids


def sampling_teams(count: int, hidden: int, workers: int) -> tuple[int, int]:
    """Return the number of teams that draw `count` samples, and the number of threads of a team.

    workers: the largest number of threads. Teams draw samples of their own. The threads of a team
    divide the units of each layer among them.
    """
    teams = min(workers, -(-count // MIN_SAMPLES_OF_TEAM))
    return teams, max(1, min(workers // teams, hidden // MIN_UNITS_OF_WORKER))


def _generate_natively(
    model: RecurrentStack,
    ids: Ids,
    state: Array,
    sampling: Sampling,
    rng: np.random.Generator,
    workers: Workers,
    teams: int,
) -> Iterator[Ids]:
    """Generate the same ids as the loop at the end of `generate`, several steps per native call.

    ids (B,): the last symbol of each sample. state: the state before these symbols.
    """
    generation = kernels.NativeGeneration(
        generation_weights(model),
        ids,
        state,
        recent_codes(model, state),
        workers=workers,
        teams=teams,
        **asdict(sampling),
    )
    steps = 1  # the first call draws one symbol only, so that the caller gets it at once
    while True:
        yield from generation.run(steps, rng.random((steps, len(ids))))
        steps = min(2 * steps, MAX_STEPS_PER_CALL)


def generation_weights(model: RecurrentStack) -> kernels.GenerationWeights:
    """Return the weights of a model as NativeGeneration reads them."""
    config, weights = model.config, model.parameters
    return kernels.GenerationWeights(
        config,
        [weights.part(f"layers.{k}.") for k in range(config.layers)],
        weights.part("head."),
        line_end(model.vocab) if config.lines else -1,
        table=weights.get(NGRAM_TABLE),
        codes=symbol_codes(model.vocab.symbols),
    )


def recent_codes(model: RecurrentStack, state: Array) -> Ids:
    """Return the codes (B, ngrams - 1) of the last symbols that a state holds, newest first."""
    config = model.config
    return history_codes(state[config.layers :], config.ngrams, symbol_codes(model.vocab.symbols))


def sample_stops(model: RecurrentStack, stops: Sequence[str]) -> tuple[str, ...]:
    """Return the stop strings of several samples: those given, and for a model of lines "\\n"."""
    return (*stops, "\n") if model.config.lines else tuple(stops)


def require_memory_for_texts(length: int, count: int) -> None:
    """Raise CharlstmError if samples that are kept until the last step need too much memory.

    length: the number of steps. count: the number of samples.
    """
    require_memory(
        length * (BYTES_PER_STEP + 8 * count),
        f"`length={length}`",
        "take a smaller `length`, or name a text of `stop` that ends it",
    )


def stream_texts(
    model: RecurrentStack,
    *,
    length: int = 0,
    count: int = 1,
    prime: str = "",
    unknown: UnknownTreatment = "error",
    sampling: Sampling | None = None,
    stops: Sequence[str] = (),
    whole: bool = False,
    seed: int | None = None,
    batch: int = 0,
    errors: DecodingErrors = "replace",
    workers: int | Literal["auto"] = "auto",
) -> Iterator[list[str]]:
    """Generate `count` samples in parallel; each step yields the new text of each sample.

    length: the number of symbols of each sample, without the prime; 0 for no end.
    stops: strings that end a sample. A sample ends before the first stop string that occurs.
    whole: whether a sample goes on beyond `length`, by at most MAX_OVERRUN symbols, to the next end
        of a sentence, or of a line if there is no sentence. For a model of lines, only the end of
        the line counts. If the sample reaches no end of a sentence or line, it has `length`
        symbols.
    unknown: treatment of characters of the prime that the model does not know: "error", "skip" or
        "replace".
    seed: the same seed gives the same texts (with the same kernels and machine); None for a random
        seed.
    batch: the number of this batch of samples. Batches of the same seed but of different numbers
        have different texts.
    errors: treatment of bytes that are not UTF-8, as in Vocab.decode.
    workers: the largest number of threads; "auto": one per core.

    Raises CharlstmError for bad arguments when it is called, not at the first step.
    """
    sampling = sampling or Sampling()
    sampling.require_chosen()
    require_type("prime", prime, str)
    require_type("whole", whole, bool)
    length, count = whole_number("length", length), whole_number("count", count, least=1)
    if length < 0:
        raise ArgumentError(f"`length` must be 0 (endless) or above, not {length}")
    if whole and not length:
        raise ArgumentError("`whole=True` needs a `length` above 0, after which a sample may end")
    if "" in stops:
        raise ArgumentError("a string of `stop` must not be empty")
    state = model.initial_state(1).nbytes
    require_memory(
        count * (2 * state + 8 * len(model.vocab)), f"`count={count}`", "take a smaller `count`"
    )
    prime_ids = model.vocab.encode(prime, unknown=unknown)
    if len(prime_ids) == 0:
        prime_ids = start_ids(model.vocab)
    rng = generator(seed, "sample", batch)
    steps = generate(model, prime_ids, count, sampling, rng, worker_count(workers))
    ends = (SENTENCE_END, LINE_END)[model.config.lines :] if whole else ()
    texts = [SampleText(model.vocab, stops, errors, length, ends) for _ in range(count)]
    return _new_texts(steps, texts)


def _new_texts(steps: Iterator[Ids], texts: Sequence[SampleText]) -> Iterator[list[str]]:
    """Yield the new text of each sample at each step, until all samples have ended."""
    for ids in steps:
        yield [text.add(int(id_)) for text, id_ in zip(texts, ids, strict=True)]
        if all(text.ended for text in texts):
            return
