#!/usr/bin/env python3
"""Writes the generated corpora, each with the exact entropy of the source it was drawn from.

A corpus is a run of independent records drawn from a stochastic context-free grammar, so the best
any model can do on it is known: H bits per character,

    H = E[-log2 P(record)] / E[characters of a record].

Both expectations obey linear equations, one per nonterminal A with alternatives A -> s_1 ... s_k of
probability p (Grenander 1967, "Syntax-controlled probabilities"; Soule 1974, "Entropies of
probabilistic grammars"):

    bits(A)  = sum over alternatives of p (-log2 p + bits(s_1)  + ... + bits(s_k))
    chars(A) = sum over alternatives of p (          chars(s_1) + ... + chars(s_k))

with bits(t) = 0 and chars(t) = len(t) for a terminal t. bits(A) is the entropy of derivations; it
is the entropy of texts exactly where no text has two derivations, which `conflict` proves of both
grammars before anything is written.

A grammar is plain data: nonterminal -> [(weight, [symbol, ...]), ...]; a symbol in angle brackets
is a nonterminal, anything else is text.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import random
import sys
from collections import Counter
from pathlib import Path

from play_grammar import Grammar, play_grammar

Pair = tuple[tuple[str, ...], tuple[str, ...]]

START = "<record>"
DEFAULT_SEED = 1967
# A fixed count, not a fixed size: stopping at a size would favour long last records.
RECORDS = {"reber.txt": 46_000, "play.txt": 730}
MAX_SWEEPS = 10_000


def reber_grammar() -> Grammar:
    """Embedded Reber strings, one a line (Hochreiter & Schmidhuber 1997, section 5.1).

    The inner automaton is Reber's (1967); both ways out of a state have probability 1/2. The letter
    after the first B comes back before the last E, so predicting it takes memory across the inner
    string.
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


def sample(grammar: Grammar, start: str, rng: random.Random) -> tuple[str, float]:
    """One text of the nonterminal `start` and -log2 of its derivation's probability.

    Draws by rng.random() alone: of Python's generator, only that sequence is promised to stay the
    same from version to version.
    """
    pieces: list[str] = []
    bits = 0.0
    stack = [start]
    while stack:
        symbol = stack.pop()
        if symbol not in grammar:
            pieces.append(symbol)
            continue
        total = sum(weight for weight, _ in grammar[symbol])
        draw = int(rng.random() * total)
        for weight, symbols in grammar[symbol]:
            if draw < weight:
                bits += math.log2(total / weight)
                stack.extend(reversed(symbols))
                break
            draw -= weight
    return "".join(pieces), bits


def moments(grammar: Grammar, start: str) -> tuple[float, float]:
    """Expected -log2 probability and expected length of a text of `start`.

    Solves the linear equations of the module's docstring by Gauss-Seidel sweeps, children before
    parents: exact after one sweep where nothing recurs, geometric in the recursion's probability
    elsewhere. A grammar whose texts have no finite expected length raises ValueError.
    """
    order: list[str] = []
    visited: set[str] = set()
    stack = [(start, False)]
    while stack:
        name, children_done = stack.pop()
        if children_done:
            order.append(name)
        elif name not in visited:
            visited.add(name)
            stack.append((name, True))
            stack.extend((s, False) for _, rhs in grammar[name] for s in rhs if s in grammar)
    bits = dict.fromkeys(order, 0.0)
    chars = dict.fromkeys(order, 0.0)
    for _ in range(MAX_SWEEPS):
        change = 0.0
        for name in order:
            total = sum(weight for weight, _ in grammar[name])
            new_bits = new_chars = 0.0
            for weight, symbols in grammar[name]:
                p = weight / total
                new_bits += p * (-math.log2(p) + sum(bits.get(s, 0.0) for s in symbols))
                new_chars += p * sum(chars[s] if s in chars else len(s) for s in symbols)
            change = max(change, abs(new_bits - bits[name]), abs(new_chars - chars[name]))
            bits[name], chars[name] = new_bits, new_chars
        if change <= 1e-15 * chars[start]:
            return bits[start], chars[start]
    raise ValueError(f"{start}: the expected length does not converge")


def derivations(grammar: Grammar, start: str, text: str) -> int:
    """How many derivations `start` has for the whole of `text`: a memoised top-down chart.

    For each nonterminal and begin, the chart holds the ends it can reach and in how many ways.
    Left recursion raises ValueError.
    """
    chart: dict[tuple[str, int], dict[int, int] | None] = {}

    def ends(name: str, begin: int) -> dict[int, int]:
        if (name, begin) in chart:
            known = chart[name, begin]
            if known is None:
                raise ValueError(f"{name} is left-recursive")
            return known
        chart[name, begin] = None
        counts: Counter[int] = Counter()
        for _, symbols in grammar[name]:
            reached = {begin: 1}
            for symbol in symbols:
                following: dict[int, int] = {}
                for position, ways in reached.items():
                    if symbol in grammar:
                        for end, more in ends(symbol, position).items():
                            following[end] = following.get(end, 0) + ways * more
                    elif text.startswith(symbol, position):
                        following[position + len(symbol)] = ways
                reached = following
                if not reached:
                    break
            counts.update(reached)
        chart[name, begin] = counts
        return counts

    return ends(start, 0).get(len(text), 0)


def conflict(grammar: Grammar) -> str | None:
    """Two alternatives of one nonterminal, a text of one beginning a text of the other; or None.

    None proves that no text has two derivations and that no record begins another, so a run of
    records has one derivation too. Proof: take two different derivations from one nonterminal whose
    texts u, v have u as a prefix of v, of the least total size. If they open with one alternative,
    the first child that differs is a smaller such pair; if with two, `_compatible` reports them.
    An alternative begins with text or a nonterminal: none is empty.
    """
    firsts: dict[str, set[str]] = {name: set() for name in grammar}
    grown = True
    while grown:  # to the least fixed point
        grown = False
        for name, alternatives in grammar.items():
            before = len(firsts[name])
            for _, symbols in alternatives:
                firsts[name] |= firsts.get(symbols[0], {symbols[0][0]})
            grown |= len(firsts[name]) > before
    apart: set[Pair] = set()
    for name, alternatives in grammar.items():
        for (_, a), (_, b) in itertools.combinations(alternatives, 2):
            if _compatible(grammar, firsts, apart, (tuple(a), tuple(b))):
                return f"{name}: {''.join(a)!r} and {''.join(b)!r}"
    return None


def _compatible(
    grammar: Grammar, firsts: dict[str, set[str]], apart: set[Pair], pair: Pair
) -> bool:
    """Whether a text of the one run of symbols can equal or begin a text of the other.

    Expands both from the left in step, where their first characters can agree. A nonterminal at the
    head of both is struck from both: its own texts are prefix-free by the induction in `conflict`,
    so it derives one text in both. `apart` keeps the pairs already expanded from call to call: up
    to the first True, none of them led to one.
    """
    pending = [pair]
    while pending:
        x, y = pending.pop()
        while x and y and x[0] == y[0]:
            x, y = x[1:], y[1:]
        if not x or not y:
            return True
        if firsts.get(x[0], {x[0][0]}).isdisjoint(firsts.get(y[0], {y[0][0]})) or (x, y) in apart:
            continue
        apart.add((x, y))
        if x[0] in grammar:
            pending.extend(((*symbols, *x[1:]), y) for _, symbols in grammar[x[0]])
        elif y[0] in grammar:
            pending.extend((x, (*symbols, *y[1:])) for _, symbols in grammar[y[0]])
        elif x[0].startswith(y[0]):
            pending.append(((x[0][len(y[0]) :], *x[1:]), y[1:]))
        elif y[0].startswith(x[0]):
            pending.append((x[1:], (y[0][len(x[0]) :], *y[1:])))
    return False


def make(name: str, seed: int) -> tuple[str, dict[str, object]]:
    """The corpus `name` and its entry of corpora.json."""
    grammar = GRAMMARS[name]()
    found = conflict(grammar)
    if found is not None:
        raise ValueError(f"{name}: the grammar may be ambiguous at {found}")
    rng = random.Random(seed)
    records, costs = zip(*(sample(grammar, START, rng) for _ in range(RECORDS[name])), strict=True)
    text = "".join(records)
    bits, chars = moments(grammar, START)
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

Written by `{command}`: change the grammar and run it again, don't edit.
With `--check` it tells whether these files are what the grammars and the seed give.

`reber.txt` holds embedded Reber strings, one a line: the letter after the first `B` comes back
before the last `E`. `play.txt` holds scenes of an English play that nobody wrote; its grammar, all
its words included, is `scripts/play_grammar.py`. A record is a line of the one, a scene of the
other.

Both are drawn from stochastic context-free grammars in which every text has exactly one derivation,
so the source's entropy is exact: expected -log2 P(record) over expected characters of a record,
newlines included. No model can average fewer bits per character on text it has not seen, beyond the
luck of the draw; what it spends above is what it has not learnt. "Realised" is -log2 P(this file)
over its characters: what the grammar itself would spend on the very sample.

| file | bytes | records | entropy, bits/char | entropy, nats/char | realised, bits/char |
|---|---|---|---|---|---|
{rows}

| file | SHA-256 |
|---|---|
{sums}

The same figures are in `corpora.json`. Two more scripts bring larger text: `scripts/stdlib_corpus`
joins the Python sources of the interpreter that runs it, `scripts/fetch_corpora` downloads the
usual public corpora.
"""


def build(seed: int) -> dict[str, bytes]:
    """Every file of the corpora folder by name."""
    made = {name: make(name, seed) for name in GRAMMARS}
    rows = "\n".join(
        f"| `{name}` | {e['characters']:,} | {e['records']:,} | {e['bits_per_character']:.6f} "
        f"| {e['nats_per_character']:.6f} | {e['realised_bits_per_character']:.6f} |"
        for name, (_, e) in made.items()
    )
    sums = "\n".join(f"| `{name}` | `{entry['sha256']}` |" for name, (_, entry) in made.items())
    command = f"scripts/make_corpora --seed {seed}"
    files = {name: text for name, (text, _) in made.items()}
    files["README.md"] = README.format(command=command, rows=rows, sums=sums)
    entries = {name: entry for name, (_, entry) in made.items()}
    files["corpora.json"] = json.dumps(entries, indent=2) + "\n"
    return {name: text.encode("ascii") for name, text in files.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the generated corpora.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parents[2] / "corpora",
        metavar="DIR",
        help="default: the repository's corpora folder",
    )
    parser.add_argument("--check", action="store_true", help="compare with the files, write none")
    arguments = parser.parse_args(argv)
    files = build(arguments.seed)
    try:
        if arguments.check:
            paths = {name: arguments.output / name for name in files}
            stale = [n for n, p in paths.items() if not p.is_file() or p.read_bytes() != files[n]]
            for name in stale:
                print(f"{paths[name]}: not what the generator writes", file=sys.stderr)
            return 1 if stale else 0
        arguments.output.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            partial = arguments.output / (name + ".part")
            partial.write_bytes(content)
            partial.replace(arguments.output / name)
            print(f"{arguments.output / name}: {len(content):,} bytes", file=sys.stderr)
    except OSError as error:
        print(f"make_corpora: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
