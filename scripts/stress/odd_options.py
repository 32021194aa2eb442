#!/usr/bin/env python3
"""Runs every command with wrong, extreme and contradictory values of its options and arguments.

    .venv/bin/python scripts/stress/odd_options.py                     all cases
    .venv/bin/python scripts/stress/odd_options.py --only score        one command
    .venv/bin/python scripts/stress/odd_options.py --every 40          every 40th case
    .venv/bin/python scripts/stress/odd_options.py --processes 5       five cases as processes

Most commands run inside this process; a few run in a process of their own. A command that refuses
its options must exit with 1 or 2, give the reason in one line, show no traceback and write nothing.
If its options are valid, a command does its work, and is interrupted after two seconds. The exit
code of this script is 1 if a command ended in another way.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

try:
    from click.testing import CliRunner
    from option_cases import NO_COMMAND, Case, cases, commands, make_folder
    from tabulate import tabulate
    from tqdm import tqdm

    from charlstm.cli.main import main as charlstm_command
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/stress/odd_options.py"
    )

PROCESSES = 36  # the number of cases that run in a process of their own
SECONDS = 2.0  # the time after which a command is interrupted
SECONDS_OF_PROCESS = 20  # the time after which a process is ended
MAX_MEMORY = 6 << 30  # a limit on address space in bytes, so that no case takes all memory
INPUT = "Once upon\n"  # the standard input of each command
REFUSED = ("refused", "wrong usage")
GOOD = (*REFUSED, "legal", "interrupted", "not possible")


class Result(NamedTuple):
    """The exit code, the errors and the outcome of one command."""

    code: int | None
    error: str  # standard error
    outcome: str  # one of GOOD, or a description of the failure


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of change of every file below a folder."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_size, 0 if path.is_dir() else status.st_mtime_ns)
    return found


def judge(code: int | None, error: str, changed: bool) -> str:
    """Return the outcome of a command, by its exit code, its standard error and changes on disk."""
    lines = [line for line in error.splitlines() if line]
    if "Traceback" in error:
        return "traceback"
    if code == 0:
        return "legal"
    if code == 130:
        return "interrupted"
    if changed:
        return "refused, but something was written"
    refusals = [line for line in lines if line.startswith("charlstm: ")]
    notes = [line for line in lines if line.startswith(("seed ", "note: ", "'"))]
    if code in (1, 2) and len(refusals) == 1 and len(refusals) + len(notes) == len(lines):
        return "refused" if code == 1 else "wrong usage"
    return f"unclear ({code})"


# -- running one case -----------------------------------------------------------------------------


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Send SIGINT to this process when the time is up, and again after each further second."""
    # SIGINT may be ignored: a shell starts its background processes so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def run_here(case: Case) -> Result:
    """Call the command in this process."""
    before = listing(Path.cwd())
    with warnings.catch_warnings(), interrupted_after(SECONDS):
        warnings.simplefilter("ignore")
        try:
            done = CliRunner().invoke(
                charlstm_command, [*case.command, *case.arguments], input=INPUT
            )
        except BaseException:  # The signal may come just before or after the command.
            return Result(None, traceback.format_exc(), "traceback")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        error = "".join(traceback.format_exception(done.exception))
        return Result(None, error, f"exception {type(done.exception).__name__}")
    changed = listing(Path.cwd()) != before
    return Result(done.exit_code, done.stderr, judge(done.exit_code, done.stderr, changed))


def run_process(case: Case) -> Result:
    """Run the command as a process of its own."""
    before = listing(Path.cwd())
    try:
        done = subprocess.run(
            [sys.executable, "-m", "charlstm", *case.command, *case.arguments],
            input=INPUT.encode(), capture_output=True, timeout=SECONDS_OF_PROCESS,
        )  # fmt: skip
    except ValueError:  # An argument of a process cannot contain a NUL.
        return Result(None, "", "not possible")
    except subprocess.TimeoutExpired:
        return Result(None, "", "interrupted")
    error = done.stderr.decode("utf-8", "replace")
    changed = listing(Path.cwd()) != before
    return Result(done.returncode, error, judge(done.returncode, error, changed))


# -- the folder that the cases run in -------------------------------------------------------------


@contextmanager
def working_folder() -> Iterator[tuple[Path, Path]]:
    """Change into a new folder with files for the cases; yield it and an untouched copy of it.

    While it is used, the commands have a cache of their own and a limit on memory.
    """
    here, limits = Path.cwd(), resource.getrlimit(resource.RLIMIT_AS)
    with TemporaryDirectory() as temporary:
        folder, untouched = Path(temporary) / "here", Path(temporary) / "untouched"
        folder.mkdir()
        with patch.dict(os.environ, CHARLSTM_CACHE=f"{temporary}/cache"):
            make_folder(folder)
            shutil.copytree(folder, untouched, symlinks=True)
            os.mkfifo(folder / "pipe")
            try:
                os.chdir(folder)
                resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, limits[1]))
                yield folder, untouched
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limits)
                os.chdir(here)
                for parent in (folder, untouched):
                    (parent / "closed").chmod(0o700)


def restore_files(folder: Path, untouched: Path) -> None:
    """Restore the files of a folder after a command has changed them."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(untouched, folder, symlinks=True, dirs_exist_ok=True)
    os.mkfifo(folder / "pipe")


# -- all cases ------------------------------------------------------------------------------------


def run_all(tried: list[Case], processes: int) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Run all cases; return the counts by command and outcome, and a description of each failure.

    processes: the number of cases that run in a process of their own, evenly spread over all cases.
    """
    as_process = set(range(0, len(tried), max(1, len(tried) // processes)) if processes else ())
    found: Counter[tuple[str, str]] = Counter()
    failures = []
    bar = tqdm(tried, unit="case", dynamic_ncols=True, disable=None)
    with working_folder() as (folder, untouched):
        for number, case in enumerate(bar):
            result = run_process(case) if number in as_process else run_here(case)
            name = " ".join(case.command) or NO_COMMAND
            found[name, result.outcome] += 1
            if result.outcome not in GOOD:
                shown = " ".join(repr(argument[:60]) for argument in case.arguments)
                failures.append(f"{name} {shown}: {result.outcome}\n{result.error[-1500:]}")
            if result.outcome not in REFUSED:
                restore_files(folder, untouched)
    return found, failures


def numbers(found: Counter[tuple[str, str]]) -> dict[str, float]:
    """Return the counts of all commands together."""
    names = {name: "refused in one line" if name in REFUSED else "legal" for name in GOOD}
    sums = Counter({"refused in one line": 0, "legal": 0})
    for (_, outcome), n in found.items():
        if outcome in names:
            sums[names[outcome]] += n
    return dict(sums)


def summarise(found: Counter[tuple[str, str]]) -> str:
    """Return a Markdown table with a row for each command."""
    names = list(dict.fromkeys(name for name, _ in found))
    rows: list[list[Any]] = []
    for name in (*names, "all"):
        own = [(o, n) for (command, o), n in found.items() if name in (command, "all")]
        counts = [sum(n for o, n in own if o == outcome) for outcome in GOOD[:4]]
        total = sum(n for _, n in own)
        wrong = sum(n for o, n in own if o not in GOOD)
        rows.append([name, total, *counts, wrong])
    headings = ("command", "cases", "exit 1", "exit 2", "legal", "interrupted", "wrong")
    return tabulate(rows, headings, tablefmt="pipe", intfmt=",")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 1 if a command did not end as it must."""
    names = [*(path[-1] for path, _ in commands()), NO_COMMAND]
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=names, help="run only the cases of this command")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="run only every N-th case"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=PROCESSES,
        help=f"number of cases that start a process of their own  [default: {PROCESSES}]",
    )
    options = parser.parse_args(arguments)
    if options.every < 1 or options.processes < 0:
        parser.error("--every must be 1 or more, --processes 0 or more")
    found, failures = run_all(list(cases(options.only))[:: options.every], options.processes)
    print(summarise(found))
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
