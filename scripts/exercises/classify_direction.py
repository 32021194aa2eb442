"""A stack of LSTM layers classifies the direction in which a noisy point turns.

    .venv/bin/python scripts/exercises/classify_direction.py

    z_t = exp(i (s w t + phi)) + noise,   t = 0..T-1

s is +1 (anticlockwise) or -1 (clockwise). The phase phi is uniform, and the noise is Gaussian with
standard deviation sigma in each of the two coordinates, which are the D = 2 inputs of the network.

The best possible decision is known. Given s, the likelihood of a series, averaged over phi, grows
with |sum_t z_t exp(-i s w t)| alone, so the best decision is the s with the larger sum. Over an
integer number of turns the two sums are independent, and the best decision is wrong with
probability exp(-T / (4 sigma^2)) / 2 (Proakis, Digital Communications: noncoherent detection of
orthogonal signals).
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
STEPS = 3_000  # of training
BEST_POSSIBLE = 1 - float(np.exp(-T / (4 * SIGMA**2))) / 2  # share of right decisions
LSTM, CONFIG = CELLS["lstm"], ModelConfig(hidden=H, layers=LAYERS)


def series(rng, count):
    """Draw series x (T, count, D) and their directions (count,): 1 for anticlockwise, else 0."""
    direction = rng.integers(2, size=count)
    angle = 2 * np.pi * TURNS / T * np.arange(T)[:, None] * (2 * direction - 1)
    angle = angle + rng.uniform(0, 2 * np.pi, count)
    x = np.stack((np.cos(angle), np.sin(angle)), axis=-1) + rng.normal(0, SIGMA, (T, count, D))
    return x.astype(np.float32), direction


def best_decision(x):
    """The most likely direction of each series of x (T, N, D)."""
    z = x[..., 0] + 1j * x[..., 1]
    turn = np.exp(-2j * np.pi * TURNS / T * np.arange(T))
    return (abs(turn @ z) > abs(turn.conj() @ z)).astype(int)


class Classifier:
    """LSTM layers over T steps of dense input, and a dense softmax on the last step's output."""

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
        """Log-probabilities (N, CLASSES) of x (T, N, D), and the cache for backward."""
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
        """Overwrite the gradients with those of the mean cross-entropy. Overwrites log_probs."""
        inputs, activations = cache
        count = len(targets)
        dout = np.zeros_like(inputs[-1])  # only the last step's output reaches the loss
        dhead = gradients.part("head.")
        scales = np.full(count, 1 / count, "float32")
        head.backward(self.head, targets, log_probs, scales, dout[-1])
        head.weight_gradients(dhead, inputs[-1][-1], log_probs)
        for k in reversed(range(LAYERS)):
            layer, dstate = gradients.part(f"layers.{k}."), np.zeros((2, count, H), "float32")
            LSTM.backward(self.layers[k], dout, dstate, activations[k], dout if k else None)
            LSTM.recurrent_gradients(layer, activations[k])
            LSTM.projection_gradients(layer, inputs[k], activations[k])


@one_blas_thread()  # threads would spend their time waiting: the matrices are small
def train(steps, seed=0, report=None):
    """Train a classifier on `steps` new batches of N series; report gets eight lines."""
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
    """The shares of `count` new series that the model and the best decision classify rightly."""
    x, direction = series(np.random.default_rng(seed), count)
    log_probs, _ = model.forward(x)
    right = log_probs.argmax(axis=1) == direction
    return float(right.mean()), float((best_decision(x) == direction).mean())


def main():
    """Train and print the share of right decisions beside the best possible."""
    started = time.monotonic()
    share, best = accuracies(train(STEPS, report=print))
    print(f"best possible, by the formula:               {BEST_POSSIBLE:.2%}")
    print(f"best possible, on 20,000 new series:         {best:.2%}")
    print(f"three LSTM layers of {H} units, on the same:  {share:.2%}")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
