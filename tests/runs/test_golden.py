"""Golden files: files of each format number that is supported, written once and read for ever.

One golden file of each format number stays in the folder golden, and is read by a test as long as
the number is supported. A new format gets files of its own beside those of the old.

They were made by `charlstm train` under CHARLSTM_KERNELS=numpy, from golden/text.txt:
checkpoint-2.safetensors is the `best` of a run of 400 steps; run-2, with metrics of format 1, is a
finished run of 20 steps. The path of the text in it is no longer there: the tests give another.
"""

import hashlib
from pathlib import Path

import pytest
from run_files import BEST, LAST, copy_of, events_of, measurements
from safetensors import safe_open

import charlstm
from charlstm.runs import texts
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.training_state import TrainingState

GOLDEN = Path(__file__).with_name("golden")
CHECKPOINT, RUN = GOLDEN / "checkpoint-2.safetensors", GOLDEN / "run-2"
SYMBOLS = ("\n", " ", "e", "g", "r", "ß", "ö", "ü", "日", "本", "🎉")


def digest_of(arrays):
    """The SHA-256 of the bytes of all arrays, in the order of their names."""
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()


@pytest.fixture
def text_moved(monkeypatch):
    """Let runs find their text in the folder golden."""
    text = str(GOLDEN / "text.txt")
    monkeypatch.setattr(texts, "resolved", lambda folder, paths: (text,) if paths else ())


def test_a_checkpoint_of_format_2_is_read():
    with safe_open(CHECKPOINT, "numpy") as file:
        assert '"format": 2' in file.metadata()["charlstm"]
    checkpoint = load_checkpoint(CHECKPOINT)
    assert checkpoint.model.config.to_dict() == {
        "cell": "lstm",
        "hidden": 5,
        "layers": 1,
        "dtype": "float32",
        "lines": False,
        "skip": False,
        "ngrams": 0,
        "ngram_slots": 180,
        "capped": True,
    }
    assert checkpoint.model.vocab.level == "char"
    assert tuple(checkpoint.model.vocab.symbols) == SYMBOLS
    assert checkpoint.summary == {
        "weights": "last",
        "step": 400,
        "total_steps": 400,
        "epoch": 44,
        "seconds": 3.405,
        "val_loss": 0.08424166946982344,
        "best_val_loss": 0.08424166946982344,
        "train_characters": 360,
    }
    assert (checkpoint.training, checkpoint.arrays) == ({}, {})
    expected = "643cbad0ceca8fa978f7c35d42377cb2babadbe44bcf4de7146ef01c488492d5"
    assert digest_of(checkpoint.model.parameters) == expected


def test_a_model_of_format_2_writes_the_same_text():
    text = charlstm.load(CHECKPOINT).sample(40, prime="grö", temperature=0)
    assert text == "ße 本日🎉\ngrüße 日本🎉\ngrüße 日本🎉\ngrüße 日本🎉\ngrü"


def test_a_run_of_checkpoint_format_2_and_metrics_format_1_is_read(text_moved):
    assert events_of(RUN)[0]["format"] == 1
    last, best = load_checkpoint(RUN / LAST), load_checkpoint(RUN / BEST)
    config = last.model.config
    assert (config.hidden, config.ngrams, config.ngram_slots, config.capped) == (3, 2, 8, True)
    assert tuple(last.model.vocab.symbols) == tuple(best.model.vocab.symbols) == SYMBOLS
    assert (
        last.summary
        == best.summary | {"seconds": 0.297}
        == {
            "weights": "last",
            "step": 20,
            "total_steps": 20,
            "epoch": 0,
            "seconds": 0.297,
            "val_loss": 1.779071596952585,
            "best_val_loss": 1.779071596952585,
            "train_characters": 360,
        }
    )
    weights = "3a3b2829e2a8a4e426472930647e282e92c2f072bf048f2bd156eff2947cb0c2"
    assert digest_of(last.model.parameters) == digest_of(best.model.parameters) == weights
    arrays = "0bfba0dd0d823809f020aa462ecd359bd0107e3fa2f637516e079c9398bd4d7f"
    assert digest_of(last.arrays) == arrays
    state = TrainingState.from_dict(last.training)
    assert (state.config.steps, state.config.dropout, state.config.average) == (20, 0.1, 0.998)
    assert (state.eval_every, state.extended, state.losses.count) == (10, False, 0)
    split = texts.training_and_validation_ids(RUN)
    assert (len(split.train), len(split.validation)) == (360, 40)


def test_a_run_of_checkpoint_format_2_and_metrics_format_1_is_resumed(text_moved, tmp_path):
    folder = copy_of(RUN, tmp_path / "run")
    before = measurements(folder)
    run = charlstm.train(run=folder, resume=True, steps=40)
    assert (run.reason, run.steps) == ("finished", 40)
    after = measurements(folder)
    assert after[: len(before)] == before
    # another machine may round in another way
    expected = {
        10: 1.9590999621611376,
        20: 1.779071596952585,
        30: 1.643615763921004,
        40: 1.570020684829125,
    }
    found = {event["step"]: event["val_loss"] for event in events_of(folder, "eval")}
    assert found == pytest.approx(expected, abs=1e-3)
