#!/usr/bin/env python3
"""Trains for a long time, once under load and once without, and compares the two runs.

    .venv/bin/python scripts/stress/soak.py                 12,000 steps
    .venv/bin/python scripts/stress/soak.py --steps 300     a short run

12,000 steps take 7 minutes at 35 ms a step. Under load, while another process multiplies matrices
on all cores, they take about 15 minutes. The script requires three things:

- Memory does not grow: the peak private memory in the last quarter of a run is at most 5 MB above
  the peak in its second quarter. An allocator may cause a difference of up to 5 MB.
- Speed is steady: no tenth of a run takes more than twice the processor time of the median tenth.
- Both runs end with the same checkpoints, byte for byte.

The exit code is 1 if one of these requirements is not met.
"""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

try:
    from safetensors.numpy import load_file
    from tabulate import tabulate
    from tqdm import tqdm
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/stress/soak.py")

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12_000
OPTIONS = (
    "--hidden 128 --layers 2 --batch-size 50 --seq-length 50 --dropout 0.2 --weight-dropout 0.1 "
    "--average 0.998 --schedule cosine --lr 0.01 --workers 2"
)
SAMPLES = 200  # the number of times that a run is observed
MAX_GROWTH = 5_000_000  # bytes
MAX_SLOWDOWN = 2.0  # processor time of the slowest tenth of a run, relative to the median tenth
TENTHS = 10
# A program that multiplies matrices on all cores until its parent process ends.
LOAD = (
    "import os, numpy as np; parent, a = os.getppid(), np.ones((1500, 1500), np.float32)\n"
    "while os.getppid() == parent: a @ a"
)


class Sample(NamedTuple):
    """Progress and memory of a run at one moment, observed from outside."""

    seconds: float
    processor_seconds: float
    step: int
    memory: int  # bytes


# -- running --------------------------------------------------------------------------------------


def private_memory(pid: int) -> int:
    """Return the resident memory of a process in bytes, without that of mapped files."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def processor_seconds(pid: int) -> float:
    """Return the seconds of processor time that a process has taken, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system time


def newest_step(metrics: Path) -> int:
    """Return the step of the last event in metrics.jsonl; 0 before the first event."""
    if not metrics.exists():
        return 0
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - 4096))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0


def train(folder: Path, steps: int, seed: int, under_load: bool) -> list[Sample]:
    """Train on corpora/play.txt and observe the process about SAMPLES times."""
    command = [sys.executable, "-m", "charlstm", "train", str(ROOT / "corpora/play.txt")]
    command += ["-r", str(folder), "--seed", str(seed), *OPTIONS.split(), "--quiet"]
    command += ["--steps", str(steps), "--eval-every", str(max(1, steps // 20))]
    command += ["--warmup", str(min(100, steps // 10))]
    environment = os.environ | {"CHARLSTM_CACHE": f"{folder}.cache"}
    load = subprocess.Popen([sys.executable, "-c", LOAD]) if under_load else None
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    samples: list[Sample] = []
    title = "under load" if under_load else "without load"
    bar = tqdm(total=steps, desc=title, unit="step", dynamic_ncols=True, disable=None)
    with closing(bar):
        try:
            began = time.monotonic()
            while process.poll() is None:
                step = newest_step(folder / "metrics.jsonl")
                if step >= len(samples) * steps / SAMPLES and step > 0:
                    times = time.monotonic() - began, processor_seconds(process.pid)
                    samples.append(Sample(*times, step, private_memory(process.pid)))
                    bar.update(step - bar.n)
                time.sleep(0.05)
        finally:
            for child in (process, load):
                if child is not None and child.poll() is None:
                    child.kill()
                    child.wait()
    if process.returncode:
        sys.exit(f"the run {title} ended with exit code {process.returncode}")
    return [sample for sample in samples if sample.memory]


def train_twice(root: Path, steps: int, seed: int) -> tuple[dict[str, list[Sample]], list[str]]:
    """Train under load and without; return the samples of each run and the arrays that differ."""
    folders = {"under load": root / "loaded", "without load": root / "unloaded"}
    samples = {
        name: train(path, steps, seed, name == "under load") for name, path in folders.items()
    }
    return samples, differences(*folders.values())


# -- judging --------------------------------------------------------------------------------------


def growth(samples: Sequence[Sample]) -> int:
    """Return the bytes by which peak memory grew from the second to the last quarter of a run."""
    last = samples[-1].step

    def peak(first: float, end: float) -> int:
        return max(s.memory for s in samples if first * last <= s.step <= end * last)

    return peak(0.75, 1) - peak(0.25, 0.5)


def slowdown(samples: Sequence[Sample]) -> float:
    """Return the processor time per step of the slowest tenth of a run, relative to the median."""
    rates = []
    for k in range(TENTHS):
        first, last = (samples[n * (len(samples) - 1) // TENTHS] for n in (k, k + 1))
        if last.step > first.step:
            seconds = last.processor_seconds - first.processor_seconds
            rates.append(seconds / (last.step - first.step))
    return max(rates) / median(rates)


def differences(one: Path, other: Path) -> list[str]:
    """Return the names of the arrays that differ between the checkpoints of two run folders."""
    found = []
    for name in ("best.safetensors", "last.safetensors"):
        arrays, others = load_file(one / name), load_file(other / name)
        found += [
            f"{name} {key}"
            for key in sorted(arrays.keys() | others.keys())
            if key not in arrays
            or key not in others
            or arrays[key].tobytes() != others[key].tobytes()
        ]
    return found


def failures(
    runs: Mapping[str, Sequence[Sample]], differing: Sequence[str], max_slowdown: float
) -> list[str]:
    """Return a sentence for each requirement that is not met."""
    found = [f"results differ in {', '.join(differing)}"] if differing else []
    for name, samples in runs.items():
        if growth(samples) > MAX_GROWTH:
            found.append(f"memory grew by {growth(samples) / 1e6:.1f} MB {name}")
        if slowdown(samples) > max_slowdown:
            found.append(f"a tenth of the run took {slowdown(samples):.1f} times as long {name}")
    return found


def numbers(runs: Mapping[str, Sequence[Sample]]) -> dict[str, float]:
    """Return the largest memory, growth and slowdown of both runs."""
    found = runs.values()
    return {
        "MB of memory at most": round(max(s.memory for samples in found for s in samples) / 1e6),
        "MB of growth at most": round(max(growth(samples) for samples in found) / 1e6, 1),
        "times the median tenth at most": round(max(map(slowdown, found)), 2),
    }


def summarise(runs: Mapping[str, Sequence[Sample]]) -> str:
    """Return a Markdown table with a row for each run."""
    rows = []
    for name, samples in runs.items():
        seconds, steps = samples[-1].seconds, samples[-1].step
        peak = max(sample.memory for sample in samples)
        megabytes = (peak / 1e6, growth(samples) / 1e6)
        rows.append([name, seconds, steps / seconds, *megabytes, slowdown(samples)])
    headings = ("run", "time, s", "steps/s", "memory, MB", "growth, MB", "slowest tenth")
    return tabulate(
        rows, headings, tablefmt="pipe", floatfmt=("", ".0f", ".1f", ".1f", "+.1f", ".2f")
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 1 if a requirement is not met."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"[default: {STEPS:,}]")
    parser.add_argument(
        "--max-slowdown",
        type=float,
        default=MAX_SLOWDOWN,
        help="bound on the processor time of the slowest tenth, relative to the median tenth  "
        f"[default: {MAX_SLOWDOWN:g}]",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the runs  [default: 1]")
    options = parser.parse_args(arguments)
    if options.steps < 100:
        parser.error("--steps must be 100 or more")
    if not Path("/proc/self/status").exists():
        sys.exit("memory is read from /proc, which this system does not have")
    # With sys.exit, SIGTERM also ends the child processes.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with TemporaryDirectory() as temporary:
        runs, differing = train_twice(Path(temporary), options.steps, options.seed)
    print(f"{options.steps:,} steps\n\n{summarise(runs)}\n")
    found = failures(runs, differing, options.max_slowdown)
    print("\n".join(found) if found else "the results are identical")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
