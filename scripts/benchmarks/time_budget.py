#!/usr/bin/env python3
"""Checks that `charlstm train --minutes M` ends in time, on a quiet machine and under load.

    .venv/bin/python scripts/benchmarks/time_budget.py
        0.5, 3 and 10 minutes, each quiet and under load: 27 minutes
    .venv/bin/python scripts/benchmarks/time_budget.py --minutes 0.5
        this budget alone

The duration of a run is the time from the start of the command to its exit. The duration may differ
from the budget by 5 % and 5 seconds. The load is a process that takes half a core, from a fifth of
the budget to three fifths. The exit code is 1 if a run was too long or too short.
"""

import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from tempfile import TemporaryDirectory

try:
    from common import find_text, markdown_table
    from tqdm import tqdm
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then "
        ".venv/bin/python scripts/benchmarks/time_budget.py"
    )

MINUTES = (0.5, 3.0, 10.0)
# This program is busy for half of the time, until its parent process ends.
HALF_A_CORE = """
import os, time
parent = os.getppid()
while os.getppid() == parent:
    end = time.perf_counter() + 0.05
    while time.perf_counter() < end:
        pass
    time.sleep(0.05)
"""


def train(text: Path, minutes: float, under_load: bool) -> float:
    """The seconds that a run takes."""
    budget, load = 60 * minutes, None
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "charlstm", "train", str(text), "-r", f"{folder}/run"]
        began = time.monotonic()
        run = subprocess.Popen([*command, "--minutes", str(minutes), "--quiet"],
                               stdout=subprocess.DEVNULL)  # fmt: skip
        try:
            while run.poll() is None:
                part = (time.monotonic() - began) / budget
                if under_load and load is None and 0.2 <= part < 0.6:
                    load = subprocess.Popen([sys.executable, "-c", HALF_A_CORE])
                if load is not None and part >= 0.6:
                    load.kill()
                time.sleep(0.05)
            seconds = time.monotonic() - began
        finally:
            for process in (run, load):
                if process is not None:
                    process.kill()
                    process.wait()
    if run.returncode:
        sys.exit(f"a run of {minutes:g} minutes ended with exit code {run.returncode}")
    return seconds


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=MINUTES)
    parser.add_argument("--text", type=Path, help="text to train on [default: tiny Shakespeare]")
    options = parser.parse_args(arguments)
    text = options.text or find_text("tinyshakespeare.txt")
    if not text.exists():
        parser.error(f"there is no {text}")
    rows, in_time = [], True
    for minutes in tqdm(options.minutes, unit="budget"):
        for under_load in (False, True):
            seconds, budget = train(text, minutes, under_load), 60 * minutes
            in_time &= abs(seconds - budget) <= 0.05 * budget + 5
            where = "half a core taken" if under_load else "quiet"
            rows.append([f"--minutes {minutes:g}, {where}", f"{budget:g}", f"{seconds:.1f}"])
    print(markdown_table(("run", "seconds asked for", "taken"), rows))
    sys.exit(0 if in_time else 1)


if __name__ == "__main__":
    main()
