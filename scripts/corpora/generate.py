#!/usr/bin/env python3
"""Writes the generated corpora, each with the exact entropy of its source.

    .venv/bin/python scripts/corpora/generate.py            write corpora/
    .venv/bin/python scripts/corpora/generate.py --check    compare corpora/ with the generator

A corpus is a sequence of independent records, drawn from a stochastic context-free grammar (see
grammars.py). The lowest loss that a model can have on the corpus is therefore known. It is

    H = E[-log2 P(record)] / E[characters of a record]

bits per character, where E is the expected value over the records of the grammar.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
from pathlib import Path

from grammars import Grammar, expectations, find_conflict, sample
from play_grammar import play_grammar

START = "<record>"
DEFAULT_SEED = 1967
# The number of records is fixed, not the size: the record at which a corpus reaches a given size is
# longer than others on average.
RECORDS = {"reber.txt": 46_000, "play.txt": 730}
CORPORA = Path(__file__).resolve().parents[2] / "corpora"


def reber_grammar() -> Grammar:
    """Return the grammar of embedded Reber strings, one a line.

    Hochreiter & Schmidhuber 1997 describe them in section 5.1. Between its first two and its last
    two letters, an embedded Reber string has a string of Reber's automaton (1967). Both transitions
    out of a state of this automaton have probability 1/2. The second letter of the embedded string
    is also its last but one. To predict that letter, a model has to remember it across the string
    of Reber's automaton.
    """
    return {
        START: [
            (1, ["BT", "<reber>", "TE\n"]),
            (1, ["BP", "<reber>", "PE\n"]),
        ],
        "<reber>": [(1, ["BT", "<2>"]), (1, ["BP", "<3>"])],
        "<2>": [(1, ["S", "<2>"]), (1, ["X", "<4>"])],
        "<3>": [(1, ["T", "<3>"]), (1, ["V", "<5>"])],
        "<4>": [(1, ["X", "<3>"]), (1, ["SE"])],
        "<5>": [(1, ["P", "<4>"]), (1, ["VE"])],
    }


GRAMMARS = {"reber.txt": reber_grammar, "play.txt": play_grammar}


def make(name: str, seed: int) -> tuple[str, dict[str, object]]:
    """Generate the corpus `name`; return its text and its entry of corpora.json.

    Raises ValueError if find_conflict does not prove that the grammar is unambiguous.
    """
    grammar = GRAMMARS[name]()
    found = find_conflict(grammar)
    if found is not None:
        raise ValueError(f"{name}: the grammar may be ambiguous at {found}")
    rng = random.Random(seed)
    records, costs = zip(*(sample(grammar, START, rng) for _ in range(RECORDS[name])), strict=True)
    text = "".join(records)
    bits, chars = expectations(grammar, START)
    return text, {
        "seed": seed,
        "records": len(records),
        "characters": len(text),
        "sha256": hashlib.sha256(text.encode("ascii")).hexdigest(),
        "bits_per_record": round(bits, 6),
        "characters_per_record": round(chars, 6),
        "bits_per_character": round(bits / chars, 6),
        "nats_per_character": round(bits / chars * math.log(2), 6),
        "realised_bits_per_character": round(math.fsum(costs) / len(text), 6),
    }


README = """\
# Generated corpora

Written by `{command}`.
To change a corpus, change its grammar and run this command again. With `--check`, the command
compares these files with the generator's output.

`reber.txt` holds embedded Reber strings, one a line: the letter after the first `B` is repeated
before the last `E`. `play.txt` holds scenes of an imaginary English play. The grammar of the play
is in `scripts/corpora/play_grammar.py`, its words are in `scripts/corpora/play_words.py`. A record
is a line of `reber.txt` or a scene of `play.txt`.

The records are drawn from stochastic context-free grammars in which every text has exactly one
derivation. The entropy of a grammar can therefore be computed exactly. It is the expected
-log2 P(record), divided by the expected number of characters of a record, newlines included. Except
by luck, no model has a loss below the entropy on new text of the grammar. The difference between
the loss of a model and the entropy measures how much the model has not learnt. The column
"realised" is -log2 P(this file), divided by the number of its characters: the loss of the grammar
itself on this file.

| file | bytes | records | entropy, bits/char | entropy, nats/char | realised, bits/char |
|---|---|---|---|---|---|
{rows}

| file | SHA-256 |
|---|---|
{sums}

The figures of both tables are also in `corpora.json`. Two more scripts provide larger texts:
`scripts/corpora/standard_library.py` joins the Python sources of the interpreter that runs it, and
`scripts/corpora/download.py` downloads public corpora.
"""


def build(seed: int) -> dict[str, bytes]:
    """Generate all files of the corpora folder; return their contents by name."""
    made = {name: make(name, seed) for name in GRAMMARS}
    rows = "\n".join(
        f"| `{name}` | {e['characters']:,} | {e['records']:,} | {e['bits_per_character']:.6f} "
        f"| {e['nats_per_character']:.6f} | {e['realised_bits_per_character']:.6f} |"
        for name, (_, e) in made.items()
    )
    sums = "\n".join(f"| `{name}` | `{entry['sha256']}` |" for name, (_, entry) in made.items())
    command = f".venv/bin/python scripts/corpora/generate.py --seed {seed}"
    files = {name: text for name, (text, _) in made.items()}
    files["README.md"] = README.format(command=command, rows=rows, sums=sums)
    entries = {name: entry for name, (_, entry) in made.items()}
    files["corpora.json"] = json.dumps(entries, indent=2) + "\n"
    return {name: text.encode("ascii") for name, text in files.items()}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated corpora.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="[default: %(default)s]")
    parser.add_argument(
        "--output",
        type=Path,
        default=CORPORA,
        metavar="DIR",
        help="folder to write to  [default: corpora/ of this checkout]",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing, but compare the files with the generator's output",
    )
    arguments = parser.parse_args(argv)
    files = build(arguments.seed)
    try:
        if arguments.check:
            paths = {name: arguments.output / name for name in files}
            stale = [n for n, p in paths.items() if not p.is_file() or p.read_bytes() != files[n]]
            for name in stale:
                print(f"{paths[name]}: differs from the generator's output", file=sys.stderr)
            return 1 if stale else 0
        arguments.output.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            partial = arguments.output / (name + ".part")
            partial.write_bytes(content)
            partial.replace(arguments.output / name)
            print(f"{arguments.output / name}: {len(content):,} bytes", file=sys.stderr)
    except OSError as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
