#!/usr/bin/env python3
"""Joins the sources of Python's standard library into one text, as a corpus without a download.

    .venv/bin/python scripts/corpora/standard_library.py data/library.txt
    .venv/bin/python scripts/corpora/standard_library.py data/prose.txt --documentation

The sources are those of the interpreter that runs this script, in the order of their paths, without
tests and installed packages. Each source is decoded by its coding line (PEP 263) and written as
UTF-8 with an empty line after it. The same version of Python gives the same corpus.

With --documentation, only prose is written: the docstrings of these sources, each once, and the
topics of Python's help().
"""

from __future__ import annotations

import argparse
import ast
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def sources(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the relative path and the text of each source below `root`, in the order of paths.

    Sources that cannot be decoded are skipped, with a message.
    """
    relative = (path.relative_to(root) for path in root.rglob("*.py") if path.is_file())
    for path in sorted(relative, key=lambda path: path.parts):
        if SKIPPED_FOLDERS.isdisjoint(path.parts[:-1]):
            try:
                with tokenize.open(root / path) as file:
                    yield path, file.read()
            except (SyntaxError, UnicodeDecodeError):
                # tokenize raises SyntaxError if the coding line names an unknown codec, or if bytes
                # before the coding line are not valid.
                print(f"{path}: skipped, cannot be decoded", file=sys.stderr)


def documentation(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield a path and the docstrings of each source, then a path and the text of each help topic.

    A docstring that has occurred before is left out.
    """
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    seen: set[str | None] = {None}
    for path, text in sources(root):
        try:
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
        except SyntaxError:
            print(f"{path}: skipped, not valid in this version of Python", file=sys.stderr)
            continue
        found = dict.fromkeys(ast.get_docstring(node) for node in nodes)
        new = [docstring for docstring in found if docstring not in seen]
        seen.update(new)
        if new:
            yield path, "\n\n".join(new)
    for name, text in topics.items():
        yield Path("pydoc_data", name), text


def join(texts: Iterator[tuple[Path, str]], limit: int | None) -> tuple[bytes, int]:
    """Join texts as UTF-8, up to `limit` bytes; return the bytes and the number of texts.

    The result ends before the first text that would exceed the limit. It is therefore a prefix of
    the corpus without a limit.
    """
    pieces: list[bytes] = []
    size = 0
    for _, text in texts:
        # tokenize.open has made all newlines \n. The last line of a file may have no newline.
        piece = (text.rstrip("\n") + "\n\n").encode("utf-8")
        if limit is not None and size + len(piece) > limit:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces), len(pieces)


def _megabytes(text: str) -> float:
    """Convert the value of --megabytes."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


# The error message of argparse calls a wrong value an "invalid" followed by this name.
_megabytes.__name__ = "number of megabytes above 0"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Join the sources of Python's standard library into one text."
    )
    parser.add_argument("output", type=Path, metavar="FILE", help="file to write")
    parser.add_argument("--documentation", action="store_true", help="write prose only, about 2 MB")
    parser.add_argument(
        "--megabytes",
        type=_megabytes,
        metavar="N",
        help="end before the first text that would exceed N million bytes  [default: no limit]",
    )
    arguments = parser.parse_args(argv)
    output: Path = arguments.output
    limit = None if arguments.megabytes is None else int(arguments.megabytes * 1_000_000)
    try:
        kind = documentation if arguments.documentation else sources
        corpus, count = join(kind(Path(sysconfig.get_path("stdlib"))), limit)
        if not count:
            print(
                "standard_library: nothing written, as the first source is above --megabytes",
                file=sys.stderr,
            )
            return 1
        # The file is renamed when it is complete: an interruption leaves an old file unchanged.
        partial = output.with_name(output.name + ".part")
        partial.write_bytes(corpus)
        partial.replace(output)
    except OSError as error:
        print(f"standard_library: {error}", file=sys.stderr)
        return 1
    print(f"{output}: {len(corpus):,} bytes from {count:,} texts", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
