"""The n-gram table: its rows, the history in the state, and learning."""

import zlib

import numpy as np
import pytest
from oracles import relative_error
from plain_ngrams import ngram_row

import charlstm
from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Vocab, kernels
from charlstm.network.layers.ngrams import (
    context_rows,
    history_codes,
    history_layers,
    read_history,
    symbol_codes,
    table_gradient,
    write_history,
)
from charlstm.network.model import copy_weights_by_symbol
from charlstm.training.optimizers import RowAdaGrad
from charlstm.training.trainer import Trainer

VOCAB = Vocab.from_text("abcde")


def make(V=5, seed=0, **options):
    config = ModelConfig(**{"hidden": 3, "layers": 1, "dtype": "float64", **options})
    model = CharModel(config, Vocab.from_text("abcdefghij"[:V]), seed=seed)
    if config.ngrams:
        table = model.parameters["ngrams.W"]
        table[...] = np.random.default_rng(seed).normal(size=table.shape)
    return model


# -- the rows of contexts --------------------------------------------------------------------------


@pytest.mark.parametrize("R", [1, 7, 65_536, 2**24])
@pytest.mark.parametrize("longest", [2, 3, 16])
def test_rows_equal_the_definition_of_the_hash(R, longest):
    rng = np.random.default_rng(0)
    codes = rng.integers(2**32, size=(longest - 1 + 6, 3), dtype=np.uint64)
    rows = context_rows(codes, 6, R).reshape(6, 3, longest - 1)
    for t in range(6):
        for b in range(3):
            newest_first = [int(code) for code in codes[: t + longest, b][::-1]]
            expected = [ngram_row(newest_first[:n], R) for n in range(2, longest + 1)]
            assert rows[t, b].tolist() == expected


def test_rows_spread_over_the_table():
    codes = symbol_codes("abcdefghijklmnopqrstuvwxyz")
    pairs = np.array([(a, b) for a in codes for b in codes]).T
    rows = context_rows(pairs, 1, 1000).reshape(-1)
    counts = np.bincount(rows, minlength=1000)
    # 729 random contexts are expected to take 1000 * (1 - 0.999^729) = 518 of 1,000 rows
    assert 480 < (counts > 0).sum() < 560 and counts.max() <= 7


def test_codes_depend_on_the_symbols_and_not_on_their_ids():
    assert symbol_codes("ab").tolist() == [0, 1 + zlib.crc32(b"a"), 1 + zlib.crc32(b"b")]
    assert symbol_codes(("é", "\ud800")).tolist()[1] == 1 + zlib.crc32("é".encode())


def test_rows_are_added_to_logits_and_receive_their_gradient():
    rng = np.random.default_rng(1)
    table, logits = rng.normal(size=(4, 3)), rng.normal(size=(2, 3))
    rows = np.array([[1, 1], [3, 1]])
    expected = np.add(logits, [2 * table[1], table[3] + table[1]])
    dlogits, gradient = rng.normal(size=(2, 3)), np.full((4, 3), np.nan)
    table_gradient(rows, dlogits, gradient)
    kernels.add_ngram_logits(table, rows, logits)
    assert np.allclose(logits, expected, rtol=1e-15)
    zero = np.zeros(3)
    wanted = [zero, 2 * dlogits[0] + dlogits[1], zero, dlogits[1]]
    assert np.allclose(gradient, wanted, rtol=1e-15)


# -- the history in the state ----------------------------------------------------------------------


@pytest.mark.parametrize(("longest", "parts", "H", "layers"), [
    (0, 2, 8, 0), (2, 2, 8, 1), (16, 2, 8, 1), (16, 2, 7, 2), (16, 1, 1, 15), (3, 1, 1, 2),
])  # fmt: skip
def test_history_is_read_as_it_was_written(longest, parts, H, layers):
    assert history_layers(longest, parts, H) == layers
    if not longest:
        return
    rng = np.random.default_rng(0)
    history = rng.integers(2**24, size=(longest - 1, 4))
    state = np.full((layers, parts, 4, H), np.nan, np.float32)
    write_history(history, state)
    assert np.array_equal(read_history(state, longest, 2**24), history)
    codes = rng.integers(2**32, size=2**24 + 1, dtype=np.uint64)
    assert np.array_equal(history_codes(state, longest, codes), codes[history][::-1].T)


def test_numbers_that_are_no_symbols_are_read_as_valid_ids():
    state = np.array([np.inf, -np.inf, 1e38, -3]).reshape(1, 1, 1, 4)
    assert read_history(state, 5, 9).ravel().tolist() == [9, 0, 9, 0]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("hidden", [1, 6])
def test_windows_of_any_lengths_give_equal_losses(cell, hidden):
    model = make(cell=cell, hidden=hidden, layers=2, ngrams=5, ngram_slots=97)
    ids = np.random.default_rng(0).integers(5, size=(12, 3))
    expected, end = model.losses(ids[:-1], ids[1:], model.initial_state(3))
    state, windows = model.initial_state(3), []
    for first, last in ((0, 1), (1, 2), (2, 7), (7, 11)):
        losses, state = model.losses(ids[first:last], ids[first + 1 : last + 1], state)
        windows.append(losses)
    assert relative_error(np.concatenate(windows), expected) < 1e-14
    assert relative_error(state, end) < 1e-14
    state = model.initial_state(3)
    for step in range(11):
        log_probs, state = model.step(ids[step], state)
        assert np.allclose(-log_probs[np.arange(3), ids[step + 1]], expected[step], rtol=1e-12)


def test_table_of_zeros_changes_nothing():
    with_table, plain = make(ngrams=4, ngram_slots=11), make()
    with_table.parameters["ngrams.W"][...] = 0
    assert np.array_equal(*(m.score("abcdeabcde").nats for m in (with_table, plain)))
    assert with_table.sample(50, seed=1) == plain.sample(50, seed=1)


# -- learning ------------------------------------------------------------------------------------


def test_adagrad_changes_only_the_rows_of_a_step():
    rng = np.random.default_rng(0)
    table, squares, rate = rng.normal(size=(10, 3)), np.zeros(10), 0.5
    optimizer, expected = RowAdaGrad(table), table.copy()
    for _ in range(4):
        rows, dlogits = rng.integers(8, size=(6, 2)), rng.normal(size=(6, 3))
        for k in range(10):
            gradient = sum((dlogits[n] * (rows[n] == k).sum() for n in range(6)), np.zeros(3))
            squares[k] += gradient @ gradient
            if squares[k]:
                expected[k] -= rate * gradient / np.sqrt(squares[k])
        for span in (slice(0, 5), slice(5, 10)):
            optimizer.update(table, span, rows, dlogits, rate)
    assert relative_error(table, expected) < 1e-10
    assert np.array_equal(table[8:], expected[8:]) and (squares[8:] == 0).all()
    assert relative_error(optimizer.squares, squares) < 1e-12


def test_first_step_of_a_row_has_the_norm_of_the_rate():
    table = np.zeros((3, 4), np.float32)
    RowAdaGrad(table).update(
        table, slice(0, 3), np.array([[1]]), np.full((1, 4), 1e-4, np.float32), 0.25
    )
    assert np.linalg.norm(table[1]) == pytest.approx(0.25, rel=1e-5)
    assert not table[[0, 2]].any()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_trained_row_moves_less_in_its_first_step_than_an_empty_row(reduction):
    model = make(ngrams=2, ngram_slots=1_000)
    table = model.parameters["ngrams.W"]
    table[:500], table[500:] = 0.5, 0.0
    before = table.copy()
    ids = np.random.default_rng(3).integers(5, size=200)
    config = TrainConfig(batch_size=2, seq_length=8, ngram_lr=0.25, reduction=reduction)
    Trainer(model, ids, config).step()
    moved = np.linalg.norm(table - before, axis=1)
    trained, empty = (part[part > 0] for part in (moved[:500], moved[500:]))
    assert empty == pytest.approx(0.25, rel=1e-3) and len(trained) > 2
    assert (trained > 0.01).all() and (trained < 0.25).all()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_training_step_follows_the_gradient_for_any_number_of_workers(workers):
    model = make(ngrams=3, ngram_slots=19)
    before = model.parameters["ngrams.W"].copy()
    ids = np.random.default_rng(3).integers(5, size=200)
    config = TrainConfig(
        batch_size=5, seq_length=6, workers=workers, recut=False, ngram_lr=0.1, clip=1e-3
    )
    trainer = Trainer(model, ids, config)
    windows = ids[np.arange(7)[:, None] + 40 * np.arange(5)]
    _, gradients, _ = model.loss_and_gradients(windows[:-1], windows[1:])
    gradient = gradients["ngrams.W"]
    trainer.step()
    trainer.close()
    norms = np.linalg.norm(gradient, axis=1, keepdims=True)
    roots = np.hypot(norms, np.linalg.norm(before, axis=1, keepdims=True) / 30)  # 30 predictions
    expected = before - 0.1 * gradient / np.where(norms > 0, roots, 1)
    assert (norms > 0).sum() > 5
    assert relative_error(model.parameters["ngrams.W"], expected) < 1e-10


def test_table_learns_which_symbol_follows_a_context(tmp_path):
    """The network has a single unit. Two symbols tell the next one, one symbol does not."""
    text = tmp_path / "text.txt"
    text.write_text("abac" * 500 + "abad" * 500 + "abac" * 500)
    options = {"hidden": 1, "layers": 1, "steps": 60, "batch_size": 4, "seq_length": 10, "seed": 1}
    options["reset"] = 0.0
    losses = {}
    for ngrams in (0, 2, 3):
        run = charlstm.train(text, tmp_path / str(ngrams), ngrams=ngrams, **options)
        losses[ngrams] = run.best_val_loss
    assert losses[3] < 0.1 < 0.4 < losses[0]


def test_weights_are_copied_to_another_vocabulary_by_the_symbol():
    source, target = (
        make(V=4, ngrams=3, ngram_slots=31),
        make(V=6, seed=1, ngrams=3, ngram_slots=31),
    )
    copy_weights_by_symbol(source, target)
    table, old = target.parameters["ngrams.W"], source.parameters["ngrams.W"]
    assert np.array_equal(table[:, :4], old)
    ids = source.vocab.encode("abdcabca").astype(np.intp)[:, None]
    rows = []
    for model in (source, target):
        activations = model.new_activations(*ids.shape)
        model.forward(ids, model.initial_state(1), activations)
        rows.append(activations.ngram_rows)
    assert np.array_equal(*rows)


@pytest.mark.parametrize(("options", "message"), [
    ({"ngrams": 1}, "`ngrams` must be 0, or 2 to 16"),
    ({"ngrams": 17}, "`ngrams` must be 0, or 2 to 16"),
    ({"ngrams": 3, "ngram_slots": 0}, "`ngram_slots` must be 1 to 16,777,216"),
])  # fmt: skip
def test_bad_table_sizes_are_refused(options, message):
    with pytest.raises(CharlstmError, match=message):
        ModelConfig(**options)


def test_bad_learning_rate_is_refused():
    with pytest.raises(CharlstmError, match="`ngram_lr` must be 0 to 100"):
        TrainConfig(ngram_lr=-1.0)
