#!/usr/bin/env python3
"""Measures where the time of a training step goes.

    .venv/bin/python scripts/benchmarks/phases.py
        the training shapes of against_pytorch.py: about two minutes
    .venv/bin/python scripts/benchmarks/phases.py --layers 1 --batch-size 32
        one other shape; sizes not given are those of 2×256, batch size 50, sequence length 50

Timers are put around functions of charlstm, one clock for each worker, and taken off again. Steps
with and without timers alternate, so that the table can show the cost of the timers. In each step,
the time of a phase is averaged over the workers; the table has the median of these averages. The
rest of the median step is Python, copies of the state, and workers that wait for each other.

Only matrix products count as operations, two for each multiply-add. The peak is the largest rate of
one float32 product in NumPy on all cores, measured beside each shape.
"""

import json
import sys
import threading
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

try:
    from common import Shape, machine, make_trainer, markdown_table, sgemm_gflops
    from tqdm import tqdm

    from charlstm import Trainer, kernels
    from charlstm.arrays import Array, Ids
    from charlstm.network.layers import head, projection
    from charlstm.training import trainer
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

FORWARD = "forward recurrence"
BACKWARD = "backward recurrence"
PRODUCTS = "input projections, dx, weight gradients"
GATHER = "first layer's gather and segmented sum"
HEAD = "head and softmax"
OPTIMIZER = "sum of gradients, norm, clipping, Adam"
REST = "rest"
PHASES = (FORWARD, BACKWARD, PRODUCTS, GATHER, HEAD, OPTIMIZER)


def by_input(x: Array | Ids) -> str:
    """The phase of a projection of x: ids (T, B) or the outputs of the layer below (T, B, H)."""
    return GATHER if x.ndim == 2 else PRODUCTS


# Each function as (the object that holds the function, the name of the function, its phase or a
# callable that returns the phase for the arguments). If a timed function calls another one, only
# the outer call is timed.
FUNCTIONS: tuple[tuple[Any, str, str | Callable[..., str]], ...] = (
    (kernels, "lstm_forward", FORWARD),
    (kernels, "lstm_backward", BACKWARD),
    (kernels, "weight_gradient", PRODUCTS),  # of Wh; projection.weight_gradients has Wx
    (projection, "forward", lambda parameters, x, *_: by_input(x)),
    (projection, "backward", PRODUCTS),
    (projection, "weight_gradients", lambda gradients, x, *_: by_input(x)),
    (head, "forward", HEAD),
    (trainer, "cross_entropy", HEAD),
    (head, "backward", HEAD),
    (head, "weight_gradients", HEAD),
    (Trainer, "_sum_gradients", OPTIMIZER),
    (Trainer, "_clip_and_update", OPTIMIZER),
)


class Timers:
    """Clocks around all FUNCTIONS; the clocks run only within `running`."""

    def __init__(self) -> None:
        self.called: set[tuple[str, str]] = set()  # by the names of owner and function
        # (phase, seconds) in the order in which calls end; all threads append to one list
        self._calls: list[tuple[str, float]] = []
        self._here = threading.local()
        self._patches: list[tuple[Any, str, Any, Any]] = []
        for owner, name, phase in FUNCTIONS:
            if not hasattr(owner, name):
                sys.exit(f"{owner.__name__} has no {name}: FUNCTIONS of phases.py is outdated")
            function = getattr(owner, name)
            timed = self._timed((owner.__name__, name), function, phase)
            self._patches.append((owner, name, function, timed))

    def _timed(
        self, called: tuple[str, str], function: Any, phase: str | Callable[..., str]
    ) -> Any:
        here = self._here

        def timed(*arguments: Any, **options: Any) -> Any:
            if getattr(here, "inside", False):
                return function(*arguments, **options)
            here.inside = True
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds = time.perf_counter() - start
                own = phase if isinstance(phase, str) else phase(*arguments, **options)
                self._calls.append((own, seconds))
                self.called.add(called)
                here.inside = False

        return timed

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the calls made within a `with` statement."""
        for owner, name, _, timed in self._patches:
            setattr(owner, name, timed)
        try:
            yield
        finally:
            for owner, name, function, _ in self._patches:
                setattr(owner, name, function)

    def take(self) -> dict[str, float]:
        """The seconds of each phase since the last call of this method, summed over threads."""
        seconds = dict.fromkeys(PHASES, 0.0)
        for phase, each in self._calls:
            seconds[phase] += each
        self._calls.clear()
        return seconds

    def require_all_called(self) -> None:
        """Exit if a function was never called: the time of its phase would count as rest."""
        missing = {(owner.__name__, name) for owner, name, _ in FUNCTIONS} - self.called
        if missing:
            names = sorted(name for _, name in missing)
            sys.exit(f"a step calls no {', '.join(names)}: see FUNCTIONS of phases.py")


def operations(shape: Shape) -> dict[str, int]:
    """Operations of the matrix products of each phase in a training step."""
    return {
        FORWARD: shape.recurrence_operations,
        BACKWARD: shape.recurrence_operations,
        PRODUCTS: shape.recurrence_operations + 3 * shape.projection_operations,
        HEAD: 3 * shape.head_operations,
    }


def time_step(training: Trainer) -> float:
    """Seconds of one step."""
    start = time.perf_counter()
    training.step()
    return time.perf_counter() - start


def measure(shape: Shape, steps: int, after_step: Callable[[], object]) -> Row:
    """The milliseconds of a step and its phases; add_rates completes the row."""
    training, timers = make_trainer(shape), Timers()
    with timers.running():
        for _ in range(WARM_UP_STEPS):
            training.step()
    timers.require_all_called()
    timers.take()
    plain, timed = [], []
    phases = defaultdict(list)
    for _ in range(steps):
        plain.append(time_step(training))
        with timers.running():
            timed.append(time_step(training))
        for phase, seconds in timers.take().items():
            phases[phase].append(seconds / training.workers.count)
        after_step()
    training.close()
    milliseconds = {phase: 1e3 * median(seconds) for phase, seconds in phases.items()}
    step = 1e3 * median(timed)
    milliseconds[REST] = step - sum(milliseconds.values())
    row = {**shape._asdict(), "workers": training.workers.count, "milliseconds": step}
    row["milliseconds_without_timers"] = 1e3 * median(plain)
    # Neighbouring steps are subtracted, so that slow moments of the machine cancel.
    costs = [each - before for each, before in zip(timed, plain, strict=True)]
    row["milliseconds_of_timers"] = 1e3 * median(costs)
    row["phases"] = {name: {"milliseconds": each} for name, each in milliseconds.items()}
    return row


def add_rates(row: Row, shape: Shape, peak: float) -> None:
    """Add each phase's share of the step, operations, GFLOP/s and share of the peak rate."""
    counts = operations(shape)
    for name, phase in row["phases"].items():
        rate = counts[name] / phase["milliseconds"] / 1e6 if name in counts else None
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
    without, cost = row["milliseconds_without_timers"], row["milliseconds_of_timers"]
    return (
        f"{shape}, workers: {row['workers']}\n\n{markdown_table(headings, lines)}\n\n"
        f"without timers: {without:.2f} ms; they cost {cost:+.2f} ms ({cost / without:+.1%})\n"
    )


def chosen_shapes(**asked: int | None) -> tuple[Shape, ...]:
    """SHAPES, or MIDDLE with the sizes that are asked for."""
    given = {name: number for name, number in asked.items() if number is not None}
    return (MIDDLE._replace(**given),) if given else SHAPES


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    for name in Shape._fields:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, help="a size of the one shape to measure")
    parser.add_argument(
        "--steps", type=int, default=100, help="steps with timers, for each shape [default: 100]"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    asked = {name: getattr(options, name) for name in Shape._fields}
    shapes = chosen_shapes(**asked)
    if min(options.steps, *(min(shape) for shape in shapes)) < 1:
        parser.error("all numbers must be 1 or more")
    rows, peak = [], 0.0
    with tqdm(total=len(shapes) * options.steps, unit="step", dynamic_ncols=True) as bar:
        for shape in shapes:
            bar.set_description(f"{shape.layers}x{shape.hidden}")
            peak = max(peak, sgemm_gflops())  # measured for each shape: a machine has slow moments
            rows.append(measure(shape, options.steps, bar.update))
    for row, shape in zip(rows, shapes, strict=True):
        add_rates(row, shape, peak)
    about = {**machine(), "sgemm_gflops": peak, "steps": options.steps}
    if options.json:
        print(json.dumps({"machine": about, "rows": rows}))
        return
    for row, shape in zip(rows, shapes, strict=True):
        print(text(row, shape))
    for name, figure in about.items():
        print(name.replace("_", " "), round(figure, 1) if isinstance(figure, float) else figure)


if __name__ == "__main__":
    main()
