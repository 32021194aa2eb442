"""Sampling: distributions against their definition, stop strings, streaming and seeds."""

import math
from itertools import islice

import numpy as np
import pytest

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab, load
from charlstm.network.sampling import Sampling, draw, filtered_probabilities, stream_texts

LOG_PROBS = np.log([0.4, 0.05, 0.3, 0.01, 0.15, 0.09])


def distribution(log_probs, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The probabilities to draw from by their definition, one symbol after another."""
    scaled = [math.exp(x / temperature) for x in log_probs]
    p = [x / sum(scaled) for x in scaled]
    falling = sorted(range(len(p)), key=lambda k: -p[k])
    kept, total = [], 0.0
    for rank, k in enumerate(falling):
        if (top_k and rank >= top_k) or total >= top_p or p[k] < min_p * max(p):
            break
        kept.append(k)
        total += p[k]
    return [p[k] / total if k in kept else 0.0 for k in range(len(p))]


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
def test_distribution_equals_its_definition(options):
    rows = np.stack([LOG_PROBS, LOG_PROBS[::-1]])
    p = filtered_probabilities(rows, Sampling(**options))
    p /= p.sum(axis=1, keepdims=True)
    assert np.allclose(p, [distribution(row, **options) for row in rows], atol=1e-12)


@pytest.mark.parametrize("options", CHOICES)
def test_draws_follow_the_distribution(options):
    expected = np.array(distribution(LOG_PROBS, **options))
    n = 4_000
    rng = np.random.default_rng(11)
    ids = draw(np.tile(LOG_PROBS, (n, 1)), Sampling(**options), rng)
    counts = np.bincount(ids, minlength=6)
    assert not counts[expected == 0].any()
    possible = expected > 0
    chi_square = ((counts - n * expected)[possible] ** 2 / (n * expected[possible])).sum()
    assert chi_square < 20.5  # with 5 degrees of freedom, chance exceeds it once in a thousand


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
    p = filtered_probabilities(LOG_PROBS[None], Sampling(temperature=1e300))
    assert np.allclose(p / p.sum(), 1 / 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, r"`temperature` must be 0 or more, not -0.1"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_k": -1}, "`top_k` must be 0"),
        ({"top_p": 0.0}, "`top_p` must be above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": -0.1}, "`min_p` must be 0 to 1"),
        ({"min_p": 1.5}, "min_p"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(CharlstmError, match=message):
        Sampling(**options)


class Cycle:
    """A model that predicts a text over and over, and records the ids of each step."""

    config = ModelConfig(cell="rnn")  # a model that is sampled one step at a time

    def __init__(self, text, vocab=None):
        self.vocab = vocab or Vocab.from_text(text)
        self.text = text
        self.ids = self.vocab.encode(text)
        self.given = []

    def initial_state(self, batch):
        return np.zeros((1, 1, batch, 1))

    def step(self, ids, state):
        self.given.append(ids.tolist())
        return self.log_probs(len(ids), state), state + 1

    def read(self, ids, state):
        self.given.append(ids.tolist())
        return state + len(ids)

    def log_probs(self, streams, state):
        place = int(state[0, 0, 0, 0])
        log_probs = np.full((streams, len(self.vocab)), -50.0)
        log_probs[:, self.ids[place % len(self.ids)]] = 0
        return log_probs


def new_texts(text, length, vocab, stops=()):
    """The new text at each step of a sample from a model that predicts `text`."""
    model = Cycle(text, vocab)
    samples = stream_texts(model, length=length, prime=text[0], seed=0, stops=stops)
    return [new_text for (new_text,) in samples]


def test_each_character_is_yielded_before_the_next_is_computed():
    model = Cycle("abc")
    texts = stream_texts(model, prime="b", seed=0)
    assert model.given == []
    text = ""
    for k in range(1, 7):
        text += next(texts)[0]
        assert text == "abcabc"[:k] and len(model.given) == k


def test_sampling_is_endless_without_a_length():
    texts = stream_texts(Cycle("ab"), prime="a", seed=0)
    assert "".join(text for (text,) in islice(texts, 5_000)) == "ab" * 2_500


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
def test_text_ends_before_a_stop_string(stops, expected):
    vocab = Vocab.from_text("abcdefxz")
    assert "".join(new_texts("abcdef", 10, vocab, stops)) == expected


WHOLE = [  # the text that the model writes, the length, and the text of the sample
    ("Yes. No! Why?\nSo", 2, "Yes."),
    ("Yes. No! Why?\nSo", 4, "Yes."),  # the end is just there
    ("Yes. No! Why?\nSo", 5, "Yes. No!"),
    ("Yes. No! Why?\nSo", 9, "Yes. No! Why?"),
    ('He said: "3.5 kg." (No more.) She', 5, 'He said: "3.5 kg."'),
    ('He said: "3.5 kg." (No more.) She', 16, 'He said: "3.5 kg."'),
    ('He said: "3.5 kg." (No more.) She', 17, 'He said: "3.5 kg."'),
    ("A heading\n \nand text. ", 3, "A heading"),
    ("a\nline, no sentence\n\tand", 4, "a\nline, no sentence"),
    ("no end ", 3, "no "),
    ("「行く。」 と", 1, "「行く。」"),
    ("行く。次", 1, "行く。"),
]


@pytest.mark.parametrize("vocab", [None, Vocab.bytes()], ids=["char", "byte"])
@pytest.mark.parametrize(("text", "length", "expected"), WHOLE)
def test_a_whole_sample_goes_on_to_the_end_of_a_sentence_or_line(text, length, expected, vocab):
    length = len(text[:length].encode()) if vocab else length
    model = Cycle(text, vocab)
    options = {"length": length, "prime": text[-1], "seed": 0}
    model.read = lambda ids, state: state  # the sample begins with the text itself
    steps = [new for (new,) in stream_texts(model, whole=True, **options)]
    assert "".join(steps) == expected
    plain = [new for (new,) in stream_texts(model, **options)]
    assert steps[: length - 1] == plain[: length - 1]  # it grows as a sample that is not whole


def test_a_whole_sample_of_words_a_stop_string_and_a_model_of_lines():
    words = Vocab.from_words(["The", "cat", "sat", ".", "”"])
    model = Cycle("The cat sat. ”\nThe", words)
    options = {"prime": "The", "seed": 0, "whole": True}
    assert "".join(new for (new,) in stream_texts(model, length=2, **options)) == "The cat sat.”"
    stopped = stream_texts(model, length=2, stops=["t."], **options)
    assert "".join(new for (new,) in stopped) == "The cat sa"
    model.config = ModelConfig(cell="rnn", lines=True)  # a line may have several sentences
    model.text, model.ids = "The. cat\n", words.encode("The. cat\n")
    assert "".join(new for (new,) in stream_texts(model, length=1, **options)) == "The. cat"
    with pytest.raises(CharlstmError, match="`whole=True` needs a `length` above 0"):
        stream_texts(model, **options)


def test_only_the_beginning_of_a_stop_string_is_held_back():
    vocab = Vocab.from_text("abx")
    assert new_texts("aab", 6, vocab, ["aax"]) == ["", "", "aab", "", "", "aab"]
    # at the end of the sample, the text that was held back is yielded
    assert new_texts("aab", 5, vocab, ["aax"])[-1] == "aa"


def test_samples_of_a_batch_end_independently():
    steps = list(stream_texts(uniform_model(), length=300, count=5, stops=["b"], seed=3, prime="a"))
    texts = ["".join(new_texts) for new_texts in zip(*steps, strict=True)]
    assert all("b" not in text for text in texts)
    assert len({len(text) for text in texts}) > 1  # they end at different places
    assert len(steps) == max(len(text) for text in texts) + 1


def uniform_model():
    model = CharModel(ModelConfig(hidden=3, layers=1), Vocab.from_text("abcd\n"))
    model.parameters.vector[:] = 0
    return model


def test_samples_of_a_batch_read_the_prime_once_and_differ():
    model = Cycle("abc")
    list(stream_texts(model, length=2, count=4, prime="cab", seed=0))
    prime, *steps = model.given
    assert prime == model.vocab.encode("ca").tolist()  # one window of one stream
    assert [len(given) for given in steps] == [4, 4]  # then steps of 4 streams
    steps = list(stream_texts(uniform_model(), length=60, count=4, prime="a", seed=0))
    texts = ["".join(new_texts) for new_texts in zip(*steps, strict=True)]
    assert len(set(texts)) == 4 and {len(text) for text in texts} == {60}


def test_equal_seeds_give_equal_texts(trained):
    model = load(trained)
    text = model.sample(80, prime="the ", seed=5)
    assert model.sample(80, prime="the ", seed=5) == text
    assert load(trained).sample(80, prime="the ", seed=5) == text
    assert model.sample(80, prime="the ", seed=6) != text
    assert model.sample(80, prime="the ") != model.sample(80, prime="the ")


def test_greedy_sampling_takes_the_likeliest_symbol_each_time(trained):
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


def test_sample_without_prime_follows_a_line_end(trained):
    model = load(trained)
    assert model.sample(60, seed=1) == model.sample(60, seed=1, prime="\n")


def test_without_prime_and_line_end_all_symbols_are_equally_likely():
    model = CharModel(ModelConfig(hidden=4, layers=1), Vocab.from_text("abc"))
    first = [model.sample(1, seed=seed) for seed in range(300)]
    assert all(70 < first.count(letter) < 130 for letter in "abc")


def test_length_of_a_sample_is_exact(trained):
    assert [len(load(trained).sample(n, seed=n)) for n in (1, 2, 33)] == [1, 2, 33]
    assert len(load(trained).sample(np.int64(5), seed=np.uint8(1))) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1}, "`length` must be 0"),
        ({"length": 2.5}, "`length` must be a whole number, not 2.5"),
        ({"count": "3"}, "`count` must be a whole number, not '3'"),
        ({"count": 0}, "`count` must be 1 or more"),
        ({"stops": ["x", ""]}, "a string of `stop` must not be empty"),
        ({"prime": "aé"}, r"no 'é' \(U\+00E9\), found at position 1"),
        ({"prime": "é", "unknown": "ignore"}, "error, skip, replace"),
        ({"seed": -1}, "`seed` must be a whole number"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_step(options, message):
    with pytest.raises(CharlstmError, match=message):
        stream_texts(Cycle("ab"), **options)


def test_unknown_characters_of_a_prime_are_skipped_or_replaced(trained):
    model = load(trained)
    known = model.sample(30, prime="the cat", seed=2)
    assert model.sample(30, prime="théé cat", unknown="replace", seed=2) == model.sample(
        30, prime="thee cat", seed=2
    )
    assert model.sample(30, prime="the日 cat", unknown="skip", seed=2) == known
    assert model.sample(30, prime="the日cat", unknown="replace", seed=2) == known
    # a prime with no known character is like no prime
    assert model.sample(30, prime="日本", unknown="skip", seed=2) == model.sample(30, seed=2)


def test_a_count_gives_a_list_of_texts(trained):
    model = load(trained)
    one, two = model.sample(30, count=1, seed=5), model.sample(30, count=2, seed=5)
    assert one == [model.sample(30, seed=5)]
    assert [len(text) for text in two] == [30, 30] and two[0] != two[1]
    assert model.sample(30, count=13, seed=5, workers=2) == model.sample(
        30, count=13, seed=5, workers=1
    )


def test_sample_refuses_to_be_endless(trained):
    with pytest.raises(
        CharlstmError, match=r"`length` must be 1 or more, not .* \(0 has no end: use stream\)"
    ):
        load(trained).sample(0)
    with pytest.raises(CharlstmError, match=r"`length` must be a whole number, not 2\.5"):
        load(trained).sample(2.5)


def test_text_of_level_byte_is_valid_unicode():
    vocab = Vocab.bytes()
    expected = ["a", "", "ü", "", "", "日", "", "", "", "🎉", "."]
    assert new_texts("aü日🎉.", 11, vocab) == expected
    # a sample that ends within a character, and bytes that are not UTF-8
    assert "".join(new_texts("aü日🎉.", 9, vocab)) == "aü日\ufffd"
    noise = CharModel(ModelConfig(hidden=2, layers=1), vocab)
    text = noise.sample(2_000, seed=0)
    assert text.encode("utf-8").decode("utf-8") == text and "\ufffd" in text
    kept = noise.sample(2_000, seed=0, errors="surrogateescape")
    assert len(vocab.encode(kept)) == 2_000 and "\ufffd" not in kept


def test_stop_strings_of_level_byte_are_text():
    assert "".join(new_texts("aü日🎉.", 22, Vocab.bytes(), ["日"])) == "aü"


@pytest.mark.parametrize("known", ["a text", b"bytes"])
def test_known_lines_are_no_text(known):
    """A text would contain parts of its lines, too."""
    vocab = Vocab.from_text("ab\n")
    model = CharModel(ModelConfig(hidden=3, lines=True), vocab)
    with pytest.raises(CharlstmError, match="`known` must be a collection of lines"):
        next(model.sample_lines(2, known=known))
