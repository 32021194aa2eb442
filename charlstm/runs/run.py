"""One run in its folder: train to the end, evaluate, save, keep metrics."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from charlstm import kernels
from charlstm.config import AUTO, CorpusConfig
from charlstm.errors import CharlstmError, UnwritableError
from charlstm.network.model import CharModel
from charlstm.network.precision import explain_precision
from charlstm.runs import recovery
from charlstm.runs.checkpoint import Checkpoint
from charlstm.runs.folder import BEST, LAST, METRICS, TrainedRun, clear_folder, remove_unfinished
from charlstm.runs.metrics import FORMAT as METRICS_FORMAT
from charlstm.runs.metrics import Event, last_event
from charlstm.runs.recovery import Diverged
from charlstm.runs.saver import Saver
from charlstm.system.signals import Interrupted, StopSignals
from charlstm.text.corpus import Corpus, split
from charlstm.text.vocab import line_end
from charlstm.training.advice import find_warnings
from charlstm.training.defaults import MAX_STEPS_BETWEEN_EVALUATIONS, steps_between_evaluations
from charlstm.training.loss_history import RECENT_STEPS, LossHistory
from charlstm.training.time_budget import TimeBudget
from charlstm.training.trainer import Trainer
from charlstm.training.validation import Evaluation, Validation
from charlstm.untrusted import MALFORMED_ERRORS, integer

SAMPLE_CHARACTERS = 150
LOGS_PER_EVALUATION = 20
LOG_EVERY = 50  # steps, until the number of all steps is known

Observer = Callable[[Event], None]


class Run:
    """The training of one model, from where it stands to its end.

    started: the time.monotonic() at which it would have begun, had it never been interrupted.
    extended: whether the vocabulary came from another run's beside the corpus.
    """

    def __init__(
        self,
        folder: Path,
        text: CorpusConfig,
        corpus: Corpus,
        trainer: Trainer,
        *,
        started: float,
        extended: bool = False,
    ) -> None:
        self.folder, self.text, self.corpus, self.trainer = folder, text, corpus, trainer
        self.started, self.extended = started, extended
        self.notices: list[str] = []
        self.observer: Observer = lambda event: None
        train_ids, validation_ids = split(corpus, text)
        self.train_characters = len(train_ids)
        model = trainer.model
        end = line_end(model.vocab) if model.config.lines else None
        self.validation = Validation(validation_ids, end)
        self.time_budget = TimeBudget(
            trainer.characters_per_step, 1 if trainer.averaged is None else 2
        )
        self.eval_every: int | None = None  # until it is planned
        if trainer.config.eval_every != AUTO:
            self.eval_every = trainer.config.eval_every
        if trainer.total_steps is not None:
            # Known before the first step: no evaluation may depend on how fast the machine is.
            self.eval_every = steps_between_evaluations(trainer.config, trainer.total_steps)
        self.saver = Saver(folder)
        self.interruption = StopSignals()
        self._plan_told = False
        self.losses = LossHistory()

    # -- its life ---------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without the time between interruption and resumption."""
        return time.monotonic() - self.started

    def finished(self) -> bool:
        """Whether its last step is done, or it stops early, as config.stop_after asks."""
        return (
            self._at_end()
            or 0 < self.trainer.config.stop_after <= self.validation.evaluations_since_best
        )

    def _at_end(self) -> bool:
        total = self.trainer.total_steps
        return total is not None and self.trainer.steps_done >= total

    def go(self) -> TrainedRun:
        """Train to the end; a signal ends the current step, saves and returns early."""
        if self.finished() and not self.losses.count:
            # not written: the metrics go on ending with `stop`
            self.observer(self._timed("start", self._start_facts()))
            result = self._result()
            if last_event(self.folder / METRICS).get("event") != "stop":  # killed just before it
                self._tell_stop(result)
                self.saver.require_all_written()
            return result
        with self.interruption:
            self._begin()
            while True:
                try:
                    self._train()
                    break
                except Diverged as what:
                    self._recover(what)
            result = self._result()
            if not self.saver.problem:
                self._tell_stop(result)
            self.saver.require_all_written()
        return result

    def _begin(self) -> None:
        """Save before the first step, which also shows that it can be done.

        Whatever another run left in the folder goes only then, so that there is always a `last` to
        resume from; a run that was killed before it was all gone removes the rest when it resumes.
        """
        self.saver.save_first(self._last_checkpoint())
        if self.trainer.steps_done == 0:
            clear_folder(self.folder, (self.folder / LAST, *self.text.paths, *self.text.val_file))
        self._event("start", **self._start_facts())
        self._event("save", file=LAST)
        if self.saver.metrics.problem:
            raise UnwritableError(self.saver.metrics.problem)
        if self.trainer.total_steps is None:
            self._plan()  # where the pace is known from before, and the end is a new one

    def _train(self) -> None:
        """Until the end, or a signal; then all is saved."""
        with suppress(Interrupted):
            while not self.interruption.signal_name:
                if self.losses.count and (self.finished() or self._evaluation_is_due()):
                    self._evaluate()
                elif self.finished():
                    break
                else:
                    self._step()
        if self.losses.count or self.saver.problem:  # steps since the last save
            self._save_last()

    def _recover(self, what: Diverged) -> None:
        trainer, failed = self.trainer, self.trainer.steps_done
        try:
            self._load_evaluations(recovery.go_back(trainer, self.saver, what))
        except CharlstmError:
            raise
        except MALFORMED_ERRORS as error:
            raise CharlstmError(f"{self.saver.good}: cannot be gone back to ({error!r})") from None
        self._event("recovery", what=str(what), failed_step=failed,
                    rate_factor=0.5**trainer.halvings,
                    recoveries_left=recovery.RECOVERIES - trainer.halvings)  # fmt: skip
        self._save_last()

    def _step(self) -> None:
        trainer, config = self.trainer, self.trainer.config
        rate = trainer.learning_rate
        began = time.monotonic()
        loss = trainer.step()
        self.time_budget.count_step(time.monotonic() - began)
        step = trainer.steps_done
        recovery.check_step(step, loss, trainer.gradient_norm)
        self.losses.add(loss)
        if self.losses.count >= RECENT_STEPS:
            recovery.check_losses(step, self.losses.recent, len(self.corpus.vocab))
        self.observer({"event": "step", "step": step, "train_loss": loss,
                       "total_steps": trainer.total_steps,
                       "characters": trainer.characters_per_step})  # fmt: skip
        log_every = LOG_EVERY
        if self.eval_every is not None:
            log_every = max(1, self.eval_every // LOGS_PER_EVALUATION)
        if step % log_every == 0 or self.finished():
            self._plan()
            self._log(rate)
        elif not self._plan_told:
            self._plan()
        if config.keep_every and step % config.keep_every == 0:
            self._require_good()
            weights, model = next(iter(self._models().items()))
            self._save(f"step-{step:06d}.safetensors", weights, model)

    def _evaluation_is_due(self) -> bool:
        """Whether one follows the last step: also if a signal came before or during it."""
        config, trainer = self.trainer.config, self.trainer
        if not self.eval_every or trainer.steps_done % self.eval_every:
            return False
        if config.minutes is None or config.eval_every != AUTO or trainer.total_steps is None:
            return True
        # not twice in a row, where the end of the time is near
        return trainer.total_steps - trainer.steps_done >= self.eval_every // 2

    def _plan(self) -> None:
        """Fit the end to the time budget, once the speed is known, and again and again."""
        config, trainer = self.trainer.config, self.trainer
        if not self.time_budget.speed_is_known:
            return
        if config.minutes is not None:
            remaining = config.minutes * 60 - self.elapsed
            if not self.time_budget.seconds_per_evaluation:
                self._shorten_validation(self.time_budget.affordable_characters(remaining))
                self.time_budget.estimate_evaluation(len(self.validation.ids))
            steps = self.time_budget.steps_within(remaining, self.eval_every)
            trainer.total_steps = trainer.steps_done + steps
            if self.eval_every is None:
                between = max(1, steps // self.time_budget.evaluations_within(remaining))
                self.eval_every = min(MAX_STEPS_BETWEEN_EVALUATIONS, between)
        if not (self._plan_told or trainer.total_steps is None or self.finished()):
            self._plan_told = True
            remaining = trainer.total_steps - trainer.steps_done
            self.observer({"event": "plan", "total_steps": trainer.total_steps,
                           "epochs": trainer.total_steps / trainer.batches.windows_per_pass,
                           "seconds": remaining * self.time_budget.seconds_per_step})  # fmt: skip

    def _shorten_validation(self, most: int) -> None:
        """Where the last evaluation alone would take much of the time, or more than there is."""
        whole_text = len(self.validation.ids)
        self.validation.shorten(most)
        if len(self.validation.ids) < whole_text:
            self._notice(
                f"validation losses are of the first {len(self.validation.ids):,} of "
                f"{whole_text:,} {self.corpus.vocab.unit}s: for more there is no time"
            )

    def _evaluate(self) -> None:
        began = time.monotonic()
        trainer = self.trainer
        train_loss = self.losses.mean
        self._require_good()
        models = self._models()
        val_losses = self.validation.evaluate(models, trainer.workers, self.interruption.check)
        for val_loss in val_losses.values():
            recovery.check_step(trainer.steps_done, val_loss, 0.0)
        weights, is_best = next(iter(models)), True  # the latest, without validation
        if val_losses:
            weights = min(val_losses, key=val_losses.__getitem__)
            val_loss = val_losses[weights]
            trainer.schedule.observe(val_loss)
            is_best = self.validation.add(Evaluation(trainer.steps_done, train_loss, val_loss))
        self.losses = LossHistory()
        self._event("eval", train_loss=train_loss, val_loss=val_losses.get(weights),
                    val_losses=val_losses, weights=weights, is_best=is_best)  # fmt: skip
        model = models[weights]
        sample = model.sample(SAMPLE_CHARACTERS, seed=trainer.steps_done)
        self.observer({"event": "sample", "text": sample})
        if is_best:
            self._save(BEST, weights, model)
        self._save_last()
        self.time_budget.count_evaluation((time.monotonic() - began) / len(models))

    def _models(self) -> dict[str, CharModel]:
        """What to evaluate: the average of the weights, and after the last step these as well.

        Until then the rate is high and the average better; to measure both would take time off
        the training.
        """
        last, average = {"last": self.trainer.model}, self.trainer.averaged
        if average is None:
            return last
        return {"average": average, **(last if self.finished() else {})}

    def _require_good(self) -> None:
        """Raise Diverged where the state is none to go back to."""
        recovery.check_state(self.trainer)
        recovery.check_losses(self.trainer.steps_done, self.losses.recent, len(self.corpus.vocab))

    def _result(self) -> TrainedRun:
        reason, found = self.interruption.signal_name, []
        if self.finished() and not self.losses.count:
            reason = "finished" if self._at_end() else "stopped early"
            found = find_warnings(self.validation.evaluations, self.trainer.config)
        loss, steps = self.validation.best_val_loss, self.trainer.steps_done
        return TrainedRun(self.folder, loss, steps, reason, tuple(found))

    # -- its files --------------------------------------------------------------------------

    def _save(self, name: str, weights: str, model: CharModel) -> None:
        self._write(name, Checkpoint(model, self._summary(weights)))

    def _save_last(self) -> None:
        recovery.check_state(self.trainer)
        self._write(LAST, self._last_checkpoint())

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        """Save; where that cannot be now, say so once, and again when it is done."""
        saver = self.saver
        was_behind = bool(saver.problem)
        for file in saver.save(name, checkpoint):
            self._event("save", file=file)
        if saver.problem and not was_behind:
            self._notice(f"{saver.problem}; training goes on, and tries again when it saves next")
        elif was_behind and not saver.problem:
            self._notice(f"{self.folder}: all is saved again, up to step {saver.saved_step:,}")

    def _summary(self, weights: str) -> dict[str, Any]:
        """How far the run is, for every checkpoint; weights: "last" or "average"."""
        return {
            "weights": weights,
            "step": self.trainer.steps_done,
            "total_steps": self.trainer.total_steps,
            "epoch": self.trainer.epoch,
            "seconds": round(self.elapsed, 3),
            "val_loss": self.validation.val_loss,
            "best_val_loss": self.validation.best_val_loss,
            "train_characters": self.train_characters,
        }

    def _last_checkpoint(self) -> Checkpoint:
        """The last weights with all that it takes to go on from them."""
        training = {
            "config": self.trainer.config.to_dict(),
            "corpus": self.text.to_dict(),
            "digest": self.corpus.digest,
            "kernels": kernels.DESCRIPTION,
            "extended": self.extended,
            "trainer": self.trainer.to_dict(),
            "eval_every": self.eval_every,
            "validation": self.validation.to_dict(),
            "seconds": self.elapsed,
            "time_budget": self.time_budget.to_dict(),
            "losses": self.losses.to_dict(),
        }
        summary = self._summary("last")
        return Checkpoint(self.trainer.model, summary, training, self.trainer.arrays())

    def load_dict(self, training: dict[str, Any]) -> None:
        """Go on from the `training` record of a `last` checkpoint."""
        self._load_evaluations(training)
        if training["eval_every"] is not None:
            self.eval_every = integer(training, "eval_every", least=1)
        self.time_budget.load_dict(training["time_budget"])
        remove_unfinished(self.folder)
        self.saver.metrics.forget_after(self.trainer.steps_done, evaluated=not self.losses.count)

    def _load_evaluations(self, training: dict[str, Any]) -> None:
        self.validation.load_dict(training["validation"])
        self.losses = LossHistory.from_dict(training["losses"])

    # -- what it tells ----------------------------------------------------------------------

    def _start_facts(self) -> dict[str, Any]:
        """The facts that the event `start` holds."""
        model, trainer = self.trainer.model, self.trainer
        return {
            "format": METRICS_FORMAT,
            "run": str(self.folder),
            "resumed": trainer.steps_done > 0,
            "finished": self.finished(),
            "characters": self.corpus.characters,
            "unit": self.corpus.vocab.unit,
            "vocabulary": len(self.corpus.vocab),
            "train_characters": self.train_characters,
            "validation_characters": self.corpus.characters - self.train_characters,
            "parameters": model.parameters.count,
            "total_steps": trainer.total_steps,
            "windows_per_pass": trainer.batches.windows_per_pass,
            "kernels": kernels.DESCRIPTION,
            "precision": explain_precision(trainer.config.precision, model.config),
            "notices": self.notices,
            "model": model.config.to_dict(),
            "config": trainer.config.to_dict(),
            "best_val_loss": self.validation.best_val_loss,
        }

    def _tell_stop(self, result: TrainedRun) -> None:
        best = self.validation.best
        self._event("stop", reason=result.reason, best_val_loss=result.best_val_loss,
                    best_step=best and best.step, warnings=result.warnings)  # fmt: skip

    def _log(self, rate: float) -> None:
        self._event(
            "train",
            train_loss=self.losses.mean_since_log(),
            learning_rate=rate,
            gradient_norm=self.trainer.gradient_norm,
            characters_per_second=round(self.time_budget.characters_per_second),
            total_steps=self.trainer.total_steps,
        )

    def _timed(self, kind: str, about: Event) -> Event:
        return {
            "event": kind,
            "step": self.trainer.steps_done,
            "epoch": self.trainer.epoch,
            "seconds": round(self.elapsed, 3),
            **about,
        }

    def _event(self, kind: str, **about: Any) -> None:
        event = self._timed(kind, about)
        was_behind = bool(self.saver.metrics.problem)
        self.saver.metrics.append(event)
        self.observer(event)
        if self.saver.metrics.problem and not was_behind:
            self._notice(f"{self.saver.metrics.problem}; training goes on, its lines wait")
        elif was_behind and not self.saver.metrics.problem:
            self._notice(f"{self.saver.metrics.path}: all its lines are written again")

    def _notice(self, text: str) -> None:
        self._event("notice", text=text)
