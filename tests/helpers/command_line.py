"""Run the command line, in this process or in a process of its own."""

import inspect
import subprocess
import sys

from click.testing import CliRunner, Result

COMMAND = [sys.executable, "-m", "charlstm"]
# Up to click 8.1, standard error is only kept by itself when it is asked for.
APART = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}


def invoke(command, *arguments, **options) -> Result:
    """Run a command of click in this process; its `stdout` and `stderr` are those of the command.

    options: further arguments of CliRunner.invoke.
    """
    return CliRunner(**APART).invoke(command, list(map(str, arguments)), **options)


def run_command(*arguments, **options):
    """Return the exit code, standard output and standard error of a command.

    options: further arguments of subprocess.run.
    """
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, timeout=60, **options
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
