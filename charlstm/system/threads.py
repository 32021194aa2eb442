"""Worker threads, and a BLAS that is held to one thread while they work.

Streams are independent until their gradients are summed, so whole workers over streams beat threads
inside each product. NumPy releases the interpreter lock in products and element-wise functions.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks at every loaded library, so once only


_lock = threading.Lock()
_holders = 0
_limit: Any = None  # while there are holders


def _let_this_thread_control_blas() -> None:
    """From 3.8 on, threadpoolctl heeds only the thread that set OpenBLAS first, for as long as it
    lives; here the one that comes first and the one that leaves last may be two.
    """
    for library in _controller().lib_controllers:
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread; the limit is the process's, so the last to leave lifts it."""
    global _holders, _limit
    with _lock:
        if _holders == 0:
            _let_this_thread_control_blas()
            _limit = _controller().limit(limits=1, user_api="blas")
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _let_this_thread_control_blas()
                _limit.restore_original_limits()
                _let_this_thread_control_blas()  # and any other after it


class Workers:
    """A fixed number of threads that run the same function, each with its own number.

    Idle threads block. The caller's thread is worker 0, so one worker needs no thread.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "charlstm-worker") if count > 1 else None

    def run(self, function: Callable[[int], Result]) -> list[Result]:
        """function(k) for each worker k at once; the results in order. Errors are raised here.

        NumPy does not warn of overflows there: who calls looks at the resulting loss.
        """

        def work(k: int) -> Result:
            with np.errstate(over="ignore", invalid="ignore"):  # of this thread alone
                return function(k)

        if self._pool is None:
            return [work(0)]
        futures = [self._pool.submit(work, k) for k in range(1, self.count)]
        try:
            first = work(0)
        finally:
            # Also when worker 0 fails: nobody may still be writing to shared arrays afterwards.
            results = [future.exception() for future in futures]
        for error in results:
            if error is not None:
                raise error
        return [first, *(future.result() for future in futures)]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class Tasks:
    """Work that any worker may do, so that who is ready first helps the others."""

    def __init__(self) -> None:
        self._left: deque[Callable[[], None]] = deque()  # whose operations no thread interrupts

    def work(self, more: Iterable[Callable[[], None]]) -> None:
        """Add some, and work until none is left that nobody has begun."""
        self._left.extend(more)
        while task := self._next():
            task()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._left.popleft()
        except IndexError:
            return None


def share(items: int, count: int, k: int) -> slice:
    """The k-th of `count` nearly equal contiguous parts of range(items)."""
    return slice(items * k // count, items * (k + 1) // count)
