"""The rows of the n-gram table by the definition of the hash, one context at a time."""

import zlib

import numpy as np


def ngram_row(codes, R):
    """The row of one context, for the codes of its symbols from the newest to the oldest."""
    number = 0
    for code in codes:
        number = (number + int(code)) * 0x9E3779B97F4A7C15 % 2**64
    number = (number ^ number >> 32) * 0x9E3779B97F4A7C15 % 2**64
    return (number >> 32) * R >> 32


def ngram_rows(model, ids, history):
    """The rows (T, B, contexts) for ids (T, B), and the history after them.

    history: the further layers of a state, which hold the last symbols as ids plus one.
    """
    config, (T, B) = model.config, ids.shape
    codes = [0] + [1 + zlib.crc32(symbol.encode()) for symbol in model.vocab.symbols]
    rows = np.empty((T, B, max(0, config.ngrams - 1)), int)
    history_after = np.zeros_like(history)
    for b in range(B) if config.ngrams else ():
        numbers = history[:, :, b].reshape(-1)[: config.ngrams - 1].tolist()
        numbers = [round(number) for number in numbers] + [int(k) + 1 for k in ids[:, b]]
        newest_first = [codes[number] for number in reversed(numbers)]
        for t in range(T):
            context = newest_first[T - 1 - t :]
            lengths = range(2, config.ngrams + 1)
            rows[t, b] = [ngram_row(context[:n], config.ngram_slots) for n in lengths]
        kept = np.zeros(history[:, :, b].size)
        kept[: config.ngrams - 1] = numbers[1 - config.ngrams :]
        history_after[:, :, b] = kept.reshape(history[:, :, b].shape)
    return rows, history_after
