"""Full disks, for a while or for good: training goes on, and no saved work is lost."""

import errno
import gzip
import os
import re
import resource
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest
import run_files
from corpus_files import make_text
from run_files import (
    BEST,
    LAST,
    assert_equal_runs,
    command_options,
    contents,
    weights_of,
)

import charlstm
from charlstm import CharlstmError
from charlstm.errors import UnwritableError
from charlstm.runs import saver
from charlstm.runs.checkpoint import load_checkpoint

# Without the report, which has a notice of its own if it cannot be written.
SMALL = run_files.SMALL | {"report": False}


@contextmanager
def largest_file(size):
    """Limit the size of all files that this process writes, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def full_between(first, last, events, size=6_000):
    """An observer that keeps events, and limits the size of files from step `first` to `last`.

    Without a last step, use it within largest_file, which lifts the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def observe(event):
        events.append(event)
        if event["event"] == "step" and event["step"] in (first, last):
            limit = size if event["step"] == first else soft
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    return observe


def notices_of(events):
    return [event["text"] for event in events if event["event"] == "notice"]


@pytest.mark.parametrize(
    ("first", "last"),
    [(5, 15), pytest.param(11, 29, marks=pytest.mark.slow), (25, 52), (3, 57)],
)
def test_files_that_cannot_be_written_are_written_later(
    uninterrupted, overfitting_text, tmp_path, first, last
):
    """Checkpoints exceed the limit at once, the metrics after a while."""
    folder, events = tmp_path / "run", []
    run = charlstm.train(
        overfitting_text, folder, observer=full_between(first, last, events), **SMALL
    )
    assert run.reason == "finished"
    assert_equal_runs(folder, uninterrupted.folder)
    failed, done = [text for text in notices_of(events) if "metrics.jsonl" not in text]
    assert re.fullmatch(
        r".*(best|last)\.safetensors: cannot write \d+,\d+ bytes: File too large; training goes "
        r"on, and the next save tries to write the file again",
        failed,
    )
    step = -(-last // 10) * 10
    assert done == f"{folder}: saving works again; the run is saved up to step {step}"


def test_the_files_written_before_stay_as_they_were(uninterrupted, overfitting_text, tmp_path):
    folder, seen = tmp_path / "run", []
    limit = full_between(23, 47, [])

    def observe(event):
        if event["event"] == "notice" or (event["event"] == "step" and event["step"] in (23, 46)):
            seen.append({name: (folder / name).read_bytes() for name in (BEST, LAST)})
            names = {path.name for path in folder.iterdir()}
            assert names == {BEST, LAST, "metrics.jsonl", "lock"}
        limit(event)

    charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
    before, *during, _ = seen
    assert len(during) >= 2 and all(files == before for files in during)
    assert_equal_runs(folder, uninterrupted.folder)


def test_a_disk_that_stays_full_is_an_error_with_the_saved_step(
    uninterrupted, overfitting_text, tmp_path, cli
):
    folder = tmp_path / "run"
    with pytest.raises(UnwritableError) as caught, largest_file(10**9):
        charlstm.train(overfitting_text, folder, observer=full_between(25, None, []), **SMALL)
    assert re.fullmatch(
        rf"{re.escape(str(folder))}/\w+\.safetensors: cannot write [\d,]+ bytes: File too large; "
        rf"the run is saved up to step 20: remove the cause, then `charlstm\.train\(run="
        rf'"{re.escape(str(folder))}", resume=True\)`',
        str(caught.value),
    )
    assert load_checkpoint(folder / LAST).summary["step"] == 20
    with largest_file(6_000):
        error = cli("train", "-r", folder, "--resume", "--quiet", code=1).stderr
    assert re.fullmatch(rf"charlstm: {re.escape(str(folder / LAST))}: cannot write .*\n", error)
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "remove the cause"),
        (errno.ENOENT, "remove the cause"),
    ],
)
def test_room_is_asked_for_only_if_there_is_none(
    overfitting_text, tmp_path, monkeypatch, code, advice
):
    def refuse(path):
        raise OSError(code, os.strerror(code))

    def observe(event):
        if event["event"] == "step" and event["step"] == 25:
            monkeypatch.setattr("charlstm.runs.checkpoint.atomic_write", refuse)

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnwritableError) as caught:
        charlstm.train(overfitting_text, "run", observer=observe, **SMALL)
    assert re.fullmatch(
        rf"run/\w+\.safetensors: cannot write [\d,]+ bytes: {os.strerror(code)}; "
        rf"the run is saved up to step 20: {advice}, then "
        r'`charlstm\.train\(run="run", resume=True\)`',
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (
            False,
            r"the run is saved up to step 20: remove the cause, then .*resume=True\)`",
        ),
        (True, r"the run cannot be resumed, as last\.safetensors was removed or moved"),
    ],
)
def test_a_checkpoint_that_became_a_folder_is_an_error_which_says_if_the_run_is_saved(
    overfitting_text, tmp_path, removed, message
):
    folder = tmp_path / "run"

    def observe(event):
        if event["event"] == "step" and event["step"] == 25:
            (folder / BEST).rename(tmp_path / "moved")
            (folder / BEST).mkdir()
            if removed:
                (folder / LAST).unlink()

    with pytest.raises(
        UnwritableError, match=rf"not a regular file but a folder: name another; {message}$"
    ):
        charlstm.train(overfitting_text, folder, observer=observe, **SMALL)


def test_a_signal_while_the_disk_is_full_is_an_error(uninterrupted, overfitting_text, tmp_path):
    folder = tmp_path / "run"
    limit = full_between(25, None, [])

    def observe(event):
        limit(event)
        if event["event"] == "step" and event["step"] == 34:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(UnwritableError, match="step 20: remove the cause"), largest_file(10**9):
        charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)


def test_a_disk_without_room_is_an_error_before_the_first_step(overfitting_text, tmp_path, cli):
    charlstm.text.corpus.open_corpus([overfitting_text])  # the cache has room
    options = command_options(**run_files.SMALL)
    with largest_file(3_000):
        error = cli("train", overfitting_text, "-r", tmp_path / "run", *options, code=1).stderr
    line = error.splitlines()[-1]
    assert re.search(r"run/last\.safetensors: cannot write [\d,]+ bytes: File too large$", line)
    assert list(tmp_path.iterdir()) == []


def test_metrics_that_cannot_be_written_are_an_error_before_the_first_step(
    overfitting_text, tmp_path, monkeypatch
):
    def make_folder(folder, keep):
        (folder / "metrics.jsonl").mkdir()

    monkeypatch.setattr("charlstm.runs.run.clear_folder", make_folder)
    with pytest.raises(CharlstmError, match=r"metrics\.jsonl: c"):
        charlstm.train(overfitting_text, tmp_path / "run", **SMALL)


def test_metrics_that_are_lost_at_the_end_are_an_error_but_the_model_is_saved(
    uninterrupted, overfitting_text, tmp_path
):
    folder = tmp_path / "run"

    def observe(event):
        if event["event"] == "step" and event["step"] == 42:
            (folder / "metrics.jsonl").rename(tmp_path / "moved")
            (folder / "metrics.jsonl").mkdir()

    message = (
        r"metrics\.jsonl: cannot write [\d,]+ bytes: Is a directory; the last \d+ events are lost, "
        "but the model is saved"
    )
    with pytest.raises(UnwritableError, match=message):
        charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
    assert weights_of(folder / LAST) == weights_of(uninterrupted.folder / LAST)
    assert weights_of(folder / BEST) == weights_of(uninterrupted.folder / BEST)


def test_metrics_that_cannot_be_written_for_a_while_cause_two_notices(
    uninterrupted, overfitting_text, tmp_path
):
    folder, events = tmp_path / "run", []

    def observe(event):
        events.append(event)
        metrics, moved = folder / "metrics.jsonl", tmp_path / "moved"
        if event["event"] == "step" and event["step"] == 22:
            metrics.rename(moved)
            metrics.mkdir()
        if event["event"] == "step" and event["step"] == 37:
            metrics.rmdir()
            moved.rename(metrics)

    charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
    failed, done = notices_of(events)
    assert "metrics.jsonl: cannot write" in failed and failed.endswith(
        " bytes: Is a directory; training goes on, the events are written later"
    )
    assert done == f"{folder}/metrics.jsonl: all events are written now"
    assert_equal_runs(folder, uninterrupted.folder)


def test_checkpoints_of_keep_every_wait_too_until_they_are_too_many(
    overfitting_text, tmp_path, monkeypatch
):
    options = {**SMALL, "keep_every": 3, "eval_every": 20}
    expected = charlstm.train(overfitting_text, tmp_path / "expected", **options).path
    folder, events = tmp_path / "run", []
    charlstm.train(overfitting_text, folder, observer=full_between(4, 15, events), **options)
    names = sorted(path.name for path in expected.glob("step-*"))
    assert sorted(path.name for path in folder.glob("step-*")) == names
    for name in names:
        assert weights_of(folder / name) == weights_of(expected / name)
    monkeypatch.setattr(saver, "MAX_WAITING", 2)
    with pytest.raises(
        UnwritableError, match=r"step-000006.* could not be written; all other files are s"
    ):
        charlstm.train(
            overfitting_text, tmp_path / "few", observer=full_between(4, 15, events), **options
        )
    left = sorted(path.name for path in (tmp_path / "few").glob("step-*"))
    assert set(names) - set(left) == {"step-000006.safetensors"}  # of those of steps 6, 9 and 12
    assert weights_of(tmp_path / "few" / LAST) == weights_of(expected / LAST)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB. If none may be mounted, the tests above must suffice."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if os.name == "nt" or subprocess.run(command, capture_output=True).returncode:
        pytest.xfail("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_run_continues_on_a_full_disk_and_is_equal_at_its_end(
    uninterrupted, overfitting_text, small_disk
):
    folder, filler, events = small_disk / "run", small_disk / "filler", []

    def observe(event):
        events.append(event)
        if event["event"] == "step" and event["step"] == 13:
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))
        if event["event"] == "step" and event["step"] == 34:
            filler.unlink()

    charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
    notices = notices_of(events)
    assert any("No space left on device; training goes on" in text for text in notices)
    assert notices[-1] == f"{folder}: saving works again; the run is saved up to step 40"
    assert_equal_runs(folder, uninterrupted.folder)


def test_commands_end_at_once_on_a_read_only_disk(overfitting_text, small_disk, tmp_path, cli):
    run = charlstm.train(overfitting_text, small_disk / "run", **{**SMALL, "steps": 10}).path
    before = contents(run)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for arguments in (
        [overfitting_text, "-r", small_disk / "new"],
        [overfitting_text, "-r", run, "--overwrite"],
        ["-r", run, "--resume"],
        ["-r", run, "--resume", "--steps", "20"],
    ):
        error = cli("train", *arguments, "--quiet", code=1).stderr
        assert re.fullmatch(
            r"charlstm: .*: the folder (cannot be made|cannot be written): Read-only.*\n", error
        )
    assert contents(run) == before


def test_standard_input_that_does_not_fit_is_an_error(small_disk, cli):
    error = cli("train", "-", "-r", small_disk / "run", input=make_text(14_000), code=1).stderr
    assert re.fullmatch(r"charlstm: cannot write .*/stdin-1\.txt: No space left on device\n", error)
    assert list(small_disk.iterdir()) == []


def test_the_copy_of_standard_input_is_removed_if_the_run_does_not_fit(small_disk, cli):
    """The disk has room for the text, which is compressed, but not for the first checkpoint."""
    packed = gzip.compress(make_text(2_000).encode())
    options = ("-r", small_disk / "run", "--hidden", 256, "--steps", 5, "--quiet")
    error = cli("train", "-", *options, input=packed, code=1).stderr
    assert re.fullmatch(
        r"charlstm: .*/last\.safetensors: cannot write [\d,]+ bytes: No .*\n", error
    )
    assert list(small_disk.iterdir()) == []


def test_a_text_that_does_not_fit_into_the_cache_is_an_error(
    small_disk, tmp_path, monkeypatch, cli
):
    (tmp_path / "t.txt").write_text(make_text(14_000))
    monkeypatch.setenv("CHARLSTM_CACHE", str(small_disk))
    error = cli("train", tmp_path / "t.txt", "-r", tmp_path / "run", "--quiet", code=1).stderr
    assert re.search(r"takes \d+,\d+ bytes \(No space left on device\): make room", error)
    assert list(small_disk.iterdir()) == [] and not (tmp_path / "run").exists()
    assert shutil.disk_usage(small_disk).used == 0


def test_a_cache_that_cannot_be_written_is_not_called_full(tmp_path, monkeypatch, text_file, cli):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHARLSTM_CACHE", str(tmp_path / "file/cache"))
    error = cli("train", text_file, "-r", tmp_path / "run", "--quiet", code=1).stderr
    assert error.endswith("the folder cannot be written to: Not a directory: name another one\n")
