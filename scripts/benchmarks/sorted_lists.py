#!/usr/bin/env python3
"""Compares models of a sorted list with models of the same list in random order.

    .venv/bin/python scripts/benchmarks/sorted_lists.py
        two lists, three seeds, read as lines and as one text: about six minutes on two cores
    .venv/bin/python scripts/benchmarks/sorted_lists.py --seeds 0 --table /tmp/trial.tsv
        one seed
    .venv/bin/python scripts/benchmarks/sorted_lists.py --print
        all rows that the table holds, without a run; no text is needed

The lists are the names of the functions of Python's standard library, and the distinct words of
tiny Shakespeare. All runs make the same number of steps, and hold out a tenth of the list: with
--lines, lines drawn by the seed; without it, the end of the list. The loss is the best one on the
lines held out.

Each finished run adds a row to the table, and a run that has a row is not repeated. A row is found
by its list, reading, order, seed, steps, Python, kernels, machine and commit.
"""

import platform
import random
import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

try:
    from advice_trials import names
    from common import (
        ORIGIN_HEADINGS,
        Origin,
        append_row,
        find_text,
        markdown_table,
        read_rows,
        this_origin,
    )

    import charlstm
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then "
        ".venv/bin/python scripts/benchmarks/sorted_lists.py"
    )

TABLE = Path(__file__).with_suffix(".tsv")
LISTS = ("names", "words")
READINGS = {"--lines": {"lines": True}, "one text": {"lines": False}}
ORDERS = ("sorted", "random")
SEEDS = (0, 1, 2)
STEPS = 500
SHAPE: dict[str, Any] = {"hidden": 96, "layers": 1}


class Result(NamedTuple):
    """A row of the table."""

    list: str
    reading: str
    order: str
    seed: int
    steps: int
    nats: float  # the best loss on the lines held out, per character
    python: str
    kernels: str
    cpu: str
    cores: str
    commit: str

    @property
    def key(self) -> tuple[object, ...]:
        """The key of the row: runs of one key have the same result."""
        return (*self[:5], *self[6:])


def lines_of_list(name: str) -> list[str]:
    """Return the lines of a list, sorted; no two are equal."""
    if name == "names":
        return sorted(names(20_000).decode().split())
    plays = find_text("tinyshakespeare.txt").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"[A-Za-z]+", plays)))


def measure(name: str, reading: str, order: str, seed: int, steps: int) -> float:
    """Return the best validation loss of a run on a list in this order."""
    lines = lines_of_list(name)
    if order == "random":
        random.Random(seed).shuffle(lines)
    with TemporaryDirectory() as folder:
        text = Path(folder) / "list.txt"
        text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        options = {**SHAPE, **READINGS[reading], "seed": seed, "steps": steps}
        run = charlstm.train(text, Path(folder) / "run", **options)
    if run.reason != "finished" or run.best_val_loss is None:
        sys.exit(f"not measured ({run.reason}); the table holds the runs before it")
    return run.best_val_loss


def measure_missing(
    lists: Sequence[str], seeds: Sequence[int], steps: int, table: Path
) -> list[Result]:
    """Return the results of all runs; make those that have no row and add them to the table."""
    origin = (platform.python_version(), *this_origin())
    known = {result.key: result for result in read_results(table)}
    found = []
    for name, reading, seed, order in product(lists, READINGS, seeds, ORDERS):
        key = (name, reading, order, seed, steps, *origin)
        if key not in known:
            nats = measure(name, reading, order, seed, steps)
            known[key] = Result(name, reading, order, seed, steps, nats, *origin)
            append_row(table, known[key]._asdict())
        found.append(known[key])
    return found


def read_results(path: Path) -> list[Result]:
    """Return the rows of the table."""
    types = Result.__annotations__
    rows = read_rows(path, Result._fields)
    return [Result(**{name: types[name](row[name]) for name in types}) for row in rows]


def summary(results: Sequence[Result]) -> str:
    """Return a table with a row for each list, reading and origin: means over the seeds.

    Seeds without a result in either order are left out.
    """
    groups: dict[tuple[object, ...], dict[int, dict[str, float]]] = {}
    for result in results:
        group = (result.list, result.reading, result.steps, *result[7:])
        groups.setdefault(group, {}).setdefault(result.seed, {})[result.order] = result.nats
    rows = []
    for (name, reading, steps, *origin), seeds in groups.items():
        pairs = [
            [losses[order] for order in ORDERS]
            for _, losses in sorted(seeds.items())
            if len(losses) == len(ORDERS)
        ]
        if not pairs:
            continue
        one, other = (mean(column) for column in zip(*pairs, strict=True))
        each = ", ".join(f"{100 * (ours / theirs - 1):+.1f} %" for ours, theirs in pairs)
        rows.append([str(name), str(reading), f"{one:.3f}", f"{other:.3f}",
                     f"{100 * (one / other - 1):+.1f} %", each, f"{steps:,}",
                     *Origin(*map(str, origin)).cells])  # fmt: skip
    headings = ("list", "read as", "sorted, nats", "random order, nats", "difference",
                "of each seed", "steps", *ORIGIN_HEADINGS)  # fmt: skip
    return markdown_table(headings, rows)


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--lists", nargs="+", choices=LISTS, default=list(LISTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"steps of each run [default: {STEPS}]"
    )
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results [default: {TABLE.name}]"
    )
    parser.add_argument(
        "--print", action="store_true", help="print the rows of the table, train nothing"
    )
    options = parser.parse_args(arguments)
    if options.print:
        results = [each for each in read_results(options.table) if each.list in options.lists]
    else:
        results = measure_missing(options.lists, options.seeds, options.steps, options.table)
    print(summary(results))


if __name__ == "__main__":
    main()
