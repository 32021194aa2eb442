"""Schedules: the learning rate as a function of the step and, for some schedules, of the losses."""

import math
from typing import Any

from charlstm.config import TrainConfig
from charlstm.untrusted import entry, integer, real


class Schedule:
    """The learning rate of each step, by config.schedule.

    constant       lr
    cosine         from 0 to lr over `warmup` steps, then down to final_lr * lr along half a cosine
                   (Loshchilov and Hutter 2017, without restarts)
    step           lr * decay^(epoch // decay_every)
    plateau        lr, multiplied by decay after every `patience` evaluations without a new best
    halve-on-rise  lr, halved after each pass over the text with a higher training loss than the
                   pass before it
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.scale: float = 1.0  # product of all decays so far, for plateau and halve-on-rise
        self.best: float = math.inf  # lowest validation loss so far
        self.evaluations_without_best: int = 0  # since the last new best or decay of the rate
        self.last_pass_loss: float = math.inf

    def rate(self, step: int, epoch: int, total_steps: int | None) -> float:
        """Return the learning rate of a step.

        step: counted from 0. total_steps: the number of steps of the run; None while unknown.
        """
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
        """Record a validation loss; the schedule plateau depends on it."""
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
        """Record the mean training loss of a pass; the schedule halve-on-rise depends on it."""
        if self.config.schedule == "halve-on-rise" and loss > self.last_pass_loss:
            self.scale *= 0.5
        self.last_pass_loss = loss

    def to_dict(self) -> dict[str, Any]:
        """Return the losses recorded and the scale that results from them, for JSON."""
        return {
            "scale": self.scale,
            "best": None if math.isinf(self.best) else self.best,
            "evaluations_without_best": self.evaluations_without_best,
            "last_pass_loss": None if math.isinf(self.last_pass_loss) else self.last_pass_loss,
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Restore the losses and the scale from the dict that to_dict returned."""
        self.scale = real(saved, "scale", least=0, most=1)
        has_best = entry(saved, "best") is not None
        self.best = real(saved, "best") if has_best else math.inf
        self.evaluations_without_best = integer(saved, "evaluations_without_best")
        has_passed = entry(saved, "last_pass_loss") is not None
        self.last_pass_loss = real(saved, "last_pass_loss") if has_passed else math.inf
