#!/usr/bin/env python3
"""Gives every option and argument of every command wrong, extreme and contradictory values.

    scripts/odd_options                     all of it
    scripts/odd_options --only score        one command
    scripts/odd_options --processes 5       so many of the cases in a process of their own

The commands and their options are those that click knows, so that a new one is tried without being
named here. What is refused must exit with 1 or 2, say why in one line (of wrong usage, beneath
click's own), show no traceback, and leave nothing behind. A value may turn out to be legal: then
the command may do its work, and is interrupted where that has no end. Exits with 1 if one does not
hold.
"""

import itertools
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

import click
from click.testing import CliRunner

try:
    from common import table

    import charlstm
    from charlstm.cli.main import main as charlstm_command
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/odd_options")

NUMBERS = (
    "many", "", " ", "-1", "0", "1", "0.5", "-0.0", "1e3", "nan", "inf", "-inf", "1e308", "1e-308",
    "2147483648", "9223372036854775808", "1" + 40 * "0", "1" + 400 * "0", "٣", "1_0", "0x10",
    "\x1b[2J", "1000000", "16384", "7",
)  # fmt: skip
TEXTS = ("", " ", "\n", "\x1b[2J", "ü\u202e", "\udcff", "\0", "x" * 300, "--", "-", "%s{0}")
# Names in the folder that each case begins with; see make_folder.
PATHS = (
    "none", "none/none", "folder", "text.txt", "text.txt/inside", "run", "empty.txt", "latin.txt",
    "closed.txt", "closed", "closed/inside", "", " ", ".", "..", "/", "~", "-", "nu\0l", "x" * 300,
    "a\x1b[2J\nb", "\udcff", "damaged.safetensors", "/dev/null", "/dev/full", "pipe",
    "/proc/self/mem",
)  # fmt: skip
# What a command needs beside the options that are tried, so that it gets as far as it can.
NEEDED = {
    "train": ["text.txt", "-r", "new", "--steps", "1", "--hidden", "4", "--quiet"],
    "sample": ["-r", "run", "--length", "5"],
    "eval": ["text.txt", "-r", "run"],
    "score": ["text.txt", "-r", "run"],
    "info": ["run"],
    "gates": ["text.txt", "-r", "run", "--output", "page.html", "--length", "50"],
    "gradients": ["--lags", "5", "--hidden", "4"],
    "cache": [],
}
SECONDS = 2.0  # until a command that is still at work is interrupted
MEMORY = 6 << 30  # bytes of address space, so that no case takes the machine's


class Case(NamedTuple):
    command: tuple[str, ...]
    arguments: tuple[str, ...]


class Result(NamedTuple):
    code: int | None
    error: str  # what it said on standard error
    outcome: str  # refused, wrong usage, legal, interrupted, or what is wrong


# -- what is tried -------------------------------------------------------------------------------


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def values(parameter: click.Parameter) -> tuple[str, ...]:
    """Wrong and extreme values for what the parameter's type is."""
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
        return NUMBERS
    if isinstance(parameter.type, click.Choice):
        first = str(parameter.type.choices[0])
        return (*TEXTS, "none", first, first.upper(), first[:-1])
    if isinstance(parameter.type, click.Path):
        return tuple(path for path in PATHS if "\0" not in path)  # which click itself cannot take
    if isinstance(parameter, click.Argument):
        return PATHS
    return (*TEXTS, "hex", "utf-16", "idna", "undefined", *PATHS[:4])


def plain_value(parameter: click.Parameter) -> list[str]:
    """A value that is right by itself: what contradicts it is another option."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [parameter.opts[0]]
    kind = parameter.type
    value = "run" if isinstance(kind, click.Path) else "a"
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        value = "0.5" if isinstance(kind, click.types.FloatParamType) else "2"
    if isinstance(kind, click.Choice):
        value = str(kind.choices[-1])
    return [parameter.opts[0], value]


def cases(only: str | None = None) -> Iterator[Case]:
    for path, command in commands(charlstm_command):
        name = path[-1]
        if only not in (None, name):
            continue
        needed = NEEDED.get(name, [])
        options = [p for p in command.params if isinstance(p, click.Option)]
        for option in options:
            if option.is_flag:
                yield Case(path, (*needed, option.opts[0]))
                yield Case(path, (*needed, option.opts[0] + "=x"))
                continue
            yield Case(path, (*needed, option.opts[0]))  # no value
            for value in values(option):
                yield Case(path, (*needed, f"{option.opts[-1]}={value}"))
        for argument in (p for p in command.params if isinstance(p, click.Argument)):
            rest = needed[1:] if needed and not needed[0].startswith("-") else needed
            for value in values(argument):
                yield Case(path, (*rest, "--", value))
                yield Case(path, (*rest, "--", "text.txt", value))
        # any two together: among them all that contradict each other
        for one, other in itertools.combinations(options, 2):
            yield Case(path, (*needed, *plain_value(one), *plain_value(other)))
        yield Case(path, (*needed, "--no-such-option"))
        yield Case(path, (*needed, "-r"))
        yield Case(path, ("--", *needed, "surplus", "\x1b[2J"))
    if only is None:
        yield from (Case((), ("no such command",)), Case((), ("",)), Case((), ("--version=1",)))


# -- one case ------------------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """The files that PATHS names."""
    text = "Once upon a time there was a king, and the king had a daughter.\n" * 30
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "latin.txt").write_bytes("café\n".encode("latin-1") * 9)
    (folder / "folder").mkdir()
    (folder / "closed").mkdir(mode=0)
    (folder / "closed.txt").write_text(text)
    (folder / "closed.txt").chmod(0)
    (folder / "damaged.safetensors").write_bytes(bytes(100))
    charlstm.train(
        folder / "text.txt", folder / "run", hidden=4, steps=2, batch_size=2, window=8, workers=1
    )


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file below the folder, with its size and time of change."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_size, 0 if path.is_dir() else status.st_mtime_ns)
    return found


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Sends this process a Ctrl-C when its time is up, and again where that did not help."""
    # which a shell has told its background processes to ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def judge(code: int | None, error: str, changed: bool) -> str:
    """Whether a command ended as it must."""
    lines = [line for line in error.splitlines() if line]
    if "Traceback" in error:
        return "traceback"
    if code == 0:
        return "legal"
    if code == 130:
        return "interrupted"
    if changed:
        return "refused, but something was written"
    if code == 2:
        usage = len(lines) == 1 or (lines[:1] and lines[0].startswith("Usage: "))
        good = usage and len(lines) <= 4 and lines[-1].startswith("Error: ")
        return "wrong usage" if good else "unclear"
    refusals = [line for line in lines if line.startswith("charlstm: ")]
    notes = [line for line in lines if line.startswith(("seed ", "note: ", "'"))]
    if code == 1 and len(refusals) == 1 and len(refusals) + len(notes) == len(lines):
        return "refused"
    return f"unclear ({code})"


def in_process(case: Case) -> Result:
    before = listing(Path.cwd())
    with warnings.catch_warnings(), interrupted_after(SECONDS):
        warnings.simplefilter("ignore")
        try:
            done = CliRunner().invoke(
                charlstm_command, [*case.command, *case.arguments], input="Once upon\n"
            )
        except BaseException:  # the alarm may come between two commands
            return Result(None, traceback.format_exc(), "traceback")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        told = "".join(traceback.format_exception(done.exception))
        return Result(None, told, f"exception {type(done.exception).__name__}")
    changed = listing(Path.cwd()) != before
    return Result(done.exit_code, done.stderr, judge(done.exit_code, done.stderr, changed))


def in_own_process(case: Case) -> Result:
    before = listing(Path.cwd())
    try:
        done = subprocess.run(
            [sys.executable, "-m", "charlstm", *case.command, *case.arguments],
            input=b"Once upon\n", capture_output=True, timeout=20,
        )  # fmt: skip
    except ValueError:  # a NUL cannot be an argument
        return Result(None, "", "not possible")
    except subprocess.TimeoutExpired:
        return Result(None, "", "interrupted")
    told = done.stderr.decode("utf-8", "replace")
    changed = listing(Path.cwd()) != before
    return Result(done.returncode, told, judge(done.returncode, told, changed))


def tidy(folder: Path, pristine: Path) -> None:
    """Bring back what was there, after a case that was legal."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # of the text, a run's digest goes by the content, and its path stays the same
    shutil.copytree(pristine, folder, dirs_exist_ok=True)
    os.mkfifo(folder / "pipe")


def main(arguments: list[str] | None = None) -> None:
    names = [path[-1] for path, _ in commands(charlstm_command)]
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=names, help="this command alone")
    parser.add_argument("--every", type=int, default=1, help="only every so many cases")
    parser.add_argument("--processes", type=int, default=36, help="[default: 36]")
    options = parser.parse_args(arguments)
    tried = list(cases(options.only))[:: options.every]
    apart = set(range(0, len(tried), max(1, len(tried) // max(1, options.processes))))
    found: Counter[tuple[str, str]] = Counter()
    wrong = 0
    with in_folder() as (place, pristine):
        for number, case in enumerate(tried):
            run = in_own_process if options.processes and number in apart else in_process
            result = run(case)
            name = " ".join(case.command) or "(none)"
            found[name, result.outcome] += 1
            if result.outcome not in GOOD:
                wrong += 1
                shown = " ".join(repr(a[:60]) for a in case.arguments)
                print(f"{name} {shown}: {result.outcome}", file=sys.stderr)
                print(result.error[-1500:], file=sys.stderr)
            if result.outcome not in ("refused", "wrong usage"):
                tidy(place, pristine)
    print(summary(found))
    sys.exit(1 if wrong else 0)


@contextmanager
def in_folder() -> Iterator[tuple[Path, Path]]:
    """A working folder for the cases, and a copy of it; with a cache and a limit of memory."""
    here, limits = Path.cwd(), resource.getrlimit(resource.RLIMIT_AS)
    with TemporaryDirectory() as folder:
        place, pristine = Path(folder) / "here", Path(folder) / "pristine"
        place.mkdir()
        with patch.dict(os.environ, CHARLSTM_CACHE=f"{folder}/cache"):
            make_folder(place)
            shutil.copytree(place, pristine)
            os.mkfifo(place / "pipe")
            try:
                os.chdir(place)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, limits[1]))
                yield place, pristine
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limits)
                os.chdir(here)
                for closed in (place, pristine):
                    (closed / "closed").chmod(0o700)


GOOD = ("refused", "wrong usage", "legal", "interrupted", "not possible")


def summary(found: Counter[tuple[str, str]]) -> str:
    """A row for each command: how its cases ended."""
    names = list(dict.fromkeys(name for name, _ in found))
    rows = []
    for name in (*names, "all"):
        own = [(o, n) for (command, o), n in found.items() if name in (command, "all")]
        counts = [sum(n for o, n in own if o == outcome) for outcome in GOOD[:4]]
        total = sum(n for _, n in own)
        wrong = sum(n for o, n in own if o not in GOOD)
        rows.append((name, *(f"{n:,}" for n in (total, *counts, wrong))))
    headings = ("command", "cases", "exit 1", "exit 2", "legal", "interrupted", "wrong")
    return table(headings, rows)


if __name__ == "__main__":
    main()
