"""Sizes of a text that is given as ids: its bytes in UTF-8, and its empty lines."""

import numpy as np

from charlstm.arrays import Ids
from charlstm.text.vocab import BLOCK_IDS, Vocab


def utf8_size(vocab: Vocab, ids: Ids) -> int | None:
    """Return the size of a text in UTF-8, in bytes.

    Returns None at level "word": the ids contain neither the spaces nor the unknown words.
    """
    if vocab.level == "word":
        return None
    if vocab.level == "byte":
        return len(ids)
    sizes = np.ones(len(vocab), np.int64)  # those of bytes that spell characters
    for id_, character in enumerate(vocab.characters):
        sizes[id_] = len(character.encode("utf-8", "surrogatepass"))
    return sum(
        int(np.bincount(ids[k : k + BLOCK_IDS], minlength=len(vocab)) @ sizes)
        for k in range(0, len(ids), BLOCK_IDS)
    )


def count_empty_lines(ids: Ids, line_end: int) -> int:
    """Return the number of line ends that begin the text or follow another line end."""
    count, after_line_end = 0, True
    for k in range(0, len(ids), BLOCK_IDS):
        is_end = ids[k : k + BLOCK_IDS] == line_end
        count += int(is_end[0] and after_line_end) + int((is_end[1:] & is_end[:-1]).sum())
        after_line_end = bool(is_end[-1])
    return count
