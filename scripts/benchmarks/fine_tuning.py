#!/usr/bin/env python3
"""Measures fine-tuning: the losses on the new and on the old text, under five settings.

    .venv/bin/python scripts/benchmarks/fine_tuning.py
        two pairs of texts: a base model and five runs for each, about ten minutes on two cores
    .venv/bin/python scripts/benchmarks/fine_tuning.py --pairs code-plays --table /tmp/trial.tsv
        one pair
    .venv/bin/python scripts/benchmarks/fine_tuning.py --print
        all rows that the table holds, without a run; no text is needed

For each pair of an old and a new text, a base model learns the old text. Each setting then trains
on the new text for the same number of steps, from the weights of the base model or from scratch.
The last tenth of each text is held out. The losses are those of best.safetensors on the held-out
parts of the two texts. The texts are tiny Shakespeare, and the modules and the documentation of the
Python that runs this script.

Each finished run adds a row to the table, and a run that has a row is not repeated. A row is found
by its pair, setting, steps, Python, kernels, machine and commit.
"""

import platform
import pydoc_data.topics
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

try:
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
    from charlstm.network.scoring import evaluate
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then "
        ".venv/bin/python scripts/benchmarks/fine_tuning.py"
    )

TABLE = Path(__file__).with_suffix(".tsv")
BASE_STEPS, STEPS = 2_500, 800
OLD_CHARACTERS, NEW_CHARACTERS = 700_000, 300_000
SHAPE: dict[str, Any] = {"hidden": 160, "layers": 1}
PAIRS = {"plays-manual": ("plays", "manual"), "code-plays": ("code", "plays")}  # old, new
# The options of each setting beside those of all runs. A setting with "mix" reads the old text too.
SETTINGS: dict[str, dict[str, Any]] = {
    "from scratch": {},
    "from the base": {"init_from": True},
    "from the base, lr 0.005": {"init_from": True, "lr": 0.005},
    "from the base, mix 0.125": {"init_from": True, "mix": True, "mix_share": 0.125},
    "from the base, mix (default)": {"init_from": True, "mix": True},
}


class Result(NamedTuple):
    """A row of the table. Losses are in nats per character."""

    pair: str
    setting: str
    base_steps: int
    steps: int
    new: float  # of the trained model on the new text
    old: float | None  # of the trained model on the old text; None for a model from scratch
    old_before: float  # of the base model on the old text
    python: str
    kernels: str
    cpu: str
    cores: str
    commit: str

    @property
    def key(self) -> tuple[object, ...]:
        """The key of the row: runs of one key have the same result."""
        return (*self[:4], *self[7:])


def text_of(name: str) -> str:
    """Return a text by its name."""
    if name == "plays":
        return find_text("tinyshakespeare.txt").read_text(encoding="utf-8")
    if name == "manual":
        topics = pydoc_data.topics.topics
        return "\n\n".join(topics[topic] for topic in sorted(topics))
    modules = sorted(Path(pydoc_data.topics.__file__).parents[1].glob("*.py"))
    return "".join(module.read_text(encoding="utf-8") for module in modules)


def loss_on_end(run: Path, text: Path) -> float:
    """Return the loss of a run's best model on the last tenth of a text."""
    model, content = charlstm.load(run), text.read_text(encoding="utf-8")
    ids = model.vocab.encode(content[int(len(content) * 0.9) :], "skip")
    return evaluate(model, ids).nats_per_character


def require_finished(run: charlstm.TrainedRun) -> None:
    """Exit if a run was interrupted."""
    if run.reason != "finished":
        sys.exit(f"not measured ({run.reason}); the table holds the runs before it")


def measure(pair: str, steps: tuple[int, int], table: Path) -> list[Result]:
    """Return the results of all settings on a pair; add those that are missing to the table.

    steps: the number of steps of the base model, and the number of steps of each setting.
    """
    origin = (platform.python_version(), *this_origin())
    known = {result.key: result for result in read_results(table)}
    wanted = {name: (pair, name, *steps, *origin) for name in SETTINGS}
    if missing := [name for name, key in wanted.items() if key not in known]:
        with TemporaryDirectory() as place:
            folder = Path(place)
            old, new = folder / "old.txt", folder / "new.txt"
            for path, name, size in zip(
                (old, new), PAIRS[pair], (OLD_CHARACTERS, -NEW_CHARACTERS), strict=True
            ):
                content = text_of(name)
                path.write_text(content[:size] if size > 0 else content[size:], encoding="utf-8")
            base = folder / "base"
            require_finished(charlstm.train(old, base, steps=steps[0], **SHAPE))
            before = loss_on_end(base, old)
            for name in missing:
                options = dict(SETTINGS[name])
                if from_base := options.pop("init_from", False):
                    options["init_from"] = base
                if options.pop("mix", False):
                    options["mix"] = old
                run = folder / "run"
                options |= {**SHAPE, "steps": steps[1], "overwrite": True}
                require_finished(charlstm.train(new, run, **options))
                losses = loss_on_end(run, new), loss_on_end(run, old) if from_base else None
                result = Result(pair, name, *steps, *losses, before, *origin)
                known[result.key] = result
                append_row(table, result._asdict())
    return [known[key] for key in wanted.values()]


def read_results(path: Path) -> list[Result]:
    """Return the rows of the table."""
    rows = read_rows(path, Result._fields)
    return [
        Result(
            **{
                **row,
                "base_steps": int(row["base_steps"]),
                "steps": int(row["steps"]),
                "new": float(row["new"]),
                "old": float(row["old"]) if row["old"] else None,
                "old_before": float(row["old_before"]),
            }
        )
        for row in rows
    ]


def summary(results: Sequence[Result]) -> str:
    """Return a table with a row for each result."""
    rows = []
    scratch = {
        (result.pair, *result.key[2:]): result.new
        for result in results
        if result.setting == "from scratch"
    }
    for result in results:
        from_scratch = scratch.get((result.pair, *result.key[2:]))
        change = "" if from_scratch is None else f"{100 * (result.new / from_scratch - 1):+.1f} %"
        old = forgotten = ""
        if result.old is not None:
            old = f"{result.old:.3f}"
            forgotten = f"{100 * (result.old / result.old_before - 1):+.1f} %"
        origin = Origin(result.kernels, result.cpu, result.cores, result.commit)
        rows.append([result.pair, result.setting, f"{result.new:.3f}", change, old, forgotten,
                     f"{result.old_before:.3f}", *origin.cells])  # fmt: skip
    headings = ("old-new", "setting", "new text, nats", "beside scratch", "old text, nats",
                "beside the base", "base on the old text", *ORIGIN_HEADINGS)  # fmt: skip
    return markdown_table(headings, rows)


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--base-steps", type=int, default=BASE_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results [default: {TABLE.name}]"
    )
    parser.add_argument(
        "--print", action="store_true", help="print the rows of the table, train nothing"
    )
    options = parser.parse_args(arguments)
    if options.print:
        results = [result for result in read_results(options.table) if result.pair in options.pairs]
    else:
        steps = options.base_steps, options.steps
        results = [each for pair in options.pairs for each in measure(pair, steps, options.table)]
    print(summary(results))


if __name__ == "__main__":
    main()
