"""RunDisplay and CorpusDisplay: the progress of a run, for people, on standard error.

On a terminal, lines are broken at spaces, and a progress bar stands below them. In a file or a pipe
there are only lines.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from charlstm.config import ModelConfig, TrainConfig, textbook_in_words
from charlstm.runs.folder import REPORT
from charlstm.runs.metrics import Event
from charlstm.runs.progress_bar import Fields, FittedBar, graph, notebook_bar, percentage
from charlstm.system.terminal import columns_of, messages_stream, visible, write_styled
from charlstm.system.wording import counted, duration, fitted, in_bits, rounded, wrapped

# Without a terminal, the progress is written this number of seconds after the latest line.
SECONDS_BETWEEN_LINES = 60.0
SMOOTHING = 0.05  # weight of the newest value in an exponential moving average
UNLIMITED = 10**9  # columns


class MovingAverage:
    """An exponential moving average, which starts as the plain mean of the first values.

    value: the average; None before the first value.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._count = 0

    def add(self, value: float) -> None:
        """Add a value."""
        self._count += 1
        before = value if self.value is None else self.value
        self.value = before + max(SMOOTHING, 1 / self._count) * (value - before)


class CorpusDisplay:
    """Shows a progress bar for each pass over files or texts that takes longer than a second.

    unit: the unit in which progress is counted; "B" is bytes.
    """

    def __init__(self, unit: str = "B") -> None:
        self._unit = unit
        self._bar: FittedBar | None = None

    def __call__(self, done: int, total: int, activity: str) -> None:
        """Show that `done` of `total` units are done. activity: a word such as "scanning"."""
        if self._bar is None or self._bar.activity != activity:
            self.close()
            self._bar = FittedBar(total, self._unit, activity, delay=1)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class RunDisplay:
    """Shows the events of a run: lines of text and, on a terminal, a progress bar below them.

    verbose: whether to show the settings of the training too.
    in_words: returns a message with the names of arguments as the user knows them; by default as
        the library writes them.
    clock: returns the time in seconds.
    """

    def __init__(
        self,
        verbose: bool = False,
        in_words: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._verbose, self._clock = messages_stream(), verbose, clock
        self._in_words = in_words
        self._bar: FittedBar | None = None
        self._notebook_bar: Any = None
        self._unit = "character"
        self._end_moves = False
        self._step, self._total = 0, 0
        self._loss, self._step_seconds = MovingAverage(), MovingAverage()
        self._step_time = self._line_time = 0.0  # times of the newest step and the newest line
        self._symbols_per_step = 0.0  # number of symbols that a step reads

    def __call__(self, event: Event) -> None:
        """Show an event. The event "start" is shown by the method _on_start, and so on."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._notebook_bar is not None:
            self._notebook_bar.close()
            self._notebook_bar = None

    def _print(
        self, text: str, style: str | None = None, indent: str = "  ", first: str = ""
    ) -> None:
        if self._bar is not None:
            self._bar.clear()
        lines = wrapped(text, columns_of(self._stream), indent, first)
        write_styled(self._stream, lines, style)
        if self._bar is not None:
            self._bar.refresh()
        else:
            self._stream.flush()
        self._line_time = self._clock()

    def _on_start(self, event: Event) -> None:
        model = ModelConfig.from_dict(event["model"])
        config = TrainConfig.from_dict(event["config"])
        if event["engine"] != "native":
            reason = self._in_words(event["reason"])
            self._print(f"Computed by {visible(event['kernels'])}: {visible(reason)}")
        self._unit = unit = event["unit"]
        validation = event["validation_characters"]
        held_out = f", {validation:,} to validate on" * bool(validation)
        self._print(
            f"Text: {counted(event['train_characters'], unit)} to learn from{held_out} "
            f"({event['vocabulary']:,} distinct)"
        )
        if event["mix_characters"]:
            share = f"{config.mix_share:.0%} of each step"
            self._print(f"Mixed in: {counted(event['mix_characters'], unit)}, {share}")
        self._print(
            f"Model: {model.cell.upper()}, {counted(model.layers, 'layer')} of "
            f"{counted(model.hidden, 'unit')}, {counted(event['parameters'], 'parameter')}; "
            f"saved in {visible(event['run'])}"
        )
        if event["report"]:
            page = Path(event["run"]) / REPORT
            self._print(f"To watch: open {visible(str(page))} in a browser")
        if event["origin"] is not None and not event["resumed"]:
            self._print(visible(self._in_words(self._beginning(event["origin"]))))
        if self._verbose:
            self._print_settings(event, model, config)
        for notice in event["notices"]:
            self._print(f"note: {visible(self._in_words(notice))}")
        if event["finished"]:
            new_end = self._in_words("(`steps`, `epochs` or `minutes`)")
            self._print(
                f"the run has finished already, after {counted(event['step'], 'step')}: to "
                f"continue it, give a new end {new_end}, counted from its first step"
            )
            return
        if event["resumed"]:
            self._print(f"resuming the run from step {event['step']:,}")
        self._end_moves = config.minutes is not None
        self._step, self._total = event["step"], event["total_steps"] or 0
        self._step_time = self._clock()
        self._bar = FittedBar(0, "step", "", self._fields, file=self._stream)
        self._notebook_bar = notebook_bar("step")

    def _print_settings(self, event: Event, model: ModelConfig, config: TrainConfig) -> None:
        unit, streams, length = event["unit"], config.batch_size, config.seq_length
        read = f"{counted(streams, 'stream')}, windows of {counted(length, unit)}"
        if model.lines:
            read = f"{counted(streams, 'line')} of up to {counted(length, unit)}"
        ratio = event["parameters"] / max(1, event["train_characters"])
        self._print(f"Kind: {textbook_in_words(model, config)}")
        self._print(
            f"Each step: {read}; {config.optimizer} with a learning rate of {config.lr:g} at its "
            f"peak; dropout {config.dropout:g}"
        )
        self._print(
            f"Computed with {event['kernels']}, {event['precision']}, "
            f"{counted(config.workers, 'worker')}, seed {config.seed}; {rounded(ratio)} parameters "
            f"for each {unit} of training text"
        )

    def _beginning(self, origin: Event) -> str:
        """Return a sentence on the run from whose weights this run started."""
        step = "" if origin["step"] is None else f" (step {origin['step']:,})"
        added, loss = origin["added"], origin["val_loss"]
        sentence = f"starts from {origin['path']}{step}: "
        if loss is not None:
            measured = in_bits(loss, self._unit)
            sentence += f"{measured} on the validation text before the first step, "
        if origin["mix_val_loss"] is not None:
            sentence += f"{in_bits(origin['mix_val_loss'], self._unit)} on the text of `mix`, "
        sentence += f"{counted(added, self._unit)} added"
        if origin["symbols"]:
            more = ", ..." if added > len(origin["symbols"]) else ""
            sentence += f" ({' '.join(origin['symbols'])}{more})"
        return sentence

    def _on_plan(self, event: Event) -> None:
        self._total = event["total_steps"]
        steps = counted(self._total_in_words(), "step")
        passes = counted(rounded(event["epochs"]), "pass", "passes")
        time_in_words = duration(event["seconds"])
        self._print(f"Plan: {steps}, {passes} over the text, about {time_in_words}", "dim")

    def _total_in_words(self) -> str:
        """Return the number of steps of the run; rounded if it depends on the speed."""
        return f"about {rounded(self._total)}" if self._end_moves else f"{self._total:,}"

    def _on_step(self, event: Event) -> None:
        now = self._clock()
        self._loss.add(event["train_loss"])
        self._step_seconds.add(now - self._step_time)
        self._step, self._step_time = event["step"], now
        self._total, self._symbols_per_step = event["total_steps"] or 0, event["characters"]
        if self._notebook_bar is not None:
            self._notebook_bar.total = self._total or None
            self._notebook_bar.set_description(
                in_bits(self._loss.value or 0.0, self._unit, 2), False
            )
            self._notebook_bar.update(self._step - self._notebook_bar.n)
        elif columns_of(self._stream) is None:
            if now - self._line_time >= SECONDS_BETWEEN_LINES:
                self._print(fitted(self._fields(), UNLIMITED))
        elif self._bar is not None:
            self._bar.update()

    def _fields(self) -> Fields:
        """Return the fields of the progress bar or, without a terminal, of a line of text."""
        done, total, left, speed = f"step {self._step:,}", self._total, "", ""
        if seconds := self._step_seconds.value:
            speed = f"{rounded(self._symbols_per_step / seconds)} {self._unit}s/s"
            if total:
                left = f"{duration((total - self._step) * seconds)} left"
        if total:
            done += f" of {self._total_in_words()}"
        loss = self._loss.value
        on_terminal = columns_of(self._stream) is not None
        return [
            (0, percentage(self._step, total) if total else ""),
            (4, graph(self._step, total, self._stream) if total and on_terminal else ""),
            (3, done),
            (1, "" if loss is None else in_bits(loss, self._unit, 2)),
            (2, left),
            (5, speed),
        ]

    def _on_eval(self, event: Event) -> None:
        self._step_time = self._clock()
        line = f"step {event['step']:,}: training "
        if event["val_loss"] is None:
            self._print(line + in_bits(event["train_loss"], self._unit), "dim")
            return
        training = in_bits(event["train_loss"], self._unit).split()[0]
        line += f"{training}, validation {in_bits(event['val_loss'], self._unit)}"
        if event["mix_val_loss"] is not None:
            mixed = self._in_words("on the text of `mix`")
            line += f", {in_bits(event['mix_val_loss'], self._unit)} {mixed}"
        line += ", best so far" * event["is_best"]
        if self._verbose and event["weights"] == "average":
            line += " (averaged weights)"
        self._print(line, "bold" if event["is_best"] else "dim")

    def _on_sample(self, event: Event) -> None:
        for line in event["text"].split("\n"):
            self._print(visible(line), None, "    ", "    ")
        self._step_time = self._clock()

    def _on_save(self, event: Event) -> None:
        self._step_time = self._clock()  # The time of saving does not count as that of a step.

    def _on_recovery(self, event: Event) -> None:
        self._print(
            f"{event['cause']}: back to step {event['step']:,}, from there on with "
            f"{event['rate_factor']:g} of the learning rate"
        )
        self._loss = MovingAverage()
        self._step = event["step"]

    def _on_notice(self, event: Event) -> None:
        self._print(f"note: {visible(self._in_words(event['text']))}")

    def _on_stop(self, event: Event) -> None:
        self.close()
        if event["reason"] == "stopped early" and event["best_step"] is not None:
            best = event["best_step"]
            self._print(f"stopped early: no lower validation loss after step {best:,}")
        for warning in event["warnings"]:
            self._print(f"note: {self._in_words(warning)}")
