#!/usr/bin/env python3
"""Measures training and sampling, beside PyTorch on the same cores if PyTorch is installed.

    .venv/bin/python scripts/benchmarks/against_pytorch.py
        training and sampling: about four minutes
    .venv/bin/python scripts/benchmarks/against_pytorch.py --only train --hidden 128,256
        fewer of the rows
    .venv/bin/python scripts/benchmarks/against_pytorch.py --defaults
        training at sizes that `charlstm train` chooses, as a plain LSTM: about a minute
    .venv/bin/python scripts/benchmarks/against_pytorch.py --only train --bf16
        training in float32 and in bfloat16, on both sides

charlstm and PyTorch run in turns, so that a slow moment of the machine slows both down. Run nothing
else on the machine: PyTorch's threads suffer most from other processes. A ratio is PyTorch's median
time divided by charlstm's, above 1 where charlstm is faster; its spread is the lowest and the
highest ratio of a round.

PyTorch runs at its best: with fused Adam and the faster of an embedding and a one-hot input; for
sampling also with the faster of nn.LSTM and nn.LSTMCell, and of one thread and all.

The share of the peak counts two operations for each multiply-add of a training step's matrix
products. The peak is the largest rate of one product on all cores: NumPy's in float32, PyTorch's in
bfloat16.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

try:
    import numpy as np
    import torch_lstm
    from common import (
        AS_TRAINED,
        SETTLE_SECONDS,
        VOCAB,
        Shape,
        cpu_name,
        make_trainer,
        markdown_table,
        sgemm_gflops,
    )
    from torch_lstm import SAMPLED_AT_ONCE, Step
    from tqdm import tqdm

    from charlstm import CharModel, ModelConfig, kernels
    from charlstm.config import Precision
    from charlstm.network.sampling import stream_texts
    from charlstm.runs.checkpoint import Checkpoint, save_checkpoint
    from charlstm.system.threads import available_cores
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then "
        ".venv/bin/python scripts/benchmarks/against_pytorch.py"
    )

Row = dict[str, Any]

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
BF16_SIZE = 3072  # rows and columns of a square product
BLOCK_SECONDS = 0.3  # shortest block of steps of one side in one round
BLOCK_STEPS = 3  # fewest steps of such a block
FAR_BEHIND = 1.5  # ways of PyTorch that take this many times as long as its fastest are left out
START_REPEATS = 5
TORCH = version("torch") if find_spec("torch") else None
# Fresh processes keep their bytecode, as those of an installed program do.
INSTALLED = {name: x for name, x in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
UNKNOWN = dict.fromkeys(("peer", "peer_milliseconds", "ratio", "spread", "peak_share"))
IMPORT = (
    "import time as t; s = t.perf_counter(); from charlstm import *; print(t.perf_counter() - s)"
)
MEMORY = """
import resource, sys, numpy, charlstm
vocab = charlstm.Vocab.from_text("".join(map(chr, range(32, 97))))
model = charlstm.CharModel(charlstm.ModelConfig(hidden=int(sys.argv[1])), vocab)
trainer = charlstm.Trainer(model, numpy.arange(100_000) % 65, charlstm.TrainConfig())
for _ in range(3): trainer.step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
COLUMNS = {  # the format of the cells below each heading
    "task": "{task}",
    "precision": "{precision}",
    "units": "{layers}×{hidden}",
    "batch size×sequence length": "{batch_size}×{seq_length}",
    "ms per step": "{milliseconds:.3g}",
    "characters/s": "{characters_per_second:,.0f}",
    "PyTorch ms": "{peer_milliseconds:.3g}",
    "ratio (spread)": "{ratio:.2f} ({spread[0]:.2f}–{spread[1]:.2f})",
    "of peak": "{peak_share:.0%}",
    "peer": "{peer:s}",
}


class Task(NamedTuple):
    """A row to measure; a step of sampling reads and writes one character of each stream."""

    name: str  # train or sample
    shape: Shape


def chosen_tasks(
    only: str | None, sizes: list[int], bf16: bool = False, defaults: bool = False
) -> list[Task]:
    """The tasks for these numbers of hidden units.

    only: "train" or "sample", None for both. bf16: adds a batch size of 64. On two cores, each core
    then has 32 streams, which fill the tiles of a bfloat16 product.
    defaults: instead, training at the sizes of AS_TRAINED.
    """
    if defaults:
        return [Task("train", shape) for shape in AS_TRAINED]
    trained = [Shape(2, H, batch_size, 50) for batch_size in (50, 64)[: 1 + bf16] for H in sizes]
    trained += [Shape(1, H, 64 if bf16 else 32, 64) for H in sizes if H == 512]
    sampled = [Shape(2 if H == 128 else 1, H, 1, 1) for H in sizes]
    sampled += [Shape(1, H, 64, 1) for H in sizes if H == 512]
    tasks = {"train": trained, "sample": sampled}
    return [Task(name, shape) for name in tasks if only in (None, name) for shape in tasks[name]]


def charlstm_step(task: Task, precision: Precision) -> Step:
    """A function that makes one step of a task with charlstm."""
    if task.name == "train":
        return make_trainer(task.shape, precision).step
    model = CharModel(ModelConfig(hidden=task.shape.hidden, layers=task.shape.layers), VOCAB)
    texts = stream_texts(model, count=task.shape.batch_size, seed=0)
    return lambda: next(islice(texts, SAMPLED_AT_ONCE - 1, None))


def torch_steps(task: Task, precision: str) -> dict[str, Step]:
    """A function for each way in which PyTorch may make a step of a task, by name."""
    if task.name == "train":
        return torch_lstm.training_steps(task.shape, precision)
    return torch_lstm.sampling_steps(task.shape)


def time_block(step: Step) -> float:
    """Seconds per step: the mean of a block of steps, after one step to warm up."""
    step()
    steps, seconds, start = 0, 0.0, time.perf_counter()
    while steps < BLOCK_STEPS or seconds < BLOCK_SECONDS:
        step()
        steps, seconds = steps + 1, time.perf_counter() - start
    time.sleep(SETTLE_SECONDS)
    return seconds / steps


def usable(steps: dict[str, Step]) -> dict[str, Step]:
    """The ways of PyTorch that work on this machine and are not far behind its fastest."""
    seconds = {}
    for name, step in steps.items():
        try:
            seconds[name] = min(time_block(step) for _ in range(2))
        except RuntimeError as error:  # bfloat16 needs instructions that not every CPU has
            tqdm.write(f"{name}: PyTorch lacks this on this machine: {error}", file=sys.stderr)
    near = FAR_BEHIND * min(seconds.values(), default=0)
    return {name: steps[name] for name in seconds if seconds[name] <= near}


def compare(
    task: Task, precisions: tuple[Precision, ...], rounds: int, after_round: Step
) -> list[Row]:
    """Time charlstm and PyTorch in turns; return a row for each precision, without a peak_share."""
    sides = {
        precision: {
            "charlstm": charlstm_step(task, precision),
            **(usable(torch_steps(task, precision)) if TORCH else {}),
        }
        for precision in precisions
    }
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for precision, steps in sides.items():
            for name, step in steps.items():
                each = time_block(step)
                each = each / SAMPLED_AT_ONCE if task.name == "sample" else each
                times.setdefault((precision, name), []).append(each)
        after_round()
    return [make_row(task, p, {n: times[p, n] for n in steps}) for p, steps in sides.items()]


def make_row(task: Task, precision: str, times: dict[str, list[float]]) -> Row:
    """The figures of one comparison.

    times: the seconds per step in each round, by the name of the side.
    """
    mine = times.pop("charlstm")
    own = median(mine)
    row: Row = {"task": task.name, "backend": kernels.BACKEND, "precision": precision}
    row |= task.shape._asdict() | UNKNOWN
    row |= {"milliseconds": own * 1e3, "characters_per_second": task.shape.characters / own}
    if times:
        best = min(times, key=lambda name: median(times[name]))
        theirs = median(times[best])
        ratios = [b / a for a, b in zip(mine, times[best], strict=True)]
        row |= {"peer": best, "peer_milliseconds": theirs * 1e3, "ratio": theirs / own}
        row |= {"spread": [min(ratios), max(ratios)]}
    return row


def measure_rows(
    tasks: list[Task], rounds: int, bf16: bool
) -> tuple[list[Row], dict[str, float | None]]:
    """The rows of all tasks, and the largest rates of one matrix product, in GFLOP/s."""
    rows: list[Row] = []
    sgemm, large_bf16 = 0.0, bfloat16_gflops() if bf16 else None
    with tqdm(total=len(tasks) * rounds, unit="round", dynamic_ncols=True) as bar:
        for task in tasks:
            bar.set_description(f"{task.name} {task.shape}")
            sgemm = max(sgemm, sgemm_gflops())  # measured for each task: a machine has slow moments
            precisions = PRECISIONS[: 1 + (bf16 and task.name == "train")]
            rows += compare(task, precisions, rounds, bar.update)
    for row in rows:
        peak = sgemm if row["precision"] == "float32" else large_bf16
        if row["task"] == "train" and peak is not None:
            shape = Shape(*(row[name] for name in Shape._fields))
            row["peak_share"] = shape.step_operations / row["milliseconds"] / 1e6 / peak
    return rows, {"sgemm_gflops": sgemm, "bfloat16_gflops": large_bf16}


def bfloat16_gflops() -> float | None:
    """The rate of a large bfloat16 product in PyTorch; None without instructions for it."""
    if TORCH is None:
        return None
    import torch

    torch.set_num_threads(available_cores())
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    a = torch.randn(BF16_SIZE, BF16_SIZE).bfloat16()
    seconds = time_block(lambda: a @ a)
    return float(2e-9 * BF16_SIZE**3 / seconds)


def run_fresh(code: str, *arguments: str) -> float:
    """The number that a piece of code prints in a fresh interpreter."""
    return float(subprocess.check_output([sys.executable, "-c", code, *arguments], env=INSTALLED))


def measure_processes(sizes: set[int]) -> dict[str, float]:
    """Start-up times of fresh processes, and their peak memory in training, for each size."""
    figures = {"import_seconds": median(run_fresh(IMPORT) for _ in range(START_REPEATS))}
    times = []
    with tempfile.TemporaryDirectory(prefix="charlstm-bench-") as folder:
        model = CharModel(ModelConfig(hidden=128, layers=2), VOCAB)
        save_checkpoint(Path(folder, "best.safetensors"), Checkpoint(model, {}))
        command = [sys.executable, "-m", "charlstm", "sample", "-r", folder, "--seed", "1"]
        for _ in range(START_REPEATS):
            start = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=INSTALLED) as process:
                if not process.stdout.read(1):
                    sys.exit("charlstm sample wrote nothing")
                times.append(time.perf_counter() - start)
                process.kill()
    figures["first_character_seconds"] = median(times)
    if find_spec("resource"):  # not on Windows
        for H in sorted(sizes):
            peak = run_fresh(MEMORY, str(H)) * (1 if sys.platform == "darwin" else 1024)
            figures[f"peak_memory_mb_training_2x{H}"] = peak / 1e6
    return figures


def cell(form: str, row: Row) -> str:
    """The text of a cell; "" where the row has None for a figure."""
    try:
        return form.format_map(row)
    except TypeError:
        return ""


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("train", "sample"))
    parser.add_argument(
        "--hidden", default="128,256,512", help="hidden units of each layer [default: 128,256,512]"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="times that each side is measured [default: 7]"
    )
    parser.add_argument(
        "--defaults", action="store_true", help="train at sizes that `charlstm train` chooses"
    )
    parser.add_argument("--bf16", action="store_true", help="also train in bfloat16, on both sides")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    sizes = [int(size) if size.isdecimal() else 0 for size in options.hidden.split(",")]
    if min(options.rounds, *sizes) < 1:
        parser.error("--rounds and --hidden must be whole numbers, 1 or more")
    tasks = chosen_tasks(options.only, sizes, options.bf16, options.defaults)
    # Measure memory before this process grows: on Linux a child's peak includes its parent's.
    processes = measure_processes({task.shape.hidden for task in tasks if task.name == "train"})
    rows, peaks = measure_rows(tasks, options.rounds, options.bf16)
    machine = {"cpu": cpu_name(), "cores": available_cores(), "numpy": np.__version__}
    machine |= {"torch": TORCH, **peaks}
    if options.json:
        print(json.dumps({"machine": machine, "rows": rows, "processes": processes}))
        return
    cells = [[cell(form, row) for form in COLUMNS.values()] for row in rows]
    print(f"{markdown_table(tuple(COLUMNS), cells)}\n")
    for name, figure in {"kernels": kernels.DESCRIPTION, **machine, **processes}.items():
        print(name.replace("_", " "), round(figure, 3) if isinstance(figure, float) else figure)


if __name__ == "__main__":
    main()
