"""The package: how long its import takes, and that tests do not touch the user's cache."""

import os
import subprocess
import sys


def test_import_is_quick_and_loads_no_module_of_the_command_line(tmp_path):
    code = (
        # the time of the processor, as others may be using this one too
        "import time, sys; t = time.process_time(); import {}; u = time.process_time();"
        "print(u - t, *sorted({{'click', 'tqdm', 'torch'}} & set(sys.modules)))"
    )
    # as an installed program: the first run leaves bytecode to the others
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(module):
        command = [sys.executable, "-c", code.format(module)]
        return subprocess.check_output(command, text=True, env=environment).split()

    numpy, own = ([run(module) for _ in range(3)] for module in ("numpy", "charlstm"))
    seconds_of_numpy, seconds = (min(float(r[0]) for r in results) for results in (numpy, own))
    assert seconds < max(0.25, 2.5 * seconds_of_numpy)  # the latter on a slow machine
    assert own[0][1:] == []


def test_tests_have_a_cache_of_their_own():
    assert "charlstm-tests-" in os.environ["CHARLSTM_CACHE"]
