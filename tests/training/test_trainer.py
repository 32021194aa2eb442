"""A step of the trainer: its gradient, clipping, carried state, dropout, average and ids."""

import numpy as np
import pytest
from oracles import relative_error
from small_trainers import IDS, VOCAB, make_trainer, take_steps

from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Trainer, Vocab
from charlstm.network.dropout import Dropout, Masks
from charlstm.seeds import generator
from charlstm.system.threads import one_blas_thread
from charlstm.text.batches import StreamBatches
from charlstm.training import optimizers


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_losses_do_not_depend_on_the_number_of_workers(dtype, bound, optimizer):
    options = {"dtype": dtype, "optimizer": optimizer, "clip": 0.5, "lr": 0.01}
    options |= {"dropout": 0.3, "weight_dropout": 0.2}
    expected, one = take_steps(5, **options)
    for workers in (2, 3, 5):
        losses, many = take_steps(5, workers=workers, **options)
        assert many.config.workers == workers
        assert np.allclose(losses, expected, rtol=bound, atol=0)
        assert relative_error(many.gradient_norm, one.gradient_norm) < 10 * bound


def test_the_same_number_of_workers_gives_the_same_bits():
    one, a = take_steps(5, workers=2, dropout=0.2)
    two, b = take_steps(5, workers=2, dropout=0.2)
    assert one == two
    assert a.model.parameters.vector.tobytes() == b.model.parameters.vector.tobytes()


def test_there_are_no_more_workers_than_streams():
    trainer = make_trainer(batch_size=2, workers=8)
    assert trainer.config.workers == 2
    trainer.close()


def first_window():
    batches = StreamBatches(IDS, 5, 9, generator(4, "batches"))
    window = batches.next_window()
    return window[:-1], window[1:]


@pytest.mark.parametrize("clip", [0.0, 0.05, 100.0])
def test_a_step_is_the_gradient_clipped_by_norm(clip):
    trainer = make_trainer(dtype="float64", optimizer="sgd", beta1=0.0, lr=0.7, clip=clip)
    before = trainer.model.parameters.vector.copy()
    loss, gradients, _ = trainer.model.loss_and_gradients(*first_window())
    gradient = np.concatenate([array.ravel() for array in gradients.values()])
    norm = np.linalg.norm(gradient)
    assert norm > 0.05
    assert trainer.step() == pytest.approx(loss, rel=1e-12)
    assert trainer.gradient_norm == pytest.approx(norm, rel=1e-12)
    factor = min(1.0, clip / norm) if clip else 1.0
    expected = before - 0.7 * factor * gradient
    assert relative_error(trainer.model.parameters.vector, expected) < 1e-14


def test_a_step_is_the_gradient_clipped_by_value():
    trainer = make_trainer(
        dtype="float64", optimizer="sgd", beta1=0.0, lr=1.0, clip=0.0, clip_value=0.002
    )
    before = trainer.model.parameters.vector.copy()
    _, gradients, _ = trainer.model.loss_and_gradients(*first_window())
    gradient = np.concatenate([array.ravel() for array in gradients.values()])
    trainer.step()
    change = before - trainer.model.parameters.vector
    assert np.abs(change).max() == pytest.approx(0.002)
    assert np.allclose(change, gradient.clip(-0.002, 0.002), atol=1e-15)


def test_the_state_is_carried_within_a_pass_but_not_into_the_next():
    # the weights do not change, so that steps differ only by the state
    trainer = make_trainer(dtype="float64", optimizer="sgd", beta1=0.0, lr=1e-300)
    batches = StreamBatches(IDS, 5, 9, generator(4, "batches"))
    state = None
    for _ in range(batches.windows_per_pass + 2):
        if batches.begins_text.all():
            state = None
        window = batches.next_window()
        loss, _, state = trainer.model.loss_and_gradients(window[:-1], window[1:], state)
        assert trainer.step() == pytest.approx(loss, rel=1e-12)
    assert trainer.epoch == 1


def test_dropout_masks_are_fixed_within_a_window_and_new_for_each():
    p = 0.4
    trainer = make_trainer(dtype="float64", optimizer="sgd", beta1=0.0, lr=1e-300, dropout=p)
    batches, rng = StreamBatches(IDS, 5, 9, generator(4, "batches")), generator(4, "dropout")
    model, state = trainer.model, trainer.model.initial_state(5)
    activations = model.new_activations(9, 5, dropout=True)
    for _ in range(3):
        window = batches.next_window()
        masks = (rng.random((2, 5, 11), np.float32) >= p) / (1 - p)
        state = model.forward(window[:-1], state, activations, Masks(masks[:1], masks[1:]))
        expected = -activations.log_probs[np.arange(45), window[1:].ravel()].mean()
        assert trainer.step() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.998])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-6), ("float64", 1e-14)])
def test_average_of_the_weights_after_each_step(monkeypatch, decay, dtype, bound):
    """Against the published recurrence in float64; two workers have several blocks each."""
    monkeypatch.setattr(optimizers, "BLOCK", 4_096)
    trainer = make_trainer(hidden=28, dtype=dtype, average=decay, lr=0.02, clip=1.0, workers=2)
    assert len(trainer.model.parameters.vector) > 2 * 4_096
    weights, average = trainer.model.parameters.vector, trainer.averaged.parameters.vector
    expected = weights.astype(np.float64)
    with one_blas_thread():  # BLAS takes long to share out such small vectors
        for step in range(1, 26):
            trainer.step()
            kept = min(decay, (1 + step) / (10 + step))
            expected = kept * expected + (1 - kept) * weights
            assert relative_error(average, expected) < bound
    assert relative_error(average, weights) > 1e-3
    trainer.close()


def test_the_average_begins_as_a_copy_and_draws_no_weights(monkeypatch):
    model, seeds = CharModel(ModelConfig(hidden=5), VOCAB, seed=1), []
    init = CharModel.__init__
    monkeypatch.setattr(
        CharModel, "__init__", lambda *given, seed: seeds.append(seed) or init(*given, seed=seed)
    )
    trainer = Trainer(model, IDS, TrainConfig(average=0.9, workers=1))
    assert seeds == [None]
    average = trainer.averaged.parameters.vector
    assert np.array_equal(average, model.parameters.vector)
    assert not np.shares_memory(average, model.parameters.vector)


def test_the_average_does_not_change_the_training():
    expected, without = take_steps(6, workers=2)
    losses, trainer = take_steps(6, workers=2, average=0.9)
    assert losses == expected and without.averaged is None
    weights = trainer.model.parameters.vector
    assert weights.tobytes() == without.model.parameters.vector.tobytes()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_step_with_weight_dropout_is_the_gradient_of_the_remaining_weights(workers):
    options = {"optimizer": "sgd", "beta1": 0.0, "lr": 0.7, "clip": 0.0, "weight_dropout": 0.4}
    trainer = make_trainer(dtype="float64", workers=workers, **options)
    model, before = trainer.model, trainer.model.parameters.vector.copy()
    left = [model.parameters[f"layers.{k}.Wh"] for k in range(2)]
    dropout = Dropout(model.config, trainer.config, 5, left, generator(4, "dropout"))
    masks = dropout.draw()
    assert all(0.3 < (dropped.factors == 0).mean() < 0.5 for dropped in masks.recurrent)
    for Wh, dropped in zip(left, masks.recurrent, strict=True):
        Wh *= dropped.factors
    loss, gradients, _ = model.loss_and_gradients(*first_window())
    for k, dropped in enumerate(masks.recurrent):
        gradients[f"layers.{k}.Wh"] *= dropped.factors
    gradient = np.concatenate([array.ravel() for array in gradients.values()])
    model.parameters.vector[...] = before
    assert trainer.step() == pytest.approx(loss, rel=1e-12)
    assert relative_error(model.parameters.vector, before - 0.7 * gradient) < 1e-14
    trainer.close()


def test_a_repetitive_text_is_learned():
    text = "abcde\n" * 60
    vocab = Vocab.from_text(text)
    model = CharModel(ModelConfig(hidden=16, layers=1), vocab)
    trainer = Trainer(model, vocab.encode(text), TrainConfig(batch_size=4, seq_length=12, lr=0.02))
    losses = [trainer.step() for _ in range(120)]
    trainer.close()
    assert losses[0] == pytest.approx(np.log(6), abs=0.3)
    assert losses[-1] < 0.1
    assert model.sample(12, prime="\n", temperature=0) == "abcde\nabcde\n"


def test_memory_mapped_ids_give_the_same_losses_as_ids_in_memory(tmp_path):
    np.save(tmp_path / "ids.npy", IDS.astype(np.uint8))
    expected, _ = take_steps(4, ids=IDS.astype(np.int64))
    assert take_steps(4, ids=np.load(tmp_path / "ids.npy", mmap_mode="r"))[0] == expected
    assert take_steps(4, ids=IDS.astype(np.uint8))[0] == expected


@pytest.mark.parametrize(
    "ids",
    [
        IDS.astype(float),
        IDS.reshape(2, -1)[:, :10] if len(IDS) % 2 == 0 else IDS[None],
        IDS.tolist(),
        "text",
    ],
)
def test_ids_of_another_type_or_shape_are_refused(ids):
    with pytest.raises(CharlstmError, match="`ids` must be a 1-D array of whole numbers"):
        make_trainer(ids=ids)


@pytest.mark.parametrize("bad", [len(VOCAB), 250, -7, -1])
def test_ids_in_memory_outside_the_vocabulary_are_refused_at_once(bad):
    ids = np.zeros(500, np.int16)
    ids[400] = bad
    with pytest.raises(CharlstmError, match=f"`ids` must be 0 to {len(VOCAB) - 1}, not {bad}$"):
        make_trainer(ids=ids)


@pytest.mark.parametrize("bad", [len(VOCAB), 250, -7, -1])
def test_mapped_ids_outside_the_vocabulary_are_refused_before_any_change(bad, tmp_path):
    np.full(500, bad, np.int16).tofile(tmp_path / "ids")
    trainer = make_trainer(ids=np.memmap(tmp_path / "ids", np.int16, "r").view(np.ndarray)[1:])
    before = trainer.model.parameters.vector.copy()
    with pytest.raises(
        CharlstmError, match=f"`ids` must be 0 to {len(VOCAB) - 1} for this vocabulary"
    ):
        trainer.step()
    assert (trainer.model.parameters.vector == before).all()


def test_a_tiny_text_has_fewer_streams():
    trainer = make_trainer(ids=IDS[:30], batch_size=50, seq_length=20)
    assert (trainer.config.batch_size, trainer.config.seq_length) == (1, 20)
    assert trainer.symbols_per_step == 20
    assert np.isfinite(trainer.step())
    with pytest.raises(CharlstmError, match="too small to learn from"):
        make_trainer(ids=IDS[:1])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_closed_trainer_makes_no_step(workers):
    with make_trainer(workers=workers) as trainer:
        trainer.step()
    with pytest.raises(CharlstmError, match="`close` has ended the worker threads"):
        trainer.step()


def test_epochs_are_converted_to_steps():
    trainer = make_trainer(epochs=2.5)
    assert trainer.total_steps == round(2.5 * trainer.batches.windows_per_pass)
    for _ in range(2 * trainer.batches.windows_per_pass):
        trainer.step()
    assert trainer.epoch == 2
    assert make_trainer(steps=7).total_steps == 7 and make_trainer().total_steps is None
