"""Worker threads, and the BLAS limit around them."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from charlstm.errors import CharlstmError
from charlstm.system import threads
from charlstm.system.threads import (
    Tasks,
    Workers,
    available_cores,
    check_cancelled,
    one_blas_thread,
    share,
)


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def two_blas_threads():
    """Two BLAS threads, so that a machine with one core can show the limit too."""
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, "blas"):
        assert set(blas_threads()) == {2}
        yield


def test_blas_is_held_to_one_thread_and_the_limit_is_lifted():
    with one_blas_thread():
        assert set(blas_threads()) == {1}
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


def test_blas_limit_is_lifted_after_an_error():
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert set(blas_threads()) == {2}


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_blas_limit_is_lifted_by_the_last_of_several_threads(first_to_leave):
    inside, end = threading.Event(), threading.Event()
    leave = [threading.Event(), threading.Event()]
    left = [threading.Event(), threading.Event()]

    def hold(k):
        with one_blas_thread():
            inside.set()
            leave[k].wait(10)
        left[k].set()
        end.wait(10)  # stays alive, as a trainer does between its steps

    threads = [threading.Thread(target=hold, args=(k,)) for k in range(2)]
    try:
        for thread in threads:
            inside.clear()
            thread.start()
            assert inside.wait(10)
            assert set(blas_threads()) == {1}
        leave[first_to_leave].set()
        assert left[first_to_leave].wait(10)
        assert set(blas_threads()) == {1}
        leave[1 - first_to_leave].set()
        assert left[1 - first_to_leave].wait(10)
        assert set(blas_threads()) == {2}
    finally:
        end.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_are_in_order_of_the_workers(count):
    workers = Workers(count)
    barrier = threading.Barrier(count)

    def work(k):
        barrier.wait(10)  # until all workers run
        time.sleep(0.002 * (count - k))
        return k * k, threading.get_ident()

    results = workers.run(work)
    workers.close()
    assert [square for square, _ in results] == [k * k for k in range(count)]
    assert len({thread for _, thread in results}) == count
    assert results[0][1] == threading.get_ident()


@pytest.mark.parametrize("failing", [0, 2])
def test_an_error_is_raised_when_all_workers_have_ended(failing):
    workers = Workers(3)
    done = []

    def work(k):
        if k == failing:
            raise ZeroDivisionError(k)
        time.sleep(0.02)
        done.append(k)

    with pytest.raises(ZeroDivisionError, match=str(failing)):
        workers.run(work)
    assert sorted(done) == [k for k in range(3) if k != failing]
    assert workers.run(lambda k: k) == [0, 1, 2]  # the workers can run again
    workers.close()


def work_until_cancelled(seconds=10):
    """Take that long, unless cancelled before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check_cancelled()
        time.sleep(0.001)


@pytest.mark.parametrize("failing", [0, 2])
def test_other_workers_are_cancelled_after_an_error(failing):
    workers = Workers(3)
    ended = []

    def work(k):
        if k == failing:
            raise ZeroDivisionError(k)
        try:
            work_until_cancelled()
        finally:
            ended.append(k)

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError, match=str(failing)):
        workers.run(work)
    assert time.monotonic() - began < 5 and len(ended) == 2
    check_cancelled()  # does nothing outside of a run
    workers.run(lambda k: check_cancelled())  # nor in the next run
    workers.close()


@pytest.mark.parametrize("is_waiting", [False, True])
def test_ctrl_c_cancels_all_workers(is_waiting):
    workers = Workers(2)
    started = threading.Event()

    def work(k):
        if k == 1:
            started.wait(10)
            os.kill(os.getpid(), signal.SIGINT)  # acts in the main thread, which is worker 0
            work_until_cancelled()
        started.set()
        if not is_waiting:
            work_until_cancelled()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        workers.run(work)
    assert time.monotonic() - began < 5
    workers.close()


def test_workers_do_not_warn_of_overflow_but_others_still_do():
    workers = Workers(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = workers.run(lambda k: float((np.float32([3e38]) * 10)[0]))
        with pytest.raises(RuntimeWarning):
            np.float32([3e38]) * 10
    workers.close()
    assert values == [np.inf, np.inf]


def test_closing_ends_the_threads():
    before = threading.active_count()
    workers = Workers(4)
    workers.run(lambda k: k)
    assert threading.active_count() > before
    workers.close()
    assert threading.active_count() == before


def test_threads_that_cannot_be_started_are_an_error_and_none_is_left(monkeypatch):
    before, start = threading.active_count(), threading.Thread.start

    def failing(thread):
        if thread.name.endswith("_1"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with pytest.raises(CharlstmError, match=r"3 worker threads \(can't start .*`workers=1`"):
        Workers(4)
    assert threading.active_count() == before


def test_a_forked_process_has_no_worker_threads():
    """Otherwise, it would wait for ever for threads that live in its parent."""
    workers = Workers(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if not child:
        signal.alarm(10)
        try:
            workers.run(lambda k: k)
        except CharlstmError as error:
            workers.close()
            os._exit(3 if "a forked process has no worker threads" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert workers.run(lambda k: k) == [0, 1]
    workers.close()


@pytest.mark.parametrize(("items", "count"), [(7, 3), (1, 1), (10, 10), (2, 5), (1000, 7)])
def test_shares_are_contiguous_and_nearly_equal(items, count):
    slices = [list(range(items))[share(items, count, k)] for k in range(count)]
    assert [item for each in slices for item in each] == list(range(items))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_available_cores_are_those_of_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "CGROUPS_OF_PROCESS", tmp_path / "none")
    monkeypatch.delattr("os.process_cpu_count", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {1, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert available_cores() == 1
    monkeypatch.setattr("os.process_cpu_count", lambda: 6, raising=False)
    assert available_cores() == 6


VERSION_1 = ("3:memory:/box\n2:cpu,cpuacct:/box/inner\n0::/", "cpu,cpuacct")
VERSION_2 = ("0::/box/inner", ".")
UNLIMITED = {"box/cpu.max": "max 100000", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("version", "files", "cores"),
    [
        (VERSION_2, {"box/inner/cpu.max": "200000 100000"}, 2),
        (VERSION_2, {"box/cpu.max": "150000 100000", "box/inner/cpu.max": "max 100000"}, 2),
        (VERSION_2, {"cpu.max": "10000 100000"}, 1),
        (VERSION_2, {"cpu.max": "9900000 100000"}, 8),
        (VERSION_2, UNLIMITED, 8),
        (VERSION_1, {"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"}, 3),
        (VERSION_1, {"box/cpu.cfs_quota_us": "50000", "box/cpu.cfs_period_us": "20000"}, 3),
        (VERSION_1, UNLIMITED, 8),
        (VERSION_1, {"box/inner/cpu.cfs_quota_us": "damaged"}, 8),
        (("", "."), {"cpu.max": "100000 100000"}, 8),
    ],
)
def test_available_cores_are_no_more_than_the_quota_of_a_container(
    tmp_path, monkeypatch, version, files, cores
):
    groups_of_process, folder = version
    (tmp_path / "self").write_text(groups_of_process)
    for name, content in files.items():
        path = tmp_path / "cgroup" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    monkeypatch.setattr(threads, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "CGROUPS_OF_PROCESS", tmp_path / "self")
    monkeypatch.setattr("os.process_cpu_count", lambda: 8, raising=False)
    assert available_cores() == cores


def test_an_idle_worker_does_the_tasks_of_the_others():
    tasks, workers, done = Tasks(), Workers(2), []
    added, helped = threading.Event(), threading.Event()

    def note(name):
        done.append((name, threading.get_ident()))

    def long():
        added.set()  # the task after this one has been added
        assert helped.wait(10)
        note("long")

    def short():
        note("short")
        helped.set()

    def work(k):
        if k == 0:
            tasks.work([lambda: added.wait(10)])
        else:
            tasks.work([long, short])

    workers.run(work)
    workers.close()
    (first, one), (second, other) = done
    assert (first, second) == ("short", "long")
    assert one != other


def test_a_task_that_fails_raises_in_its_worker():
    tasks = Tasks()
    with pytest.raises(ZeroDivisionError):
        tasks.work([lambda: None, lambda: 1 / 0])
