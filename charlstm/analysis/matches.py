"""Matches: predictions of the symbol that followed the longest earlier occurrence of a context.

Long passages of a text occur again: examples, headings, whole paragraphs. A model with few weights
cannot know them by heart, but the text itself shows how such a passage goes on. The longest earlier
occurrence of the last symbols, a match, predicts that the symbol after it follows here too (as in
the compressors of the PAQ family, Mahoney 2005). How far this prediction can be trusted depends on
the length of the match and on the probability that the model gives to the symbol. The probability q
of the predicted symbol replaces the probability p of the model:

    logit(q) = w logit(p) + b

The weights w and b, of each class of lengths, are learned from the text as it is read, by AdaGrad.
The other symbols share the rest in the proportions of the model.
"""

import math
from array import array

import numpy as np

from charlstm.arrays import Array, Ids

# A hash of the last symbols selects the slot in which the newest place of this context is kept.
SLOT_BITS = 22
HASHED_AT_ONCE = 1 << 20  # number of symbols hashed at once
MULTIPLIER = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
NOWHERE = -1

# The lengths from 1 to EXACT_LENGTHS are classes of their own, longer ones are classed by the power
# of two above them, up to MAX_LENGTH, beyond which a match is not followed back.
EXACT_LENGTHS, MAX_LENGTH = 16, 400
RATE = 0.3  # learning rate of w and b
SMALLEST = 1e-6  # probabilities are kept at this distance from 0 and 1, at least


class Matches:
    """Follows the longest match of a text that is read symbol by symbol, and mixes it in.

    history: a text that counts as read before; it may be memory-mapped, and is not copied.
    shortest: the number of symbols of the shortest match.
    """

    def __init__(self, shortest: int, history: Ids | None = None) -> None:
        history = np.empty(0, np.uint8) if history is None else history
        self._history: Ids = history[:-1]  # its last symbol is read below, which finds a match
        self._shortest = shortest
        self._read = array("I")  # the symbols read since the history
        # Places are counted from 1 in the slots: zeros take no memory before they are written.
        self._slots = np.zeros(1 << SLOT_BITS, np.int64)
        self._forget = pow(MULTIPLIER, shortest, 1 << 64)  # the factor of a symbol that leaves
        self._hash = 0
        self._next, self._length = NOWHERE, 0  # the place after the match, and its length
        self._weights: dict[int, list[float]] = {}  # of a class: w, b, sums of squared gradients
        self._enter_history()
        for symbol in history[-1:].tolist():
            self.read(symbol)

    def mix(self, log_probs: Array, symbols: Ids) -> Array:
        """Return the losses (n,) of symbols (n,) that are read one after the other.

        log_probs (n, V): what the model predicts for them.
        """
        nats = np.empty(len(symbols))
        for k, symbol in enumerate(symbols.tolist()):
            own = float(log_probs[k, symbol])
            nats[k] = -own
            if self._length >= self._shortest:
                expected = self._at(self._next)
                p = _inside(math.exp(float(log_probs[k, expected])))
                q = self._trust(p, expected == symbol)
                nats[k] = -math.log(q) if expected == symbol else math.log((1 - p) / (1 - q)) - own
            self.read(symbol)
        return nats

    def read(self, symbol: int) -> None:
        """Read a symbol: it extends the match, or another match is searched for."""
        if self._length and self._at(self._next) == symbol:
            self._next, self._length = self._next + 1, self._length + 1
        else:
            self._length = 0
        end = len(self._history) + len(self._read)  # the place of the symbol
        self._read.append(symbol)
        self._hash = (self._hash * MULTIPLIER + symbol + 1) & MASK
        before = end - self._shortest
        if before >= 0:
            self._hash = (self._hash - (self._at(before) + 1) * self._forget) & MASK
        if before >= -1:
            slot = _slot(self._hash)
            if self._length < self._shortest:
                self._find(int(self._slots[slot]) - 1, end)
            self._slots[slot] = end + 1

    def _find(self, place: int, end: int) -> None:
        """Take the match that ends at `place`, if it is long enough for the text up to `end`."""
        length = 0
        while length <= min(place, MAX_LENGTH) and self._at(place - length) == self._at(
            end - length
        ):
            length += 1
        if length >= self._shortest:
            self._next, self._length = place + 1, length

    def _trust(self, p: float, right: bool) -> float:
        """Return the probability of the expected symbol, then learn whether it was right."""
        kind = self._length
        if kind > EXACT_LENGTHS:
            kind = EXACT_LENGTHS + min(kind, MAX_LENGTH).bit_length()
        weights = self._weights.setdefault(kind, [1.0, 0.0, 1.0, 1.0])
        w, b, squares_w, squares_b = weights
        logit = math.log(p / (1 - p))
        q = _inside(1 / (1 + math.exp(-max(-30.0, min(30.0, w * logit + b)))))
        db = q - right
        dw = db * logit
        squares_w, squares_b = squares_w + dw * dw, squares_b + db * db
        w -= RATE * dw / math.sqrt(squares_w)
        b -= RATE * db / math.sqrt(squares_b)
        weights[:] = w, b, squares_w, squares_b
        return q

    def _at(self, place: int) -> int:
        """Return the symbol at a place of the history and the text after it."""
        if place < len(self._history):
            return int(self._history[place])
        return self._read[place - len(self._history)]

    def _enter_history(self) -> None:
        """Put the places of the history into their slots, and set the hash of its end."""
        for start in range(0, len(self._history), HASHED_AT_ONCE):
            first = max(0, start - self._shortest + 1)
            symbols = self._history[first : start + HASHED_AT_ONCE].astype(np.uint64) + np.uint64(1)
            count = len(symbols) - self._shortest + 1
            if count < 1:
                continue
            hashes = np.zeros(count, np.uint64)
            for k in range(self._shortest):
                hashes *= np.uint64(MULTIPLIER)
                hashes += symbols[k : k + count]
            slots = hashes * np.uint64(MULTIPLIER) >> np.uint64(64 - SLOT_BITS)
            # Of several places with one slot, the last one is kept.
            self._slots[slots.astype(np.intp)] = np.arange(count) + first + self._shortest
        for symbol in self._history[-self._shortest :].tolist():
            self._hash = (self._hash * MULTIPLIER + symbol + 1) & MASK


def _slot(hash_: int) -> int:
    return (hash_ * MULTIPLIER & MASK) >> (64 - SLOT_BITS)


def _inside(probability: float) -> float:
    return min(max(probability, SMALLEST), 1 - SMALLEST)
