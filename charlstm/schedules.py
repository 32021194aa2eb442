"""The learning rate as a function of the progress, and for plateau of the validation loss."""

import math
from typing import Any

from .config import TrainConfig


class Schedule:
    """The rate of each step.

    constant  lr
    cosine    from 0 to lr over `warmup` steps, then half a cosine down to final_lr * lr
              (Loshchilov and Hutter 2017, without restarts)
    step      lr * decay^(epoch // decay_every)
    plateau   lr, times decay whenever `patience` evaluations in a row set no new best
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.scale = 1.0  # what plateau has come down to
        self.best = math.inf
        self.waited = 0  # evaluations since the best

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
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.config.schedule == "plateau" and self.waited >= self.config.patience:
            self.scale *= self.config.decay
            self.waited = 0

    def state(self) -> dict[str, Any]:
        """What has been observed, as a JSON object for `restore`."""
        best = None if math.isinf(self.best) else self.best
        return {"scale": self.scale, "best": best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.scale = float(state["scale"])
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.waited = int(state["waited"])
