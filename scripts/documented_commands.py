#!/usr/bin/env python3
"""Run the commands that the documents show but that take too long for a test.

The documents are the README files and RESULTS.md. Their commands stand in blocks marked `sh` and
between single backquotes. A test (tests/test_documents.py) runs all others, and sees that each
command is either run there or listed here.

    .venv/bin/python scripts/documented_commands.py          # list the long commands
    .venv/bin/python scripts/documented_commands.py --run    # run them, one after the other: hours
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGINNINGS = ("charlstm ", "./scripts/", ".venv/bin/python ", ".ci/run", "zcat ", "lint-imports")

# Commands that set up, measure or stress for longer than a test may take. Those with a note of 2 or
# more minutes are measurements: they want an idle machine.
LONG = (
    "./scripts/demo",
    "./scripts/test",
    "./scripts/test --quick",
    "./scripts/test --all",
    "./scripts/setup",
    ".ci/run",
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
            subprocess.run(command, shell=True, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
