"""The package: how long its import takes, and that tests do not touch the user's cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import COMMAND

import charlstm


def test_import_is_quick_and_loads_no_module_of_the_command_line(tmp_path):
    code = (
        # the time of the processor, as others may be using this one too
        "import time, sys; t = time.process_time(); {}; u = time.process_time();"
        "print(u - t, *sorted({{'click', 'tqdm', 'torch'}} & set(sys.modules)))"
    )
    # as an installed program: the first run leaves bytecode to the others
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(line):
        command = [sys.executable, "-c", code.format(line)]
        return subprocess.check_output(command, text=True, env=environment).split()

    numpy, own = (
        [run(line) for _ in range(3)] for line in ("import numpy", "from charlstm import *")
    )
    seconds_of_numpy, seconds = (min(float(r[0]) for r in results) for results in (numpy, own))
    assert seconds < max(0.25, 2.5 * seconds_of_numpy)  # the latter on a slow machine
    assert own[0][1:] == []


def test_the_names_of_the_library_are_imported_when_they_are_used():
    code = (
        "import sys, charlstm; print('numpy' in sys.modules, *dir(charlstm));"
        "print(charlstm.train.__name__, 'numpy' in sys.modules)"
    )
    first, second = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    is_imported, *names = first.split()
    assert is_imported == "False" and names == charlstm.__all__
    assert second == "train True"
    with pytest.raises(AttributeError, match="module 'charlstm' has no attribute 'tarin'"):
        charlstm.tarin  # noqa: B018  # looked up for its error


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_while_a_command_imports_its_modules_ends_it_quietly(name, code, tmp_path):
    (tmp_path / "numpy.py").write_text(f"import signal; signal.raise_signal(signal.{name})")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_little_is_imported_before_signals_are_handled():
    code = (
        "import sys; before = set(sys.modules); import charlstm.__main__;"
        "print(*set(sys.modules) - before)"
    )
    imported = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "charlstm.system.early_signals" in imported
    assert not {"contextlib", "importlib", "threading", "typing", "click"} & set(imported)


def test_the_installed_command_begins_in_the_module_that_handles_signals_first():
    settings = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert '\n[project.scripts]\ncharlstm = "charlstm.__main__:main"\n' in settings


def test_tests_have_a_cache_of_their_own():
    assert "charlstm-tests-" in os.environ["CHARLSTM_CACHE"]
