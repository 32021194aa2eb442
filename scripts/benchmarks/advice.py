#!/usr/bin/env python3
"""Counts how often the advice at the end of a run is right.

    .venv/bin/python scripts/benchmarks/advice.py
        makes the runs that the table lacks, about 20 minutes for all of them
    .venv/bin/python scripts/benchmarks/advice.py --print
        the counts and the runs that the table holds, without a run; no text is needed

Advice is a warning at the end of a run that proposes a change of an option. For each run that is
judged, every change that advice could propose is tried in a second run, and the validation losses
of the two runs are compared. The table thus tells which changes are right, whether or not the
advice proposes them.

More dropout is advised if the validation loss rises at the end of a run, so that more dropout is
judged by the validation loss of the last weights. The other changes are judged by the lowest
validation loss of the run. "Fewer steps" ends a run that overfits at the step of its best
evaluation; the advice never proposes fewer steps.

Each finished run adds a row to the table, and a run that has a row is not repeated: the script can
be stopped at any time and started again. A row is found by its text, options, kernels, machine and
commit. A row holds the evaluations of its run.
"""

import json
import math
import re
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

try:
    from advice_trials import SUITABLE, Trial, rate_factor, rounded, text_file, trials
    from common import (
        Origin,
        append_row,
        markdown_table,
        read_rows,
        stored_settings,
        this_origin,
    )
    from tqdm import tqdm

    import charlstm
    from charlstm import CharlstmError, ModelConfig, TrainConfig
    from charlstm.config import knobs_of
    from charlstm.config.knobs import Record
    from charlstm.training.advice import MAX_ADVISED_DROPOUT, MORE_DROPOUT, find_warnings
    from charlstm.training.validation import Evaluation
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/advice.py"
    )

TABLE = Path(__file__).with_suffix(".tsv")
# A change is right if it saves more than this fraction of the validation loss, and wrong if it
# raises that loss.
MARGIN = 0.02
KINDS = ("right", "of little effect", "wrong")


class Result(NamedTuple):
    """A row of the table: a run that is judged, or a run that tries a change."""

    text: str
    asked: str  # the options given, in JSON
    reason: str  # why the run ended; "diverged" if it ended with an error
    evaluations: str  # in JSON: step, training loss and validation loss of each
    seconds: int
    settings: str  # stored in the run's checkpoint, in JSON
    kernels: str
    cpu: str
    cores: str
    commit: str

    @property
    def origin(self) -> Origin:
        """The kernels, the machine and the commit of the run."""
        return Origin(self.kernels, self.cpu, self.cores, self.commit)

    @property
    def key(self) -> tuple[str, ...]:
        """The key of the row: runs of one key have one result."""
        return (self.text, self.asked, *self.origin)

    @property
    def trial(self) -> Trial:
        """The run to make again."""
        return Trial(self.text, json.loads(self.asked))

    @property
    def series(self) -> list[Evaluation]:
        """The evaluations of the run."""
        return [Evaluation(*each) for each in json.loads(self.evaluations)]

    @property
    def best(self) -> Evaluation | None:
        """The evaluation with the lowest validation loss; None for a run that diverged."""
        if self.reason == "diverged":
            return None
        return min(self.series, key=lambda e: e.val_loss)

    def loss_after(self, change: str) -> float:
        """The validation loss that a change is judged by; infinite for a run that diverged."""
        if self.best is None:
            return math.inf
        return (self.series[-1] if change == "more dropout" else self.best).val_loss

    @property
    def overfits(self) -> bool:
        """Whether the validation loss rose by more than 1 % since the best evaluation."""
        return self.best is not None and self.series[-1].val_loss > 1.01 * self.best.val_loss

    @property
    def config(self) -> TrainConfig:
        """The settings of the training, as the run chose them."""
        return TrainConfig(**self._settings_of(TrainConfig))

    @property
    def model(self) -> ModelConfig:
        """The settings of the model, as the run chose them."""
        return ModelConfig(**self._settings_of(ModelConfig))

    def _settings_of(self, kind: type[Record]) -> dict[str, Any]:
        names = knobs_of(kind)
        return {name: v for name, v in json.loads(self.settings).items() if name in names}


# -- runs -----------------------------------------------------------------------------------


def measure(trial: Trial, origin: Origin) -> Result:
    """Make a run."""
    began, evaluations = time.monotonic(), []

    def observe(event: dict[str, Any]) -> None:
        if event["event"] == "eval":
            losses = round(event["train_loss"], 4), round(event["val_loss"], 4)
            evaluations.append([event["step"], *losses])
        elif event["event"] == "recovery":
            evaluations[:] = [each for each in evaluations if each[0] <= event["step"]]

    with TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        try:
            run = charlstm.train(
                text_file(trial.text), path, observer=observe, workers=1, **trial.settings
            )
            reason = run.reason
        except CharlstmError as error:
            if "a lower `lr`" not in str(error):
                raise
            reason = "diverged"
        if reason not in ("finished", "diverged"):
            sys.exit(f"{trial}: not measured ({reason}); the table holds the runs before it")
        settings = stored_settings(path)
    return Result(
        trial.text,
        trial.asked,
        reason,
        json.dumps(evaluations),
        round(time.monotonic() - began),
        settings,
        *origin,
    )


def changes(result: Result) -> dict[str, Trial]:
    """The runs that each try one change to a run, by the name of the change.

    More steps and more dropout are not tried on a run with an unsuitable learning rate.
    """
    trial, config, best = result.trial, result.config, result.best
    if best is None:
        return {}
    factor = rate_factor(trial)
    found = {"three times the rate": trial.changed(lr=rounded(config.lr * 3))}
    if factor:
        found["a third of the rate"] = trial.changed(lr=rounded(config.lr / 3))
    if factor in (None, SUITABLE):
        found["twice the steps"] = trial.changed(steps=2 * trial.settings["steps"])
        dropout = min(MAX_ADVISED_DROPOUT, round(config.dropout + MORE_DROPOUT, 2))
        found["more dropout"] = trial.changed(dropout=dropout)
    if result.overfits:
        found["fewer steps"] = trial.changed(steps=best.step)
    return found


def measure_missing(table: Path) -> None:
    """Make each run that has no row in the table, and add its row."""
    known, origin = {result.key: result for result in read_results(table)}, this_origin()

    def find(trial: Trial) -> Result:
        key = (trial.text, trial.asked, *origin)
        if key not in known:
            known[key] = measure(trial, origin)
            append_row(table, known[key]._asdict())
        return known[key]

    first = [find(trial) for trial in tqdm(list(trials()), desc="runs", unit="run")]
    changed = [trial for result in first for trial in changes(result).values()]
    for trial in tqdm(changed, desc="changed runs", unit="run"):
        find(trial)


def read_results(path: Path) -> list[Result]:
    """The rows of the table."""
    types = Result.__annotations__
    rows = read_rows(path, Result._fields)
    return [Result(**{name: types[name](row[name]) for name in types}) for row in rows]


# -- tables ---------------------------------------------------------------------------------


def compared(results: list[Result]) -> Iterator[tuple[Result, dict[str, float]]]:
    """Yield each run that is judged, with the fraction of its loss that each change saves.

    A change is left out if its run has no row with the same kernels, machine and commit. The
    fraction is negative if the change raises the validation loss; a run that diverges has an
    infinite loss.
    """
    known = {result.key: result for result in results}
    given = {(trial.text, trial.asked) for trial in trials()}
    for result in results:
        if (result.text, result.asked) not in given or result.best is None:
            continue
        saved = {}
        for name, trial in changes(result).items():
            other = known.get((trial.text, trial.asked, *result.origin))
            if other is not None:
                before, after = (each.loss_after(name) for each in (result, other))
                saved[name] = 1 - after / before
        yield result, saved


def advised(result: Result) -> set[str]:
    """The arguments and values that the warnings at the end of a run name: "steps=500"."""
    warnings = find_warnings(result.series, result.config, result.model, "symbol")
    return set(re.findall(r"`([a-z_]+=[0-9.e-]*[0-9])`", " ".join(warnings)))


def verdict(saved: float) -> str:
    """Judge a change by the fraction of the loss that it saves."""
    return "right" if saved > MARGIN else "wrong" if saved < 0 else "of little effect"


def count(results: list[Result]) -> dict[str, Counter[tuple[str, bool]]]:
    """The number of runs by change, by its verdict, and by whether it was advised."""
    counts: dict[str, Counter[tuple[str, bool]]] = {}
    for result, saved in compared(results):
        ways = advised(result)
        for name, trial in changes(result).items():
            if name in saved:
                (option, value), *_ = trial.settings.items() - result.trial.settings.items()
                key = verdict(saved[name]), f"{option}={value:.3g}" in ways
                counts.setdefault(name, Counter())[key] += 1
    return counts


def counts_table(results: list[Result]) -> str:
    """A table with a row for each change: how many runs were advised to make it."""
    rows = [
        [name, *(f"{each[kind, True]} of {each[kind, True] + each[kind, False]}" for kind in KINDS)]
        for name, each in count(results).items()
    ]
    return markdown_table(("advised", *KINDS), rows)


def runs_table(results: list[Result]) -> str:
    """A table with a row for each run that advice is given to, and what each change saves."""
    columns: dict[str, None] = {}
    rows = list(compared(results))
    for _, saved in rows:
        columns |= dict.fromkeys(saved)
    cells = [
        [
            result.text,
            " ".join(f"{name}={value}" for name, value in result.trial.settings.items()),
            f"{result.best.val_loss:.4f}" if result.best else "",
            *(f"{saved[name]:.1%}" if name in saved else "" for name in columns),
            ", ".join(sorted(advised(result))),
        ]
        for result, saved in rows
    ]
    return markdown_table(("text", "options", "lowest loss", *columns, "advised"), cells)


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results [default: {TABLE.name}]"
    )
    parser.add_argument(
        "--print",
        action="store_true",
        help="print the rows of all machines and commits, train nothing",
    )
    options = parser.parse_args(arguments)
    try:
        if not options.print:
            measure_missing(options.table)
    except CharlstmError as error:
        sys.exit(f"{parser.prog}: {error}")
    results = read_results(options.table)
    print(f"{runs_table(results)}\n\n{counts_table(results)}")


if __name__ == "__main__":
    main()
