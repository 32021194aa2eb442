"""The lower bound of the memory that a training needs."""

import pytest

from charlstm import ModelConfig, TrainConfig, kernels
from charlstm.training import training_memory
from charlstm.training.training_memory import require_memory_to_train

# Numbers of the LSTM and of the head. Copies of them: weights, gradients (of two workers, unless
# the step is native), moments.
PARAMETERS = (65 + 256 + 1) * 1024 + 256 * 65 + 65


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("settings", "lines", "numbers"),
    [
        ({}, False, 5 * PARAMETERS + 50 * 50 * (65 + 7 * 256)),
        ({"optimizer": "sgd", "average": 0.9}, False, 5 * PARAMETERS + 2500 * (65 + 7 * 256)),
        ({"batch_size": 10**9, "seq_length": 100}, False, 5 * PARAMETERS + 10_000 * (65 + 7 * 256)),
        ({"seq_length": 10**9}, False, 4 * PARAMETERS + 9_999 * (65 + 7 * 256)),
        ({"seq_length": 10**9}, True, 5 * PARAMETERS + 50 * 16 * (65 + 7 * 256)),
    ],
)
def test_the_needs_are_weights_gradients_moments_and_activations(
    monkeypatch, settings, lines, numbers, native
):
    found = []
    monkeypatch.setattr(kernels, "can_train", lambda *_: native)
    monkeypatch.setattr(training_memory, "require_memory", lambda needed, *_: found.append(needed))
    model = ModelConfig(hidden=256, layers=1, lines=lines)
    config = TrainConfig(workers=2, **settings)
    require_memory_to_train(10_000, 65, model, config)
    two_workers = settings.get("seq_length") != 10**9 or lines
    assert found == [4 * (numbers - native * two_workers * PARAMETERS)]
