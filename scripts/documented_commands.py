#!/usr/bin/env python3
"""List or run the commands that the documents show but that take too long for a test.

The documents are the README files and RESULTS.md. Their commands stand in blocks marked `sh` and
between single backquotes. A test (tests/test_documents.py) runs each command that is not in LONG.

    .venv/bin/python scripts/documented_commands.py          # list the long commands
    .venv/bin/python scripts/documented_commands.py --run    # run them, one after the other: hours
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGINNINGS = ("charlstm ", "./scripts/", ".venv/bin/python ", ".ci/run", "lint-imports")

PYTHON = ".venv/bin/python scripts"
TRAIN_ON_REBER = (
    "charlstm train corpora/reber.txt --textbook --lines --val-split end "
    "--layers 1 --hidden 8 --steps 3000"
)

# Commands that take more than about three seconds, need the network or change files of the
# repository, with the reason; in an order in which each finds the files of those before it.
# Measurements want a machine that does nothing else.
LONG = {
    "./scripts/setup": "installs",
    "./scripts/setup test,oracles": "installs",
    "./scripts/setup oracles": "installs",
    "./scripts/demo": "trains for a minute, after setup",
    "./scripts/test --quick": "1 minute, after setup",
    "./scripts/test": "4 minutes, after setup",
    "./scripts/test --all": "the tests and the slow ones, after setup",
    ".ci/run": "twenty minutes",
    "charlstm serve": "serves until Ctrl-C",
    "charlstm serve -r runs/a -r runs/b --port 8001": "serves until Ctrl-C",
    ".venv/bin/python -m pytest tests/network/test_layers.py": "tests, which run anyway",
    "charlstm train corpus.txt --engine torch": "needs PyTorch",
    "torchrun --nproc-per-node 4 --max-restarts 3 -m charlstm train corpus.txt -r runs/a "
    "--engine torch": "needs PyTorch",
    f"{PYTHON}/benchmarks/gpu.py": "needs a GPU",
    f"{PYTHON}/benchmarks/gpu_losses.py": "needs a GPU",
    "charlstm train -r runs/corpus --resume --engine native": "needs the run before it",
    "charlstm eval --engine torch": "needs PyTorch",
    "./scripts/sanitize": "compiles the kernels and runs their tests under sanitizers",
    "./scripts/emulate_arm": "downloads and emulates a system",
    f"{PYTHON}/corpora/download.py tinyshakespeare": "downloads",
    f"{PYTHON}/benchmarks/texts.py": "downloads",
    f"{PYTHON}/benchmarks/fine_tuning.py --base-steps 1500 --steps 500": "15 minutes",
    f"{PYTHON}/benchmarks/sorted_lists.py": "4 minutes: a measurement",
    f"{PYTHON}/corpora/generate.py --seed 1967": "writes the corpora anew",
    "head -c 1003854 data/tinyshakespeare.txt > first.txt": "needs the download",
    "tail -c 111540 data/tinyshakespeare.txt > validation.txt": "needs the download",
    "charlstm train first.txt -r runs/first": "3 minutes",
    "head -c 10000 data/tinyshakespeare.txt > pages.txt": "needs the download",
    "charlstm train pages.txt --val-file validation.txt -r runs/pages": "20 seconds",
    "head -c 700000 data/tinyshakespeare.txt > most.txt": "needs the download",
    "charlstm train most.txt --hidden 160 --steps 2500 -r runs/most": "1 minute",
    f"{PYTHON}/benchmarks/temperature.py runs/most": "4 seconds, after the training before it",
    "charlstm train data/tinyshakespeare.txt": "3 minutes",
    "charlstm train data/tinyshakespeare.txt --minutes 60 -r runs/hour": "an hour",
    "charlstm eval validation.txt -r runs/hour --window 256": "needs the run of an hour",
    "charlstm eval validation.txt -r runs/hour --dynamic": "1 minute",
    "charlstm train data/suite/technical.txt --minutes 10 -r runs/technical": "after texts.py",
    "charlstm eval -r runs/technical": "needs the run before it",
    "charlstm eval -r runs/technical --dynamic": "2 minutes",
    f"{PYTHON}/benchmarks/experiments.py rows": "40 minutes, after texts.py: a measurement",
    f"{PYTHON}/benchmarks/matches.py --seeds 3": "20 minutes, after texts.py: a measurement",
    f"{PYTHON}/benchmarks/advice.py": "20 minutes: a measurement",
    f"{PYTHON}/benchmarks/dynamic_evaluation.py runs/first": "minutes: a measurement",
    "head -n 41400 corpora/reber.txt > lines.txt": "goes before the next",
    "tail -n 4600 corpora/reber.txt > held-out-lines.txt": "goes before the next",
    "charlstm train lines.txt --val-file held-out-lines.txt --lines --steps 1000 -r runs/lines": (
        "half a minute"
    ),
    "charlstm eval held-out-lines.txt -r runs/lines --dynamic": "13 seconds",
    f"{PYTHON}/benchmarks/against_pytorch.py --only train --bf16": "minutes: a measurement",
    f"{PYTHON}/benchmarks/against_pytorch.py --defaults": "a minute: a measurement",
    f"{PYTHON}/benchmarks/phases.py --as-trained --steps 60": "a minute: a measurement",
    f"{PYTHON}/benchmarks/against_pytorch.py --only train --rounds 9": "minutes: a measurement",
    f"{PYTHON}/benchmarks/against_pytorch.py --only sample": "two minutes: a measurement",
    f"{PYTHON}/benchmarks/bfloat16.py": "hours: a measurement",
    f"{PYTHON}/benchmarks/big_corpus.py": "minutes: reads a text of a gigabyte",
    f"{PYTHON}/benchmarks/phases.py": "minutes: a measurement",
    f"{PYTHON}/benchmarks/report_cost.py": "7 minutes: a measurement",
    f"{PYTHON}/benchmarks/playground.py runs/first": "2 minutes: a measurement",
    f"{PYTHON}/benchmarks/serving.py runs/first": "half a minute: a measurement",
    f"{PYTHON}/benchmarks/scaling.py": "minutes: a measurement",
    f"{PYTHON}/benchmarks/many_cores.py": "2 minutes: a measurement, which draws a picture",
    f"{PYTHON}/benchmarks/time_budget.py": "27 minutes: a measurement",
    f"{PYTHON}/benchmarks/defaults.py compressors": "2 minutes: a measurement",
    f"{PYTHON}/benchmarks/defaults.py ablation": "45 minutes: a measurement",
    f"{PYTHON}/benchmarks/defaults.py dozen": "1.5 hours: a measurement",
    f"{PYTHON}/benchmarks/defaults.py minutes --seeds 3": "39 minutes: a measurement",
    f"{PYTHON}/benchmarks/defaults.py sweep": "3 hours: a measurement",
    f"{TRAIN_ON_REBER} -r runs/lstm-8": "15 seconds",
    f"{TRAIN_ON_REBER} -r runs/rnn-8 --cell rnn": "15 seconds",
    "charlstm train corpora/play.txt --minutes 0.5 -r runs/play": "half a minute",
    "charlstm inspect gates corpora/play.txt -r runs/play": "needs the run before it",
    f"{PYTHON}/exercises/check_gradients.py": "4 seconds",
    f"{PYTHON}/exercises/classify_direction.py": "8 seconds",
    f"{PYTHON}/exercises/learn_words.py": "13 seconds, and needs the download",
    f"{PYTHON}/exercises/learn_words.py corpora/play.txt": "10 seconds",
    f"{PYTHON}/stress/unattended.py": "a day",
    f"{PYTHON}/stress/unattended.py --only soak": "an hour",
    f"{PYTHON}/stress/crash.py --runs 6": "half a minute",
    f"{PYTHON}/stress/crash.py --with term": "15 minutes",
    f"{PYTHON}/stress/crash.py --with full": "15 minutes",
    f"{PYTHON}/stress/soak.py": "half an hour",
    f"{PYTHON}/stress/soak.py --steps 300": "1 minute",
    f"{PYTHON}/stress/damaged_checkpoints.py": "minutes: 20,000 files",
    f"{PYTHON}/stress/damaged_checkpoints.py --count 500": "500 files",
    f"{PYTHON}/stress/damaged_checkpoints.py --count 500 --only training": "500 files",
    f"{PYTHON}/stress/odd_corpora.py": "minutes: 2,000 texts",
    f"{PYTHON}/stress/odd_corpora.py --count 100": "100 texts",
    f"{PYTHON}/stress/odd_options.py": "minutes: 4,000 commands",
    f"{PYTHON}/stress/odd_options.py --only score": "hundreds of commands",
    f"{PYTHON}/stress/odd_options.py --every 40": "a hundred commands",
}


def documents() -> list[Path]:
    """Return every page of documentation except OPTIONS.md and API.md, which scripts make."""
    pages = [ROOT / "README.md", *ROOT.glob("*/**/*.md")]
    skipped = {".venv", "build", "data", ".pytest_cache"}
    return [
        page
        for page in sorted(pages)
        if page.name not in ("OPTIONS.md", "API.md")
        and not skipped & set(page.relative_to(ROOT).parts)
    ]


def commands_of(page: Path) -> Iterator[str]:
    """Yield the commands that a page shows, without comments."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if command := re.sub(r"\s+#.*", "", line).strip():
                yield command
    for code in re.findall(
        r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    ):
        command = " ".join(code.split())
        if command.startswith(BEGINNINGS) and (" " in command or command in LONG):
            yield command


def documented() -> dict[str, Path]:
    """Return every command of the documents, with one page that shows it."""
    return {command: page for page in documents() for command in commands_of(page)}


def main() -> None:
    """List or run the long commands."""
    for command, reason in LONG.items():
        print(f"{command}  # {reason}", flush=True)
        if "--run" in sys.argv:
            path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
            environment = os.environ | {"PATH": path}
            subprocess.run(command, shell=True, cwd=ROOT, check=True, env=environment)


if __name__ == "__main__":
    main()
