"""KnownLines: whether a line is in a text of any size."""

from collections.abc import Callable

import numpy as np

from charlstm.arrays import Ids
from charlstm.system.memory import require_memory
from charlstm.text.batches import line_blocks
from charlstm.text.line_hashes import BLOCK_SYMBOLS, line_hashes, lines_of
from charlstm.text.vocab import Vocab, line_end

HASH_BYTES = 8
_SALT = np.uint64(0x9E3779B97F4A7C15)  # any number but 0, which would give a line "\t" the hash 0


class KnownLines:
    """The lines of a text. `line in known` is whether the text has this line; "" always is known.

    Only a 64-bit hash of each line is kept, 8 bytes. A line that the text does not have is
    therefore taken for known with the probability n / 2^64 in a text of n lines.

    ids: the text; may be memory-mapped. vocab: the vocabulary of the ids, which has a line end.
    progress: called as progress(symbols read, symbols to read) while the text is read.
    """

    def __init__(
        self, ids: Ids, vocab: Vocab, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._vocab, self._line_end = vocab, line_end(vocab)
        blocks = list(line_blocks(ids, self._line_end, BLOCK_SYMBOLS))
        lines = sum(int(np.count_nonzero(ids[a:b] == self._line_end)) for a, b in blocks) + 1
        require_memory(
            HASH_BYTES * lines, f"comparing with {lines:,} known lines", "give fewer lines"
        )
        self._hashes = np.zeros(lines, np.uint64)  # the hash of an empty line is 0
        done = 0
        for start, stop in blocks:
            found = self._hashes_of(ids[start:stop])
            self._hashes[done : done + len(found)] = found
            done += len(found)
            if progress is not None:
                progress(stop, len(ids))
        self._hashes.sort()

    def _hashes_of(self, ids: Ids) -> Ids:
        return line_hashes(ids, self._line_end, *lines_of(ids, self._line_end), _SALT)

    def __contains__(self, line: object) -> bool:
        if not isinstance(line, str):
            return False
        ids = self._vocab.encode(line, unknown="skip")
        if self._vocab.level == "char" and self._vocab.count_characters(ids) < len(line):
            return False  # The line has a character that the text does not have.
        (sought,) = self._hashes_of(np.append(ids, self._line_end))
        place = int(np.searchsorted(self._hashes, sought))
        return place < len(self._hashes) and bool(self._hashes[place] == sought)
