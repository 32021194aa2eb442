"""The native training step against the step layer by layer, for any number of workers and teams."""

import concurrent.futures
import contextlib
import threading
import time

import numpy as np
import pytest
from oracles import relative_error
from small_trainers import IDS, VOCAB

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer, Vocab, kernels
from charlstm.errors import CharlstmError
from charlstm.kernels import native_team
from charlstm.system.threads import Cancelled
from charlstm.training import native_step
from charlstm.training.engine import NativeEngine
from charlstm.training.layerwise_step import LayerwiseStep
from charlstm.training.native_step import NativeStep, team_count

if kernels.BACKEND != "native":
    pytest.skip("no native kernels here", allow_module_level=True)

MODEL = {"hidden": 37, "layers": 2, "dtype": "float32"}
TRAIN = {"batch_size": 7, "seq_length": 9, "seed": 4, "precision": "float32"}
LONG = np.tile(IDS, 100)  # a text of which no pass ends, where the states would be zero again
TABLE = {"ngrams": 5, "ngram_slots": 97}
PRECISIONS = ("float32", "bfloat16")[: 1 + kernels.multiplies_bfloat16()]
# Settings of the model and of the training.
SETTINGS = {
    "plain": ({}, {}),
    "one layer": ({"layers": 1}, {"clip": 0.01}),
    "one unit": ({"hidden": 1}, {}),
    "three layers with skip connections": ({"layers": 3, "skip": True}, {"clip_value": 1e-3}),
    "capped, dropout": ({"layers": 1, "capped": True}, {"dropout": 0.3}),
    "dropout of one kind": ({"layers": 3}, {"dropout": 0.0, "dropout_between": 0.4}),
    "all dropout": ({"skip": True}, {"dropout": 0.2, "weight_dropout": 0.3}),
    "table": ({"layers": 1, **TABLE}, {"average": 0.9, "ngram_lr": 0.2}),
    "everything": (
        {"layers": 3, "skip": True, "capped": True, **TABLE},
        {"dropout": 0.2, "weight_dropout": 0.1, "average": 0.9, "reset": 0.2, "clip": 0.02,
         "weight_decay": 0.1, "ngram_lr": 0.2, "schedule": "cosine", "steps": 9},
    ),
    "momentum": ({}, {"optimizer": "sgd", "beta1": 0.5, "reduction": "sum"}),
    "panels of odd widths": ({"hidden": 130, "skip": True}, {"seq_length": 40, "batch_size": 24}),
    "many streams": ({"hidden": 20}, {"batch_size": 70, "seq_length": 3}),
}  # fmt: skip


def make_trainer(model=(), train=(), vocab=VOCAB, ids=IDS, engine=None):
    model = CharModel(ModelConfig(**MODEL | dict(model)), vocab, seed=1)
    return Trainer(model, ids, TrainConfig(**TRAIN | dict(train)), engine=engine)


class OneOfSeveral(NativeEngine):
    """An engine whose steps give their gradients to an exchange, which returns them."""

    def make_step(self, trained, config, dropout, workers):
        return super().make_step(trained, config, dropout, workers, lambda gradients: gradients)


def after_steps(trainer, steps=4):
    """The losses, norms and arrays of a trainer after some steps."""
    losses, norms = [], []
    for _ in range(steps):
        losses.append(trainer.step())
        norms.append(trainer.gradient_norm)
    trainer.close()
    arrays = {**trainer.model.parameters, **trainer.arrays()}
    return {"losses": np.array(losses), "norms": np.array(norms), **arrays}


@pytest.fixture
def layer_by_layer(monkeypatch):
    """A function that makes a trainer which steps layer by layer."""

    def make(*arguments, **options):
        with monkeypatch.context() as patched:
            patched.setattr(kernels, "can_train", lambda *_: False)
            trainer = make_trainer(*arguments, **options)
        assert isinstance(trainer._step, LayerwiseStep)
        return trainer

    return make


@pytest.mark.parametrize(("model", "train"), SETTINGS.values(), ids=SETTINGS)
def test_steps_equal_those_made_layer_by_layer(layer_by_layer, model, train):
    trainer = make_trainer(model, {**train, "workers": 2})
    assert isinstance(trainer._step, NativeStep)
    found, expected = after_steps(trainer), after_steps(layer_by_layer(model, train))
    assert set(found) == set(expected)
    for name in found:
        assert relative_error(found[name], expected[name]) < 1e-5, name


@pytest.mark.parametrize("name", ["everything", "momentum"])
def test_steps_equal_those_whose_gradients_are_exchanged(name):
    model, train = SETTINGS[name]
    trainer = make_trainer(model, train, engine=OneOfSeveral())
    assert isinstance(trainer._step, NativeStep) and not trainer._step._updates_natively
    found, expected = after_steps(trainer), after_steps(make_trainer(model, train))
    for each, array in expected.items():
        assert relative_error(found[each], array) < 1e-5, each


if kernels.multiplies_bfloat16():

    @pytest.mark.parametrize(("model", "train"), SETTINGS.values(), ids=SETTINGS)
    def test_steps_in_bfloat16_equal_those_made_layer_by_layer(layer_by_layer, model, train):
        """An error of rounding in one place changes the bfloat16 of another: hence the bound."""
        rounded = {**train, "precision": "bfloat16"}
        trainer = make_trainer(model, {**rounded, "workers": 2})
        assert isinstance(trainer._step, NativeStep)
        found, expected = after_steps(trainer), after_steps(layer_by_layer(model, rounded))
        in_float32 = after_steps(make_trainer(model, train))
        for name in found:
            of_precision = relative_error(in_float32[name], expected[name])
            assert relative_error(found[name], expected[name]) < max(1e-6, of_precision / 4), name
        assert relative_error(in_float32["norms"], expected["norms"]) > 1e-5


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("model", "train"), SETTINGS.values(), ids=SETTINGS)
def test_weights_are_the_same_bit_for_bit_for_any_workers_and_teams(
    monkeypatch, model, train, precision
):
    train = {**train, "precision": precision}
    expected = after_steps(make_trainer(model, {**train, "workers": 1}))
    most_members = -(-{**MODEL, **model}["hidden"] // 16)
    for workers, teams in ((2, 2), (2, 1), (3, 1), (6, 2), (6, 3), (7, 7)):
        if workers // teams > most_members:
            continue
        monkeypatch.setattr(native_step, "team_count", lambda *_, teams=teams: teams)
        found = after_steps(make_trainer(model, {**train, "workers": workers}))
        for name, array in found.items():
            assert np.array_equal(array, expected[name]), (name, workers, teams)


def test_many_more_workers_than_cores_end(monkeypatch):
    model, train = {"hidden": 530, "layers": 1}, {"batch_size": 33, "seq_length": 4}
    expected = after_steps(make_trainer(model, {**train, "workers": 1}), 2)
    for teams in (1, 3, 11, 33):
        monkeypatch.setattr(native_step, "team_count", lambda *_, teams=teams: teams)
        found = after_steps(make_trainer(model, {**train, "workers": 33}), 2)
        assert all(np.array_equal(found[name], expected[name]) for name in found), teams


@pytest.mark.parametrize("teams", [1, 3])
@pytest.mark.parametrize("worker", [0, 1])
def test_workers_end_if_one_of_them_fails_and_nothing_has_changed(monkeypatch, teams, worker):
    """Otherwise, the others would wait for it for ever."""
    monkeypatch.setattr(native_step, "team_count", lambda *_: teams)
    model, train = SETTINGS["everything"]
    trainer = make_trainer(model, {**train, "reset": 0.0, "workers": 3}, ids=LONG)
    trainer.step()
    run = kernels.NativeTrainingStep.run

    def failing(self, k):
        if k == worker:
            raise KeyboardInterrupt
        run(self, k)

    before = copied(trainer)
    concurrent.futures.wait(trainer.workers._together)  # until no thread is ready for a step
    with monkeypatch.context() as patched:
        patched.setattr(kernels.NativeTrainingStep, "run", failing)
        with pytest.raises(KeyboardInterrupt):
            trainer.step()
    assert changed_names(trainer, before) == []
    assert np.isfinite(trainer.step())
    trainer.close()


def test_a_step_that_is_stopped_at_any_time_changes_all_or_nothing():
    trainer = make_trainer({"hidden": 64, **TABLE}, {"workers": 3, "average": 0.9}, ids=LONG)
    trainer.step()
    native = trainer._step._native
    stop, end = threading.Event(), threading.Event()

    def stop_at_any_time():
        delays = np.random.default_rng(0)
        while not end.is_set():
            if stop.wait(1):
                stop.clear()
                time.sleep(delays.uniform(0, duration))
                native.stop()

    began = time.perf_counter()
    trainer.step()
    duration = 2 * (time.perf_counter() - began)
    thread = threading.Thread(target=stop_at_any_time)
    thread.start()
    outcomes = []
    for _ in range(100):
        before = copied(trainer)
        stop.set()
        with contextlib.suppress(Cancelled):
            trainer.step()
        outcomes.append(changed_names(trainer, before))
    end.set()
    thread.join()
    trainer.close()
    assert all(changed in ([], [*before]) for changed in outcomes)


def copied(trainer):
    """Copies of all arrays that a step changes."""
    arrays = {**trainer.model.parameters, **trainer.arrays()}
    return {name: array.copy() for name, array in arrays.items()}


def changed_names(trainer, before):
    """The names of the arrays that differ from their copies."""
    return [
        name for name, array in copied(trainer).items() if not np.array_equal(array, before[name])
    ]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_no_step_follows_one_that_was_interrupted_while_it_updated_the_weights(cell, monkeypatch):
    trainer = make_trainer({"cell": cell}, {"workers": 2, "optimizer": "sgd"})
    trainer.step()

    def failing(weights, gradient, span, rate, number):
        weights[span] -= rate * gradient[span]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trainer.optimizer, "update", failing)
        with pytest.raises(KeyboardInterrupt):
            trainer.step()
    with pytest.raises(CharlstmError, match="interrupted while it updated the weights"):
        trainer.step()
    trainer.close()


def test_a_step_layer_by_layer_that_fails_early_changes_nothing(monkeypatch):
    trainer = make_trainer({"cell": "gru", **TABLE}, {"workers": 2, "average": 0.9}, ids=LONG)
    trainer.step()
    before = copied(trainer)
    backward = CharModel.backward_activations

    def failing(self, *arguments):
        backward(self, *arguments)
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(CharModel, "backward_activations", failing)
        with pytest.raises(MemoryError):
            trainer.step()
    assert changed_names(trainer, before) == []
    assert np.isfinite(trainer.step())
    trainer.close()


def test_threads_are_ready_for_the_next_step_for_a_time(monkeypatch):
    monkeypatch.setattr(native_team, "available_cores", lambda: 3)
    monkeypatch.setattr(native_team, "PATIENCE", 60)
    trainer = make_trainer({}, {"workers": 3})
    expected = after_steps(make_trainer({}, {"workers": 1}), 2)
    losses = [trainer.step(), trainer.step()]
    assert losses == expected["losses"].tolist()
    ready = trainer.workers._together
    assert len(ready) == 2 and not any(future.done() for future in ready)
    trainer._step._native.stop()
    assert not concurrent.futures.wait(ready, 10).not_done
    trainer.close()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_reads_no_activations_of_earlier_steps(precision):
    """Lines of other lengths give windows of other lengths, in the same memory."""
    text = "".join("abcdefgh"[: 1 + k % 8] * (1 + k % 5) + "\n" for k in range(60))
    vocab = Vocab.from_text(text)
    config = ModelConfig(hidden=20, layers=2, skip=True, dtype="float32", lines=True)
    train = TrainConfig(batch_size=5, seq_length=48, precision=precision, workers=2, dropout=0.2)
    written = {f"{name} of layer {k}" for k in (0, 1) for name in ("h", "c", "gates", "tanh_c")}
    written |= {"dhead_input", "dout", "dh", "dc", "log_probs", "head_columns"}
    written |= {f"{name}_columns of layer {k}" for k in (0, 1) for name in "hx"}
    losses = []
    for damaged in (False, True):
        trainer = Trainer(CharModel(config, vocab, seed=1), vocab.encode(text), train)
        losses.append([])
        lengths = set()
        for _ in range(20):
            losses[-1].append(trainer.step())
            arrays = trainer._step._native._kept
            lengths.add(trainer._step._native._step.T)
            for name in written & set(arrays) if damaged else ():
                not_a_number = 0x7FC0 if arrays[name].dtype == np.uint16 else np.nan
                arrays[name][...] = not_a_number
        trainer.close()
        assert len(lengths) > 1
    assert losses[0] == losses[1]


def test_a_number_that_is_not_finite_reaches_the_loss_and_the_norm():
    trainer = make_trainer()
    trainer.model.parameters["layers.1.Wh"][3, 5] = np.nan
    assert np.isnan(trainer.step())
    assert np.isnan(trainer.gradient_norm)
    trainer.close()


def test_the_time_of_all_phases_is_that_of_the_step():
    trainer = make_trainer({"hidden": 64, **TABLE}, {"workers": 2, "batch_size": 32})
    trainer.step()
    seconds = trainer._step.measure()
    assert seconds.shape == (2, 9) and not seconds.any()
    trainer.step()
    trainer.close()
    assert (seconds.sum(axis=0) > 0).all()


def test_teams_have_enough_streams_and_small_enough_parts_of_the_weights():
    for workers in (1, 2, 3, 6, 8, 16, 33):
        for batch_size in (1, 7, 24, 50):
            for hidden in (5, 64, 160, 512, 1024):
                if workers > batch_size:
                    continue
                teams = team_count(workers, batch_size, hidden)
                assert workers % teams == 0 and 1 <= teams <= batch_size
                assert workers // teams <= -(-hidden // 16)
    assert [team_count(2, 24, hidden) for hidden in (16, 160, 288, 320, 512)] == [2, 2, 2, 1, 1]
    assert [team_count(n, 24, 256) for n in (1, 2, 4, 8, 16, 24)] == [1, 2, 2, 2, 4, 2]
    assert [team_count(n, 24, 512) for n in (4, 8, 16, 24)] == [1, 2, 2, 4]
    assert team_count(32, 48, 256) == 8  # four teams would leave 32 units to each worker
    assert team_count(2, 22, 160) == 1  # 11 streams would be too few
    assert team_count(24, 24, 5) == 24  # 5 units cannot be divided
