"""Runs that start from the weights of another run (init_from)."""

import pytest

import charlstm
from charlstm import CharlstmError
from charlstm.network.model import copy_weights_by_symbol


def test_weights_follow_their_characters_into_the_extended_vocabulary(trained, tmp_path):
    """Here the new digits come before all known characters, so that every id changes."""
    (tmp_path / "new.txt").write_text("0 cats, 1 cat; 22 dögs!\n" * 40, encoding="utf-8")
    first = {}

    def observe(event):
        if event["event"] == "save" and not first:
            first["model"] = charlstm.load(tmp_path / "run")

    old = charlstm.load(trained)
    run = charlstm.train(
        tmp_path / "new.txt", tmp_path / "run", init_from=trained, steps=3, observer=observe
    )
    new = first["model"]
    assert new.vocab.characters == "".join(sorted({*old.vocab.characters, *"0 cats,1;2dög!\n"}))
    assert new.vocab.symbols.index("t") != old.vocab.symbols.index("t")
    theirs = [new.vocab.symbols.index(symbol) for symbol in old.vocab.symbols]
    p, q = old.parameters, new.parameters
    assert (q["layers.0.Wx"][theirs] == p["layers.0.Wx"]).all()
    assert (q["head.W"][:, theirs] == p["head.W"]).all()
    assert (q["head.b"][theirs] == p["head.b"]).all()
    assert (q["layers.0.Wh"] == p["layers.0.Wh"]).all()
    assert (q["layers.0.b"] == p["layers.0.b"]).all()
    fresh = [new.vocab.symbols.index(symbol) for symbol in "012ö!"]
    assert q["layers.0.Wx"][fresh].std() > 0 and not q["head.b"][fresh].any()
    assert run.steps == 3


def test_weights_of_skip_connections_follow_their_characters():
    config = charlstm.ModelConfig(hidden=3, layers=2, skip=True)
    old = charlstm.CharModel(config, charlstm.Vocab.from_text("abd"), seed=1)
    new = charlstm.CharModel(config, charlstm.Vocab.from_text("abcd"), seed=2)
    fresh = new.parameters["layers.1.Wi"][2].copy()
    copy_weights_by_symbol(old, new)
    assert (new.parameters["layers.1.Wi"][[0, 1, 3]] == old.parameters["layers.1.Wi"]).all()
    assert (new.parameters["layers.1.Wi"][2] == fresh).all()
    assert (new.parameters["layers.1.Wx"] == old.parameters["layers.1.Wx"]).all()
    assert (new.parameters["head.W"][:, [0, 1, 3]] == old.parameters["head.W"]).all()


def test_training_starts_from_the_loss_of_the_other_run(trained, text_file, tmp_path):
    events = []
    charlstm.train(
        text_file, tmp_path / "run", init_from=trained, steps=20, dropout=0.0, lr=1e-4,
        batch_size=8, seq_length=24, observer=events.append,
    )  # fmt: skip
    losses = [event["train_loss"] for event in events if event["event"] == "step"]
    assert losses[0] < 1.5  # a fresh model begins at 3.2
    assert not events[0]["resumed"]  # unlike in a resumed run, steps count from 0
    assert events[0]["config"]["lr"] == 1e-4


def test_such_a_run_resumes_with_its_extended_vocabulary(trained, tmp_path):
    (tmp_path / "new.txt").write_text("0 cats, 1 cat\n" * 80, encoding="utf-8")
    folder = tmp_path / "run"
    charlstm.train(tmp_path / "new.txt", folder, init_from=trained, steps=4, workers=1)
    vocab = charlstm.load(folder).vocab
    charlstm.train(run=folder, resume=True, steps=8)
    assert charlstm.load(folder).vocab == vocab


def test_the_shape_and_the_level_of_the_other_run_are_kept(trained, byte_run, text_file, tmp_path):
    with pytest.raises(CharlstmError, match="hidden is 32 in the run to start from, not 7"):
        charlstm.train(text_file, tmp_path / "run", init_from=trained, hidden=7, steps=1)
    with pytest.raises(CharlstmError, match="level"):
        charlstm.train(text_file, tmp_path / "run", init_from=byte_run, level="char", steps=1)
    with pytest.raises(CharlstmError, match="no such file"):
        charlstm.train(text_file, tmp_path / "run", init_from=tmp_path / "none", steps=1)
    run = charlstm.train(text_file, tmp_path / "run", init_from=byte_run, steps=1)
    assert run.model.vocab.level == "byte"
