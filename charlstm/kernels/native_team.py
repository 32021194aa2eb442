"""Threads that do native work together: see native_team.h."""

import ctypes
from typing import Any

import numpy as np

from charlstm.arrays import Array
from charlstm.system.threads import Cancelled, available_cores

TEAM_INTS = THREAD_INTS = 16  # the sizes of two structs of native_team.h, in ints
MEMBERS, STOPPED = 0, 4  # the indices of fields of the struct Team
NEEDED = 1  # and of the struct Thread
CACHE_LINE = 64  # bytes
# Seconds for which an idle thread keeps its core, ready for the next step. Python takes about 0.5
# milliseconds between two steps, and to wake up a thread of a virtual machine takes another one.
PATIENCE = 0.002


class Teams:
    """The memory in which the threads of some work meet, and the calls that make one step of it.

    workers: the number of threads. teams: the number of groups of threads; a divisor of `workers`.
    """

    def __init__(self, workers: int, teams: int) -> None:
        self._members = np.array([workers, *teams * [workers // teams]], np.int32)
        self._meetings = aligned((1 + teams) * TEAM_INTS, np.int32).reshape(-1, TEAM_INTS)
        self._threads = aligned(workers * THREAD_INTS, np.int32).reshape(-1, THREAD_INTS)
        # fields of the structs of native code that describe the work
        self.arrays = {"meetings": self._meetings, "threads": self._threads}
        self.patience = PATIENCE if workers <= available_cores() else 0

    def begin(self, function: Any, work: ctypes.Structure) -> list[int]:
        """Begin a step by a native function, and return the workers that need a thread to `run`.

        Worker 0 needs the thread of the caller, and is not in the list.
        """
        self._meetings[...] = 0
        self._meetings[:, MEMBERS] = self._members
        function(ctypes.addressof(work))
        needed: list[int] = np.flatnonzero(self._threads[:, NEEDED]).tolist()
        return needed

    def run(self, function: Any, work: ctypes.Structure, worker: int) -> None:
        """Make the share of a worker by a native function. All workers must run at the same time.

        For worker 0, return when all workers have done their shares; Cancelled if the step was
        stopped. For other workers, also make their shares of the steps that begin soon after, and
        return when none has begun for PATIENCE seconds, or after `stop`.
        """
        if not function(ctypes.addressof(work), worker) and worker == 0:
            raise Cancelled

    def stop(self) -> None:
        """Let all workers return, as one of them will not come: see meet in native_team.h."""
        self._meetings[:, STOPPED] = 1


def aligned(count: int, dtype: type) -> Array:
    """Return an array of zeros that starts at the start of a cache line."""
    size = np.dtype(dtype).itemsize
    array: Array = np.zeros(count + CACHE_LINE // size, dtype)
    start = -array.ctypes.data % CACHE_LINE // size
    return array[start : start + count]
