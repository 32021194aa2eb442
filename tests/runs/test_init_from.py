"""Runs that start from the weights of another run (init_from)."""

import json

import pytest
from run_files import BEST, LAST, copy_of, events_of

import charlstm
from charlstm import CharlstmError
from charlstm.network.model import copy_weights_by_symbol
from charlstm.network.scoring import evaluate
from charlstm.runs.checkpoint import load_checkpoint, save_checkpoint
from charlstm.runs.origin import MAX_PATH, Origin


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
    with pytest.raises(CharlstmError, match="`hidden` is 32 in the run to start from, not 7"):
        charlstm.train(text_file, tmp_path / "run", init_from=trained, hidden=7, steps=1)
    with pytest.raises(CharlstmError, match="level"):
        charlstm.train(text_file, tmp_path / "run", init_from=byte_run, level="char", steps=1)
    with pytest.raises(CharlstmError, match="no such file"):
        charlstm.train(text_file, tmp_path / "run", init_from=tmp_path / "none", steps=1)
    run = charlstm.train(text_file, tmp_path / "run", init_from=byte_run, steps=1)
    assert run.model.vocab.level == "byte"


NEW_TEXT = "0 cats, 1 cat; 22 dögs!\n" * 40


@pytest.fixture(scope="module")
def tuned(trained, tmp_path_factory):
    """A run on a new text from the weights of `trained`, in a folder of its own."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "new.txt").write_text(NEW_TEXT, encoding="utf-8")
    charlstm.train(folder / "new.txt", folder / "run", init_from=trained, steps=3, workers=1)
    return folder / "run"


def test_the_origin_stands_in_the_start_event_the_checkpoints_and_info(cli, trained, tuned):
    origin = events_of(tuned, "start")[0]["origin"]
    best = load_checkpoint(trained / BEST).summary
    known = charlstm.load(trained).vocab.symbols
    added = "".join(sorted(set(NEW_TEXT) - set(known)))
    assert added and origin["val_loss"] > 1
    assert {**origin, "val_loss": None} == {
        "path": str(trained),
        "step": best["step"],
        "best_val_loss": best["best_val_loss"],
        "added": len(added),
        "symbols": added,
        "val_loss": None,
        "mix_val_loss": None,
    }
    assert load_checkpoint(tuned / LAST).training["origin"] == origin
    assert json.loads(cli("info", tuned, "--json").stdout)["origin"] == origin
    assert f"added {added}\n" in cli("info", tuned).stdout
    short = str(Origin(str(trained), best["step"], None))
    for name in (BEST, LAST):
        assert load_checkpoint(tuned / name).summary["origin"] == short
    assert "origin" not in json.loads(cli("info", trained, "--json").stdout)
    assert events_of(trained, "start")[0]["origin"] is None


def test_the_first_loss_is_that_of_the_copied_weights(trained, text_file, tmp_path):
    """The last tenth of the other run's own text is its validation text, and is read here again."""
    run = charlstm.train(text_file, tmp_path / "run", init_from=trained, steps=1, workers=1)
    text = text_file.read_text(encoding="utf-8")
    model = charlstm.load(trained)
    ids = model.vocab.encode(text[int(len(text) * 0.9) :])
    first = events_of(run.path, "start")[0]["origin"]["val_loss"]
    assert first == pytest.approx(evaluate(model, ids).nats_per_character, rel=1e-6)
    assert first == pytest.approx(load_checkpoint(trained / BEST).summary["best_val_loss"])


@pytest.mark.parametrize(("minutes", "most"), [(1, 115), (1_000, 10_000_000)])
def test_the_first_loss_takes_a_small_part_of_the_minutes(
    trained, tmp_path, monkeypatch, minutes, most
):
    """Here 64 symbols take a second, and 115 symbols the 1.8 seconds, 3 % of a minute."""
    from charlstm.training import validation

    sizes, seconds = [], [0.0]

    def measure(model, ids, **options):
        sizes.append(len(ids))
        seconds[0] += len(ids) / 64
        return evaluate(model, ids, **options)

    monkeypatch.setattr(validation, "evaluate", measure)
    monkeypatch.setattr(validation.time, "monotonic", lambda: seconds[0])
    ids = charlstm.load(trained).vocab.encode("a cat and a dog\n" * 100, "skip")
    text = validation.Validation(ids)
    model = charlstm.load(trained)
    with charlstm.Trainer(model, ids, charlstm.TrainConfig(workers=1)) as trainer:
        loss = text.loss_within(0.03 * 60 * minutes, model, trainer.workers)
    assert sizes == [100, min(len(ids), most)]
    assert len(text.ids) == len(ids)
    expected = evaluate(model, ids[: sizes[1]]).nats_per_character
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_origin_is_shown_when_the_run_begins_and_kept_when_it_is_resumed(
    cli, trained, tuned, tmp_path
):
    text, folder = tuned.parent / "new.txt", tmp_path / "run"
    options = ("--steps", 2, "--workers", 1)
    shown = cli("train", text, "-r", folder, "--init-from", trained, *options).stderr
    origin = events_of(folder, "start")[0]["origin"]
    bits = origin["val_loss"] / 0.6931471805599453
    assert f"starts from {trained} (step {origin['step']:,}): " in shown
    assert f" {bits:.3f} bits per character on the validation text before" in shown
    assert f"{origin['added']} characters added ({' '.join(origin['symbols'])})" in shown
    again = cli("train", "-r", folder, "--resume", "--steps", 3).stderr
    assert "starts from" not in again
    assert [event["origin"] for event in events_of(folder, "start")] == [origin, origin]
    assert load_checkpoint(folder / LAST).training["origin"] == origin


def test_a_run_without_a_record_of_its_origin_is_resumed(tuned, tmp_path):
    """Runs of older versions, which start from another run too, have no such record."""
    folder = copy_of(tuned, tmp_path / "run")
    checkpoint = load_checkpoint(folder / LAST)
    del checkpoint.training["origin"]
    save_checkpoint(folder / LAST, checkpoint)
    assert charlstm.train(run=folder, resume=True, steps=4).steps == 4
    assert events_of(folder, "start")[-1]["origin"] is None


MALFORMED = [
    7,
    {},
    {"path": 7},
    {"step": -1},
    {"step": "2"},
    {"best_val_loss": -1},
    {"added": None},
    {"symbols": []},
    {"val_loss": "low"},
    {"mix_val_loss": -1},
]


@pytest.mark.parametrize("change", MALFORMED)
def test_a_malformed_origin_is_refused_in_one_line(cli, tuned, tmp_path, change):
    folder = copy_of(tuned, tmp_path / "run")
    checkpoint = load_checkpoint(folder / LAST)
    origin = checkpoint.training["origin"]
    checkpoint.training["origin"] = change if change in (7, {}) else {**origin, **change}
    save_checkpoint(folder / LAST, checkpoint)
    for command in (["train", "--resume", "-r"], ["info"]):
        error = cli(*command, folder, code=1).stderr
        assert error.startswith(f"charlstm: {folder / LAST}: ") and error.count("\n") == 1


def test_the_origin_of_a_summary_is_short_and_takes_only_numbers_from_it():
    long = Origin.of("x" * 500, {"step": 10**12})
    assert str(long) == "..." + "x" * (MAX_PATH - 3) + ", step 1000000000000"
    strange = {"step": "many", "best_val_loss": True}
    assert Origin.of("old", strange) == Origin("old", None, None)
    assert str(Origin.of("old", {"step": -1, "best_val_loss": -1.0})) == "old"
