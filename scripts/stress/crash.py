#!/usr/bin/env python3
"""Interrupts training runs at random moments, resumes them, and compares their results.

    .venv/bin/python scripts/stress/crash.py               200 runs killed with SIGKILL
    .venv/bin/python scripts/stress/crash.py --with term   200 runs ended with SIGTERM
    .venv/bin/python scripts/stress/crash.py --with full   200 runs whose disk is full for a while
    .venv/bin/python scripts/stress/crash.py --runs 6      fewer runs

200 runs take about 15 minutes on two cores. Half of the runs use the native kernels, the other half
use the NumPy kernels. Each run is interrupted one to three times and resumed until it is finished.
Every third interruption comes while a checkpoint is being written, which its temporary file shows.
After each interruption, the checkpoints must be readable. At the end, the arrays of the checkpoints
and the losses in metrics.jsonl must equal those of a run that was never interrupted, byte for byte.

The disk that is full for a while is a small file system in memory. If no file system can be
mounted, a limit on the size of files takes its place. The exit code is 1 if a run failed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

try:
    from interruptions import Interrupt, fill, kill, small_disk, terminate
    from safetensors.numpy import load_file
    from tabulate import tabulate
    from tqdm import tqdm

    from charlstm import CharlstmError
    from charlstm.runs.checkpoint import load_checkpoint
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/stress/crash.py")

ROOT = Path(__file__).resolve().parents[2]
RUNS = 200
KERNELS = ("native", "numpy")
CHECKPOINTS = ("best.safetensors", "last.safetensors")
# Settings with much state to restore: dropout of outputs and weights, averaged weights, streams
# that are cut anew in each pass and reset at random, a rate that changes at each step, two workers.
OPTIONS = (
    "--hidden 64 --layers 2 --batch-size 12 --seq-length 16 --steps 30 --eval-every 3 "
    "--dropout 0.2 --weight-dropout 0.1 --average 0.9 --reset 0.05 --schedule cosine --warmup 4 "
    "--lr 0.01 --workers 2 --seed 7"
)
TEXT_CHARACTERS = 8_000
CAUSES = {"kill": "SIGKILL", "term": "SIGTERM", "full": "a full disk"}


class FailedError(Exception):
    """Raised for a run that failed, or whose results differ from an uninterrupted run."""


# -- processes ------------------------------------------------------------------------------------


def start(folder: Path, text: Path, kernels: str, cache: Path) -> subprocess.Popen:
    """Start a process that begins the run of a folder, or resumes it."""
    resumable = (folder / "last.safetensors").exists()
    arguments = ["--resume"] if resumable else [str(text), *OPTIONS.split()]
    return subprocess.Popen(
        [sys.executable, "-m", "charlstm", "train", *arguments, "-r", str(folder), "--quiet"],
        env=os.environ | {"CHARLSTM_KERNELS": kernels, "CHARLSTM_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_saving(folder: Path) -> bool:
    """Return whether the temporary file of a checkpoint lies in the folder."""
    with suppress(FileNotFoundError):
        return any(name.endswith(".tmp") for name in os.listdir(folder))  # noqa: PTH208  # fast
    return False


def wait_for_save(process: subprocess.Popen, folder: Path, skipped: int) -> None:
    """Wait until `skipped` saves have begun and the next one begins, or until the process ends."""
    was_saving = False
    while process.poll() is None:
        saving = is_saving(folder)
        if saving and not was_saving:
            if skipped == 0:
                return
            skipped -= 1
        was_saving = saving
        time.sleep(1e-4)  # Between two looks at the folder, the cores are free for the run.


# -- checks ---------------------------------------------------------------------------------------


def ended_as_expected(code: int, errors: str, interruption: str) -> bool:
    """Return whether an interrupted process ended as it should.

    Its exit code must suit the interruption, and its errors must have at most one line.
    """
    lines = errors.count("\n")
    if interruption == "full":
        reasons = ("No space left on device", "File too large")
        refused = code == 1 and lines == 1 and any(reason in errors for reason in reasons)
        return code == 0 or refused
    number = {"kill": signal.SIGKILL, "term": signal.SIGTERM}[interruption]
    # The exit code of a process that a signal ended at once is -number. SIGTERM does that while
    # Python starts.
    return lines <= 1 and code in (0, -number, 128 + number)


def require_readable(folder: Path) -> None:
    """Raise FailedError if a checkpoint of the folder cannot be read."""
    for name in CHECKPOINTS:
        if (folder / name).exists():
            try:
                load_checkpoint(folder / name)
            except CharlstmError as error:
                raise FailedError(f"unreadable: {error}") from None


def results_of(folder: Path) -> dict[str, Any]:
    """Return the results of a run: its arrays as bytes by name, and its events without times."""
    found: dict[str, Any] = {}
    for name in CHECKPOINTS:
        arrays = load_file(folder / name)
        found |= {f"{name} {key}": array.tobytes() for key, array in arrays.items()}
    events = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    times = ("seconds", "characters_per_second")
    found["metrics"] = [
        {key: value for key, value in event.items() if key not in times}
        for event in events
        if event["event"] in ("train", "eval")
    ]
    return found


# -- many runs ------------------------------------------------------------------------------------


class Tally:
    """Counts of runs and interruptions with one kind of kernels, native or NumPy."""

    def __init__(self) -> None:
        self.runs = self.interruptions = self.during_saves = self.identical = 0


class Campaign:
    """Interrupted runs on one text, compared with an uninterrupted run of the same kernels.

    seed: the seed that determines the moments of interruption.
    """

    def __init__(self, root: Path, interruption: str, interrupt: Interrupt, seed: int) -> None:
        self.root, self.interruption, self.interrupt = root, interruption, interrupt
        self.rng = random.Random(seed)
        self.text = root / "text.txt"
        play = (ROOT / "corpora/play.txt").read_text(encoding="utf-8")
        self.text.write_text(play[:TEXT_CHARACTERS], encoding="utf-8")
        self.tallies = {kernels: Tally() for kernels in KERNELS}
        self.expected: dict[str, dict[str, Any]] = {}  # results of the uninterrupted runs
        self.seconds: dict[str, float] = {}  # the time that each uninterrupted run took
        for kernels in KERNELS:
            folder = root / kernels
            began = time.monotonic()
            process = start(folder, self.text, kernels, root / "cache")
            errors = process.communicate()[1]
            if process.returncode:
                sys.exit(f"the uninterrupted run failed: {errors}")
            self.seconds[kernels] = time.monotonic() - began
            self.expected[kernels] = results_of(folder)

    def run(self, folder: Path, kernels: str) -> None:
        """Interrupt and resume one run until it is finished; FailedError if that fails."""
        tally = self.tallies[kernels]
        tally.runs += 1
        for _ in range(self.rng.randint(1, 3)):
            process = start(folder, self.text, kernels, folder.with_suffix(".cache"))
            self._interrupt_once(process, folder, kernels)
            errors = process.communicate()[1]
            if not ended_as_expected(process.returncode, errors, self.interruption):
                raise FailedError(f"exit code {process.returncode}: {errors}")
            require_readable(folder)
        process = start(folder, self.text, kernels, folder.with_suffix(".cache"))
        errors = process.communicate()[1]
        if process.returncode:
            raise FailedError(f"exit code {process.returncode}: {errors}")
        self.require_expected_results(folder, kernels)
        tally.identical += 1

    def _interrupt_once(self, process: subprocess.Popen, folder: Path, kernels: str) -> None:
        tally = self.tallies[kernels]
        if sum(t.interruptions for t in self.tallies.values()) % 3 == 0:
            wait_for_save(process, folder, self.rng.randrange(4))
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(0.1, 0.9) * self.seconds[kernels])
        if process.poll() is not None:
            return
        during_save = is_saving(folder)
        self.interrupt(process, self.rng)
        if self.interruption == "kill":  # A killed process leaves its temporary file behind.
            process.wait()
            during_save = is_saving(folder)
        tally.interruptions += 1
        tally.during_saves += during_save

    def require_expected_results(self, folder: Path, kernels: str) -> None:
        """Raise FailedError if a run differs from the uninterrupted one or left files behind."""
        found, expected = results_of(folder), self.expected[kernels]
        if differing := [key for key in expected if found.get(key) != expected[key]]:
            raise FailedError(f"differs in {', '.join(differing)}")
        known = {*CHECKPOINTS, "metrics.jsonl", "report.html"}
        if left_behind := sorted({path.name for path in folder.iterdir()} - known):
            raise FailedError(f"left behind: {', '.join(left_behind)}")


class Outcome(NamedTuple):
    """The outcome of a number of interrupted runs."""

    cause: str  # the cause of the interruptions, in words
    tallies: dict[str, Tally]  # the counts for each kind of kernels
    failures: list[str]  # one description for each run that failed

    def numbers(self) -> dict[str, float]:
        """Return the counts of both kinds of kernels together."""
        tallies = self.tallies.values()
        return {
            "interruptions": sum(tally.interruptions for tally in tallies),
            "during a save": sum(tally.during_saves for tally in tallies),
            "identical": sum(tally.identical for tally in tallies),
        }

    def table(self) -> str:
        """Return the counts as a Markdown table with a row for each kind of kernels."""
        headings = ("kernels", "runs", "interruptions", "during a save", "identical results")
        rows = [
            [kernels, tally.runs, tally.interruptions, tally.during_saves, tally.identical]
            for kernels, tally in self.tallies.items()
        ]
        return tabulate(rows, headings, tablefmt="pipe", intfmt=",")


def run_all(runs: int, interruption: str, seed: int) -> Outcome:
    """Make `runs` interrupted runs. The moments of the interruptions follow from the seed."""
    failures, cause = [], CAUSES[interruption]
    with ExitStack() as resources:
        root = Path(resources.enter_context(TemporaryDirectory()))
        disk = None
        if interruption == "full":
            disk = resources.enter_context(small_disk(root / "disk"))
            cause = cause if disk else "a limit on the size of files"
        interrupt = {"kill": kill, "term": terminate, "full": fill(disk)}[interruption]
        campaign = Campaign(root, interruption, interrupt, seed)
        folders = disk or root / "runs"
        folders.mkdir(exist_ok=True)
        for n in tqdm(range(runs), unit="run", dynamic_ncols=True, disable=None):
            folder, kernels = folders / f"run-{n}", KERNELS[n % len(KERNELS)]
            try:
                campaign.run(folder, kernels)
            except FailedError as failure:
                failures.append(f"run {n}, {kernels}: {failure}")
            for used in (folder, folder.with_suffix(".cache")):
                subprocess.run(["rm", "-rf", str(used)], check=True)
    return Outcome(cause, campaign.tallies, failures)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 1 if a run failed."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"[default: {RUNS}]")
    parser.add_argument(
        "--with",
        dest="interruption",
        choices=CAUSES,
        default="kill",
        help="kind of interruption  [default: kill]",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random moments  [default: 0]"
    )
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    began = time.monotonic()
    outcome = run_all(options.runs, options.interruption, options.seed)
    print(f"{options.runs} runs with {outcome.cause}, {time.monotonic() - began:.0f} s\n")
    print(outcome.table())
    for failure in outcome.failures:
        print(failure)
    sys.exit(1 if outcome.failures else 0)


if __name__ == "__main__":
    main()
