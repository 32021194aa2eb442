"""What scripts that measure share: shapes of training, the machine, tables."""

import csv
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer, Vocab, kernels
from charlstm.config import Precision
from charlstm.parallel import available_cores

SYMBOLS = 65  # as many as tiny Shakespeare has
VOCAB = Vocab.from_characters(map(chr, range(32, 32 + SYMBOLS)))
IDS = np.random.default_rng(0).integers(SYMBOLS, size=960_000, dtype=np.uint8)
SGEMM_SIZES = (2048, 2560, 3072)
SETTLE_SECONDS = 0.05  # idle threads of BLAS spin for up to about 30 ms


class Shape(NamedTuple):
    """A model and the windows it is trained on.

    Operations are those of matrix products alone, two for each multiply-add.
    """

    layers: int
    hidden: int
    lanes: int
    window: int

    def __str__(self) -> str:
        return f"{self.layers}×{self.hidden}, {self.lanes} lanes, window {self.window}"

    @property
    def characters(self) -> int:
        """That a step learns from."""
        return self.lanes * self.window

    @property
    def recurrence_operations(self) -> int:
        """h Wh in all layers."""
        return 2 * self.characters * self.layers * self.hidden * 4 * self.hidden

    @property
    def projection_operations(self) -> int:
        """x Wx in all layers but the first, which gathers rows instead."""
        return 2 * self.characters * (self.layers - 1) * self.hidden * 4 * self.hidden

    @property
    def head_operations(self) -> int:
        return 2 * self.characters * self.hidden * SYMBOLS

    @property
    def step_operations(self) -> int:
        """Of forward and backward: each product again for the gradient of either operand."""
        return 3 * (self.recurrence_operations + self.projection_operations + self.head_operations)


def make_trainer(shape: Shape, precision: Precision = "float32") -> Trainer:
    """A fresh model in training, by Adam, on random characters."""
    model = CharModel(ModelConfig(hidden=shape.hidden, layers=shape.layers), VOCAB)
    config = TrainConfig(lanes=shape.lanes, window=shape.window, precision=precision)
    return Trainer(model, IDS, config)


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "kernels": kernels.DESCRIPTION,
        "numpy": np.__version__,
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def sgemm_gflops() -> float:
    """The largest rate of square float32 products in NumPy on all cores, in GFLOP/s."""
    times = []
    with threadpool_limits(available_cores(), user_api="blas"):
        for n in SGEMM_SIZES * 2:
            a = np.random.default_rng(0).random((n, n), np.float32)
            out = a @ a  # so that its pages are there
            start = time.perf_counter()
            np.matmul(a, a, out=out)
            times.append((time.perf_counter() - start) / (2 * n**3))
    time.sleep(SETTLE_SECONDS)
    return 1e-9 / min(times)


def read_rows(path: Path) -> list[dict[str, str]]:
    """What a file of results holds, of tab-separated values below their names; [] for no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a result to the file, which is made when it has to be."""
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n",
                                quoting=csv.QUOTE_NONE, quotechar=None)  # fmt: skip
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all but the first column aligned to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for first, *others in (headings, rule, *rows):
        numbers = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        lines.append(f"| {' | '.join([f'{first:{widths[0]}}', *numbers])} |")
    return "\n".join(lines)
