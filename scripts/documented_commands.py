#!/usr/bin/env python3
"""Run the commands that the documents show but that take too long for a test.

The documents are the README files and RESULTS.md. Their commands stand in blocks marked `sh` and
between single backquotes. A test (tests/test_documents.py) runs all others, and sees that each
command is either run there or listed here.

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
BEGINNINGS = ("charlstm ", "./scripts/", ".venv/bin/python ", ".ci/run", "zcat ", "lint-imports")

# Commands that install, download, change files of the repository, measure or stress, in an order in
# which each finds the files of those before it. Measurements want an idle machine.
LONG = (
    "./scripts/setup",
    "./scripts/setup test,oracles",
    "./scripts/demo",
    "./scripts/test",
    "./scripts/test --quick",
    "./scripts/test --all",
    ".ci/run",
    ".venv/bin/python scripts/corpora/download.py tinyshakespeare",
    ".venv/bin/python scripts/corpora/generate.py --seed 1967",
    "head -c 1003854 data/tinyshakespeare.txt > first.txt",
    "tail -c 111540 data/tinyshakespeare.txt > validation.txt",
    "charlstm train first.txt -r runs/first",
    "charlstm train data/tinyshakespeare.txt",
    "charlstm train data/tinyshakespeare.txt --minutes 60 -r runs/hour",
    "charlstm eval validation.txt -r runs/hour --window 256",
    "charlstm eval validation.txt -r runs/hour --dynamic",
    ".venv/bin/python scripts/benchmarks/dynamic_evaluation.py runs/first",
    ".venv/bin/python scripts/benchmarks/against_pytorch.py --bf16",
    ".venv/bin/python scripts/benchmarks/against_pytorch.py --only train --rounds 9",
    ".venv/bin/python scripts/benchmarks/bfloat16.py",
    ".venv/bin/python scripts/benchmarks/big_corpus.py",
    ".venv/bin/python scripts/benchmarks/phases.py",
    ".venv/bin/python scripts/benchmarks/scaling.py",
    ".venv/bin/python scripts/benchmarks/time_budget.py",
    ".venv/bin/python scripts/benchmarks/defaults.py compressors",
    ".venv/bin/python scripts/benchmarks/defaults.py ablation",
    ".venv/bin/python scripts/benchmarks/defaults.py dozen",
    ".venv/bin/python scripts/benchmarks/defaults.py minutes --seeds 3",
    ".venv/bin/python scripts/benchmarks/defaults.py sweep",
)


def documents() -> list[Path]:
    """Every page of documentation, but the one that is made by a script."""
    pages = [ROOT / "README.md", *ROOT.glob("*/**/*.md")]
    skipped = {".venv", "build", "data", ".pytest_cache"}
    return [
        page
        for page in sorted(pages)
        if page.name != "OPTIONS.md" and not skipped & set(page.relative_to(ROOT).parts)
    ]


def commands_of(page: Path) -> Iterator[str]:
    """The commands that a page shows, without comments."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if command := re.sub(r"\s+#.*", "", line).strip():
                yield command
    for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        command = " ".join(code.split())
        if command.startswith(BEGINNINGS) and (" " in command or command in LONG):
            yield command


def documented() -> dict[str, Path]:
    """Every command of the documents, with one page that shows it."""
    return {command: page for page in documents() for command in commands_of(page)}


def main() -> None:
    """List or run the long commands."""
    for command in LONG:
        print(command, flush=True)
        if "--run" in sys.argv:
            path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
            environment = os.environ | {"PATH": path}
            subprocess.run(command, shell=True, cwd=ROOT, check=True, env=environment)


if __name__ == "__main__":
    main()
