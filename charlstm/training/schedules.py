"""The learning rate as a function of the progress, and of the losses where a schedule asks."""

import math
from typing import Any

from charlstm.config import TrainConfig
from charlstm.untrusted import integer, real


class Schedule:
    """The rate of each step.

    constant  lr
    cosine    from 0 to lr over `warmup` steps, then half a cosine down to final_lr * lr
              (Loshchilov and Hutter 2017, without restarts)
    step      lr * decay^(epoch // decay_every)
    plateau   lr, times decay whenever `patience` evaluations in a row set no new best
    halve-on-rise  lr, halved whenever the mean training loss of a pass is above the last one's
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.scale = 1.0  # what plateau and halve-on-rise have come down to
        self.best = math.inf
        self.evaluations_without_best = 0  # evaluations since the best
        self.last_pass = math.inf  # its training loss

    def rate(self, step: int, epoch: int, total_steps: int | None) -> float:
        """The rate of step `step` (from 0) of `total_steps`; None while the end is not known."""
        c = self.config
        if c.schedule == "cosine":
            if step < c.warmup:
                return c.lr * (step + 1) / c.warmup
            if total_steps is None:
                return c.lr
            done = min(1.0, (step - c.warmup) / max(1, total_steps - c.warmup))
            return c.lr * (c.final_lr + (1 - c.final_lr) * (1 + math.cos(math.pi * done)) / 2)
        if c.schedule == "step":
            return float(c.lr * c.decay ** (epoch // c.decay_every))
        return c.lr * self.scale

    def observe(self, loss: float) -> None:
        """Take note of a validation loss; only plateau acts on it."""
        if loss < self.best:
            self.best, self.evaluations_without_best = loss, 0
            return
        self.evaluations_without_best += 1
        if (
            self.config.schedule == "plateau"
            and self.evaluations_without_best >= self.config.patience
        ):
            self.scale *= self.config.decay
            self.evaluations_without_best = 0

    def end_pass(self, loss: float) -> None:
        """Take note of the mean training loss of a pass; only halve-on-rise acts on it."""
        if self.config.schedule == "halve-on-rise" and loss > self.last_pass:
            self.scale *= 0.5
        self.last_pass = loss

    def to_dict(self) -> dict[str, Any]:
        """The losses observed so far and the factor they led to, for JSON."""
        return {
            "scale": self.scale,
            "best": None if math.isinf(self.best) else self.best,
            "evaluations_without_best": self.evaluations_without_best,
            "last_pass": None if math.isinf(self.last_pass) else self.last_pass,
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what to_dict gave."""
        self.scale = real(saved, "scale", least=0, most=1)
        self.best = math.inf if saved["best"] is None else real(saved, "best")
        self.evaluations_without_best = integer(saved, "evaluations_without_best")
        known = saved["last_pass"] is not None
        self.last_pass = real(saved, "last_pass") if known else math.inf
