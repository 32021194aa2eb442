"""The measured speed of the machine, and the settings that a time budget chooses from it."""

import math
import time
from dataclasses import replace

import pytest
from corpus_files import make_text

from charlstm import ModelConfig, TrainConfig
from charlstm.config import RunConfig
from charlstm.runs import start
from charlstm.training import machine_speed
from charlstm.training.defaults import choose_settings, operations_per_symbol


def begin_run(folder, text, minutes, started):
    """A run that is not trained; return its model's and its trainer's settings."""
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    asked = RunConfig.asked({"paths": (str(path),), "minutes": minutes})
    run = start.begin_run(folder / "run", asked, None, started, None)
    run.trainer.close()
    return run.trainer.model, run.trainer.config


@pytest.fixture
def measured(monkeypatch):
    """The configurations of the models that are measured; the measurement stops there."""
    configs = []

    def make_model(config, vocab):
        configs.append(config)
        raise ZeroDivisionError

    monkeypatch.setattr(machine_speed, "CharModel", make_model)
    return configs


def test_the_speed_is_that_of_the_median_step(monkeypatch):
    """A step that sleeps: 1,536 characters in 10 ms and the time of its own overhead."""
    seconds = []

    def step(self):
        began = time.perf_counter()
        time.sleep(0.01)
        seconds.append(time.perf_counter() - began)

    monkeypatch.setattr(machine_speed.Trainer, "step", step)
    config = TrainConfig(schedule="cosine", minutes=3.0, batch_size=5, seq_length=7)
    rate = machine_speed.operations_per_second(
        ModelConfig(hidden=512, layers=3, lines=True), config
    )
    step_operations = 1536 * operations_per_symbol(ModelConfig(hidden=256, layers=1), 64)
    assert rate == pytest.approx(step_operations / sorted(seconds[2:])[3], rel=0.05)


def test_a_small_model_is_measured_at_its_own_size(measured):
    for hidden in (17, 256, 1000):
        with pytest.raises(ZeroDivisionError):
            machine_speed.operations_per_second(ModelConfig(hidden=hidden, layers=2), TrainConfig())
    assert [(config.hidden, config.layers) for config in measured] == [(17, 1), (256, 1), (256, 1)]


def test_the_measured_table_is_no_larger_than_any_chosen_one(measured):
    """A text of five symbols has many rows of five numbers, which would be 64 wide here."""
    model, train = choose_settings(
        10_000_000, ModelConfig.asked({}), TrainConfig.asked({"minutes": 1.0}), vocab_size=5
    )
    assert model.ngram_slots == 5_000_000
    for slots in (model.ngram_slots, 1_000):
        with pytest.raises(ZeroDivisionError):
            machine_speed.operations_per_second(replace(model, ngram_slots=slots), train)
    assert [config.ngram_slots for config in measured] == [machine_speed.MAX_MEASURED_ROWS, 1_000]


@pytest.mark.parametrize("options", [{}, {"cell": "gru"}, {"dtype": "float64"}])
def test_every_kind_of_model_has_a_speed(options):
    assert 1e8 < machine_speed.operations_per_second(ModelConfig(**options), TrainConfig()) < 1e14


@pytest.mark.parametrize(("rate", "hidden"), [(2e9, 64), (1e11, 192), (1e12, 384)])
def test_with_a_time_budget_a_faster_machine_gets_a_larger_model(
    rate, hidden, monkeypatch, tmp_path
):
    monkeypatch.setattr(start, "operations_per_second", lambda model, config, engine: rate)
    started = time.monotonic() - 60  # half of the time is gone
    model, _ = begin_run(tmp_path, make_text(300) * 100, 2.0, started)
    assert model.config.hidden == hidden


def test_dropout_and_the_tables_rate_follow_from_the_speed_of_the_chosen_model(
    monkeypatch, tmp_path
):
    rates = {256: 1e11, 192: 1e11 / 8}
    monkeypatch.setattr(
        start, "operations_per_second", lambda model, config, engine: rates[model.hidden]
    )
    text = make_text(300) * 10
    model, config = begin_run(tmp_path, text, 1.0, time.monotonic())
    assert model.config.hidden == 192
    characters = 0.9 * len(text)  # of the training text
    weights = 4 * 192 * 192 + 192 * len(model.vocab)
    operations = 0.9 * 60 * 1e11 / 8
    passes = operations / (6 * weights) / characters
    assert 5 < passes < 15
    dropout = 0.04 * math.log2(passes * weights / characters / 0.25)
    assert 0.2 < dropout < 0.29  # at most 0.3
    assert config.dropout == config.weight_dropout == pytest.approx(dropout, abs=0.006)
    assert config.ngram_lr == pytest.approx(0.67 / passes**0.75, rel=0.03)
