"""Models whose vocabulary spells rare characters: a character has the loss of all of its bytes."""

import numpy as np
import pytest

import charlstm
from charlstm import CharModel, ModelConfig, TrainConfig, Trainer, Vocab
from charlstm.analysis.evaluation import evaluate
from charlstm.network.predictions import score_view
from charlstm.network.sample_text import SampleText
from charlstm.network.scoring import score_texts

VOCAB = Vocab.from_characters("\n ab", spelled="日本€")
TEXT = "a日 b€本\n" * 30


@pytest.fixture(scope="module")
def model():
    return CharModel(ModelConfig(hidden=12, ngrams=3, ngram_slots=50), VOCAB, seed=3)


def losses_of_bytes(model, text):
    """The loss of each id of a text that follows a line end."""
    ids = np.concatenate((VOCAB.encode("\n"), VOCAB.encode(text))).astype(np.intp)
    nats, _ = model.losses(ids[:-1, None], ids[1:, None], model.initial_state(1))
    return nats[:, 0]


def test_a_score_has_a_loss_for_each_character(model):
    text = "a日b€"
    nats = losses_of_bytes(model, text)
    (score,) = score_texts(model, [text])
    expected = [nats[0], nats[1:4].sum(), nats[4], nats[5:8].sum()]
    assert np.allclose(score.nats, expected, rtol=1e-5)
    assert score.characters == 4
    assert score_view(model, score, "error") is not None


def test_an_evaluation_counts_characters(model):
    for options in ({}, {"window": 7}, {"dynamic": True, "dynamic_rate": 0, "dynamic_match": 0}):
        if options.get("dynamic"):
            options |= {"dynamic_decay": 0, "dynamic_ngram_lr": 0}
        found = evaluate(model, TEXT, **options)
        assert found.characters == len(TEXT) - 1
        assert found.bytes == len(TEXT.encode()) - 1
    carried = evaluate(model, TEXT, batch_size=1)
    assert carried.loss.nats == pytest.approx(losses_of_bytes(model, TEXT)[1:].sum(), rel=0.02)
    lines = CharModel(ModelConfig(hidden=12, lines=True), VOCAB, seed=3)
    assert evaluate(lines, "a日\n\nb€\n").characters == 6


def test_a_training_step_returns_the_loss_of_a_character(model):
    untrained = CharModel(ModelConfig(hidden=12, dtype="float64"), VOCAB, seed=None)
    ids = VOCAB.encode(TEXT)
    config = TrainConfig(batch_size=1, seq_length=len(ids) - 1, steps=10, workers=1)
    with Trainer(untrained, ids, config) as trainer:
        loss = trainer.step()
    # All weights are 0: each id costs log V. The window may begin anywhere in the text.
    ids_of_character = len(ids) / len(TEXT)
    assert loss == pytest.approx(ids_of_character * np.log(len(VOCAB)), rel=0.01)


def test_a_sample_has_whole_characters(model):
    text = SampleText(VOCAB, (), "replace", length=3)
    pieces = []
    for id_ in VOCAB.encode("日a€b").tolist():
        pieces.append(text.add(id_))
    assert pieces == ["", "", "日", "a", "", "", "€", ""]
    assert text.ended
    assert len(model.sample(40, seed=1)) >= 40


def test_a_run_spells_rare_characters_and_resumes(write, tmp_path):
    rare = "".join(map(chr, range(0x4E00, 0x4E96)))
    corpus = write("t.txt", "".join(f"{'ab é' * 99}{c}\n" for c in rare) * 3)
    options = {"hidden": 8, "seed": 1, "report": False, "workers": 1}
    run = charlstm.train(corpus, tmp_path / "r", steps=4, spell_below=1e-4, **options)
    model = charlstm.load(run.path)
    assert model.vocab == Vocab.from_characters("\n abé", spelled=rare)
    assert charlstm.train(run=run.path, resume=True, steps=8).steps == 8
    plain = charlstm.train(corpus, tmp_path / "p", steps=4, spell_below=0, **options)
    assert len(charlstm.load(plain.path).vocab) == 155
