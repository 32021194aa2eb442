"""Random generators, one for each purpose, from one seed; their states can be saved."""

from typing import Any, Literal

import numpy as np

from charlstm.errors import ArgumentError, CharlstmError, shown
from charlstm.untrusted import integer, of_type

Purpose = Literal["weights", "batches", "dropout", "sample", "split"]
_SPAWN_KEYS: dict[Purpose, int] = {
    "weights": 0,
    "batches": 1,
    "dropout": 2,
    "sample": 3,
    "split": 4,
}


def generator(seed: int | None, purpose: Purpose, number: int = 0) -> np.random.Generator:
    """Return a random generator for one purpose, independent of those for other purposes.

    Equal seeds give equal random numbers. With a seed of None, each generator gives different ones.
    number: tells apart the generators of one seed and purpose, which are independent.
    Raises CharlstmError for a seed that is not a whole number of 0 or more.
    """
    try:
        key = (_SPAWN_KEYS[purpose], number) if number else (_SPAWN_KEYS[purpose],)
        sequence = np.random.SeedSequence(seed, spawn_key=key)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"`seed` must be a whole number of 0 or more, not {shown(seed)}"
        ) from None
    return np.random.Generator(np.random.PCG64(sequence))


def generator_to_dict(rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of a generator, for JSON."""
    return dict(rng.bit_generator.state)


def load_generator(rng: np.random.Generator, saved: object) -> None:
    """Set a generator to a state from generator_to_dict; CharlstmError for anything else."""
    kind = of_type(str, saved, "bit_generator")
    if kind != "PCG64":
        raise CharlstmError(f"the random generator must be PCG64, not {kind:.60}")
    numbers = of_type(dict, saved, "state")
    rng.bit_generator.state = {
        "bit_generator": kind,
        "state": {name: integer(numbers, name, most=2**128 - 1) for name in ("state", "inc")},
        "has_uint32": integer(saved, "has_uint32", most=1),
        "uinteger": integer(saved, "uinteger", most=2**32 - 1),
    }
