"""scripts/stress/unattended.py: a small share of it, its rows, and its table."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial

import common
import crash
import damaged_checkpoints
import odd_corpora
import odd_options
import pytest
import soak
import unattended as script

ORIGIN = common.Origin("some kernels", "Some CPU", "3", "abc1234")
FAILURE = "case 7\tof all\nTraceback\n  line\nValueError: no\n"
SHORT = "case 7\tof all ... ValueError: no"


def make_row(test, batch, cases, numbers, failures=(), **changes):
    row = script.Row(test, batch, cases, json.dumps(numbers), json.dumps(failures), 1800, *ORIGIN)
    return row._replace(**changes)


@pytest.fixture
def failing():
    """The batches that fail."""
    return set()


@pytest.fixture
def ran(monkeypatch, failing):
    """The batches that have run, of two tests whose batches take no time."""
    found = []

    def run(test, batch, count):
        found.append((test, batch))
        failures = [FAILURE] if (test, batch) in failing else []
        return {"identical": count - len(failures), "s at most": int(batch)}, failures

    def run_here(batch):
        return script.TESTS[batch.test].run(batch.batch, batch.cases)

    tests = {
        "kills": script.StressTest(
            partial(run, "kills"), "runs", script.seeds(4, 10), "crash.py --seed {batch}"
        ),
        "soak": script.StressTest(partial(run, "soak"), "steps", {"9": 300}, "soak.py {cases}"),
    }
    monkeypatch.setattr(script, "TESTS", tests)
    monkeypatch.setattr(script, "this_origin", lambda scripts: ORIGIN)
    monkeypatch.setattr(script, "run_apart", run_here)
    monkeypatch.setattr(script.signal, "signal", lambda *_: None)
    return found


def call(table, *arguments):
    """The exit code of the script."""
    with pytest.raises(SystemExit) as ended:
        script.main(["--table", str(table), *arguments])
    return ended.value.code


def test_tests_advance_together_and_batches_in_the_table_are_skipped(ran, tmp_path, capsys):
    table, order = tmp_path / "t.tsv", [("kills", batch) for batch in "1234"]
    order.append(("soak", "9"))
    assert call(table) == 0 and ran == order
    printed, progress = capsys.readouterr()
    assert progress.splitlines()[:2] == [
        "1/5 kills, batch 1",
        "  10 identical, 1 s at most; 0 s; about 0.0 h left",
    ]
    text = table.read_text(encoding="utf-8")
    assert call(table) == 0 and ran == order
    assert table.read_text(encoding="utf-8") == text and len(text.splitlines()) == 6
    assert capsys.readouterr().out == printed
    assert call(table, "--print") == 0 and capsys.readouterr().out == printed
    rows = text.splitlines(keepends=True)
    table.write_text("".join(rows[:4]), encoding="utf-8")  # without soak and batch 4
    assert call(table, "--only", "soak") == 0 and ran[5:] == [("soak", "9")]
    assert call(table) == 0 and ran[6:] == [("kills", "4")]


def test_a_batch_of_another_size_is_another_batch(ran, tmp_path):
    table = tmp_path / "t.tsv"
    common.append_row(table, make_row("kills", "1", 9, {})._asdict())
    common.append_row(table, make_row("kills", "2", 10, {}, commit="another")._asdict())
    assert call(table, "--only", "kills") == 0
    assert ran == [("kills", "1"), ("kills", "3"), ("kills", "4")]


def test_a_failure_is_recorded_exits_with_1_and_is_tried_again_later(
    ran, failing, tmp_path, capsys, monkeypatch
):
    table = tmp_path / "t.tsv"
    failing.add(("kills", "2"))
    assert call(table) == 1 and len(ran) == 5
    rows = script.read_results(table)
    assert [row.descriptions for row in rows] == [[], [SHORT], [], [], []]
    printed, progress = capsys.readouterr()
    assert f"  FAILED: {FAILURE}" in progress
    kills = [cell.strip() for cell in printed.splitlines()[2].split("|")]
    assert kills[1:5] == ["kills", "40 runs", "39 identical, 4 s at most", "1"]
    assert printed.endswith(f"\n- `crash.py --seed 2` at abc1234: {SHORT}\n")
    assert call(table, "--print") == 0
    failing.clear()
    monkeypatch.setattr(script, "this_origin", lambda scripts: ORIGIN._replace(commit="def5678"))
    capsys.readouterr()
    assert call(table) == 0 and ran[5:] == [("kills", "2")]
    printed = capsys.readouterr().out
    kills = [cell.strip() for cell in printed.splitlines()[2].split("|")]
    assert kills[3:5] == ["40 identical, 4 s at most", "0"] and kills[6] == "abc1234, def5678"
    assert f"\n- `crash.py --seed 2` at abc1234, but not later: {SHORT}\n" in printed


def test_the_table_has_sums_maxima_and_where_they_were_measured(ran):
    rows = [
        make_row("kills", "1", 10, {"identical": 10, "s at most": 0.5}),
        make_row("kills", "2", 5, {"identical": 7}),  # counts for nothing: a later row is below
        make_row("kills", "2", 10, {"identical": 1_200, "s at most": 0.25}, commit="def5678"),
        make_row("soak", "9", 300, {"MB at most": 103}, cpu="Other CPU", seconds=360),
    ]
    lines = script.summary(rows).splitlines()
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:4]] == [
        ["kills", "20 runs", "1,210 identical, 0.5 s at most", "0", "1.0",
         "abc1234, def5678"],
        ["soak", "300 steps", "103 MB at most", "0", "0.1", "abc1234"],
    ]  # fmt: skip
    assert lines[4:] == [
        "",
        "Measured with some kernels on Some CPU, 3 cores.",
        "Measured with some kernels on Other CPU, 3 cores.",
    ]


def test_the_readme_has_the_results_of_the_committed_table():
    readme = script.TABLE.with_name("README.md").read_text(encoding="utf-8")
    committed = script.summary(script.read_results(script.TABLE))
    assert committed.strip() in readme, "put there what unattended.py --print prints"


def test_long_and_many_failures_are_shortened(monkeypatch):
    monkeypatch.setattr(script, "run_apart", lambda batch: ({}, [3_000 * "x"] * 25))
    shown = script.measure(script.Batch("kills", "1", 10), ORIGIN).descriptions
    assert shown == [500 * "x"] * 10 + ["15 more failures"]


def test_two_thousand_interruptions_and_five_times_the_other_numbers_are_planned():
    cases = Counter()
    for batch in script.planned():
        cases[batch.test] += batch.cases
    # The runs of each kind are interrupted 1.46 times or more in the mean, or 2,000 times in all.
    assert cases == {
        "SIGKILL": 1_375,
        "SIGTERM": 1_375,
        "full disk": 1_375,
        "damaged checkpoints": 5 * damaged_checkpoints.COUNT,
        "odd texts": 5 * odd_corpora.COUNT,
        "odd options": len(list(odd_options.cases())),
        "soak": soak.STEPS,
    }
    assert len(set(script.planned())) == len(script.planned())


def test_each_test_runs_its_batch_by_the_seed(monkeypatch):
    monkeypatch.setattr(crash, "run_all", lambda *given: crash.Outcome(given, {}, ["no"]))
    none = {"interruptions": 0, "during a save": 0, "identical": 0}
    assert script.TESTS["full disk"].run("3", 50) == (none, ["no"])
    seen = []
    monkeypatch.setattr(
        crash, "run_all", lambda *given: seen.append(given) or crash.Outcome("", {}, [])
    )
    for name in ("SIGKILL", "SIGTERM"):
        script.TESTS[name].run("4", 50)
    assert seen == [(50, "kill", 4), (50, "term", 4)]
    monkeypatch.setattr(
        odd_corpora, "attempt_all", lambda *given: ({("", "refused"): given[1]}, [])
    )
    assert script.TESTS["odd texts"].run("7", 250) == ({"trained": 0, "refused": 7}, [])


def test_batches_run_in_a_process_of_their_own():
    numbers, failures = script.run_apart(script.Batch("odd options", "(none)", 3))
    assert (numbers, failures) == ({"refused in one line": 3, "legal": 0}, [])
    _, failures = script.run_apart(script.Batch("odd texts", "no seed", 3))
    assert failures == ["ValueError: invalid literal for int() with base 10: 'no seed'"]


def test_a_process_that_dies_is_a_failure(monkeypatch):
    monkeypatch.setattr(script, "work", die)
    outcome = script.run_apart(script.Batch("soak", "1", 12_000))
    assert outcome == ({}, ["the process ended with exit code -9"])


def die(batch, sender):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_stopped_script_ends_the_process_of_its_batch(tmp_path):
    command = [sys.executable, script.__file__, "--table", str(tmp_path / "t"), "--only", "soak"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stderr.readline() == "1/1 soak, batch 1\n"
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
