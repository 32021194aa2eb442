"""Atomic writing: a file has its old content or its new, whatever fails in between."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from charlstm.system import atomic_files
from charlstm.system.atomic_files import atomic_write, flush_folder


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path, monkeypatch
):
    done = []
    real = {"fsync": os.fsync, "replace": Path.replace}

    def fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("flush folder" if is_folder else "flush file")
        real["fsync"](descriptor)

    def replace(path, target):
        assert path.read_bytes() == b"new" and path.parent == target.parent
        assert target.read_bytes() == b"old"
        done.append("rename")
        return real["replace"](path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "x").write_bytes(b"old")
    with atomic_write(tmp_path / "x") as file:
        file.write(b"new")
    assert done == ["flush file", "rename", "flush folder"]
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt(), SystemExit()])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, error):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(tmp_path / "x") as file:
        file.write(b"new")
        raise error
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_the_first_error_is_raised_where_the_temporary_file_is_gone_too(tmp_path):
    with pytest.raises(OSError, match="broken"), atomic_write(tmp_path / "x") as file:
        Path(file.name).unlink()
        raise OSError(errno.EIO, "broken")


def test_a_system_that_cannot_flush_folders_is_not_an_error(tmp_path, monkeypatch):
    def refuse(number):
        def fsync(descriptor):
            raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    flush_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        flush_folder(tmp_path)


@pytest.mark.parametrize(("refusals", "content"), [(0, b"new"), (2, b"new"), (3, b"old")])
def test_a_file_that_is_open_on_windows_is_replaced_when_it_is_closed(
    tmp_path, monkeypatch, refusals, content
):
    attempts, real = [], Path.replace

    def replace(path, target):
        attempts.append(target)
        if len(attempts) <= refusals:
            raise PermissionError(errno.EACCES, "used by another process", str(path))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(atomic_files, "WAITS_FOR_READERS", (0.001, 0.001))
    (tmp_path / "x").write_bytes(b"old")
    with suppress(PermissionError), atomic_write(tmp_path / "x") as file:
        file.write(b"new")
    assert (tmp_path / "x").read_bytes() == content
    assert attempts == [tmp_path / "x"] * min(refusals + 1, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("kind", ["pipe", "link", "broken link"])
@pytest.mark.parametrize("comes", ["before", "meanwhile"])
def test_only_a_regular_file_is_replaced(tmp_path, kind, comes):
    path, others = tmp_path / "x", tmp_path / "others"
    others.mkdir()
    (others / "file").write_bytes(b"mine")

    def make():
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(others / ("file" if kind == "link" else "missing"))

    def write():
        with atomic_write(path) as file:
            file.write(b"new")
            if comes == "meanwhile":
                make()

    if comes == "before":
        make()
    advice = {"folder": "but a folder: name another", "pipe": ": name another"}
    with pytest.raises(
        OSError, match="not a regular file" + advice.get(kind, " but a link: remove the link")
    ):
        write()
    assert not path.is_file() or path.is_symlink()
    assert (others / "file").read_bytes() == b"mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["others", "x"]
