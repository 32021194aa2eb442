#!/usr/bin/env python3
"""Measures how speed and memory of training depend on the model, batch size and sequence length.

    .venv/bin/python scripts/benchmarks/scaling.py
        about four minutes; draws scripts/benchmarks/scaling.svg
    .venv/bin/python scripts/benchmarks/scaling.py --quick --picture /tmp/trial.svg
        a trial of the script itself on small models: seconds

Each sweep varies one number around the same middle setting; B is the batch size, T the sequence
length. All points run in turns, so that a slow moment of the machine slows all of them down. Run
nothing else on the machine. A figure is the median over the rounds, its spread the lowest and the
highest round. GFLOP/s count two operations for each multiply-add of a step's matrix products. Peak
memory is that of a process that trains for a few steps, Python included.
"""

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

try:
    from common import Shape, machine, make_trainer, markdown_table
    from tqdm import tqdm

    from charlstm.system.atomic_files import atomic_write
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/scaling.py"
    )

Row = dict[str, Any]

FOLDER = Path(__file__).resolve().parent
# Text is drawn as SVG text, and equal results give files of equal bytes.
STYLE = {
    **{"svg.fonttype": "none", "svg.hashsalt": "charlstm", "font.size": 9},
    **{"font.sans-serif": ["DejaVu Sans", "Arial"], "xtick.bottom": False, "ytick.left": False},
}
BLOCK_STEPS = 2  # fewest steps of one point in one round
MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from common import Shape, make_trainer
trainer = make_trainer(Shape(*map(int, sys.argv[2:])))
for _ in range(3): trainer.step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
LABELS = {  # labels of the axes, headings of the tables
    "hidden": "hidden units per layer",
    "layers": "layers",
    "batch_size": "batch size B",
    "seq_length": "sequence length T (characters)",
    "characters_per_second": "training (characters/s)",
    "gflops": "matrix products (GFLOP/s)",
    "peak_megabytes": "peak memory (MB)",
}


class Sweep(NamedTuple):
    """Shapes that differ in one number."""

    varied: str  # a field of Shape
    shapes: list[Shape]

    @property
    def kept(self) -> str:
        """The numbers that all shapes of the sweep have in common, in words."""
        layers, hidden, batch_size, seq_length = self.shapes[0]
        fields = {
            "layers": f"{layers} layer{'s' * (layers > 1)}",
            "hidden": f"{hidden} units",
            "batch_size": f"B = {batch_size}",
            "seq_length": f"T = {seq_length}",
        }
        return ", ".join(words for name, words in fields.items() if name != self.varied)


class Plan(NamedTuple):
    """The points to measure, and how often."""

    middle: Shape
    hidden: tuple[int, ...]  # measured with one layer and with those of `middle`
    layers: tuple[int, ...]
    batch_size: tuple[int, ...]
    seq_length: tuple[int, ...]
    memory: Shape
    memory_seq_length: tuple[int, ...]
    rounds: int
    block_seconds: float  # shortest measurement of one point in one round

    def sweeps(self) -> list[Sweep]:
        """The sweeps of speed."""
        one_layer = self.middle._replace(layers=1)
        return [
            Sweep("hidden", [one_layer._replace(hidden=H) for H in self.hidden]),
            Sweep("hidden", [self.middle._replace(hidden=H) for H in self.hidden]),
            Sweep("layers", [self.middle._replace(layers=L) for L in self.layers]),
            Sweep("batch_size", [self.middle._replace(batch_size=B) for B in self.batch_size]),
            Sweep("seq_length", [self.middle._replace(seq_length=T) for T in self.seq_length]),
        ]

    def memory_sweep(self) -> Sweep:
        """The sweep of peak memory."""
        lengths = self.memory_seq_length
        return Sweep("seq_length", [self.memory._replace(seq_length=T) for T in lengths])


FULL = Plan(
    middle=Shape(2, 256, 50, 50),
    hidden=(64, 128, 256, 512, 1024),
    layers=(1, 2, 3, 4, 6, 8),
    batch_size=(2, 5, 10, 20, 50, 100, 200),
    seq_length=(10, 25, 50, 100, 200, 400),
    memory=Shape(1, 256, 32, 50),
    memory_seq_length=(25, 50, 100, 200, 400, 800, 1600),
    rounds=5,
    block_seconds=0.3,
)
QUICK = Plan(
    middle=Shape(2, 16, 8, 10),
    hidden=(16, 32),
    layers=(1, 2),
    batch_size=(4, 8),
    seq_length=(10, 20),
    memory=Shape(1, 256, 32, 50),
    memory_seq_length=(25, 400),
    rounds=2,
    block_seconds=0.01,
)


def time_block(shape: Shape, at_least: float) -> float:
    """Seconds per step of a fresh trainer: the mean of a block, after one step to warm up."""
    trainer = make_trainer(shape)
    trainer.step()
    steps, seconds, start = 0, 0.0, time.perf_counter()
    while steps < BLOCK_STEPS or seconds < at_least:
        trainer.step()
        steps, seconds = steps + 1, time.perf_counter() - start
    trainer.close()
    return seconds / steps


def figures(shape: Shape, seconds: list[float]) -> Row:
    """The row of a shape, from the seconds per step in each round."""
    step = median(seconds)
    return {
        **shape._asdict(),
        "milliseconds": 1e3 * step,
        "characters_per_second": shape.characters / step,
        "spread": [shape.characters / each for each in (max(seconds), min(seconds))],
        "gflops": shape.step_operations / step / 1e9,
    }


def peak_memory(shape: Shape) -> float:
    """The peak resident memory of a process that trains a shape, in MB."""
    command = [sys.executable, "-c", MEMORY, str(FOLDER), *map(str, shape)]
    unit = 1 if sys.platform == "darwin" else 1024
    return float(subprocess.check_output(command)) * unit / 1e6


def measure(plan: Plan) -> Row:
    """All figures, as one JSON object."""
    shapes = list(dict.fromkeys(shape for sweep in plan.sweeps() for shape in sweep.shapes))
    remembered = plan.memory_sweep().shapes if find_spec("resource") else []  # not on Windows
    total = len(remembered) + plan.rounds * len(shapes)
    with tqdm(total=total, unit="point", dynamic_ncols=True) as bar:
        # Measure memory before this process grows: on Linux a child's peak includes its parent's.
        bar.set_description("memory")
        memory = []
        for shape in remembered:
            memory.append({**shape._asdict(), "peak_megabytes": peak_memory(shape)})
            bar.update()
        bar.set_description("speed")
        times: dict[Shape, list[float]] = {shape: [] for shape in shapes}
        for _ in range(plan.rounds):
            for shape, seconds in times.items():
                seconds.append(time_block(shape, plan.block_seconds))
                bar.update()
    rows = {shape: figures(shape, seconds) for shape, seconds in times.items()}
    sweeps = [
        {"varied": sweep.varied, "kept": sweep.kept, "rows": [rows[s] for s in sweep.shapes]}
        for sweep in plan.sweeps()
    ]
    return {
        "machine": {**machine(), "rounds": plan.rounds},
        "sweeps": sweeps,
        "memory": {"varied": "seq_length", "kept": plan.memory_sweep().kept, "rows": memory},
    }


def tables(result: Row) -> str:
    """The result as Markdown tables."""
    parts = []
    for sweep in result["sweeps"]:
        varied = sweep["varied"]
        lines = [
            (
                f"{row[varied]:,}",
                f"{row['milliseconds']:.3g}",
                f"{row['characters_per_second']:,.0f}",
                "{:,.0f}–{:,.0f}".format(*row["spread"]),
                f"{row['gflops']:.1f}",
            )
            for row in sweep["rows"]
        ]
        headings = (LABELS[varied], "ms per step", "characters/s", "spread", "GFLOP/s")
        parts.append(f"{sweep['kept']}\n\n{markdown_table(headings, lines)}\n")
    memory = result["memory"]
    lines = [(f"{row['seq_length']:,}", f"{row['peak_megabytes']:,.0f}") for row in memory["rows"]]
    headings = (LABELS["seq_length"], LABELS["peak_megabytes"])
    parts.append(f"{memory['kept']}\n\n{markdown_table(headings, lines)}\n")
    parts += (f"{name} {figure}" for name, figure in result["machine"].items())
    return "\n".join(parts)


def draw(result: Row, path: Path) -> None:
    """Draw the result into an .svg file: the same bytes for the same result."""
    import matplotlib
    from matplotlib.figure import Figure

    one_layer, more_layers, layers, batch_size, seq_length = result["sweeps"]
    speed, linear = "characters_per_second", ("linear", "linear")
    panels = (
        (speed, ("log", "log"), [one_layer, more_layers]),
        ("gflops", ("log", "linear"), [one_layer, more_layers]),
        (speed, linear, [layers]),
        (speed, ("log", "linear"), [batch_size]),
        (speed, ("log", "linear"), [seq_length]),
        ("peak_megabytes", linear, [result["memory"]]),
    )
    with matplotlib.rc_context(STYLE), atomic_write(path) as file:
        figure = Figure(figsize=(9.6, 5.8), layout="constrained")
        for ax, panel in zip(figure.subplots(2, 3).flat, panels, strict=True):
            plot(ax, *panel)
        figure.supxlabel(caption(result["machine"]), fontsize=8, color="0.35")
        figure.savefig(file, format="svg", metadata={"Date": None})


def plot(ax: Any, measured: str, scales: tuple[str, str], sweeps: list[Row]) -> None:
    """Draw sweeps of the same number into a panel."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    varied = sweeps[0]["varied"]
    for sweep in sweeps:
        rows = sweep["rows"]
        x = [row[varied] for row in rows]
        ax.plot(x, [row[measured] for row in rows], "o-", ms=4, lw=1.6, label=sweep["kept"])
        if measured == "characters_per_second":
            low, high = zip(*(row["spread"] for row in rows), strict=True)
            ax.fill_between(x, low, high, alpha=0.2, lw=0)
    ax.set(xlabel=LABELS[varied], ylabel=LABELS[measured], xscale=scales[0], yscale=scales[1])
    if scales[0] == "log" or varied == "layers":
        ax.set_xticks(x, map(str, x))
    if scales[1] == "log":
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
        ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.minorticks_off()
    ax.grid(axis="y", color="0.9")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, frameon=False)


def caption(about: Row) -> str:
    """The machine and the way of measuring, in words."""
    return (
        f"{about['cpu']}, {about['cores']} cores; {about['kernels']}, NumPy {about['numpy']}; "
        f"float32, Adam; medians of {about['rounds']} rounds, shaded from lowest to highest"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small models, a few steps")
    parser.add_argument(
        "--picture",
        type=Path,
        default=FOLDER / "scaling.svg",
        help="where to draw [default: scripts/benchmarks/scaling.svg]",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if not find_spec("matplotlib"):  # an import would add to the memory measured
        parser.error("drawing needs matplotlib: run ./scripts/setup inspect")
    if not options.picture.parent.is_dir():  # checked before minutes of measuring
        parser.error(f"{options.picture.parent} is no folder")
    result = measure(QUICK if options.quick else FULL)
    draw(result, options.picture)
    print(json.dumps(result) if options.json else tables(result))


if __name__ == "__main__":
    main()
