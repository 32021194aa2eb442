"""Trains a stack of LSTM layers to tell in which direction a noisy point turns.

    .venv/bin/python scripts/exercises/classify_direction.py

    z_t = exp(i (s w t + phi)) + noise,   t = 0..T-1

The direction s is +1 (anticlockwise) or -1 (clockwise). The phase phi is uniform, and the noise is
Gaussian with standard deviation sigma in each of the two coordinates of z_t. These coordinates are
the D = 2 inputs of the network.

The best possible decision is known. Given s, the likelihood of a series, averaged over phi, depends
only on |sum_t z_t exp(-i s w t)| and grows with it. The best decision is therefore the s for which
this absolute value is larger. Over an integer number of turns, the values for both s are
independent, and the best decision is wrong with probability exp(-T / (4 sigma^2)) / 2 (Proakis,
Digital Communications: noncoherent detection of orthogonal signals).
"""

import time

import numpy as np

from charlstm import ModelConfig, TrainConfig
from charlstm.network.layers import CELLS, head
from charlstm.network.layers.head import cross_entropy
from charlstm.network.parameters import Parameters
from charlstm.system.threads import one_blas_thread
from charlstm.training.optimizers import make_optimizer
from charlstm.training.schedules import Schedule

N, T, D, H, LAYERS, CLASSES = 32, 16, 2, 30, 3, 2
TURNS, SIGMA = 2, 1.3
STEPS = 3_000  # the number of training steps
# The share of series that the best possible decision classifies rightly.
BEST_POSSIBLE = 1 - float(np.exp(-T / (4 * SIGMA**2))) / 2
LSTM, CONFIG = CELLS["lstm"], ModelConfig(hidden=H, layers=LAYERS)


def series(rng, count):
    """Draw series x (T, count, D) and their directions (count,): 1 for anticlockwise, else 0."""
    direction = rng.integers(2, size=count)
    angle = 2 * np.pi * TURNS / T * np.arange(T)[:, None] * (2 * direction - 1)
    angle = angle + rng.uniform(0, 2 * np.pi, count)
    x = np.stack((np.cos(angle), np.sin(angle)), axis=-1) + rng.normal(0, SIGMA, (T, count, D))
    return x.astype(np.float32), direction


def best_decision(x):
    """Return the most likely direction (N,) of each series of x (T, N, D)."""
    z = x[..., 0] + 1j * x[..., 1]
    turn = np.exp(-2j * np.pi * TURNS / T * np.arange(T))
    return (abs(turn @ z) > abs(turn.conj() @ z)).astype(int)


class Classifier:
    """LSTM layers that read vectors for T steps, and a softmax layer on the last step's output."""

    def __init__(self, rng):
        shapes = {}
        for k in range(LAYERS):
            layer_shapes = LSTM.shapes(H if k else D, H)
            shapes |= {f"layers.{k}.{name}": shape for name, shape in layer_shapes.items()}
        shapes |= {f"head.{name}": shape for name, shape in head.shapes(H, CLASSES).items()}
        self.parameters = Parameters(shapes, "float32")
        self.layers = [self.parameters.part(f"layers.{k}.") for k in range(LAYERS)]
        self.head = self.parameters.part("head.")
        for layer in self.layers:
            LSTM.initialise(layer, rng)
        head.initialise(self.head, rng)

    def forward(self, x):
        """Return log-probabilities (N, CLASSES) for x (T, N, D), and a cache for `backward`."""
        steps, count, _ = x.shape
        inputs, activations = [x], []
        for layer in self.layers:
            own = LSTM.new_activations(CONFIG, steps, count)
            LSTM.forward(layer, inputs[-1], np.zeros((2, count, H), "float32"), own)
            activations.append(own)
            inputs.append(own.h[1:])
        log_probs = np.empty((count, CLASSES), "float32")
        head.forward(self.head, inputs[-1][-1], log_probs)
        return log_probs, (inputs, activations)

    def backward(self, targets, log_probs, cache, gradients):
        """Write the gradients of the mean cross-entropy to `gradients`. Overwrites log_probs.

        cache: the cache that `forward` returned.
        """
        inputs, activations = cache
        count = len(targets)
        dout = np.zeros_like(inputs[-1])  # The loss depends only on the output of the last step.
        dhead = gradients.part("head.")
        scales = np.full(count, 1 / count, "float32")
        head.backward(self.head, targets, log_probs, scales, dout[-1])
        head.weight_gradients(dhead, inputs[-1][-1], log_probs)
        for k in reversed(range(LAYERS)):
            layer, dstate = gradients.part(f"layers.{k}."), np.zeros((2, count, H), "float32")
            LSTM.backward(self.layers[k], dout, dstate, activations[k], dout if k else None)
            LSTM.recurrent_gradients(layer, activations[k])
            LSTM.projection_gradients(layer, inputs[k], activations[k])


@one_blas_thread()  # With matrices as small as these, more threads would not be faster.
def train(steps, seed=0, report=None):
    """Train a classifier on `steps` batches of N new series.

    report: a function that is called eight times with a line about the progress.
    """
    rng = np.random.default_rng(seed)
    model = Classifier(rng)
    config = TrainConfig(lr=5e-3, schedule="cosine", warmup=50, steps=steps)
    schedule = Schedule(config)
    weights, gradients = model.parameters.vector, model.parameters.zeros_like()
    adam = make_optimizer(config, weights)
    for step in range(steps):
        x, direction = series(rng, N)
        log_probs, cache = model.forward(x)
        loss = cross_entropy(log_probs, direction).mean()
        model.backward(direction, log_probs, cache, gradients)
        rate = schedule.rate(step, 0, steps)
        adam.update(weights, gradients.vector, slice(0, len(weights)), rate, step + 1)
        if report and (step + 1) % (steps // 8) == 0:
            report(f"step {step + 1:5}: loss {loss:.3f}")
    return model


@one_blas_thread()
def accuracies(model, count=20_000, seed=1):
    """Return the shares of `count` new series that the model and the best decision get right."""
    x, direction = series(np.random.default_rng(seed), count)
    log_probs, _ = model.forward(x)
    right = log_probs.argmax(axis=1) == direction
    return float(right.mean()), float((best_decision(x) == direction).mean())


def main():
    """Train a classifier; print its share of right decisions beside that of the best decision."""
    started = time.monotonic()
    share, best = accuracies(train(STEPS, report=print))
    print("right decisions:")
    print(f"best possible, by the formula:                       {BEST_POSSIBLE:.2%}")
    print(f"best possible, on 20,000 new series:                 {best:.2%}")
    print(f"three LSTM layers of {H} units, on the same series:  {share:.2%}")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
