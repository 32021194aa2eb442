"""The running batch: each sample equals the one that its seed gives alone, bit for bit."""

import numpy as np
import pytest

from charlstm import CharModel, ModelConfig, Vocab
from charlstm.network.continuous_batch import ContinuousBatch
from charlstm.network.sampling import Sampling, stream_texts
from charlstm.network.stack import READ_STEPS
from charlstm.seeds import generator
from charlstm.system.threads import Workers

VOCAB = Vocab.from_text("\n abcdefghijklmnopqrstuvwxyz.,'")
SETTINGS = [
    Sampling(),
    Sampling(0),
    Sampling(0.7, top_k=5),
    Sampling(1.4, top_p=0.8),
    Sampling(min_p=0.05),
]


def make_model(vocab=VOCAB, **options):
    config = ModelConfig(**{"hidden": 33, "layers": 2, "ngrams": 4, "ngram_slots": 500} | options)
    model = CharModel(config, vocab, seed=3)
    model.parameters["head.W"] *= 4
    if config.ngrams:
        table = model.parameters["ngrams.W"]
        table[...] = np.random.default_rng(1).normal(0, 0.7, table.shape)
    return model


def begin(batch, model, prime, sampling, seed):
    """A sample of a seed that continues a prime, which the model reads in two pieces."""
    state, read, middle = model.initial_state(1), prime[:-1], READ_STEPS
    for piece in (read[:middle], read[middle:]):
        if len(piece):
            state = model.read(piece, state)
    return batch.begin(prime, state, sampling, generator(seed, "sample"))


def alone(model, prime, seed, sampling, length):
    pieces = stream_texts(
        model, prime=prime, seed=seed, sampling=sampling, length=length, workers=1
    )
    return "".join(text for (text,) in pieces)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"capped": True, "skip": True},
        {"lines": True},
        {"ngrams": 0, "layers": 1, "hidden": 130},
        {"cell": "gru"},
        {"cell": "rnn", "ngrams": 0},
        {"dtype": "float64", "hidden": 9, "layers": 1},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "lstm",
)
def test_samples_that_join_and_leave_equal_those_of_their_seeds_alone(options):
    model = make_model(**options)
    batch = ContinuousBatch(model, Workers(2))
    rng = np.random.default_rng(0)
    running, texts, expected = {}, {}, {}
    for step in range(25):
        for _ in range(rng.integers(0, 3)):  # joins
            number = len(texts)
            prime = ["", "the ", "a\nb" * 200][number % 3]
            settings = SETTINGS[number % len(SETTINGS)]
            ids = VOCAB.encode(prime or "\n")
            sample = begin(batch, model, ids, settings, number)
            running[number], texts[number] = sample, ""
            expected[number] = (prime, number, settings)
        if running:
            drawn = batch.advance(list(running.values()), int(rng.integers(1, 9)))
            for number, column in zip(running, drawn.T, strict=True):
                texts[number] += VOCAB.decode(column)
        if step % 3 == 2:  # some leave
            for number in [n for n in running if rng.random() < 0.4]:
                del running[number]
    assert len(texts) > 20
    for number, text in texts.items():
        if text:
            assert text == alone(model, *expected[number], len(text))


def test_a_sample_without_a_prime_begins_with_a_uniform_draw():
    vocab = Vocab.from_text("abc")  # no line end to begin with
    model = make_model(vocab)
    batch = ContinuousBatch(model, Workers(1))
    sample = begin(batch, model, np.empty(0, np.intp), Sampling(), 5)
    text = vocab.decode([*sample.first, *batch.advance([sample], 20)[:, 0]])
    assert text == alone(model, "", 5, Sampling(), 21)


@pytest.mark.parametrize("hidden", [33, 128])
def test_states_do_not_depend_on_the_number_of_samples(hidden):
    model = make_model(hidden=hidden, layers=2)
    batch = ContinuousBatch(model, Workers(1))
    primes = [VOCAB.encode(letters) for letters in "abcdefghijklm"]
    alone = [begin(batch, model, prime, Sampling(), k) for k, prime in enumerate(primes)]
    for sample in alone:
        batch.advance([sample], 40)
    for count in range(2, 14):
        together = [begin(batch, model, primes[k], Sampling(), k) for k in range(count)]
        batch.advance(together, 40)
        for sample, expected in zip(together, alone, strict=False):
            assert np.array_equal(sample.state, expected.state)
