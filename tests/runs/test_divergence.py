"""Numbers that go wrong are never saved: a run goes back with half the rate, or stops clearly."""

import math
import shutil
import signal
from collections import Counter

import numpy as np
import pytest
from run_files import (
    BEST,
    LAST,
    SMALL,
    Killed,
    arrays_of,
    assert_as_whole,
    events_of,
    history,
    weights_of,
)
from safetensors.numpy import load_file

import charlstm
from charlstm import CharlstmError
from charlstm.runs import saver
from charlstm.runs.checkpoint import load_checkpoint, save_checkpoint
from charlstm.runs.divergence import EXPLODED, Diverged, check_losses, check_step
from charlstm.training.loss_history import RECENT_STEPS
from charlstm.training.trainer import Trainer

GOOD = "good.safetensors"


def recoveries_of(folder):
    return [event for event in events_of(folder) if event["event"] == "recovery"]


# -- 50 places and more ----------------------------------------------------------------------------

ACTIVATIONS = [
    *(
        ("activations", f"layers.{k}.{name}")
        for k in (0, 1)
        for name in ("gates", "h", "c", "tanh_c")
    ),
    ("activations", "inputs.1"),
    ("activations", "head_input"),
    ("activations", "log_probs"),
]
GRADIENTS = [
    ("gradients", name)
    for name in (
        *(f"layers.{k}.{weights}" for k in (0, 1) for weights in ("Wx", "Wh", "b")),
        "head.W",
        "head.b",
    )
]
WEIGHTS = [("weights", name) for _, name in GRADIENTS]
STATE = [("state", name) for name in ("state", "average", "moments.mean", "moments.square")]
PLACES = [
    (kind, name, value, step)
    for k, (kind, name) in enumerate(ACTIVATIONS + GRADIENTS + WEIGHTS + STATE)
    for value, step in (
        (np.nan, (13, 20, 1)[k % 3]),
        ((np.inf, -np.inf)[k % 2], (20, 17, 60)[k % 3]),
    )
]


OUTCOMES = Counter()


def poison(array, value):
    array.reshape(-1)[array.size // 2] = value


def inject(monkeypatch, kind, name, value, steps):
    """Put a value into a run after or during some of its steps, once or each time."""
    real, places = Trainer.step, [*steps]

    def due(trainer):
        """Whether the step that goes on is the next of the steps."""
        if places and trainer.steps_done + 1 == places[0]:
            del places[0]
            return True
        return False

    def step(trainer):
        if not due(trainer):
            return real(trainer)
        model = trainer.model
        backward, weight_gradients = model.backward_activations, model.weight_gradients

        def poisoned_backward(targets, activations, *more):
            if kind == "activations":
                where = activations
                for part in name.split("."):
                    where = where[int(part)] if part.isdecimal() else getattr(where, part)
                poison(where, value)
            return backward(targets, activations, *more)

        def poisoned_gradients(activations, gradients, masks):
            def all_at_once():
                for task in weight_gradients(activations, gradients, masks):
                    task()
                if kind == "gradients":
                    poison(gradients[name], value)

            return [all_at_once]

        model.backward_activations = poisoned_backward
        model.weight_gradients = poisoned_gradients
        try:
            loss = real(trainer)
        finally:
            model.backward_activations, model.weight_gradients = backward, weight_gradients
        if kind == "weights":
            poison(trainer.model.parameters[name], value)
        if kind == "state":
            poison(trainer.arrays()[name], value)
        return loss

    monkeypatch.setattr(Trainer, "step", step)
    return places


def watched(folder):
    """An observer that looks at what every save has written."""

    def observe(event):
        if event["event"] == "save":
            for name, array in load_file(folder / event["file"]).items():
                assert np.isfinite(array).all(), (event, name)

    return observe


def test_there_are_at_least_50_places():
    assert len({(kind, name, str(value)) for kind, name, value, _ in PLACES}) >= 50


@pytest.mark.parametrize(("kind", "name", "value", "step"), PLACES)
def test_what_is_no_number_is_never_saved_and_the_run_recovers(
    whole, hard_text, tmp_path, monkeypatch, kind, name, value, step
):
    folder = tmp_path / "run"
    left = inject(monkeypatch, kind, name, value, [step])
    run = charlstm.train(hard_text, folder, observer=watched(folder), **SMALL)
    assert (run.reason, run.steps, left) == ("finished", 60, [])
    recoveries = recoveries_of(folder)
    if not recoveries:  # it had no effect on any number at all
        assert kind == "activations"
        OUTCOMES["without any effect"] += 1
        for file in (BEST, LAST):
            assert all(np.isfinite(array).all() for array in load_file(folder / file).values())
        return
    OUTCOMES["recovered"] += 1
    (event,) = recoveries
    before = (step - 1) // 10 * 10
    # what the next steps do not read is found when it would be saved
    latest = step + 1 if kind == "gradients" else before + 11
    assert event["step"] == before and step <= event["failed_step"] <= latest
    assert "not a finite number" in event["cause"]
    assert (event["rate_factor"], event["recoveries_left"]) == (0.5, 2)
    halved = [e["learning_rate"] for e in history(folder) if e["event"] == "train"]
    assert (
        len(halved) == 60
        and halved[before]
        == 0.5 * [e["learning_rate"] for e in history(whole[0]) if e["event"] == "train"][before]
    )
    saved = load_checkpoint(folder / LAST)
    assert saved.training["trainer"]["halvings"] == 1
    assert history(folder)[: before + before // 10] == history(whole[0])[: before + before // 10]


def test_most_of_it_had_an_effect():
    """Runs after those above; with -s or -rP it prints the figures."""
    print(f"injected at {sum(OUTCOMES.values())} places:", dict(OUTCOMES))
    assert OUTCOMES["without any effect"] <= 2


@pytest.mark.parametrize(("kind", "name"), [("gradients", "head.W"), ("weights", "layers.1.Wh")])
def test_what_goes_wrong_again_and_again_is_one_clear_error(
    whole, hard_text, tmp_path, monkeypatch, cli, kind, name
):
    folder = tmp_path / "run"
    inject(monkeypatch, kind, name, np.nan, [25, 22, 30, 21])
    given = [x for option, v in SMALL.items() for x in (f"--{option.replace('_', '-')}", v)]
    error = cli("train", hard_text, "-r", folder, *given, code=1).stderr
    told = [line for line in error.splitlines() if ": back to step 20, from there on with" in line]
    assert len(told) == 3 and told[2].endswith("0.125 of the learning rate")
    last = error.splitlines()[-1]
    assert last.startswith(f"charlstm: {folder}: ") and last.count("is not a finite number") == 1
    assert last.endswith(
        ", also at 0.125 of the learning rate; the last good state is kept. Begin anew with "
        "--overwrite and a lower --lr than 0.005"
    )
    assert arrays_of(folder / LAST) == arrays_of(whole[1][20] / LAST)
    assert [event["recoveries_left"] for event in recoveries_of(folder)] == [2, 1, 0]


@pytest.mark.parametrize("options", [{"lr": 1e38}, {"lr": 1e38, "optimizer": "sgd", "clip": 0.0}])
def test_a_rate_far_too_high_is_one_clear_error(text_file, tmp_path, options):
    with pytest.raises(CharlstmError, match=r"not a finite number.*lower --lr than 1e\+38"):
        charlstm.train(text_file, tmp_path / "run", **{**SMALL, **options})
    assert np.isfinite(charlstm.load(tmp_path / "run").parameters.vector).all()


# -- as if it had never been interrupted -----------------------------------------------------------


@pytest.fixture(scope="module")
def recovered(hard_text, tmp_path_factory):
    """The folder of a run that went back from step 37 to 30, and what it was at each save."""
    root = tmp_path_factory.mktemp("recovered")
    folder, copies = root / "run", []

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST:
            copies.append(root / f"copy-{len(copies)}")
            shutil.copytree(folder, copies[-1])

    with pytest.MonkeyPatch.context() as patch:
        inject(patch, "gradients", "head.b", np.nan, [37])
        charlstm.train(hard_text, folder, observer=observe, **SMALL)
    assert len(copies) == 8 and len(recoveries_of(folder)) == 1
    return folder, copies


@pytest.mark.parametrize("save", range(8))
def test_a_run_resumed_from_any_save_recovers_alike(recovered, tmp_path, monkeypatch, save):
    copies = recovered[1]
    shutil.copytree(copies[save], tmp_path / "run")
    if save < 4:  # before it has happened
        inject(monkeypatch, "gradients", "head.b", np.nan, [37])
    charlstm.train(run=tmp_path / "run", resume=True)
    assert_as_whole(tmp_path / "run", recovered)
    assert len(recoveries_of(tmp_path / "run")) == 1


@pytest.mark.parametrize("interruptions", [[34], [34, 36], [30, 35], [31, 32, 33]])
def test_where_it_goes_back_to_does_not_depend_on_interruptions(
    recovered, hard_text, tmp_path, monkeypatch, interruptions
):
    folder, corpus = tmp_path / "run", [hard_text]
    inject(monkeypatch, "gradients", "head.b", np.nan, [37])
    for step in interruptions:

        def observe(event, step=step):
            if event["event"] == "step" and event["step"] == step:
                signal.raise_signal(signal.SIGINT)

        options = {"resume": True} if not corpus else SMALL
        run = charlstm.train(corpus, folder, observer=observe, **options)
        assert (run.reason, run.steps) == ("SIGINT", step)
        # an evaluation that is due but not made comes after the resumption
        assert load_checkpoint(folder / GOOD).summary["step"] == (step - 1) // 10 * 10
        assert charlstm.runs.folder.describe(folder)["summary"]["step"] == step
        corpus = []
    charlstm.train(run=folder, resume=True)
    assert not (folder / GOOD).exists()
    assert_as_whole(folder, recovered)


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_around_the_save_of_a_recovery_changes_nothing(
    recovered, tmp_path, monkeypatch, when
):
    folder, real = tmp_path / "run", saver.save_checkpoint
    shutil.copytree(recovered[1][3], folder)

    def dying(path, checkpoint):
        is_recovery = checkpoint.training.get("trainer", {}).get("halvings") == 1
        if is_recovery and when == "before":
            raise Killed
        real(path, checkpoint)
        if is_recovery:
            raise Killed

    inject(monkeypatch, "gradients", "head.b", np.nan, [37, 37])
    monkeypatch.setattr(saver, "save_checkpoint", dying)
    with pytest.raises(Killed):
        charlstm.train(run=folder, resume=True)
    monkeypatch.setattr(saver, "save_checkpoint", real)
    if when == "after":
        monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, recovered)


def test_a_signal_finds_the_numbers_wrong_before_it_saves_them(
    recovered, hard_text, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    inject(monkeypatch, "weights", "head.b", np.nan, [37])
    watch = watched(folder)

    def observe(event):
        watch(event)
        if event["event"] == "step" and event["step"] == 37:
            signal.raise_signal(signal.SIGTERM)

    run = charlstm.train(hard_text, folder, observer=observe, **SMALL)
    assert (run.reason, run.steps) == ("SIGTERM", 30)
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, recovered)


def test_a_file_system_without_links_keeps_the_good_state_too(
    recovered, hard_text, tmp_path, monkeypatch
):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(saver.os, "link", refuse)
    test_where_it_goes_back_to_does_not_depend_on_interruptions(
        recovered, hard_text, tmp_path, monkeypatch, [34, 36]
    )


@pytest.mark.parametrize("training", [{}, {"trainer": {}}, {"trainer": []}])
def test_a_state_that_cannot_be_gone_back_to_is_told(hard_text, tmp_path, monkeypatch, training):
    folder = tmp_path / "run"
    inject(monkeypatch, "gradients", "head.W", np.nan, [15])

    def damage(event):
        if event["event"] == "step" and event["step"] == 14:
            kept = load_checkpoint(folder / LAST)
            if training:
                kept.training = {**training, "config": kept.training["config"]}
            else:
                kept.training, kept.arrays = {}, {}
            save_checkpoint(folder / GOOD, kept)

    with pytest.raises(CharlstmError, match=r"good\.safetensors: cannot be restored \("):
        charlstm.train(hard_text, folder, observer=damage, **SMALL)


# -- a loss that explodes --------------------------------------------------------------------------


def test_the_bounds_of_a_loss_are_as_stated():
    limit = EXPLODED * math.log(50)
    check_losses(99, [limit - 0.1] * RECENT_STEPS, 50)
    with pytest.raises(Diverged, match=r"step 99 has exploded: its mean over 20 steps is 39\.22 n"):
        check_losses(99, [limit + 0.1] * RECENT_STEPS, 50)
    check_step(3, 1e30, 1e30)
    for loss, norm in ((math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)):
        with pytest.raises(Diverged, match=r"of step 1,003 is not a finite number"):
            check_step(1003, loss, norm)


@pytest.mark.parametrize("eval_every", [1, 7, 40])
def test_a_loss_that_explodes_is_never_saved(text_file, tmp_path, monkeypatch, eval_every):
    """Also where evaluations are closer than the steps that an explosion is told by."""
    folder, real, losses = tmp_path / "run", Trainer.step, {}

    def step(trainer):
        loss = real(trainer)
        if trainer.halvings == 0 and trainer.steps_done > 15:
            trainer.model.parameters.vector *= 30
            loss *= 1_000
        return loss

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST:
            saved = load_checkpoint(folder / LAST)
            losses[event["step"]] = np.abs(saved.model.parameters.vector).max()

    monkeypatch.setattr(Trainer, "step", step)
    options = {**SMALL, "eval_every": eval_every, "steps": 80}
    run = charlstm.train(text_file, folder, observer=observe, **options)
    assert (run.reason, run.steps) == ("finished", 80)
    assert max(losses.values()) < 5
    (event,) = recoveries_of(folder)
    assert "has exploded: its mean over" in event["cause"]
    assert event["step"] == 15 // eval_every * eval_every
    assert event["failed_step"] <= 16 + RECENT_STEPS


@pytest.mark.parametrize("lr", [0.01, 0.03, 0.1])
def test_a_high_rate_with_a_spiky_loss_is_left_alone(text_file, tmp_path, lr):
    options = {**SMALL, "lr": lr, "eval_every": 5, "schedule": "constant"}
    run = charlstm.train(text_file, tmp_path / "run", **options)
    assert run.reason == "finished" and recoveries_of(run.path) == []


def test_the_rate_stays_halved_when_the_end_is_moved(recovered, tmp_path):
    shutil.copytree(recovered[0], tmp_path / "run")
    charlstm.train(run=tmp_path / "run", resume=True, steps=70)
    about = load_checkpoint(tmp_path / "run" / LAST).training
    assert (about["trainer"]["halvings"], about["trainer"]["total_steps"]) == (1, 70)
    assert weights_of(tmp_path / "run" / LAST) != weights_of(recovered[0] / LAST)
    assert about["losses"]["count"] == 0
