"""The documents are true: their commands run, their links lead somewhere."""

import os
import re
import shutil
import signal
import string
import subprocess
import sys
from pathlib import Path

import documented_commands
import options_table
import pytest
from corpus_files import make_text

import charlstm

ROOT = documented_commands.ROOT
COMMANDS = documented_commands.documented()
QUICK = sorted(COMMANDS.keys() - documented_commands.LONG.keys())
ALL_LETTERS = f"{string.ascii_letters}{string.punctuation}\n"  # so that every prime is known
SECONDS_AT_MOST = 60  # for a command, on a machine that does other things too


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the files that the documents name, and a run to work with."""
    folder = tmp_path_factory.mktemp("documents")
    for name in ("corpus.txt", "more.txt", "novel.txt", "held-out.txt", "text.txt"):
        (folder / name).write_text(ALL_LETTERS + make_text(60, seed=len(name)))
    (folder / "names.txt").write_text("Ada\nAlan\nGrace\nDonald\nBarbara\nEdsger\n" * 8)
    for name in ("scripts", "corpora", "tests", ".venv", "charlstm", "README.md"):
        (folder / name).symlink_to(ROOT / name)
    charlstm.train(folder / "corpus.txt", folder / "runs" / "corpus", hidden=8, steps=3)
    return folder


def shortened(command: str) -> str:
    """The command as a test runs it: a training ends after two steps."""
    if not re.search(r"charlstm train\b", command) or re.search(r"--steps|--resume$", command):
        return command
    if "--resume" in command:
        return re.sub(r"--minutes \S+", "--steps 4", command)
    return re.sub(r"\s--minutes \S+", "", command) + " --steps 2 --hidden 8"


@pytest.mark.parametrize("command", QUICK)
def test_a_documented_command_runs(command, workplace):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        shortened(command), shell=True, cwd=workplace, env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _, errors = process.communicate(timeout=SECONDS_AT_MOST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("takes too long: list it in LONG of scripts/documented_commands.py")
    assert process.returncode == 0, f"{COMMANDS[command]}: {errors}"


def test_long_commands_are_those_of_the_documents():
    assert documented_commands.LONG.keys() - COMMANDS.keys() == set()


def test_the_table_of_options_is_that_of_the_commands():
    page = options_table.PAGE.read_text(encoding="utf-8")
    assert page == options_table.page(), "run .venv/bin/python scripts/options_table.py"


def test_the_table_of_files_names_the_checkpoints_of_keep_every(workplace, tmp_path):
    charlstm.train(workplace / "corpus.txt", tmp_path, hidden=2, steps=1, keep_every=1)
    (kept,) = tmp_path.glob("step-*")
    page = (ROOT / "charlstm/README.md").read_text(encoding="utf-8")
    assert f"| `{kept.name.replace('01', '50')}` | the weights after step 50" in page


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", documented_commands.documents(), ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert heading in anchors, f"{page}: {target}"


def test_the_library_example_of_the_readme_runs(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    example = example.replace("minutes=3", "steps=2, hidden=8").replace("range(1000)", "range(2)")
    example = example.replace("hidden=256", "hidden=8")
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert 0 < names["loss"] < 5
    assert charlstm.load(workplace / "my.safetensors").config.hidden == 8
    shutil.rmtree(workplace / "runs" / "corpus-2", ignore_errors=True)
