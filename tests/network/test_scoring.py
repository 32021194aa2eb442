"""Scoring: evaluation against its definition for all batch sizes, and short texts one by one."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from corpus_files import make_text

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab, load
from charlstm.network import scoring
from charlstm.network.scoring import Loss, evaluate, score_texts
from charlstm.system.threads import Workers


def losses_by_steps(model, ids, state=None):
    """The loss of each id but the first in nats, by single steps of the model."""
    state = model.initial_state(1) if state is None else state
    nats = []
    for before, id_ in pairwise(ids):
        log_probs, state = model.step(np.array([before]), state)
        nats.append(-float(log_probs[0, id_]))
    return nats


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


@pytest.fixture(scope="module")
def small():
    """An untrained model in float64, so that rounding hides no error."""
    return CharModel(ModelConfig(hidden=7, layers=2, dtype="float64"), Vocab.from_text("ab\ncd"), 3)


def ids_of(model, length, seed=0):
    return np.random.default_rng(seed).integers(len(model.vocab), size=length, dtype=np.uint8)


@pytest.mark.parametrize("length", [2, 3, 50, 51, 52, 1_000, 1_234])
def test_every_character_but_the_first_is_scored(small, length):
    ids = ids_of(small, length)
    expected = losses_by_steps(small, ids)
    for batch_size in (None, 1):
        loss = evaluate(small, ids, batch_size=batch_size)
        assert loss.characters == length - 1
        assert loss.nats == pytest.approx(sum(expected), rel=1e-12)


@pytest.mark.parametrize("window", [1, 2, 7, 50, 51, 120, 499, 500, 10_000, 10**51])
def test_cold_windows_equal_their_definition(small, window):
    ids = ids_of(small, 500)
    expected = 0.0
    for start in range(0, len(ids) - 1, window):
        expected += sum(losses_by_steps(small, ids[start : start + window + 1]))
    for batch_size, workers in product((None, 1, 3), (1, 2)):
        pool = Workers(workers)
        loss = evaluate(small, ids, window=window, batch_size=batch_size, workers=pool)
        pool.close()
        assert loss.characters == 499
        assert loss.nats == pytest.approx(expected, rel=1e-12)


def test_parallel_streams_after_a_warm_up_are_as_good_as_one_stream(model):
    ids = model.vocab.encode(make_text(900, seed=8))
    assert len(ids) > 20_000
    one = evaluate(model, ids, batch_size=1)
    for batch_size in (None, 2, 7, 20):
        many = evaluate(model, ids, batch_size=batch_size)
        assert many.characters == one.characters
        assert abs(many.nats_per_character - one.nats_per_character) < 1e-3
    cold = evaluate(model, ids, window=1_000)
    assert abs(cold.nats_per_character - one.nats_per_character) > 1e-5  # cold starts cost a little


def test_warm_up_is_the_thousand_characters_before_each_stream(small):
    ids = ids_of(small, 2_101)
    first = sum(losses_by_steps(small, ids[:1_051]))
    warmed = sum(losses_by_steps(small, ids[50:])[1_000:])
    assert evaluate(small, ids, batch_size=2).nats == pytest.approx(first + warmed, rel=1e-12)


@pytest.mark.parametrize("workers", [2, 3])
def test_evaluation_does_not_depend_on_the_workers(model, workers):
    ids = model.vocab.encode(make_text(250, seed=8))
    pool = Workers(workers)
    assert evaluate(model, ids, workers=pool).nats == pytest.approx(
        evaluate(model, ids).nats, rel=1e-6
    )
    pool.close()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 3}, {"window": 7}])
def test_joined_texts_are_read_apart(small, workers, options):
    sizes = [1, 120, 2, 3_500, 2, 1, 49, 50, 51, 1_000, *[9] * 70]
    starts = np.cumsum([0, *sizes[:-1]])
    ids, pool, counted = ids_of(small, sum(sizes)), Workers(workers), []
    loss = evaluate(small, ids, starts=starts, workers=pool, advance=counted.append, **options)
    pool.close()
    texts = np.split(ids, starts[1:])
    alone = [evaluate(small, text, **options) for text in texts if len(text) > 1]
    assert loss.characters == sum(each.characters for each in alone) == sum(counted)
    # the longest text may be read in another number of streams
    nats = sum(each.nats for each in alone)
    assert loss.nats == pytest.approx(nats, rel=1e-12 if "window" in options else 1e-6)
    with pytest.raises(CharlstmError, match="nothing to predict"):
        evaluate(small, ids[:3], starts=np.arange(3))


def test_many_small_texts_are_read_in_few_batches(small, monkeypatch):
    sizes, read = [12] * 3_000 + [20_000], []
    losses = small.losses
    monkeypatch.setattr(
        small, "losses", lambda inputs, *rest: read.append(inputs.size) or losses(inputs, *rest)
    )
    evaluate(small, ids_of(small, sum(sizes)), starts=np.cumsum([0, *sizes[:-1]]))
    assert len(read) < 250 and sum(read) < 2.5 * sum(sizes)


def test_advance_is_called_with_the_number_of_predictions(small):
    for options in ({}, {"batch_size": 1}, {"window": 7}):
        counted = []
        evaluate(small, ids_of(small, 2_500), advance=counted.append, **options)
        assert sum(counted) == 2_499


@pytest.mark.parametrize(
    ("length", "options", "message"),
    [
        (1, {}, "fewer than 2 characters"),
        (0, {}, "fewer than 2 characters"),
        (9, {"window": 0}, "`window` must be 1 or more"),
        (9, {"batch_size": 0}, "`batch_size` must be 1 or more"),
        (9, {"window": 2.5}, "`window` must be a whole number, not 2.5"),
        (9, {"batch_size": "2"}, "`batch_size` must be a whole number, not '2'"),
    ],
)
def test_bad_evaluations_are_refused(small, length, options, message):
    with pytest.raises(CharlstmError, match=message):
        evaluate(small, ids_of(small, length), **options)


def test_loss_in_nats_bits_and_perplexity():
    loss = Loss(math.log(8) * 10, 10)
    assert loss.nats_per_character == pytest.approx(math.log(8))
    assert loss.bits_per_character == pytest.approx(3)
    assert loss.perplexity == pytest.approx(8)
    assert math.isnan(Loss(0.0, 0).perplexity) and math.isnan(Loss(0.0, 0).bits_per_character)
    assert Loss(1e6, 1).perplexity == math.inf


def test_text_is_scored_as_if_it_followed_a_line_end(small):
    text = "abcdab"
    expected = losses_by_steps(small, small.vocab.encode("\n" + text))
    score = small.score(text)
    assert (score.text, score.characters) == (text, 6)
    assert np.allclose(score.nats, expected, rtol=1e-12)
    assert score.bits_per_character == pytest.approx(sum(expected) / 6 / math.log(2))
    assert score.perplexity == pytest.approx(math.exp(sum(expected) / 6))


def test_without_a_line_end_in_the_vocabulary_the_first_character_is_not_scored():
    model = CharModel(ModelConfig(hidden=5, layers=1, dtype="float64"), Vocab.from_text("abc"))
    score = model.score("abca")
    assert score.characters == 3
    assert np.allclose(score.nats, losses_by_steps(model, model.vocab.encode("abca")))
    assert [model.score(text).characters for text in ("", "a")] == [0, 0]


def test_empty_texts_have_no_loss(small):
    scores = list(score_texts(small, ["", "ab", ""]))
    assert [s.characters for s in scores] == [0, 2, 0]
    assert math.isnan(scores[0].bits_per_character) and math.isnan(scores[0].perplexity)
    empty = {"text": "", "characters": 0, "nats": 0.0}
    assert scores[0].to_dict() == empty | {"bits_per_character": None, "perplexity": None}
    (skipped,) = score_texts(small, ["xyz"], "skip")  # nothing is left, which is not the best text
    assert math.isnan(skipped.bits_per_character)
    assert list(score_texts(small, [])) == []


def test_texts_are_independent_of_their_batch_and_come_in_order(small):
    rng = np.random.default_rng(0)
    lengths = [*rng.integers(0, 120, 600), 700, 51, 50, 0, 1]
    texts = ["".join(rng.choice(list("abcd"), n)) for n in lengths]
    scores = list(score_texts(small, texts))
    for text, score in zip(texts, scores, strict=True):
        assert score.text == text and score.characters == len(text)
    for k in (0, 5, 599, 600, 601, 602, 604):
        assert np.allclose(scores[k].nats, small.score(texts[k]).nats, rtol=1e-10)


def test_a_list_is_scored_in_few_batches_with_the_same_result(small, monkeypatch):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcd"), n)) for n in rng.integers(0, 40, 200)]
    one_by_one = [small.score(text) for text in texts]
    batches, losses = [], scoring.sequence_losses
    monkeypatch.setattr(
        scoring, "sequence_losses", lambda *given: batches.append(1) or losses(*given)
    )
    for given in (texts, tuple(texts), iter(texts)):
        scores = small.score(given, workers=2)
        assert [score.text for score in scores] == texts
        for score, alone in zip(scores, one_by_one, strict=True):
            assert np.allclose(score.nats, alone.nats, rtol=1e-10)
    assert len(batches) == 3 * 4
    assert small.score([]) == []


def test_short_texts_are_not_padded_to_a_long_one(small, monkeypatch):
    """A line of a megabyte among short ones must not take sixty times its size in memory."""
    sizes = []
    losses = small.losses

    def watched(inputs, targets, state, activations=None):
        sizes.append(inputs.size)
        return losses(inputs, targets, state, activations)

    monkeypatch.setattr(small, "losses", watched)
    texts = ["ab"] * 63 + ["abcd" * 500]
    list(score_texts(small, texts))
    assert sum(sizes) < 3 * sum(map(len, texts))


def test_unknown_characters_are_refused_skipped_or_replaced(small):
    with pytest.raises(CharlstmError, match=r"no 'x' .*position 1"):
        list(score_texts(small, ["ab", "axb"]))
    with pytest.raises(CharlstmError, match=r"^`text\[514\]`: .* no 'x' .*position 1"):
        small.score(["ab"] * 514 + ["axb"])  # the third of the second group
    with pytest.raises(CharlstmError, match=r"^the vocabulary has no 'x'"):
        small.score("axb")
    skipped, replaced = (next(score_texts(small, ["áxb"], how)) for how in ("skip", "replace"))
    assert skipped.characters == 1 and skipped.text == "áxb"
    assert np.allclose(replaced.nats, small.score("ab").nats)


def test_score_at_level_byte_counts_bytes(byte_run):
    score = load(byte_run).score("ü日")
    assert score.characters == 5


def test_trained_model_finds_text_like_its_own_likelier_than_noise(model):
    own, noise = model.score("the cat sees a dog."), model.score("eht tac sese a gdo.")
    assert own.bits_per_character < 1.5 < 2.5 < noise.bits_per_character


@pytest.mark.parametrize("lines", [False, True])
def test_an_error_in_one_worker_stops_the_others(lines):
    vocab = Vocab.from_text("ab\n")
    model = CharModel(ModelConfig(hidden=2, layers=1, lines=lines), vocab)
    ids = vocab.encode(("ab" * 25 + "\n") * 6_000)
    calls = []

    def interrupt_first_call(predictions):
        calls.append(predictions)
        if len(calls) == 1:
            raise KeyboardInterrupt

    workers = Workers(2)
    evaluate(model, ids, workers=workers, advance=calls.append)
    all_calls = len(calls)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, ids, workers=workers, advance=interrupt_first_call)
    workers.close()
    assert len(calls) < all_calls / 4
