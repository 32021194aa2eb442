"""NaN, infinities and exploding losses: never saved; the run recovers, or ends with an error."""

import math
from collections import Counter

import numpy as np
import pytest
from injection import inject, require_finite_files
from run_files import (
    LAST,
    SMALL,
    arrays_of,
    command_options,
    events_of,
    measurements,
)

import charlstm
from charlstm import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint
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
            marks=pytest.mark.slow if k % 4 else (),
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
        ", even at 0.125 of the learning rate; the state of the last evaluation is kept. Begin "
        "anew with --overwrite and a lower --lr than 0.005"
    )
    assert arrays_of(folder / LAST) == arrays_of(uninterrupted.copies[20] / LAST)
    assert [event["recoveries_left"] for event in events_of(folder, "recovery")] == [2, 1, 0]


@pytest.mark.parametrize("options", [{"lr": 1e38}, {"lr": 1e38, "optimizer": "sgd", "clip": 0.0}])
def test_a_rate_that_is_far_too_high_is_an_error_in_one_line(text_file, tmp_path, options):
    with pytest.raises(CharlstmError, match=r"not a finite number.*lower `lr` than 1e\+38"):
        charlstm.train(text_file, tmp_path / "run", **{**SMALL, **options})
    assert np.isfinite(charlstm.load(tmp_path / "run").parameters.vector).all()


def test_a_high_rate_of_the_table_is_named_as_the_likely_cause(text_file, tmp_path, monkeypatch):
    inject(monkeypatch, *(("gradients", "head.W", np.nan, 3) for _ in range(4)))
    with pytest.raises(CharlstmError, match=r"and a lower `ngram_lr` than 50$"):
        charlstm.train(text_file, tmp_path / "run", **{**SMALL, "ngram_lr": 50.0})


# -- a loss that explodes --------------------------------------------------------------------------


def test_the_bounds_of_a_loss_are_as_documented():
    limit = EXPLODED * math.log(50)
    check_losses(99, [limit - 0.1] * RECENT_STEPS, 50)
    with pytest.raises(Diverged, match=r"step 99 has exploded: its mean over 20 steps is 56\.58 b"):
        check_losses(99, [limit + 0.1] * RECENT_STEPS, 50)
    check_step(3, 1e30, 1e30)
    for loss, norm in ((math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)):
        with pytest.raises(Diverged, match=r"of step 1,003 is not a finite number"):
            check_step(1003, loss, norm)


@pytest.mark.parametrize("eval_every", [1, pytest.param(7, marks=pytest.mark.slow), 40])
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
    options = {**SMALL, "lr": lr, "eval_every": 5, "schedule": "constant", "patience": None}
    run = charlstm.train(text_file, tmp_path / "run", **options)
    assert run.reason == "finished" and events_of(run.path, "recovery") == []
