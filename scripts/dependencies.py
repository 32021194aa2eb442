#!/usr/bin/env python3
"""Run tests with the oldest dependencies that pyproject.toml states, and with the newest.

    scripts/dependencies.py                  the oldest, with this Python: a minute or two
    scripts/dependencies.py --sets oldest,newest --python python3.10 --python python3.13

Warnings are errors, in the tests and in the commands that they start. The environments stay in
build/dependencies. The tests use the native library of the checkout, which every Python can load.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What the tests need besides. Each version is new enough for every Python.
FOR_TESTS = ("pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100")
# The first versions with wheels for Python 3.13 and newer, where these are not the oldest stated.
FIRST_FOR_313 = {"numpy": "2.1.0", "safetensors": "0.4.4"}
# Tests of what calls the dependencies: arrays, checkpoints, progress, the command line
TESTS = (
    "tests/kernels/test_kernels.py",
    "tests/network/test_model.py",
    "tests/network/test_scoring.py",
    "tests/text/test_cache.py",
    "tests/training/test_optimizers.py",
    "tests/training/test_trainer_threads.py",
    "tests/runs/test_checkpoint.py",
    "tests/runs/test_metrics.py",
    "tests/cli/test_help.py",
    "tests/cli/test_info.py",
    "tests/cli/test_sample.py",
    "tests/cli/test_score.py",
    "tests/cli/test_shared_options.py",
)


def requirements(which: str, version: tuple[int, int]) -> list[str]:
    """Return the dependencies of pyproject.toml for a version of Python, as pip reads them.

    which: "oldest" for the oldest versions that are stated, or "newest" for any newer ones.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    stated = re.search(r"^dependencies = \[(.*?)\]", text, re.M | re.S)[1]
    pairs = re.findall(r'"([\w-]+)>=([\d.]+)"', stated)
    if which == "newest":
        return [f"{name}>={oldest}" for name, oldest in pairs]
    if version >= (3, 13):
        pairs = [(name, FIRST_FOR_313.get(name, oldest)) for name, oldest in pairs]
    return [f"{name}=={oldest}" for name, oldest in pairs]


def environment(python: str, which: str) -> Path:
    """Return the Python of an environment with the oldest or the newest dependencies."""
    code = "import sys; print(*sys.version_info[:2])"
    major, minor = map(int, subprocess.check_output([python, "-c", code], text=True).split())
    asked = [*requirements(which, (major, minor)), *FOR_TESTS]
    folder = ROOT / f"build/dependencies/{which}-{major}.{minor}"
    made, installed = folder / "bin/python", folder / "installed"
    if not installed.exists() or installed.read_text() != str(asked):
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip = [made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--only-binary", ":all:", *asked], check=True)
        installed.write_text(str(asked))
    return made


def describe(python: Path) -> str:
    """Return the version of a Python, and of each dependency in its environment."""
    names = [re.split("[>=]", name)[0] for name in requirements("oldest", (3, 10))]
    code = (
        "import sys, platform; from importlib.metadata import version; "
        "print('Python', platform.python_version(), "
        "*(f', {name} {version(name)}' for name in sys.argv[1:]))"
    )
    shown = subprocess.check_output([python, "-c", code, *names], text=True)
    return shown.strip().replace(" ,", ",")


def test(python: Path, arguments: list[str]) -> str:
    """Run tests; return the last line of what pytest prints, or exit if a test fails."""
    command = [python, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    strict = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    strict["CHARLSTM_REQUIRE_ALL"] = "0"  # PyTorch is not installed: comparisons are skipped
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=strict, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\ndependencies.py: tests fail with {describe(python)}")
    return done.stdout.strip().splitlines()[-1]


def main() -> None:
    """Run the tests with each Python and each set of dependencies, and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default="oldest", help="oldest, newest, or both with a comma")
    parser.add_argument("--python", action="append", help="a program; may be given several times")
    parser.add_argument("tests", nargs="*", default=TESTS, help="files or folders of tests")
    asked = parser.parse_args()
    for python in asked.python or [sys.executable]:
        for which in asked.sets.split(","):
            if which not in ("oldest", "newest"):
                parser.error("--sets must be oldest, newest or both, with a comma between them")
            start, made = time.monotonic(), environment(python, which)
            print(f"{describe(made)}: {test(made, list(asked.tests))}", flush=True)
            print(f"  {time.monotonic() - start:.0f} s with the installation", file=sys.stderr)


if __name__ == "__main__":
    main()
