"""The views of runs, scores and models in a notebook."""

import html
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from browser import browser_in
from gate_pages import embedded, make_model

import charlstm
from charlstm import Vocab
from charlstm.runs import progress_display
from charlstm.runs.progress_bar import notebook_bar
from charlstm.runs.result import TrainedRun


def page_in(frame):
    """The page that stands in a frame."""
    beginning, _, rest = frame.partition('srcdoc="')
    page, _, end = rest.partition('"')
    assert beginning == "<iframe " and 'sandbox="allow-scripts"' in end and "<" not in page
    return html.unescape(page)


def test_a_run_shows_its_report(trained):
    run = TrainedRun(trained, 1.0, 250, "finished")
    data = embedded(page_in(run._repr_html_()))
    assert data["runs"][0]["steps"] == 250 and data["live"] is False
    assert replace(run, path=trained / "elsewhere")._repr_html_() is None


def test_a_score_shows_the_surprisal_of_each_character():
    model = make_model("ab<>\x07\n")
    score = model.score("ab<b>\x07\n")
    data = embedded(page_in(score._repr_html_()))
    np.testing.assert_allclose(np.array(data["bits"]) / 1000, score.nats / np.log(2), atol=1e-3)
    shown = [data["symbols"][k][0] for k in data["text"]]
    assert shown == ["a", "b", "<", "b", ">", "\\x07", "↵\n"]


def test_the_bits_of_the_bytes_of_a_character_are_added():
    score = make_model(vocab=Vocab.bytes(), hidden=2).score("é\na")
    data = embedded(page_in(score._repr_html_()))
    bits = score.nats / np.log(2)
    expected = [bits[0] + bits[1], bits[2], bits[3]]
    np.testing.assert_allclose(np.array(data["bits"]) / 1000, expected, atol=1e-3)


def test_a_first_character_that_is_not_predicted_has_no_surprisal():
    score = make_model("abc").score("abca")
    assert embedded(page_in(score._repr_html_()))["bits"][0] is None
    words = make_model(vocab=Vocab.from_words(["the", "king"]), hidden=2).score("the king the")
    assert words._repr_html_() is None


def test_a_model_shows_its_sizes():
    table = make_model()._repr_html_()
    assert "LSTM" in table and "2 of 6 units" in table and table.startswith("<table>")


def test_the_frames_work_in_a_browser(trained, tmp_path):
    run = TrainedRun(trained, 1.0, 250, "finished")
    frames = run._repr_html_() + make_model().score("ab ba")._repr_html_()
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><title>notebook</title>{frames}", encoding="utf-8")
    with browser_in(tmp_path) as browser:
        page = browser.open(path)
        page.wait_for("frames.length === 2")
        sizes = page.evaluate("[...document.querySelectorAll('iframe')].map((f) => f.clientHeight)")
        assert sizes[0] == 640 and sizes[1] < 200
        assert [text for text in page.messages if "sandbox" not in text] == []


def test_the_bar_in_a_notebook_is_that_of_tqdm(monkeypatch, text_file, tmp_path):
    assert notebook_bar("step") is None
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    made = []

    class Bar:
        total, n = None, 0

        def set_description(self, text, refresh):
            self.text = text

        def update(self, steps):
            self.n += steps

        def close(self):
            made.append(self)

    monkeypatch.setattr(progress_display, "notebook_bar", lambda unit: Bar())
    charlstm.train(text_file, tmp_path / "run", hidden=4, steps=3, quiet=False)
    (bar,) = made
    assert (bar.n, bar.total) == (3, 3) and bar.text.endswith(" bits per character")
