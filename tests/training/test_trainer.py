"""Trainer: one step by hand, workers, carried state, saving; as a library uses it."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from corpus_files import make_text
from oracles import relative_error
from threadpoolctl import threadpool_info, threadpool_limits

from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Trainer, Vocab
from charlstm.network.dropout import Dropout, Masks
from charlstm.seeds import generator
from charlstm.text.batches import StreamBatches
from charlstm.training import optimizers

TEXT = make_text(60)
VOCAB = Vocab.from_text(TEXT)
IDS = VOCAB.encode(TEXT)


def make(ids=IDS, hidden=11, layers=2, dtype="float32", skip=False, **options):
    config = ModelConfig(hidden=hidden, layers=layers, dtype=dtype, skip=skip)
    model = CharModel(config, VOCAB, seed=1)
    options = {
        "batch_size": 5,
        "seq_length": 9,
        "workers": 1,
        "seed": 4,
        "precision": "float32",
    } | options
    return Trainer(model, ids, TrainConfig(**options))


def trained(steps, **options):
    """Losses and trainer after some steps."""
    trainer = make(**options)
    losses = [trainer.step() for _ in range(steps)]
    trainer.close()
    return losses, trainer


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_losses_do_not_depend_on_the_number_of_workers(dtype, bound, optimizer):
    options = {"dtype": dtype, "optimizer": optimizer, "clip": 0.5, "lr": 0.01}
    options |= {"dropout": 0.3, "weight_dropout": 0.2}
    expected, one = trained(5, **options)
    for workers in (2, 3, 5):
        losses, many = trained(5, workers=workers, **options)
        assert many.config.workers == workers
        assert np.allclose(losses, expected, rtol=bound, atol=0)
        assert relative_error(many.gradient_norm, one.gradient_norm) < 10 * bound


def test_the_same_number_of_workers_gives_the_same_bits():
    one, a = trained(5, workers=2, dropout=0.2)
    two, b = trained(5, workers=2, dropout=0.2)
    assert one == two
    assert a.model.parameters.vector.tobytes() == b.model.parameters.vector.tobytes()


def test_more_workers_than_lanes_are_not_started():
    trainer = make(batch_size=2, workers=8)
    assert trainer.config.workers == 2
    trainer.close()


def state_of(trainer):
    return trainer.arrays(), trainer.to_dict()


def restore(trainer, arrays, saved):
    trainer.load_arrays(arrays)
    trainer.load_dict(saved)


def first_window():
    batches = StreamBatches(IDS, 5, 9, generator(4, "batches"))
    window = batches.next_window()
    return window[:-1], window[1:]


@pytest.mark.parametrize("clip", [0.0, 0.05, 100.0])
def test_one_step_is_the_gradient_clipped_by_norm(clip):
    trainer = make(dtype="float64", optimizer="sgd", beta1=0.0, lr=0.7, clip=clip)
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


def test_one_step_is_the_gradient_clipped_by_value():
    trainer = make(dtype="float64", optimizer="sgd", beta1=0.0, lr=1.0, clip=0.0, clip_value=0.002)
    before = trainer.model.parameters.vector.copy()
    _, gradients, _ = trainer.model.loss_and_gradients(*first_window())
    gradient = np.concatenate([array.ravel() for array in gradients.values()])
    trainer.step()
    change = before - trainer.model.parameters.vector
    assert np.abs(change).max() == pytest.approx(0.002)
    assert np.allclose(change, gradient.clip(-0.002, 0.002), atol=1e-15)


def test_state_is_carried_within_a_pass_and_not_into_the_next():
    # weights stand still, so that only the state tells the steps apart
    trainer = make(dtype="float64", optimizer="sgd", beta1=0.0, lr=1e-300)
    batches = StreamBatches(IDS, 5, 9, generator(4, "batches"))
    state = None
    for _ in range(batches.windows_per_pass + 2):
        if batches.starts_afresh:
            state = None
        window = batches.next_window()
        loss, _, state = trainer.model.loss_and_gradients(window[:-1], window[1:], state)
        assert trainer.step() == pytest.approx(loss, rel=1e-12)
    assert trainer.epoch == 1


def test_dropout_masks_are_fixed_over_a_window_and_drawn_anew_for_each():
    p = 0.4
    trainer = make(dtype="float64", optimizer="sgd", beta1=0.0, lr=1e-300, dropout=p)
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
    """The recurrence as published, in float64, over spans of two workers of several blocks each."""
    monkeypatch.setattr(optimizers, "BLOCK", 16_384)
    trainer = make(hidden=60, dtype=dtype, average=decay, lr=0.02, clip=1.0, workers=2)
    assert len(trainer.model.parameters.vector) > 2 * 16_384
    weights, average = trainer.model.parameters.vector, trainer.averaged.parameters.vector
    expected = weights.astype(np.float64)
    for step in range(1, 26):
        trainer.step()
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weights
        assert relative_error(average, expected) < bound
    assert relative_error(average, weights) > 1e-3
    trainer.close()


def test_average_leaves_the_training_as_it_is():
    expected, without = trained(6, workers=2)
    losses, trainer = trained(6, workers=2, average=0.9)
    assert losses == expected and without.averaged is None
    weights = trainer.model.parameters.vector
    assert weights.tobytes() == without.model.parameters.vector.tobytes()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_step_with_weight_dropout_is_the_gradient_of_the_weights_that_are_left(workers):
    options = {"optimizer": "sgd", "beta1": 0.0, "lr": 0.7, "clip": 0.0, "weight_dropout": 0.4}
    trainer = make(dtype="float64", workers=workers, **options)
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


def test_learns_a_text_that_repeats():
    text = "abcde\n" * 60
    vocab = Vocab.from_text(text)
    model = CharModel(ModelConfig(hidden=16, layers=1), vocab)
    trainer = Trainer(model, vocab.encode(text), TrainConfig(batch_size=4, seq_length=12, lr=0.02))
    losses = [trainer.step() for _ in range(120)]
    trainer.close()
    assert losses[0] == pytest.approx(np.log(6), abs=0.3)
    assert losses[-1] < 0.1
    assert model.sample(12, prime="\n", temperature=0) == "abcde\nabcde\n"


def test_memory_mapped_ids_train_as_those_in_memory(tmp_path):
    np.save(tmp_path / "ids.npy", IDS.astype(np.uint8))
    expected, _ = trained(4, ids=IDS.astype(np.int64))
    assert trained(4, ids=np.load(tmp_path / "ids.npy", mmap_mode="r"))[0] == expected
    assert trained(4, ids=IDS.astype(np.uint8))[0] == expected


@pytest.mark.parametrize(
    "ids", [IDS.astype(float), IDS.reshape(2, -1)[:, :10] if len(IDS) % 2 == 0 else IDS[None]]
)
def test_bad_ids_are_refused(ids):
    with pytest.raises(CharlstmError, match="ids must be a 1-D array of whole numbers"):
        make(ids=ids)


@pytest.mark.parametrize("bad", [len(VOCAB), 250, -7, -1])
def test_ids_outside_the_vocabulary_are_refused_and_change_nothing(bad):
    trainer = make(ids=np.full(500, bad, np.int16))
    before = trainer.model.parameters.vector.copy()
    with pytest.raises(CharlstmError, match=f"ids must be 0 to {len(VOCAB) - 1}"):
        trainer.step()
    assert (trainer.model.parameters.vector == before).all()


def test_tiny_corpus_gets_fewer_lanes():
    trainer = make(ids=IDS[:30], batch_size=50, seq_length=20)
    assert (trainer.config.batch_size, trainer.config.seq_length) == (1, 20)
    assert trainer.characters_per_step == 20
    assert np.isfinite(trainer.step())
    with pytest.raises(CharlstmError, match="too small to learn from"):
        make(ids=IDS[:1])


def test_epochs_are_counted_in_steps():
    trainer = make(epochs=2.5)
    assert trainer.total_steps == round(2.5 * trainer.batches.windows_per_pass)
    for _ in range(2 * trainer.batches.windows_per_pass):
        trainer.step()
    assert trainer.epoch == 2
    assert make(steps=7).total_steps == 7 and make().total_steps is None


SAVING = [
    {"dropout": 0.3, "optimizer": "sgd", "beta1": 0.9},
    {"dropout": 0.3, "optimizer": "adam", "schedule": "cosine", "steps": 40, "warmup": 5},
    {"dropout": 0.3, "reset": 0.1, "average": 0.95, "workers": 2},
    {"optimizer": "rmsprop", "weight_decay": 0.1, "schedule": "plateau", "patience": 1},
    {"dropout": 0.1, "schedule": "step", "decay_every": 1, "workers": 2},
    {"recut": False, "average": 0.5},
    {"skip": True, "dropout": 0.2, "average": 0.9},
    {"dropout": 0.1, "dropout_between": 0.0, "weight_dropout": 0.4, "reset": 0.3, "workers": 2},
    {"schedule": "halve-on-rise", "lr": 1.0, "optimizer": "sgd"},
]


@pytest.mark.parametrize("after", [0, 1, 13, 31])
@pytest.mark.parametrize("options", SAVING)
def test_resume_goes_on_bit_for_bit_from_any_step(options, after):
    """A pass has 15 steps: 0, 1 and 13 lie in the first, 31 in the third."""
    whole, losses = make(ids=IDS[:700], **options), []
    assert whole.batches.windows_per_pass == 15
    for step in range(40):
        if step == after:
            arrays, progress = state_of(whole)
            arrays = {name: array.copy() for name, array in arrays.items()}
            progress = json.loads(json.dumps(progress))
            weights = whole.model.parameters.vector.copy()
        losses.append(whole.step())
        whole.schedule.observe(losses[-1])
    again = make(ids=IDS[:700], **options)
    again.model.parameters.vector[:] = weights
    restore(again, arrays, progress)
    assert again.steps_done == after
    for loss in losses[after:]:
        assert again.step() == loss
        again.schedule.observe(loss)
    assert again.model.parameters.vector.tobytes() == whole.model.parameters.vector.tobytes()
    assert again.state.tobytes() == whole.state.tobytes()
    assert (again.epoch, again.learning_rate) == (whole.epoch, whole.learning_rate)
    for name, moments in whole.optimizer.moments.items():
        assert again.optimizer.moments[name].tobytes() == moments.tobytes()
    if whole.averaged is not None:
        averages = [trainer.averaged.parameters.vector.tobytes() for trainer in (again, whole)]
        assert averages[0] == averages[1]
    whole.close()
    again.close()


def test_what_does_not_fit_is_not_restored():
    arrays, progress = state_of(make(optimizer="sgd"))
    with pytest.raises(CharlstmError, match=r"the saved moments\.mean does not fit this run"):
        restore(make(optimizer="adam"), arrays, progress)
    arrays, progress = state_of(make())
    with pytest.raises(CharlstmError, match="the saved average does not fit this run"):
        restore(make(average=0.9), arrays, progress)
    arrays, progress = state_of(make(batch_size=4))
    with pytest.raises(CharlstmError, match="the saved state does not fit this run"):
        restore(make(batch_size=5), arrays, progress)


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_threads_are_limited_in_a_step_and_as_before_after_it(monkeypatch):
    seen = []
    trainer = make(workers=2)
    forward = trainer.model.forward

    def watched(*arguments):
        seen.append(blas_threads())
        return forward(*arguments)

    monkeypatch.setattr(trainer.model, "forward", watched)
    with threadpool_limits(2, "blas"):
        trainer.step()
        assert seen == [{1}, {1}]
        assert blas_threads() == {2}
    trainer.close()


def test_blas_threads_are_as_before_after_two_trainers_in_two_threads():
    expected, _ = trained(30)
    losses = [[], []]
    end = threading.Barrier(3)

    def work(k):
        losses[k] = trained(30)[0]
        end.wait(20)  # while the other lives

    with threadpool_limits(2, "blas"):
        pass  # whoever controls BLAS has let go
    before = blas_threads()
    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    end.wait(20)
    assert blas_threads() == before
    for thread in threads:
        thread.join()
    assert losses == [expected, expected]


def test_closing_ends_the_threads():
    before = threading.active_count()
    trainer = make(workers=3)
    trainer.step()
    trainer.close()
    assert threading.active_count() == before


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it this way")
def test_memory_is_flat_once_training_is_under_way():
    """With 2x128, 50 batch_size and windows of 50 it was measured flat over 5,000 steps."""
    vocab = Vocab.from_text("abcdefgh")
    ids = np.random.default_rng(0).integers(8, size=20_000).astype(np.uint8)
    model = CharModel(ModelConfig(hidden=32, layers=2), vocab)
    trainer = Trainer(model, ids, TrainConfig(batch_size=16, seq_length=20, dropout=0.1, workers=2))
    for _ in range(100):
        trainer.step()
    before = resident_bytes()
    for _ in range(400):
        trainer.step()
    trainer.close()
    # a leak of one worker's activations at each step would be a hundred times that
    assert resident_bytes() - before < 2_000_000
