"""The report of a run: its data, its safety, and that writing it changes nothing of the run."""

import getpass
import json
import re
import shlex
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gate_pages import embedded
from hostile import INJECTIONS, event, hostile_lines, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_files import SMALL, arrays_of, contents, events_of

import charlstm
from charlstm.network.predictions import predict, symbol_losses
from charlstm.runs import report_writer
from charlstm.runs.history import public_path
from charlstm.runs.report import report_page, run_data
from charlstm.runs.texts import training_and_validation_ids

QUICK = SMALL | {"steps": 20}


@pytest.fixture
def time_for_report(monkeypatch):
    """A report may take any time, however busy the machine is."""
    monkeypatch.setattr(report_writer, "FREE_SECONDS", 100)


def page_of(folder):
    return (folder / "report.html").read_text("utf-8")


def test_the_report_of_a_training_has_the_numbers_of_its_events(uninterrupted):
    folder = uninterrupted.folder
    data = embedded(page_of(folder))
    (run,) = data["runs"]
    assert (run["name"], run["state"], data["live"]) == ("run", "finished", False)
    trained, evaluated = events_of(folder, "train"), events_of(folder, "eval")
    for column in ("step", "train_loss", "learning_rate", "gradient_norm"):
        np.testing.assert_allclose(run["train"][column], [e[column] for e in trained], rtol=1e-6)
    for column in ("step", "train_loss", "val_loss", "seconds"):
        losses = [e[column] for e in evaluated]
        np.testing.assert_allclose(run["evaluations"][column], losses, rtol=1e-6)
    assert run["samples"] == [[e["step"], e["text"]] for e in events_of(folder, "sample")]
    assert len(run["samples"][0][1]) == 150
    start = events_of(folder, "start")[0]
    assert run["characters_per_step"] == start["train_characters"] / start["windows_per_pass"]
    reasons = {name: (value, reason) for name, value, reason in run["settings"]}
    assert reasons["hidden"] == ("16", "given") and reasons["cell"] == ("lstm", "default")
    assert reasons["beta2"] == ("0.99", "0.99 for adam, 0.999 for rmsprop")
    assert dict(run["facts"])["Model"].startswith("LSTM, 2 layers of 16 units; ")
    assert dict(run["facts"])["Vocabulary"] == f"{start['vocabulary']} distinct characters"
    command = shlex.split(run["command"])
    assert command[:3] == ["charlstm", "train", "small.txt"]
    pairs = dict(zip(command[3::2], command[4::2], strict=False))
    assert pairs["--hidden"] == "16" and pairs["--schedule"] == "plateau"


def test_the_text_of_the_report_is_that_of_the_best_model(trained):
    (run,) = embedded(page_of(trained))["runs"]
    model, ids = charlstm.load(trained), training_and_validation_ids(trained).validation
    shown = [run["text"]["symbols"][k][0][-1] for k in run["text"]["text"]]
    start = np.argmax(ids == model.vocab.encode("\n")[0]) + 1
    assert "".join(shown) == model.vocab.decode(ids[start:][: len(shown)])
    predictions = predict(model, ids[start:][: len(shown)])
    np.testing.assert_allclose(np.array(run["text"]["bits"]) / 1000, predictions.bits, atol=1e-3)
    score = model.score(model.vocab.decode(predictions.ids))
    np.testing.assert_allclose(predictions.bits, score.nats / np.log(2), rtol=1e-4, atol=1e-5)
    page_counts = run["by_symbol"]["symbols"]
    assert run["by_symbol"]["predicted"] == len(shown) - 1
    assert page_counts[0][2] * page_counts[0][1] / page_counts[0][3] == pytest.approx(
        predictions.bits[1:].sum(), rel=0.01
    )
    positions, nats = symbol_losses(model, ids)
    found = run_data(trained)[0]["by_symbol"]
    symbols = found["symbols"]
    assert found["predicted"] == len(positions)
    targets = ids[positions]
    for symbol, count, bits, share in symbols:
        is_it = (
            targets
            == model.vocab.encode({"␣ space": " ", "↵ line end": "\n"}.get(symbol, symbol))[0]
        )
        assert count == is_it.sum()
        assert bits == pytest.approx(nats[is_it].mean() / np.log(2), abs=1e-3)
        assert share == pytest.approx(nats[is_it].sum() / nats.sum(), abs=1e-4)
    counts = dict(run["frequencies"]["symbols"])
    text = model.vocab.decode(training_and_validation_ids(trained).train)
    assert counts["␣ space"] == text.count(" ") and counts["a"] == text.count("a")


def test_losses_by_symbol_are_those_of_one_reading_of_the_text(trained):
    model, ids = charlstm.load(trained), training_and_validation_ids(trained).validation
    positions, nats = symbol_losses(model, ids)
    whole = model.score(model.vocab.decode(ids)).nats
    assert np.all(np.diff(positions) > 0)
    # the pieces begin from a state of zeros, which matters less and less
    assert np.abs(nats - whole[positions]).mean() < 0.1


def test_a_model_of_lines_has_the_losses_of_its_score(tmp_path, time_for_report):
    (tmp_path / "names.txt").write_text("Ada\nAlan\nGrace\nDonald\nBarbara\nEdsger\n" * 8)
    run = charlstm.train(tmp_path / "names.txt", tmp_path / "run", lines=True, hidden=8, steps=5)
    ids = training_and_validation_ids(run.path).validation
    positions, nats = symbol_losses(run.model, ids)
    whole = run.model.score(run.model.vocab.decode(ids)).nats
    np.testing.assert_allclose(nats, whole[positions], rtol=1e-5)
    shown = embedded(page_of(run.path))["runs"][0]["text"]["text"]
    assert len(shown) == len(ids) - len("Edsger\n")  # without the first line


@pytest.mark.parametrize("level", ["byte", "word"])
def test_bytes_and_words_have_a_report(level, tmp_path, time_for_report):
    (tmp_path / "t.txt").write_text("grüße aus köln, 日本語も。\n" * 80, encoding="utf-8")
    run = charlstm.train(tmp_path / "t.txt", tmp_path / "run", level=level, hidden=8, steps=4)
    (data,) = embedded(page_of(run.path))["runs"]
    assert data["unit"] == level == data["text"]["unit"]


def test_the_weights_are_the_same_with_and_without_the_report(overfitting_text, tmp_path):
    for name, report in (("with", True), ("without", False)):
        charlstm.train(overfitting_text, tmp_path / name, report=report, **QUICK)
    assert not (tmp_path / "without" / "report.html").exists()
    for name in ("best.safetensors", "last.safetensors"):
        assert arrays_of(tmp_path / "with" / name) == arrays_of(tmp_path / "without" / name)


def test_the_page_is_written_during_the_training_and_then_renews_itself(
    overfitting_text, tmp_path, time_for_report
):
    seen = []

    def observe(event):
        if event["event"] in ("step", "stop"):
            data = embedded(page_of(tmp_path / "run"))
            seen.append((event["step"], data["runs"][0]["steps"], data["live"]))

    charlstm.train(overfitting_text, tmp_path / "run", observer=observe, **QUICK)
    assert (1, 0, True) in seen and (11, 10, True) in seen
    assert embedded(page_of(tmp_path / "run"))["live"] is False


class Clock:
    """A clock that only the works of a report move, and the events of a run that goes by it."""

    def __init__(self, folder):
        self.seconds, self.step, self.folder = 0.0, 0, folder
        self.require_lock, self.notices = lambda: None, []

    def work(self, seconds):
        self.seconds += seconds


@pytest.mark.parametrize(("per_symbol", "page"), [(2e-5, 0.01), (1e-3, 0.05), (0.1, 0.5), (1, 9)])
@pytest.mark.parametrize(("minutes", "evaluations"), [(1, 20), (3, 40), (60, 1_000), (600, 5_000)])
def test_a_report_takes_less_than_one_percent_of_the_time(
    monkeypatch, tmp_path, per_symbol, page, minutes, evaluations
):
    clock, read, pages = Clock(tmp_path), [], []
    monkeypatch.setattr(report_writer.time, "monotonic", lambda: clock.seconds)
    monkeypatch.setattr(report_writer, "load", lambda folder: None)
    split = SimpleNamespace(validation=range(100_000))
    writer = report_writer.ReportWriter(tmp_path, clock, split)

    def measurements(model, split, shown, counted):
        read.append(shown)
        clock.work(0.002 + per_symbol * (shown + (counted if counted > shown else 0)))
        return {}

    monkeypatch.setattr(report_writer, "text_measurements", measurements)
    monkeypatch.setattr(writer, "_write", lambda state: pages.append(clock.work(page)))
    few = report_writer.FEWEST_SYMBOLS * per_symbol
    writer.write("running")
    for k in range(evaluations):
        clock.work(60 * minutes / evaluations)
        is_last = k == evaluations - 1
        if not is_last:
            writer.measure(None)
        writer.write("finished" if is_last else "running")
        # The first reading and the first page are made before anybody knows how long they take.
        allowed = max(0.1 + 0.0045 * clock.seconds, 0.5 if is_last else 0)
        assert writer.seconds <= allowed + 2 * few + 2 * page + 0.01
    if per_symbol <= 1e-3:  # models of about 1,000 units
        assert writer.seconds < 0.01 * clock.seconds
        assert read[-1] >= 180
    if page <= 0.05:
        assert len(pages) * page >= 0.00125 * clock.seconds or len(pages) == evaluations + 1
    assert max(read) <= 1_500


def test_pages_that_take_too_much_time_are_left_out_but_never_the_last(
    overfitting_text, tmp_path, monkeypatch
):
    for name in ("FREE_SECONDS", "SHARE_MEANWHILE", "SHARE_IN_ALL", "SECONDS_IN_ALL"):
        monkeypatch.setattr(report_writer, name, 0)
    written = []
    write_page = report_writer.write_page
    monkeypatch.setattr(report_writer, "write_page", lambda *a: written.append(write_page(*a)))
    charlstm.train(overfitting_text, tmp_path / "run", **QUICK)
    assert len(written) == 2  # before the first step, when no time is known, and at the end
    (run,) = embedded(page_of(tmp_path / "run"))["runs"]
    assert run["state"] == "finished"
    assert 0 < len(run["text"]["text"]) <= report_writer.FEWEST_SYMBOLS


def test_the_last_page_is_measured_with_the_best_weights(
    overfitting_text, tmp_path, time_for_report
):
    options = SMALL | {"stop_after": 2, "lr": 0.01}
    run = charlstm.train(overfitting_text, tmp_path / "run", **options)
    assert run.best_step < run.steps
    (last,) = embedded(page_of(run.path))["runs"]
    best, _, _ = run_data(run.path)
    assert "measured_step" not in last
    assert last["text"] == json.loads(json.dumps(best["text"]))


def test_a_failure_of_the_report_is_one_notice(overfitting_text, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("no page today")

    monkeypatch.setattr(report_writer, "write_page", fail)
    monkeypatch.setattr(report_writer, "text_measurements", fail)
    run = charlstm.train(overfitting_text, tmp_path / "run", **QUICK)
    (notice,) = events_of(run.path, "notice")
    assert (
        "report of the run cannot be written: ZeroDivisionError('no page today')" in notice["text"]
    )
    assert run.reason == "finished"


def test_a_file_of_the_user_is_not_replaced_by_the_report(overfitting_text, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "report.html").write_text("<p>mine</p>")
    with pytest.raises(charlstm.CharlstmError, match=r"holds files but no run \(report.html\)"):
        charlstm.train(overfitting_text, folder, **QUICK)
    charlstm.train(overfitting_text, folder, overwrite=True, **QUICK)
    assert page_of(folder) == "<p>mine</p>"
    assert "charlstm did not write it" in events_of(folder, "notice")[0]["text"]


def test_a_new_run_removes_the_report_of_the_earlier_one(overfitting_text, tmp_path):
    charlstm.train(overfitting_text, tmp_path / "run", **QUICK)
    charlstm.train(overfitting_text, tmp_path / "run", overwrite=True, report=False, **QUICK)
    assert "report.html" not in contents(tmp_path / "run")


def test_a_resumed_run_keeps_its_choice_of_a_report(overfitting_text, tmp_path, cli):
    folder = tmp_path / "run"
    charlstm.train(overfitting_text, folder, report=False, **QUICK)
    steps = QUICK["steps"]
    shown = cli("train", "-r", folder, "--resume", "--steps", steps + 1).stderr
    assert "report.html" not in shown and "report.html" not in contents(folder)
    charlstm.train(run=folder, resume=True, steps=steps + 2, report=True)
    (folder / "report.html").unlink()
    shown = cli("train", "-r", folder, "--resume", "--steps", steps + 3).stderr
    assert "report.html" in shown and "report.html" in contents(folder)


def test_no_path_user_or_host_stands_in_the_page(tmp_path, monkeypatch):
    secret = tmp_path / "secret-folder"
    secret.mkdir()
    (secret / "mine.txt").write_text("some text of mine\n" * 60)
    monkeypatch.chdir(secret)
    run = charlstm.train(
        secret / "mine.txt", secret / "a", hidden=4, steps=3, mix=[secret / "mine.txt"]
    )
    charlstm.train("mine.txt", secret / "b", hidden=4, steps=3, init_from=secret / "a")
    pages = page_of(run.path) + page_of(secret / "b")
    around = [str(tmp_path), "secret-folder", str(Path.home()), socket.gethostname()]
    if len(getpass.getuser()) > 4:
        around.append(getpass.getuser())
    for word in around:
        assert word not in pages, word
    assert dict(embedded(page_of(secret / "b"))["runs"][0]["facts"])["Begun from"] == "a"


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.015, "dropout": 0.25, "average": 0, "capped": False, "optimizer": "rmsprop"},
        {"textbook": True, "cell": "gru"},
        {"init_from": "runs/origin", "mix": ["texts/my text.txt"], "val_split": "end"},
        {"level": "word", "vocab_size": 5, "ngrams": 0},
    ],
)
def test_the_command_of_the_report_repeats_the_run(options, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "so the cat sat on the mat, and the dog on the log.\n" * 20
    Path("texts").mkdir()
    Path("texts/my text.txt").write_text(text)
    common = {"steps": 3, "seed": 5, "workers": 1}
    if "init_from" in options:
        charlstm.train("texts/my text.txt", "runs/origin", hidden=6, **common)
    else:
        common["hidden"] = 6
    charlstm.train("texts/my text.txt", "first", **common, **options)
    (run,) = embedded(page_of(tmp_path / "first"))["runs"]
    command = shlex.split(run["command"])
    assert command[:3] == ["charlstm", "train", "texts/my text.txt"]
    cli(*command[1:], "-r", "second")
    first, second = (arrays_of(Path(name) / "last.safetensors") for name in ("first", "second"))
    assert first == second


@pytest.mark.parametrize(
    "path",
    ["/home/ada/a.txt", "../ada/a.txt", "b/../../ada/a.txt", r"C:\ada\a.txt", "~/a.txt", "a.txt"],
)
def test_only_paths_below_the_working_directory_are_public(path):
    assert public_path(path) == "a.txt"
    assert public_path("texts/a.txt") == "texts/a.txt"


@pytest.mark.parametrize("text", INJECTIONS)
def test_hostile_events_cannot_become_markup(text, tmp_path):
    check_hostile(text, tmp_path)


@pytest.mark.slow
@settings(max_examples=1_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_random_events_cannot_become_markup(tmp_path, text):
    check_hostile(text, tmp_path)


def check_hostile(text, folder):
    data, state, missing = run_data(write_run(folder / "run", hostile_lines(text)))
    page = report_page([data])
    assert (state, len(missing)) == ("interrupted", 1)
    assert page.count("<script") == page.count("</script") == 2
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", page
    )
    (run,) = embedded(page)["runs"]
    assert run["evaluations"]["val_loss"] == [2.25, None]
    page.encode()


def test_the_page_of_a_long_run_is_small_and_keeps_the_extrema(tmp_path):
    rng = np.random.default_rng(0)
    losses = rng.normal(2, 0.1, 20_000).round(6).tolist()
    losses[777], losses[7_777] = 9.125, 0.125
    lines = [event("start", 0, total_steps=1_000_000, train_characters=10**6, windows_per_pass=500)]
    for k, loss in enumerate(losses, 1):
        facts = {"learning_rate": 0.02 / k, "gradient_norm": loss, "characters_per_second": 9e5 + k}
        lines.append(event("train", 50 * k, train_loss=loss, **facts))
        if k % 20 == 0:
            lines.append(event("eval", 50 * k, train_loss=loss, val_loss=loss + 1, weights="last"))
            lines.append(event("sample", 50 * k, text="Всё смешалось в доме. " * 7))
    data, _, _ = run_data(write_run(tmp_path / "run", lines))
    page = report_page([data])
    assert len(page.encode()) < 2_000_000
    assert len(data["evaluations"]["step"]) == len(data["samples"]) == 1_000
    assert (min(data["train"]["train_loss"]), max(data["train"]["train_loss"])) == (0.125, 9.125)
    assert len(data["train"]["step"]) <= 1_500


def test_a_folder_without_events_is_refused(tmp_path):
    with pytest.raises(charlstm.CharlstmError, match="no events of a run"):
        run_data(tmp_path)


def test_runs_that_differ_only_in_their_seed_are_repeats(tmp_path):
    def run(name, **config):
        start = event(
            "start", 0, config={"lr": 0.02, "seed": 0, **config}, given={}, corpus={"paths": ["t"]}
        )
        lines = [start, event("eval", 2, val_loss=1.0)]
        return run_data(write_run(tmp_path / name, lines))[0]

    data = embedded(report_page([run("a"), run("b", seed=7), run("c", lr=0.01)]))
    assert data["repeats"] == [[0, 1]]
    assert data["differing"] == [["lr", "0.02", "0.02", "0.01"], ["seed", "0", "7", "0"]]
    assert json.loads(json.dumps(data))["runs"][1]["name"] == "b"
