"""Code that the benchmarks share: training shapes, the machine, texts, stored results, tables."""

import csv
import io
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
from tabulate import tabulate
from threadpoolctl import threadpool_limits

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer, Vocab, kernels
from charlstm.config import CorpusConfig, Precision, RunConfig
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.folder import LAST
from charlstm.runs.start import begin_run
from charlstm.system.atomic_files import atomic_write
from charlstm.system.threads import available_cores

ROOT = Path(__file__).resolve().parents[2]
TEXT_FOLDERS = (ROOT / "corpora", ROOT / "data", ROOT.parent / "shared/data")
# Every result depends on the files of CODE, the results of benchmarks also on those of BENCHMARKS.
CODE = ("charlstm", "setup.py")
BENCHMARKS = "scripts/benchmarks/*.py"

SYMBOLS = 65  # distinct characters of tiny Shakespeare
VOCAB = Vocab.from_characters(map(chr, range(32, 32 + SYMBOLS)))
IDS = np.random.default_rng(0).integers(SYMBOLS, size=960_000, dtype=np.uint8)
SGEMM_SIZES = (2048, 2560, 3072)
SETTLE_SECONDS = 0.05  # idle threads of BLAS spin for up to about 30 ms


# -- training shapes ------------------------------------------------------------------------


class Shape(NamedTuple):
    """The sizes of a model and of a training step.

    Operations are those of matrix products alone, two for each multiply-add.
    """

    layers: int
    hidden: int
    batch_size: int
    seq_length: int

    def __str__(self) -> str:
        return (
            f"{self.layers}×{self.hidden}, batch size {self.batch_size}, "
            f"sequence length {self.seq_length}"
        )

    @property
    def characters(self) -> int:
        """Characters that a step learns from."""
        return self.batch_size * self.seq_length

    @property
    def recurrence_operations(self) -> int:
        """Operations of h Wh in all layers."""
        return 2 * self.characters * self.layers * self.hidden * 4 * self.hidden

    @property
    def projection_operations(self) -> int:
        """Operations of x Wx in all layers but the first, which gathers rows instead."""
        return 2 * self.characters * (self.layers - 1) * self.hidden * 4 * self.hidden

    @property
    def head_operations(self) -> int:
        """Operations of the output layer."""
        return 2 * self.characters * self.hidden * SYMBOLS

    @property
    def step_operations(self) -> int:
        """Operations of a training step.

        The backward pass computes two gradients for each product, one for each factor. Each
        gradient costs as much as the product.
        """
        return 3 * (self.recurrence_operations + self.projection_operations + self.head_operations)


# Sizes that `charlstm train` chooses, from a few seconds to an hour of training.
AS_TRAINED = (
    *(Shape(1, hidden, 24, 64) for hidden in (160, 256, 320, 512)),
    Shape(2, 384, 24, 64),
)


def make_trainer(
    shape: Shape,
    precision: Precision = "float32",
    as_trained: bool = False,
    workers: int | Literal["auto"] = "auto",
) -> Trainer:
    """The trainer of a fresh model, by Adam, on random characters.

    as_trained: with capped gates, a table of n-grams, dropout, an average of the weights and, above
        one layer, skip connections, as `charlstm train` has them on a text of 250,000 characters.
    """
    model, train = (
        ModelConfig(hidden=shape.hidden, layers=shape.layers),
        TrainConfig(
            batch_size=shape.batch_size,
            seq_length=shape.seq_length,
            precision=precision,
            workers=workers,
        ),
    )
    if as_trained:
        skip = shape.layers > 1
        model = replace(model, capped=True, skip=skip, ngrams=6, ngram_slots=125_000)
        train = replace(train, dropout=0.1, average=0.98, ngram_lr=0.1)
    return Trainer(CharModel(model, VOCAB), IDS, train)


# -- the machine ----------------------------------------------------------------------------


def machine() -> dict[str, str | int]:
    """The processor, kernels and NumPy that figures are measured with."""
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "kernels": kernels.DESCRIPTION,
        "numpy": np.__version__,
    }


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def sgemm_gflops() -> float:
    """The largest rate of square float32 products in NumPy on all cores, in GFLOP/s."""
    times = []
    with threadpool_limits(available_cores(), user_api="blas"):
        for n in SGEMM_SIZES * 2:
            a = np.random.default_rng(0).random((n, n), np.float32)
            out = a @ a  # touches the memory of the result before the clock starts
            start = time.perf_counter()
            np.matmul(a, a, out=out)
            times.append((time.perf_counter() - start) / (2 * n**3))
    time.sleep(SETTLE_SECONDS)
    return 1e-9 / min(times)


# -- texts ----------------------------------------------------------------------------------


def find_text(name: str) -> Path:
    """The path of a text file that lies in the checkout, in its data/ or in ../shared/data/.

    Exits with a message that says how to get the text if the text is missing.
    """
    for folder in TEXT_FOLDERS:
        if (folder / name).exists():
            return folder / name
    sys.exit(
        f"{name} is neither in data/ nor in ../shared/data/: get it with "
        f".venv/bin/python scripts/corpora/download.py {Path(name).stem}"
    )


# -- stored results -------------------------------------------------------------------------


class Origin(NamedTuple):
    """The kernels, the machine and the code that a result was measured with.

    Old results were stored without an origin: their machine is "" and their commit begins with
    "stale".
    """

    kernels: str
    cpu: str
    cores: str
    commit: str  # of the code, as code_commit gives it

    @property
    def cells(self) -> list[str]:
        """The cells of a table below ORIGIN_HEADINGS."""
        machine = f"{self.cpu}, {self.cores} cores" if self.cpu else "not recorded"
        return [self.kernels, machine, self.commit]


ORIGIN_HEADINGS = ("kernels", "machine", "commit")


def this_origin(scripts: str = BENCHMARKS) -> Origin:
    """The origin of results that this process measures with these scripts."""
    return Origin(kernels.DESCRIPTION, cpu_name(), str(available_cores()), code_commit(scripts))


def code_commit(scripts: str = BENCHMARKS) -> str:
    """The last commit that changed CODE or the scripts, which a pattern of git names.

    The result ends with "+" if the files have changes that are not committed, and is "unknown"
    without git. A commit of results or of documents changes no code, so that results measured
    before such a commit stay valid.
    """

    def git(*arguments: str) -> str:
        command = ["git", *arguments, "--", *CODE, scripts]
        return subprocess.check_output(command, cwd=ROOT, text=True, stderr=subprocess.DEVNULL)

    try:
        last = git("log", "-1", "--abbrev=7", "--format=%h").strip()
        changed = git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return "unknown"
    return f"{last}{'+' if changed else ''}" if last else "unknown"


def resolved_settings(path: Path, options: Mapping[str, Any]) -> str:
    """The settings with which charlstm.train would train on a text, as stored_settings gives them.

    options: those of charlstm.train. With `minutes` the settings depend on the machine's speed at
    the moment, and two calls may differ.
    """
    asked = RunConfig.asked({**options, "paths": (str(path),)})
    with TemporaryDirectory() as folder:
        run = begin_run(Path(folder), asked, None, time.monotonic(), None)
        run.trainer.close()
    return _settings_in_json(run.trainer.model.config, run.trainer.config, run.corpus_config)


def stored_settings(run: Path) -> str:
    """The settings in the checkpoint of a run's folder that differ from the library's defaults.

    The settings are returned as one JSON object, without the paths of the text.
    """
    saved = load_checkpoint(run / LAST)
    train = TrainConfig.from_dict(saved.training["config"])
    return _settings_in_json(
        saved.model.config, train, CorpusConfig.from_dict(saved.training["corpus"])
    )


def _settings_in_json(model: ModelConfig, train: TrainConfig, text: CorpusConfig) -> str:
    settings: dict[str, Any] = {}
    for config in (model, train, text):
        defaults = type(config)().to_dict()
        settings |= {n: value for n, value in config.to_dict().items() if value != defaults[n]}
    del settings["paths"]
    return json.dumps(settings, sort_keys=True)


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a tab-separated file of results with a heading; [] if there is no file.

    Exits with a message if the file has other columns.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if list(reader.fieldnames or ()) != list(columns):
            sys.exit(f"{path} has other columns than {', '.join(columns)}: give another --table")
        return list(reader)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a file of results, which is made when it is missing.

    The file has all of the row or nothing of it, whenever the process ends.
    """
    rows = path.read_bytes() if path.exists() else b""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(row), delimiter="\t", lineterminator="\n",
                            quoting=csv.QUOTE_NONE, quotechar=None)  # fmt: skip
    if not rows:
        writer.writeheader()
    writer.writerow(row)
    with atomic_write(path) as file:
        file.write(rows + text.getvalue().encode())


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of texts, with all columns but the first aligned to the right."""
    aligned = ("left", *["right"] * (len(headings) - 1)) if rows else None
    return str(tabulate(rows, headings, "pipe", disable_numparse=True, colalign=aligned))
