"""Run the command line in a process of its own."""

import subprocess
import sys

COMMAND = [sys.executable, "-m", "charlstm"]


def run_command(*arguments, **options):
    """Return the exit code, standard output and standard error of a command.

    options: further arguments of subprocess.run.
    """
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, timeout=60, **options
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
