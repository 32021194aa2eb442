"""The page of a running server in a browser: what it writes is what the server writes."""

import json

import pytest
from browser import browser_in
from servers import expected, make_model, serving

from charlstm import Vocab, save
from charlstm.network.sampling import Sampling

READY = "document.body.dataset.state === 'ready' && !running"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of characters and of bytes, in files, by name."""
    folder = tmp_path_factory.mktemp("models")
    models = {"letters": make_model(), "raw": make_model(Vocab.bytes(), ngrams=0)}
    for name, model in models.items():
        save(model, folder / f"{name}.safetensors")
    return folder, models


@pytest.fixture(scope="module")
def page(models, tmp_path_factory):
    folder, names = models
    runs = [argument for name in names for argument in ("-r", folder / f"{name}.safetensors")]
    with serving(*runs) as server, browser_in(tmp_path_factory.mktemp("browser")) as browser:
        page = browser.open(server.url)
        page.wait_for(READY)
        yield page


def write(page, **fields):
    for name, value in fields.items():
        page.evaluate(f"$({name!r}).value = {json.dumps(value)}")
    page.evaluate("chooseModel($('model').value); void write()")
    page.wait_for(READY)
    return json.loads(page.evaluate("JSON.stringify(samples[0].tokens)"))


def test_the_page_shows_what_the_server_writes(page, models):
    model = models[1]["letters"]
    tokens = write(page, model="letters", beginning="be", length=90, seed=4, temperature=0.7)
    assert "".join(token["text"] for token in tokens) == "be" + expected(
        model, "be", 4, 90, sampling=Sampling(temperature=0.7)
    )
    likeliest = max(tokens[5]["expected"], key=lambda each: each[1])
    assert tokens[5]["expected"][0] == likeliest and len(tokens[5]["expected"]) == 10
    assert page.evaluate("$('next').childElementCount") == 10


def test_bytes_of_the_server(page, models):
    model = models[1]["raw"]
    tokens = write(page, model="raw", beginning="ü", length=90, seed=4, temperature=1)
    symbols = "".join(token["symbol"] for token in tokens)
    drawn = model.sample(90, prime="ü", seed=4, errors="surrogateescape")
    ids = model.vocab.encode("ü" + drawn).tolist()
    assert model.vocab.encode(symbols).tolist() == ids


def test_errors_of_the_server_are_shown(page):
    page.evaluate("$('length').max = 1e9")
    write(page, model="letters", length=10**8)
    assert "max_tokens" in page.evaluate("$('status').textContent")
    page.messages[:] = [each for each in page.messages if "400 (Bad Request)" not in each]


def test_the_console_stays_empty(page):
    assert page.messages == []
