"""Worker threads, and the limitation of BLAS to one thread while they work.

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
from typing import Any, Literal, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from charlstm.config import MAX_WORKERS
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.system.wording import counted
from charlstm.untrusted import whole_number

Result = TypeVar("Result")

CGROUPS = Path("/sys/fs/cgroup")
CGROUPS_OF_PROCESS = Path("/proc/self/cgroup")  # each line is number:controllers:/path


def available_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    The number is limited by the affinity of the process and by the CPU quota of its container. A
    quota of 1.5 cores counts as 2: two threads at three quarters of their speed are faster than one
    thread.
    """
    count = getattr(os, "process_cpu_count", None)  # new in Python 3.13
    if count is not None:
        cores = count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, math.ceil(min(_cpu_quotas(), default=cores))))


def worker_count(workers: int | Literal["auto"]) -> int:
    """Return the number of threads that an argument `workers` asks for; "auto": one per core."""
    if isinstance(workers, str) and workers == "auto":
        return available_cores()
    if not 1 <= whole_number("workers", workers) <= MAX_WORKERS:
        raise ArgumentError(f"`workers` must be 1 to {MAX_WORKERS:,}, not {workers}")
    return int(workers)


def _cpu_quotas() -> Iterator[float]:
    """Yield the CPU quotas, in cores, of the control groups (version 1 or 2) of this process.

    The groups are those that the process is in and all their parents, whose quotas apply as well.
    """
    lines: list[str] = []
    with suppress(OSError):  # Only Linux has /proc/self/cgroup.
        lines = CGROUPS_OF_PROCESS.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # `controllers` is "" in version 2. In a container, `path` may be a path on the host, which
        # need not exist in the container.
        group = CGROUPS / controllers
        for name in ("", *Path(path).parts[1:]):
            group /= name
            with suppress(OSError, ValueError):  # ValueError: the file says "max" for no limit
                quota, period = (group / "cpu.max").read_text().split()
                yield int(quota) / int(period)
            with suppress(OSError, ValueError):
                quota = (group / "cpu.cfs_quota_us").read_text()
                period = (group / "cpu.cfs_period_us").read_text()
                if int(quota) > 0:  # A quota of -1 means no limit.
                    yield int(quota) / int(period)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # Cached: the constructor inspects every loaded library.


_lock = threading.Lock()
_open_contexts = 0  # number of open contexts of one_blas_thread
_limit: Any = None  # the limit in force while _open_contexts is above 0


def _let_any_thread_control_blas() -> None:
    """Let every thread change the number of OpenBLAS threads.

    Since version 3.8, threadpoolctl lets only the first thread that changed the number of OpenBLAS
    threads change that number again, as long as that thread lives. In one_blas_thread, one thread
    may set the limit and another thread may lift it.
    """
    for library in _controller().lib_controllers:
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release(force=True)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread while the context is open.

    The limit holds for the process. If several contexts overlap, the limit is lifted when the last
    of them ends.
    """
    global _open_contexts, _limit
    with _lock:
        if _open_contexts == 0:
            _let_any_thread_control_blas()
            _limit = _controller().limit(limits=1, user_api="blas")
        _open_contexts += 1
    try:
        yield
    finally:
        with _lock:
            _open_contexts -= 1
            if _open_contexts == 0:
                _let_any_thread_control_blas()
                _limit.restore_original_limits()
                # Another thread may open the next context, and must then be able to set the limit.
                _let_any_thread_control_blas()


class Cancelled(Exception):  # noqa: N818  # a cancellation is not an error
    """Raised by check_cancelled in a worker whose result is not needed any more."""


# Each thread has its own attribute `is_cancelled`: the event that cancels the call of Workers.run
# for which the thread works.
_current = threading.local()


def check_cancelled() -> None:
    """Raise Cancelled if another worker of this call of Workers.run failed, or after Ctrl-C.

    Long work calls this function from time to time. Outside of Workers.run it does nothing.
    """
    is_cancelled: threading.Event | None = getattr(_current, "is_cancelled", None)
    if is_cancelled is not None and is_cancelled.is_set():
        raise Cancelled


class Workers:
    """A fixed number of threads that run the same function, each with its own worker number.

    Idle threads sleep, but for a moment after run_together. The caller's thread is worker 0: a
    single worker needs no new thread.
    CharlstmError if the system starts fewer threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._is_closed = False
        self._process = os.getpid()
        self._pool = _running_threads(count - 1) if count > 1 else None
        self._together: list[Future[None]] = []  # the calls of run_together that may not have ended

    def run(self, function: Callable[[int], Result]) -> list[Result]:
        """Run function(k) in parallel for each worker k, and return the results in order of k.

        If a worker raises an exception, this method raises it after all workers have ended. Workers
        that call check_cancelled end early. NumPy's warnings of overflow are off in the workers:
        the caller checks whether the loss is finite.
        """
        self._require_open()
        is_cancelled = threading.Event()

        def work(k: int) -> Result:
            outer = getattr(_current, "is_cancelled", None)
            _current.is_cancelled = is_cancelled
            try:
                # np.errstate applies to the current thread only, so each worker sets it.
                with np.errstate(over="ignore", invalid="ignore"):
                    return function(k)
            except BaseException:
                is_cancelled.set()
                raise
            finally:
                _current.is_cancelled = outer

        futures: list[Future[Result]] = []
        errors: list[BaseException | None] = []
        try:
            futures += (self._submit(work, k) for k in range(1, self.count))
            first = work(0)
            # Ctrl-C raises KeyboardInterrupt during the wait, or after it if the signal came just
            # before the thread fell asleep. So no wait is long.
            while wait(futures, timeout=0.5).not_done:
                continue
        except BaseException as error:
            is_cancelled.set()
            errors.append(error)
        # Even after an error, this method waits for all workers: none of them may write to shared
        # arrays after it returns.
        _raise_first([*errors, *(future.exception() for future in futures)])
        return [first, *(future.result() for future in futures)]

    def run_together(
        self,
        begin: Callable[[], Iterable[int]],
        function: Callable[[int], None],
        stop: Callable[[], None],
    ) -> None:
        """Run function(k) for each worker k, where the workers wait for one another's results.

        function(0) returns when all workers have done their work. The threads of the others may
        then stay in `function`, ready for the next call of this method. begin() begins the work,
        and returns the workers whose threads did not stay; they get new ones.

        If a worker raises an exception, this method calls `stop`, by which all workers return or
        raise Cancelled, and raises the exception after they have returned.
        """
        self._require_open()

        def work(k: int) -> None:
            try:
                function(k)
            except BaseException:
                stop()
                raise

        self._together = [future for future in self._together if not future.done()]
        try:
            for k in begin():
                self._together.append(self._submit(work, k))
            work(0)
        except BaseException as error:
            stop()
            _raise_first([error, *(future.exception() for future in self._together)])

    def _submit(self, function: Callable[[int], Result], k: int) -> "Future[Result]":
        assert self._pool is not None  # a worker above 0
        return self._pool.submit(function, k)

    def _require_open(self) -> None:
        if self._is_closed:
            raise CharlstmError("`close` has ended the worker threads: make a new Trainer")
        if self._process != os.getpid():  # a thread lives in the process that started it
            raise CharlstmError("a forked process has no worker threads: make a new Trainer there")

    def close(self) -> None:
        """End the threads; `run` is refused from now on."""
        self._is_closed = True
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown()


def _raise_first(errors: Iterable[BaseException | None]) -> None:
    """Raise the first error that is not Cancelled, else the first of all, if there is one."""
    raised = [error for error in errors if error is not None]
    if raised:
        raise next((e for e in raised if not isinstance(e, Cancelled)), raised[0])


def _running_threads(count: int) -> ThreadPoolExecutor:
    """Return a pool all of whose threads run.

    By itself, a pool starts a thread when there is work for it. If the thread cannot be started,
    the work stays in the queue of the pool, and another thread does it later, beside other work.
    """
    pool = ThreadPoolExecutor(count, "charlstm-worker")
    all_run = threading.Barrier(count + 1)
    try:
        for _ in range(count):
            pool.submit(all_run.wait)
        all_run.wait()
    except BaseException as error:
        all_run.abort()
        pool.shutdown(cancel_futures=True)
        if isinstance(error, RuntimeError):
            raise CharlstmError(
                f"the system cannot start {counted(count, 'worker thread')} ({error}): end other "
                "programs, or raise its limits (ulimit -u, ulimit -v); training with `workers=1` "
                "needs no further thread"
            ) from error
        raise
    return pool


class Tasks:
    """A queue of tasks that workers share: an idle worker does tasks that other workers added."""

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
    """Return slice k, from 0, of range(items) cut into `count` slices of nearly equal length."""
    return slice(items * k // count, items * (k + 1) // count)
