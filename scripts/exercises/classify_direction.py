"""Exercise 3: LSTM layers tell which way a noisy point turns, about as well as possible.

    z_t = exp(i (s w t + phi)) + noise,   t = 0..T-1

s is +1 (anticlockwise) or -1, the phase phi is uniform, and the noise is Gaussian with standard
deviation sigma in each of the two coordinates, which are the network's D = 2 inputs. Given s, the
likelihood of a whole series, averaged over phi, grows with |sum_t z_t exp(-i s w t)| alone, so
the best decision is the s for which that is larger. Over whole turns, the two sums are
independent, and the best decision is wrong with probability exp(-T / (4 sigma^2)) / 2 (Proakis,
Digital Communications: orthogonal signals, detected without their phase).
"""

import time

import numpy as np

from charlstm import TrainConfig
from charlstm.network.layers import CELLS
from charlstm.network.layers.head import (
    cross_entropy,
    head_backward,
    head_gradients,
    head_initialise,
    head_shapes,
    log_probabilities,
)
from charlstm.network.parameters import Parameters
from charlstm.training.optimizers import make_optimizer
from charlstm.training.schedules import Schedule

N, T, D, H, LAYERS, CLASSES = 32, 16, 2, 30, 3, 2
TURNS, SIGMA = 2, 1.3
LSTM = CELLS["lstm"]


def series(rng, count):
    """x (T, count, D) and the direction of each, (count,): 1 for anticlockwise, else 0."""
    direction = rng.integers(2, size=count)
    angle = 2 * np.pi * TURNS / T * np.arange(T)[:, None] * (2 * direction - 1)
    angle = angle + rng.uniform(0, 2 * np.pi, count)
    x = np.stack((np.cos(angle), np.sin(angle)), axis=-1) + rng.normal(0, SIGMA, (T, count, D))
    return x.astype(np.float32), direction


def best_decision(x):
    """The direction that the likelihood says, for x (T, N, D)."""
    z = x[..., 0] + 1j * x[..., 1]
    turn = np.exp(-2j * np.pi * TURNS / T * np.arange(T))
    return (abs(turn @ z) > abs(turn.conj() @ z)).astype(int)


class Classifier:
    """LSTM layers over T steps of dense input; a dense softmax on the last step's output."""

    def __init__(self, rng):
        shapes = {}
        for k in range(LAYERS):
            layer_shapes = LSTM.shapes(H if k else D, H)
            shapes |= {f"layers.{k}.{name}": shape for name, shape in layer_shapes.items()}
        shapes |= {f"head.{name}": shape for name, shape in head_shapes(H, CLASSES).items()}
        self.parameters = Parameters(shapes, "float32")
        self.layers = [self.parameters.part(f"layers.{k}.") for k in range(LAYERS)]
        self.head = self.parameters.part("head.")
        for layer in self.layers:
            LSTM.initialise(layer, rng)
        head_initialise(self.head, rng)

    def forward(self, x):
        """Log-probabilities (N, CLASSES) of x (T, N, D), and what backward takes."""
        steps, count, _ = x.shape
        inputs, activations = [x], []
        for layer in self.layers:
            activations = LSTM.activations(steps, count, H, "float32")
            LSTM.forward(layer, inputs[-1], np.zeros((2, count, H), "float32"), activations)
            activations.append(activations)
            inputs.append(activations.h[1:])
        log_probs = np.empty((count, CLASSES), "float32")
        log_probabilities(self.head, inputs[-1][-1], log_probs)
        return log_probs, (inputs, activations)

    def backward(self, targets, log_probs, cache, gradients):
        """Overwrite the gradients with those of the mean cross-entropy; uses up log_probs."""
        inputs, activations = cache
        count = len(targets)
        dout = np.zeros_like(inputs[-1])  # only the last step's output reaches the loss
        head = gradients.part("head.")
        scales = np.full(count, 1 / count, "float32")
        head_backward(self.head, targets, log_probs, scales, dout[-1])
        head_gradients(head, inputs[-1][-1], log_probs)
        for k in reversed(range(LAYERS)):
            layer, dstate = gradients.part(f"layers.{k}."), np.zeros((2, count, H), "float32")
            LSTM.backward(self.layers[k], dout, dstate, activations[k], dout if k else None)
            LSTM.recurrent_gradients(layer, activations[k])
            LSTM.projection_gradients(layer, inputs[k], activations[k])


def train(steps, seed=0, report=None):
    """A classifier trained on `steps` fresh batches of N series."""
    rng = np.random.default_rng(seed)
    model = Classifier(rng)
    config = TrainConfig(lr=5e-3, schedule="cosine", warmup=50, steps=steps)
    schedule = Schedule(config)
    weights, gradients = model.parameters.vector, model.parameters.like()
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


def accuracies(model, count=20_000, seed=1):
    """The parts of fresh series that the model and the best decision get right."""
    x, direction = series(np.random.default_rng(seed), count)
    log_probs, _ = model.forward(x)
    right = log_probs.argmax(axis=1) == direction
    return float(right.mean()), float((best_decision(x) == direction).mean())


def main():
    started = time.monotonic()
    model = train(3000, report=print)
    mine, best = accuracies(model)
    exact = 1 - np.exp(-T / (4 * SIGMA**2)) / 2
    print(f"best possible, by the formula:          {exact:.2%}")
    print(f"best possible, on 20,000 fresh series:  {best:.2%}")
    print(f"three LSTM layers of {H} units, on them: {mine:.2%}")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
