"""The suffix automaton of a text, and what it finds while it reads another text.

The automaton knows every substring of its text (Blumer et al. 1985). As it reads, its state and one
length are the longest substring that ends where the reader stands (the matching statistics of
Chang and Lawler 1994). Each symbol read costs one look-up, whatever the two texts have in common.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from charlstm.arrays import Ids

Wide = npt.NDArray[np.int64]

SYMBOLS_AT_ONCE = 1 << 23  # symbols of the other text that are read before the next ones
# Symbols of a stream: about as many as the longest match may have, because a stream goes on past its
# end by a match, and with repetitive texts all of them do.
SHORTEST_STREAM, LONGEST_STREAM = 1024, 4096
PIECE = 1 << 16  # ids that become symbols at a time
BLOCK = 64  # symbols of each stream that are brought side by side at a time

# An entry of the table: the next state, times 2^32, plus the most that a match may be long after
# the transition. FREE: the match goes on, however long it is.
SHIFT = 32
FREE = (1 << 31) - 1


class SuffixAutomaton:
    """The suffix automaton of symbols, whole numbers from 0.

    Each state stands for substrings that end at the same places in the text; state 0 for the empty
    one, which ends everywhere.

    transitions: of each state, the next one by symbol.
    lengths: of each state, the length of its longest substring.
    links: of each state, that of the longest suffix which ends at more places; -1 for state 0.
    prefixes: the state of the text's first symbol, of its first two, and so on.
    """

    def __init__(self, symbols: Sequence[int]) -> None:
        self.transitions: list[dict[int, int]] = [{}]
        self.lengths, self.links = [0], [-1]
        self.prefixes: list[int] = []
        last = 0
        for symbol in symbols:
            last = self._extend(last, symbol)
            self.prefixes.append(last)
        # a link leads to a shorter substring, so this puts it before the states it serves
        self.by_length = sorted(range(len(self.lengths)), key=self.lengths.__getitem__)

    def _extend(self, last: int, symbol: int) -> int:
        """Add a symbol after the prefix whose state is `last`; return the new prefix's."""
        transitions, lengths, links = self.transitions, self.lengths, self.links
        new = self._add(lengths[last] + 1, 0, {})
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
        # the target's shorter substrings now end at one place more than its longer ones: split
        short = self._add(lengths[state] + 1, links[target], dict(transitions[target]))
        links[target] = links[new] = short
        while state >= 0 and transitions[state].get(symbol) == target:
            transitions[state][symbol] = short
            state = links[state]
        return new

    def _add(self, length: int, link: int, transitions: dict[int, int]) -> int:
        self.lengths.append(length)
        self.links.append(link)
        self.transitions.append(transitions)
        return len(self.lengths) - 1

    def table(self, width: int) -> Wide:
        """(states, width) the entry for each state and symbol below `width`, known or not.

        Where a state has no transition, the match is cut down to the longest suffix whose state has
        one, and grows from there.
        """
        table = np.zeros((len(self.lengths), width), np.int64)
        for state in self.by_length:
            link = self.links[state]
            if link >= 0:
                row, grown = table[link], self.lengths[link] + 1
                # the match is longer than the link's longest substring: it is cut to that
                table[state] = np.where((row & FREE) == FREE, row - FREE + grown, row)
            for symbol, target in self.transitions[state].items():
                table[state, symbol] = target << SHIFT | FREE
        return table


class Reader:
    """Reads a text with an automaton and keeps what it finds.

    automaton: of symbols below width - 1; symbol width - 1 stands for all others.
    longest: (states,) the length of the longest substring of each state that was found; 0: none.
    ends: (states,) where one occurrence of it ends: the position of its last symbol.
    """

    def __init__(self, automaton: SuffixAutomaton, width: int) -> None:
        self.automaton, self.width = automaton, width
        self._table = automaton.table(width).reshape(-1)
        self.longest: Wide = np.zeros(len(automaton.lengths), np.int64)
        self.ends: Wide = np.zeros(len(automaton.lengths), np.int64)

    def read(
        self,
        text: Ids,
        symbols: Ids,
        stream: int,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Read a text in streams side by side, a chunk after the other.

        text: (M,) ids. symbols: the symbol of each id. stream: how many symbols a stream begins with;
        it then goes on past its end for as long as a match lasts that began before.
        progress: called with the number of symbols read so far.
        """
        stream = min(max(stream, SHORTEST_STREAM), LONGEST_STREAM)
        size = SYMBOLS_AT_ONCE // stream * stream
        for begin in range(0, len(text), size):
            chunk = text[begin : begin + size]
            starts = np.arange(begin, begin + len(chunk), stream)
            padded = np.full(len(starts) * stream, self.width - 1, symbols.dtype)
            for k in range(0, len(chunk), PIECE):  # as NumPy makes 8 bytes of each index
                padded[k : k + PIECE][: len(chunk) - k] = symbols[chunk[k : k + PIECE]]
            streams = padded.reshape(len(starts), stream)
            states, lengths = self._read_lanes(streams, starts)
            self._read_on(text, symbols, starts, stream, states, lengths)
            if progress is not None:
                progress(begin + len(chunk))

    def _read_lanes(self, streams: Ids, starts: Wide) -> tuple[Wide, Wide]:
        """Read each row of streams; return the state at its end, and the length of the match."""
        states, lengths, entries, found = np.zeros((4, len(streams)), np.int64)
        better = np.empty(len(streams), bool)
        for offset in range(0, streams.shape[1], BLOCK):
            block = np.ascontiguousarray(streams[:, offset : offset + BLOCK].T)
            for position, row in enumerate(block, start=offset):
                states *= self.width
                states += row
                self._table.take(states, out=entries, mode="clip")  # "raise" would copy
                np.right_shift(entries, SHIFT, out=states)
                entries &= FREE
                lengths += 1
                np.minimum(lengths, entries, out=lengths)
                self.longest.take(states, out=found, mode="clip")
                if np.greater(lengths, found, out=better).any():
                    self._keep(states, lengths, starts + position)
        return states, lengths

    def _read_on(
        self, text: Ids, symbols: Ids, starts: Wide, stream: int, states: Wide, lengths: Wide
    ) -> None:
        """Read past the streams' ends, for as long as there are matches that began in them."""
        past = 0
        while True:
            alive = (lengths > past) & (starts + stream + past < len(text))
            if not alive.any():
                return
            starts, states, lengths = starts[alive], states[alive], lengths[alive]
            ends = starts + stream + past
            entries = self._table[states * self.width + symbols[text[ends]]]
            states = entries >> SHIFT
            lengths = np.minimum(lengths + 1, entries & FREE)
            self._keep(states, lengths, ends)
            past += 1

    def _keep(self, states: Wide, lengths: Wide, ends: Wide) -> None:
        """Note the matches that are longer than what was found before for their states."""
        better = np.flatnonzero(lengths > self.longest[states])
        states, lengths, ends = states[better], lengths[better], ends[better]
        np.maximum.at(self.longest, states, lengths)
        longest = lengths == self.longest[states]  # of the streams that are in one state
        self.ends[states[longest]] = ends[longest]

    def matches(self) -> tuple[Wide, Wide]:
        """For each symbol of the automaton's own text, the longest match that ends with it.

        Returns its length, 0 if there is none, and where one occurrence ends in what was read.
        """
        automaton, longest, ends = self.automaton, self.longest.copy(), self.ends.copy()
        for state in reversed(automaton.by_length):  # what was found has suffixes
            link = automaton.links[state]
            if longest[state] and longest[link] < automaton.lengths[link]:
                longest[link], ends[link] = automaton.lengths[link], ends[state]
        nearest = np.arange(len(longest))  # the state of the longest suffix that was found
        for state in automaton.by_length[1:]:
            if not longest[state]:
                nearest[state] = nearest[automaton.links[state]]
        found = nearest[automaton.prefixes]
        return longest[found], ends[found]
