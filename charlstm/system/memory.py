"""Memory of this machine, and the refusal of work that cannot fit into it."""

import os
from contextlib import suppress
from pathlib import Path

from charlstm.errors import CharlstmError

LARGEST_SHOWN_BYTES = 10**24  # a larger number in a message would only be longer


def machine_memory() -> int | None:
    """Return the bytes that this machine, or the container, has; None if that is unknown."""
    limits = []
    with suppress(AttributeError, ValueError, OSError):  # on Windows
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):  # ValueError: "max", for no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits, default=None)


def require_memory(needed: int, purpose: str, advice: str) -> None:
    """Raise CharlstmError if the machine has less than `needed` bytes of memory."""
    available = machine_memory()
    if available is not None and needed > available:
        takes, has = (
            f"{min(size, LARGEST_SHOWN_BYTES) / 1e9:,.0f} GB" for size in (needed, available)
        )
        raise CharlstmError(f"{purpose} takes at least {takes}, this machine has {has}: {advice}")
