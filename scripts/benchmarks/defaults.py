#!/usr/bin/env python3
"""Measures the defaults of `charlstm train`, setting by setting.

    .venv/bin/python scripts/benchmarks/defaults.py sweep
        model sizes, learning rates and dropout by text and budget: about three hours
    .venv/bin/python scripts/benchmarks/defaults.py ablation
        one element of the defaults changed in each run: 45 minutes for each seed
    .venv/bin/python scripts/benchmarks/defaults.py dozen
        the defaults beside a dozen settings on other texts: 1.5 hours
    .venv/bin/python scripts/benchmarks/defaults.py minutes
        the losses after --minutes 3 and 10: 13 minutes for each seed
    .venv/bin/python scripts/benchmarks/defaults.py compressors
        two minutes on documentation, beside xz and bzip2
    .venv/bin/python scripts/benchmarks/defaults.py sweep --print
        all rows that the table holds of the sweep, without a run; no text is needed

Each finished run adds a row to the table, and a run that has a row is not repeated: the script can
be stopped at any time and started again. A row is found by its text, settings (as stored in the
run's checkpoint), kernels, machine and commit. Runs with a time budget choose their settings by the
machine's speed at the moment; their rows are found by the options given instead of the settings.

A run with a time budget needs a machine that does nothing else. Runs of `sweep` and `ablation` end
after a number of operations, whatever the machine's load: two for each multiply-add of a training
step's matrix products, forward and backward. 20 tera-operations take three minutes where a training
step runs at 115 GFLOP/s.

Losses are in nats per character: with the state carried through the whole validation text, and on
cold windows of 256 characters. `sweep` reads the first 90 % of tiny Shakespeare and validates on
the last tenth of that, so that nanoGPT's validation text has no part in choosing the defaults.
"""

import bz2
import lzma
import math
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple

try:
    from common import (
        ORIGIN_HEADINGS,
        ROOT,
        Origin,
        append_row,
        find_text,
        markdown_table,
        read_rows,
        resolved_settings,
        stored_settings,
        this_origin,
    )
    from defaults_trials import COMPARISONS, Settings, Trial, describe, trials
    from tqdm import tqdm

    import charlstm
    from charlstm import CharlstmError, ModelConfig, TrainConfig
    from charlstm.config import knobs_of
    from charlstm.network.scoring import evaluate
    from charlstm.runs.texts import training_and_validation_ids
    from charlstm.system.threads import Workers, available_cores
    from charlstm.training.defaults import SEQ_LENGTH, operations_per_symbol
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/defaults.py"
    )

TABLE = Path(__file__).with_suffix(".tsv")
COLD_WINDOW = 256  # characters
EVALUATIONS = 4  # of a run whose end is a number of operations


class Result(NamedTuple):
    """A row of the table; losses are in nats per character, of the best weights saved."""

    text: str
    asked: str  # the options given, in JSON
    steps: int
    loss: float
    cold_loss: float
    train_loss: float  # at the last evaluation, under dropout
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
        """The key of the row: runs of one key have one result, unless a time budget ends them."""
        return (self.text, self.asked if '"minutes"' in self.asked else self.settings, *self.origin)


# -- texts ----------------------------------------------------------------------------------


def shakespeare(size: int | None = None) -> Callable[[Path], object]:
    """A function that writes the first `size` bytes of tiny Shakespeare to a path."""
    return lambda path: path.write_bytes(find_text("tinyshakespeare.txt").read_bytes()[:size])


def standard_library(*options: str) -> Callable[[Path], object]:
    """A function that writes a text of the interpreter's standard library to a path."""
    command = [sys.executable, ROOT / "scripts/corpora/standard_library.py", *options]
    return lambda path: subprocess.run([*command, path], check=True)


TEXTS: dict[str, Callable[[Path], object]] = {
    "tinyshakespeare": shakespeare(),
    "first 1 MB": shakespeare(1_003_854),
    "first 100 kB": shakespeare(100_000),
    "standard library": standard_library("--megabytes", "10"),
    "documentation": standard_library("--documentation"),
    "play": lambda path: shutil.copyfile(find_text("play.txt"), path),
}


def text_file(name: str) -> Path:
    """The file of a text, which is written when it is first needed."""
    path = Path(gettempdir()) / "charlstm-benchmarks" / f"{name.replace(' ', '-')}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        TEXTS[name](path)
    return path


# -- runs -----------------------------------------------------------------------------------


def read_results(path: Path) -> list[Result]:
    """The rows of the table."""
    types = Result.__annotations__
    rows = read_rows(path, Result._fields)
    return [Result(**{name: types[name](row[name]) for name in types}) for row in rows]


def train_options(trial: Trial) -> Settings:
    """The options of charlstm.train for a trial, in which steps stand for tera-operations."""
    options = dict(trial.settings)
    tera = options.pop("tera", None)
    if tera is not None:
        options["steps"] = steps_for(tera * 1e12, options, text_file(trial.text))
        options["eval_every"] = -(-options["steps"] // EVALUATIONS)
    return options


def steps_for(operations: float, options: Settings, file: Path) -> int:
    """The number of training steps that take this number of operations."""
    symbols = len(set(file.read_text(encoding="utf-8")))
    names = ("cell", "hidden", "layers", "skip")
    model = ModelConfig(**{name: options[name] for name in names if name in options})
    batch_size = options.get("batch_size", knobs_of(TrainConfig)["batch_size"].train_default)
    per_step = batch_size * options.get("seq_length", SEQ_LENGTH)
    return max(1, int(operations / (per_step * operations_per_symbol(model, symbols))))


def find_result(trial: Trial, results: list[Result], origin: Origin) -> Result | None:
    """The result of a trial on this machine, with these kernels and at this commit, if any."""
    settings = ""
    if "minutes" not in trial.settings:
        settings = resolved_settings(text_file(trial.text), train_options(trial))
    wanted = Result(trial.text, trial.asked, 0, 0, 0, 0, 0, settings, *origin).key
    found = next((result for result in results if result.key == wanted), None)
    return found and found._replace(asked=trial.asked)


def measure(trial: Trial, origin: Origin) -> Result:
    """Make a run and evaluate its best weights."""
    began, losses = time.monotonic(), [0.0]
    title = f"{trial.text} {describe(trial.settings)}"
    with TemporaryDirectory() as folder, tqdm(desc=title, unit="step", dynamic_ncols=True) as bar:

        def observe(event: dict[str, Any]) -> None:
            if event["event"] == "step":
                bar.total = event["total_steps"]
                bar.update()
            elif event["event"] == "eval":
                losses.append(event["train_loss"])

        run = charlstm.train(
            text_file(trial.text), folder, observer=observe, **train_options(trial)
        )
        seconds = time.monotonic() - began
        if run.reason not in ("finished", "stopped early") or run.best_val_loss is None:
            sys.exit(f"{title}: not measured ({run.reason}); the table holds the runs before it")
        split, workers = training_and_validation_ids(run.path), Workers(available_cores())
        loss, cold = (
            evaluate(run.model, split.validation, window=window, workers=workers).nats_per_character
            for window in (None, COLD_WINDOW)
        )
        settings = stored_settings(run.path)
    return Result(
        trial.text,
        trial.asked,
        run.steps,
        round(loss, 4),
        round(cold, 4),
        round(losses[-1], 4),
        round(seconds),
        settings,
        *origin,
    )


def measure_missing(named: list[tuple[str, Trial]], table: Path) -> list[tuple[str, Result]]:
    """The result of each trial, measured and added to the table where it has no row."""
    for text in dict.fromkeys(trial.text for _, trial in named):
        text_file(text)  # a missing text ends the script before the first run
    results, origin, found = read_results(table), this_origin(), []
    for name, trial in named:
        result = find_result(trial, results, origin) or measure(trial, origin)
        # A trial measured under another name gets a row too, because --print finds rows by names.
        if result not in results:
            append_row(table, result._asdict())
            results.append(result)
        found.append((name, result))
    return found


# -- tables ---------------------------------------------------------------------------------


def compressor_table(result: Result) -> str:
    """Bits per character of the model on a text's last tenth, and of compressors on the text."""
    text = text_file(result.text).read_bytes()
    characters = len(text.decode("utf-8"))
    sizes = {"xz -9": len(lzma.compress(text, preset=9)), "bzip2 -9": len(bz2.compress(text, 9))}
    rows = [["charlstm, the last tenth", f"{result.loss / math.log(2):.3f}"]]
    for name, size in sizes.items():
        rows.append([f"{name}, all of the text", f"{8 * size / characters:.3f}"])
    return markdown_table(("", "bits per character"), rows)


def summary(named: list[tuple[str, Result]]) -> str:
    """A table with a row for each name and origin: means over its runs, the spread of the loss."""
    groups: dict[tuple[str, Origin], list[Result]] = {}
    for name, result in named:
        groups.setdefault((name, result.origin), []).append(result)
    rows = []
    for (name, origin), results in groups.items():
        losses = [result.loss for result in results]
        spread = f" ({min(losses):.4f} to {max(losses):.4f})" if len(losses) > 1 else ""
        rows.append([
            name,
            f"{mean(losses):.4f}{spread}",
            f"{mean(result.cold_loss for result in results):.4f}",
            f"{mean(result.train_loss for result in results):.4f}",
            f"{mean(result.steps for result in results):,.0f}",
            f"{mean(result.seconds for result in results):.0f}",
            *origin.cells,
        ])  # fmt: skip
    headings = ("run", "loss", "cold windows", "training loss", "steps", "seconds")
    return markdown_table((*headings, *ORIGIN_HEADINGS), rows)


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=COMPARISONS)
    parser.add_argument(
        "--seeds", type=int, default=1, help="runs for each row of ablation, minutes [default: 1]"
    )
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results [default: {TABLE.name}]"
    )
    parser.add_argument(
        "--print",
        action="store_true",
        help="print the rows of all machines and commits, train nothing",
    )
    options = parser.parse_args(arguments)
    named = trials(options.comparison, options.seeds)
    try:
        if options.print:
            results = read_results(options.table)
            found = [
                (name, result)
                for name, trial in named
                for result in results
                if (result.text, result.asked) == (trial.text, trial.asked)
            ]
        else:
            found = measure_missing(named, options.table)
    except CharlstmError as error:
        sys.exit(f"{parser.prog}: {error}")
    print(summary(found))
    if options.comparison == "compressors" and not options.print:
        for _, result in found:
            print(f"\n{compressor_table(result)}")


if __name__ == "__main__":
    main()
