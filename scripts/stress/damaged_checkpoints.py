#!/usr/bin/env python3
"""Damages checkpoints in many ways and checks that each file is read unchanged or refused.

    .venv/bin/python scripts/stress/damaged_checkpoints.py                  20,000 files
    .venv/bin/python scripts/stress/damaged_checkpoints.py --count 500      fewer
    .venv/bin/python scripts/stress/damaged_checkpoints.py --only training  one kind of damage

The files are made from the best and the last checkpoint of a small run. A second process reads the
files and measures time and memory. If the second process dies, the file that it was reading counts
as a failure, and a new process goes on with the next file. Some kinds of damage put a correct
checksum on the damaged file, as an attacker would. From files with a damaged training state, a run
is also resumed for two steps. One file in ten is also described as `charlstm info` does.

The exit code is 1 if a file was read as something else than it was before the damage, ended the
process, took more than 200 MB of memory above its own size, or more than one second of processor
time.
"""

import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import time
import traceback
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

try:
    from checkpoint_damage import KINDS, MAY_BE_VALID, Damage, Original, parse, training
    from tabulate import tabulate
    from tqdm import tqdm

    import charlstm
    from charlstm.config import RunConfig
    from charlstm.runs.checkpoint import FORMAT, Checkpoint, load_checkpoint
    from charlstm.runs.folder import BEST, LAST, describe
    from charlstm.runs.resume import resume_run
    from charlstm.runs.safetensors_reader import NO_CHECKSUM
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, "
        "then .venv/bin/python scripts/stress/damaged_checkpoints.py"
    )

COUNT = 20_000  # files
MAX_MEGABYTES, MAX_SECONDS = 200, 1.0  # the most that reading one file may take
READINGS = 3  # A file that takes too long is read at most this number of times.
MAX_MESSAGE = 5_000  # the largest length of an error message, in characters
RESUMED_STEPS = 2
TEXT = "It was the best of times, it was the worst of times,\nit was the age of wisdom. " * 40
RUN: dict[str, Any] = {
    "hidden": 6, "layers": 2, "batch_size": 4, "seq_length": 8, "steps": 20, "eval_every": 10,
    "average": 0.9, "dropout": 0.1, "weight_dropout": 0.1, "schedule": "plateau", "workers": 1,
}  # fmt: skip


class Result(NamedTuple):
    """The outcome of reading one damaged file."""

    outcome: str  # "equal", "refused", or a description of the failure
    seconds: float  # of processor time
    megabytes: float  # peak memory of reading, above the size of the file

    def failure(self) -> str:
        """Return the requirement that the file did not meet; "" if it met all requirements."""
        if self.outcome not in ("equal", "refused"):
            return self.outcome
        if self.seconds > MAX_SECONDS:
            return f"{self.outcome} after {self.seconds:.2f} s of processor time"
        if self.megabytes > MAX_MEGABYTES:
            return f"{self.outcome} with {self.megabytes:.0f} MB above its size"
        return ""


Found = list[tuple[int, str, Result]]  # for each file: its number, its kind of damage, its result


def make_originals(folder: Path) -> list[Original]:
    """Train a tiny run in `folder` and return its best and its last checkpoint."""
    text = folder / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    run = charlstm.train(text, folder / "run", **RUN)
    return [parse(name, (run.path / name).read_bytes()) for name in (BEST, LAST)]


# -- reading one file -----------------------------------------------------------------------------


def read(path: Path, original: Original, undamaged: Checkpoint, damage: Damage) -> str:
    """Read a damaged file; return "equal", "refused", or a description of the failure."""
    try:
        found = load_checkpoint(path)
    except charlstm.CharlstmError as error:
        return judge_message(error)
    expected = dict(original.metadata)
    if damage in MAY_BE_VALID:
        expected = parse(path.name, path.read_bytes()).metadata
        # A setting that is missing in the file gets its default value.
        expected["model"] = {**found.model.config.to_dict(), **expected["model"]}
    equal = metadata_of(found) == expected and have_same_arrays(found, undamaged)
    return "equal" if equal else "read as something else"


def metadata_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the metadata that a file with this checkpoint holds."""
    return {
        "checksum": NO_CHECKSUM,
        "format": FORMAT,
        "model": checkpoint.model.config.to_dict(),
        "vocab": checkpoint.model.vocab.to_dict(),
        "summary": checkpoint.summary,
        "training": checkpoint.training,
    }


def have_same_arrays(one: Checkpoint, other: Checkpoint) -> bool:
    """Return whether two checkpoints hold the same arrays, byte for byte."""
    own, others = ({**c.arrays, **c.model.parameters} for c in (one, other))
    return own.keys() == others.keys() and all(
        own[name].tobytes() == others[name].tobytes() for name in own
    )


def judge_message(error: charlstm.CharlstmError) -> str:
    """Judge an error message: return "refused" if it is one clear line, else "unclear"."""
    message = str(error)
    return "refused" if 0 < len(message) < MAX_MESSAGE and "\n" not in message else "unclear"


def show_and_resume(path: Path, folder: Path, resumes: bool) -> None:
    """Describe a file as `charlstm info` does, and resume from it if asked; each may refuse it."""
    try:
        json.dumps(describe(path))
        if resumes:
            resume(path, folder)
    except charlstm.CharlstmError as error:
        assert judge_message(error) == "refused", error


class EnoughStepsError(Exception):
    """Raised by the observer of a run to end it."""


def resume(path: Path, folder: Path) -> None:
    """Train for two steps from a file put into the folder of a run."""
    shutil.copy(path, folder / LAST)
    steps = 0

    def observe(event: dict[str, Any]) -> None:
        nonlocal steps
        steps += event["event"] == "step"
        if steps == RESUMED_STEPS:
            raise EnoughStepsError

    try:
        run = resume_run(folder, RunConfig.asked({}), time.monotonic(), None)
        run.events.observer = observe
        if run.trainer.total_steps is not None:
            run.trainer.total_steps += RESUMED_STEPS
        run.train()
    except EnoughStepsError:
        pass


# -- the process that reads -----------------------------------------------------------------------


def memory() -> tuple[float, float]:
    """Return the megabytes of this process: now, and at the peak since clear_peak_memory."""
    text = Path("/proc/self/status").read_text()
    now, peak = (re.search(rf"{name}:\s+(\d+)", text) for name in ("VmRSS", "VmHWM"))
    assert now and peak
    return int(now[1]) / 1000, int(peak[1]) / 1000


def clear_peak_memory() -> None:
    """Reset the peak of memory that `memory` returns."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(path: Path, original: Original, undamaged: Checkpoint, damage: Damage) -> Result:
    """Read a damaged file, and measure the time and the memory that reading it takes.

    A file that takes too long is read again, and the shorter time counts: other processes on the
    same cores slow a process down, in processor time too.
    """
    times = []
    while not times or (times[-1] > MAX_SECONDS and len(times) < READINGS):
        clear_peak_memory()
        before, began = memory()[0], time.process_time()
        outcome = read(path, original, undamaged, damage)
        times.append(time.process_time() - began)
    return Result(outcome, min(times), memory()[1] - before - path.stat().st_size / 1e6)


def work(folder: Path, numbers: range, kinds: list[Damage], seed: int, pipe: Connection) -> None:
    """Make and read the damaged files with these numbers.

    Sends (number, kind, None) before it reads a file and (number, kind, Result) after.
    """
    warnings.simplefilter("ignore")  # NumPy warns if numbers of a damaged file overflow.
    os.environ["CHARLSTM_CACHE"] = str(folder / "cache")
    originals = {original.name: original for original in make_originals(folder)}
    undamaged = {name: load_checkpoint(folder / "run" / name) for name in originals}
    path = folder / "damaged.safetensors"
    for number in numbers:
        rng = random.Random(f"{seed} {number}")
        damage = rng.choices(kinds, [KINDS[kind] for kind in kinds])[0]
        original = originals[LAST if damage is training else rng.choice((BEST, LAST))]
        pipe.send((number, damage.__name__, None))
        path.write_bytes(damage(rng, original))
        try:
            result = measure(path, original, undamaged[original.name], damage)
            if damage is training or number % 10 == 0:
                show_and_resume(path, folder / "run", resumes=damage is training)
        except Exception:
            result = Result(traceback.format_exc(), 0.0, 0.0)
        pipe.send((number, damage.__name__, result))


def results(count: int, kinds: list[Damage], seed: int) -> Iterator[tuple[int, str, Result]]:
    """Yield the number, the kind of damage and the result of each of `count` files."""
    context = multiprocessing.get_context("fork")
    number = 0
    while number < count:
        with TemporaryDirectory() as folder:
            receiver, sender = context.Pipe(duplex=False)
            arguments = (Path(folder), range(number, count), kinds, seed, sender)
            process = context.Process(target=work, args=arguments)
            process.start()
            sender.close()
            kind = "before the first file"
            try:
                while number < count:
                    number, kind, result = receiver.recv()
                    if result is not None:
                        yield number, kind, result
                        number += 1
            except EOFError:
                process.join()
                yield number, kind, Result(f"the process died: {process.exitcode}", 0.0, 0.0)
                number += 1
            process.join()


def read_all(count: int, kinds: list[Damage], seed: int) -> Found:
    """Read `count` damaged files, with a progress bar on a terminal."""
    found = results(count, kinds, seed)
    return list(tqdm(found, total=count, unit="file", dynamic_ncols=True, disable=None))


# -- the report -----------------------------------------------------------------------------------


def failures(found: Found) -> list[str]:
    """Return a description of each file that did not meet a requirement."""
    judged = ((number, kind, result.failure()) for number, kind, result in found)
    return [f"file {number} ({kind}): {failure}" for number, kind, failure in judged if failure]


def numbers(found: Found) -> dict[str, float]:
    """Return the counts of all files together, and the largest time and memory of a file."""
    results = [result for _, _, result in found]
    outcomes = Counter(result.outcome for result in results)
    return {
        "read unchanged": outcomes["equal"],
        "refused": outcomes["refused"],
        "s at most": round(max(result.seconds for result in results), 2),
        "MB above the file at most": round(max(result.megabytes for result in results)),
    }


def summarise(found: Found) -> str:
    """Return a Markdown table with a row for each kind of damage."""
    rows: list[list[Any]] = []
    names = [kind.__name__ for kind in KINDS]
    for name in (*(name for name in names if any(name == kind for _, kind, _ in found)), "all"):
        own = [result for _, kind, result in found if name in (kind, "all")]
        outcomes = Counter(result.outcome for result in own)
        equal, refused = outcomes["equal"], outcomes["refused"]
        wrong = len(own) - equal - refused
        slowest = max(result.seconds for result in own)
        largest = max(0.0, *(result.megabytes for result in own))
        rows.append([name.replace("_", " "), len(own), equal, refused, wrong, slowest, largest])
    headings = ("damage", "files", "equal", "refused", "wrong", "slowest, s", "MB above the file")
    formats = ("", "", "", "", "", ".3f", ".0f")
    return tabulate(rows, headings, tablefmt="pipe", intfmt=",", floatfmt=formats)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 1 if a file did not meet a requirement."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help=f"files  [default: {COUNT:,}]")
    parser.add_argument(
        "--only", choices=[kind.__name__ for kind in KINDS], help="use only this kind of damage"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random damage  [default: 0]"
    )
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count must be 1 or more")
    kinds = [kind for kind in KINDS if options.only in (None, kind.__name__)]
    found = read_all(options.count, kinds, options.seed)
    print(summarise(found))
    for failure in failures(found):
        print(failure, file=sys.stderr)
    sys.exit(1 if failures(found) else 0)


if __name__ == "__main__":
    main()
