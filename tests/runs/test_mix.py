"""Runs that mix a second text in (mix): its share, its loss, its vocabulary, resumption."""

import math

import numpy as np
import pytest
from run_files import (
    BEST,
    LAST,
    SMALL,
    Killed,
    arrays_of,
    copy_of,
    events_of,
    measurements,
    train_with_copies,
)

import charlstm
from charlstm import CharlstmError
from charlstm.network.scoring import evaluate
from charlstm.runs.checkpoint import load_checkpoint, save_checkpoint
from charlstm.training import batching, training_memory

OLD = "Ölbäume tragen 1000 Früchte.\n" * 60


@pytest.fixture(scope="module")
def folder(overfitting_text, tmp_path_factory):
    """A folder with an old text, and with the new text: `overfitting_text`."""
    folder = tmp_path_factory.mktemp("mix")
    (folder / "old.txt").write_text(OLD, encoding="utf-8")
    (folder / "new.txt").write_bytes(overfitting_text.read_bytes())
    return folder


@pytest.fixture(scope="module")
def mixed(folder):
    """A run of SMALL that mixes the old text in, with copies of its folder at each save."""
    return train_with_copies(folder / "new.txt", folder, mix=folder / "old.txt")


def assert_equal(run, expected):
    for name in (BEST, LAST):
        assert arrays_of(run / name) == arrays_of(expected / name), name
        summaries = [load_checkpoint(each / name).summary for each in (run, expected)]
        first, second = ({**summary, "seconds": 0} for summary in summaries)
        assert first == second
    assert measurements(run) == measurements(expected)


def test_the_streams_of_a_step_read_both_texts(folder, monkeypatch):
    windows, real = [], batching.MixedBatches.next_window

    def observed(batches):
        windows.append(real(batches))
        return windows[-1]

    monkeypatch.setattr(batching.MixedBatches, "next_window", observed)
    options = SMALL | {"steps": 5, "mix_share": 0.3}
    run = charlstm.train(folder / "new.txt", folder / "share", mix=folder / "old.txt", **options)
    vocab = run.model.vocab
    old, new = OLD, (folder / "new.txt").read_text()
    old, new = (text[: int(len(text) * 0.9)] * 2 for text in (old, new))
    assert windows[0].shape == (13, 16)
    for window in windows:
        for k, column in enumerate(window.T):
            text = vocab.decode(column)
            assert text in (new if k < 11 else old)
    config = load_checkpoint(run.path / LAST).training["config"]
    assert (config["batch_size"], config["mix_share"]) == (16, 5 / 16)


def test_the_loss_on_the_end_of_the_old_text_is_measured_beside_the_other(mixed, folder):
    evals = events_of(mixed.folder, "eval")
    assert len(evals) == 6 and evals[-1]["mix_val_loss"] < evals[0]["mix_val_loss"] < math.log(60)
    best = min(evals, key=lambda event: event["val_loss"])
    model = charlstm.load(mixed.folder)
    end = model.vocab.encode(OLD[int(len(OLD) * 0.9) :])
    loss = evaluate(model, end).nats_per_character
    assert best["mix_val_loss"] == pytest.approx(loss, rel=1e-5)
    assert best["is_best"]  # though the old text may have had a lower loss at another evaluation
    assert load_checkpoint(mixed.folder / BEST).summary["mix_val_loss"] == best["mix_val_loss"]
    start = events_of(mixed.folder, "start")[0]
    assert start["mix_characters"] == len(OLD)
    new = (folder / "new.txt").read_text()
    assert start["characters"] == len(new)
    assert start["vocabulary"] == len(set(OLD + new))


@pytest.mark.parametrize("step", [0, 20, 50])
def test_a_run_with_mixed_text_resumed_from_a_save_is_equal(mixed, step, tmp_path):
    run = copy_of(mixed.copies[step], tmp_path / "run")
    assert charlstm.train(run=run, resume=True).reason == "finished"
    assert_equal(run, mixed.folder)


def test_a_run_with_mixed_text_that_died_between_saves_is_equal(mixed, folder, tmp_path):
    def die(event):
        if event["event"] == "step" and event["step"] == 37:
            raise Killed

    run, options = tmp_path / "run", {**SMALL, "mix": [folder / "old.txt"]}
    with pytest.raises(Killed):
        charlstm.train(folder / "new.txt", run, observer=die, **options)
    assert load_checkpoint(run / LAST).summary["step"] == 30
    charlstm.train(run=run, resume=True)
    assert_equal(run, mixed.folder)


def test_the_place_of_the_old_text_can_change_but_not_the_text(cli, mixed, folder, tmp_path):
    run = copy_of(mixed.folder, tmp_path / "run")
    moved = (folder / "old.txt").rename(tmp_path / "moved.txt")
    options = ("train", "-r", run, "--resume", "--steps", 62, "--quiet")
    try:
        error = cli(*options, code=1).stderr
        assert error.startswith(f"charlstm: cannot read {folder / 'old.txt'}, the text of {run}: ")
        assert error.endswith(f"charlstm train -r {run} --resume --mix PATH takes the text from "
                              "another place\n")  # fmt: skip
        for content in (OLD + "!", OLD.replace("1", "2", 1)):
            (tmp_path / "other.txt").write_text(content, encoding="utf-8")
            assert "has changed" in cli(*options, "--mix", tmp_path / "other.txt", code=1).stderr
        assert "62 steps" in cli(*options, "--mix", moved).stdout
        assert load_checkpoint(run / LAST).training["corpus"]["mix"] == [str(moved)]
    finally:
        moved.rename(folder / "old.txt")


def test_a_run_without_mixed_text_takes_none_when_it_is_resumed(uninterrupted, folder):
    with pytest.raises(CharlstmError, match=r"has no `mix`: leave out `mix`$"):
        charlstm.train(run=uninterrupted.folder, resume=True, mix=folder / "old.txt")


@pytest.mark.parametrize(
    "change",
    [
        {"mix": 7},
        {"mix": {"file_bytes": -1, "digest": ""}},
        {"mix": {"file_bytes": 1}},
        {"mix": {"file_bytes": 1, "digest": "x"}},
        {"corpus": {"paths": ["x"], "mix": [7]}},
    ],
)
def test_a_malformed_record_of_the_old_text_is_refused_in_one_line(mixed, tmp_path, change):
    run = copy_of(mixed.copies[50], tmp_path / "run")
    checkpoint = load_checkpoint(run / LAST)
    checkpoint.training |= change
    save_checkpoint(run / LAST, checkpoint)
    with pytest.raises(CharlstmError) as caught:
        charlstm.train(run=run, resume=True)
    assert str(caught.value).startswith(f"{run}") and "\n" not in str(caught.value)
    del checkpoint.training["mix"]
    checkpoint.training["corpus"] = load_checkpoint(mixed.copies[50] / LAST).training["corpus"]
    save_checkpoint(run / LAST, checkpoint)
    with pytest.raises(CharlstmError, match="does not record the size of the text of `mix`"):
        charlstm.train(run=run, resume=True)


def test_the_origin_has_the_loss_on_the_old_text(cli, trained, text_file, folder, tmp_path):
    """The old text is that of the other run, whose best loss is that of its last tenth."""
    options = ("--init-from", trained, "--mix", text_file, "--steps", 2, "--workers", 1)
    shown = cli("train", folder / "old.txt", "-r", tmp_path / "run", *options).stderr
    origin = events_of(tmp_path / "run", "start")[0]["origin"]
    model = charlstm.load(trained)
    text = text_file.read_text(encoding="utf-8")
    ids = model.vocab.encode(text[int(len(text) * 0.9) :])
    known = evaluate(model, ids).nats_per_character
    # The symbols that were added take a part of the probability.
    assert known < origin["mix_val_loss"] < known + math.log(2)
    shown = " ".join(shown.split())  # long lines are wrapped
    bits = origin["mix_val_loss"] / math.log(2)
    assert f"{bits:.3f} bits per character on the text of --mix, " in shown
    assert "characters, 42% of each step" in shown
    assert events_of(tmp_path / "run", "start")[0]["config"]["lr"] == 0.03  # 0.02 without --mix
    assert "bits per character on the text of --mix, best so far" in shown


def test_texts_of_bytes_words_and_lines_are_mixed(folder, tmp_path):
    for name, options in {
        "bytes": {"level": "byte"},
        "words": {"level": "word", "vocab_size": 20},
        "lines": {"lines": True},
    }.items():
        texts = {"corpus": folder / "new.txt", "mix": [folder / "old.txt"]}
        small = {"steps": 4, "eval_every": 2, "hidden": 8, "batch_size": 4, "workers": 1}
        run = charlstm.train(run=tmp_path / name, **texts, **small, **options)
        whole = charlstm.train(run=tmp_path / f"{name}-again", **texts, **small, **options)
        charlstm.train(run=run.path, resume=True, steps=6)
        charlstm.train(run=whole.path, resume=True, steps=6)
        assert arrays_of(run.path / LAST) == arrays_of(whole.path / LAST)
        assert all(event["mix_val_loss"] > 0 for event in events_of(run.path, "eval"))
        if name == "words":
            assert {"Ölbäume", "tragen"} < set(run.model.vocab.symbols)


def test_options_that_do_not_go_together_are_refused(folder, tmp_path):
    texts = (folder / "new.txt", tmp_path / "run")
    with pytest.raises(CharlstmError, match="`mix_share` has no effect without `mix`"):
        charlstm.train(*texts, mix_share=0.5, steps=1)
    with pytest.raises(CharlstmError, match="`mix` needs a `batch_size` of 2 or more"):
        charlstm.train(*texts, mix=folder / "old.txt", batch_size=1, steps=1)
    with pytest.raises(CharlstmError, match=r"none\.txt"):
        charlstm.train(*texts, mix=folder / "none.txt", steps=1)
    assert not (tmp_path / "run").exists()


def test_the_memory_for_the_streams_of_both_texts_is_counted(monkeypatch):
    needs = []
    monkeypatch.setattr(training_memory, "require_memory", lambda size, *text: needs.append(size))
    model = charlstm.ModelConfig(hidden=16, layers=1)
    config = charlstm.TrainConfig(batch_size=20, seq_length=10, mix_share=0.5, workers=1)
    for characters, mixed in ((1000, 1000), (1000, 0), (10, 1000), (10, 0)):
        training_memory.require_memory_to_train(characters, 5, model, config, mixed)
    assert needs[0] == needs[1]  # ten streams of each text, or twenty of one
    assert needs[0] > needs[2] > needs[3]  # a stream of the short text, ten or none of the other


def test_short_evaluations_of_a_time_budget_shorten_both_texts():
    from charlstm.training.validation import Validation

    old = Validation(np.zeros(5_000, np.uint8))
    new = Validation(np.zeros(9_000, np.uint8), mix=old)
    assert new.total_length == 14_000
    new.shorten(3_000)
    assert (len(new.ids), len(old.ids), new.total_length) == (3_000, 3_000, 6_000)


def test_the_dropout_depends_on_the_length_of_both_texts(folder, tmp_path):
    (tmp_path / "long.txt").write_text(OLD * 40, encoding="utf-8")
    dropouts = []
    for mix in (None, tmp_path / "long.txt"):
        options = {"mix": mix, "steps": 10, "hidden": 8, "overwrite": True}
        run = charlstm.train(folder / "new.txt", tmp_path / "run", **options)
        dropouts.append(load_checkpoint(run.path / LAST).training["config"]["dropout"])
    assert dropouts[0] > dropouts[1] == 0
