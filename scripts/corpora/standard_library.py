#!/usr/bin/env python3
"""Joins the running interpreter's own standard library into one text: a corpus at no download.

Whole .py files in sorted order of their paths, tests and site-packages left out, each decoded as
its coding line says (PEP 263) and written as UTF-8 with a newline after it. The same interpreter
gives the same corpus; another version of Python gives another.

With --documentation, the prose alone: the docstrings of those files, each once, and the topics of
Python's help().
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
    """Each source of `root` that decodes, with its text, in sorted order of its relative path."""
    relative = (path.relative_to(root) for path in root.rglob("*.py") if path.is_file())
    for path in sorted(relative, key=lambda path: path.parts):
        if SKIPPED_FOLDERS.isdisjoint(path.parts[:-1]):
            try:
                with tokenize.open(root / path) as file:
                    yield path, file.read()
            except (SyntaxError, UnicodeDecodeError):
                # SyntaxError: the coding line names no known codec, or bytes before it don't decode
                print(f"{path}: skipped, not decodable", file=sys.stderr)


def documentation(root: Path) -> Iterator[tuple[Path, str]]:
    """The docstrings of each source that has any, each docstring once, and what help() knows."""
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    seen: set[str | None] = {None}
    for path, text in sources(root):
        try:
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
        except SyntaxError:
            print(f"{path}: skipped, no Python of this version", file=sys.stderr)
            continue
        found = dict.fromkeys(ast.get_docstring(node) for node in nodes)
        new = [docstring for docstring in found if docstring not in seen]
        seen.update(new)
        if new:
            yield path, "\n\n".join(new)
    for name, text in topics.items():
        yield Path("pydoc_data", name), text


def join(texts: Iterator[tuple[Path, str]], limit: int | None) -> tuple[bytes, int]:
    """The texts as UTF-8 up to `limit` bytes, and how many they are.

    Stops before the first one that would pass the limit, so that what is left is a prefix of the
    whole corpus.
    """
    pieces: list[bytes] = []
    size = 0
    for _, text in texts:
        # one newline style: tokenize.open translates \r\n, and a file may lack its last newline
        piece = (text.rstrip("\n") + "\n\n").encode("utf-8")
        if limit is not None and size + len(piece) > limit:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces), len(pieces)


def _megabytes(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


_megabytes.__name__ = "number of megabytes above 0"  # argparse names the type in its error


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Join the standard library's sources into a text.")
    parser.add_argument("output", type=Path, metavar="FILE", help="the corpus to write")
    parser.add_argument("--documentation", action="store_true", help="the prose alone, some 2 MB")
    parser.add_argument(
        "--megabytes",
        type=_megabytes,
        metavar="N",
        help="stop before what would pass N million bytes (default: no limit)",
    )
    arguments = parser.parse_args(argv)
    output: Path = arguments.output
    limit = None if arguments.megabytes is None else int(arguments.megabytes * 1_000_000)
    try:
        kind = documentation if arguments.documentation else sources
        corpus, count = join(kind(Path(sysconfig.get_path("stdlib"))), limit)
        if not count:
            print("stdlib_corpus: no source fits, nothing written", file=sys.stderr)
            return 1
        # written whole: a run that is cut short leaves the old file as it was
        partial = output.with_name(output.name + ".part")
        partial.write_bytes(corpus)
        partial.replace(output)
    except OSError as error:
        print(f"stdlib_corpus: {error}", file=sys.stderr)
        return 1
    print(f"{output}: {len(corpus):,} bytes from {count:,} texts", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
