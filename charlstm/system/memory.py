"""The memory of this machine, and a check that some work does not need more."""

import os
from contextlib import suppress
from pathlib import Path

from charlstm.errors import CharlstmError

LARGEST_SHOWN_BYTES = 10**24  # Messages show larger sizes as this number, to stay short.


def machine_memory() -> int | None:
    """Return the memory of this machine or container, the lower of both, in bytes; None if unknown.

    A container has a memory limit of its own.
    """
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf.
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):  # ValueError: the file says "max" for no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits, default=None)


def require_memory(needed: int, purpose: str, advice: str) -> None:
    """Raise CharlstmError if the machine has less than `needed` bytes of memory."""
    available = machine_memory()
    if available is not None and needed > available:
        takes, has = (
            f"{min(size, LARGEST_SHOWN_BYTES) / 1e9:,.0f} GB" for size in (needed, available)
        )
        raise CharlstmError(
            f"{purpose} takes at least {takes}, but this machine has {has}: {advice}"
        )
