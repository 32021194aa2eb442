"""The suffix automaton of a text, and the matches that it finds while it reads another text.

A suffix automaton recognises every substring of its own text (Blumer et al. 1985). The automaton
can read another text symbol by symbol. After each symbol, the state of the automaton and the length
of the match give the longest substring of the automaton's text that ends with the last symbols
read: the matching statistics of Chang and Lawler (1994). For any two texts, reading a symbol takes
one look-up in a table.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from charlstm.arrays import Ids

Integers = npt.NDArray[np.int64]

SYMBOLS_AT_ONCE = 1 << 23  # number of symbols read at once, cut into parallel streams
# Bounds of the length of a stream, in symbols; between them, a stream is about as long as the
# longest possible match. A match at the end of a stream is followed into the next stream. In a
# repetitive text, matches at the ends of streams are long: with shorter streams, most symbols would
# be read several times.
MIN_STREAM_LENGTH, MAX_STREAM_LENGTH = 1024, 4096
CONVERTED_AT_ONCE = 1 << 16  # number of ids converted to symbols at once, which take 8 bytes each
TRANSPOSED_AT_ONCE = 64  # number of symbols of each stream that are transposed at once

# An entry of the transition table is (next state << STATE_SHIFT) | (maximum length of the match
# after the transition). A maximum of UNLIMITED means that the match continues without being cut.
STATE_SHIFT = 32
UNLIMITED = (1 << 31) - 1


class SuffixAutomaton:
    """The suffix automaton of a sequence of symbols, integers from 0.

    A state stands for all substrings that end at the same places in the text. State 0 stands for
    the empty substring, which ends everywhere.

    transitions: for each state, a dictionary from symbols to next states.
    lengths: for each state, the length of its longest substring.
    links: for each state, its suffix link; -1 for state 0. The suffix link of a state is the state
        of the longest suffix of its substrings that also ends at other places in the text.
    prefixes: the states of the text's prefixes of length 1, 2, and so on.
    by_length: the states in ascending order of lengths; a state comes after its suffix link.
    """

    def __init__(self, symbols: Sequence[int]) -> None:
        self.transitions: list[dict[int, int]] = [{}]
        self.lengths, self.links = [0], [-1]
        self.prefixes: list[int] = []
        last = 0
        for symbol in symbols:
            last = self._extend(last, symbol)
            self.prefixes.append(last)
        self.by_length = sorted(range(len(self.lengths)), key=self.lengths.__getitem__)

    def _extend(self, last: int, symbol: int) -> int:
        """Add a symbol after the prefix with state `last`; return the state of the new prefix."""
        transitions, lengths, links = self.transitions, self.lengths, self.links
        new = self._add_state(lengths[last] + 1, 0, {})
        state = last
        while state >= 0 and symbol not in transitions[state]:
            transitions[state][symbol] = new
            state = links[state]
        if state < 0:
            return new
        target = transitions[state][symbol]
        if lengths[target] == lengths[state] + 1:
            links[new] = target
            return new
        # Split `target`: its shorter substrings now end at one more place than its longer ones.
        shorter = self._add_state(lengths[state] + 1, links[target], dict(transitions[target]))
        links[target] = links[new] = shorter
        while state >= 0 and transitions[state].get(symbol) == target:
            transitions[state][symbol] = shorter
            state = links[state]
        return new

    def _add_state(self, length: int, link: int, transitions: dict[int, int]) -> int:
        self.lengths.append(length)
        self.links.append(link)
        self.transitions.append(transitions)
        return len(self.lengths) - 1

    def table(self, width: int) -> Integers:
        """Return the transition table (states, width) of all states and all symbols below `width`.

        If a state has no transition for a symbol, its entry cuts the match to the longest suffix
        whose state has a transition for the symbol.
        """
        table = np.zeros((len(self.lengths), width), np.int64)
        for state in self.by_length:
            link = self.links[state]
            if link >= 0:
                entries, length = table[link], self.lengths[link] + 1
                continues = (entries & UNLIMITED) == UNLIMITED
                table[state] = np.where(continues, entries - UNLIMITED + length, entries)
            for symbol, target in self.transitions[state].items():
                table[state, symbol] = target << STATE_SHIFT | UNLIMITED
        return table


class MatchFinder:
    """Reads texts and keeps the longest match that reached each state of an automaton.

    automaton: an automaton whose symbols are below width - 1. Symbol width - 1 stands for all
        symbols that the automaton does not have.
    longest: (states,) the length of the longest match that reached each state; 0 for no match.
    ends: (states,) the position in the text of the last symbol of one such match.
    """

    def __init__(self, automaton: SuffixAutomaton, width: int) -> None:
        self.automaton, self.width = automaton, width
        self._table = automaton.table(width).reshape(-1)
        self.longest: Integers = np.zeros(len(automaton.lengths), np.int64)
        self.ends: Integers = np.zeros(len(automaton.lengths), np.int64)

    def read(
        self,
        text: Ids,
        symbols: Ids,
        stream_length: int,
        advance_to: Callable[[int], None] | None = None,
    ) -> None:
        """Read a text, cut into streams that are read in parallel.

        text: (M,) ids. symbols: the automaton's symbol for each id. stream_length: about the length
        of the longest possible match. advance_to: called with the number of symbols read so far.
        """
        length = min(max(stream_length, MIN_STREAM_LENGTH), MAX_STREAM_LENGTH)
        size = SYMBOLS_AT_ONCE // length * length
        for begin in range(0, len(text), size):
            chunk = text[begin : begin + size]
            starts = np.arange(begin, begin + len(chunk), length)
            padded = np.full(len(starts) * length, self.width - 1, symbols.dtype)
            for k in range(0, len(chunk), CONVERTED_AT_ONCE):
                ids = chunk[k : k + CONVERTED_AT_ONCE]
                padded[k : k + len(ids)] = symbols[ids]
            states, lengths = self._read_streams(padded.reshape(len(starts), length), starts)
            self._follow_matches(text, symbols, starts + length, states, lengths)
            if advance_to is not None:
                advance_to(begin + len(chunk))

    def _read_streams(self, streams: Ids, starts: Integers) -> tuple[Integers, Integers]:
        """Read streams (N, length); return the state and match length at the end of each.

        starts: (N,) the positions of the streams in the text.
        """
        states, lengths, entries, found = np.zeros((4, len(streams)), np.int64)
        is_longer = np.empty(len(streams), bool)
        for offset in range(0, streams.shape[1], TRANSPOSED_AT_ONCE):
            columns = streams[:, offset : offset + TRANSPOSED_AT_ONCE]
            for position, symbols in enumerate(np.ascontiguousarray(columns.T), start=offset):
                states *= self.width
                states += symbols
                # With its default mode, "raise", NumPy's take would copy the entries once more.
                self._table.take(states, out=entries, mode="clip")
                np.right_shift(entries, STATE_SHIFT, out=states)
                entries &= UNLIMITED
                lengths += 1
                np.minimum(lengths, entries, out=lengths)
                self.longest.take(states, out=found, mode="clip")
                if np.greater(lengths, found, out=is_longer).any():
                    self._keep(states, lengths, starts + position)
        return states, lengths

    def _follow_matches(
        self, text: Ids, symbols: Ids, positions: Integers, states: Integers, lengths: Integers
    ) -> None:
        """Read on past the end of each stream while the current match began inside that stream."""
        past = 0  # number of symbols read after the end of the streams
        while True:
            alive = (lengths > past) & (positions < len(text))
            if not alive.any():
                return
            positions, states, lengths = positions[alive], states[alive], lengths[alive]
            entries = self._table[states * self.width + symbols[text[positions]]]
            states = entries >> STATE_SHIFT
            lengths = np.minimum(lengths + 1, entries & UNLIMITED)
            self._keep(states, lengths, positions)
            positions = positions + 1
            past += 1

    def _keep(self, states: Integers, lengths: Integers, ends: Integers) -> None:
        """Store each match that is longer than the longest match stored for its state so far."""
        longer = np.flatnonzero(lengths > self.longest[states])
        states, lengths, ends = states[longer], lengths[longer], ends[longer]
        np.maximum.at(self.longest, states, lengths)
        # Several streams may have reached the same state: only their longest match is kept.
        longest = lengths == self.longest[states]
        self.ends[states[longest]] = ends[longest]

    def matches(self) -> tuple[Integers, Integers]:
        """Return the longest match that ends with each symbol of the automaton's own text.

        Returns the length of each match, 0 for no match, and the position of the last symbol of one
        occurrence of the match in the text that was read.
        """
        automaton, longest, ends = self.automaton, self.longest.copy(), self.ends.copy()
        # Where a string occurs, its suffixes occur too. A match of a state is therefore also a
        # match of its suffix link. States of long substrings pass on their matches before states of
        # shorter ones.
        for state in reversed(automaton.by_length):
            link = automaton.links[state]
            if longest[state] and longest[link] < automaton.lengths[link]:
                longest[link], ends[link] = automaton.lengths[link], ends[state]
        nearest = np.arange(len(longest))  # for each state, its longest suffix that has a match
        for state in automaton.by_length[1:]:
            if not longest[state]:
                nearest[state] = nearest[automaton.links[state]]
        found = nearest[automaton.prefixes]
        return longest[found], ends[found]
