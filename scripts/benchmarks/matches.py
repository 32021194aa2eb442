#!/usr/bin/env python3
"""Measures what matches add to dynamic evaluation, on the texts for choosing.

    .venv/bin/python scripts/benchmarks/matches.py --seeds 3    make the runs without a row
    .venv/bin/python scripts/benchmarks/matches.py --print      print the stored rows

A model learns each text for as many steps as experiments.py gives it in --minutes. Dynamic
evaluation then reads the beginning of the validation text without matches, with matches in the text
that it reads, and with matches in the training text too. Losses are in nats per character. Each
finished run adds a row to matches.tsv, and is not repeated.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import NamedTuple

try:
    from common import append_row, markdown_table, read_rows, this_origin
    from experiments import trained
    from texts import CHOOSING, SOURCES
    from tqdm import tqdm

    from charlstm.analysis.dynamic_evaluation import DynamicConfig, DynamicEvaluation
    from charlstm.analysis.segment_gradients import gradient_rms, own_text
    from charlstm.runs.folder import load
    from charlstm.runs.texts import training_and_validation_ids
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/matches.py"
    )

TABLE = Path(__file__).with_suffix(".tsv")
CHARACTERS = 30_000  # of the validation text that are read


class Row(NamedTuple):
    """A row of the table; losses are in nats per character."""

    text: str
    minutes: float  # of training, on the reference machine of experiments.py
    seed: int
    steps: int
    without: float
    in_text: float  # with matches in the text that is read
    in_training_text: float  # with matches in the training text too
    kernels: str
    cpu: str
    cores: str
    commit: str


def read_table(path: Path) -> list[Row]:
    """The rows of the table."""
    types = Row.__annotations__
    return [
        Row(**{name: types[name](row[name]) for name in types})
        for row in read_rows(path, Row._fields)
    ]


def measure(text: str, minutes: float, seed: int) -> Row:
    """Train a model, and read the validation text by dynamic evaluation in the three ways."""
    with TemporaryDirectory() as folder:
        run, _ = trained(text, {}, minutes, seed, [], this_origin(), Path(folder))
        model, split = load(run.path), training_and_validation_ids(run.path)
        rms, ids = gradient_rms(model, own_text(model)), split.validation[:CHARACTERS]
        losses = [
            DynamicEvaluation(model, rms, DynamicConfig(match=match)).evaluate(ids, before=before)
            for match, before in ((0, None), (5, None), (5, split.train))
        ]
    nats = (round(loss.nats_per_character, 4) for loss in losses)
    return Row(text, minutes, seed, run.steps, *nats, *this_origin())


def summary(rows: Sequence[Row]) -> str:
    """A table with a row for each text: means over the seeds, in brackets those of each seed."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.minutes, row.text, row.seed)):
        groups.setdefault((row.text, row.minutes), []).append(row)
    table = []
    for (text, minutes), group in groups.items():
        cells = [text, f"{minutes:g}", f"{mean(row.without for row in group):.3f}"]
        for name in ("in_text", "in_training_text"):
            gains = [getattr(row, name) - row.without for row in group]
            each = ", ".join(f"{gain:+.3f}" for gain in gains)
            cells.append(f"{mean(gains):+.3f} ({each})")
        table.append(cells)
    headings = ("text", "minutes", "no matches", "matches in the text", "in the training text too")
    return markdown_table(headings, table)


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each text [default: 1]")
    parser.add_argument("--minutes", type=float, default=0.1, help="of training [default: 0.1]")
    parser.add_argument("--texts", nargs="+", choices=SOURCES, default=CHOOSING, metavar="TEXT")
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results [default: {TABLE.name}]"
    )
    parser.add_argument("--print", action="store_true", help="print the rows, train nothing")
    options = parser.parse_args(arguments)
    known = {(row.text, row.minutes, row.seed) for row in read_table(options.table)}
    wanted = product(range(options.seeds), options.texts)
    missing = [(text, seed) for seed, text in wanted if (text, options.minutes, seed) not in known]
    for text, seed in [] if options.print else tqdm(missing, unit="run"):
        append_row(options.table, measure(text, options.minutes, seed)._asdict())
    print(summary(read_table(options.table)))


if __name__ == "__main__":
    main()
