"""TrainingState: every field comes back as it was, and a malformed one is refused."""

import json

import pytest
from run_files import LAST, copy_of

import charlstm
from charlstm.errors import CharlstmError, errors_begin_with
from charlstm.runs.checkpoint import load_checkpoint, save_checkpoint
from charlstm.runs.ownership import mark_copies_of_last
from charlstm.runs.texts import training_and_validation_ids
from charlstm.runs.training_state import TrainingState


@pytest.mark.parametrize("step", [0, 30, 60])
def test_a_state_comes_back_from_json_as_it_was(uninterrupted, step):
    saved = load_checkpoint(uninterrupted.copies[step] / LAST).training
    again = json.loads(json.dumps(TrainingState.from_dict(saved).to_dict()))
    assert again == saved


MALFORMED = {
    "config": [7, {"steps": -1}],
    "corpus": [None, {"level": "syllable"}, {"vocab_size": "auto"}],
    "digest": [7],
    "file_bytes": [-1, "7", None],
    "kernels": [None],
    "extended": [0, "no"],
    "trainer": [[], {}, {"steps_done": -1}],
    "validation": [
        "",
        {},
        {"characters": 1, "evaluations": 7, "evaluations_since_best": 0},
        {"characters": 1, "evaluations": [7], "evaluations_since_best": 0},
        {"characters": 1, "evaluations": [[1]], "evaluations_since_best": 0},
    ],
    "time_budget": [[], {}, {"steps": 0.5}],
    "eval_every": [0, 1.5, "10"],
    "losses": [
        [],
        {},
        {"count": 0, "sum": 0, "unlogged": 0, "unlogged_sum": 0, "recent": None},
        {"count": 1, "sum": 0, "unlogged": 0, "unlogged_sum": 0, "recent": []},
    ],
    "seconds": [-1, None, "1"],
    "report": [0, None],
    "engine": ["abacus", None],
    "device": ["gpu", 0],
}


def test_every_field_has_malformed_values(uninterrupted):
    assert MALFORMED.keys() == load_checkpoint(uninterrupted.folder / LAST).training.keys()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values]
)
def test_a_malformed_field_is_refused_in_one_line(uninterrupted, tmp_path, name, value):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")
    checkpoint = load_checkpoint(folder / LAST)
    checkpoint.training[name] = value
    save_checkpoint(folder / LAST, checkpoint)
    with pytest.raises(CharlstmError) as caught:
        charlstm.train(run=folder, resume=True)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{folder / LAST}: ")


def test_a_missing_field_is_refused(uninterrupted):
    saved = load_checkpoint(uninterrupted.folder / LAST).training
    for name in saved.keys() - {"report", "engine", "device"}:  # Files of older versions lack them.
        state = {other: value for other, value in saved.items() if other != name}
        expected = pytest.raises(CharlstmError, match=rf"^x: refused: {name} is missing$")
        with expected, errors_begin_with("x: refused: ", CharlstmError):
            TrainingState.from_dict(state)


def test_the_text_of_a_malformed_state_is_not_known(uninterrupted, tmp_path):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")
    checkpoint = load_checkpoint(folder / LAST)
    checkpoint.training["digest"] = 7
    save_checkpoint(folder / LAST, checkpoint)
    with pytest.raises(
        CharlstmError, match=r"does not say which text the run was trained on: digest must be"
    ):
        training_and_validation_ids(folder)
    (folder / LAST).unlink()
    with pytest.raises(
        CharlstmError, match="the training text is not known, as the run's folder has no last"
    ):
        training_and_validation_ids(folder)


PARTS_OF_RESUMING = [
    "checkpoint.CharModel",
    "checkpoint.Vocab.from_dict",
    "checkpoint.Trainer.array_shapes",
    "training_state.TrainConfig.from_dict",
    "training_state.LossHistory.from_dict",
    "texts.open_corpus",
    "start.Trainer.__init__",
    "start.Trainer.load_arrays",
    "start.Trainer.load_dict",
    "run.Validation.load_dict",
    "run.Plan.__init__",
]


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError])
@pytest.mark.parametrize("part", PARTS_OF_RESUMING)
def test_a_bug_is_not_reported_as_a_malformed_file(
    uninterrupted, tmp_path, monkeypatch, part, error
):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")

    def fail(*given, **options):
        raise error("a bug")

    monkeypatch.setattr(f"charlstm.runs.{part}", fail)
    with pytest.raises(error, match="a bug") as caught:
        charlstm.train(run=folder, resume=True)
    assert type(caught.value) is error


def test_a_bug_is_not_reported_as_an_unreadable_earlier_run(uninterrupted, tmp_path, monkeypatch):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")

    def fail(saved):
        raise KeyError("a bug")

    monkeypatch.setattr("charlstm.runs.ownership.recorded_corpus", fail)
    with pytest.raises(KeyError, match="a bug"):
        mark_copies_of_last(folder)
