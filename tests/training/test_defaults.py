"""The settings that `charlstm train` chooses for a text and the time there is."""

import pytest

from charlstm import CharlstmError, ModelConfig, TrainConfig
from charlstm.config import CorpusConfig
from charlstm.network.layers import CELLS
from charlstm.training import defaults
from charlstm.training.defaults import operations_per_symbol, steps_between_evaluations


def choose(characters, model, train, **budget):
    """The settings chosen beside those given by name."""
    asked = ModelConfig.asked(model), TrainConfig.asked(train)
    return defaults.choose_settings(characters, *asked, **budget)


@pytest.mark.parametrize(
    ("characters", "tera", "layers", "hidden", "steps", "dropout"),
    [
        (3_000, 20, 1, 64, 1_000, 0.3),  # 40 passes would be 78 steps
        (900_000, 20, 1, 256, 7_678, 0.16),  # 13 passes, 0.3 weights for each character
        (900_000, 6, 1, 192, 3_998, 0.09),
        (900_000, 60, 1, 448, 7_762, 0.23),
        (900_000, 1_000, 2, 512, 23_437, 0.3),  # more units: too many for so short a text
        (10_000_000, 20, 1, 192, 13_328, 0.0),  # a longer text is to be read, not learned by heart
        (10_000_000, 1_000, 2, 384, 59_263, 0.11),
        (10_000_000_000, 20, 1, 192, 13_328, 0.0),
    ],
)
def test_size_and_regularisation_follow_text_and_budget(
    characters, tera, layers, hidden, steps, dropout
):
    model, train = choose(characters, {}, {}, vocab_size=80, operations=tera * 1e12)
    assert (model.layers, model.hidden, model.skip) == (layers, hidden, layers > 1)
    assert (train.steps, train.dropout, train.weight_dropout) == (steps, dropout, dropout)
    if layers > 1:
        assert train.dropout_between == pytest.approx(dropout / 2, abs=0.006)
    else:
        assert train.dropout_between is None
    assert train.schedule == "cosine" and train.warmup == 100


def test_operations_are_those_of_the_matrix_products():
    config = ModelConfig(hidden=10, layers=3, cell="gru", skip=True)
    recurrent, between, head = 3 * 10 * 30, 2 * 10 * 30, 30 * 7
    assert operations_per_symbol(config, 7) == 6 * (recurrent + between + head)
    assert operations_per_symbol(ModelConfig(hidden=10, layers=1), 7) == 6 * (400 + 70)


def test_a_time_budget_leaves_the_end_to_the_clock():
    model, train = choose(900_000, {}, {"minutes": 2.0}, vocab_size=80, operations=20e12)
    assert (model.hidden, train.steps, train.minutes, train.dropout) == (256, None, 2.0, 0.16)
    short = choose(900_000, {}, {"minutes": 0.01}, vocab_size=80, operations=5e10)[1]
    assert short.warmup == 25  # of 250 steps of the smallest model that there is time for


def test_given_settings_are_kept():
    model, train = choose(1_000_000, {"hidden": 7}, {"lr": 0.5, "epochs": 2.0, "dropout": 0.0})
    assert model == ModelConfig(hidden=7, layers=1, capped=True, ngrams=6, ngram_slots=83_886)
    assert (train.lr, train.epochs, train.dropout, train.steps) == (0.5, 2.0, 0.0, None)
    assert train.weight_dropout == 0.0  # two passes, few weights
    assert choose(1_000_000, {"layers": 2, "skip": True}, {})[0].skip
    assert not choose(1_000_000, {"capped": False}, {})[0].capped
    with pytest.raises(CharlstmError, match=r"`capped=True` is for .* only: leave it out"):
        choose(1_000_000, {"cell": "gru", "capped": True}, {})


def test_only_an_lstm_gets_capped_input_gates():
    capped = {cell: choose(1_000_000, {"cell": cell}, {})[0].capped for cell in CELLS}
    assert capped == {"lstm": True, "gru": False, "rnn": False}
    assert choose(1_000_000, {}, {}, operations=1e15)[0].capped


def test_dropout_follows_passes_and_weights():
    def dropout(epochs, hidden, **model):
        options = {"hidden": hidden, **model}, {"epochs": epochs}
        return choose(2**18 + 100 * 2**8, *options)[1].dropout

    # 256 units have as many weights as this text has characters: 4 * 256^2, and 256 * 100
    per_doubling = [dropout(epochs, 256) for epochs in (0.25, 0.5, 1.0, 4.0, 100.0)]
    assert per_doubling == [0.0, 0.04, 0.08, 0.16, 0.3]
    assert [dropout(epochs, 256, ngrams=0) for epochs in (4.0, 100.0)] == [0.24, 0.5]
    assert [dropout(4.0, hidden) for hidden in (128, 512)] == [0.08, 0.24]


def test_the_table_of_ngrams_follows_text_and_vocabulary():
    def table(characters, symbols, **given):
        model = choose(characters, given, {}, vocab_size=symbols)[0]
        return model.ngrams, model.ngram_slots

    assert table(140_000, 60) == (6, 70_000)
    assert table(10**6, 60) == (6, 2**23 // 60)  # at most 34 MB for a short text
    assert table(3 * 10**6, 60) == (6, 400_000)  # 8 numbers for each symbol of the text
    assert table(10**9, 60) == (6, 2**25 // 60)  # at most 134 MB
    assert table(10, 60) == (6, 5)
    assert table(10**9, 2**13)[0] == 6 and table(10**9, 2**13 + 1)[0] == 0  # words, say
    assert table(10**9, 20_000, ngrams=3) == (3, 2**25 // 20_000)  # which was asked for
    assert table(140_000, 60, ngrams=3, ngram_slots=77) == (3, 77)
    assert table(140_000, 60, ngrams=0)[0] == 0


def test_the_tables_rate_falls_with_the_passes_over_the_text():
    rates = [
        choose(1_536_000, {}, {"epochs": passes})[1].ngram_lr for passes in (0.1, 2.0, 16.0, 81.0)
    ]
    assert rates == [0.25, 0.25, 0.084, 0.025]  # 0.67 / 8 and 0.67 / 27 where it falls
    assert choose(1_000_000, {}, {"epochs": 40.0, "ngram_lr": 0.3})[1].ngram_lr == 0.3
    assert choose(1_536_000, {}, {"epochs": 20_000.0})[1].ngram_lr == 0.0004


def test_a_given_number_of_layers_keeps_the_largest_size_that_fits():
    def chosen(**given):
        model, _ = choose(900_000, given, {}, vocab_size=80, operations=60e12)
        return model.layers, model.hidden, model.skip

    assert chosen() == chosen(layers=1) == (1, 448, False)
    assert chosen(layers=2) == (2, 256, False)
    assert chosen(layers=2, skip=True) == (2, 256, True)


def test_dropout_between_layers_is_half_of_the_dropout_given():
    assert choose(1_000_000, {"layers": 2}, {"dropout": 0.5})[1].dropout_between == 0.25
    assert choose(1_000_000, {"layers": 2}, {"dropout": 0.0})[1].dropout_between == 0.0


def test_rate_and_beta2_of_other_optimizers_are_their_own():
    _, train = choose(1_000_000, {}, {"optimizer": "sgd"})
    assert (train.lr, train.beta2) == (TrainConfig.lr, TrainConfig.beta2)
    assert train.optimizer == "sgd"


def test_the_learning_rate_falls_with_the_length_of_a_run():
    def rate(cell="lstm", **options):
        return choose(1_000_000, {"cell": cell}, options)[1].lr

    assert [rate(steps=steps) for steps in (1, 5_000, 10_000, 80_000)] == [
        0.02,
        0.02,
        0.0119,  # 0.02 / 2 ** 0.75
        0.0025,  # 0.02 / 16 ** 0.75
    ]
    assert [rate(cell, steps=80_000) for cell in ("gru", "rnn")] == [0.00125, 0.00025]
    assert rate(steps=80_000, lr=0.1) == 0.1


def test_a_run_that_mixes_the_old_text_in_has_higher_rates():
    def rates(steps, **given):
        options = {"steps": steps, "seq_length": 64, "batch_size": 24} | given
        train = choose(1_536_000, {}, options, mixes_old_text=True)[1]
        return train.lr, train.ngram_lr

    assert rates(500) == (0.03, 0.4)
    assert rates(5_000)[0] == 0.02 and rates(80_000)[0] == 0.0025
    assert rates(16_000)[1] == 0.084  # 16 passes, as for a run from scratch
    assert rates(500, lr=0.01, ngram_lr=0.1) == (0.01, 0.1)


def test_only_runs_without_a_given_number_of_steps_stop_early():
    assert choose(1_000_000, {}, {})[1].stop_after == 5
    assert choose(1_000_000, {}, {"minutes": 3.0})[1].stop_after == 5
    assert choose(1_000_000, {}, {"steps": 2_000})[1].stop_after == 0
    assert choose(1_000_000, {}, {"epochs": 2.0})[1].stop_after == 0


def test_the_warm_up_of_a_short_run_is_a_tenth_of_it():
    assert choose(1_000_000, {}, {"steps": 50})[1].warmup == 5
    assert choose(100_000, {}, {"epochs": 1.0})[1].warmup == 6  # of 65 steps
    assert choose(1_000_000, {}, {"steps": 50, "warmup": 30})[1].warmup == 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be 1 or more"),
        ({"seq_length": 0}, "`seq_length` must be 1 or more"),
        ({"batch_size": "many"}, "`batch_size` must be int"),
        ({"steps": "5"}, "`steps` must be int"),
        ({"steps": 0}, "`steps` must be above 0"),
        ({"epochs": 0}, "`epochs` must be above 0"),
        ({"schedule": "cosin"}, "`schedule` must be one of"),
        ({"steps": 4, "minutes": 2}, "contradict"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(CharlstmError, match=message):
        choose(1_000_000, {}, options)


@pytest.mark.parametrize("fraction", [1, 1.0, -0.1, float("nan"), "0.1", None])
def test_a_bad_validation_fraction_is_refused(fraction):
    with pytest.raises(
        CharlstmError, match=r"`val_frac` must be (0 or more and below 1|float|a finite number)"
    ):
        CorpusConfig(("a",), val_frac=fraction)


def test_a_run_has_ten_evaluations_or_one_every_thousand_steps():
    assert steps_between_evaluations(TrainConfig(), 500) == 50
    assert steps_between_evaluations(TrainConfig(), 50_000) == 1_000
    assert steps_between_evaluations(TrainConfig(), 3) == 10
    assert steps_between_evaluations(TrainConfig(), 99) == 10
    assert steps_between_evaluations(TrainConfig(eval_every=1), 3) == 1
    assert steps_between_evaluations(TrainConfig(eval_every=7), 500) == 7
