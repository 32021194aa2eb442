"""Run: the training of one model in its folder, with evaluations, checkpoints and metrics."""

import platform
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from charlstm.config import CorpusConfig
from charlstm.errors import UnwritableError
from charlstm.network.model import CharModel
from charlstm.runs import divergence
from charlstm.runs.checkpoint import Checkpoint
from charlstm.runs.divergence import Diverged, return_to_good_state
from charlstm.runs.engines import process_count
from charlstm.runs.events import EventLog
from charlstm.runs.folder import BEST, LAST, METRICS
from charlstm.runs.history import file_name, public_path
from charlstm.runs.metrics import FORMAT as METRICS_FORMAT
from charlstm.runs.metrics import last_event
from charlstm.runs.origin import Origin
from charlstm.runs.ownership import clear_folder, mark_copies_of_last, remove_unfinished
from charlstm.runs.plan import Plan
from charlstm.runs.report_writer import ReportWriter
from charlstm.runs.result import TrainedRun
from charlstm.runs.saver import Saver
from charlstm.runs.texts import split_mix
from charlstm.runs.training_state import TrainingState
from charlstm.system.paths import absolute
from charlstm.system.signals import Interrupted, StopSignals
from charlstm.system.threads import available_cores
from charlstm.text.corpus import Corpus, split_train_validation
from charlstm.text.vocab import line_end
from charlstm.training.advice import find_warnings
from charlstm.training.loss_history import RECENT_STEPS, LossHistory
from charlstm.training.trainer import Trainer
from charlstm.training.validation import Evaluation, Validation

SAMPLE_LENGTH = 150
MAX_NAMES = 100  # names of files that the event `start` has


class Run:
    """Trains one model from its present state to the end of the run, and writes the run's files.

    folder: the absolute path of the run's folder, as the working directory may change meanwhile.
    shown: the path of the folder in the form that the user gave.
    started: the time.monotonic() at which the run began. For a resumed run, `started` is the
        present time minus the seconds that the run took before it was interrupted.
    extended: whether the vocabulary also holds the symbols of the run whose weights this run
        started from.
    mix: the text of --mix; None if there is none.
    origin: the run from whose weights this run started, and the loss at the start; None if this run
        started from random weights.
    given: the settings that the user gave, by name; None for a run that is resumed.
    start_notices: sentences for the user, which the event `start` holds.
    losses: the losses of the steps since the last evaluation.
    report: writes the page that shows the run.
    has_report: whether the run has this page; False for --no-report.
    """

    def __init__(
        self,
        folder: Path,
        corpus_config: CorpusConfig,
        corpus: Corpus,
        trainer: Trainer,
        *,
        mix: Corpus | None = None,
        started: float,
        extended: bool = False,
    ) -> None:
        self.folder, self.shown = absolute(folder), folder
        self.corpus_config, self.corpus = corpus_config, corpus
        self.trainer, self.extended, self.mix = trainer, extended, mix
        self.origin: Origin | None = None
        self.given: dict[str, Any] | None = None
        self.start_notices: list[str] = []
        model = trainer.model
        split = split_train_validation(
            corpus, corpus_config, lines=model.config.lines, seed=trainer.config.seed
        )
        self.train_length = len(split.train)
        end = line_end(model.vocab) if model.config.lines else None
        of_mix = None
        if mix is not None:
            of_mix = Validation(split_mix(mix, corpus_config, model.config.lines).validation, end)
        self.validation = Validation(split.validation, end, split.starts, of_mix)
        self.losses = LossHistory()
        self.events = EventLog(folder / METRICS, trainer, started)
        self.plan = Plan(trainer, self.validation, self.events)
        self.saver = Saver(folder, self.events)
        self.report, self.has_report = ReportWriter(folder, self.events, split), True
        self.stop_signals = StopSignals(once=process_count() == 1)

    @property
    def _texts(self) -> list[Path]:
        return [self.folder / name for name in self.corpus_config.all_paths]

    def load_progress(self, state: TrainingState) -> None:
        """Load a saved state, except the state of the trainer, which the caller has loaded."""
        self.validation.load_dict(state.validation)
        self.losses = state.losses
        if state.eval_every is not None:
            self.plan.eval_every = state.eval_every
        self.plan.time_budget.load_dict(state.time_budget)

    def remove_traces_of_crash(self) -> None:
        """Remove half-written files, and the events of steps after the loaded checkpoint."""
        remove_unfinished(self.folder, keep=self._texts)
        is_evaluated = not self.losses.count
        self.events.metrics.remove_after(self.trainer.steps_done, keep_evaluation=is_evaluated)

    def train(self) -> TrainedRun:
        """Train to the end of the run, or until a signal such as SIGINT arrives, and save.

        If the training diverges, the run returns to the state of the last evaluation: see
        divergence.py.
        """
        if self.plan.finished and not self.losses.count:
            return self._return_finished()
        with self.stop_signals:
            self._begin()
            while True:
                try:
                    self._train_to_end_or_signal()
                    break
                except Diverged as cause:
                    self._recover(cause)
            result = self._result()
            if not self.saver.problem:
                self._report_stop(result)
            self.saver.require_all_written()
        return result

    def _return_finished(self) -> TrainedRun:
        """Return the result of a run that had finished before; its checkpoints are not changed."""
        self.events.observer(self.events.stamped("start", **self._start_facts()))
        result = self._result()
        # A run that was killed after its last save lacks the event `stop`.
        if last_event(self.folder / METRICS).get("event") != "stop":
            self._report_stop(result)
            self.saver.require_all_written()
        return result

    def _begin(self) -> None:
        """Save last.safetensors before the first step; UnwritableError if that fails.

        The files of an earlier run in the folder are removed only after last.safetensors has been
        saved. The folder thus always has a last.safetensors to resume from. If the new run is
        killed before it has removed the files of the earlier run, its resumption removes them.
        """
        if self.trainer.steps_done == 0:
            mark_copies_of_last(self.folder)
        began = time.monotonic()
        self.saver.save_first(self._checkpoint_of_state())
        self.plan.time_budget.seconds_per_save = time.monotonic() - began
        if self.trainer.steps_done == 0:
            clear_folder(self.folder, keep=(self.folder / LAST, *self._texts))
        self.events.write("start", **self._start_facts())
        self.events.write("save", file=LAST)
        if self.events.metrics.problem:
            raise UnwritableError(self.events.metrics.problem)
        self._write_report("running")
        if self.trainer.total_steps is None:
            # A resumed run has measured the speed of the machine: a new end is planned at once.
            self.plan.fit_end_to_time_left()

    def _train_to_end_or_signal(self) -> None:
        """Train and evaluate until the run is finished or a signal arrives; then save."""
        with suppress(Interrupted):
            while not self.stop_signals.signal_name:
                if self.losses.count and (self.plan.finished or self.plan.evaluation_is_due):
                    self._evaluate_and_save()
                elif self.plan.finished:
                    break
                else:
                    self._step()
        # Directly after an evaluation, last.safetensors holds the newest state already.
        if self.losses.count or self.saver.problem:
            self._save_last()

    def _step(self) -> None:
        """Train for one step; if due, write an event `train` or a checkpoint of keep_every."""
        trainer = self.trainer
        rate = trainer.learning_rate
        began = time.monotonic()
        loss = trainer.step()
        self.plan.time_budget.count_step(time.monotonic() - began)
        step = trainer.steps_done
        divergence.check_step(step, loss, trainer.gradient_norm)
        self.losses.add(loss)
        if self.losses.count >= RECENT_STEPS:
            self._check_losses()
        self.events.observer({"event": "step", "step": step, "train_loss": loss,
                              "total_steps": trainer.total_steps,
                              "characters": trainer.symbols_per_step})  # fmt: skip
        # With a time budget, the plan is updated after every step, as the duration of steps varies.
        if trainer.config.minutes is not None or not self.plan.is_reported:
            self.plan.fit_end_to_time_left()
        if self.plan.log_is_due:
            speed = round(self.plan.time_budget.symbols_per_second)
            self.events.write("train", train_loss=self.losses.mean_since_log(), learning_rate=rate,
                              gradient_norm=trainer.gradient_norm, characters_per_second=speed,
                              total_steps=trainer.total_steps)  # fmt: skip
        keep_every = trainer.config.keep_every
        if keep_every and step % keep_every == 0:
            self._check_all()
            weights, model = next(iter(self._models().items()))
            self._save(f"step-{step:06d}.safetensors", weights, model)

    def _evaluate_and_save(self) -> None:
        """Measure the validation loss, show a sample, and save last.safetensors.

        If the loss is the lowest so far, also save best.safetensors.
        """
        began = time.monotonic()
        trainer = self.trainer
        train_loss = self.losses.mean
        self._check_all()
        models = self._models()
        val_losses = self._losses_of(models, self.validation)
        if "last" not in models and self.plan.stops_early_after(val_losses.get("average")):
            # The run does not stop early if the last weights have the lowest loss so far.
            models["last"] = trainer.model
            val_losses |= self._losses_of({"last": trainer.model}, self.validation)
        # Without validation text, the newest weights count as the best.
        weights, is_best = next(iter(models)), True
        if val_losses:
            weights = min(val_losses, key=val_losses.__getitem__)
        mix_loss = self._mix_loss(models[weights])
        for loss in (*val_losses.values(), mix_loss or 0.0):
            divergence.check_step(trainer.steps_done, loss, 0.0)
        if self.validation.mix is not None and mix_loss is not None:
            evaluation = Evaluation(trainer.steps_done, train_loss, mix_loss)
            self.validation.mix.record_and_compare(evaluation)
        if val_losses:
            val_loss = val_losses[weights]
            trainer.schedule.observe(val_loss)
            is_best = self.validation.record_and_compare(
                Evaluation(trainer.steps_done, train_loss, val_loss)
            )
        self.losses = LossHistory()
        self.events.write("eval", train_loss=train_loss, val_loss=val_losses.get(weights),
                          val_losses=val_losses, mix_val_loss=mix_loss, weights=weights,
                          is_best=is_best)  # fmt: skip
        model = models[weights]
        sample = model.sample(SAMPLE_LENGTH, seed=trainer.steps_done)
        self.events.write("sample", text=sample)
        if is_best:
            self._save(BEST, weights, model)
        self._save_last()
        if not self.plan.finished:
            if self.has_report and is_best:
                self.report.measure(model)
            self._write_report("running")
        self.plan.time_budget.count_evaluation((time.monotonic() - began) / len(models))

    def _mix_loss(self, model: CharModel) -> float | None:
        """Return a model's loss on the validation part of the text of --mix; None without --mix."""
        if self.validation.mix is None:
            return None
        return self._losses_of({"mix": model}, self.validation.mix).get("mix")

    def _losses_of(self, models: Mapping[str, CharModel], text: Validation) -> dict[str, float]:
        """Return the loss of each model on a text, by its name: see Validation.evaluate."""
        trainer = self.trainer
        on_device = {name: trainer.engine.to_evaluate(model) for name, model in models.items()}
        return text.evaluate(on_device, trainer.workers, self.stop_signals.check)

    def _models(self) -> dict[str, CharModel]:
        """Return the models to evaluate, by the name of their weights: "average" or "last".

        If the run averages weights, the last weights are evaluated only at the end, and where the
        run would stop early. Before the end, the learning rate is high, and the average almost
        always has the lower loss. Evaluating two models each time would leave less time for
        training.
        """
        last, average = {"last": self.trainer.model}, self.trainer.averaged
        if average is None:
            return last
        return {"average": average, **(last if self.plan.finished else {})}

    def _recover(self, cause: Diverged) -> None:
        """Load the state of the last evaluation, halve the learning rate, and write an event."""
        trainer, failed_step = self.trainer, self.trainer.steps_done
        self.losses = return_to_good_state(trainer, self.validation, self.saver, cause)
        self.events.write("recovery", cause=str(cause), failed_step=failed_step,
                          rate_factor=0.5**trainer.halvings,
                          recoveries_left=divergence.MAX_RECOVERIES - trainer.halvings)  # fmt: skip
        self._save_last()

    def _check_losses(self) -> None:
        """Raise Diverged if the mean of the recent losses has exploded."""
        symbols = len(self.corpus.vocab)
        divergence.check_losses(self.trainer.steps_done, self.losses.recent, symbols)

    def _check_all(self) -> None:
        """Raise Diverged if a weight is not finite, or if the loss has exploded."""
        divergence.check_state(self.trainer)
        self._check_losses()

    def _result(self) -> TrainedRun:
        reason, warnings = self.stop_signals.signal_name, []
        unit = self.trainer.model.vocab.unit
        if self.plan.finished and not self.losses.count:
            reason = "finished" if self.plan.at_end else "stopped early"
            trainer, evaluations = self.trainer, self.validation.evaluations
            warnings = find_warnings(evaluations, trainer.config, trainer.model.config, unit)
        loss, steps, best = self.validation.best_val_loss, self.trainer.steps_done, self._best_step
        return TrainedRun(self.shown, loss, steps, reason, tuple(warnings), unit, best)

    @property
    def _best_step(self) -> int | None:
        """The step with the lowest validation loss; None without validation text."""
        best = self.validation.best
        return None if best is None else best.step

    def _report_stop(self, result: TrainedRun) -> None:
        self.events.write("stop", reason=result.reason, best_val_loss=result.best_val_loss,
                          best_step=result.best_step, warnings=result.warnings)  # fmt: skip
        interrupted = self.stop_signals.signal_name
        self._write_report("interrupted" if interrupted else "finished")

    def _write_report(self, state: str) -> None:
        """Write the report of the run, if it has one. state: as in history.state_of."""
        if self.has_report:
            self.report.write(state)

    def _save(self, name: str, weights: str, model: CharModel) -> None:
        self.saver.save(name, Checkpoint(model, self._summary(weights)))

    def _save_last(self) -> None:
        divergence.check_state(self.trainer)
        self.saver.save(LAST, self._checkpoint_of_state())

    def _checkpoint_of_state(self) -> Checkpoint:
        """Return a checkpoint of the present state: the weights and the training state."""
        state = TrainingState(
            config=self.trainer.config,
            corpus=self.corpus_config,
            digest=self.corpus.digest,
            file_bytes=self.corpus.file_bytes,
            kernels=self.trainer.engine.description,
            extended=self.extended,
            trainer=self.trainer.to_dict(),
            validation=self.validation.to_dict(),
            time_budget=self.plan.time_budget.to_dict(),
            eval_every=self.plan.eval_every,
            losses=self.losses,
            seconds=self.events.seconds,
            mix=None if self.mix is None else (self.mix.file_bytes, self.mix.digest),
            origin=self.origin,
            report=self.has_report,
            engine=self.trainer.engine.name,
            device=self.trainer.engine.device,
        )
        summary = self._summary("last")
        return Checkpoint(self.trainer.model, summary, state.to_dict(), self.trainer.arrays())

    def _summary(self, weights: str) -> dict[str, Any]:
        """Return the progress of the run, to be saved in a checkpoint.

        weights: which weights the checkpoint holds: "last" or "average".
        """
        mix = self.validation.mix
        return {
            "weights": weights,
            "step": self.trainer.steps_done,
            "total_steps": self.trainer.total_steps,
            "epoch": self.trainer.epoch,
            "seconds": round(self.events.seconds, 3),
            "val_loss": self.validation.val_loss,
            "best_val_loss": self.validation.best_val_loss,
            "train_characters": self.train_length,
            **({} if mix is None else {"mix_val_loss": mix.val_loss}),
            **({} if self.origin is None else {"origin": str(self.origin)}),
        }

    def _start_facts(self) -> dict[str, Any]:
        """Return the entries of the event `start`: sizes of text and model, and all settings."""
        model, trainer = self.trainer.model, self.trainer
        return {
            "format": METRICS_FORMAT,
            "run": str(self.shown),
            "resumed": trainer.steps_done > 0,
            "finished": self.plan.finished,
            "characters": self.corpus.length,
            "unit": model.vocab.unit,
            "vocabulary": len(model.vocab),
            "train_characters": self.train_length,
            "validation_characters": self.corpus.length - self.train_length,
            "mix_characters": 0 if self.mix is None else self.mix.length,
            "parameters": model.parameters.count,
            "total_steps": trainer.total_steps,
            "windows_per_pass": trainer.batches.windows_per_pass,
            "engine": trainer.engine.name,
            "kernels": trainer.engine.description,
            "reason": trainer.engine.reason,
            "precision": trainer.engine.explain_precision(trainer.config.precision, model.config),
            "origin": None if self.origin is None else self.origin.to_dict(),
            "notices": self.start_notices,
            "report": self.has_report,
            **({} if self.given is None else {"given": _named(self.given, public_path)}),
            "corpus": _named(self.corpus_config.to_dict(), file_name),
            "machine": f"{platform.system()} on {platform.machine()}, {available_cores()} cores",
            "versions": {
                "charlstm": sys.modules["charlstm"].__version__,
                "Python": platform.python_version(),
                "NumPy": np.__version__,
            },
            "model": model.config.to_dict(),
            "config": trainer.config.to_dict(),
            "best_val_loss": self.validation.best_val_loss,
        }


def _named(settings: Mapping[str, Any], name_of: Callable[[str], str]) -> dict[str, Any]:
    """Return settings in which each path is replaced by its name. name_of: returns the name."""
    paths = ("paths", "val_file", "mix")
    return {
        name: [name_of(path) for path in value[:MAX_NAMES]] if name in paths else value
        for name, value in settings.items()
    }
