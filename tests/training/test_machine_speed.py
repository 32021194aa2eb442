"""The speed of the machine, and what a time budget makes of it."""

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


def asked(text, **given):
    return RunConfig.asked({"paths": (str(text),), **given})


def test_operations_per_second_are_those_of_its_steps(monkeypatch):
    """A step that sleeps: 1,536 characters in 10 ms and what it takes itself."""
    took = []

    def step(self):
        began = time.perf_counter()
        time.sleep(0.01)
        took.append(time.perf_counter() - began)

    monkeypatch.setattr(machine_speed.Trainer, "step", step)
    config = TrainConfig(schedule="cosine", minutes=3.0, batch_size=5, seq_length=7)
    rate = machine_speed.operations_per_second(
        ModelConfig(hidden=512, layers=3, lines=True), config
    )
    step_operations = 1536 * operations_per_symbol(ModelConfig(hidden=256, layers=1), 64)
    assert rate == pytest.approx(step_operations / sorted(took[2:])[3], rel=0.05)


def test_a_small_model_is_measured_as_it_is(monkeypatch):
    seen = []
    monkeypatch.setattr(
        machine_speed, "CharModel", lambda config, vocab: seen.append(config) or 1 / 0
    )
    for hidden in (17, 256, 1000):
        with pytest.raises(ZeroDivisionError):
            machine_speed.operations_per_second(ModelConfig(hidden=hidden, layers=2), TrainConfig())
    assert [(config.hidden, config.layers) for config in seen] == [(17, 1), (256, 1), (256, 1)]


def test_the_table_that_is_measured_is_no_larger_than_one_that_is_chosen(monkeypatch):
    """A text of five symbols has many rows of five numbers, which would be 64 wide here."""
    seen = []
    monkeypatch.setattr(
        machine_speed, "CharModel", lambda config, vocab: seen.append(config) or 1 / 0
    )
    model, train = choose_settings(
        10_000_000, ModelConfig.asked({}), TrainConfig.asked({"minutes": 1.0}), symbols=5
    )
    assert model.ngram_slots == 2**23 // 5
    for slots in (model.ngram_slots, 1_000):
        with pytest.raises(ZeroDivisionError):
            machine_speed.operations_per_second(replace(model, ngram_slots=slots), train)
    assert [config.ngram_slots for config in seen] == [2**23 // 64, 1_000]


def test_what_a_small_model_will_read_follows_from_its_own_speed(monkeypatch, tmp_path):
    rates = {256: 1e11, 192: 1e11 / 8}
    monkeypatch.setattr(start, "operations_per_second", lambda model, config: rates[model.hidden])
    text = tmp_path / "text.txt"
    text.write_text(make_text(30_000), encoding="utf-8")
    run = start.begin_run(tmp_path / "run", asked(text, minutes=1.0), None, time.monotonic(), None)
    chosen, config = run.trainer.model.config, run.trainer.config
    run.trainer.close()
    assert chosen.hidden == 192
    characters = 0.9 * 60 * rates[192] / operations_per_symbol(chosen, len(run.corpus.vocab))
    passes = characters / (0.9 * len(make_text(30_000)))
    assert config.dropout == pytest.approx(0.05 * math.log2(passes), abs=0.006)


@pytest.mark.parametrize("options", [{}, {"cell": "gru"}, {"dtype": "float64"}])
def test_every_kind_of_model_has_a_speed(options):
    assert 1e8 < machine_speed.operations_per_second(ModelConfig(**options), TrainConfig()) < 1e14


@pytest.mark.parametrize(("rate", "hidden"), [(2e9, 64), (1e11, 192), (1e12, 384)])
def test_with_a_time_budget_a_faster_machine_gets_a_larger_model(
    rate, hidden, monkeypatch, tmp_path
):
    monkeypatch.setattr(start, "operations_per_second", lambda model, config: rate)
    text = tmp_path / "text.txt"
    text.write_text(make_text(30_000), encoding="utf-8")
    options = {"minutes": 2.0}
    started = time.monotonic() - 60  # of which half are gone
    run = start.begin_run(tmp_path / "run", asked(text, **options), None, started, None)
    assert run.trainer.model.config.hidden == hidden
    run.trainer.close()
