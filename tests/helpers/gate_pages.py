"""Small models with known cells, their pages of gates, and pages as a browser shows them."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from charlstm import CharModel, ModelConfig, Vocab
from charlstm.analysis.gate_activity import measure_activity
from charlstm.analysis.gates_page import render
from charlstm.analysis.gates_page_data import gates_page_data

BROWSERS = "chromium", "chromium-browser", "google-chrome"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
    "--dump-dom",
]

HOSTILE_TEXT = "</script><img src=x onerror=document.title=1><!--<script>&amp;\u2028\u2029"
# 300 characters, which are read in four windows together with the line end before them
TEXT = "ab“ba b”a (ba)\n\tb“aa”b\x07 a" * 12


def make_model(
    text=TEXT,
    cell="lstm",
    layers=2,
    hidden=6,
    seed=0,
    scale=0.8,
    vocab=None,
    dtype="float64",
    capped=False,
    lines=False,
):
    vocab = vocab or Vocab.from_text(text)
    config = ModelConfig(
        cell=cell, hidden=hidden, layers=layers, dtype=dtype, capped=capped, lines=lines
    )
    model = CharModel(config, vocab, seed=seed)
    rng = np.random.default_rng(seed)
    for array in model.parameters.values():
        array[...] = rng.normal(0, scale, array.shape)
    return model


def quote_model():
    """A model whose layer 1, unit 2 is tanh(1) inside curly quotes, else 0; others are random."""
    model = make_model(scale=0.2)
    H, opening, closing = 6, *model.vocab.encode("“”")
    Wx, Wh, b = (model.parameters[f"layers.0.{name}"] for name in ("Wx", "Wh", "b"))
    i, f, _, g = (block * H + 1 for block in range(4))
    for column in (i, f, g):
        Wx[:, column] = Wh[:, column] = b[column] = 0
    b[i], Wx[opening, i], Wx[opening, g] = -30, 60, 30
    b[f], Wx[closing, f] = 30, -60
    return model


def page_of(model, text=TEXT):
    activity = measure_activity(model, model.vocab.encode(text))
    return activity, render(gates_page_data(model, activity, "a run"))


def embedded(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


class Document(HTMLParser):
    """The elements of a page in order, each with its tag, attributes and text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})
        if tag not in ("meta", "input", "br", "img", "link"):
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, text):
        for element in self._open:
            element["text"] += text

    def all(self, **wanted):
        return [e for e in self.elements if all(e.get(k) == v for k, v in wanted.items())]

    def one(self, id_):
        (found,) = self.all(id=id_)
        return found

    @property
    def characters(self):
        return [e for e in self.elements if "c" in e.get("class", "").split()]

    @property
    def colours(self):
        """The strength of each character's colour, negative for negative values."""
        return [
            float(re.search(r"--v: ([\d.]+)", e["style"])[1])
            * (-1 if "negative" in e["class"].split() else 1)
            for e in self.characters
        ]


def browse(folder, page, fragment="", *flags):
    """Load a page in a browser and return its document once the script has run."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("there is no Chromium here")
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [browser, *FLAGS, profile, *flags, path.as_uri() + fragment],
        capture_output=True,
        timeout=120,
        check=True,
    )
    return Document(done.stdout.decode())
