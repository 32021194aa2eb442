#!/usr/bin/env python3
"""Runs all stress tests in batches, for hours, and keeps a table of their results.

    .venv/bin/python scripts/stress/unattended.py                 all batches: about seven hours
    .venv/bin/python scripts/stress/unattended.py --only soak     the batches of one test
    .venv/bin/python scripts/stress/unattended.py --print         the table so far, without a run

The script can be stopped at any time and started again: each finished batch adds a row to the
table, and a batch that has a row without a failure is not repeated. Each batch has its own seed,
and therefore its own cases. The tests advance together: when a tenth of the batches of one test are
done, so are a tenth of the batches of the other tests. A test that has only one batch comes last.

Rows are kept when the code changes; each row names the commit that was tested. A failure is
described in the row of its batch, and the summary names the command that repeats the batch. The
exit code is 1 if a batch had a failure.
"""

import json
import multiprocessing
import signal
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
try:
    import crash
    import damaged_checkpoints
    import odd_corpora
    import odd_options
    import soak
    from checkpoint_damage import KINDS
    from common import Origin, append_row, markdown_table, read_rows, this_origin
    from option_cases import NO_COMMAND, cases
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/stress/unattended.py"
    )

TABLE = Path(__file__).with_name("results.tsv")
SCRIPTS = "scripts/stress/*.py"
MAX_DESCRIPTIONS = 10  # A row describes at most this number of failures.
# Numbers by name: maxima over the cases if the name ends in "at most", else sums over the cases.
Numbers = dict[str, float]
Outcome = tuple[Numbers, list[str]]  # the numbers of a batch and a description of each failure


class StressTest(NamedTuple):
    """A stress test and its batches."""

    run: Callable[[str, int], Outcome]  # runs a batch, given its name and its number of cases
    unit: str  # the word for cases, such as "files"
    batches: dict[str, int]  # the number of cases of each batch, by the name of the batch
    command: str  # the command that repeats a batch


class Batch(NamedTuple):
    """Some of the cases of a test."""

    test: str
    batch: str  # the name of the batch: its seed or, for odd options, its command
    cases: int


class Row(NamedTuple):
    """A row of the table."""

    test: str
    batch: str
    cases: int
    numbers: str  # in JSON
    failures: str  # descriptions, in JSON
    seconds: int
    kernels: str
    cpu: str
    cores: str
    commit: str

    @property
    def key(self) -> Batch:
        """The batch whose results stand in the row."""
        return Batch(self.test, self.batch, self.cases)

    @property
    def origin(self) -> Origin:
        """The kernels, the machine and the commit with which the batch was run."""
        return Origin(self.kernels, self.cpu, self.cores, self.commit)

    @property
    def descriptions(self) -> list[str]:
        """The descriptions of the failures."""
        return list(json.loads(self.failures))


# -- the tests ------------------------------------------------------------------------------------


def interrupted_runs(interruption: str, seed: str, runs: int) -> Outcome:
    """Interrupt runs and resume them."""
    outcome = crash.run_all(runs, interruption, int(seed))
    return outcome.numbers(), outcome.failures


def damaged_files(seed: str, count: int) -> Outcome:
    """Damage checkpoints and read them."""
    found = damaged_checkpoints.read_all(count, list(KINDS), int(seed))
    return damaged_checkpoints.numbers(found), damaged_checkpoints.failures(found)


def odd_texts(seed: str, count: int) -> Outcome:
    """Train on odd texts."""
    found, failures = odd_corpora.attempt_all(count, int(seed))
    return odd_corpora.numbers(found), failures


def odd_options_of(command: str, count: int) -> Outcome:
    """Give a command all odd values of its options."""
    found, failures = odd_options.run_all(list(cases(command)), odd_options.PROCESSES)
    return odd_options.numbers(found), failures


def long_run(seed: str, steps: int) -> Outcome:
    """Train for a long time under load, and again without."""
    with TemporaryDirectory() as folder:
        runs, differing = soak.train_twice(Path(folder), steps, int(seed))
    return soak.numbers(runs), soak.failures(runs, differing, soak.MAX_SLOWDOWN)


def seeds(batches: int, size: int) -> dict[str, int]:
    """Return `batches` batches of `size` cases, named by their seeds from 1."""
    return {str(seed): size for seed in range(1, batches + 1)}


def option_batches() -> dict[str, int]:
    """Return one batch for each command, with the number of its cases."""
    names = (case.command[-1] if case.command else NO_COMMAND for case in cases())
    return dict(Counter(names))


TESTS = {
    "SIGKILL": StressTest(
        partial(interrupted_runs, "kill"), "runs", seeds(55, 25),
        "crash.py --with kill --seed {batch} --runs {cases}",
    ),
    "damaged checkpoints": StressTest(
        damaged_files, "files", seeds(80, 1_250),
        "damaged_checkpoints.py --seed {batch} --count {cases}",
    ),
    "odd texts": StressTest(
        odd_texts, "texts", seeds(80, 125), "odd_corpora.py --seed {batch} --count {cases}",
    ),
    "SIGTERM": StressTest(
        partial(interrupted_runs, "term"), "runs", seeds(55, 25),
        "crash.py --with term --seed {batch} --runs {cases}",
    ),
    "full disk": StressTest(
        partial(interrupted_runs, "full"), "runs", seeds(55, 25),
        "crash.py --with full --seed {batch} --runs {cases}",
    ),
    "odd options": StressTest(
        odd_options_of, "commands", option_batches(), "odd_options.py --only '{batch}'",
    ),
    "soak": StressTest(
        long_run, "steps", seeds(1, 12_000), "soak.py --seed {batch} --steps {cases}",
    ),
}  # fmt: skip


# -- running --------------------------------------------------------------------------------------


def planned() -> list[Batch]:
    """Return all batches in the order in which they run.

    A batch is placed by the fraction of its test's batches that are done after it.
    """
    placed = [
        ((number + 1) / len(test.batches), Batch(name, batch, count))
        for name, test in TESTS.items()
        for number, (batch, count) in enumerate(test.batches.items())
    ]
    return [batch for _, batch in sorted(placed, key=lambda each: each[0])]


def work(batch: Batch, sender: Connection) -> None:
    """Run a batch in this process and send its outcome."""
    # sys.exit raises an exception: temporary folders are removed, and child processes are ended.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        outcome = TESTS[batch.test].run(batch.batch, batch.cases)
    except (Exception, SystemExit) as error:
        outcome = {}, [f"{type(error).__name__}: {error}"]
    sender.send(outcome)


def run_apart(batch: Batch) -> Outcome:
    """Run a batch in a process of its own; return its outcome. A process that dies is a failure."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(batch, sender))
    process.start()
    sender.close()
    try:
        outcome: Outcome = receiver.recv()
    except EOFError:
        process.join()
        return {}, [f"the process ended with exit code {process.exitcode}"]
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
    return outcome


def measure(batch: Batch, origin: Origin) -> Row:
    """Run a batch, print its failures in full, and return its row."""
    began = time.monotonic()
    numbers, failures = run_apart(batch)
    for failure in failures:
        print(f"  FAILED: {failure}", file=sys.stderr)
    shown = [shortened(failure) for failure in failures[:MAX_DESCRIPTIONS]]
    if len(failures) > len(shown):
        shown.append(f"{len(failures) - len(shown)} more failures")
    seconds = round(time.monotonic() - began)
    return Row(*batch, json.dumps(numbers), json.dumps(shown), seconds, *origin)


def shortened(text: str) -> str:
    """Return the first and the last line of a text, which name a failure and its error."""
    lines = text.strip().splitlines()
    return " ... ".join(line[:500] for line in dict.fromkeys((lines[0], lines[-1])))


def read_results(path: Path) -> list[Row]:
    """Return the rows of the table of results."""
    types = Row.__annotations__
    rows = read_rows(path, Row._fields)
    return [Row(**{name: types[name](row[name]) for name in types}) for row in rows]


def run_missing(batches: Sequence[Batch], table: Path) -> bool:
    """Run the batches that have no row without a failure; return whether all of them passed."""
    rows, origin = read_results(table), this_origin(SCRIPTS)
    passed = {row.key for row in rows if not row.descriptions}
    missing, good = [batch for batch in batches if batch not in passed], True
    for number, batch in enumerate(missing):
        print(f"{number + 1}/{len(missing)} {batch.test}, batch {batch.batch}", file=sys.stderr)
        row = measure(batch, origin)
        append_row(table, row._asdict())
        rows.append(row)
        good = good and not row.descriptions
        left = hours_of(missing[number + 1 :], rows)
        print(f"  {described(json.loads(row.numbers))}; {row.seconds} s; {left}", file=sys.stderr)
    return good


def hours_of(batches: Sequence[Batch], rows: Sequence[Row]) -> str:
    """Return the expected time of some batches in words, by the time that earlier batches took."""
    seconds = 0.0
    for batch in batches:
        found = [row.seconds / row.cases for row in rows if row.test == batch.test]
        seconds += batch.cases * mean(found) if found else 0
    return f"about {seconds / 3600:.1f} h left"


# -- the table ------------------------------------------------------------------------------------


def described(numbers: Numbers) -> str:
    """Return numbers with their names, in one line."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items())


def total(rows: Sequence[Row]) -> Numbers:
    """Return the numbers of several batches of one test together."""
    found: Numbers = {}
    for row in rows:
        for name, number in json.loads(row.numbers).items():
            if name.endswith("at most"):
                found[name] = max(found.get(name, number), number)
            else:
                found[name] = found.get(name, 0) + number
    return found


def summary(rows: Sequence[Row]) -> str:
    """Return a Markdown table with a row for each test, and lines of text below it.

    The text names the kernels, the machines and the failures. Of several rows of a batch, the last
    one counts, even if the number of cases has changed since.
    """
    last = {(row.test, row.batch): row for row in rows}
    cells = []
    for name, test in TESTS.items():
        own = [row for row in last.values() if row.test == name]
        done = f"{sum(row.cases for row in own):,} {test.unit}"
        failures = sum(len(row.descriptions) for row in own)
        hours = f"{sum(row.seconds for row in own) / 3600:.1f}"
        commits = ", ".join(dict.fromkeys(row.commit for row in own))
        cells.append([name, done, described(total(own)), str(failures), hours, commits])
    table = markdown_table(("test", "done", "outcome", "failures", "hours", "commits"), cells)
    origins = dict.fromkeys(" on ".join(row.origin.cells[:2]) for row in last.values())
    lines = [f"Measured with {origin}." for origin in origins]
    for row in rows:
        command = TESTS[row.test].command.format(**row._asdict()) if row.test in TESTS else row.test
        again = "" if last[row.test, row.batch].descriptions else ", but not later"
        lines += [f"- `{command}` at {row.commit}{again}: {each}" for each in row.descriptions]
    return "\n".join([table, "", *lines])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 1 if a batch had a failure."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TESTS, help="run only the batches of this test")
    parser.add_argument(
        "--table", type=Path, default=TABLE, help=f"file of results  [default: {TABLE.name}]"
    )
    parser.add_argument("--print", action="store_true", help="print the table, run nothing")
    options = parser.parse_args(arguments)
    good = True
    if not options.print:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        batches = [batch for batch in planned() if options.only in (None, batch.test)]
        good = run_missing(batches, options.table)
    print(summary(read_results(options.table)))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
