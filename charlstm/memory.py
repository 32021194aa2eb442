"""Whether what is asked for fits into the memory of this machine; told before it is taken."""

import math
import os
from contextlib import suppress
from pathlib import Path

from .batches import STEPS_ROUNDED_TO, fit_lanes
from .config import ModelConfig, TrainConfig
from .errors import CharlstmError
from .optimizers import MOMENTS
from .parallel import available_cores
from .parameters import TABLE, Shapes, dense_size

# Numbers that a layer keeps of each unit at each step: gates, states, and what comes of them.
KEPT = {"lstm": 7, "gru": 5, "rnn": 2}

MOST_TOLD = 10**24  # bytes: more digits say no more


def machine_memory() -> int | None:
    """Bytes that this process may have: of the machine, or of its container; None: not known."""
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):  # "max" is no number
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits, default=None)


def require_memory(needed: int, what: str, advice: str) -> None:
    """Refuse what needs more bytes than there are."""
    there = machine_memory()
    if there is not None and needed > there:
        takes, has = (f"{min(size, MOST_TOLD) / 1e9:,.0f} GB" for size in (needed, there))
        raise CharlstmError(f"{what} takes at least {takes}, this machine has {has}: {advice}")


def require_memory_for(shapes: Shapes, model: ModelConfig, copies: int = 1) -> None:
    """Refuse a model of whose parameters so many copies cannot fit."""
    require_memory(
        _weights(shapes, copies) * _bytes_each(model),
        f"a model of {model.layers} x {model.hidden} units",
        "take smaller --hidden, --layers or --ngram-slots",
    )


def require_memory_to_train(
    symbols: int, V: int, shapes: Shapes, model: ModelConfig, config: TrainConfig
) -> None:
    """Refuse a training that cannot fit: what is counted is the least that it takes.

    symbols: of the training text. V: distinct ones. shapes: of the model's parameters.
    """
    lanes, window = fit_lanes(symbols, config.lanes, config.window)
    if model.lines:  # which may all be short
        lanes, window = min(config.lanes, symbols), min(config.window, STEPS_ROUNDED_TO)
    workers = min(config.workers or available_cores(), lanes)
    copies = 1 + workers + len(MOMENTS[config.optimizer]) + bool(config.average)
    require_memory(
        _weights(shapes, copies) * _bytes_each(model) + lanes * window * bytes_kept(model, V),
        f"training {model.layers} x {model.hidden} units on {V:,} distinct symbols",
        "take smaller --hidden, --layers, --ngram-slots, --lanes or --window, or --level byte",
    )


def bytes_kept(model: ModelConfig, V: int) -> int:
    """Of a lane and a step, by a forward pass: each layer's, and the probabilities of V symbols."""
    return (V + model.layers * KEPT[model.cell] * model.hidden) * _bytes_each(model)


def _weights(shapes: Shapes, copies: int) -> int:
    """Numbers in so many copies of the flat vector, and in the one table that they share."""
    return copies * dense_size(shapes) + math.prod(shapes.get(TABLE, (0,)))


def _bytes_each(model: ModelConfig) -> int:
    return 8 if model.dtype == "float64" else 4
