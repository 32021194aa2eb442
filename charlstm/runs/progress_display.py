"""RunDisplay and CorpusDisplay: the progress of a run, on standard error."""

import math

from tqdm import tqdm

from charlstm.runs.metrics import Event
from charlstm.system.terminal import messages_stream, visible

# If standard error is a file, each update of a progress bar adds a line to the file. Updates are
# then at least this many seconds apart.
SECONDS_IN_A_LOG = 10.0
SMOOTHING = 0.05  # This is the weight of the newest value in an exponential moving average.


def duration(seconds: float) -> str:
    """Format a duration for people: "50 s", "about 3 min", "about 2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def in_nats_and_bits(loss: float) -> str:
    """Format a loss, given in nats, in both units: "1.2345 nats (1.781 bits)"."""
    return f"{loss:.4f} nats ({loss / math.log(2):.3f} bits)"


class CorpusDisplay:
    """Shows a progress bar for each pass over files or texts that takes longer than a second.

    unit: the unit in which progress is counted; "B" is bytes.
    """

    def __init__(self, unit: str = "B") -> None:
        self._unit = unit
        self._stream = messages_stream()
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int, activity: str) -> None:
        """Show that `done` of `total` units are done. activity: a word such as "scanning"."""
        if self._bar is None or self._bar.desc != f"{activity}: ":
            self.close()
            self._bar = tqdm(
                total=total,
                desc=activity,
                unit=self._unit,
                unit_scale=True,
                delay=1,
                file=self._stream,
                dynamic_ncols=True,
            )
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Stop updating the progress bar; its last state stays on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class RunDisplay:
    """Shows the events of a run: a bar with loss, speed and time left, and lines of text above."""

    def __init__(self) -> None:
        self._stream = messages_stream()
        self._bar: tqdm | None = None
        self._smoothed_loss: float | None = None
        self._unit = "character"

    def __call__(self, event: Event) -> None:
        """Show an event. The event "start" is shown by the method _on_start, and so on."""
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def close(self) -> None:
        """Stop updating the progress bar; its last state stays on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _print(self, line: str) -> None:
        tqdm.write(line, file=self._stream)

    def _on_start(self, event: Event) -> None:
        model, config, unit = event["model"], event["config"], event["unit"]
        self._unit = unit
        ratio = event["parameters"] / max(1, event["train_characters"])
        gates = " with capped input gates" * model["capped"]
        skips = ", skip connections" * model["skip"]
        batch = f"{config['batch_size']} streams, windows of {config['seq_length']}"
        if model["lines"]:
            batch = (
                f"{config['batch_size']} lines of up to {config['seq_length']} {unit}s at a time"
            )
        self._print(f"{event['kernels']}, {event['precision']}, {config['workers']} workers")
        self._print(
            f"{event['characters']:,} {unit}s, {event['vocabulary']:,} distinct: "
            f"{event['train_characters']:,} to train on, "
            f"{event['validation_characters']:,} to validate"
        )
        table = f", contexts of 2 to {model['ngrams']} {unit}s" if model["ngrams"] else ""
        self._print(
            f"{model['layers']} layer{'s' * (model['layers'] > 1)} of {model['hidden']} "
            f"{model['cell'].upper()} units{gates}{skips}{table}, "
            f"{event['parameters']:,} parameters, {ratio:.2f} for each {unit} of training text"
        )
        if event["origin"] is not None and not event["resumed"]:
            self._print(visible(self._beginning(event["origin"])))
        dropout = f"dropout {config['dropout']:g}"
        if config["dropout_between"] is not None:
            dropout += f" ({config['dropout_between']:g} between layers)"
        if config["weight_dropout"]:
            dropout += f", weight dropout {config['weight_dropout']:g}"
        self._print(
            f"{batch}, {config['optimizer']} at {config['lr']:g}, {dropout}, seed {config['seed']}"
        )
        for notice in event["notices"]:
            self._print(f"note: {visible(notice)}")
        if event["finished"]:
            self._print(
                f"the run has finished already, after {event['step']:,} steps: to continue it, "
                "give a new end (--steps, --epochs or --minutes), counted from its first step"
            )
            return
        if event["resumed"]:
            self._print(f"resuming the run from step {event['step']:,}")
        self._bar = tqdm(
            total=event["total_steps"],
            initial=event["step"],
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            dynamic_ncols=True,
            file=self._stream,
            smoothing=SMOOTHING,
            mininterval=0.1 if self._stream.isatty() else SECONDS_IN_A_LOG,
        )

    def _beginning(self, origin: Event) -> str:
        """Return a sentence on the run from whose weights this run started."""
        step = "" if origin["step"] is None else f" (step {origin['step']:,})"
        added, loss = origin["added"], origin["val_loss"]
        sentence = f"starts from {origin['path']}{step}: "
        if loss is not None:
            measured = f"{in_nats_and_bits(loss)} a {self._unit}"
            sentence += f"{measured} on the validation text before the first step, "
        sentence += f"{added:,} {self._unit}{'s' * (added != 1)} added"
        if origin["symbols"]:
            more = ", ..." if added > len(origin["symbols"]) else ""
            sentence += f" ({' '.join(origin['symbols'])}{more})"
        return sentence

    def _on_plan(self, event: Event) -> None:
        self._print(
            f"{event['total_steps']:,} steps, {event['epochs']:.1f} passes over the text: "
            f"{duration(event['seconds'])}"
        )

    def _on_step(self, event: Event) -> None:
        if self._bar is None:
            return
        loss = event["train_loss"]
        previous = loss if self._smoothed_loss is None else self._smoothed_loss
        self._smoothed_loss = smoothed = previous + SMOOTHING * (loss - previous)
        self._bar.total = event["total_steps"]
        speed = (self._bar.format_dict["rate"] or 0) * event["characters"]
        self._bar.set_postfix_str(
            f"{smoothed:.3f} nats {smoothed / math.log(2):.3f} bits, {speed:,.0f} {self._unit}s/s",
            refresh=False,
        )
        self._bar.update()

    def _on_eval(self, event: Event) -> None:
        training = in_nats_and_bits(event["train_loss"])
        if event["val_loss"] is None:
            self._print(f"step {event['step']:,}: training {training} a {self._unit}")
            return
        best = ", the best so far" if event["is_best"] else ""
        best += " (averaged weights)" if event["weights"] == "average" else ""
        self._print(
            f"step {event['step']:,}: training {event['train_loss']:.4f}, validation "
            f"{in_nats_and_bits(event['val_loss'])} a {self._unit}{best}"
        )

    def _on_sample(self, event: Event) -> None:
        self._print("\n".join(f"    {visible(line)}" for line in event["text"].split("\n")))

    def _on_recovery(self, event: Event) -> None:
        self._print(
            f"{event['cause']}: back to step {event['step']:,}, from there on with "
            f"{event['rate_factor']:g} of the learning rate"
        )
        self._smoothed_loss = None
        if self._bar is not None:
            self._bar.n = event["step"]

    def _on_notice(self, event: Event) -> None:
        self._print(f"note: {visible(event['text'])}")

    def _on_stop(self, event: Event) -> None:
        self.close()
        if event["reason"] == "stopped early" and event["best_step"] is not None:
            self._print(f"stopped early: nothing was better than step {event['best_step']:,}")
        for warning in event["warnings"]:
            self._print(f"note: {warning}")
