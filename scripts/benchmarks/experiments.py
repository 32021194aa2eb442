#!/usr/bin/env python3
"""Compares settings of `charlstm train` on the texts for choosing, at equal cost.

    .venv/bin/python scripts/benchmarks/experiments.py size --seeds 3    make the runs without a row
    .venv/bin/python scripts/benchmarks/experiments.py size --print      print the stored rows

Wall time says little on a machine that does other things too. Each run is therefore given the
number of steps that the time budget (--minutes) would give on a reference machine: two cores whose
products of large float32 matrices take 160 GFLOP/s together. The cost of a step is measured as the
CPU time of a step on one core, relative to the CPU time of a product of large matrices, in turns
with it. Other processes on the machine then have little part in it. A run itself may take any time;
it uses one core and float32.

Each finished run adds a row to experiments.tsv, and a run that has a row is not repeated: the
script can be stopped at any time and started again. A row is found by the text, the options, the
minutes, the seed, the kernels and the processor. The commit stands beside them: to measure other
code, give another --table.

An option may be relative to the value that the defaults choose: "x0.7" multiplies it, "+0.05" is
added to it. "/8388608" is this number divided by the number of distinct symbols: the rows of a
table of 8,388,608 numbers. Losses are in nats per character of the last tenth of the text, of which
at most a million characters are read, with the state carried.
"""

import json
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean, quantiles
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

try:
    import numpy as np
    from common import (
        Origin,
        append_row,
        markdown_table,
        read_rows,
        stored_settings,
        this_origin,
    )
    from texts import CHOOSING, SOURCES, suite_text
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm

    import charlstm
    from charlstm import ModelConfig, TrainConfig
    from charlstm.config import RunConfig
    from charlstm.runs.result import TrainedRun
    from charlstm.runs.start import begin_run
    from charlstm.text.corpus import open_corpus
    from charlstm.training.defaults import SPELL_BELOW, choose_settings
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, "
        "then .venv/bin/python scripts/benchmarks/experiments.py"
    )

Settings = dict[str, Any]
TABLE = Path(__file__).with_suffix(".tsv")
REFERENCE_RATE = 160e9  # operations per second of large float32 products on the reference machine
# Operations per second in the matrix products of a training step on the reference machine, as
# `charlstm train --minutes` measures them before it chooses the size of a model.
TRAINING_RATE = 110e9
# Of the measurement of a step's cost.
ROUNDS, STEPS_OF_ROUND, PRODUCTS_OF_ROUND, PRODUCT_SIZE = 20, 4, 2, 1024

# Options that change the cost of a step little or not at all.
OF_NO_COST = {
    "beta1",
    "beta2",
    "dropout",
    "final_lr",
    "lr",
    "ngram_lr",
    "schedule",
    "weight_dropout",
}

# The settings of each experiment by name; the first are those that the others are compared with.
EXPERIMENTS: dict[str, dict[str, Settings]] = {
    "size": {
        "defaults": {},
        "1.4 times the units": {"hidden": "x1.4"},
        "0.7 times the units": {"hidden": "x0.7"},
    },
    "rate": {
        "defaults": {},
        "1.4 times the rate": {"lr": "x1.4"},
        "0.7 times the rate": {"lr": "x0.7"},
    },
    "dropout": {
        "defaults": {},
        "dropout 0.05 higher": {"dropout": "+0.05", "weight_dropout": "+0.05"},
        "dropout 0.05 lower": {"dropout": "+-0.05", "weight_dropout": "+-0.05"},
    },
    "rows": {
        "34 MB": {"ngram_slots": f"/{2**23}"},
        "67 MB": {"ngram_slots": f"/{2**24}"},
        "134 MB": {"ngram_slots": f"/{2**25}"},
    },
    "spelling": {
        "rare characters spelled": {"ngram_slots": f"/{2**23}"},
        "a symbol for each character": {"ngram_slots": f"/{2**23}", "spell_below": 0},
    },
    "contexts": {
        "defaults": {},
        "up to 5 characters": {"ngrams": 5},
        "up to 8 characters": {"ngrams": 8},
    },
    "table's rate": {
        "defaults": {},
        "1.5 times": {"ngram_lr": "x1.5"},
        "0.67 times": {"ngram_lr": "x0.67"},
    },
    "optimizer": {
        "defaults": {},
        "beta2 0.98": {"beta2": 0.98},
        "beta2 0.995": {"beta2": 0.995},
        "beta1 0.8": {"beta1": 0.8},
        "no decay of the rate": {"schedule": "constant"},
        "the rate falls to 0": {"final_lr": 0.0},
        "16 streams": {"batch_size": 16},
        "32 streams": {"batch_size": 32},
    },
}


class Row(NamedTuple):
    """A row of the table."""

    text: str
    asked: str  # the options, as JSON
    minutes: float  # on the reference machine
    seed: int
    shape: str  # the options that a step's cost depends on, as JSON
    milliseconds: float  # of a step on the reference machine
    steps: int
    loss: float
    seconds: int  # of the run on this machine
    settings: str  # stored in the run's checkpoint, as JSON
    kernels: str
    cpu: str
    cores: str
    commit: str

    @property
    def origin(self) -> Origin:
        """The kernels, the machine and the commit of the run."""
        return Origin(self.kernels, self.cpu, self.cores, self.commit)

    @property
    def key(self) -> tuple[object, ...]:
        """The key of the row: the run with this key is not repeated."""
        return (self.text, self.asked, self.minutes, self.seed, self.kernels, self.cpu)


def read_table(path: Path) -> list[Row]:
    """The rows of the table."""
    types = Row.__annotations__
    return [
        Row(**{name: types[name](row[name]) for name in types})
        for row in read_rows(path, Row._fields)
    ]


# -- settings -------------------------------------------------------------------------------


@cache
def size_of(text: str, spell_below: float) -> tuple[int, int]:
    """The symbols to learn from, nine tenths of the text, and the number of distinct ones."""
    corpus = open_corpus([suite_text(text)], spell_below=spell_below)
    return corpus.length * 9 // 10, len(corpus.vocab)


def changed(value: float, change: str, symbols: int) -> float:
    """A value after a relative change: "x2" doubles it, "+0.1" adds to it; 0 at least.

    "/100" is 100 divided by the number of distinct symbols.
    """
    number = float(change[1:])
    if change[0] == "/":
        return number // symbols
    return round(value * number, 6) if change[0] == "x" else round(max(0, value + number), 6)


def split_settings(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """The values among settings, and the changes of values that the defaults choose."""
    relative = {
        name: value
        for name, value in settings.items()
        if isinstance(value, str) and value[0] in "x+/"
    }
    return {name: settings[name] for name in settings if name not in relative}, relative


def choose(text: str, given: Settings, relative: Mapping[str, str]) -> Settings:
    """The options given, and those that relative settings change; hidden units are even numbers."""
    length, symbols = size_of(text, given.get("spell_below", SPELL_BELOW))
    asked = RunConfig.asked({**given, "paths": (text,)})
    operations = TRAINING_RATE * 60 * given.get("minutes", 3)
    model, train = choose_settings(
        length, asked.model, asked.train, vocab_size=symbols, operations=operations
    )
    chosen = model.to_dict() | train.to_dict()
    for name, change in relative.items():
        value = changed(chosen[name], change, symbols)
        chosen[name] = 16 * round(value / 16) if name == "hidden" else type(chosen[name])(value)
    names = {*relative, "hidden", "layers", "skip", "ngram_slots"}
    return given | {name: chosen[name] for name in names}


def shape_of(text: str, settings: Settings, minutes: float) -> Settings:
    """The options that the cost of a step depends on.

    The size of the model is the one that --minutes chooses on the reference machine.
    """
    values, relative = split_settings({**settings, **fixed_options(text)})
    of_model = {name: relative[name] for name in relative if name in ModelConfig().to_dict()}
    shape = choose(text, {**values, "minutes": minutes}, of_model)
    return {name: shape[name] for name in shape if name not in {"minutes", *OF_NO_COST}}


def options_of(text: str, settings: Settings, shape: Settings, steps: int) -> Settings:
    """The options of charlstm.train for a run of this number of steps."""
    values, relative = split_settings(settings)
    of_training = {name: relative[name] for name in relative if name in TrainConfig().to_dict()}
    return choose(text, {**values, **shape, "steps": steps}, of_training)


def fixed_options(text: str) -> Settings:
    """The options that all runs on a text share."""
    lines = {"lines": True} if SOURCES[text].lines else {}
    return {"precision": "float32", "workers": 1, **lines}


# -- runs -----------------------------------------------------------------------------------


def step_cost(text: str, options: Settings) -> float:
    """The cost of a training step: the operations of large matrix products in the same CPU time.

    The result is the quotient of two lower quartiles over rounds.

    options: those of charlstm.train.
    """
    asked = RunConfig.asked({"steps": 1000, **options, "paths": (str(suite_text(text)),)})
    factor = np.random.default_rng(0).random((PRODUCT_SIZE, PRODUCT_SIZE), np.float32)
    product_seconds: list[float] = []
    step_seconds: list[float] = []
    with TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
        run = begin_run(Path(folder), asked, None, time.monotonic(), None)
        for number in range(ROUNDS + 1):
            for counted, work, times in (
                (step_seconds, run.trainer.step, STEPS_OF_ROUND),
                (product_seconds, lambda: factor @ factor, PRODUCTS_OF_ROUND),
            ):
                for _ in range(times):
                    began = time.process_time()
                    work()
                    if number:  # The first round is not counted.
                        counted.append(time.process_time() - began)
        run.trainer.close()
    step, large_product = (quantiles(each, n=4)[0] for each in (step_seconds, product_seconds))
    return 2 * PRODUCT_SIZE**3 * step / large_product


class Plan(NamedTuple):
    """What a run of equal cost is given."""

    shape: str  # the options that a step's cost depends on, as JSON
    milliseconds: float  # of a step on the reference machine


def trained(
    text: str,
    settings: Settings,
    minutes: float,
    seed: int,
    rows: Sequence[Row],
    origin: Origin,
    folder: Path,
) -> tuple[TrainedRun, Plan]:
    """Make a run in a folder. Its step costs what `rows` say of the same shape, or is measured."""
    shape = shape_of(text, settings, minutes)
    written = json.dumps(shape, sort_keys=True)
    known = (
        row.milliseconds
        for row in rows
        if (row.text, row.shape, row.origin) == (text, written, origin)
    )
    milliseconds = next(known, None) or round(1e3 * step_cost(text, shape) / REFERENCE_RATE, 4)
    steps = max(1, int(minutes * 60e3 / milliseconds))
    run = charlstm.train(
        suite_text(text), folder / "run", seed=seed, report=False, eval_every=steps,
        **options_of(text, settings, shape, steps),
    )  # fmt: skip
    if run.reason != "finished" or run.best_val_loss is None:
        sys.exit(f"not measured ({run.reason}); the table holds the runs before it")
    return run, Plan(written, milliseconds)


def measure(
    text: str, settings: Settings, minutes: float, seed: int, rows: Sequence[Row], origin: Origin
) -> Row:
    """Make a run and return its row."""
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        run, plan = trained(text, settings, minutes, seed, rows, origin, Path(folder))
        resolved = stored_settings(run.path)
    return Row(
        text, json.dumps(settings, sort_keys=True), minutes, seed, *plan, run.steps,
        round(run.best_val_loss, 4), round(time.monotonic() - began), resolved, *origin,
    )  # fmt: skip


def measure_missing(
    settings: Sequence[Settings],
    texts: Sequence[str],
    minutes: float,
    seeds: Sequence[int],
    table: Path,
) -> None:
    """Make the runs that have no row, and add their rows to the table.

    All settings of a text and a seed are run before those of the next.
    """
    origin = this_origin()
    rows = read_table(table)
    for seed, text, each in tqdm(list(product(seeds, texts, settings)), unit="run"):
        key = (text, json.dumps(each, sort_keys=True), minutes, seed, origin.kernels, origin.cpu)
        if all(row.key != key for row in rows):
            rows.append(measure(text, each, minutes, seed, rows, origin))
            append_row(table, rows[-1]._asdict())


# -- tables ---------------------------------------------------------------------------------


def summary(rows: Sequence[Row], experiment: Mapping[str, Settings]) -> str:
    """A table with a row for each of the settings: the first one's loss, the others' differences.

    A difference is the mean over the seeds that both have. The first settings and those compared
    with them have run with the same kernels, on the same processor.
    """
    losses: dict[tuple[str, str, str, str], dict[tuple[str, int], float]] = {}
    for row in rows:
        setting = (row.asked, str(row.minutes), row.kernels, row.cpu)
        losses.setdefault(setting, {})[row.text, row.seed] = row.loss
    texts = list(dict.fromkeys(row.text for row in rows))
    first, *others = (json.dumps(each, sort_keys=True) for each in experiment.values())
    table = []
    for (asked, *machine), base in losses.items():
        if asked != first:
            continue
        table.append([next(iter(experiment)), *_cells(base, texts, ".4f"), *machine])
        for name, other in zip(list(experiment)[1:], others, strict=True):
            found = losses.get((other, *machine), {})
            differences = {key: found[key] - base[key] for key in found if key in base}
            if differences:
                table.append([name, *_cells(differences, texts, "+.4f"), *machine])
    headings = ("settings", *texts, "mean", "runs", "minutes", "kernels", "processor")
    return markdown_table(headings, table)


def _cells(numbers: Mapping[tuple[str, int], float], texts: Sequence[str], form: str) -> list[str]:
    """The mean of each text over its seeds, the mean of these means, and the number of runs."""
    means = [
        mean(each) if (each := [n for (text, _), n in numbers.items() if text == name]) else None
        for name in texts
    ]
    known = [each for each in means if each is not None]
    cells = ["" if each is None else f"{each:{form}}" for each in means]
    return [*cells, f"{mean(known):{form}}", str(len(numbers))]


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each setting [default: 1]")
    parser.add_argument(
        "--minutes", type=float, default=0.75, help="time on the reference machine [default: 0.75]"
    )
    parser.add_argument("--texts", nargs="+", choices=SOURCES, default=CHOOSING, metavar="TEXT")
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results [default: {TABLE.name}]"
    )
    parser.add_argument(
        "--print", action="store_true", help="print the stored rows of all minutes, train nothing"
    )
    options = parser.parse_args(arguments)
    experiment = EXPERIMENTS[options.experiment]
    if not options.print:
        measure_missing(list(experiment.values()), options.texts, options.minutes,
                        range(options.seeds), options.table)  # fmt: skip
    print(summary(read_table(options.table), experiment))


if __name__ == "__main__":
    main()
