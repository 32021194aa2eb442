"""Samples from stochastic context-free grammars, their exact entropy, and a proof of unambiguity.

A grammar is a dictionary: nonterminal -> [(weight, [symbol, ...]), ...]. A symbol in angle brackets
is a nonterminal, any other symbol is text. The probability p of an alternative is its weight,
divided by the sum of the weights of all alternatives of its nonterminal.

Let A be a nonterminal with alternatives of the form A -> s_1 ... s_k. The expected -log2
probability of a text of A, bits(A), and its expected length, chars(A), obey linear equations
(Grenander 1967, "Syntax-controlled probabilities"; Soule 1974, "Entropies of probabilistic
grammars"):

    bits(A)  = sum over alternatives of p (-log2 p + bits(s_1)  + ... + bits(s_k))
    chars(A) = sum over alternatives of p (          chars(s_1) + ... + chars(s_k))

with bits(t) = 0 and chars(t) = len(t) for text t. bits(A) is the entropy of the derivations from A.
The entropy of the texts of A equals bits(A) only if no text has two derivations, which
`find_conflict` proves.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

Grammar = dict[str, list[tuple[int, list[str]]]]
Pair = tuple[tuple[str, ...], tuple[str, ...]]  # two sequences of symbols

MAX_SWEEPS = 10_000


def sample(grammar: Grammar, start: str, rng: random.Random) -> tuple[str, float]:
    """Draw a text of the nonterminal `start`; return it and -log2 of its probability.

    All draws come from rng.random(). It is the only method of random.Random whose sequence for a
    given seed is guaranteed to stay the same in later versions of Python.
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


def expectations(grammar: Grammar, start: str) -> tuple[float, float]:
    """Return the expected -log2 probability and the expected length of a text of `start`.

    The linear equations of the module's docstring are solved by Gauss-Seidel sweeps, in which each
    nonterminal comes after those that its alternatives contain. For a grammar without recursion,
    one sweep gives the exact solution. With recursion, each sweep multiplies the error by about the
    probability of the recursion. Raises ValueError for a grammar whose texts have no finite
    expected length.
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


def count_derivations(grammar: Grammar, start: str, text: str) -> int:
    """Return the number of derivations of `text` from `start`, by a top-down chart parser.

    For each nonterminal and each position in the text, the chart holds the positions where a text
    of the nonterminal that starts there can end, and the number of derivations for each of these
    ends. Raises ValueError for a left-recursive grammar.
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


def find_conflict(grammar: Grammar) -> str | None:
    """Find two alternatives of a nonterminal that may make the grammar ambiguous.

    No alternative may be empty. Returns a description of the first two alternatives such that a
    text of one is a prefix of a text of the other; None if there are no such alternatives. The
    result None proves that no text has two derivations, and that no record is a prefix of another
    record. A sequence of records then has only one derivation, too.

    Proof: Call two different derivations from one nonterminal a bad pair if the text of one is a
    prefix of the text of the other. Suppose that there are bad pairs, and take the one with the
    fewest nodes in total. If its derivations begin with the same alternative, the first children in
    which they differ are a bad pair with fewer nodes, which is a contradiction. The derivations of
    the pair therefore begin with two alternatives, for which `_compatible` returns True.
    """
    # For each nonterminal, the characters that its texts can begin with.
    firsts: dict[str, set[str]] = {name: set() for name in grammar}
    grown = True
    while grown:
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
    """Return whether a text of one symbol sequence may be a prefix of a text of the other.

    Both sequences are expanded from the left, as long as their first characters can agree. If both
    sequences begin with the same symbol, it is removed from both. The symbol may be a nonterminal:
    below the smallest bad pair of the proof in `find_conflict`, no text of a nonterminal is a
    prefix of another, so the nonterminal stands for the same text in both sequences.

    firsts: for each nonterminal, the characters that its texts can begin with.
    apart: pairs of sequences that were expanded before and found to differ, kept between calls.
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
