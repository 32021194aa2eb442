"""TorchStep against the native engine: the same steps, the same state, from one to the other."""

import numpy as np
import pytest
from oracles import relative_error
from small_trainers import IDS, VOCAB

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer
from charlstm.network.dropout import Dropout

torch = pytest.importorskip("torch")

from charlstm.torch_engine import TorchEngine  # noqa: E402
from charlstm.torch_engine.engine import DeviceDropout  # noqa: E402

MODEL = {"hidden": 11, "layers": 2, "dtype": "float64"}
TRAIN = {"batch_size": 5, "seq_length": 9, "workers": 1, "seed": 4}
TABLE = {"ngrams": 5, "ngram_slots": 97}
ALL_DROPOUT = {"dropout": 0.2, "weight_dropout": 0.3}
SETTINGS = {
    "lstm": ({}, {}),
    "capped": ({"capped": True, "skip": True}, ALL_DROPOUT),
    "gru": ({"cell": "gru", "layers": 3}, {**ALL_DROPOUT, "clip_value": 1e-3}),
    "rnn": ({"cell": "rnn", **TABLE}, {"reduction": "sum", "clip": 0.1}),
    "everything": (
        {"layers": 3, "skip": True, "capped": True, **TABLE},
        {**ALL_DROPOUT, "average": 0.9, "reset": 0.2, "clip": 0.02, "weight_decay": 0.1,
         "ngram_lr": 0.2, "schedule": "cosine", "steps": 10, "warmup": 3},
    ),
    "rmsprop": ({"layers": 1}, {"optimizer": "rmsprop", "average": 0.5}),
    "sgd": ({"layers": 1, "ngrams": 2}, {"optimizer": "sgd", "beta1": 0.5, "clip": 0.0}),
    "lines": ({"lines": True, **TABLE}, {"dropout": 0.1, "seq_length": 40}),
}  # fmt: skip


def make_trainer(model, train, engine=None):
    config = ModelConfig(**MODEL | model)
    return Trainer(
        CharModel(config, VOCAB, seed=1), IDS, TrainConfig(**TRAIN | train), None, engine
    )


def after_steps(trainer, steps=10):
    """The losses, norms and arrays of a trainer after some steps."""
    losses, norms = [], []
    for _ in range(steps):
        losses.append(trainer.step())
        norms.append(trainer.gradient_norm)
    trainer.close()
    arrays = {**trainer.model.parameters, **trainer.arrays()}
    copies = {name: array.copy() for name, array in arrays.items()}
    return {"losses": np.array(losses), "norms": np.array(norms), **copies}


@pytest.fixture(autouse=True)
def one_thread():
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(("model", "train"), SETTINGS.values(), ids=SETTINGS)
def test_ten_steps_equal_those_of_the_native_engine(model, train):
    """With the same masks: on a CPU, both engines draw them from the same numbers."""
    expected = after_steps(make_trainer(model, train))
    found = after_steps(make_trainer(model, train, TorchEngine("cpu")))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert relative_error(found[name], array) < 1e-9, name


def test_a_state_moves_between_the_engines_and_a_step_begins_where_it_was():
    model, train = SETTINGS["everything"]
    expected = after_steps(make_trainer(model, train), 6)
    before = make_trainer(model, train)
    after_steps(before, 2)
    for engine in (TorchEngine("cpu"), None):
        trainer = make_trainer(model, train, engine)
        trainer.model.parameters.copy_from(before.model.parameters)
        trainer.load_arrays(before.arrays())
        trainer.load_dict(before.to_dict())
        found, before = after_steps(trainer, 2), trainer
    for name in before.arrays().keys() | before.model.parameters.keys():
        assert relative_error(found[name], expected[name]) < 1e-9, name


def test_the_same_engine_goes_on_bit_for_bit():
    model, train = SETTINGS["everything"]
    straight = make_trainer(model, train, TorchEngine("cpu"))
    after_steps(straight, 2)
    resumed = make_trainer(model, train, TorchEngine("cpu"))
    resumed.model.parameters.copy_from(straight.model.parameters)
    resumed.load_arrays(straight.arrays())
    resumed.load_dict(straight.to_dict())
    first, second = after_steps(straight, 3), after_steps(resumed, 3)
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


def test_bfloat16_and_float32_train_on_the_cpu_too():
    kind = {"dtype": "float32", "capped": True, "hidden": 40}
    losses = {
        precision: after_steps(
            make_trainer(kind, {"precision": precision, "lr": 0.02}, TorchEngine("cpu")), 12
        )["losses"]
        for precision in ("float32", "bfloat16")
    }
    assert relative_error(losses["bfloat16"], losses["float32"]) < 0.01
    assert not np.array_equal(losses["bfloat16"], losses["float32"])
    assert losses["bfloat16"][-1] < losses["bfloat16"][0] - 0.2


def test_masks_drawn_on_the_device_drop_the_fractions_asked_for_and_repeat():
    """As a GPU draws them; the CPU is a device too."""
    model = ModelConfig(hidden=100, layers=3, skip=True)
    config = TrainConfig(dropout=0.2, dropout_between=0.5, weight_dropout=0.25)
    Wh = [np.ones((100, 400), np.float32)] * 3

    def draw(kind, *more):
        dropout = kind(model, config, 30, Wh, np.random.default_rng(5), *more)
        dropout.draw()
        return dropout.draw()

    host = draw(Dropout)
    first, again = (draw(DeviceDropout, torch.device("cpu")) for _ in range(2))
    for name in ("between", "head_input"):
        ours, drawn = getattr(host, name), getattr(first, name).numpy()
        assert drawn.shape == ours.shape and drawn.dtype == ours.dtype
        assert np.allclose(np.unique(drawn), np.unique(ours), rtol=1e-6)
        assert abs((drawn == 0).mean() - (ours == 0).mean()) < 0.03
        assert np.array_equal(drawn, getattr(again, name).numpy())
    for ours, drawn in zip(host.recurrent, first.recurrent, strict=True):
        factors = drawn.factors.numpy()
        assert np.allclose(np.unique(factors), np.unique(ours.factors), rtol=1e-6)
        assert abs((factors == 0).mean() - 0.25) < 0.01
    assert not np.array_equal(first.recurrent[0].factors, first.recurrent[1].factors)


def test_losses_of_an_evaluation_equal_those_of_the_model():
    model = CharModel(ModelConfig(**MODEL, capped=True, **TABLE), VOCAB, seed=1)
    on_device = TorchEngine("cpu").to_evaluate(model)
    window = IDS[:80].reshape(20, 4).astype(np.intp)
    expected, state = model.losses(window[:-1], window[1:], model.initial_state(4))
    found, after = on_device.losses(window[:-1], window[1:], model.initial_state(4))
    assert relative_error(found, expected) < 1e-10
    assert relative_error(after, state) < 1e-10
