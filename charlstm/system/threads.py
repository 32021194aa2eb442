"""Worker threads, and a limit of one BLAS thread while they work.

The streams of a batch are independent until their gradients are summed. Threads that each compute
some streams are therefore faster than BLAS threads inside each matrix product. NumPy releases the
interpreter lock in matrix products and element-wise functions.
"""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")

CGROUPS = Path("/sys/fs/cgroup")
CGROUPS_OF_PROCESS = Path("/proc/self/cgroup")  # one a line: number:controllers:/path


def available_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    It is limited by the affinity of the process and by the CPU quota of its container. A quota of
    1.5 cores counts as 2: two threads at three quarters of their speed are faster than one thread.
    """
    count = getattr(os, "process_cpu_count", None)  # from Python 3.13 on
    if count is not None:
        cores = count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(_cpu_quotas(), default=cores))))


def _cpu_quotas() -> Iterator[float]:
    """Yield the quotas, in cores, of the control groups that this process is in, of version 1 or 2.

    A group's quota also holds for the groups below it.
    """
    lines: list[str] = []
    with suppress(OSError):  # not on Linux
        lines = CGROUPS_OF_PROCESS.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # "" for version 2. In a container the path may be that on the host, and not be there.
        group = CGROUPS / controllers
        for name in ("", *Path(path).parts[1:]):
            group /= name
            with suppress(OSError, ValueError):  # ValueError: "max", for no limit
                quota, period = (group / "cpu.max").read_text().split()
                yield int(quota) / int(period)
            with suppress(OSError, ValueError):
                quota = (group / "cpu.cfs_quota_us").read_text()
                period = (group / "cpu.cfs_period_us").read_text()
                if int(quota) > 0:  # -1 for no limit
                    yield int(quota) / int(period)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # inspects every loaded library, so only one is made


_lock = threading.Lock()
_holders = 0  # contexts of one_blas_thread that are open
_limit: Any = None  # set while there are holders


def _let_any_thread_control_blas() -> None:
    """Release the control over OpenBLAS from the thread that has it.

    From version 3.8 on, threadpoolctl obeys only the first thread that has set OpenBLAS, as long as
    that thread lives. Here one thread may set the limit and another lift it.
    """
    for library in _controller().lib_controllers:
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread.

    The limit holds for the process: where several contexts overlap, the last one to end lifts it.
    """
    global _holders, _limit
    with _lock:
        if _holders == 0:
            _let_any_thread_control_blas()
            _limit = _controller().limit(limits=1, user_api="blas")
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                _let_any_thread_control_blas()
                _limit.restore_original_limits()
                _let_any_thread_control_blas()  # so that the next context may be of any thread


class Cancelled(Exception):  # noqa: N818  # it is not an error
    """Raised by check_cancelled in workers whose result nobody waits for any more."""


_current = threading.local()  # is_cancelled: the event of the run that this thread works for


def check_cancelled() -> None:
    """Raise Cancelled if another worker of the same run has failed, or Ctrl-C has ended the run.

    Long work calls this between its pieces. Outside of Workers.run it does nothing.
    """
    is_cancelled: threading.Event | None = getattr(_current, "is_cancelled", None)
    if is_cancelled is not None and is_cancelled.is_set():
        raise Cancelled


class Workers:
    """A fixed number of threads that run the same function, each with its own worker number.

    Idle threads block. The caller's thread is worker 0, so that one worker needs no new thread.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "charlstm-worker") if count > 1 else None

    def run(self, function: Callable[[int], Result]) -> list[Result]:
        """Run function(k) for each worker k at once and return the results in order of k.

        An exception in a worker is raised here, after all workers have ended: those that call
        check_cancelled end at once. NumPy gives no warnings of overflow in the workers: the caller
        checks the resulting loss.
        """
        is_cancelled = threading.Event()

        def work(k: int) -> Result:
            outer = getattr(_current, "is_cancelled", None)
            _current.is_cancelled = is_cancelled
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # holds for this thread only
                    return function(k)
            except BaseException:
                is_cancelled.set()
                raise
            finally:
                _current.is_cancelled = outer

        if self._pool is None:
            return [work(0)]
        futures: list[Future[Result]] = []
        errors: list[BaseException | None] = []
        try:
            for k in range(1, self.count):
                futures.append(self._pool.submit(work, k))
            first = work(0)
            wait(futures)  # Ctrl-C may come here too
        except BaseException as error:
            is_cancelled.set()
            errors.append(error)
        # Wait even after an error: no worker may write to shared arrays afterwards.
        errors += [future.exception() for future in futures]
        raised = [error for error in errors if error is not None]
        if raised:
            raise next((e for e in raised if not isinstance(e, Cancelled)), raised[0])
        return [first, *(future.result() for future in futures)]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class Tasks:
    """A queue of tasks that any worker may do, so that a worker that is idle helps the others."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()  # append and popleft are thread-safe

    def work(self, more: Iterable[Callable[[], None]]) -> None:
        """Add tasks to the queue, then do tasks until none is waiting."""
        self._waiting.extend(more)
        while task := self._next():
            task()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None


def share(items: int, count: int, k: int) -> slice:
    """Return the k-th of `count` contiguous and nearly equal slices of range(items)."""
    return slice(items * k // count, items * (k + 1) // count)
