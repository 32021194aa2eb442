"""Models of lines: each line is trained on, evaluated and scored as an independent text."""

import math

import numpy as np
import pytest
from oracles import relative_error

from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Trainer, Vocab
from charlstm.analysis import segment_gradients
from charlstm.network import scoring
from charlstm.network.scoring import evaluate, score_texts
from charlstm.system.threads import Workers
from charlstm.training.native_step import NativeStep

TEXT = "ab\n\ncabc\nb\nabcabcabcabcabcabcab\nac"
LINES = ["ab\n", "cabc\n", "b\n", "abcabcabcabcabcabcab\n", "ac"]


def make(cell="lstm", dtype="float64", **config):
    vocab = Vocab.from_text(TEXT)
    model = CharModel(
        ModelConfig(cell=cell, hidden=6, layers=2, dtype=dtype, lines=True), vocab, seed=1
    )
    trainer = Trainer(
        model, vocab.encode(TEXT), TrainConfig(seq_length=100, clip=0.0, workers=1, **config)
    )
    return model, trainer


def test_a_score_has_no_context_across_lines():
    model, _ = make()
    text = "ab\ncabc\n\nab"
    whole = model.score(text)
    assert whole.text == text and whole.characters == len(text)
    lines = [model.score(line) for line in ("ab\n", "cabc\n", "\n", "ab")]
    assert np.allclose(whole.nats, np.concatenate([line.nats for line in lines]), rtol=1e-12)
    assert model.score("").characters == 0
    both = list(score_texts(model, [text, "b"]))
    assert np.array_equal(both[0].nats, whole.nats)
    assert np.allclose(both[1].nats, model.score("b").nats, rtol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_windows_of_all_lengths_share_the_activations_of_the_longest(cell, dropout):
    text = "".join("ab" * n + "\n" for n in (3, 40, 9, 25, 50, 1))
    vocab = Vocab.from_text(text)
    trained = []
    for fresh in (False, True):
        config = ModelConfig(cell=cell, hidden=5, layers=2, lines=True, ngrams=2, ngram_slots=30)
        model = CharModel(config, vocab, seed=1)
        settings = TrainConfig(batch_size=1, seq_length=100, workers=1, dropout=dropout, lr=0.01)
        trainer = Trainer(model, vocab.encode(text), settings)
        for _ in range(12):
            native = isinstance(trainer._step, NativeStep)
            if fresh and native:
                trainer._step._longest = 0
            elif fresh:
                trainer._step._activations = [None]
            trainer.step()
        if not fresh:  # 100 steps, in sixteens
            longest = trainer._step._longest if native else trainer._step._activations[0].steps
            assert longest == 112
        trained.append(model.parameters.vector.copy())
    assert np.array_equal(*trained)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_padding_does_not_change_the_gradient(cell):
    """The gradient of a padded batch is the sum of the gradients of its lines alone."""
    model, trainer = make(cell, batch_size=5, reduction="sum", optimizer="sgd", beta1=0.0, lr=1.0)
    before = model.parameters.vector.copy()
    total, nats = np.zeros_like(before), 0.0
    for line in LINES:
        ids = model.vocab.encode("\n" + line)[:, None]
        loss, gradients, _ = model.loss_and_gradients(ids[:-1], ids[1:])
        total += gradients.vector * len(line)
        nats += loss * len(line)
    loss = trainer.step()
    assert math.isclose(loss, nats / sum(map(len, LINES)), rel_tol=1e-12)
    assert relative_error(before - model.parameters.vector, total) < 1e-12
    assert math.isclose(trainer.gradient_norm, np.linalg.norm(total), rel_tol=1e-12)


def test_the_mean_is_over_the_targets_without_padding():
    model, trainer = make(batch_size=5, reduction="mean", optimizer="sgd", beta1=0.0, lr=1.0)
    before = model.parameters.vector.copy()
    trainer.step()
    step = before - model.parameters.vector
    model, trainer = make(batch_size=5, reduction="sum", optimizer="sgd", beta1=0.0, lr=1.0)
    trainer.step()
    summed = before - model.parameters.vector
    assert relative_error(step * sum(map(len, LINES)), summed) < 1e-12


def test_evaluation_has_no_context_across_lines():
    model, _ = make()
    loss = evaluate(model, model.vocab.encode(TEXT))
    one_by_one = sum(score.nats.sum() for score in score_texts(model, LINES))
    assert loss.characters == sum(map(len, LINES))
    assert math.isclose(loss.nats, one_by_one, rel_tol=1e-12)
    with pytest.raises(CharlstmError, match="state of zeros: leave out `window` and"):
        evaluate(model, model.vocab.encode(TEXT), window=5)


@pytest.mark.parametrize("size", [3, 5, 8, 30])
def test_lines_are_evaluated_in_blocks_with_the_same_loss(size, monkeypatch):
    """A block of 3 or 8 symbols is shorter than some lines, which are read in windows then."""
    model, _ = make()
    ids, advanced = model.vocab.encode(TEXT), []
    whole = evaluate(model, ids)
    monkeypatch.setattr(scoring, "BLOCK_LENGTH", size)
    monkeypatch.setattr(scoring, "WINDOW_STEPS", 6)
    workers = Workers(2)
    loss = evaluate(model, ids, workers=workers, advance=advanced.append)
    workers.close()
    assert loss.characters == whole.characters == sum(advanced)
    assert math.isclose(loss.nats, whole.nats, rel_tol=1e-12)
    with pytest.raises(CharlstmError, match="empty lines has nothing to predict"):
        evaluate(model, model.vocab.encode("\n" * 50))


@pytest.mark.parametrize("size", [3, 5, 8, 30])
def test_segments_of_lines_do_not_depend_on_the_blocks(size, monkeypatch):
    model, _ = make()
    ids = model.vocab.encode(TEXT)
    whole = list(segment_gradients.segments(model, ids, 7))
    expected = [line[k : k + 7] for line in LINES for k in range(0, len(line), 7)]
    assert [model.vocab.decode(segment[1:]) for segment, _ in whole] == expected
    monkeypatch.setattr(segment_gradients, "BLOCK_LENGTH", size)
    in_blocks = list(segment_gradients.segments(model, ids, 7))
    for (segment, begins), (other, other_begins) in zip(whole, in_blocks, strict=True):
        assert np.array_equal(segment, other) and begins == other_begins


def test_a_line_end_resets_the_state():
    model, _ = make()
    state = np.random.default_rng(0).normal(size=model.initial_state(2).shape)
    end, a = model.vocab.encode("\na")
    fresh, _ = model.step(np.array([end, end]), model.initial_state(2))
    after, new_state = model.step(np.array([end, a]), state)
    assert (after[0] == fresh[0]).all()
    assert (after[1] != fresh[1]).any() and state.any() and new_state.shape == state.shape


def test_the_rate_halves_when_the_loss_of_a_pass_rises():
    _, trainer = make(batch_size=5, schedule="halve-on-rise", lr=0.25, optimizer="sgd")
    assert trainer.batches.windows_per_pass == 1
    losses, rates = [], []
    for _ in range(30):
        losses.append(trainer.step())
        rates.append(trainer.learning_rate)
    rises = np.cumsum(np.diff(losses, prepend=np.inf) > 0)
    assert rises[-1] > 0, "the rate was chosen so that some loss rises"
    assert rates == [0.25 * 0.5**n for n in rises]


def test_a_text_without_line_ends_is_refused():
    vocab = Vocab.from_text("abc")
    model = CharModel(ModelConfig(lines=True), vocab)
    with pytest.raises(CharlstmError, match="needs a text with line ends"):
        Trainer(model, vocab.encode("abcabc"), TrainConfig())
