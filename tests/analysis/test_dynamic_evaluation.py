"""Dynamic evaluation: the rule step by step, what it leaves alone, and that it pays."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from corpus_files import make_text

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab, load
from charlstm.analysis.dynamic_evaluation import DynamicConfig, DynamicEvaluation, _Follower
from charlstm.analysis.segment_gradients import (
    PLACES,
    SEGMENTS_PER_PLACE,
    SegmentReader,
    gradient_rms,
    own_text,
    rms_predictions,
    segments,
)
from charlstm.network.scoring import evaluate, score_texts
from charlstm.system.threads import Workers

RULE = DynamicConfig(segment=6, rate=0.05, decay=0.1, epsilon=0.3)


def ids_of(model, length, seed=0):
    return np.random.default_rng(seed).integers(len(model.vocab), size=length, dtype=np.uint8)


def make_model(**config):
    """Untrained, in float64, so that rounding hides nothing."""
    config = {"hidden": 7, "layers": 2, "dtype": "float64", **config}
    model = CharModel(ModelConfig(**config), Vocab.from_text("ab\ncd"), 3)
    if "ngrams.W" in model.parameters:
        table = model.parameters["ngrams.W"]
        table[...] = np.random.default_rng(6).normal(size=table.shape)
    return model


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
    """Any positive numbers do; some so large that the decay is held at all of the way back."""
    return np.random.default_rng(seed).lognormal(-3, 2, len(model.parameters.vector))


def by_the_paper(model, pieces, rms, rule):
    """Nats in all, by the rule as the paper has it, with nothing but the model's gradients.

    pieces: (inputs and targets (n + 1,), whether the state starts afresh).
    """
    w0 = model.parameters.vector.copy()
    copy = CharModel(model.config, model.vocab)
    copy.parameters.copy_from(model.parameters)
    squares = 4.0
    rms_norm = rms / rms.mean()
    decay = rule.decay * np.minimum(rms_norm, 1 / rule.decay) if rule.decay else 0
    nats, state = [], None
    for ids, begins in pieces:
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
def test_losses_are_those_of_the_rule_step_by_step(config, workers):
    model = make_model(**config)
    ids, rms = ids_of(model, 3 * 6 + 5), rms_of(model)
    assert (RULE.decay * rms / rms.mean() > 1).any()
    pieces = [(ids[k : k + 7].astype(int), k == 0) for k in range(0, len(ids) - 1, 6)]
    assert [len(piece) for piece, _ in pieces] == [7, 7, 7, 5]
    expected = by_the_paper(model, pieces, rms, RULE)
    pool = Workers(workers)
    loss = DynamicEvaluation(model, rms, RULE).evaluate(ids, workers=pool)
    pool.close()
    assert loss.characters == 22
    assert loss.nats == pytest.approx(sum(expected), rel=1e-9)
    # the rule is one that matters, and the first segment's loss counts before any step
    assert abs(loss.nats - evaluate(model, ids, batch_size=1).nats) > 1e-3
    first = DynamicEvaluation(model, rms, RULE).evaluate(ids[:7])
    assert first.nats == pytest.approx(evaluate(model, ids[:7]).nats, rel=1e-12)


@pytest.mark.parametrize("ngrams", [0, 3])
def test_to_a_model_of_lines_each_begins_afresh_while_the_weights_go_on(ngrams):
    model = make_model(lines=True, ngrams=ngrams, ngram_slots=50)
    text = "abcdabcdabc\n\nda\nb"
    ids, rms = model.vocab.encode(text), rms_of(model)
    pieces = [
        (model.vocab.encode(piece).astype(int), begins)
        for piece, begins in (
            ("\nabcdab", True),
            ("bcdabc\n"[:7], False),
            ("\nda\n", True),
            ("\nb", True),
        )
    ]
    expected = by_the_paper(model, pieces, rms, RULE)
    loss = DynamicEvaluation(model, rms, RULE).evaluate(ids)
    assert loss.characters == 16 == evaluate(model, ids).characters
    assert loss.nats == pytest.approx(sum(expected), rel=1e-9)
    text = text.replace("\n\n", "\n")  # a score counts all of a text, an empty line as well
    (score,) = DynamicEvaluation(model, rms, RULE).score_texts([text])
    assert score.characters == 16 and score.loss.nats == pytest.approx(sum(expected), rel=1e-9)


def test_the_root_mean_square_is_that_of_each_segments_gradient(small):
    ids = ids_of(small, 6 * 5 + 3)
    state, squares = None, []
    for k in range(0, len(ids) - 1, 6):
        piece = ids[k : k + 7].astype(int)[:, None]
        _, gradients, state = small.loss_and_gradients(piece[:-1], piece[1:], state)
        squares.append(gradients.vector**2)
    expected = np.sqrt(np.mean(squares, axis=0))
    assert np.allclose(gradient_rms(small, ids, 6), expected, rtol=1e-12, atol=0)


def test_of_a_long_text_places_from_all_over_are_measured(small, monkeypatch):
    monkeypatch.setattr("charlstm.analysis.segment_gradients.PLACES", 3)
    monkeypatch.setattr("charlstm.analysis.segment_gradients.SEGMENTS_PER_PLACE", 2)
    ids = ids_of(small, 1_001)
    places = (0, 494, 988)
    squares = [gradient_rms(small, ids[p : p + 13], 6) ** 2 for p in places]
    expected = np.sqrt(np.mean(squares, axis=0))
    for workers in (1, 2, 4):
        counted = []
        pool = Workers(workers)
        rms = gradient_rms(small, ids, 6, workers=pool, advance=counted.append)
        pool.close()
        assert np.allclose(rms, expected, rtol=1e-12, atol=0)
        assert sum(counted) == 3 * 2 * 6 == rms_predictions(6)


def test_a_text_of_the_models_own_serves_as_well_as_the_training_text(model):
    ids = own_text(model)
    assert ids.shape == (rms_predictions(),) == (PLACES * SEGMENTS_PER_PLACE * 20,)
    assert np.array_equal(ids, own_text(model))
    assert len(np.unique(ids)) > 5 and ids.max() < len(model.vocab)
    # trained to write such text, it finds gradients of nearly the same size in either
    own = gradient_rms(model, ids)
    other = gradient_rms(model, model.vocab.encode(make_text(200)))
    large = other > other.mean()
    assert 0.5 < np.median(own[large] / other[large]) < 2


def test_weights_that_do_not_move_give_the_static_loss(model):
    ids = model.vocab.encode(make_text(20, seed=8))
    rms = gradient_rms(model, ids)
    for decay in (0.0, 0.5):
        still = DynamicEvaluation(model, rms, DynamicConfig(rate=0.0, decay=decay, ngram_lr=0.0))
        assert still.evaluate(ids).nats == pytest.approx(
            evaluate(model, ids, batch_size=1).nats, 1e-6
        )
    texts = ["the cat sees a dog.", "a dog", "", "my lord never finds our king. " * 4]
    for score, static in zip(still.score_texts(texts), score_texts(model, texts), strict=True):
        assert np.allclose(score.nats, static.nats, rtol=1e-4)
        assert score.text == static.text and score.characters == static.characters


def test_a_surprising_segment_does_not_throw_the_weights_far(small):
    ids, rms = ids_of(small, 7), np.full(len(small.parameters.vector), 1e-3)
    dynamic = DynamicEvaluation(small, rms, DynamicConfig(segment=3, rate=0.1, decay=0.0))
    follower = _Follower(dynamic, Workers(1))
    list(follower.read([(ids[:4].astype(int), True), (ids[3:].astype(int), False)]))
    moved = follower._weights - small.parameters.vector
    _, gradients, _ = small.loss_and_gradients(
        ids[:3, None].astype(int), ids[1:4, None].astype(int)
    )
    norm = np.linalg.norm(gradients.vector)
    assert norm > 5 * np.linalg.norm(rms)
    step = 2 * np.linalg.norm(rms) / norm * gradients.vector * 0.1 / (1.1 * 1e-3)
    assert np.allclose(moved, -step, rtol=1e-6, atol=1e-12)


def test_it_learns_a_phrase_that_comes_again_and_again(model, dynamic):
    text = "the dog of our old lord sings a song to the queen.\n" * 30
    ids = model.vocab.encode(text, unknown="replace")
    static = evaluate(model, ids, batch_size=1).nats_per_character
    assert dynamic.evaluate(ids).nats_per_character < 0.7 * static
    (score,) = dynamic.score_texts([text], "replace")
    (before,) = score_texts(model, [text], "replace")
    assert score.loss.nats < 0.7 * before.loss.nats
    assert np.allclose(score.nats[:20], before.nats[:20], rtol=1e-4)  # counted before any step


def test_the_model_stays_as_it_is_and_every_reading_gives_the_same(model, dynamic):
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


def test_a_table_of_ngrams_follows_too_and_goes_back_for_the_next_text():
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


def test_progress_counts_each_prediction_once(model, dynamic):
    counted = []
    dynamic.evaluate(model.vocab.encode(make_text(10)), advance=counted.append)
    assert sum(counted) == len(make_text(10)) - 1 and set(counted[:-1]) == {20}


def test_segments_overlap_by_the_character_that_the_next_prediction_is_made_from(small):
    cut = list(segments(small, np.arange(12), 5))
    assert [(piece.tolist(), begins) for piece, begins in cut] == [
        ([0, 1, 2, 3, 4, 5], True),
        ([5, 6, 7, 8, 9, 10], False),
        ([10, 11], False),
    ]


def test_what_cannot_be_measured_is_refused(small, model, dynamic):
    rms = rms_of(small)
    for length in (0, 1):
        with pytest.raises(CharlstmError, match="fewer than 2 characters has nothing"):
            DynamicEvaluation(small, rms).evaluate(ids_of(small, length))
        with pytest.raises(CharlstmError, match="fewer than 2 characters has no gradient"):
            gradient_rms(small, ids_of(small, length))
    with pytest.raises(CharlstmError, match="rms must be of shape"):
        DynamicEvaluation(small, rms[1:])
    for bad in (0 * rms, np.nan * rms, np.inf * rms):
        with pytest.raises(CharlstmError, match="mean of rms must be above 0 and finite"):
            DynamicEvaluation(small, bad)
    with pytest.raises(CharlstmError, match="no 'x'"):
        list(dynamic.score_texts(["a dog", "x"]))


def test_a_rate_at_which_the_weights_run_away_is_told(model):
    ids = model.vocab.encode(make_text(60))
    wild = DynamicEvaluation(model, gradient_rms(model, ids), DynamicConfig(rate=0.5))
    wild.rates[...] = 1e38  # further astray than any rate that is taken
    for measure in (lambda: wild.evaluate(ids), lambda: list(wild.score_texts([make_text(60)]))):
        with pytest.raises(CharlstmError, match=r"beyond all bounds.*below 0\.5"):
            measure()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment": 0}, "segment must be 1 or more"),
        ({"segment": 2.5}, "segment must be int"),
        ({"rate": -1.0}, "rate must be 0 to 1"),
        ({"rate": float("nan")}, "rate must be a finite number"),
        ({"decay": 2}, "decay must be 0 to 1"),
        ({"epsilon": 0}, "epsilon must be above 0"),
        ({"ngram_lr": -0.1}, "ngram_lr must be 0 to 100"),
    ],
)
def test_settings_are_validated(options, message):
    with pytest.raises(CharlstmError, match=message):
        DynamicConfig(**options)


# -- the command line ----------------------------------------------------------------------------

DEFAULTS = {"segment": 20, "rate": 0.0015, "decay": 0.001, "epsilon": 0.1, "ngram_lr": 0.25}


@pytest.fixture
def measured(tmp_path):
    path = tmp_path / "measured.txt"
    path.write_text(make_text(20, seed=9))
    return path


def test_eval_scales_by_gradients_on_the_models_own_text(cli, trained, model, measured):
    result = cli("eval", measured, "-r", trained, "--dynamic", "--json")
    figures = json.loads(result.stdout)
    assert figures["dynamic"] == DEFAULTS
    assert figures["window"] is None and "note" not in result.stderr
    expected = DynamicEvaluation(model, gradient_rms(model, own_text(model)))
    loss = expected.evaluate(model.vocab.encode(measured.read_text()))
    assert figures["nats_per_character"] == pytest.approx(loss.nats_per_character, rel=1e-6)
    shown = cli("eval", measured, "-r", trained, "--dynamic", "--dynamic-rate", 0.02).stdout
    assert "dynamic              segment 20, rate 0.02, decay 0.001" in shown


def test_score_takes_the_same_options(cli, trained, measured):
    arguments = ("score", measured, "-r", trained)
    static = [json.loads(line) for line in cli(*arguments).stdout.splitlines()]
    settings = {**DEFAULTS, "rate": 0.0, "decay": 0.5, "ngram_lr": 0.0}
    given = ("--dynamic-rate", 0, "--dynamic-decay", 0.5, "--dynamic-ngram-lr", 0)
    output = cli(*arguments, "--dynamic", *given).stdout
    records = [json.loads(line) for line in output.splitlines()]
    for record, before in zip(records, static, strict=True):
        assert record.pop("dynamic") == settings
        assert record["nats"] == pytest.approx(before["nats"], rel=1e-5)
        assert record["text"] == before["text"] and set(record) == set(before)


def test_a_model_needs_no_other_file(cli, trained, measured, tmp_path):
    alone = tmp_path / "alone.safetensors"
    shutil.copy(trained / "best.safetensors", alone)
    of_run, of_file = (
        cli("score", measured, "-r", place, "--dynamic").stdout for place in (trained, alone)
    )
    assert of_run == of_file != ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--dynamic", "--window", 64], 2, "--dynamic reads one stream: give no --window"),
        (["--dynamic", "--batch-size", 2], 2, "--dynamic reads one stream: give no --window"),
        (["--dynamic-rate", 0.1], 2, "--dynamic-rate goes with --dynamic"),
        (["--dynamic-ngram-lr", 0.1], 2, "--dynamic-ngram-lr goes with --dynamic"),
        (["--dynamic-decay", 0.1], 2, "--dynamic-decay goes with --dynamic"),
        (["--dynamic", "--dynamic-rate", -1], 1, "rate must be 0 to 1"),
    ],
)
def test_options_that_contradict_each_other(cli, trained, measured, options, code, message):
    result = cli("eval", measured, "-r", trained, *options, code=code)
    assert message in result.stderr and result.stdout == ""


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
        gradient_rms(small, ids_of(small, 9_000), workers=workers)
    assert len(reads) < PLACES * SEGMENTS_PER_PLACE / 4
    reads.clear()
    with pytest.raises(KeyboardInterrupt):
        list(dynamic.score_texts(["ab\ncd" * 300] * 2, workers=workers))
    assert len(reads) < 300 * 5 / RULE.segment / 4
    workers.close()
