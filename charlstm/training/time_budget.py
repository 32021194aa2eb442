"""TimeBudget: how fast a run trains and evaluates, and how many steps fit into the time left."""

import math
from typing import Any

from charlstm.untrusted import integer, real

UNTIMED_STEPS = 2  # the first steps, which are not timed: they are slower, as they allocate memory
# The speed of training counts as known after MIN_TIMED_STEPS steps that took MIN_TIMED_SECONDS in
# total, or after MAX_TIMED_STEPS steps.
MIN_TIMED_STEPS, MIN_TIMED_SECONDS = 5, 1.0
MAX_TIMED_STEPS = 100
NEWEST_STEP_WEIGHT = 0.1  # weight of the newest step in the running mean of the seconds per step
EXIT_SECONDS = 0.3  # time reserved for ending the process after the last save

# A run with a time budget makes at most MAX_EVALUATIONS evaluations, and spends at most
# EVALUATIONS_FRACTION of the time on them. However, every run is evaluated at the end. The
# validation text is shortened until the evaluation at the end takes LAST_EVALUATION_FRACTION of the
# time.
MAX_EVALUATIONS, EVALUATIONS_FRACTION = 10, 0.08
LAST_EVALUATION_FRACTION = 0.1
# Evaluation reads three times as many symbols per second as training: it has no backward pass.
EVALUATION_SPEEDUP = 3
# A text of fewer symbols than this is evaluated as one stream. Evaluating a longer text takes at
# least this number of time steps: each stream reads 1,000 symbols to warm up and 1,000 that count.
ONE_STREAM = 2_000


class TimeBudget:
    """Running means of the seconds per step and per evaluation.

    time_steps: the number of time steps in a training step, which limits the estimated speed of
        evaluating a short text in few streams; 0 sets no limit.
    models_at_end: the number of models that the last evaluation measures; all other evaluations
        measure one model.
    seconds_per_step: the time of the newest step during the first UNTIMED_STEPS steps, then a mean;
        0 before the first step.
    seconds_per_evaluation: the time of evaluating one model and of saving the run afterwards; 0
        while unknown.
    seconds_per_save: the time of writing the file `last`; 0 while unknown.
    """

    def __init__(
        self, symbols_per_step: float, models_at_end: int = 1, time_steps: int = 0
    ) -> None:
        self._symbols_per_step, self._time_steps = symbols_per_step, time_steps
        self._more_at_end = models_at_end - 1
        self._steps = 0
        self._seconds = 0.0  # total time of the timed steps before the speed is known
        self.seconds_per_step = 0.0
        self.seconds_per_evaluation = 0.0
        self.seconds_per_save = 0.0

    def count_step(self, seconds: float) -> None:
        """Update the seconds per step by the time of a new step.

        Until the speed is known, the seconds per step are the mean of all timed steps. Once the
        speed is known, the seconds per step are an exponential moving average.
        """
        self._steps += 1
        if self._steps <= UNTIMED_STEPS:
            self.seconds_per_step = seconds
            return
        if self.speed_is_known:
            self.seconds_per_step += NEWEST_STEP_WEIGHT * (seconds - self.seconds_per_step)
        else:
            self._seconds += seconds
            self.seconds_per_step = self._seconds / (self._steps - UNTIMED_STEPS)

    def count_evaluation(self, seconds: float) -> None:
        """Set the seconds per evaluation to the time per model that the newest evaluation took."""
        self.seconds_per_evaluation = seconds

    @property
    def speed_is_known(self) -> bool:
        """Whether enough steps have been timed to plan a run."""
        timed = self._steps - UNTIMED_STEPS
        return timed >= MIN_TIMED_STEPS and (
            self._seconds >= MIN_TIMED_SECONDS or timed >= MAX_TIMED_STEPS
        )

    @property
    def symbols_per_second(self) -> float:
        """The number of symbols that training reads per second; 0 while unknown."""
        return self._symbols_per_step / self.seconds_per_step if self.seconds_per_step else 0.0

    def estimate_evaluation(self, symbols: int) -> None:
        """Estimate the seconds per evaluation from the speed of training, if none was timed yet.

        symbols: the length of the validation text.
        """
        if not self.seconds_per_evaluation:
            seconds = self._evaluation_seconds(symbols)
            self.seconds_per_evaluation = 0.1 + self.seconds_per_save + seconds

    def has_time_for_step(self, seconds: float, symbols: int) -> bool:
        """Return whether a step, the last evaluation and its saves fit into `seconds`.

        One step must have been made before. symbols: the number of symbols that the last
        evaluation reads.
        """
        evaluation = (1 + self._more_at_end) * self._evaluation_seconds(symbols)
        saves = 2 * self.seconds_per_save  # the run saves the files `best` and `last`
        return self.seconds_per_step + evaluation + saves + EXIT_SECONDS <= seconds

    def affordable_symbols(self, seconds: float) -> int:
        """Return the number of symbols to evaluate at the end if `seconds` are left by then."""
        seconds *= LAST_EVALUATION_FRACTION / (1 + self._more_at_end)  # seconds for one model
        affordable = EVALUATION_SPEEDUP * self.symbols_per_second * seconds
        time_steps = self._steps_per_second * seconds
        if time_steps < ONE_STREAM:
            affordable = min(affordable, time_steps)
        return int(affordable)

    @property
    def _steps_per_second(self) -> float:
        """The number of time steps that an evaluation makes per second."""
        if not self._time_steps:
            return math.inf
        return EVALUATION_SPEEDUP * self._time_steps / self.seconds_per_step

    def _evaluation_seconds(self, symbols: int) -> float:
        """Return the time of evaluating one model on a text of this length, without saves."""
        by_speed = symbols / (EVALUATION_SPEEDUP * self.symbols_per_second)
        return max(by_speed, min(symbols, ONE_STREAM) / self._steps_per_second)

    def evaluations_within(self, seconds: float) -> int:
        """Return the number of evaluations to make within `seconds` of training."""
        affordable = EVALUATIONS_FRACTION * seconds / max(self.seconds_per_evaluation, 1e-3)
        return min(MAX_EVALUATIONS, max(1, int(affordable) - self._more_at_end))

    def steps_within(self, seconds: float, eval_every: int | None) -> int:
        """Return the number of training steps that fit into `seconds` together with evaluations.

        eval_every: the steps between evaluations; None to make as many evaluations as
            evaluations_within returns.
        """
        seconds -= EXIT_SECONDS
        seconds_per_step = max(self.seconds_per_step, 1e-9)
        if eval_every is None:
            evaluations = self.evaluations_within(seconds) + self._more_at_end
            seconds -= evaluations * self.seconds_per_evaluation
            return max(0, int(seconds / seconds_per_step))
        # The evaluation at the end comes in addition to one every eval_every steps.
        seconds -= (1 + self._more_at_end) * self.seconds_per_evaluation
        per_step = seconds_per_step + self.seconds_per_evaluation / eval_every
        return max(0, int(seconds / per_step))

    def to_dict(self) -> dict[str, Any]:
        """Return the times measured, for JSON."""
        return {
            "steps": self._steps,
            "seconds": self._seconds,
            "seconds_per_step": self.seconds_per_step,
            "seconds_per_evaluation": self.seconds_per_evaluation,
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Restore the times from the dict that to_dict returned."""
        self._steps, self._seconds = integer(saved, "steps"), real(saved, "seconds", least=0)
        self.seconds_per_step = real(saved, "seconds_per_step", least=0)
        self.seconds_per_evaluation = real(saved, "seconds_per_evaluation", least=0)
