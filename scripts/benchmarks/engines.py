#!/usr/bin/env python3
"""Compares the losses of runs on one engine with those of runs that go from engine to engine.

    .venv/bin/python scripts/benchmarks/engines.py              three seeds: minutes
    .venv/bin/python scripts/benchmarks/engines.py --seeds 0    one of them
    .venv/bin/python scripts/benchmarks/engines.py --print      the rows of the table, without a run

Each run trains on tiny Shakespeare for the same number of steps with the default settings of a
small model: by the native kernels alone, by PyTorch on the processor alone, or natively for a third
of the steps, then by PyTorch, then natively again. Between the thirds a signal ends the run, which
is resumed on the other engine. The loss is the validation loss after the last step.

Each finished run adds a row to the table, and a run that has a row is not repeated.
"""

import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

try:
    import torch
    from common import append_row, code_commit, cpu_name, find_text, markdown_table, read_rows

    import charlstm
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup oracles, then .venv/bin/python {sys.argv[0]}")

TABLE = Path(__file__).with_suffix(".tsv")
SEEDS, STEPS = (0, 1, 2), 600
SETTING: dict[str, Any] = {"layers": 1, "hidden": 64, "batch_size": 16, "seq_length": 50}
SETTING |= {"precision": "float32"}
Engine = Literal["native", "torch"]
WAYS: tuple[tuple[Engine, ...], ...] = (("native",), ("torch",), ("native", "torch", "native"))


class Result(NamedTuple):
    """A row of the table."""

    seed: int
    engines: str  # one after the other
    steps: int
    nats: float  # validation loss per character
    cpu: str
    torch: str  # version
    commit: str


def measure(seed: int, way: Sequence[Engine], steps: int) -> float:
    """Make a run that goes from engine to engine; return its last validation loss."""
    text, losses = find_text("tinyshakespeare.txt"), []
    with TemporaryDirectory() as folder:
        for number, engine in enumerate(way, 1):
            end = steps * number // len(way)

            def observe(event: dict[str, Any], end: int = end) -> None:
                if event["event"] == "step" and event["step"] == end < steps:
                    signal.raise_signal(signal.SIGTERM)
                if event["event"] == "eval":
                    losses.append(event["val_loss"])

            common: dict[str, Any] = {"observer": observe, "on_interrupt": "return"}
            common |= {"engine": engine, "device": "cpu" if engine == "torch" else "auto"}
            if number == 1:
                settings = SETTING | {"steps": steps, "eval_every": steps, "seed": seed}
                run = charlstm.train(text, folder, overwrite=True, **settings, **common)
            else:
                run = charlstm.train(run=folder, resume=True, **common)
            if run.steps != end:
                sys.exit(f"the run ended at step {run.steps}, not {end} ({run.reason})")
    return float(losses[-1])


def read_results(path: Path) -> list[Result]:
    """The rows of the table."""
    types = Result.__annotations__
    rows = read_rows(path, Result._fields)
    return [Result(**{name: types[name](row[name]) for name in types}) for row in rows]


def summary(results: Sequence[Result]) -> str:
    """A table with a row for each seed and number of steps of a commit."""
    names = [" → ".join(way) for way in WAYS]
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for each in results:
        key = (str(each.seed), f"{each.steps:,}", each.cpu, each.torch, each.commit)
        groups.setdefault(key, {})[each.engines] = each.nats
    rows = []
    for (seed, *origin), losses in groups.items():
        cells = [f"{losses[name]:.4f}" if name in losses else "" for name in names]
        difference = ""
        if len(losses) == len(names):
            native, _, mixed = (losses[name] for name in names)
            difference = f"{mixed - native:+.4f}"
        rows.append([seed, *cells, difference, *origin])
    headings = ("seed", *names, "third − first", "steps", "processor", "PyTorch", "commit")
    return markdown_table(headings, rows)


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"steps of each run [default: {STEPS}]"
    )
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results [default: {TABLE.name}]"
    )
    parser.add_argument("--print", action="store_true", help="print all rows, train nothing")
    options = parser.parse_args(arguments)
    if not options.print:
        origin = (cpu_name(), torch.__version__, code_commit())
        known = {each._replace(nats=0.0) for each in read_results(options.table)}
        for seed, way in product(options.seeds, WAYS):
            key = Result(seed, " → ".join(way), options.steps, 0.0, *origin)
            if key not in known:
                result = key._replace(nats=measure(seed, way, options.steps))
                append_row(options.table, result._asdict())
                print(*result, sep="\t", file=sys.stderr, flush=True)
    print(summary(read_results(options.table)))


if __name__ == "__main__":
    main()
