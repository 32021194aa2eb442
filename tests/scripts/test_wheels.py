"""scripts/wheels.py, the calls that it repeats in C, and an installation without a compiler."""

import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
import wheels

from charlstm.kernels import BACKEND, native_library

ROOT = Path(__file__).parents[2]
FILES = {
    "charlstm/__init__.py": b"__version__ = '1.0'\n",
    "charlstm-1.0.dist-info/METADATA": b"Metadata-Version: 2.4\nName: charlstm\nVersion: 1.0\n",
}


def test_a_wheel_lists_its_files_and_has_the_same_bytes_each_time(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "again").mkdir()
    first, second = (
        wheels.write_wheel(FILES, b"code", "win_amd64", folder)
        for folder in (tmp_path, tmp_path / "again")
    )
    assert first.name == "charlstm-1.0-py3-none-win_amd64.whl"
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as wheel:
        held = {name: wheel.read(name) for name in wheel.namelist()}
        assert {info.date_time for info in wheel.infolist()} == {(2023, 11, 14, 22, 13, 20)}
    record = held.pop("charlstm-1.0.dist-info/RECORD").decode()
    *rows, own = csv.reader(record.splitlines())
    assert own == ["charlstm-1.0.dist-info/RECORD", "", ""]
    assert (
        {row[0] for row in rows}
        == set(held)
        == {
            *FILES,
            "charlstm-1.0.dist-info/WHEEL",
            "charlstm/kernels/_native.dll",
        }
    )
    for name, digest, size in rows:
        expected = urlsafe_b64decode(digest.removeprefix("sha256=") + "=")
        assert hashlib.sha256(held[name]).digest() == expected
        assert len(held[name]) == int(size)


def test_a_wheel_names_each_tag_of_its_platform(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    tag = wheels.PLATFORMS["x86_64-linux-gnu.2.17"]
    wheel = wheels.write_wheel(FILES, b"code", tag, tmp_path)
    about = zipfile.ZipFile(wheel).read("charlstm-1.0.dist-info/WHEEL").decode()
    assert [line for line in about.splitlines() if line.startswith("Tag:")] == [
        "Tag: py3-none-manylinux2014_x86_64",
        "Tag: py3-none-manylinux_2_17_x86_64",
    ]
    assert "charlstm/kernels/_native.so" in zipfile.ZipFile(wheel).namelist()


def test_the_sdist_has_the_files_of_git_and_no_others(tmp_path):
    checkout, stray = tmp_path / "checkout", tmp_path / "stray.tar.gz"
    wheels.copy_sources(checkout)
    sdist = wheels.build_sdist(Path(sys.executable), checkout, tmp_path)
    wheels.check_sdist(sdist)
    with tarfile.open(sdist) as old, tarfile.open(stray, "w:gz") as new:
        for member in old:
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
        new.add(sdist, "charlstm-1/charlstm/note.txt")
    with pytest.raises(SystemExit, match=r"stray.tar.gz differs .*charlstm/note.txt"):
        wheels.check_sdist(stray)


@pytest.mark.skipif(os.name != "posix", reason="the compiler is named as on Unix")
def test_without_a_compiler_info_says_why_numpy_serves_and_how_to_get_more(tmp_path):
    for name in ("charlstm", "setup.py", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for library in (tmp_path / "charlstm/kernels").glob("_native.*"):
        library.unlink()
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    environment = {**os.environ, "CC": "no-such-compiler", "PYTHONPATH": str(tmp_path)}
    environment.pop("CHARLSTM_KERNELS", None)
    environment.pop("CHARLSTM_ISA", None)
    subprocess.run(build, cwd=tmp_path, env=environment, check=True, capture_output=True)
    info = [sys.executable, "-m", "charlstm", "info"]
    shown = subprocess.check_output(
        info, cwd=tmp_path, env=environment, text=True, stderr=subprocess.DEVNULL
    )
    before, _, after = shown.splitlines()[0].partition("no-such-compiler")
    assert before.startswith(
        "kernels        NumPy kernels (the native kernels were not built): no C compiler worked at "
        "installation ("
    )
    assert after.endswith(
        "; with one, an installation that does not take charlstm from pip's cache makes kernels of "
        "twice the speed and more"
    )


@pytest.mark.skipif(BACKEND != "native", reason="the native kernels are not in use")
def test_recorded_calls_are_repeated_in_c(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    program, calls, folder = tmp_path / "replay", tmp_path / "calls", ROOT / "scripts/replay"
    compiling = [compiler, folder / "replay.c", "-o", program, "-ldl", "-lpthread", "-lm"]
    subprocess.run(compiling, check=True)
    subprocess.run([sys.executable, folder / "record.py", calls], check=True)
    library = ROOT / "charlstm/kernels/_native.so"
    done = subprocess.run([program, library, calls], capture_output=True, text=True)
    assert done.stderr == "" and done.returncode == 0
    sets = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert sets == list(native_library.usable())

    data = bytearray(calls.read_bytes())
    data[-4:] = b"\0\0\0\x40"  # the last expected number
    calls.write_bytes(data)
    done = subprocess.run([program, library, calls], capture_output=True, text=True)
    assert "train_step, " in done.stderr and done.returncode == 1
