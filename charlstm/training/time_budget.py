"""How fast a run is, and how many steps fit into the time that it has left."""

from typing import Any

from charlstm.untrusted import integer, real

UNTIMED_STEPS = 2  # the first ones also touch fresh memory
STEPS_TO_KNOW, SECONDS_TO_KNOW = 5, 1.0
NEWEST_STEP_WEIGHT = 0.1  # weight of the newest step in the running mean
EXIT_SECONDS = 0.3  # from the last save to the end of the process

# Of a time budget, at most so many evaluations in so large a part of it (but at least one).
MOST_EVALUATIONS, EVALUATION_PART = 10, 0.08
LAST_EVALUATION_PART = 0.1  # of it, at most, for the last one


class TimeBudget:
    """Running means of the seconds for a step and for an evaluation with its saves.

    models_at_end: how many models the last evaluation measures, where the others measure one.
    """

    def __init__(self, characters_per_step: float, models_at_end: int = 1) -> None:
        self._characters_per_step = characters_per_step
        self._more_at_end = models_at_end - 1
        self._steps = 0
        self._seconds = 0.0  # of the timed steps among the first, until the speed is known
        self.seconds_per_step = 0.0
        self.seconds_per_evaluation = 0.0

    def count_step(self, seconds: float) -> None:
        self._steps += 1
        if self._steps <= UNTIMED_STEPS:
            return
        if self.speed_is_known:
            self.seconds_per_step += NEWEST_STEP_WEIGHT * (seconds - self.seconds_per_step)
        else:
            self._seconds += seconds
            self.seconds_per_step = self._seconds / (self._steps - UNTIMED_STEPS)

    def count_evaluation(self, seconds: float) -> None:
        self.seconds_per_evaluation = seconds

    @property
    def speed_is_known(self) -> bool:
        """Whether enough steps have been timed to plan by."""
        timed = self._steps - UNTIMED_STEPS
        return timed >= STEPS_TO_KNOW and (
            self._seconds >= SECONDS_TO_KNOW or timed >= 20 * STEPS_TO_KNOW
        )

    @property
    def characters_per_second(self) -> float:
        return self._characters_per_step / self.seconds_per_step if self.seconds_per_step else 0.0

    def estimate_evaluation(self, characters: int) -> None:
        """Before the first evaluation: a third of what training on so many characters takes."""
        if not self.seconds_per_evaluation:
            self.seconds_per_evaluation = 0.1 + characters / (3 * self.characters_per_second)

    def affordable_characters(self, seconds: float) -> int:
        """The characters that leave most of so much time to training, by the same guess."""
        at_once = 3 * self.characters_per_second / (1 + self._more_at_end)
        return int(LAST_EVALUATION_PART * seconds * at_once)

    def evaluations_within(self, seconds: float) -> int:
        """How many evaluations to make in a run that has so long to go."""
        affordable = EVALUATION_PART * seconds / max(self.seconds_per_evaluation, 1e-3)
        return min(MOST_EVALUATIONS, max(1, int(affordable) - self._more_at_end))

    def steps_within(self, seconds: float, eval_every: int | None) -> int:
        """How many steps fit with their evaluations; without eval_every, evaluations_within."""
        seconds -= EXIT_SECONDS
        seconds_per_step = max(self.seconds_per_step, 1e-9)
        if eval_every is None:
            evaluations = self.evaluations_within(seconds) + self._more_at_end
            seconds -= evaluations * self.seconds_per_evaluation
            return max(0, int(seconds / seconds_per_step))
        # the last evaluation comes at the end, whether its turn has come or not
        seconds -= (1 + self._more_at_end) * self.seconds_per_evaluation
        per_step = seconds_per_step + self.seconds_per_evaluation / eval_every
        return max(0, int(seconds / per_step))

    def to_dict(self) -> dict[str, Any]:
        """The times measured so far, for JSON."""
        return {
            "steps": self._steps,
            "seconds": self._seconds,
            "seconds_per_step": self.seconds_per_step,
            "seconds_per_evaluation": self.seconds_per_evaluation,
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what to_dict gave."""
        self._steps, self._seconds = integer(saved, "steps"), real(saved, "seconds", least=0)
        self.seconds_per_step = real(saved, "seconds_per_step", least=0)
        self.seconds_per_evaluation = real(saved, "seconds_per_evaluation", least=0)
