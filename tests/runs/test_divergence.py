"""NaN, infinities and exploding losses: never saved; the run recovers, or ends with an error."""

import math
import signal
from collections import Counter

import numpy as np
import pytest
from run_files import (
    GOOD,
    LAST,
    SMALL,
    Killed,
    arrays_of,
    assert_equal_runs,
    command_options,
    copy_of,
    events_of,
    measurements,
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

# -- a number that is not finite, in more than 50 places -------------------------------------------

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
    (kind, name, value)
    for k, (kind, name) in enumerate(ACTIVATIONS + GRADIENTS + WEIGHTS + STATE)
    for value in (np.nan, (np.inf, -np.inf)[k % 2])
]

# A run recovers three times: three places for each run, with the steps at which the number is
# written there. Evaluations follow steps 10, 20 and so on to 60, the last one.
STEPS = [(1, 20, 60), (13, 30, 57), (20, 31, 43)]
GROUPS = [
    [(*place, step) for place, step in zip(PLACES[k : k + 3], STEPS[k % 9 // 3], strict=False)]
    for k in range(0, len(PLACES), 3)
]
OUTCOMES = Counter()


def write_into(array, value):
    array.reshape(-1)[array.size // 2] = value


def inject(monkeypatch, *places):
    """Write a number into a run at each place (kind, name, value, step), once and in that order.

    Returns the list of the places that are still to come.
    """
    real, to_come = Trainer.step, list(places)

    def step(trainer):
        if not to_come or trainer.steps_done + 1 != to_come[0][3]:
            return real(trainer)
        kind, name, value, _ = to_come.pop(0)
        model = trainer.model
        backward, weight_gradients = model.backward_activations, model.weight_gradients

        def backward_from_injected(targets, activations, *more):
            if kind == "activations":
                where = activations
                for part in name.split("."):
                    where = where[int(part)] if part.isdecimal() else getattr(where, part)
                write_into(where, value)
            return backward(targets, activations, *more)

        def injected_gradients(activations, gradients, masks):
            def all_at_once():
                for task in weight_gradients(activations, gradients, masks):
                    task()
                if kind == "gradients":
                    write_into(gradients[name], value)

            return [all_at_once]

        model.backward_activations = backward_from_injected
        model.weight_gradients = injected_gradients
        try:
            loss = real(trainer)
        finally:
            model.backward_activations, model.weight_gradients = backward, weight_gradients
        if kind == "weights":
            write_into(trainer.model.parameters[name], value)
        if kind == "state":
            write_into(trainer.arrays()[name], value)
        return loss

    monkeypatch.setattr(Trainer, "step", step)
    return to_come


def require_finite_files(folder):
    """An observer that fails if a file with NaN or infinity has been saved."""

    def observe(event):
        if event["event"] == "save":
            for name, array in load_file(folder / event["file"]).items():
                assert np.isfinite(array).all(), (event, name)

    return observe


def rates_of(folder):
    return [event["learning_rate"] for event in events_of(folder, "train")]


def test_there_are_at_least_50_places():
    places = {(kind, name, str(value)) for group in GROUPS for kind, name, value, _ in group}
    assert len(places) == len(PLACES) >= 50


@pytest.mark.parametrize(
    "places",
    [
        pytest.param(
            group,
            id=", ".join(f"{name} {value}" for _, name, value, _ in group),
            marks=pytest.mark.slow if k % 2 else (),
        )
        for k, group in enumerate(GROUPS)
    ],
)
def test_a_number_that_is_not_finite_is_never_saved_and_the_run_recovers(
    uninterrupted, overfitting_text, tmp_path, monkeypatch, places
):
    folder = tmp_path / "run"
    to_come = inject(monkeypatch, *places)
    run = charlstm.train(overfitting_text, folder, observer=require_finite_files(folder), **SMALL)
    assert (run.reason, run.steps, to_come) == ("finished", 60, [])
    recoveries = events_of(folder, "recovery")
    assert load_checkpoint(folder / LAST).training["trainer"]["halvings"] == len(recoveries)
    assert [event["rate_factor"] for event in recoveries] == [0.5, 0.25, 0.125][: len(recoveries)]
    assert [event["recoveries_left"] for event in recoveries] == [2, 1, 0][: len(recoveries)]
    for kind, _, _, step in places:
        before = (step - 1) // 10 * 10
        # A number that the next steps do not read is found when it would be saved.
        latest = step + 1 if kind == "gradients" else before + 11
        if not (recoveries and step <= recoveries[0]["failed_step"] <= latest):
            assert kind == "activations"
            OUTCOMES["without any effect"] += 1
            continue
        OUTCOMES["recovered"] += 1
        event = recoveries.pop(0)
        assert event["step"] == before
        assert "not a finite number" in event["cause"]
        if event["recoveries_left"] == 2:  # the first: equal to the uninterrupted run before that
            expected, rates = rates_of(uninterrupted.folder), rates_of(folder)
            assert len(rates) == 60 and rates[before] == 0.5 * expected[before]
            kept = before + before // 10
            assert measurements(folder)[:kept] == measurements(uninterrupted.folder)[:kept]
    assert recoveries == []


def test_most_places_have_an_effect():
    """Runs after the tests above; with -s or -rP it prints the figures."""
    print(f"injected at {sum(OUTCOMES.values())} places:", dict(OUTCOMES))
    assert OUTCOMES["without any effect"] <= 2


@pytest.mark.parametrize(("kind", "name"), [("gradients", "head.W"), ("weights", "layers.1.Wh")])
def test_a_fourth_recovery_is_an_error_in_one_line(
    uninterrupted, overfitting_text, tmp_path, monkeypatch, cli, kind, name
):
    folder = tmp_path / "run"
    inject(monkeypatch, *((kind, name, np.nan, step) for step in (25, 22, 30, 21)))
    options = command_options(**SMALL)
    error = cli("train", overfitting_text, "-r", folder, *options, code=1).stderr
    lines = [line for line in error.splitlines() if ": back to step 20, from there on with" in line]
    assert len(lines) == 3 and lines[2].endswith("0.125 of the learning rate")
    last = error.splitlines()[-1]
    assert last.startswith(f"charlstm: {folder}: ") and last.count("is not a finite number") == 1
    assert last.endswith(
        ", also at 0.125 of the learning rate; the last good state is kept. Begin anew with "
        "--overwrite and a lower --lr than 0.005"
    )
    assert arrays_of(folder / LAST) == arrays_of(uninterrupted.copies[20] / LAST)
    assert [event["recoveries_left"] for event in events_of(folder, "recovery")] == [2, 1, 0]


@pytest.mark.parametrize("options", [{"lr": 1e38}, {"lr": 1e38, "optimizer": "sgd", "clip": 0.0}])
def test_a_rate_that_is_far_too_high_is_an_error_in_one_line(text_file, tmp_path, options):
    with pytest.raises(CharlstmError, match=r"not a finite number.*lower --lr than 1e\+38"):
        charlstm.train(text_file, tmp_path / "run", **{**SMALL, **options})
    assert np.isfinite(charlstm.load(tmp_path / "run").parameters.vector).all()


# -- recovery and resumption together --------------------------------------------------------------


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


@pytest.mark.parametrize("interruptions", [[34], [34, 36], [30, 35], [31, 32, 33]])
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
        run = charlstm.train(corpus, folder, observer=observe, **options)
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

    def save_and_die(path, checkpoint):
        is_recovery = checkpoint.training.get("trainer", {}).get("halvings") == 1
        if is_recovery and when == "before":
            raise Killed
        real(path, checkpoint)
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

    run = charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
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

    with pytest.raises(CharlstmError, match=r"good\.safetensors: cannot be restored \("):
        charlstm.train(overfitting_text, folder, observer=damage, **SMALL)


# -- a loss that explodes --------------------------------------------------------------------------


def test_the_bounds_of_a_loss_are_as_documented():
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
    """Also with evaluations at smaller distances than the steps whose mean shows an explosion."""
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
    options = {**SMALL, "eval_every": eval_every, "steps": 45}
    run = charlstm.train(text_file, folder, observer=observe, **options)
    assert (run.reason, run.steps) == ("finished", 45)
    assert max(losses.values()) < 5
    (event,) = events_of(folder, "recovery")
    assert "has exploded: its mean over" in event["cause"]
    assert event["step"] == 15 // eval_every * eval_every
    assert event["failed_step"] <= 16 + RECENT_STEPS


@pytest.mark.parametrize("lr", [pytest.param(0.01, marks=pytest.mark.slow), 0.03, 0.1])
def test_a_high_rate_with_a_spiky_loss_causes_no_recovery(text_file, tmp_path, lr):
    options = {**SMALL, "lr": lr, "eval_every": 5, "schedule": "constant"}
    run = charlstm.train(text_file, tmp_path / "run", **options)
    assert run.reason == "finished" and events_of(run.path, "recovery") == []


def test_the_rate_stays_halved_when_the_end_is_moved(recovered, tmp_path):
    folder = copy_of(recovered[0], tmp_path / "run")
    charlstm.train(run=folder, resume=True, steps=70)
    training = load_checkpoint(folder / LAST).training
    assert (training["trainer"]["halvings"], training["trainer"]["total_steps"]) == (1, 70)
    assert weights_of(folder / LAST) != weights_of(recovered[0] / LAST)
    assert training["losses"]["count"] == 0
