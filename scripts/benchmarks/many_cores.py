#!/usr/bin/env python3
"""Estimates the speed of a training step on more cores than the machine has.

    .venv/bin/python scripts/benchmarks/many_cores.py
        about two minutes; draws scripts/benchmarks/many_cores.svg
    .venv/bin/python scripts/benchmarks/many_cores.py --quick --picture /tmp/trial.svg
        a trial of the script itself on small models: seconds

Two threads make the shares of two of n workers: as many streams, units, time steps of the head,
tasks of the weight gradients, weights and rows of the table as a worker of n has, the largest share
where they cannot be equal. They read the results of the other workers as a complete step of all
workers has left them. A worker's rate is the number of operations of a step, divided by n and by
the time of its share. It is an upper bound for n cores: they share the memory and the last-level
cache, and take longer to read numbers that other cores have just written. The time that two workers
wait for each other at each time step counts, as it does on n cores; the time of Python between two
steps does not.

The work is divided in two ways: in teams, which share the units of some streams, as `charlstm
train` does, and by streams alone. All settings run in turns. Run nothing else on the machine.
"""

import json
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

try:
    import numpy as np
    from common import Shape, machine, make_trainer, markdown_table
    from scaling import STYLE
    from tqdm import tqdm

    from charlstm.kernels.native_team import MEMBERS
    from charlstm.kernels.native_training import PHASES
    from charlstm.system.atomic_files import atomic_write
    from charlstm.training import native_step
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/many_cores.py"
    )

Row = dict[str, Any]

FOLDER = Path(__file__).resolve().parent
SHAPES = tuple(Shape(1, hidden, batch, 64) for batch in (24, 48) for hidden in (256, 512))
QUICK_SHAPES = (Shape(1, 32, 6, 5),)
CORES = (2, 4, 8, 16, 32)
WARM_UP_STEPS = 2
ROUNDS, STEPS_PER_ROUND = 10, 4
ARRIVED, BUSY = 1, 2  # a field of the struct Team, and a value of `presence`, of native_team.h
CONSTANTS = {"constants": 2, "table_constants": 0}  # the places of the learning rates
WAITS = PHASES.index("waiting for other workers")


class Setting(NamedTuple):
    """A way to divide a step among workers: `teams` teams divide the streams."""

    shape: Shape
    workers: int
    teams: int


def settings(shapes: tuple[Shape, ...]) -> list[Setting]:
    """The settings of all shapes and numbers of cores: the teams of the rule, and streams alone."""
    found = []
    for shape in shapes:
        for workers in sorted({min(cores, shape.batch_size) for cores in CORES}):
            rule = native_step.team_count(workers, shape.batch_size, shape.hidden)
            found += [Setting(shape, workers, teams) for teams in sorted({rule, workers})]
    return found


class TwoOfMany:
    """Makes the shares of two of the workers of a step."""

    def __init__(self, setting: Setting) -> None:
        rule = native_step.team_count
        native_step.team_count = lambda *_: setting.teams
        try:
            self.trainer = make_trainer(setting.shape, as_trained=True, workers=setting.workers)
            for _ in range(WARM_UP_STEPS):
                self.trainer.step()
        finally:
            native_step.team_count = rule
        assert isinstance(self.trainer._step, native_step.NativeStep)
        self._setting, self._native = setting, self.trainer._step._native
        # Learning rates of 0 keep the weights: trained by two shares of a gradient, a model would
        # soon compute with numbers so small that the processor is slow.
        constants = {name: self._native._kept[name].copy() for name in CONSTANTS}
        for name, place in CONSTANTS.items():
            constants[name][place] = 0
        self._native.set(patience=0, **constants)
        # Each worker asks once more for a task than there are tasks.
        self._tasks = self._native._step.next_task - setting.workers
        self._seconds = self._native.measure()

    def seconds(self) -> float:
        """Make the shares once; return the seconds of the first, without waits between phases."""
        native, (_, workers, teams) = self._native, self._setting
        memory = native._teams
        same_team = teams < workers
        memory._meetings[...] = 0
        memory._meetings[0, MEMBERS] = 2
        memory._meetings[1:3, MEMBERS] = 2 if same_team else 1
        memory._threads[1, 0] = BUSY
        native._step.next_task = max(0, self._tasks - 2 * ceil(self._tasks / workers))
        self._seconds[...] = 0
        second = self.trainer.workers._submit(native.run, 1)
        while same_team and not memory._meetings[1, ARRIVED]:  # until it waits for the first one
            time.sleep(0)
        native.run(0)
        second.result()
        return float(np.delete(self._seconds[0], WAITS).sum())


def measure(chosen: list[Setting], rounds: int) -> list[Row]:
    """A row for each setting, with the median over the rounds."""
    pairs = [TwoOfMany(setting) for setting in chosen]
    times: list[list[float]] = [[] for _ in chosen]
    for _ in tqdm(range(rounds), unit="round", dynamic_ncols=True):
        for pair, seconds in zip(pairs, times, strict=True):
            seconds += [pair.seconds() for _ in range(STEPS_PER_ROUND)][1:]
    rows: list[Row] = []
    for setting, pair, seconds in zip(chosen, pairs, times, strict=True):
        pair.trainer.close()
        shape, workers, teams = setting
        row = {**shape._asdict(), "workers": workers, "teams": teams}
        row["milliseconds"] = 1e3 * median(seconds)
        row["gflops"] = shape.step_operations / workers / median(seconds) / 1e9
        rows.append(row)
    for row in rows:
        of_two = [r["gflops"] for r in rows if r["workers"] == 2 and sizes(r) == sizes(row)]
        row["of_two_cores"] = row["gflops"] / max(of_two)
    return rows


def sizes(row: Row) -> Shape:
    """The shape of a row."""
    return Shape(*(row[name] for name in Shape._fields))


def table(rows: list[Row]) -> str:
    """The table of one shape."""
    headings = (
        "cores",
        "divided into",
        "streams × units",
        "ms",
        "GFLOP/s of a core",
        "of two cores",
    )
    lines = []
    for row in rows:
        members = row["workers"] // row["teams"]
        teams = f"{row['teams']} team{'s' if row['teams'] > 1 else ''} of {members}"
        share = f"{ceil(row['batch_size'] / row['teams'])} × {ceil(row['hidden'] / members)}"
        line = [
            row["workers"],
            teams if members > 1 else "streams",
            share,
            f"{row['milliseconds']:.2f}",
            f"{row['gflops']:.1f}",
        ]
        lines.append([*line, f"{row['of_two_cores']:.0%}"])
    return f"{sizes(rows[0])}\n\n{markdown_table(headings, lines)}\n"


def draw(rows: list[Row], about: Row, path: Path) -> None:
    """Draw the speed against the number of cores into an .svg file."""
    import matplotlib
    from matplotlib.figure import Figure

    shapes = list(dict.fromkeys(map(sizes, rows)))
    with matplotlib.rc_context(STYLE), atomic_write(path) as file:
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        for ax, alone in zip(figure.subplots(1, 2, sharey=True), (False, True), strict=True):
            for shape in shapes:
                # For each number of cores, the last row is that of streams alone.
                ways = [row for row in rows if sizes(row) == shape]
                chosen = {row["workers"]: row for row in (ways if alone else reversed(ways))}
                cores = sorted(chosen)
                speeds = [n * chosen[n]["of_two_cores"] for n in cores]
                label = f"{shape.layers}×{shape.hidden}, batch size {shape.batch_size}"
                (line,) = ax.plot(cores, speeds, "o--", ms=4, lw=1.4, mfc="white", label=label)
                ax.plot(cores[:1], speeds[:1], "o", ms=5, color=line.get_color())
            ax.plot(CORES, CORES, color="0.8", lw=1, zorder=0)
            ax.set(xscale="log", yscale="log", xlabel="cores")
            ax.set_title("by streams alone" if alone else "in teams", fontsize=9)
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_ticks(CORES, map(str, CORES))
            ax.minorticks_off()
            ax.grid(color="0.93")
            ax.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel("speed in units of one of two cores")
        figure.axes[0].legend(fontsize=8, frameon=False)
        figure.supxlabel(
            f"full dots: measured; others: estimated from two workers. {about['cpu']}, "
            f"{about['cores']} cores; {about['kernels']}; medians of {about['rounds']} rounds",
            fontsize=8,
            color="0.35",
        )
        figure.savefig(file, format="svg", metadata={"Date": None})


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small model, one round")
    parser.add_argument(
        "--picture",
        type=Path,
        default=FOLDER / "many_cores.svg",
        help="where to draw [default: scripts/benchmarks/many_cores.svg]",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if not find_spec("matplotlib"):
        parser.error("drawing needs matplotlib: run ./scripts/setup inspect")
    if not options.picture.parent.is_dir():  # checked before minutes of measuring
        parser.error(f"{options.picture.parent} is no folder")
    rounds = 1 if options.quick else ROUNDS
    rows = measure(settings(QUICK_SHAPES if options.quick else SHAPES), rounds)
    about = {**machine(), "rounds": rounds}
    draw(rows, about, options.picture)
    if options.json:
        print(json.dumps({"machine": about, "rows": rows}))
        return
    for shape in dict.fromkeys(map(sizes, rows)):
        print(table([row for row in rows if sizes(row) == shape]))
    for name, figure in about.items():
        print(name, figure)


if __name__ == "__main__":
    main()
