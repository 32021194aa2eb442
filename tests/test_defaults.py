"""What `charlstm train` chooses by the size of the corpus."""

import pytest

from charlstm import CharlstmError, ModelConfig, TrainConfig
from charlstm.defaults import CorpusOptions, choose, evaluate_every, split_options


@pytest.mark.parametrize(
    ("characters", "hidden", "steps"),
    [
        (100_000, 128, 1_000),  # 12 passes would be 586 steps
        (1_000_000, 256, 5_859),
        (1_000_000_000, 512, 8_000),
    ],
)
def test_sizes_and_steps_grow_with_the_corpus_and_stay_sensible(characters, hidden, steps):
    model, train = choose(characters, {}, {})
    assert (model.hidden, train.steps) == (hidden, steps)
    assert train.schedule == "cosine" and train.warmup == 100


def test_what_is_given_is_kept():
    model, train = choose(1_000_000, {"hidden": 7}, {"lr": 0.5, "epochs": 2.0, "dropout": 0.0})
    assert model == ModelConfig(hidden=7, layers=1)
    assert (train.lr, train.epochs, train.dropout, train.steps) == (0.5, 2.0, 0.0, None)


def test_rate_and_beta2_of_other_optimizers_are_their_own():
    _, train = choose(1_000_000, {}, {"optimizer": "sgd"})
    assert (train.lr, train.beta2) == (TrainConfig.lr, TrainConfig.beta2)
    assert choose(1_000_000, {}, {})[1].lr == 1e-2


def test_a_short_run_warms_up_over_a_tenth_of_it():
    assert choose(1_000_000, {}, {"steps": 50})[1].warmup == 5
    assert choose(100_000, {}, {"epochs": 1.0})[1].warmup == 4  # of 48 steps
    assert choose(1_000_000, {}, {"steps": 50, "warmup": 30})[1].warmup == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lanes": 0}, "lanes must be 1 or more"),
        ({"window": 0}, "window must be 1 or more"),
        ({"lanes": "many"}, "lanes must be int"),
        ({"steps": "5"}, "steps must be int"),
        ({"steps": 0}, "steps must be above 0"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"schedule": "cosin"}, "schedule must be one of"),
        ({"steps": 4, "minutes": 2}, "contradict"),
    ],
)
def test_bad_options_are_named_before_they_are_calculated_with(options, message):
    with pytest.raises(CharlstmError, match=message):
        choose(1_000_000, {}, options)


def test_options_go_to_the_record_that_has_them():
    options = {"hidden": 3, "lr": 0.1, "val_frac": 0.0, "steps": None}
    assert split_options(options, ModelConfig, TrainConfig, CorpusOptions) == [
        {"hidden": 3},
        {"lr": 0.1},
        {"val_frac": 0.0},
    ]
    with pytest.raises(CharlstmError, match="unknown option 'rnn_size'"):
        split_options({"rnn_size": 3}, ModelConfig, TrainConfig)


@pytest.mark.parametrize("fraction", [1, 1.0, -0.1, float("nan"), "0.1", None])
def test_bad_validation_fraction_is_refused(fraction):
    with pytest.raises(CharlstmError, match="val_frac must be 0 or more and below 1"):
        CorpusOptions(("a",), val_frac=fraction)


def test_evaluations_are_ten_in_a_run_and_at_least_every_thousand_steps():
    assert evaluate_every(TrainConfig(), 500) == 50
    assert evaluate_every(TrainConfig(), 50_000) == 1_000
    assert evaluate_every(TrainConfig(), 3) == 1
    assert evaluate_every(TrainConfig(eval_every=7), 500) == 7
