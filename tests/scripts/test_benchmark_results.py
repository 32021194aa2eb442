"""common.py of the benchmarks: the texts, and the key that a result is stored under."""

import json
import re
import subprocess
from pathlib import Path

import advice
import bfloat16
import common
import defaults
import experiments
import fine_tuning
import matches
import pytest
import sorted_lists

import charlstm
from charlstm import kernels

BENCHMARKS = Path(common.__file__).parent
SMALL = {"hidden": 8, "batch_size": 4, "seq_length": 10, "steps": 3, "seed": 5}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own in a folder, with code and results, committed."""

    def git(*arguments):
        identity = ["-c", "user.name=name", "-c", "user.email=name@example.org"]
        subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True
        )
        head = ["git", "rev-parse", "--short=7", "HEAD"]
        return subprocess.run(head, cwd=tmp_path, capture_output=True, text=True).stdout.strip()

    (tmp_path / "charlstm").mkdir()
    (tmp_path / "charlstm/model.py").write_text("1\n")
    (tmp_path / "setup.py").write_text("1\n")
    (tmp_path / "results.tsv").write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setattr(common, "ROOT", tmp_path)
    return tmp_path, git


def test_the_commit_of_a_result_is_the_last_that_changed_the_code(checkout):
    folder, git = checkout
    first = git("status")
    assert len(first) == 7 and common.code_commit() == first
    (folder / "results.tsv").write_text("2\n")
    assert common.code_commit() == first
    git("commit", "-qam", "results")
    assert common.code_commit() == first != git("status")
    (folder / "charlstm/model.py").write_text("2\n")
    assert common.code_commit() == f"{first}+"
    git("commit", "-qam", "code")
    assert common.code_commit() == git("status") != first
    (folder / "charlstm/new.py").write_text("1\n")
    assert common.code_commit() == f"{git('status')}+"


def test_without_a_checkout_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "ROOT", tmp_path)
    assert common.code_commit() == "unknown"


def test_the_origin_of_a_result_names_kernels_machine_and_commit(monkeypatch):
    monkeypatch.setattr(common, "cpu_name", lambda: "Some CPU")
    monkeypatch.setattr(common, "available_cores", lambda: 3)
    monkeypatch.setattr(common, "code_commit", lambda scripts: "abc1234+")
    origin = common.this_origin()
    assert origin == (kernels.DESCRIPTION, "Some CPU", "3", "abc1234+")
    assert origin.cells == [kernels.DESCRIPTION, "Some CPU, 3 cores", "abc1234+"]
    stale = common.Origin("native kernels (avx2)", "", "", "stale: before abc1234")
    assert stale.cells[1:] == ["not recorded", "stale: before abc1234"]


def test_settings_are_resolved_before_a_run_as_it_stores_them(text_file, tmp_path):
    for options in (SMALL, SMALL | {"val_frac": 0.2, "cell": "gru", "precision": "float32"}):
        resolved = common.resolved_settings(text_file, options)
        run = charlstm.train(text_file, tmp_path / options.get("cell", "lstm"), **options)
        assert common.stored_settings(run.path) == resolved
    settings = json.loads(resolved)
    assert settings.items() >= {"hidden": 8, "steps": 3, "val_frac": 0.2, "cell": "gru"}.items()
    assert settings["ngrams"] == 6 and settings["schedule"] == "cosine"  # chosen, not asked for
    assert settings["precision"] == "float32"
    assert not {"paths", "dtype", "optimizer"} & settings.keys()  # the library's defaults


def test_settings_asked_for_in_other_words_are_the_same(text_file):
    resolved = common.resolved_settings(text_file, SMALL)
    assert common.resolved_settings(text_file, SMALL | {"clip": 1.0, "layers": 1}) == resolved
    assert common.resolved_settings(text_file, SMALL | {"clip": 1.5}) != resolved


def test_a_text_is_found_in_the_first_folder_that_has_it(tmp_path, monkeypatch):
    folders = tmp_path / "data", tmp_path / "shared/data"
    monkeypatch.setattr(common, "TEXT_FOLDERS", folders)
    with pytest.raises(SystemExit) as stopped:
        common.find_text("tinyshakespeare.txt")
    message = str(stopped.value)
    assert "scripts/corpora/download.py tinyshakespeare" in message and "\n" not in message
    for folder in reversed(folders):
        folder.mkdir(parents=True)
        (folder / "tinyshakespeare.txt").write_text("text")
        assert common.find_text("tinyshakespeare.txt") == folder / "tinyshakespeare.txt"


def test_a_table_with_other_columns_is_refused(tmp_path):
    path = tmp_path / "t.tsv"
    assert common.read_rows(path, ("a", "b")) == []
    common.append_row(path, {"a": 1, "b": '{"x": 2}'})
    assert common.read_rows(path, ("a", "b")) == [{"a": "1", "b": '{"x": 2}'}]
    with pytest.raises(SystemExit, match=r"t\.tsv has other columns than a, c: give another"):
        common.read_rows(path, ("a", "c"))


def test_a_row_is_added_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(file):
        raise OSError("No space left on device")

    path = tmp_path / "t.tsv"
    common.append_row(path, {"a": 1, "b": 2})
    with monkeypatch.context() as patched:
        patched.setattr("charlstm.system.atomic_files.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            common.append_row(path, {"a": 3, "b": 4})
    assert path.read_text(encoding="utf-8") == "a\tb\n1\t2\n"
    common.append_row(path, {"a": 5, "b": 6})
    assert path.read_text(encoding="utf-8") == "a\tb\n1\t2\n5\t6\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_commit_of_a_stress_test_does_not_depend_on_the_benchmarks(checkout):
    folder, git = checkout
    for name in ("benchmarks", "stress"):
        (folder / "scripts" / name).mkdir(parents=True)
        (folder / "scripts" / name / "script.py").write_text("1\n")
        git("add", ".")
        git("commit", "-qm", name)
    last = git("status")
    (folder / "scripts/benchmarks/script.py").write_text("2\n")
    assert common.code_commit("scripts/stress/*.py") == last != common.code_commit()
    assert common.code_commit().endswith("+")


def test_the_commands_of_the_results_that_print_stored_rows_run(monkeypatch, capsys):
    results = (BENCHMARKS / "RESULTS.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\.venv/bin/python scripts/benchmarks/(\S+)\.py(.*?)(?: #.*)?$",
                          results, re.M)  # fmt: skip
    monkeypatch.setattr(common, "TEXT_FOLDERS", ())
    printed = []
    for script, arguments in commands:
        assert (BENCHMARKS / f"{script}.py").exists()
        if "--print" in arguments:
            scripts = {"defaults": defaults, "bfloat16": bfloat16, "advice": advice,
                       "fine_tuning": fine_tuning, "sorted_lists": sorted_lists,
                       "experiments": experiments, "matches": matches}  # fmt: skip
            scripts[script].main(arguments.split())
            printed.append(capsys.readouterr().out)
    assert len(commands) > len(printed) == 12
    assert all(table.count("\n") > 2 for table in printed)
