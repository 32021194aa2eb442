#!/usr/bin/env python3
"""Make a release: an sdist and a wheel for each platform, checked and tried out, in a folder.

The native library is cross-compiled with Zig's C compiler and needs nothing of Python, so a wheel
serves every Python of its platform. "Releases" in charlstm/README.md says what is tried out where.
"""

import argparse
import base64
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 1_500_000  # bytes
TOOLS = ("setuptools>=77", "ziglang==0.17.1", "auditwheel>=6.4", "twine>=6.1")
# Zig's name of each platform, and its tag in the name of a wheel
PLATFORMS = {
    "x86_64-linux-gnu.2.17": "manylinux2014_x86_64.manylinux_2_17_x86_64",
    "aarch64-linux-gnu.2.17": "manylinux2014_aarch64.manylinux_2_17_aarch64",
    "x86_64-linux-musl": "musllinux_1_2_x86_64",
    "aarch64-linux-musl": "musllinux_1_2_aarch64",
    "x86_64-macos.11.0": "macosx_11_0_x86_64",
    "aarch64-macos.11.0": "macosx_11_0_arm64",
    "x86_64-windows-gnu": "win_amd64",
    "aarch64-windows-gnu": "win_arm64",
}
# Prints the names of the libraries that a library needs.
NEEDED = """
import sys
from elftools.elf.elffile import ELFFile
dynamic = ELFFile(open(sys.argv[1], "rb")).get_section_by_name(".dynamic")
print(*(tag.needed for tag in dynamic.iter_tags("DT_NEEDED")))
"""
# Where the libraries that no Python can load here are tried out: the loader, and instruction sets
# if not all that the library finds usable. Wine lets no process use AMX.
LOADERS = {
    "x86_64-linux-musl": (["/lib/ld-musl-x86_64.so.1"], []),
    "x86_64-windows-gnu": (["/usr/lib/wine/wine64"], ["avx512", "avx2", "portable"]),
}
# The tests that are run against an installed wheel
TRIED = ["tests/kernels", "tests/network", "tests/training", "tests/runs"]


def run(*command: str | Path, **options: Any) -> None:
    """Run a command; exit with its name if it fails."""
    done = subprocess.run([str(word) for word in command], **options)
    if done.returncode:
        sys.exit(f"wheels.py: exit code {done.returncode} of {' '.join(map(str, command))}")


def output(*command: str | Path) -> str:
    """Return what a command prints; exit with its name if it fails."""
    done = subprocess.run(list(map(str, command)), text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"wheels.py: exit code {done.returncode} of {' '.join(map(str, command))}")
    return done.stdout


def tools(folder: Path) -> Path:
    """Return the Python of an environment with TOOLS, which is made in `folder` if it lacks one."""
    environment = folder / "tools"
    python, installed = environment / "bin" / "python", environment / "installed"
    if not installed.exists() or installed.read_text() != str(TOOLS):
        run(sys.executable, "-m", "venv", "--clear", environment)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLS)
        installed.write_text(str(TOOLS))
    return python


def release_time() -> int:
    """Return the time of all files of a release: that of the newest commit."""
    asked = os.environ.get("SOURCE_DATE_EPOCH")
    return int(asked or output("git", "-C", ROOT, "log", "-1", "--format=%ct"))


def copy_sources(folder: Path) -> None:
    """Copy the files that git knows into a folder."""
    names = output("git", "-C", ROOT, "ls-files", "-z")
    for name in names.rstrip("\0").split("\0"):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def build_sdist(python: Path, sources: Path, out: Path) -> Path:
    """Build the sdist; its bytes depend on the content and the names of its files only."""
    code = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"
    with tempfile.TemporaryDirectory() as folder:
        run(python, "-c", code, folder, cwd=sources, stdout=subprocess.DEVNULL)
        (made,) = Path(folder).iterdir()
        packed = io.BytesIO()
        with tarfile.open(made) as old, tarfile.open(fileobj=packed, mode="w") as new:
            for member in sorted(old.getmembers(), key=lambda member: member.name):
                member.mtime, member.uid, member.gid = release_time(), 0, 0
                member.uname = member.gname = ""
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
        path = out / made.name
        path.write_bytes(gzip.compress(packed.getvalue(), mtime=release_time()))
    return path


def zig_environment(cache: Path) -> dict[str, str]:
    """Return environment variables by which Zig keeps what it makes in a folder."""
    names = ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    return {**os.environ, **dict.fromkeys(names, str(cache))}


def build_library(python: Path, sources: Path, target: str, cache: Path) -> bytes:
    """Return the native library of a platform, by Zig's name of the platform."""
    code = "import runpy, sys; print(*runpy.run_path(sys.argv[1])['FLAGS'])"
    flags = output(python, "-c", code, sources / "setup.py").split()
    with tempfile.TemporaryDirectory() as folder:
        run(
            *(python, "-m", "ziglang", "cc", "-target", target, "-shared", "-s", *flags),
            *(["-fPIC"] if "windows" not in target else []),
            *("-o", "library", *sorted((sources / "charlstm/kernels").glob("native*.c"))),
            cwd=folder,
            env=zig_environment(cache),
        )
        return (Path(folder) / "library").read_bytes()


def python_files(python: Path, sources: Path) -> dict[str, bytes]:
    """Return the files that all wheels share, by their names in the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        run(
            *(python, "setup.py", "-q", "build_py", "--build-lib", folder),
            *("dist_info", "--output-dir", folder),
            cwd=sources,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    (metadata,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    for license in re.findall(r"^License-File: (.+)$", files[metadata].decode(), re.M):
        place = metadata.replace("METADATA", f"licenses/{license}")
        files[place] = (sources / license).read_bytes()
    return files


def write_wheel(files: dict[str, bytes], library: bytes, tag: str, out: Path) -> Path:
    """Write the wheel of a platform: a zip file with a list of its files and their hashes."""
    (metadata,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    info = metadata.removesuffix("/METADATA")
    suffix = "dll" if tag.startswith("win") else "so"
    tags = "".join(f"Tag: py3-none-{platform}\n" for platform in tag.split("."))
    about = f"Wheel-Version: 1.0\nGenerator: charlstm\nRoot-Is-Purelib: false\n{tags}"
    files = {
        **files,
        f"charlstm/kernels/_native.{suffix}": library,
        f"{info}/WHEEL": about.encode(),
    }
    record = f"{info}/RECORD"
    rows = [f"{name},{_record_hash(data)},{len(data)}" for name, data in sorted(files.items())]
    files[record] = "".join(f"{row}\n" for row in [*rows, f"{record},,"]).encode()
    path = out / f"{info.removesuffix('.dist-info')}-py3-none-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, time.gmtime(release_time())[:6])
            member.external_attr = 0o644 << 16
            member.create_system, member.compress_type = 3, zipfile.ZIP_DEFLATED
            wheel.writestr(member, data)
    return path


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"sha256={digest}"


def build(python: Path, out: Path, platforms: list[str]) -> None:
    """Build the sdist, and from its content the wheels of platforms, into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        checkout, unpacked, cache = (Path(folder) / name for name in ("git", "sdist", "zig"))
        copy_sources(checkout)
        with tarfile.open(build_sdist(python, checkout, out)) as archive:
            archive.extractall(unpacked)
        (sources,) = unpacked.iterdir()
        files = python_files(python, sources)
        for target in platforms:
            library = build_library(python, sources, target, cache)
            wheel = write_wheel(files, library, PLATFORMS[target], out)
            print(f"{wheel.name}: {wheel.stat().st_size:,} bytes", flush=True)


def library_of(wheel: Path, folder: Path) -> Path:
    """Unpack the native library of a wheel into a folder of the wheel's name."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if "/_native." in name)
        return Path(archive.extract(name, folder / wheel.stem))


def check_sdist(sdist: Path) -> None:
    """Check that an sdist has the files of git that an installation needs, and no others."""
    names = output("git", "-C", ROOT, "ls-files", "charlstm", "setup.py", "pyproject.toml")
    ours = {"README.md", *(name for name in names.split() if not name.endswith(".md"))}
    with tarfile.open(sdist) as archive:
        paths = (member.name.partition("/")[2] for member in archive if member.isfile())
        held = {path for path in paths if not path.startswith("charlstm.egg-info/")}
    if held != ours | {"PKG-INFO", "setup.cfg"}:  # which setuptools writes
        sys.exit(f"{sdist.name} differs from the files of git: {held ^ ours}")


def check(python: Path, out: Path) -> None:
    """Check the content of the sdist and of each wheel, and what a wheel asks of its platform."""
    check_sdist(next(out.glob("*.tar.gz")))
    names = output("git", "-C", ROOT, "ls-files", "charlstm")
    ours = {name for name in names.split() if not name.endswith((".md", ".c", ".h", "LICENSE"))}
    for wheel in sorted(out.glob("*.whl")):
        if wheel.stat().st_size > LARGEST_WHEEL:
            sys.exit(f"{wheel.name} has {wheel.stat().st_size:,} bytes")
        held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
        (library,) = held - ours
        if ours - held or not library.startswith("charlstm/kernels/_native."):
            sys.exit(f"{wheel.name} differs from the files of git: {held ^ ours}")
        if "manylinux" in wheel.name:
            tag = wheel.stem.rsplit(".", 1)[1]
            shown = " ".join(output(python, "-m", "auditwheel", "show", wheel).split())
            if f'following platform tag: "{tag}"' not in shown:
                sys.exit(f"{wheel.name}: auditwheel says: {shown}")
        if "musllinux" in wheel.name:  # auditwheel reads those on a machine with musl only
            with tempfile.TemporaryDirectory() as folder:
                needed = output(python, "-c", NEEDED, library_of(wheel, Path(folder))).split()
            if needed != ["libc.so"]:
                sys.exit(f"{wheel.name} needs {needed}")
    run(python, "-m", "twine", "check", "--strict", *sorted(out.iterdir()))


def compile_replay(python: Path, target: str, folder: Path, cache: Path) -> Path:
    """Compile scripts/replay/replay.c for a platform."""
    program = folder / f"replay-{target}.exe"
    run(
        *(python, "-m", "ziglang", "cc", "-target", target, "-O1", "-o", program),
        *([] if "windows" in target else ["-dynamic"]),
        ROOT / "scripts/replay/replay.c",
        env=zig_environment(cache),
    )
    return program


def try_in_python(wheel: Path, folder: Path) -> None:
    """Install the wheel of this machine in a new environment, and run the tests against it.

    No compiler is on the path of the environment.
    """
    environment, tests = folder / "environment", folder / "tests"
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    alone = {**os.environ, "PATH": str(environment / "bin"), "CHARLSTM_KERNELS": "native"}
    install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*install, "--only-binary", ":all:", f"{wheel}[test]", env=alone)
    tests.mkdir()
    for name in ("tests", "scripts", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tests / name)
    run(python, "-m", "pytest", "-n", "2", "--dist", "loadfile", *TRIED, cwd=tests, env=alone)


def try_in_c(python: Path, out: Path, folder: Path) -> None:
    """Repeat recorded calls with the libraries for musl and Windows, where these can run."""
    calls = folder / "calls"
    run(sys.executable, ROOT / "scripts/replay/record.py", calls)
    for target, (loader, sets) in LOADERS.items():
        if shutil.which(loader[0]) is None:
            print(f"{PLATFORMS[target]}: not tried out, as {loader[0]} is not on this machine")
            continue
        (wheel,) = out.glob(f"*-{PLATFORMS[target]}.whl")
        program = compile_replay(python, target, folder, folder / "zig")
        print(f"{PLATFORMS[target]}:", flush=True)
        run(*loader, program, library_of(wheel, folder), calls, *sets)


def build_twice(python: Path, out: Path, platforms: list[str]) -> None:
    """Build everything two times; exit if the bytes differ."""
    again = out.with_name(f"{out.name}-again")
    for folder in (out, again):
        build(python, folder, platforms)
    for path in sorted(out.iterdir()):
        if path.read_bytes() != (again / path.name).read_bytes():
            sys.exit(f"two builds of {path.name} differ")
    shutil.rmtree(again)
    print("two builds gave the same bytes")


def main() -> None:
    """Build, check and try out a release."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder of the release")
    parser.add_argument("--platform", action="append", choices=PLATFORMS, help="only these")
    parser.add_argument("--once", action="store_true", help="build once, and try nothing out")
    asked = parser.parse_args()
    python, out = tools(ROOT / "build"), asked.out.absolute()
    platforms = asked.platform or list(PLATFORMS)
    if asked.once:
        build(python, out, platforms)
        check(python, out)
        return
    build_twice(python, out, platforms)
    check(python, out)
    with tempfile.TemporaryDirectory() as name:
        try_in_python(next(out.glob("*manylinux*_x86_64.whl")), Path(name))
        try_in_c(python, out, Path(name))
    run(ROOT / "scripts/emulate_arm", next(out.glob("*manylinux*_aarch64.whl")))


if __name__ == "__main__":
    main()
