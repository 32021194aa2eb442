#!/usr/bin/env python3
"""Compares the validation losses of training in bfloat16 and in float32 for the same steps.

    .venv/bin/python scripts/benchmarks/bfloat16.py
        three texts, three seeds, two precisions: hours
    .venv/bin/python scripts/benchmarks/bfloat16.py --texts reber --seeds 0
        fewer of them
    .venv/bin/python scripts/benchmarks/bfloat16.py --steps 3 --table /tmp/trial.tsv
        a trial of the script itself
    .venv/bin/python scripts/benchmarks/bfloat16.py --print
        all rows that the table holds, without a run; no text is needed

All runs have one setting, SETTING below. The last tenth of a text is for validation. The loss is
that of the weights after the last step, computed in float32 with the state carried.

Each finished run adds a row to the table, and a run that has a row is not repeated: the script can
be stopped at any time and started again. A row is found by its text, settings (as stored in the
run's checkpoint), kernels, machine and commit.
"""

import json
import math
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
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
    from tqdm import tqdm

    import charlstm
    from charlstm.config import Precision
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/bfloat16.py"
    )

TEXTS = ("tinyshakespeare", "reber", "play")
TABLE = Path(__file__).with_suffix(".tsv")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
SEEDS = (0, 1, 2)
STEPS = 1_500
# Two layers, so that a step has products of every kind. All fields are written out, so that a
# change of the defaults leaves the comparison as it is.
SETTING: dict[str, Any] = {
    "cell": "lstm",
    "layers": 2,
    "hidden": 256,
    "batch_size": 32,
    "seq_length": 64,
    "optimizer": "adam",
    "lr": 1e-2,
    "beta1": 0.9,
    "beta2": 0.99,
    "schedule": "cosine",
    "warmup": 100,
    "final_lr": 0.02,
    "weight_decay": 0.0,
    "average": 0.0,
    "clip": 1.0,
    "dropout": 0.2,
    "dropout_between": 0.2,
    "weight_dropout": 0.0,
    "reset": 0.04,
    "skip": False,
    "capped": True,
    "ngrams": 0,
    "val_frac": 0.1,
}


class Trial(NamedTuple):
    """One run to make."""

    text: str
    steps: int
    seed: int
    precision: Precision

    @property
    def options(self) -> dict[str, Any]:
        """The options of charlstm.train."""
        warmup = min(SETTING["warmup"], self.steps // 10)
        return {
            **SETTING,
            **{"steps": self.steps, "eval_every": self.steps, "warmup": warmup},
            **{"seed": self.seed, "precision": self.precision},
        }


class Result(NamedTuple):
    """A row of the table."""

    text: str
    steps: int
    seed: int
    precision: str
    nats: float  # validation loss per character
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
        """The key of the row: runs of one key have the same result."""
        return (self.text, self.settings, *self.origin)


def measure(trial: Trial, origin: Origin) -> Result:
    """Make a run; its loss is that after the last step."""
    title = f"{trial.text}, seed {trial.seed}, {trial.precision}"
    with (
        TemporaryDirectory() as folder,
        tqdm(total=trial.steps, desc=title, unit="step", dynamic_ncols=True) as bar,
    ):

        def observe(event: dict[str, Any]) -> None:
            if event["event"] == "step":
                bar.update()

        start = time.monotonic()
        text = find_text(f"{trial.text}.txt")
        run = charlstm.train(text, folder, observer=observe, **trial.options)
        seconds = time.monotonic() - start
        if run.reason != "finished" or run.best_val_loss is None:
            sys.exit(f"{title}: not measured ({run.reason}); the table holds the runs before it")
        settings = stored_settings(run.path)
    return Result(*trial, run.best_val_loss, round(seconds), settings, *origin)


def measure_missing(trials: Sequence[Trial], table: Path) -> list[Result]:
    """The result of each trial, measured and added to the table where it has no row."""
    for trial in trials:
        find_text(f"{trial.text}.txt")  # a missing text ends the script before the first run
    known, origin = {result.key: result for result in read_results(table)}, this_origin()
    found = []
    for trial in trials:
        settings = resolved_settings(find_text(f"{trial.text}.txt"), trial.options)
        key = Result(*trial, 0, 0, settings, *origin).key
        if key not in known:
            known[key] = measure(trial, origin)
            append_row(table, known[key]._asdict())
        found.append(known[key])
    return found


def read_results(path: Path) -> list[Result]:
    """The rows of the table."""
    types = Result.__annotations__
    rows = read_rows(path, Result._fields)
    return [Result(**{name: types[name](row[name]) for name in types}) for row in rows]


def entropy(text: str) -> float | None:
    """The entropy of the source of a generated text, in bits per character."""
    sources = json.loads((ROOT / "corpora/corpora.json").read_text(encoding="utf-8"))
    return sources.get(f"{text}.txt", {}).get("bits_per_character")


def summary(results: Sequence[Result]) -> str:
    """A table with a row for each text, number of steps and origin: means over the seeds.

    Seeds without a result in either precision are left out.
    """
    groups: dict[tuple[str, int, Origin], dict[int, dict[str, float]]] = {}
    for result in results:
        seeds = groups.setdefault((result.text, result.steps, result.origin), {})
        seeds.setdefault(result.seed, {})[result.precision] = result.nats
    rows = []
    for (text, steps, origin), seeds in groups.items():
        pairs = [
            [seeds[seed][precision] for precision in PRECISIONS]
            for seed in sorted(seeds)
            if len(seeds[seed]) == len(PRECISIONS)
        ]
        if not pairs:
            continue
        one, other = (mean(column) for column in zip(*pairs, strict=True))
        each = ", ".join(f"{theirs - ours:+.4f}" for ours, theirs in pairs)
        difference = f"{other - one:+.4f} ({each})"
        bits = f"{(other - one) / math.log(2):+.4f}"
        least = entropy(text)
        above = [f"{loss / math.log(2) - least:.4f}" if least else "" for loss in (one, other)]
        losses = [f"{one:.4f}", f"{other:.4f}", difference, bits, *above]
        rows.append([text, *losses, f"{steps:,}", *origin.cells])
    headings = ("text", *(f"{precision}, nats" for precision in PRECISIONS))
    headings += ("difference, nats (each seed)", "difference, bits")
    headings += tuple(f"{precision}, bits above the entropy" for precision in PRECISIONS)
    return markdown_table((*headings, "steps", *ORIGIN_HEADINGS), rows)


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="+", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"steps of each run [default: {STEPS}]"
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
    if options.steps < 1:
        parser.error("--steps must be 1 or more")
    trials = [
        Trial(text, options.steps, seed, precision)
        for text, seed, precision in product(options.texts, options.seeds, PRECISIONS)
    ]
    if options.print:
        results = [
            result
            for result in read_results(options.table)
            if result[: len(Trial._fields)] in trials
        ]
    else:
        results = measure_missing(trials, options.table)
    print(summary(results))


if __name__ == "__main__":
    main()
