"""ModelConfig and TrainConfig: plain defaults, refusals in words, JSON."""

import dataclasses
import json

import numpy as np
import pytest

import charlstm
from charlstm import CharlstmError, ModelConfig, TrainConfig
from charlstm.config import AUTO, CorpusConfig, Interval, RunConfig, knobs_of, split_by_record
from charlstm.runs.folder import describe


def test_defaults_are_plain():
    config = TrainConfig()
    assert (config.optimizer, config.schedule, config.clip) == ("adam", "constant", 5.0)
    assert (config.dropout, config.weight_decay, config.clip_value) == (0, 0, 0)
    assert (config.steps, config.epochs, config.minutes) == (None,) * 3
    assert (config.workers, config.eval_every, config.precision) == (AUTO,) * 3
    assert (config.beta1, config.beta2, config.lr) == (0.9, 0.999, 2e-3)
    model = ModelConfig()
    assert (model.cell, model.hidden, model.layers, model.dtype) == ("lstm", 128, 2, "float32")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch_size", 0, "1 or more, not 0"),
        ("seq_length", -3, "1 or more, not -3"),
        ("batch_size", 2.0, "int, not 2.0"),
        ("batch_size", True, "int, not True"),
        ("batch_size", "8", "int, not '8'"),
        ("lr", 0, "above 0 and at most 1e.38, not 0"),
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
        ("steps", 1.5, "int or None"),
        ("epochs", 0, "above 0"),
        ("minutes", -1, "above 0"),
        ("eval_every", 0, "above 0"),
        ("keep_every", -1, "above 0"),
        ("workers", 0, "1 to 1,024"),
        ("seed", -1, "0 to 3"),
        ("seed", None, "int, not None"),
        ("optimizer", "adamax", "one of adam, rmsprop, sgd, not 'adamax'"),
        ("schedule", [], "one of constant"),
    ],
)
def test_bad_training_option_is_named(name, value, expected):
    with pytest.raises(CharlstmError, match=f"^`{name}` must be .*{expected}"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hidden", 0, "1 to 16,384, not 0"),
        ("hidden", 10**9, "1 to 16,384"),
        ("layers", 65, "1 to 64"),
        ("layers", "2", "int, not '2'"),
        ("dtype", "float16", "one of float32, float64, not 'float16'"),
        ("cell", "transformer", "one of lstm, gru, rnn"),
    ],
)
def test_bad_model_option_is_named(name, value, expected):
    with pytest.raises(CharlstmError, match=f"^`{name}` must be .*{expected}"):
        ModelConfig(**{name: value})


def test_a_weight_decay_that_turns_weights_around_is_refused():
    assert TrainConfig(lr=0.02, weight_decay=50.0).weight_decay == 50
    with pytest.raises(
        CharlstmError, match=r"^`weight_decay` must be 50 at most for `lr=0\.02`, not 51"
    ):
        TrainConfig(lr=0.02, weight_decay=51.0)
    open_rate = TrainConfig.asked({"weight_decay": 1e300})
    with pytest.raises(CharlstmError, match=r"^`weight_decay` must be 50 at most for `lr=0\.02`"):
        open_rate.completed({"lr": 0.02, "steps": 1})


def test_ends_contradict_each_other():
    with pytest.raises(CharlstmError, match=r"^`epochs` and `steps` contradict each other"):
        TrainConfig(steps=5, epochs=1.0)
    with pytest.raises(CharlstmError, match=r"^`steps` and `minutes` contradict"):
        TrainConfig(steps=5, minutes=1)


def test_cosine_needs_an_end():
    with pytest.raises(CharlstmError, match="needs an end: give `steps`, `epochs` or `minutes`"):
        TrainConfig(schedule="cosine")
    assert TrainConfig(schedule="cosine", minutes=1).minutes == 1


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().batch_size = 3


@pytest.mark.parametrize(
    "config", [ModelConfig(hidden=7, layers=1, dtype="float64"), TrainConfig(steps=7, clip=1)]
)
def test_json_round_trip(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_values_of_numpy_types_become_those_of_python(text_file, tmp_path):
    options = {
        "hidden": np.int64(3), "capped": np.bool_(False), "cell": np.str_("gru"),
        "lr": np.float32(0.125), "steps": np.uint8(2), "seed": np.int32(5),
    }  # fmt: skip
    path = charlstm.train(text_file, tmp_path / "run", **options).path
    charlstm.train(run=path, resume=True, steps=np.int64(3))
    about = describe(path)
    saved = about["model"] | about["training"]
    expected = {"hidden": 3, "capped": False, "cell": "gru", "lr": 0.125, "steps": 3, "seed": 5}
    assert {name: saved[name] for name in expected} == expected
    for name, value in expected.items():
        assert type(RunConfig.asked({name: np.array(value)[()]}).given[name]) is type(value)
    with pytest.raises(CharlstmError, match=r"`hidden` must be int, not 2\.5"):
        ModelConfig(hidden=np.float64(2.5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a ModelConfig must be a JSON object, not list"),
        ({"hidden": 3, "heads": 2}, "unknown field 'heads' in a ModelConfig"),
        ({1: 2}, "unknown field '1'"),
        ({"hidden": None}, "`hidden` must be int"),
    ],
)
def test_foreign_json_is_refused(data, message):
    with pytest.raises(CharlstmError, match=message):
        ModelConfig.from_dict(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 10**400}, "`batch_size` must be 9.01e+15 at most, not 1000"),
        ({"warmup": 10**40}, "`warmup` must be 9.01e+15 at most, not 1000"),
        ({"lr": 1e40}, "`lr` must be above 0 and at most 1e+38, not 1e+40"),
        ({"weight_decay": 1e301}, "`weight_decay` must be 1e+300 at most, not 1e+301"),
        ({"workers": 1025}, "`workers` must be 1 to 1,024, not 1025"),
        ({"seed": 2**128}, "`seed` must be 0 to 3.40282e+38, not"),
        ({"minutes": 1e8}, "`minutes` must be above 0 and at most 10,000,000, not"),
        ({"epochs": 1e10}, "`epochs` must be above 0 and at most 1,000,000,000, not"),
    ],
)
def test_numbers_beyond_all_use_are_refused(options, message):
    with pytest.raises(CharlstmError) as caught:
        TrainConfig(**options)
    assert str(caught.value).startswith(message) and len(str(caught.value)) < 120
    assert TrainConfig(seed=2**128 - 1, lr=1e38).seed == 2**128 - 1


@pytest.mark.parametrize(
    ("text", "inside", "outside", "words"),
    [
        ("[0, 1)", (0, 0.5, 0.999), (-0.1, 1, float("nan")), "0 or more and below 1"),
        ("(0, 1]", (1e-9, 1), (0, 1.1), "above 0 and at most 1"),
        ("[1, 64]", (1, 64), (0, 65), "1 to 64"),
        ("(0, inf)", (1e-300, 1e300), (0, float("inf")), "above 0"),
        ("[1, inf)", (1, 2**53), (0.99,), "1 or more"),
    ],
)
def test_an_interval_contains_its_numbers_and_is_told_in_words(text, inside, outside, words):
    interval = Interval(text)
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)
    assert str(interval) == words


def test_zero_is_allowed_beside_the_range_of_ngrams():
    assert ModelConfig(ngrams=0).ngrams == 0
    for bad in (1, 17, -2):
        with pytest.raises(CharlstmError, match=f"^`ngrams` must be 0, or 2 to 16, not {bad}"):
            ModelConfig(ngrams=bad)


def test_settings_asked_for_hold_auto_for_all_others():
    asked = RunConfig.asked({"hidden": 3, "lr": 0.1, "val_frac": 0.0, "steps": None})
    assert asked.given == {"hidden": 3, "lr": 0.1, "val_frac": 0.0}
    assert (asked.model.layers, asked.train.clip, asked.corpus.level) == (AUTO, AUTO, AUTO)
    completed = asked.model.completed({"hidden": 5, "layers": 4})
    assert completed == ModelConfig(hidden=3, layers=4)  # a choice does not replace what was given
    with pytest.raises(CharlstmError, match="unknown option 'rnn_size'"):
        RunConfig.asked({"rnn_size": 3})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "constant", "warmup": 5},
         '`warmup` has no effect with `schedule="constant"`: leave out `warmup`, or '
         'give `schedule="cosine"`$'),
        ({"schedule": "step", "final_lr": 0.1}, '`final_lr` has no effect with `schedule="step"`'),
        ({"decay": 0.5}, '`decay` has no effect with `schedule="cosine"`: leave out `decay`, or '
         'give `schedule="step"` or `schedule="plateau"`'),
        ({"schedule": "plateau", "decay_every": 2}, "`decay_every` has no effect with `schedule="),
        ({"schedule": "halve-on-rise", "patience": 2}, "`patience` has no effect with `schedule="),
        ({"optimizer": "rmsprop", "beta1": 0.5}, '`beta1` has no effect with `optimizer="rms'),
        ({"optimizer": "sgd", "beta2": 0.5}, '`beta2` has no effect with `optimizer="sgd"`'),
        ({"level": "byte", "vocab_size": 50}, '`vocab_size` has no effect with `level="byte"`'),
        ({"lines": True, "reset": 0.1}, "`reset` has no effect with `lines=True`: leave out one"),
    ],
)  # fmt: skip
def test_an_option_that_has_no_effect_beside_another_is_refused(given, message):
    with pytest.raises(CharlstmError, match="^" + message):
        RunConfig.asked(given)


def test_an_option_that_has_an_effect_beside_another_is_accepted():
    for given in (
        {"warmup": 5, "final_lr": 0.1, "beta1": 0.5, "beta2": 0.5},
        {"schedule": "step", "decay": 0.5, "decay_every": 2, "steps": 9},
        {"schedule": "plateau", "decay": 0.5, "patience": 2, "optimizer": "sgd", "beta1": 0.5},
        {"level": "word", "vocab_size": 50, "ngrams": 2, "ngram_lr": 0.1, "ngram_slots": 5},
        {"lines": False, "recut": False, "layers": 1, "dropout_between": 0.1},
    ):
        assert RunConfig.asked(given).given == given
    complete = TrainConfig.asked({"schedule": "constant", "optimizer": "rmsprop"}).completed({})
    assert TrainConfig.from_dict(complete.to_dict()) == complete  # it has a value for each knob


def test_a_record_with_an_open_choice_is_refused_where_values_are_needed():
    ModelConfig().require_chosen()
    TrainConfig().require_chosen("workers", "eval_every", "precision")
    with pytest.raises(CharlstmError, match=r"^`workers` is auto, a value for charlstm\.train "):
        TrainConfig().require_chosen("eval_every", "precision")


def test_values_go_to_the_record_that_has_a_knob_of_their_name():
    given = {"hidden": 3, "lr": 0.1, "val_frac": 0.0}
    parts = split_by_record(given, ModelConfig, TrainConfig, CorpusConfig)
    assert parts == [{"hidden": 3}, {"lr": 0.1}, {"val_frac": 0.0}]


@pytest.mark.parametrize("record", [CorpusConfig, ModelConfig, TrainConfig])
def test_defaults_of_charlstm_train_are_within_their_ranges(record):
    for one in knobs_of(record).values():
        one.check(one.default)
        one.check(one.train_default)
        assert one.facts.help.endswith(".") or one.facts.help[-1].isalnum()
