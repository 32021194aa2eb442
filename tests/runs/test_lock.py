"""The lock of a run's folder: one process at a time trains there, and the lock ends with it."""

import ctypes
import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from corpus_files import make_text
from run_files import SMALL

import charlstm
from charlstm import CharlstmError
from charlstm.runs import lock, lock_holder
from charlstm.runs.lock import LockedError, locked, new_folder

# The content of the lock file of a process that has ended.
STALE = {"pid": 2**31 - 1, "host": socket.gethostname(), "since": "", "process_started": "1"}

# Locks each folder whose path comes as a line, until another line comes.
HOLD = """
import sys, pathlib, charlstm.runs.lock as lock
for path in iter(sys.stdin.readline, ""):
    with lock.locked(pathlib.Path(path.strip())):
        print("locked", flush=True)
        sys.stdin.readline()
    print("released", flush=True)
"""


@pytest.fixture(params=["flock", "no flock"])
def system(request, monkeypatch):
    if request.param == "no flock":
        monkeypatch.setattr(lock, "flock", None)
    return request.param


class Holder:
    """Another process that locks folders, one at a time."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def lock(self, folder):
        self._send(folder, "locked")
        self.has_locked = True

    def release(self):
        self._send("", "released")
        self.has_locked = False

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def _send(self, line, answer):
        print(line, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == f"{answer}\n"


@pytest.fixture(scope="module")
def holders():
    """The processes started so far; all but the last have been killed."""
    started = []
    yield started
    for each in started:
        if each.is_running():
            each.kill()


@pytest.fixture
def holder(holders, tmp_path):
    """Another process that has locked tmp_path / "run"."""
    if not holders or not holders[-1].is_running():
        holders.append(Holder())
    holder = holders[-1]
    holder.lock(tmp_path / "run")
    yield holder
    if holder.is_running() and holder.has_locked:
        holder.release()


def snapshot(folder):
    return {
        path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }


def test_the_lock_names_its_process_and_is_removed_at_the_end(tmp_path, system):
    folder = tmp_path / "runs" / "x"
    with locked(folder):
        about = json.loads((folder / "lock").read_text())
        assert (about["pid"], about["host"]) == (os.getpid(), socket.gethostname())
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", about["since"])
    assert list(tmp_path.iterdir()) == []  # the folders that were made for it are gone too
    with pytest.raises(RuntimeError), locked(folder):
        (folder / "mine").touch()
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_a_locked_folder_is_refused_with_the_process_that_locked_it(tmp_path, system, holder):
    before = snapshot(tmp_path)
    pattern = (
        rf"run is being trained by process {holder.pid} on {re.escape(socket.gethostname())} "
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: wait"
    )
    for _ in range(2):
        with pytest.raises(LockedError, match=pattern), locked(tmp_path / "run"):
            pass
    assert snapshot(tmp_path) == before
    holder.release()
    with locked(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_does_not_count(tmp_path, system, holder):
    holder.kill()
    assert (tmp_path / "run" / "lock").exists()
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / "lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "run" / "lock").exists()


@pytest.mark.parametrize(
    ("changes", "is_locked"),
    [
        ({}, True),
        ({"pid": 2**31 - 1}, False),
        ({"pid": 2**90}, False),
        ({"process_started": "1"}, False),  # another process has got the same number
        ({"host": "elsewhere"}, True),  # its processes cannot be seen from here
    ],
)
def test_without_flock_a_lock_counts_while_its_process_runs(
    tmp_path, monkeypatch, holder, changes, is_locked
):
    monkeypatch.setattr(lock, "flock", None)
    path = tmp_path / "run" / "lock"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    if not is_locked:
        with locked(tmp_path / "run"):
            return
    with pytest.raises(LockedError), locked(tmp_path / "run"):
        pass


class Kernel32:
    """The calls to Windows that tell whether a process is running."""

    def __init__(self, handle, error=0, exit_code=0):
        self.handle, self.error, self.exit_code, self.closed = handle, error, exit_code, []

    def OpenProcess(self, access, inherits, pid):  # noqa: N802
        assert (access, inherits, pid) == (0x1000, False, 42)
        return self.handle

    def GetLastError(self):  # noqa: N802
        return self.error

    def GetExitCodeProcess(self, handle, code):  # noqa: N802
        code._obj.value = self.exit_code
        return 1

    def CloseHandle(self, handle):  # noqa: N802
        self.closed.append(handle)


@pytest.mark.parametrize(
    ("kernel32", "runs"),
    [
        (Kernel32(7, exit_code=259), True),
        (Kernel32(7, exit_code=1), False),  # ended, but another program has it open
        (Kernel32(0, error=5), True),  # of another user
        (Kernel32(0, error=87), False),  # no such process
    ],
)
def test_windows_says_whether_the_process_of_a_lock_is_running(monkeypatch, kernel32, runs):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    holder = lock_holder.Holder(42, socket.gethostname(), "", None)
    assert lock_holder.is_running(holder) is runs
    assert kernel32.closed == [7] * (kernel32.handle == 7)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"pid": "x"}',
        '{"pid": true}',
        '{"pid": ' + "[" * 9999,
        json.dumps(STALE | {"host": [1]}),
        json.dumps(STALE | {"process_started": 7}),
    ],
)
def test_a_lock_file_that_names_no_process_does_not_count(tmp_path, system, content):
    (tmp_path / "lock").write_text(content)
    if system == "no flock":  # a process may be about to write its name
        with pytest.raises(LockedError, match="by another process"), locked(tmp_path):
            pass
        os.utime(tmp_path / "lock", (0, 0))
    with locked(tmp_path):
        pass


def test_a_file_system_without_flock_is_like_a_system_without_it(tmp_path, monkeypatch, holder):
    def refuse(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock, "flock", refuse)
    with pytest.raises(LockedError, match=f"process {holder.pid} "), locked(tmp_path / "run"):
        pass
    with locked(tmp_path / "other"):
        assert (tmp_path / "other" / "lock").exists()


def test_one_of_many_that_lock_at_once_succeeds(tmp_path, system):
    barrier, held, refused = threading.Barrier(12), [], []

    def take(n):
        barrier.wait()
        try:
            with locked(tmp_path / "run"):
                held.append(n)
                barrier.wait()
        except LockedError:
            refused.append(n)
            barrier.wait()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(take, range(12)))
    assert (len(held), len(refused)) == (1, 11)


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    barrier, given = threading.Barrier(8), []

    def begin(n):
        barrier.wait()
        with new_folder("my.txt", None, False) as folder:
            given.append(str(folder))
            barrier.wait()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    assert sorted(given) == ["runs/my", *(f"runs/my-{n}" for n in range(2, 9))]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_is_locked_over_and_over_is_never_locked_twice(tmp_path):
    """Also when one opens the file that the other is about to remove."""
    holders, most = [], []

    def work(n):
        done = 0
        while done < 40:
            try:
                with locked(tmp_path / "run"):
                    holders.append(n)
                    most.append(len(holders))
                    holders.remove(n)
                    done += 1
            except LockedError:
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(most) == 160 and max(most) == 1


@pytest.mark.parametrize("missing", [FileExistsError, FileNotFoundError])
def test_a_folder_that_is_removed_while_it_is_made_is_made_again(tmp_path, monkeypatch, missing):
    """Path.mkdir fails if others remove and make the folder between two of its steps."""
    made, mkdir = [], Path.mkdir

    def fail_once(path, *arguments, **options):
        mkdir(path, *arguments, **options)
        made.append(path)
        if len(made) == 1:
            raise missing(errno.EEXIST, "as another made it")

    monkeypatch.setattr(Path, "mkdir", fail_once)
    with locked(tmp_path / "run"):
        assert made == [tmp_path / "run"] * 2


@pytest.mark.parametrize("run", ["file", "to a file", "to nothing", "file/run", "to nothing/run"])
def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, run):
    (tmp_path / "file").write_text("text")
    (tmp_path / "to a file").symlink_to(tmp_path / "file")
    (tmp_path / "to nothing").symlink_to(tmp_path / "missing")
    with (
        pytest.raises(
            CharlstmError,
            match=f"{run}: the folder cannot be made: .* is not a folder: name another$",
        ),
        locked(tmp_path / run),
    ):
        pass
    assert (tmp_path / "file").read_text() == "text" and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("arguments", [["--resume"], ["TEXT"], ["TEXT", "--overwrite"]])
def test_a_second_command_is_refused_and_writes_nothing(tmp_path, text_file, cli, arguments):
    folder = tmp_path / "run"
    small = {**SMALL, "steps": 3}
    charlstm.train(text_file, folder, **small)
    arguments = [text_file if a == "TEXT" else a for a in arguments]
    seen = []

    def observe(event):
        if event["event"] == "step" and not seen:
            before = snapshot(tmp_path)
            result = cli("train", "-r", folder, *arguments, code=1)
            seen.append(result.stderr)
            assert result.stdout == "" and snapshot(tmp_path) == before

    charlstm.train(text_file, folder, overwrite=True, observer=observe, **small)
    line = rf"charlstm: {re.escape(str(folder))} is being trained by process {os.getpid()} on .*\n"
    assert len(seen) == 1 and re.fullmatch(line, seen[0])
    assert not (folder / "lock").exists()


def test_a_run_that_waits_for_standard_input_has_locked_its_folder(tmp_path, cli):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "charlstm", "train", "-", "-r", folder, "--steps", "2"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (folder / "lock").exists() or not (folder / "lock").read_text():
        assert process.poll() is None
    result = cli("train", "-", "-r", folder, code=1, input=make_text(20))
    assert f"is being trained by process {process.pid} " in result.stderr
    process.communicate(make_text(20))
    assert process.returncode == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "best.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "report.html",
        "stdin-1.txt",
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_the_lock_is_removed_after_every_exception(tmp_path, text_file, error):
    def fail(event):
        if event["event"] == "step":
            raise error

    with pytest.raises(type(error)):
        charlstm.train(text_file, tmp_path / "run", observer=fail, **SMALL)
    assert (tmp_path / "run" / "last.safetensors").exists()
    assert not (tmp_path / "run" / "lock").exists()


def test_a_folder_that_cannot_be_locked_is_an_error(tmp_path, text_file, monkeypatch):
    real = os.open

    def refuse(path, *more, **options):
        if str(path).endswith("lock"):
            raise PermissionError(13, "Permission denied")
        return real(path, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CharlstmError, match="run: the folder cannot be written: Permission denied"):
        charlstm.train(text_file, tmp_path / "run", **SMALL)
    monkeypatch.setattr(os, "open", real)
    full = OSError(28, "No space left on device")

    def write(descriptor, data):
        raise full

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(
        CharlstmError, match="run: the folder cannot be written: No space left on device"
    ):
        charlstm.train(text_file, tmp_path / "run", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_itself_as_the_text_is_refused_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with new_folder("loop", None, overwrite=False) as folder:
        assert folder == Path("runs/loop")
    with pytest.raises(CharlstmError, match=r"cannot read .*loop: Too many levels"):
        charlstm.train("loop", **SMALL)


def test_a_deleted_working_directory_is_refused_where_a_path_is_relative_to_it(
    text_file, tmp_path, monkeypatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    places = ((text_file, None), ("text", None), (text_file, "run"), ("text", tmp_path / "run"))
    for text, folder in places:
        with pytest.raises(CharlstmError, match="the working directory was deleted: change to"):
            charlstm.train(text, folder, **SMALL)
    assert list(tmp_path.iterdir()) == []
    charlstm.train(text_file, tmp_path / "run", **SMALL)


@pytest.mark.parametrize("content", ["mine", "[]", '{"mine": 1}', "pipe", "link"])
def test_a_file_of_the_users_that_is_named_lock_is_refused_and_stays(tmp_path, system, content):
    path = tmp_path / "run" / "lock"
    path.parent.mkdir()
    (tmp_path / "file").write_text("")
    if content == "pipe":
        os.mkfifo(path)
    elif content == "link":
        path.symlink_to(tmp_path / "file")
    else:
        path.write_text(content)

    def facts():  # all but the time of the last access, as the lock is read
        found = path.lstat()
        return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns

    before = facts()
    with (
        pytest.raises(CharlstmError, match="lock was not written by charlstm"),
        locked(path.parent),
    ):
        pass
    assert facts() == before and (tmp_path / "file").read_text() == ""


def test_a_lock_that_replaced_a_stale_one_meanwhile_is_not_removed(tmp_path, monkeypatch):
    """Without flock: two processes find the same stale lock, and one of them is slower."""
    monkeypatch.setattr(lock, "flock", None)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").write_text(json.dumps(STALE))
    real, judged = lock._is_locked, []
    with ExitStack() as faster:

        def look(path):
            is_locked = real(path)
            if not judged:
                judged.append(is_locked)
                faster.enter_context(
                    locked(folder)
                )  # between the slower one's look and its removal
            return is_locked

        monkeypatch.setattr(lock, "_is_locked", look)
        with pytest.raises(LockedError, match=f"by process {os.getpid()} "), locked(folder):
            pass
        assert judged == [False]
        assert json.loads((folder / "lock").read_bytes())["pid"] == os.getpid()
    assert list(folder.iterdir()) == []


def test_only_one_process_removes_a_stale_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "flock", None)
    path = tmp_path / "lock"
    path.write_text(json.dumps(STALE))
    claim = tmp_path / f"lock.{lock._fingerprint(path)}.tmp"
    claim.touch()
    with pytest.raises(LockedError), locked(tmp_path):
        pass
    assert claim.exists() and path.exists()
    os.utime(claim, (0, 0))  # of a process that was killed
    with locked(tmp_path):
        assert not claim.exists()


@pytest.mark.parametrize("change", ["another run", "no lock"])
def test_a_run_whose_folder_was_replaced_writes_nothing_into_the_new_folder(
    text_file, tmp_path, system, change
):
    folder, moved = tmp_path / "run", tmp_path / "moved"

    def replace(event):
        if event["event"] == "step" and event["step"] == 15:
            folder.rename(moved)
            if change == "another run":
                charlstm.train(text_file, folder, **SMALL | {"seed": 5, "steps": 3})
            else:
                folder.mkdir()
            before.update(snapshot(folder))

    before = {}
    with pytest.raises(
        CharlstmError, match=r"lock was removed or replaced during .* saved at its new place"
    ):
        charlstm.train(text_file, folder, observer=replace, **SMALL)
    assert snapshot(folder) == before
    if system == "no flock":  # The lock in the moved folder names this process, which goes on.
        (moved / "lock").unlink()
    assert charlstm.train(run=moved, resume=True).steps == 60


def test_the_lock_of_another_process_in_a_new_folder_is_not_removed(tmp_path, system):
    folder = tmp_path / "run"
    with locked(folder):
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        (folder / "lock").write_text(json.dumps(STALE))
    assert json.loads((folder / "lock").read_text()) == STALE


def test_a_run_whose_folder_is_missing_for_a_while_is_saved_afterwards(text_file, tmp_path):
    folder, moved = tmp_path / "run", tmp_path / "moved"

    def move(event):
        if event["event"] == "step" and event["step"] == 15:
            folder.rename(moved)
        if event["event"] == "step" and event["step"] == 35:
            moved.rename(folder)

    assert charlstm.train(text_file, folder, observer=move, **SMALL).steps == 60
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 60
    assert not (folder / "lock").exists()


def test_a_run_whose_folder_was_removed_says_so(text_file, tmp_path):
    folder = tmp_path / "run"

    def remove(event):
        if event["event"] == "step" and event["step"] == 15:
            shutil.rmtree(folder)

    with pytest.raises(
        CharlstmError, match=r"run: the folder was removed or moved during training.*up to step 10$"
    ):
        charlstm.train(text_file, folder, observer=remove, **SMALL)
    assert not folder.exists()
