"""Errors of a full disk, and the advice that suits only them."""

import errno

# The error numbers of a full disk, and of a user who may not store more on the disk.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: OSError) -> bool:
    """Return whether an error says that the disk has no more room for the user."""
    return error.errno in FULL_DISK


def if_full(error: OSError, advice: str) -> str:
    """Return the advice if an error says that the disk is full, and "" if not."""
    return advice if is_full(error) else ""
