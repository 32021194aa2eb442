"""ModelConfig and TrainConfig: plain defaults, refusals in words, JSON."""

import dataclasses
import json

import pytest

from charlstm import CharlstmError, ModelConfig, TrainConfig
from charlstm.config import config_from_json, config_to_json


def test_defaults_are_plain():
    config = TrainConfig()
    assert (config.optimizer, config.schedule, config.clip) == ("adam", "constant", 5.0)
    assert (config.dropout, config.weight_decay, config.clip_value) == (0, 0, 0)
    assert (config.steps, config.epochs, config.minutes, config.workers) == (None,) * 4
    assert (config.beta1, config.beta2, config.lr) == (0.9, 0.999, 2e-3)
    model = ModelConfig()
    assert (model.cell, model.hidden, model.layers, model.dtype) == ("lstm", 128, 2, "float32")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lanes", 0, "1 or more, not 0"),
        ("window", -3, "1 or more, not -3"),
        ("lanes", 2.0, "int, not 2.0"),
        ("lanes", True, "int, not True"),
        ("lanes", "8", "int, not '8'"),
        ("lr", 0, "above 0, not 0"),
        ("lr", float("nan"), "a finite number, not nan"),
        ("lr", float("inf"), "a finite number, not inf"),
        ("clip", -1.0, "0 or more"),
        ("weight_decay", -0.1, "0 or more"),
        ("dropout", 1.0, "0 or more and below 1"),
        ("dropout", -0.1, "0 or more and below 1"),
        ("beta1", 1.0, "below 1"),
        ("beta2", 1, "below 1"),
        ("decay", 1.5, "0 to 1"),
        ("steps", 0, "above 0"),
        ("steps", 1.5, "int or none"),
        ("epochs", 0, "above 0"),
        ("minutes", -1, "above 0"),
        ("eval_every", 0, "above 0"),
        ("keep_every", -1, "above 0"),
        ("workers", 0, "above 0"),
        ("seed", -1, "0 or more"),
        ("seed", None, "int, not None"),
        ("optimizer", "adamax", "one of adam, rmsprop, sgd, not 'adamax'"),
        ("schedule", [], "one of constant"),
    ],
)
def test_bad_training_option_is_named(name, value, expected):
    with pytest.raises(CharlstmError, match=f"^{name} must be .*{expected}"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden", 0, "1 to 16384, not 0"),
        ("hidden", 10**9, "1 to 16384"),
        ("layers", 65, "1 to 64"),
        ("layers", "2", "int, not '2'"),
        ("dtype", "float16", "one of float32, float64, not 'float16'"),
        ("cell", "transformer", "one of lstm, gru, rnn"),
    ],
)
def test_bad_model_option_is_named(name, value, expected):
    with pytest.raises(CharlstmError, match=f"^{name} must be .*{expected}"):
        ModelConfig(**{name: value})


def test_ends_contradict_each_other():
    with pytest.raises(CharlstmError, match=r"^epochs and steps contradict each other"):
        TrainConfig(steps=5, epochs=1.0)
    with pytest.raises(CharlstmError, match=r"^steps and minutes contradict"):
        TrainConfig(steps=5, minutes=1)


def test_cosine_needs_an_end():
    with pytest.raises(CharlstmError, match="cosine needs an end: give steps, epochs or minutes"):
        TrainConfig(schedule="cosine")
    assert TrainConfig(schedule="cosine", minutes=1).minutes == 1


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().lanes = 3


@pytest.mark.parametrize(
    "config", [ModelConfig(hidden=7, layers=1, dtype="float64"), TrainConfig(steps=7, clip=1)]
)
def test_json_round_trip(config):
    assert config_from_json(type(config), json.loads(json.dumps(config_to_json(config)))) == config


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a ModelConfig must be an object, not list"),
        ({"hidden": 3, "heads": 2}, "unknown field 'heads' in a ModelConfig"),
        ({1: 2}, "unknown field '1'"),
        ({"hidden": None}, "hidden must be int"),
    ],
)
def test_foreign_json_is_refused(data, message):
    with pytest.raises(CharlstmError, match=message):
        config_from_json(ModelConfig, data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 10**40}, "warmup must be 9.01e+15 at most, not 1000"),
        ({"lr": 1e40}, "lr must be 1e+38 at most, not 1e+40"),
        ({"weight_decay": 1e301}, "weight_decay must be 1e+300 at most, not 1e+301"),
        ({"workers": 1025}, "workers must be 1.02e+03 at most"),
        ({"seed": 2**128}, "seed must be 3.4e+38 at most"),
        ({"minutes": 1e8}, "minutes must be 1e+07 at most"),
        ({"epochs": 1e10}, "epochs must be 1e+09 at most"),
    ],
)
def test_numbers_beyond_all_use_are_refused(options, message):
    with pytest.raises(CharlstmError) as caught:
        TrainConfig(**options)
    assert str(caught.value).startswith(message) and len(str(caught.value)) < 120
    assert TrainConfig(seed=2**128 - 1, lr=1e38).seed == 2**128 - 1
