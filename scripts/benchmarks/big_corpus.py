#!/usr/bin/env python3
"""Measures speed and memory on a large text; exits with 1 if a limit is missed.

    .venv/bin/python scripts/benchmarks/big_corpus.py
        1 GB of text
    .venv/bin/python scripts/benchmarks/big_corpus.py --gigabytes 4 --json
        4 GB; the figures as a JSON object

The text is made by shuffling corpora/*.txt again and again, in a temporary folder that is removed
at the end. Each figure comes from a process of its own. The cache of encoded texts is empty at the
start.

- Encoding on one core, in MB of text per second, from hashing to writing to the disk. A second
  measurement finds the encoded text in the cache. The text was just written, so that the system
  reads the text from its page cache if the text fits there.
- Private memory while training for a few steps, with an empty cache: the highest RssAnon of
  /proc/PID/status, sampled every 20 ms. RssAnon is the memory that the process allocated. RssFile,
  shown beside RssAnon, counts pages of mapped files. Pages of mapped files belong to the page
  cache, and the system takes them back whenever it needs room. (Private_Clean of smaps_rollup would
  count the pages of a file that only one process maps.) Only Linux has RssAnon and RssFile.
- Seconds and memory of `charlstm eval --novelty` for an excerpt of 2,000 characters. The command
  must find all of the excerpt in the text.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIN_ENCODE = 50.0  # MB (10^6 bytes) a second
MAX_PRIVATE = 400.0  # MB
MAX_NOVELTY = 10.0  # seconds for each 100 MB
EXCERPT = 2000  # characters
SAMPLE_SECONDS = 0.02
LINES = 20  # lines of a corpus that stay together when it is shuffled

ENCODE = """
import json, os, sys, time
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from charlstm.text.corpus import open_corpus
start = time.perf_counter()
corpus = open_corpus([sys.argv[1]])
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "characters": corpus.length}))
"""


def write_text(path: Path, size: int, seed: int) -> int:
    """Write a little more than `size` bytes of text; return their number."""
    sources = sorted((ROOT / "corpora").glob("*.txt"))
    lines = [line for source in sources for line in source.read_bytes().splitlines(keepends=True)]
    if not lines:
        lines = [b"%d times %d is %d.\n" % (i, j, i * j) for i in range(300) for j in range(300)]
    pieces = [b"".join(lines[k : k + LINES]) for k in range(0, len(lines), LINES)]
    generator = random.Random(seed)
    written = 0
    with path.open("wb") as file:
        while written < size:
            generator.shuffle(pieces)
            written += file.write(b"".join(pieces))
    return written


def run(command: list[str], folder: Path) -> tuple[str, float, float, float]:
    """Run a command; return its output, its seconds, and its peak RssAnon and RssFile in MB."""
    environment = {**os.environ, "CHARLSTM_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        peaks = {"RssAnon": 0, "RssFile": 0}
        try:
            while process.poll() is None:
                for name, size in memory(process.pid).items():
                    peaks[name] = max(peaks[name], size)
                time.sleep(SAMPLE_SECONDS)
        finally:
            process.kill()
            process.wait()
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{text[-2000:]}")
    return text, seconds, peaks["RssAnon"] * 1024 / 1e6, peaks["RssFile"] * 1024 / 1e6


def memory(pid: int) -> dict[str, int]:
    """RssAnon and RssFile of a process in KiB; {} if the process has ended, or without Linux."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    rows = (line.split() for line in status.splitlines())
    return {row[0][:-1]: int(row[1]) for row in rows if row[0] in ("RssAnon:", "RssFile:")}


def measure(folder: Path, gigabytes: float, steps: int, hidden: int, seed: int) -> dict[str, float]:
    """Write a text to a folder and measure all figures on it."""
    path = folder / "big.txt"
    size = write_text(path, int(gigabytes * 1e9), seed)
    figures: dict[str, float] = {"text_mb": size / 1e6}
    for name in ("first", "cached"):
        printed, _, private, mapped = run([sys.executable, "-c", ENCODE, str(path)], folder)
        figures[f"encode_{name}_mb_per_s"] = size / 1e6 / json.loads(printed)["seconds"]
        figures[f"encode_{name}_private_mb"] = private
        figures[f"encode_{name}_mapped_mb"] = mapped
    shutil.rmtree(folder / "cache")
    options = ["--steps", str(steps), "--hidden", str(hidden), "--quiet", "-r", str(folder / "run")]
    command = [sys.executable, "-m", "charlstm", "train", str(path), *options]
    _, seconds, private, mapped = run(command, folder)
    figures |= {"train_s": seconds, "train_private_mb": private, "train_mapped_mb": mapped}
    excerpt = folder / "excerpt.txt"
    with path.open() as file:
        excerpt.write_text(file.read(EXCERPT))
    options = ["--novelty", "--json", "-r", str(folder / "run")]
    command = [sys.executable, "-m", "charlstm", "eval", str(excerpt), *options]
    printed, seconds, private, mapped = run(command, folder)
    figures |= {"novelty_s": seconds, "novelty_private_mb": private, "novelty_mapped_mb": mapped}
    figures["novelty_longest"] = json.loads(printed.splitlines()[-1])["novelty"]["longest"]
    return figures


def missed_limits(figures: dict[str, float]) -> list[str]:
    """A line for each limit that was missed."""
    lines = []
    if figures["encode_first_mb_per_s"] < MIN_ENCODE:
        lines.append(f"encoding is slower than {MIN_ENCODE:g} MB/s")
    if figures["train_private_mb"] > MAX_PRIVATE:
        lines.append(f"training takes more than {MAX_PRIVATE:g} MB of private memory")
    if figures["novelty_s"] > max(1.0, figures["text_mb"] / 100) * MAX_NOVELTY:
        lines.append(f"--novelty takes more than {MAX_NOVELTY:g} s for 100 MB of text")
    if figures["novelty_private_mb"] > MAX_PRIVATE:
        lines.append(f"--novelty takes more than {MAX_PRIVATE:g} MB of private memory")
    if figures["novelty_longest"] < EXCERPT:
        lines.append(f"--novelty finds only {figures['novelty_longest']:g} of {EXCERPT} characters")
    if figures["train_private_mb"] == 0:
        lines.append("private memory could not be measured: that needs Linux")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=1.0, help="10^9 bytes of text")
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    parser.add_argument("--hidden", type=int, default=128, help="hidden units of the model")
    parser.add_argument("--seed", type=int, default=1, help="seed of the shuffling")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="big-corpus-", dir=options.folder) as folder:
        figures = measure(
            Path(folder), options.gigabytes, options.steps, options.hidden, options.seed
        )
    failures = missed_limits(figures)
    if options.json:
        print(json.dumps({**figures, "missed": failures}))
    else:
        for name, figure in figures.items():
            print(f"{name:24} {figure:10,.1f}")
        for line in failures:
            print(f"MISSED: {line}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
