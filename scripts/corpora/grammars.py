"""Sampling, exact entropy and unambiguity of stochastic context-free grammars.

A grammar is plain data: nonterminal -> [(weight, [symbol, ...]), ...]. A symbol in angle brackets
is a nonterminal, anything else is text. The probability p of an alternative is its weight, divided
by the sum of the weights of all alternatives of its nonterminal.

The expected -log2 probability and the expected length of a text of a nonterminal A, whose
alternatives are A -> s_1 ... s_k, obey linear equations (Grenander 1967, "Syntax-controlled
probabilities"; Soule 1974, "Entropies of probabilistic grammars"):

    bits(A)  = sum over alternatives of p (-log2 p + bits(s_1)  + ... + bits(s_k))
    chars(A) = sum over alternatives of p (          chars(s_1) + ... + chars(s_k))

with bits(t) = 0 and chars(t) = len(t) for text t. bits(A) is the entropy of derivations. It is the
entropy of texts only where no text has two derivations, which `find_conflict` proves.
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

    Calls rng.random() alone, the only method of random.Random whose sequence for a given seed is
    guaranteed to stay the same in later versions of Python.
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
    """The expected -log2 probability and the expected length of a text of `start`.

    Solves the linear equations of the module's docstring by Gauss-Seidel sweeps, children before
    parents. One sweep is exact for a grammar without recursion. With recursion the error shrinks
    geometrically, by the recursion's probability in each sweep. Raises ValueError for a grammar
    whose texts have no finite expected length.
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
    """The number of derivations of `text` from `start`, by a memoised top-down chart parser.

    The chart holds, for each nonterminal and start position, the end positions that it can reach
    and the number of ways to each. Raises ValueError for a left-recursive grammar.
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

    Returns a description of the first two such that a text of one is a prefix of a text of the
    other, or None. None proves that no text has two derivations, that no record is a prefix of
    another record, and so that a sequence of records has one derivation too.

    Proof: among all pairs of different derivations from one nonterminal whose texts u and v have u
    as a prefix of v, take one of the least total size. If both derivations begin with the same
    alternative, the first children that differ are a smaller such pair, which contradicts the
    choice. If they begin with two alternatives, `_compatible` reports these two. No alternative
    may be empty.
    """
    # the characters that texts of each nonterminal can begin with
    firsts: dict[str, set[str]] = {name: set() for name in grammar}
    grown = True
    while grown:  # until the least fixed point
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
    """Whether a text of one symbol sequence can be a prefix of a text of the other.

    Expands both sequences from the left, as long as their first characters can agree. A symbol that
    both begin with is removed from both. That is valid for a nonterminal too: its texts are
    prefix-free by the induction in `find_conflict`, so it derives the same text in both.

    apart: pairs that were expanded before without success, kept from call to call.
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
