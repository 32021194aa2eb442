"""Dynamic evaluation: against the rule step by step, and on texts worth following."""

from dataclasses import replace

import numpy as np
import pytest
from corpus_files import make_text
from dynamic_models import make_model, random_ids

from charlstm import CharlstmError, CharModel, load
from charlstm.analysis.dynamic_evaluation import DynamicConfig, DynamicEvaluation, _AdaptingModel
from charlstm.analysis.segment_gradients import (
    PLACES,
    SEGMENTS_PER_PLACE,
    SegmentReader,
    gradient_rms,
)
from charlstm.network.scoring import evaluate, score_texts
from charlstm.system.threads import Workers

RULE = DynamicConfig(segment=6, rate=0.05, decay=0.1, epsilon=0.3, match=0)


@pytest.fixture(scope="module")
def small():
    return make_model()


@pytest.fixture(scope="module")
def model(trained):
    return load(trained)


@pytest.fixture(scope="module")
def dynamic(model):
    return DynamicEvaluation(model, gradient_rms(model, model.vocab.encode(make_text(200))))


def rms_of(model, seed=4):
    """Random positive numbers, some so large that the decay goes all of the way back."""
    return np.random.default_rng(seed).lognormal(-3, 2, len(model.parameters.vector))


def by_the_paper(model, cut, rms, rule):
    """The losses of segments in nats, by the paper's rule and loss_and_gradients.

    cut: pairs of the ids (n + 1,) of a segment, and whether it starts from a fresh state.
    """
    w0 = model.parameters.vector.copy()
    copy = CharModel(model.config, model.vocab)
    copy.parameters.copy_from(model.parameters)
    squares = 4.0
    rms_norm = rms / rms.mean()
    decay = rule.decay * np.minimum(rms_norm, 1 / rule.decay) if rule.decay else 0
    nats, state = [], None
    for ids, begins in cut:
        state = None if begins else state
        loss, gradients, state = copy.loss_and_gradients(ids[:-1, None], ids[1:, None], state)
        nats.append(loss * (len(ids) - 1))
        w, g = copy.parameters.vector, gradients.vector
        g = g * min(1, 2 * np.linalg.norm(rms) / np.linalg.norm(g))
        w[...] = w - rule.rate * g / (rms + rule.epsilon * rms.mean()) + decay * (w0 - w)
        if "ngrams.W" in gradients:
            g = gradients["ngrams.W"] * (len(ids) - 1)
            squares = squares + (g**2).sum(axis=1, keepdims=True)
            copy.parameters["ngrams.W"] -= rule.ngram_lr * g / np.sqrt(squares)
    return nats


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"cell": "gru"},
        {"cell": "rnn", "layers": 1},
        {"ngrams": 3, "ngram_slots": 11},
        {"cell": "gru", "ngrams": 2, "ngram_slots": 1},
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_losses_equal_those_of_the_rule_step_by_step(config, workers):
    model = make_model(**config)
    ids, rms = random_ids(model, 3 * 6 + 5), rms_of(model)
    assert (RULE.decay * rms / rms.mean() > 1).any()
    cut = [(ids[k : k + 7].astype(int), k == 0) for k in range(0, len(ids) - 1, 6)]
    assert [len(segment) for segment, _ in cut] == [7, 7, 7, 5]
    expected = by_the_paper(model, cut, rms, RULE)
    pool = Workers(workers)
    loss = DynamicEvaluation(model, rms, RULE).evaluate(ids, workers=pool)
    pool.close()
    assert loss.characters == 22
    assert loss.nats == pytest.approx(sum(expected), rel=1e-9)
    # the steps change the loss, but that of the first segment counts before any step
    assert abs(loss.nats - evaluate(model, ids, batch_size=1).nats) > 1e-3
    first = DynamicEvaluation(model, rms, RULE).evaluate(ids[:7])
    assert first.nats == pytest.approx(evaluate(model, ids[:7]).nats, rel=1e-12)


@pytest.mark.parametrize("ngrams", [0, 3])
def test_lines_start_from_a_fresh_state_but_not_from_the_trained_weights(ngrams):
    model = make_model(lines=True, ngrams=ngrams, ngram_slots=50)
    text = "abcdabcdabc\n\nda\nb"
    ids, rms = model.vocab.encode(text), rms_of(model)
    cut = [
        (model.vocab.encode(segment).astype(int), begins)
        for segment, begins in (
            ("\nabcdab", True),
            ("bcdabc\n"[:7], False),
            ("\nda\n", True),
            ("\nb", True),
        )
    ]
    expected = by_the_paper(model, cut, rms, RULE)
    loss = DynamicEvaluation(model, rms, RULE).evaluate(ids)
    assert loss.characters == 16 == evaluate(model, ids).characters
    assert loss.nats == pytest.approx(sum(expected), rel=1e-9)
    text = text.replace("\n\n", "\n")  # a score counts empty lines too
    (score,) = DynamicEvaluation(model, rms, RULE).score_texts([text])
    assert score.characters == 16 and score.loss.nats == pytest.approx(sum(expected), rel=1e-9)


def test_a_rate_of_zero_gives_the_static_loss(model):
    ids = model.vocab.encode(make_text(20, seed=8))
    rms = gradient_rms(model, ids)
    for decay in (0.0, 0.5):
        still = DynamicEvaluation(
            model, rms, DynamicConfig(rate=0, decay=decay, ngram_lr=0, match=0)
        )
        assert still.evaluate(ids).nats == pytest.approx(
            evaluate(model, ids, batch_size=1).nats, 1e-6
        )
    texts = ["the cat sees a dog.", "a dog", "", "my lord never finds our king. " * 4]
    for score, static in zip(still.score_texts(texts), score_texts(model, texts), strict=True):
        assert np.allclose(score.nats, static.nats, rtol=1e-4)
        assert score.text == static.text and score.characters == static.characters


def test_the_gradient_of_a_surprising_segment_is_clipped(small):
    ids, rms = random_ids(small, 7), np.full(len(small.parameters.vector), 1e-3)
    dynamic = DynamicEvaluation(small, rms, DynamicConfig(segment=3, rate=0.1, decay=0.0))
    follower = _AdaptingModel(dynamic, Workers(1))
    list(follower.read([(ids[:4].astype(int), True), (ids[3:].astype(int), False)]))
    moved = follower._weights - small.parameters.vector
    _, gradients, _ = small.loss_and_gradients(
        ids[:3, None].astype(int), ids[1:4, None].astype(int)
    )
    norm = np.linalg.norm(gradients.vector)
    assert norm > 5 * np.linalg.norm(rms)
    step = 2 * np.linalg.norm(rms) / norm * gradients.vector * 0.1 / (1.1 * 1e-3)
    assert np.allclose(moved, -step, rtol=1e-6, atol=1e-12)


def test_a_repeated_phrase_is_learned(model, dynamic):
    text = "the dog of our old lord sings a song to the queen.\n" * 30
    ids = model.vocab.encode(text, unknown="replace")
    static = evaluate(model, ids, batch_size=1).nats_per_character
    assert dynamic.evaluate(ids).nats_per_character < 0.7 * static
    (score,) = dynamic.score_texts([text], "replace")
    (before,) = score_texts(model, [text], "replace")
    assert score.loss.nats < 0.7 * before.loss.nats
    assert np.allclose(score.nats[:20], before.nats[:20], rtol=1e-4)  # counted before any step


def test_the_model_does_not_change_and_each_evaluation_gives_the_same_loss(model, dynamic):
    weights = model.parameters.vector.copy()
    ids = model.vocab.encode(make_text(10, seed=8))
    losses = {dynamic.evaluate(ids).nats for _ in range(3)}
    pool = Workers(3)
    losses |= {loss.nats for loss in pool.run(lambda k: dynamic.evaluate(ids))}
    pool.close()
    list(dynamic.score_texts([make_text(5)]))
    gradient_rms(model, ids)
    assert len(losses) == 1
    assert np.array_equal(model.parameters.vector, weights)


def test_no_text_learns_from_another(dynamic, monkeypatch):
    monkeypatch.setattr("charlstm.network.scoring.MAX_GROUP_TEXTS", 9)
    texts = [make_text(1 + k % 7, seed=k) for k in range(30)] + ["", "a"]
    pool = Workers(2)
    scores = list(dynamic.score_texts(texts, workers=pool))
    back = list(dynamic.score_texts(reversed(texts), workers=pool))[::-1]
    pool.close()
    assert [score.text for score in scores] == texts
    for k, (one, other) in enumerate(zip(scores, back, strict=True)):
        assert np.array_equal(one.nats, other.nats) and one.characters == len(texts[k])
    (alone,) = dynamic.score_texts([texts[6]])
    assert np.array_equal(alone.nats, scores[6].nats)


def test_the_table_of_ngrams_follows_a_text_and_is_restored_for_the_next():
    model = make_model(ngrams=4, ngram_slots=30)
    before = model.parameters["ngrams.W"].copy()
    rms, texts = rms_of(model), ["abcdabcdabcdabcd", "ddca\nb", "abcdabcdabcdabcd"]
    dynamic = DynamicEvaluation(model, rms, RULE)
    scores = list(dynamic.score_texts(texts))
    assert np.array_equal(model.parameters["ngrams.W"], before)
    assert np.array_equal(scores[0].nats, scores[2].nats)
    still = DynamicEvaluation(model, rms, replace(RULE, ngram_lr=0.0))
    (without,) = still.score_texts(texts[:1])
    assert np.array_equal(without.nats[:6], scores[0].nats[:6])
    assert scores[0].loss.nats < without.loss.nats - 0.5
    fixed = DynamicEvaluation(model, rms, replace(RULE, rate=0.0, decay=0.0, ngram_lr=0.0))
    (static,) = fixed.score_texts(texts[:1])
    assert np.allclose(static.nats, model.score(texts[0]).nats, rtol=1e-12)


def test_advance_counts_each_prediction_once(model, dynamic):
    counted = []
    dynamic.evaluate(model.vocab.encode(make_text(10)), advance=counted.append)
    assert sum(counted) == len(make_text(10)) - 1 and set(counted[:-1]) == {20}


def test_short_texts_and_bad_rms_are_refused(small, model, dynamic):
    rms = rms_of(small)
    for length in (0, 1):
        with pytest.raises(CharlstmError, match="fewer than 2 characters has nothing"):
            DynamicEvaluation(small, rms).evaluate(random_ids(small, length))
        with pytest.raises(CharlstmError, match="fewer than 2 characters has no gradient"):
            gradient_rms(small, random_ids(small, length))
    with pytest.raises(CharlstmError, match="`rms` must be of shape"):
        DynamicEvaluation(small, rms[1:])
    for bad in (0 * rms, np.nan * rms, np.inf * rms):
        with pytest.raises(CharlstmError, match="mean of rms must be above 0 and finite"):
            DynamicEvaluation(small, bad)
    with pytest.raises(CharlstmError, match="no 'x'"):
        list(dynamic.score_texts(["a dog", "x"]))


def test_weights_that_run_away_are_refused(model):
    ids = model.vocab.encode(make_text(60))
    wild = DynamicEvaluation(model, gradient_rms(model, ids), DynamicConfig(rate=0.5))
    wild.rates[...] = 1e38  # beyond any rate that is accepted
    for measure in (lambda: wild.evaluate(ids), lambda: list(wild.score_texts([make_text(60)]))):
        with pytest.raises(CharlstmError, match=r"beyond all bounds.*below 0\.5"):
            measure()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment": 0}, "`segment` must be 1 or more"),
        ({"segment": 2.5}, "`segment` must be int"),
        ({"rate": -1.0}, "`rate` must be 0 to 1"),
        ({"rate": float("nan")}, "`rate` must be a finite number"),
        ({"decay": 2}, "`decay` must be 0 to 1"),
        ({"epsilon": 0}, "`epsilon` must be above 0"),
        ({"ngram_lr": -0.1}, "`ngram_lr` must be 0 to 100"),
    ],
)
def test_settings_are_validated(options, message):
    with pytest.raises(CharlstmError, match=message):
        DynamicConfig(**options)


def test_an_error_in_one_worker_stops_the_others(small, monkeypatch):
    workers, reads, read = Workers(2), [], SegmentReader.read

    def interrupt_first_read(reader, *segment):
        reads.append(segment)
        if len(reads) == 1:
            raise KeyboardInterrupt
        return read(reader, *segment)

    dynamic = DynamicEvaluation(small, rms_of(small), RULE)
    monkeypatch.setattr(SegmentReader, "read", interrupt_first_read)
    with pytest.raises(KeyboardInterrupt):
        gradient_rms(small, random_ids(small, 9_000), workers=workers)
    assert len(reads) < PLACES * SEGMENTS_PER_PLACE / 4
    reads.clear()
    with pytest.raises(KeyboardInterrupt):
        list(dynamic.score_texts(["ab\ncd" * 300] * 2, workers=workers))
    assert len(reads) < 300 * 5 / RULE.segment / 4
    workers.close()


def test_matches_are_found_in_the_text_before_and_in_the_text_itself(model):
    text = model.vocab.encode(make_text(30, seed=10))
    rms = gradient_rms(model, text)
    alone, matching = (
        DynamicEvaluation(model, rms, DynamicConfig(rate=0.0, ngram_lr=0.0, match=match))
        for match in (0, 5)
    )
    twice = np.concatenate([text, text])
    assert matching.evaluate(twice).nats < 0.8 * alone.evaluate(twice).nats
    assert matching.evaluate(text, before=text).nats < 0.8 * matching.evaluate(text).nats
    assert alone.evaluate(text, before=text) == alone.evaluate(text)
    # Neither the model nor the object remembers a text.
    assert matching.evaluate(text) == matching.evaluate(text)
