"""make_batches: cuts the training text, and the text of --mix, into windows."""

from mmap import mmap
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids, checked_ids
from charlstm.config import TrainConfig
from charlstm.errors import ArgumentError
from charlstm.network.model import CharModel
from charlstm.seeds import generator
from charlstm.text.batches import Batches, LineBatches, StreamBatches
from charlstm.text.mixed_batches import MixedBatches, fit_mixed_batch, mixed_size
from charlstm.text.vocab import line_end


def make_batches(ids: Ids, mix_ids: Ids | None, model: CharModel, config: TrainConfig) -> Batches:
    """Cut a text, or two, into batches of parallel streams, or into batches of lines with --lines.

    mix_ids: the second text; None if there is none.
    """
    for given in (ids,) if mix_ids is None else (ids, mix_ids):
        is_vector = isinstance(given, np.ndarray) and given.ndim == 1
        if not (is_vector and np.issubdtype(given.dtype, np.integer)):
            raise ArgumentError("`ids` must be a 1-D array of whole numbers")
        if not _is_mapped(given):  # Trainer checks ids that are mapped window by window.
            checked_ids("ids", given, ("N",), len(model.vocab))
    size, length = config.batch_size, config.seq_length
    if mix_ids is None:
        return _batches_of(ids, model, config, size, length)
    of_mix = mixed_size(size, config.mix_share)
    size -= of_mix
    if not model.config.lines:
        lengths = len(ids), len(mix_ids)
        size, of_mix, length = fit_mixed_batch(lengths, config.batch_size, length, config.mix_share)
    return MixedBatches(
        _batches_of(ids, model, config, size, length),
        _batches_of(mix_ids, model, config, of_mix, length, number=1),
    )


def _is_mapped(array: Array) -> bool:
    """Return whether an array is mapped from a file, which may take long to read."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap | mmap)


def _batches_of(
    ids: Ids, model: CharModel, config: TrainConfig, size: int, length: int, number: int = 0
) -> Batches:
    """Cut a text into batches of `size` streams or lines. number: that of the random generator."""
    rng = generator(config.seed, "batches", number)
    if model.config.lines:
        return LineBatches(ids, line_end(model.vocab), size, length, rng)
    return StreamBatches(ids, size, length, rng, config.recut)
