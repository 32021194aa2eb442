"""The page with a model inside, in a real browser, from a file, without network."""

import json
from importlib.resources import files

import numpy as np
import pytest
from browser import browser_in
from gate_pages import embedded
from hostile import INJECTIONS

import charlstm
from charlstm.export.compact import compact
from charlstm.export.html_page import html_page
from charlstm.network.sampling import Sampling, generate
from charlstm.pages.page import PAGES
from charlstm.seeds import generator
from charlstm.text.vocab import start_ids

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler\n" * 20
# Collects the tokens that the page writes for a request.
WRITE = """(async (request) => {
  const usual = { beginning: "", length: 60, count: 1, seed: "1", stops: [], temperature: 1,
    top_k: 0, top_p: 1, min_p: 0 };
  const found = { given: [], samples: [] };
  for await (const step of home.write({ ...usual, ...request }, new AbortController().signal)) {
    if (step.given) found.given = step.given;
    (step.written ?? []).forEach((tokens, k) => (found.samples[k] ??= []).push(...tokens));
  }
  return found;
})(%s)"""
SETTINGS = {
    "capped": {"capped": True, "ngrams": 6, "ngram_slots": 101},
    "skip": {"layers": 2, "skip": True, "ngrams": 2, "ngram_slots": 40},
    "two layers": {"layers": 2},
    "gru": {"cell": "gru", "layers": 2},
    "rnn": {"cell": "rnn", "ngrams": 3, "ngram_slots": 50},
    "lines": {"cell": "lstm", "lines": True, "ngrams": 3, "ngram_slots": 50},
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browser_in(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def play(browser, tmp_path):
    """A function that opens the page of a model: play(model) -> (page, the model it computes)."""

    def play(model, weights="int8", name="a run"):
        compacted = compact(model, weights)
        (tmp_path / "model.html").write_text(html_page(compacted, name), encoding="utf-8")
        page = browser.open(tmp_path / "model.html")
        page.wait_for("document.body.dataset.state === 'ready'")
        return page, compacted.model

    return play


def random_model(vocab=None, **settings):
    """A small model with random weights, also in its table."""
    config = charlstm.ModelConfig(**{"hidden": 13, "layers": 1} | settings)
    model = charlstm.CharModel(config, vocab or charlstm.Vocab.from_text(TEXT), seed=2)
    rng = np.random.default_rng(3)
    for array in model.parameters.values():
        array[...] = rng.normal(0, 0.4, array.shape)
    return model


def write(page, **request):
    return page.evaluate(WRITE % json.dumps(request))


def asked_of_worker(script):
    """JavaScript: a promise of the first answer of a worker that runs a script."""
    source = f"URL.createObjectURL(new Blob([{json.dumps(script)}]))"
    return f"new ModelHere(new Worker({source})).ask('next', 'a')"


def symbols_of(tokens):
    return [token["symbol"] for token in tokens]


def sampled(model, beginning, length, seed, count=1, **sampling):
    """The ids that `charlstm sample` draws, (length, count)."""
    ids = model.vocab.encode(beginning) if beginning else start_ids(model.vocab)
    steps = generate(model, ids, count, Sampling(**sampling), generator(seed, "sample"))
    return np.array([next(steps) for _ in range(length)])


@pytest.mark.parametrize("name", SETTINGS)
def test_the_page_writes_what_the_library_writes(play, name):
    page, model = play(random_model(**SETTINGS[name]))
    symbols = np.array(model.vocab.symbols)
    length = 200
    for beginning in ("", "Whether "):
        for seed, sampling in enumerate(
            (
                {"temperature": 0},
                {"temperature": 0.8},
                {"temperature": 1.2, "top_k": 7, "top_p": 0.9, "min_p": 0.02},
            )
        ):
            found = write(page, beginning=beginning, length=length, seed=str(seed), **sampling)
            expected = symbols[sampled(model, beginning, length, seed, **sampling)[:, 0]].tolist()
            if model.config.lines and "\n" in expected:
                expected = expected[: expected.index("\n")]
            assert symbols_of(found["samples"][0]) == expected
    assert page.messages == []


@pytest.mark.parametrize("weights", ["int8", "float16", "float32"])
def test_probabilities_and_texts_of_a_trained_model(play, trained, weights):
    page, model = play(charlstm.load(trained), weights)
    found = write(page, beginning="\n", length=1000, temperature=0)
    text = "".join(symbols_of(found["samples"][0]))
    assert text == model.sample(1000, prime="\n", temperature=0)
    for seed in (1, 2**32, 2**70):
        found = write(page, length=300, seed=str(seed), temperature=0.9, top_p=0.95)
        text = "".join(symbols_of(found["samples"][0]))
        assert text == model.sample(300, seed=seed, temperature=0.9, top_p=0.95)
    scored = write(page, beginning="\n" + text, length=1, temperature=0)["given"]
    nats = np.array([token["bits"] for token in scored[1:]]) * np.log(2)
    assert np.abs(nats - model.score(text).nats).max() < 1e-4
    likeliest = [token["expected"][0][1] for token in scored[1:]]
    assert all(np.diff([p for _, p in token["expected"]]).max() <= 0 for token in scored[1:])
    assert np.all(np.array(likeliest) >= np.exp(-nats) - 1e-9)
    assert page.messages == []


def test_samples_side_by_side_are_those_of_count(play):
    page, model = play(random_model(ngrams=2, ngram_slots=30))
    found = write(page, beginning="be", length=90, count=3, seed="5", stops=["q"])["samples"]
    ids = sampled(model, "be", 90, 5, count=3)
    for tokens, column in zip(found, ids.T, strict=True):
        assert "".join(symbols_of(tokens)) == model.vocab.decode(column).partition("q")[0]


def test_bytes(play, byte_run):
    page, model = play(charlstm.load(byte_run))
    found = write(page, beginning="grüße\udce3", length=120, seed="4")
    assert symbols_of(found["given"])[2:5] == ["\udcc3", "\udcbc", "\udcc3"]
    assert "".join(token["text"] for token in found["given"]) == "grüße"
    ids = sampled(model, "grüße\udce3", 120, 4)[:, 0]
    text = "".join(symbols_of(found["samples"][0]))
    assert model.vocab.encode(text).tolist() == ids.tolist()


def test_spelled_characters(play):
    vocab = charlstm.Vocab.from_characters("\n ab", spelled="日本€é")
    page, model = play(random_model(vocab, ngrams=2, ngram_slots=30))
    beginning = "a日b€"
    found = write(page, beginning=beginning, length=200, seed="4")
    as_bytes = beginning.encode("utf-8").decode("ascii", "surrogateescape")
    assert symbols_of(found["given"]) == list(as_bytes)
    assert "".join(token["text"] for token in found["given"]) == beginning
    ids = sampled(model, beginning, 200, 4)[:, 0]
    symbols = [model.vocab.symbols[k] for k in ids]
    assert len(set(symbols)) == len(vocab)
    written = found["samples"][0]
    codes = map(ord, symbols_of(written))
    assert [chr(c) if c < 0xDC80 else f"\\x{c - 0xDC00:02x}" for c in codes] == symbols
    # A spelled character that the end cuts off has no text.
    text = "".join(token["text"] for token in written)
    assert model.vocab.decode([*vocab.encode(beginning), *ids]).rstrip("\ufffd") == (
        beginning + text
    ).rstrip("\ufffd")
    unknown = page.evaluate("home.unknown('a日x本é語')")
    assert [symbol for symbol, _ in unknown] == ["x", "語"]


def test_words(play):
    words = ["to", "be", "or", "not", "(", "'tis", "nobler", ")", ",", ".", "question", "don't"]
    page, model = play(random_model(charlstm.Vocab.from_words(words), ngrams=2, ngram_slots=30))
    beginning = "To be, or (don't) 'tis\nnot_x"
    found = write(page, beginning=beginning, length=50, seed="4")
    symbols = [model.vocab.symbols[k] for k in model.vocab.encode(beginning)]
    assert symbols_of(found["given"]) == symbols
    ids = sampled(model, beginning, 50, 4)[:, 0]
    assert symbols_of(found["samples"][0]) == [model.vocab.symbols[k] for k in ids]
    tokens = found["given"] + found["samples"][0]
    assert "".join(token["text"] for token in tokens) == model.vocab.decode(
        [*model.vocab.encode(beginning), *ids]
    )


def test_a_vocabulary_without_line_end_begins_with_any_symbol(play):
    page, model = play(random_model(charlstm.Vocab.from_text("abcdef")))
    found = write(page, length=40, seed="9")
    ids = sampled(model, "", 40, 9)[:, 0]
    assert "".join(symbols_of(found["samples"][0])) == model.vocab.decode(ids)


def test_stop_strings_end_a_sample_before_them(play):
    page, model = play(random_model())
    whole = model.sample(200, seed=3)
    for stop in (whole[50:52], whole[120:123], "not there"):
        found = write(page, length=200, seed="3", stops=[stop, "neither"])["samples"][0]
        assert "".join(symbols_of(found)) == whole.partition(stop)[0]


def test_random_numbers_are_those_of_numpy(play):
    page, _ = play(random_model())
    page.evaluate(files(PAGES).joinpath("random.js").read_text("utf-8"))
    for seed in (0, 1, 2**31, 2**32, 2**64 + 3, 2**130 + 7):
        found = page.evaluate(
            f"(() => {{ const u = uniformNumbers('{seed}', 3); return [u(), u(), u(), u()]; }})()"
        )
        assert found == generator(seed, "sample").random(4).tolist()


def test_the_policy_allows_the_page_and_nothing_else(play):
    page, _ = play(random_model())
    policy = page.evaluate("document.querySelector('meta[http-equiv]').content")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("; worker-src blob:; base-uri 'none'; form-action 'none'")
    assert "unsafe" not in policy and "connect-src" not in policy
    for address in ("https://example.org", "data:,text"):  # the second one needs no network
        fetched = f"fetch('{address}').then(() => 'sent', () => 'refused')"
        answer = f"postMessage({{ call, value: await {fetched} }})"
        in_worker = f"onmessage = async ({{ data: {{ call }} }}) => {answer}"
        assert page.evaluate(fetched) == "refused"
        assert page.evaluate(asked_of_worker(in_worker)) == "refused"


def test_a_worker_that_fails_says_so(play):
    page, _ = play(random_model())
    for script, expected in (
        ("throw new Error('no room')", "Uncaught Error: no room"),
        ("onmessage = ({ data: { call } }) => postMessage({ call, error: 'wrong' })", "wrong"),
    ):
        assert (
            page.evaluate(f"{asked_of_worker(script)}.catch((error) => error.message)") == expected
        )


def test_hostile_names_and_symbols_are_text(play):
    for text in INJECTIONS:
        vocab = charlstm.Vocab.from_words([text, "a"])
        page, _ = play(random_model(vocab), name=text)
        assert page.evaluate("$('title').textContent") == text
        write(page, length=20)
        assert page.evaluate("document.querySelectorAll('img, iframe, [onerror]').length") == 0
        assert page.evaluate("data.symbols.length") == len(vocab)


def test_the_data_of_a_page_hold_no_path(trained, tmp_path, cli):
    cli("export", "-r", trained, tmp_path / "model.html")
    page = (tmp_path / "model.html").read_text("utf-8")
    assert embedded(page)["name"] == trained.name
    assert str(trained.parent) not in page
