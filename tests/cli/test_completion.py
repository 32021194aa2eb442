"""Completion in a shell: options, choices and commands, with the lines that --help gives."""

import os
import re
import shutil
import subprocess

import pytest
from command_line import COMMAND, run_command

# Lines whose last word is to be completed, with proposals for it.
CASES = {
    "charlstm tra": ["train"],
    "charlstm train --sch": ["--schedule"],
    "charlstm train --optimizer ": ["adam", "rmsprop", "sgd"],
    "charlstm eval --dynamic-": [
        "--dynamic-rate",
        "--dynamic-decay",
        "--dynamic-ngram-lr",
        "--dynamic-match",
    ],
}


def completed(shell, line):
    """The output of charlstm when a shell asks it to complete the last word of a line."""
    *before, last = line.split(" ")
    place = last if shell == "fish" else str(len(before))
    asked = {"COMP_WORDS": line, "COMP_CWORD": place, "_CHARLSTM_COMPLETE": f"{shell}_complete"}
    code, out, err = run_command(env=os.environ | asked)
    assert (code, err) == (0, "")
    return out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("line", CASES)
def test_an_option_a_choice_and_a_command_are_completed(shell, line):
    out = completed(shell, line)
    for proposal in CASES[line]:
        assert re.search(rf"(^|,){proposal}(\t|$)", out, re.MULTILINE), out
    assert "--seed" not in out


def test_bash_completes_after_the_line_of_the_help(tmp_path, cli):
    """The line of the help is evaluated by bash itself, which then completes."""
    line = re.search(r"~/.bashrc:\n *(eval .*)$", cli("--help").stdout, re.MULTILINE)[1]
    (tmp_path / "charlstm").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (tmp_path / "charlstm").chmod(0o755)
    program = (
        f"{line}\n"
        "COMP_WORDS=(charlstm train --cell r); COMP_CWORD=3\n"
        "_charlstm_completion charlstm\n"
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p charlstm\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    bash = shutil.which("bash")
    done = subprocess.run(
        [bash, "-c", program], capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert done.stdout.split("\n")[0] == "rnn", done
    assert "_charlstm_completion charlstm" in done.stdout
