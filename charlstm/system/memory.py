"""The memory of this machine, and a check that it suffices for some work."""

import os
from contextlib import suppress
from pathlib import Path

from charlstm.errors import CharlstmError

LARGEST_SHOWN_BYTES = 10**24  # Messages show a larger size as 10^24 bytes, to stay short.


def machine_memory() -> int | None:
    """Return the memory of this machine in bytes; None if unknown.

    In a container with a lower memory limit, the result is that limit.
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
