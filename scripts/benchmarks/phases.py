#!/usr/bin/env python3
"""Measures where the time of a native training step goes.

    .venv/bin/python scripts/benchmarks/phases.py
        the training shapes of against_pytorch.py: about two minutes
    .venv/bin/python scripts/benchmarks/phases.py --as-trained
        shapes that `charlstm train` chooses, with its table of n-grams, dropout, average of the
        weights, capped gates and, above one layer, skip connections
    .venv/bin/python scripts/benchmarks/phases.py --layers 1 --batch-size 32
        one other shape; sizes not given are those of 2×256, batch size 50, sequence length 50

The time of a phase is averaged over the workers and over the steps. The rest of a step is Python:
the next window, the masks of dropout, and the start of the workers. Only matrix products count as
operations, two for each multiply-add. The peak is the largest rate of one float32 product in NumPy
on all cores, the median of measurements between the steps.
"""

import json
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from statistics import median
from typing import Any

try:
    from common import AS_TRAINED, Shape, machine, make_trainer, markdown_table, sgemm_gflops
    from tqdm import tqdm

    from charlstm.kernels.native_training import PHASES
    from charlstm.training.native_step import NativeStep
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/phases.py"
    )

Row = dict[str, Any]

SHAPES = (
    Shape(2, 128, 50, 50),
    Shape(2, 256, 50, 50),
    Shape(2, 512, 50, 50),
    Shape(1, 512, 32, 64),
)
MIDDLE = SHAPES[1]  # gives the sizes that the command line leaves out
WARM_UP_STEPS = 3
STEPS_BETWEEN_PEAKS = 20  # steps between two measurements of the peak rate
REST = "rest"


def operations(shape: Shape) -> dict[str, int]:
    """Operations of the matrix products of each phase in a training step."""
    return {
        "input projection": shape.projection_operations,
        "forward recurrence": shape.recurrence_operations,
        "head and softmax": 2 * shape.head_operations,
        "backward recurrence": shape.recurrence_operations,
        "input gradient": shape.projection_operations,
        "weight gradients": shape.recurrence_operations
        + shape.projection_operations
        + shape.head_operations,
    }


def measure(shape: Shape, steps: int, as_trained: bool, after_step: Callable[[], object]) -> Row:
    """The milliseconds of a step and its phases, and the peak rate; add_rates completes the row."""
    trainer = make_trainer(shape, as_trained=as_trained)
    if not isinstance(trainer._step, NativeStep):
        sys.exit("phases.py measures the native step only, which needs the native kernels")
    for _ in range(WARM_UP_STEPS):
        trainer.step()
    phases, times, peaks = trainer._step.measure(), [], []
    for n in range(steps):
        if n % STEPS_BETWEEN_PEAKS == 0:
            peaks.append(sgemm_gflops())
        start = time.perf_counter()
        trainer.step()
        times.append(time.perf_counter() - start)
        after_step()
    trainer.close()
    milliseconds = dict(zip(PHASES, 1e3 * phases.mean(axis=0) / steps, strict=True))
    mean = 1e3 * sum(times) / steps
    milliseconds[REST] = mean - sum(milliseconds.values())
    # The phases of the mean step are scaled to the median step, which single long waits for the
    # machine do not change.
    row = {**shape._asdict(), "workers": trainer.workers.count, "milliseconds": 1e3 * median(times)}
    scale = row["milliseconds"] / mean
    row["phases"] = {name: {"milliseconds": each * scale} for name, each in milliseconds.items()}
    row["sgemm_gflops"] = median(peaks)
    return row


def add_rates(row: Row, shape: Shape) -> None:
    """Add each phase's share of the step, operations, GFLOP/s and share of the peak rate."""
    counts, peak = operations(shape), row["sgemm_gflops"]
    for name, phase in row["phases"].items():
        # A phase that a shape does not have, as the input gradient of one layer, has no rate.
        rate = counts[name] / phase["milliseconds"] / 1e6 if counts.get(name) else None
        phase["share"] = phase["milliseconds"] / row["milliseconds"]
        phase["operations"] = counts.get(name, 0)
        phase["gflops"], phase["peak_share"] = rate, rate and rate / peak
    row["operations"] = sum(counts.values())
    row["gflops"] = row["operations"] / row["milliseconds"] / 1e6
    row["peak_share"] = row["gflops"] / peak


def text(row: Row, shape: Shape) -> str:
    """The table of one shape."""
    lines = []
    for name, phase in (*row["phases"].items(), ("step", {**row, "share": 1.0})):
        rate, of_peak = phase["gflops"], phase["peak_share"]
        line = [name, f"{phase['milliseconds']:.2f}", f"{phase['share']:.1%}"]
        lines.append([*line, *(("", "") if rate is None else (f"{rate:.1f}", f"{of_peak:.0%}"))])
    headings = ("phase", "ms", "of the step", "GFLOP/s", "of peak")
    return (
        f"{shape}, workers: {row['workers']}, sgemm at {row['sgemm_gflops']:.0f} GFLOP/s\n\n"
        f"{markdown_table(headings, lines)}\n"
    )


def chosen_shapes(as_trained: bool, **asked: int | None) -> tuple[Shape, ...]:
    """MIDDLE with the sizes that are asked for; if none is, AS_TRAINED or SHAPES."""
    given = {name: number for name, number in asked.items() if number is not None}
    if given:
        return (MIDDLE._replace(**given),)
    return AS_TRAINED if as_trained else SHAPES


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    for name in Shape._fields:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, help="a size of the one shape to measure")
    parser.add_argument(
        "--steps", type=int, default=100, help="steps for each shape  [default: 100]"
    )
    parser.add_argument(
        "--as-trained", action="store_true", help="with all that `charlstm train` adds by default"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    asked = {name: getattr(options, name) for name in Shape._fields}
    shapes = chosen_shapes(options.as_trained, **asked)
    if min(options.steps, *(min(shape) for shape in shapes)) < 1:
        parser.error("all numbers must be 1 or more")
    rows = []
    with tqdm(total=len(shapes) * options.steps, unit="step", dynamic_ncols=True) as bar:
        for shape in shapes:
            bar.set_description(f"{shape.layers}x{shape.hidden}")
            rows.append(measure(shape, options.steps, options.as_trained, bar.update))
    for row, shape in zip(rows, shapes, strict=True):
        add_rates(row, shape)
    about = {**machine(), "steps": options.steps}
    if options.json:
        print(json.dumps({"machine": about, "rows": rows}))
        return
    for row, shape in zip(rows, shapes, strict=True):
        print(text(row, shape))
    for name, figure in about.items():
        print(name.replace("_", " "), round(figure, 1) if isinstance(figure, float) else figure)


if __name__ == "__main__":
    main()
