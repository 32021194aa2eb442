"""Plan: decides when a run ends, and when the model is evaluated."""

from charlstm.config import AUTO
from charlstm.runs.events import EventLog
from charlstm.training.defaults import MAX_STEPS_BETWEEN_EVALUATIONS, steps_between_evaluations
from charlstm.training.time_budget import TimeBudget
from charlstm.training.trainer import Trainer
from charlstm.training.validation import MIN_SYMBOLS, Validation

LOGS_PER_EVALUATION = 20
FEW_STEPS = 100  # A run with `minutes` that ends before this step notes that it has hardly learned.
# The validation text of a run that has time for only a few steps is shortened to this length.
FEWEST_SYMBOLS = 100
LOG_EVERY = 50  # Steps are logged at this interval until the interval of evaluations is known.


class Plan:
    """Decides when a run ends, and when the model is evaluated.

    With the setting `steps` or `epochs`, the end and the evaluations are known from the start, and
    do not depend on the speed of the machine. With `minutes`, the end and the evaluations depend on
    the speed: trainer.total_steps, the number of the last step, is computed again after each step.

    eval_every: steps between evaluations; None until the speed of the machine is known.
    is_reported: whether the observer has been called with the event `plan`.
    """

    def __init__(self, trainer: Trainer, validation: Validation, events: EventLog) -> None:
        self._trainer, self._validation, self._events = trainer, validation, events
        models_at_end = 1 if trainer.averaged is None else 2
        self.time_budget = TimeBudget(
            trainer.symbols_per_step,
            models_at_end,
            0 if trainer.model.config.lines else trainer.config.seq_length,
        )
        self.eval_every: int | None = None
        if trainer.total_steps is not None:
            self.eval_every = steps_between_evaluations(trainer.config, trainer.total_steps)
        elif trainer.config.eval_every != AUTO:
            self.eval_every = trainer.config.eval_every
        self.is_reported = False

    @property
    def _texts(self) -> int:
        """The number of texts that an evaluation reads."""
        return 1 if self._validation.mix is None else 2

    @property
    def at_end(self) -> bool:
        """Whether the number of steps done has reached trainer.total_steps."""
        total = self._trainer.total_steps
        return total is not None and self._trainer.steps_done >= total

    @property
    def finished(self) -> bool:
        """Whether the run has reached its last step, or stops early (see setting stop_after)."""
        return (
            self.at_end
            or 0 < self._trainer.config.stop_after <= self._validation.evaluations_since_best
        )

    def stops_early_after(self, val_loss: float | None) -> bool:
        """Return whether the run stops early if its next evaluation has this validation loss."""
        validation, limit = self._validation, self._trainer.config.stop_after
        best = validation.best_val_loss
        return (
            val_loss is not None
            and best is not None
            and val_loss >= best
            and 0 < limit <= validation.evaluations_since_best + 1
        )

    @property
    def evaluation_is_due(self) -> bool:
        """Whether the model must be evaluated after the step that was done last.

        An evaluation that an interruption prevented is due when the run is resumed. Interruptions
        thus do not change at which steps a run is evaluated.
        """
        config, steps_done = self._trainer.config, self._trainer.steps_done
        total = self._trainer.total_steps
        if not self.eval_every or steps_done % self.eval_every:
            return False
        if config.minutes is None or config.eval_every != AUTO or total is None:
            return True
        # No evaluation is due shortly before the evaluation at the end of the run.
        return total - steps_done >= self.eval_every // 2

    @property
    def log_is_due(self) -> bool:
        """Whether an event `train` must be written after the step that was done last."""
        every = LOG_EVERY
        if self.eval_every is not None:
            every = max(1, self.eval_every // LOGS_PER_EVALUATION)
        return self._trainer.steps_done % every == 0 or self.finished

    def fit_end_to_time_left(self) -> None:
        """Compute the end of a run with `minutes` from the time left; report the plan once.

        The speed is known after the first few steps. While the speed is not known, the run is only
        ended if the time left is too short for another step.
        """
        trainer, minutes = self._trainer, self._trainer.config.minutes
        if minutes is not None and self.time_budget.seconds_per_step:
            if self.time_budget.speed_is_known:
                self._set_end_by_time_left(minutes * 60 - self._events.seconds)
            else:
                self._end_before_time_is_up(minutes)
            if self.at_end and trainer.steps_done < FEW_STEPS:
                self._note_few_steps(minutes)
        if not self.time_budget.speed_is_known:
            return
        if not (self.is_reported or trainer.total_steps is None or self.finished):
            self.is_reported = True
            steps_left = trainer.total_steps - trainer.steps_done
            self._events.observer(
                {
                    "event": "plan",
                    "total_steps": trainer.total_steps,
                    "epochs": trainer.total_steps / trainer.batches.windows_per_pass,
                    "seconds": steps_left * self.time_budget.seconds_per_step,
                }
            )

    def _set_end_by_time_left(self, seconds: float) -> None:
        """Set the last step from the time left, in seconds.

        If the number of steps between evaluations is not known, set it too.
        """
        budget = self.time_budget
        if not budget.seconds_per_evaluation:
            self._shorten_validation(budget.affordable_symbols(seconds) // self._texts)
            budget.estimate_evaluation(self._validation.total_length)
        steps = budget.steps_within(seconds, self.eval_every)
        self._trainer.total_steps = self._trainer.steps_done + steps
        if self.eval_every is None:
            between = max(1, steps // budget.evaluations_within(seconds))
            self.eval_every = min(MAX_STEPS_BETWEEN_EVALUATIONS, between)

    def _end_before_time_is_up(self, minutes: float) -> None:
        """End the run now if the time left is too short for a step and the last evaluation."""
        budget = self.time_budget
        affordable = max(FEWEST_SYMBOLS, budget.affordable_symbols(minutes * 60) // self._texts)
        symbols = min(affordable, len(self._validation.ids))
        total = min(affordable * self._texts, self._validation.total_length)
        if budget.has_time_for_step(minutes * 60 - self._events.seconds, total):
            return
        self._trainer.total_steps = self._trainer.steps_done
        self._shorten_validation(symbols, FEWEST_SYMBOLS)

    def _note_few_steps(self, minutes: float) -> None:
        """Notify the user that the run ends after only a few steps."""
        steps = self._trainer.steps_done
        self._events.write_notice(
            f"`minutes={minutes:g}` is enough for only {steps} step{'s' * (steps > 1)} of "
            f"{self.time_budget.seconds_per_step:.2g} seconds, and the model has hardly learned: "
            "give more `minutes`, or a smaller `hidden`, `batch_size` or `seq_length`"
        )

    def _shorten_validation(self, symbols: int, least: int = MIN_SYMBOLS) -> None:
        """Shorten the validation text to `symbols` symbols, but not below `least`; notify the user.

        An evaluation of a longer text would take too much of the time left.
        """
        before = len(self._validation.ids)
        self._validation.shorten(symbols, least)
        after = len(self._validation.ids)
        if after < before:
            self._events.write_notice(
                f"validation losses are measured on only {after:,} of the {before:,} "
                f"{self._trainer.model.vocab.unit}s of the validation text: `minutes` leaves no "
                "time for more"
            )
