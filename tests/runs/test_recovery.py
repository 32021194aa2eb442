"""Recovery from divergence and resumption together: interruptions change nothing."""

import signal

import numpy as np
import pytest
from injection import inject, require_finite_files
from run_files import (
    GOOD,
    LAST,
    SMALL,
    Killed,
    assert_equal_runs,
    copy_of,
    events_of,
    weights_of,
)

import charlstm
from charlstm import CharlstmError
from charlstm.runs import saver
from charlstm.runs.checkpoint import load_checkpoint, save_checkpoint

AT_STEP_37 = ("gradients", "head.b", np.nan, 37)


@pytest.fixture(scope="module")
def recovered(overfitting_text, tmp_path_factory):
    """The folder of a run that returned from step 37 to 30, and copies of it from each save."""
    root = tmp_path_factory.mktemp("recovered")
    folder, copies = root / "run", []

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST:
            copies.append(copy_of(folder, root / f"copy-{len(copies)}"))

    with pytest.MonkeyPatch.context() as patch:
        inject(patch, AT_STEP_37)
        charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
    assert len(copies) == 8 and len(events_of(folder, "recovery")) == 1
    return folder, copies


@pytest.mark.parametrize(
    "save", [pytest.param(k, marks=pytest.mark.slow if k % 2 else ()) for k in range(8)]
)
def test_a_run_resumed_from_any_save_recovers_alike(recovered, tmp_path, monkeypatch, save):
    expected, copies = recovered
    folder = copy_of(copies[save], tmp_path / "run")
    if save < 4:  # else the recovery has happened already
        inject(monkeypatch, AT_STEP_37)
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, expected)
    assert len(events_of(folder, "recovery")) == 1


@pytest.mark.parametrize(
    "interruptions",
    [
        [34],
        pytest.param([34, 36], marks=pytest.mark.slow),
        [30, 35],
        pytest.param([31, 32, 33], marks=pytest.mark.slow),
    ],
)
def test_the_state_to_return_to_does_not_depend_on_interruptions(
    recovered, overfitting_text, tmp_path, monkeypatch, interruptions
):
    folder, corpus = tmp_path / "run", [overfitting_text]
    inject(monkeypatch, AT_STEP_37)
    for step in interruptions:

        def observe(event, step=step):
            if event["event"] == "step" and event["step"] == step:
                signal.raise_signal(signal.SIGINT)

        options = {"resume": True} if not corpus else SMALL
        run = charlstm.train(corpus, folder, observer=observe, on_interrupt="return", **options)
        assert (run.reason, run.steps) == ("SIGINT", step)
        # an evaluation that was due follows the resumption
        assert load_checkpoint(folder / GOOD).summary["step"] == (step - 1) // 10 * 10
        assert charlstm.runs.folder.describe(folder)["summary"]["step"] == step
        corpus = []
    charlstm.train(run=folder, resume=True)
    assert not (folder / GOOD).exists()
    assert_equal_runs(folder, recovered[0])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_died_around_the_save_of_a_recovery_is_equal(
    recovered, tmp_path, monkeypatch, when
):
    folder, real = copy_of(recovered[1][3], tmp_path / "run"), saver.save_checkpoint

    def save_and_die(path, checkpoint, at=None):
        is_recovery = checkpoint.training.get("trainer", {}).get("halvings") == 1
        if is_recovery and when == "before":
            raise Killed
        real(path, checkpoint, at=at)
        if is_recovery:
            raise Killed

    inject(monkeypatch, AT_STEP_37, AT_STEP_37)
    monkeypatch.setattr(saver, "save_checkpoint", save_and_die)
    with pytest.raises(Killed):
        charlstm.train(run=folder, resume=True)
    monkeypatch.setattr(saver, "save_checkpoint", real)
    if when == "after":
        monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, recovered[0])


def test_a_signal_does_not_save_weights_that_are_not_finite(
    recovered, overfitting_text, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    inject(monkeypatch, ("weights", "head.b", np.nan, 37))
    require_finite = require_finite_files(folder)

    def observe(event):
        require_finite(event)
        if event["event"] == "step" and event["step"] == 37:
            signal.raise_signal(signal.SIGTERM)

    run = charlstm.train(overfitting_text, folder, observer=observe, on_interrupt="return", **SMALL)
    assert (run.reason, run.steps) == ("SIGTERM", 30)
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, recovered[0])


def test_the_good_state_is_kept_on_a_file_system_without_links(
    recovered, overfitting_text, tmp_path, monkeypatch
):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(saver.os, "link", refuse)
    test_the_state_to_return_to_does_not_depend_on_interruptions(
        recovered, overfitting_text, tmp_path, monkeypatch, [34, 36]
    )


@pytest.mark.parametrize("training", [{}, {"trainer": {}}, {"trainer": []}])
def test_a_malformed_state_to_return_to_is_an_error(
    overfitting_text, tmp_path, monkeypatch, training
):
    folder = tmp_path / "run"
    inject(monkeypatch, ("gradients", "head.W", np.nan, 15))

    def damage(event):
        if event["event"] == "step" and event["step"] == 14:
            kept = load_checkpoint(folder / LAST)
            if training:
                kept.training = {**training, "config": kept.training["config"]}
            else:
                kept.training, kept.arrays = {}, {}
            save_checkpoint(folder / GOOD, kept)

    with pytest.raises(
        CharlstmError, match=r"good\.safetensors: the training state cannot be restored: "
    ):
        charlstm.train(overfitting_text, folder, observer=damage, **SMALL)


def test_the_rate_stays_halved_when_the_end_is_moved(recovered, tmp_path):
    folder = copy_of(recovered[0], tmp_path / "run")
    charlstm.train(run=folder, resume=True, steps=70)
    training = load_checkpoint(folder / LAST).training
    assert (training["trainer"]["halvings"], training["trainer"]["total_steps"]) == (1, 70)
    assert weights_of(folder / LAST) != weights_of(recovered[0] / LAST)
    assert training["losses"]["count"] == 0


def test_a_good_state_of_another_model_is_refused(overfitting_text, tmp_path, monkeypatch):
    other = charlstm.train(
        overfitting_text, tmp_path / "other", **SMALL | {"hidden": 1, "steps": 1}
    )
    folder = tmp_path / "run"
    inject(monkeypatch, ("gradients", "head.W", np.nan, 15))

    def replace(event):
        if event["event"] == "step" and event["step"] == 14:
            (folder / GOOD).write_bytes((other.path / LAST).read_bytes())

    with pytest.raises(CharlstmError, match=r"good\.safetensors: .*model is not that of the run$"):
        charlstm.train(overfitting_text, folder, observer=replace, **SMALL)
