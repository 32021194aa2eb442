"""Sampling: distributions against a plain computation, stop strings, streaming, seeds."""

import math
from itertools import islice

import numpy as np
import pytest

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab, load
from charlstm.network.sampling import Sampling, draw, probabilities, stream_texts

LOG_PROBS = np.log([0.4, 0.05, 0.3, 0.01, 0.15, 0.09])


def plainly(log_probs, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The same by its definition, one symbol after another."""
    scaled = [math.exp(x / temperature) for x in log_probs]
    p = [x / sum(scaled) for x in scaled]
    falling = sorted(range(len(p)), key=lambda k: -p[k])
    kept, together = [], 0.0
    for rank, k in enumerate(falling):
        if (top_k and rank >= top_k) or together >= top_p or p[k] < min_p * max(p):
            break
        kept.append(k)
        together += p[k]
    return [p[k] / together if k in kept else 0.0 for k in range(len(p))]


CHOICES = [
    {},
    {"temperature": 0.5},
    {"temperature": 2.0},
    {"top_k": 1},
    {"top_k": 3},
    {"top_k": 100},
    {"top_p": 0.5},
    {"top_p": 0.69},
    {"top_p": 0.0001},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"top_k": 4, "top_p": 0.8, "min_p": 0.3, "temperature": 1.5},
    {"top_k": 2, "top_p": 0.95},
    {"temperature": 0.7, "min_p": 0.1},
]


@pytest.mark.parametrize("options", CHOICES)
def test_distribution_equals_a_plain_computation(options):
    rows = np.stack([LOG_PROBS, LOG_PROBS[::-1]])
    p = probabilities(rows, Sampling(**options))
    p /= p.sum(axis=1, keepdims=True)
    assert np.allclose(p, [plainly(row, **options) for row in rows], atol=1e-12)


@pytest.mark.parametrize("options", CHOICES)
def test_draws_follow_the_distribution(options):
    expected = np.array(plainly(LOG_PROBS, **options))
    n = 4_000
    rng = np.random.default_rng(11)
    ids = draw(np.tile(LOG_PROBS, (n, 1)), Sampling(**options), rng)
    counts = np.bincount(ids, minlength=6)
    assert not counts[expected == 0].any()
    possible = expected > 0
    chi_square = ((counts - n * expected)[possible] ** 2 / (n * expected[possible])).sum()
    assert chi_square < 20.5  # 5 degrees of freedom: exceeded once in a thousand


def test_temperature_zero_is_greedy():
    rows = np.stack([LOG_PROBS, LOG_PROBS[::-1]])
    rng = np.random.default_rng(0)
    assert draw(rows, Sampling(temperature=0), rng).tolist() == [0, 5]
    assert draw(rows, Sampling(temperature=0, top_p=0.9), rng).tolist() == [0, 5]


@pytest.mark.parametrize("temperature", [1e-3, 1e-310, 5e-324])
def test_tiny_temperature_is_greedy_without_a_warning(temperature):
    rng = np.random.default_rng(0)
    rows = np.tile(LOG_PROBS, (50, 1))
    assert set(draw(rows, Sampling(temperature=temperature), rng).tolist()) == {0}


def test_huge_temperature_is_uniform():
    p = probabilities(LOG_PROBS[None], Sampling(temperature=1e300))
    assert np.allclose(p / p.sum(), 1 / 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, r"temperature must be 0 or more, not -0.1"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_k": -1}, "top_k must be 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": -0.1}, "min_p must be 0 to 1"),
        ({"min_p": 1.5}, "min_p"),
    ],
)
def test_temperature_below_zero_and_other_nonsense_is_refused(options, message):
    with pytest.raises(CharlstmError, match=message):
        Sampling(**options)


class Cycle:
    """Says the symbols of a text over and over, whatever it is given; tells when it is asked."""

    config = ModelConfig(cell="rnn")  # one that is sampled a step at a time

    def __init__(self, text, vocab=None):
        self.vocab = vocab or Vocab.from_text(text)
        self.text = text
        self.ids = self.vocab.encode(text)
        self.given = []

    def initial_state(self, batch):
        return np.zeros((1, 1, batch, 1))

    def step(self, ids, state):
        self.given.append(ids.tolist())
        place = int(state[0, 0, 0, 0])
        log_probs = np.full((len(ids), len(self.vocab)), -50.0)
        log_probs[:, self.ids[place % len(self.ids)]] = 0
        return log_probs, state + 1


def say(text, length=0, vocab=None, **options):
    model = Cycle(text, vocab)
    return list(stream_texts(model, length=length, prime=text[0], seed=0, **options))


def test_each_character_comes_before_the_next_is_computed():
    model = Cycle("abc")
    pieces = stream_texts(model, prime="b", seed=0)
    assert model.given == []
    seen = ""
    for k in range(1, 7):
        seen += next(pieces)[0]
        assert seen == "abcabc"[:k] and len(model.given) == k


def test_endless_without_a_length():
    pieces = stream_texts(Cycle("ab"), prime="a", seed=0)
    assert "".join(p for (p,) in islice(pieces, 5_000)) == "ab" * 2_500


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        (["cd"], "ab"),
        (["abcdef", "f"], ""),  # the one that begins first
        (["f", "de"], "abc"),
        (["ef", "cdx"], "abcd"),
        (["fab"], "abcde"),
        (["a"], ""),
        (["zz"], "abcdefabcd"),
    ],
)
def test_a_text_ends_before_a_stop_string_that_comes_in_several_pieces(stops, expected):
    vocab = Vocab.from_text("abcdefxz")
    pieces = say("abcdef", 10, vocab, stops=stops)
    assert "".join(p for (p,) in pieces) == expected


def test_what_may_become_a_stop_string_is_held_back_and_no_more():
    pieces = [p for (p,) in say("aab", 6, Vocab.from_text("abx"), stops=["aax"])]
    assert pieces == ["", "", "aab", "", "", "aab"]
    # and at the length, what was held back comes after all
    assert [p for (p,) in say("aab", 5, Vocab.from_text("abx"), stops=["aax"])][-1] == "aa"


def test_samples_of_a_batch_end_by_themselves():
    rng_pieces = list(
        stream_texts(uniform_model(), length=300, count=5, stops=["b"], seed=3, prime="a")
    )
    texts = ["".join(texts) for texts in zip(*rng_pieces, strict=True)]
    assert all("b" not in text for text in texts)
    assert len({len(text) for text in texts}) > 1  # they end at different places
    assert len(rng_pieces) == max(len(text) for text in texts) + 1


def uniform_model():
    model = CharModel(ModelConfig(hidden=3, layers=1), Vocab.from_text("abcd\n"))
    model.parameters.vector[:] = 0
    return model


def test_several_samples_in_one_batch_read_the_prime_once_and_differ():
    model = Cycle("abc")
    list(stream_texts(model, length=2, count=4, prime="cab", seed=0))
    assert [len(given) for given in model.given] == [1, 1, 4, 4]  # they part at its end
    pieces = list(stream_texts(uniform_model(), length=60, count=4, prime="a", seed=0))
    texts = ["".join(texts) for texts in zip(*pieces, strict=True)]
    assert len(set(texts)) == 4 and {len(text) for text in texts} == {60}


def test_the_same_seed_gives_the_same_text(trained):
    model = load(trained)
    text = model.sample(80, prime="the ", seed=5)
    assert model.sample(80, prime="the ", seed=5) == text
    assert load(trained).sample(80, prime="the ", seed=5) == text
    assert model.sample(80, prime="the ", seed=6) != text
    assert model.sample(80, prime="the ") != model.sample(80, prime="the ")


def test_greedy_takes_the_likeliest_of_the_model_each_time(trained):
    model = load(trained)
    ids, state = model.vocab.encode("the cat"), model.initial_state(1)
    expected = ""
    for id_ in ids:
        log_probs, state = model.step([id_], state)
    for _ in range(40):
        best = int(np.argmax(log_probs[0]))
        expected += model.vocab.symbols[best]
        log_probs, state = model.step([best], state)
    assert model.sample(40, prime="the cat", temperature=0) == expected
    assert model.sample(40, prime="the cat", top_k=1, seed=9) == expected


def test_a_sample_without_prime_follows_a_line_end(trained):
    model = load(trained)
    assert model.sample(60, seed=1) == model.sample(60, seed=1, prime="\n")


def test_a_model_without_line_end_begins_anywhere():
    model = CharModel(ModelConfig(hidden=4, layers=1), Vocab.from_text("abc"))
    first = [model.sample(1, seed=seed) for seed in range(300)]
    assert all(70 < first.count(letter) < 130 for letter in "abc")


def test_length_is_exact(trained):
    assert [len(load(trained).sample(n, seed=n)) for n in (1, 2, 33)] == [1, 2, 33]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1}, "length must be 0"),
        ({"count": 0}, "count must be 1 or more"),
        ({"stops": ["x", ""]}, "a stop string must not be empty"),
        ({"prime": "aé"}, r"no 'é' \(U\+00E9\), found at position 1"),
        ({"prime": "é", "unknown": "ignore"}, "error, skip or replace"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_refusals_come_at_once(options, message):
    with pytest.raises(CharlstmError, match=message):
        stream_texts(Cycle("ab"), **options)


def test_prompt_with_unknown_character_is_skipped_or_replaced(trained):
    model = load(trained)
    known = model.sample(30, prime="the cat", seed=2)
    assert model.sample(30, prime="théé cat", unknown="replace", seed=2) == model.sample(
        30, prime="thee cat", seed=2
    )
    assert model.sample(30, prime="the日 cat", unknown="skip", seed=2) == known
    assert model.sample(30, prime="the日cat", unknown="replace", seed=2) == known
    # a prompt of which nothing is known is no prompt
    assert model.sample(30, prime="日本", unknown="skip", seed=2) == model.sample(30, seed=2)


def test_sample_refuses_to_be_endless(trained):
    with pytest.raises(CharlstmError, match="length must be 1 or more"):
        load(trained).sample(0)


def test_unicode_of_level_byte_is_never_broken():
    vocab = Vocab.bytes()
    pieces = [p for (p,) in say("aü日🎉.", 11, vocab)]
    assert pieces == ["a", "", "ü", "", "", "日", "", "", "", "🎉", "."]
    # cut off in the middle of a character, and bytes that are none
    cut = "".join(p for (p,) in say("aü日🎉.", 9, vocab))
    assert cut == "aü日\ufffd"
    noise = CharModel(ModelConfig(hidden=2, layers=1), vocab)
    text = noise.sample(2_000, seed=0)
    assert text.encode("utf-8").decode("utf-8") == text and "\ufffd" in text


def test_stop_strings_of_level_byte_are_text():
    pieces = say("aü日🎉.", 22, Vocab.bytes(), stops=["日"])
    assert "".join(p for (p,) in pieces) == "aü"
