"""The views of runs, scores and models in a notebook."""

import copy
import html
import pickle
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from browser import browser_in
from gate_pages import embedded, make_model

import charlstm
from charlstm import Vocab
from charlstm.pages.text_data import shown_symbol
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


def shown_text(score):
    """The data of the view of a score."""
    return embedded(page_in(score._repr_html_()))


@pytest.mark.parametrize("level", ["char", "line", "byte", "word"])
def test_a_score_shows_the_surprisal_and_what_the_model_expected(level):
    text = "ab<b>\x07\nba\n"
    vocab = {"byte": Vocab.bytes(), "word": Vocab.from_words(["ab", "b", "<", "\n"])}.get(level)
    model = make_model("ab<>\x07\n", vocab=vocab, lines=level == "line", hidden=4)
    score = model.score(text, unknown="replace")
    data = shown_text(score)
    text_data = data["text"]
    assert data["symbols"] == len(text_data["text"]) == len(score.nats)
    np.testing.assert_allclose(
        np.array(text_data["bits"]) / 1000, score.nats / np.log(2), atol=1e-3
    )
    assert data["bits_per_symbol"] == score.bits_per_character
    ids = model.vocab.encode(text, unknown="replace")
    start = model.vocab.encode("\n")
    state = model.initial_state(1)
    for id_ in (*start, ids[0]):
        log_probs, state = model.step(np.array([id_]), state)
    likeliest = np.argsort(-log_probs[0])[:5]
    shown = [text_data["symbols"][k][1] for k in text_data["expected"][1]]
    assert shown == [shown_symbol(model.vocab.symbols[k])[1] for k in likeliest]
    if level == "char":
        symbols = [text_data["symbols"][k][0] for k in text_data["text"]]
        assert symbols == ["a", "b", "<", "b", ">", "\\x07", "↵\n", "b", "a", "↵\n"]


def test_a_score_has_no_view_where_it_says_nothing_of_the_model():
    model = make_model("abc\n")
    score = model.score("abca")
    assert model.score("")._repr_html_() is None
    for copied in (pickle.loads(pickle.dumps(score)), replace(score), copy.copy(score)):
        assert copied._repr_html_() is None and copied.text == "abca"
        np.testing.assert_array_equal(copied.nats, score.nats)
    assert asdict(score).keys() == {"text", "nats"}
    model.parameters["head.b"][...] += [3, 0, 0, 0]  # the model has learned since
    assert score._repr_html_() is None


def test_a_first_character_that_is_not_predicted_has_no_surprisal():
    score = make_model("abc").score("abca")
    assert shown_text(score)["text"]["bits"][0] is None


def test_a_long_text_is_shown_in_part():
    data = shown_text(make_model("ab\n", hidden=2).score("ab" * 3_000))
    assert data["symbols"] == 6_000 and len(data["text"]["text"]) == 2_000


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
        assert sizes[0] == 640 and sizes[1] < 400
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
