"""The report in a real browser, from a file, without network."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from browser import browser_in
from gate_pages import embedded
from hostile import INJECTIONS, event, hostile_lines, write_run
from run_files import events_of

from charlstm.runs.report import report_page, run_data

CURVES = """JSON.stringify([...document.querySelectorAll("#loss svg")].map((svg) => [
  JSON.parse(svg.dataset.scales),
  Object.fromEntries([...svg.querySelectorAll("polyline")].map((line) => [
    line.dataset.name,
    line.getAttribute("points").split(" ").map((pair) => pair.split(",").map(Number)),
  ])),
])[0])"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browser_in(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def curves_of(page):
    """The points of each curve of losses, read back from the drawing."""
    (left, right, x0, x1, low, high, y0, y1, is_log), lines = json.loads(page.evaluate(CURVES))
    if is_log:
        low, high = np.log([low, high])
    found = {}
    for name, points in lines.items():
        x, y = np.transpose(points)
        y = low + (y - y0) / (y1 - y0) * (high - low)
        found[name] = left + (x - x0) / (x1 - x0) * (right - left), np.exp(y) if is_log else y
    return found


def click(page, id_):
    page.evaluate(f"document.getElementById({id_!r}).click()")


def text_of(page, id_):
    return page.evaluate(f"document.getElementById({id_!r}).textContent")


def test_the_curves_are_the_numbers_of_the_events(browser, uninterrupted):
    folder = uninterrupted.folder
    page = browser.open(folder / "report.html", 1000)
    trained, evaluated = events_of(folder, "train"), events_of(folder, "eval")
    for axis, of in (("steps", lambda e: e["step"]), ("time", lambda e: e["seconds"])):
        for unit, factor in (("bits", 1 / np.log(2)), ("nats", 1)):
            for scale in ("linear", "logarithmic"):
                for id_ in (f"x-{axis}", f"unit-{unit}", f"scale-{scale}"):
                    click(page, id_)
                curves = curves_of(page)
                for name, events, loss in (
                    ("validation", evaluated, "val_loss"), ("training", trained, "train_loss")
                ):  # fmt: skip
                    x, y = curves[name]
                    places = np.array([of(each) for each in events])
                    np.testing.assert_allclose(x, places, atol=places.max() / 50_000)
                    losses = np.array([each[loss] for each in events]) * factor
                    np.testing.assert_allclose(y, losses, atol=losses.max() / 10_000)
    click(page, "x-characters")
    start = events_of(folder, "start")[0]
    per_step = start["train_characters"] / start["windows_per_pass"]
    x, _ = curves_of(page)["validation"]
    np.testing.assert_allclose(x, [per_step * e["step"] for e in evaluated], rtol=1e-3)
    assert page.messages == []


def test_keys_move_the_cursor_the_slider_and_the_text(browser, trained):
    events = events_of(trained, "eval")
    page = browser.open(trained / "report.html")
    page.evaluate("document.querySelector('#loss .plot').focus()")
    page.press("Home", "ArrowRight")
    told = page.evaluate("document.activeElement.getAttribute('aria-valuetext')")
    bits = events[1]["val_loss"] / np.log(2)
    assert told.startswith(f"{events[1]['step']} steps: validation {bits:.4g}")
    assert told == page.evaluate("document.querySelector('#loss .readout').textContent")
    samples = events_of(trained, "sample")
    assert text_of(page, "sample-text") == samples[-1]["text"]
    page.evaluate("document.getElementById('sample').focus()")
    page.press("Home", "ArrowRight")
    assert text_of(page, "sample-text") == samples[1]["text"]
    assert text_of(page, "sample-step") == f"step {samples[1]['step']}, sample 2 of {len(samples)}"
    click(page, "earlier")
    assert text_of(page, "sample-text") == samples[0]["text"]
    page.evaluate("document.querySelector('.c').focus()")
    page.press("ArrowRight")
    (run,) = embedded((trained / "report.html").read_text("utf-8"))["runs"]
    text = run["text"]
    assert text_of(page, "surprise").endswith(f": {text['bits'][1] / 1000:.2f} bits")
    expected = page.evaluate("document.querySelector('#expected tbody th').textContent")
    assert expected == text["symbols"][text["expected"][1][0]][1]
    assert page.messages == []


def test_ticks_scales_and_the_nearest_point(browser, trained):
    page = browser.open(trained / "report.html")
    for call, value in {
        "ticks(0, 10, 5)": [0, 2, 4, 6, 8, 10],
        "ticks(0.93, 1.61, 4)": [1, 1.2, 1.4, 1.6],
        "ticks(-1, 1, 4)": [-1, -0.5, 0, 0.5, 1],
        "ticks(3, 3, 4)": [3],
        "logTicks(0.05, 2, 5)": [0.05, 0.1, 0.2, 0.5, 1, 2],
        "logTicks(1.1, 1.6, 5)": [1.1, 1.2, 1.3, 1.4, 1.5, 1.6],
        "logTicks(1, 1e6, 3)": [1, 100, 1e4, 1e6],
        "[0, 5, 10].map(scale(0, 10, 100, 200))": [100, 150, 200],
        "[1, 10, 100].map(scale(1, 100, 0, 8, true))": [0, 4, 8],
        "[3, 3].map(scale(3, 3, 0, 8))": [0, 0],
        "[-9, 1.4, 1.6, 3.1, 99].map((x) => nearest([1, 2, 4], x))": [0, 0, 1, 2, 2],
        "nearest([7], 3)": 0,
        "[0, 1234567, 0.00002, 1.23456].map((x) => short(x))": ["0", "1,230,000", "2.0e-5", "1.23"],
    }.items():
        found = page.evaluate(call)
        assert found == pytest.approx(value) if "map((x) => short" not in call else value, call


@pytest.mark.parametrize(
    ("dark", "paper"), [(False, "rgb(255, 253, 249)"), (True, "rgb(23, 22, 20)")]
)
def test_nothing_is_wider_than_the_window(browser, trained, dark, paper):
    page = browser.open(trained / "report.html", 360, dark=dark)
    for width in (360, 800, 1600):
        page.show_as(width, dark=dark)
        page.wait_for(f"document.querySelector('#loss svg').clientWidth < {width}")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper


def test_long_names_of_runs_are_not_wider_than_the_window(browser, tmp_path):
    name = "a-name-with-every-setting-" * 3
    runs = [
        run_data(write_run(tmp_path / f"{name}{k}", [event("eval", 1, val_loss=2.0)]))[0]
        for k in range(2)
    ]
    (tmp_path / "page.html").write_text(report_page(runs), encoding="utf-8")
    page = browser.open(tmp_path / "page.html", 360)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_hostile_runs_are_shown_as_text(browser, tmp_path):
    runs = [
        run_data(write_run(tmp_path / str(k), hostile_lines(text)))[0]
        for k, text in enumerate(INJECTIONS)
    ]
    (tmp_path / "page.html").write_text(report_page(runs), encoding="utf-8")
    page = browser.open(tmp_path / "page.html")
    for k, run in enumerate(runs):
        page.evaluate(f"$('run').value = {k}; $('run').dispatchEvent(new Event('change'))")
        assert text_of(page, "sample-text") == run["samples"][0][1]
        assert page.evaluate("document.title").endswith(" · charlstm")
    elements = (
        "document.querySelectorAll('img, iframe, object, body script:not([id]), [onerror]').length"
    )
    assert page.evaluate(elements) == 1  # the script of the page
    assert page.evaluate("document.querySelectorAll('#runs tbody tr').length") == len(runs)
    assert page.messages == []


def test_several_runs_are_laid_over_each_other_and_sorted(browser, tmp_path):
    runs = []
    for name, seed, lr, loss in (("a", 0, 0.02, 1.5), ("b", 1, 0.02, 1.25), ("c", 0, 0.01, 2.0)):
        lines = [
            event("start", 0, config={"seed": seed, "lr": lr}, given={}, corpus={"paths": ["t"]}),
            event("eval", 5, val_loss=loss + 1, train_loss=loss),
            event("eval", 10, val_loss=loss, train_loss=loss),
        ]
        runs.append(run_data(write_run(tmp_path / name, lines))[0])
    (tmp_path / "page.html").write_text(report_page(runs), encoding="utf-8")
    page = browser.open(tmp_path / "page.html")
    names = (
        "[...document.querySelectorAll('#runs tbody tr')].map((row) => row.cells[0].textContent)"
    )
    click(page, "unit-nats")
    curves = curves_of(page)
    for name, losses in (("a", [2.5, 1.5]), ("b", [2.25, 1.25]), ("c", [3, 2])):
        np.testing.assert_allclose(curves[f"{name}: validation"][1], losses, atol=1e-3)
    assert page.evaluate(names) == ["a", "b", "c"]
    click(page, "sort-1")
    assert page.evaluate(names) == ["b", "a", "c"]
    click(page, "sort-1")
    assert page.evaluate(names) == ["c", "a", "b"]
    assert page.evaluate("document.querySelector('[aria-sort]').ariaSort") == "descending"
    spread = "mean 1.3750, standard deviation 0.1768"
    assert spread in text_of(page, "spread") and "a, b have" in text_of(page, "spread")
    assert page.messages == []


def test_the_curves_mark_recoveries_resumptions_and_averaged_weights(browser, tmp_path):
    losses = ((10, 3.0, "last"), (20, 2.5, "last"), (30, 2.0, "average"), (40, 2.25, "average"))
    evaluations = [
        event("eval", step, val_loss=loss, train_loss=loss, weights=weights)
        for step, loss, weights in losses
    ]
    lines = [
        event("start", 0), *evaluations[:1], event("recovery", 10, cause="NaN", rate_factor=0.5),
        evaluations[1], event("start", 20, resumed=True), *evaluations[2:],
    ]  # fmt: skip
    run, _, _ = run_data(write_run(tmp_path / "a", lines))
    (tmp_path / "page.html").write_text(report_page([run]), encoding="utf-8")
    page = browser.open(tmp_path / "page.html")
    left, right, x0, x1 = json.loads(page.evaluate(CURVES))[0][:4]
    marks = page.evaluate(
        "[...document.querySelectorAll('#loss .event')].map("
        "(line) => [Number(line.getAttribute('x1')), line.nextSibling.textContent])"
    )
    places = [(left + (x - x0) / (x1 - x0) * (right - left), name) for x, name in marks]
    expected = [(10, "recovered"), (20, "resumed"), (30, "averaged weights")]
    assert [name for _, name in places] == [name for _, name in expected]
    np.testing.assert_allclose([x for x, _ in places], [x for x, _ in expected], atol=0.1)
    hollow = "[...document.querySelectorAll('#loss .dot')].map((d) => d.matches('.hollow'))"
    assert page.evaluate(hollow) == [True, True, False, False]
    assert "hollow dots those of the last weights" in text_of(page, "loss")
    (note,) = [name for name in page.evaluate(
        "[...document.querySelectorAll('#loss .note')].map((note) => note.textContent)"
    ) if name.startswith("best")]  # fmt: skip
    assert note == f"best {2 / np.log(2):.4g}"


# A training that waits after each evaluation until a file says that it may go on.
WAITING = """
import sys, time
from pathlib import Path
import charlstm
from charlstm.runs import report_writer
report_writer.FREE_SECONDS = 100  # on a busy machine, a page may take long
folder, text = Path(sys.argv[1]), sys.argv[2]
def observe(event):
    if event["event"] == "step" and event["step"] in (11, 21):
        while not Path(f"{folder}-{event['step']}").exists():
            time.sleep(0.02)
charlstm.train(text, folder, hidden=16, batch_size=8, seq_length=12, steps=30, eval_every=10,
               workers=1, observer=observe)
"""
PLACE = (
    "[choices.x, choices.unit, choices.scale, $('settings').open, "
    "document.activeElement.id, scrollY]"
)


@pytest.mark.slow
def test_an_open_page_renews_itself_and_keeps_its_place(browser, tmp_path, text_file):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", WAITING, str(folder), str(text_file)]
    with subprocess.Popen(command) as training:
        try:
            while not (folder / "report.html").exists():
                time.sleep(0.05)
            page = browser.open(folder / "report.html")
            page.wait_for("data.runs[0].steps === 10")
            for id_ in ("x-time", "unit-nats", "scale-logarithmic"):
                click(page, id_)
            page.evaluate("$('settings').open = true; $('unit-nats').focus(); scrollTo(0, 300)")
            Path(f"{folder}-11").touch()
            while '"eval", "step": 20' not in (folder / "metrics.jsonl").read_text():
                time.sleep(0.02)
            assert page.wait_for("data.runs[0].steps === 20") <= 15
            *kept, scroll = page.evaluate(PLACE)
            assert kept == ["time", "nats", "logarithmic", True, "unit-nats"]
            assert 260 <= scroll <= 340  # a browser adapts it to content that has grown above
            assert text_of(page, "age").endswith("; renews itself while the run goes on.")
            click(page, "pause")
            Path(f"{folder}-21").touch()
            assert training.wait(60) == 0
            later = "new Promise((done) => setTimeout(() => done(data.runs[0].steps), 11500))"
            assert page.evaluate(later) == 20  # as it is paused
            click(page, "pause")
            page.wait_for("data.live === false && data.runs[0].steps === 30")
            assert page.evaluate("$('pause').hidden") is True
            assert page.messages == []
        finally:
            training.kill()
