"""Whether what is asked for fits into the memory of this machine; told before it is taken."""

import os
from contextlib import suppress
from pathlib import Path

from charlstm.errors import CharlstmError

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
