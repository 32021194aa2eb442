"""The page of gates: its data, its safety, and how a browser shows it."""

import base64
import hashlib
import re

import numpy as np
import pytest
from gate_pages import HOSTILE_TEXT, TEXT, browse, embedded, make_model, page_of, quote_model

from charlstm import Vocab
from charlstm.analysis.gate_activity import measure_activity
from charlstm.analysis.gates_page import render, to_script_json
from charlstm.analysis.gates_page_data import gates_page_data

# -- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_data_are_rounded_to_the_nearest_unit(cell):
    model = make_model(cell=cell)
    activity = measure_activity(model, model.vocab.encode(TEXT))
    data = embedded(render(gates_page_data(model, activity, "run")))
    assert np.abs(np.array(data["bits"]) / 1000 - activity.bits).max() <= 0.0005 + 1e-12
    for layer in range(2):
        for unit in range(6):
            kept = np.frombuffer(base64.b64decode(data["cells"][layer][unit]), np.int8) / 127
            assert np.abs(kept - activity.cells[layer, :, unit]).max() <= 0.5 / 127 + 1e-12
        assert list(data["gates"][layer]) == list({"lstm": "ifo", "gru": "rz", "rnn": ""}[cell])
        for gate, openness in zip(
            data["gates"][layer].values(), activity.gates[layer], strict=True
        ):
            assert np.abs(np.array(gate) / 10_000 - openness).max() <= 0.00005 + 1e-12


def test_text_cannot_become_markup_and_nothing_is_loaded_from_a_network():
    model = make_model(HOSTILE_TEXT * 3)
    activity = measure_activity(model, model.vocab.encode(HOSTILE_TEXT))
    page = render(gates_page_data(model, activity, f"runs/{HOSTILE_TEXT}"))
    assert re.findall(r"(?i)<script[^>]*>", page) == [
        '<script type="application/json" id="data">',
        "<script>",
    ]
    assert page.count("</script>") == 2
    assert "<img" not in page and "<!--" not in page
    assert not re.search(r"(?i)https?:|://", page)
    around = re.sub(r'(?s)id="data">.*?</script>', "", page)
    assert not re.search(r"(?i)url\(|@import|\bsrc=|<link|<iframe|<object", around)
    assert to_script_json("<>&\u2028\u2029") == r'"\u003c\u003e\u0026\u2028\u2029"'
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert f"script-src 'sha256-{digest}';" in policy
    data = embedded(page)
    assert "".join(data["symbols"][k][0] for k in data["text"][:8]) == "</script"
    assert data["run"] == "runs/" + HOSTILE_TEXT.replace("\u2028\u2029", "\\u2028\\u2029")


def luminance(colour):
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    """The contrast of two colours by the Web Content Accessibility Guidelines."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_text_is_readable_on_every_colour_in_light_and_in_dark():
    model = make_model()
    page = page_of(model, "ab")[1]
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in page.split("@media")[:2]]
    assert luminance(schemes[0]["paper"]) > 0.9 and luminance(schemes[1]["paper"]) < 0.02
    for colours in schemes:
        for ground in ("paper", "panel", "bits", "warm", "cool", "gate"):
            assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
        for ink in ("quiet", "link"):
            assert contrast(colours[ink], colours["paper"]) >= 4.5
            assert contrast(colours[ink], colours["panel"]) >= 4.5
        assert contrast(colours["on"], colours["link"]) >= 4.5


# -- in a real browser ----------------------------------------------------------------------------


def test_browser_colours_by_surprisal(tmp_path):
    activity, page = page_of(make_model())
    document = browse(tmp_path, page)
    assert document.all(tag="body")[0]["data-view"] == "bits"
    assert len(document.characters) == len(TEXT)
    shown = {"\n": "↵\n", "\t": "⇥\t", "\x07": "\\x07"}
    assert [e["text"] for e in document.characters] == [shown.get(c, c) for c in TEXT]
    np.testing.assert_allclose(document.colours, np.minimum(1, activity.bits / 8), atol=0.001)
    mean = f"{activity.bits.mean():.3f} bits each on average"
    assert document.one("about")["text"] == f"a run · LSTM, 2 × 6 units · 300 characters, {mean}"


def test_browser_colours_by_a_cell_and_describes_a_character(tmp_path):
    model = quote_model()
    activity, page = page_of(model)
    document = browse(tmp_path, page, "#cell=0.1&at=3")
    assert document.all(tag="body")[0]["data-address"] == "cell=0.1"
    np.testing.assert_allclose(document.colours, activity.cells[0, :, 1], atol=0.5 / 127 + 0.001)
    current = [e["href"] for e in document.all(tag="a") if "aria-current" in e]
    assert len(current) > 1  # the control, and the cell in the list of those that react
    assert {address.partition("#")[2] for address in current} == {"cell=0.1"}
    assert "inside quotes at 96 of 300" in document.one("found")["text"]
    assert document.one("character")["text"] == "b"
    bits = f"{activity.bits[3]:.2f} bits"
    assert document.one("surprise")["text"] == f"character 4 of 300: {bits}"
    names = {" ": "␣ space", "\n": "↵ line end", "\t": "⇥ tab", "\x07": "\\x07"}
    symbols = [model.vocab.symbols[id_] for id_ in activity.expected[3]]
    shares = [f"{100 * probability:.1f} %" for probability in activity.probabilities[3]]
    rows = [names.get(c, c) + share for c, share in zip(symbols, shares, strict=True)]
    assert document.one("expected")["text"] == "Expected here" + "".join(rows)
    assert document.one("values")["text"].startswith("On reading itcell 0.1+0.76input gates of")
    focusable = [k for k, e in enumerate(document.characters) if e["tabindex"] == "0"]
    assert focusable == [3]


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "gate"), [("lstm", "1.f"), ("gru", "0.z")])
def test_browser_colours_by_gates(tmp_path, cell, gate):
    activity, page = page_of(make_model(cell=cell))
    document = browse(tmp_path, page, f"#gate={gate}")
    assert document.all(tag="body")[0]["data-address"] == f"gate={gate}"
    openness = activity.gates[int(gate[0]), 1]
    scaled = (openness - openness.min()) / np.ptp(openness)
    np.testing.assert_allclose(document.colours, scaled, atol=0.001 + 0.0001 / np.ptp(openness))
    assert document.one("least")["text"] == f"{openness.min():.2f} open"


@pytest.mark.parametrize("fragment", ["#gate=0.f&at=-1", "#cell=0.length", "#gate=length.f&at=x"])
def test_browser_shows_surprisal_for_an_address_without_a_view(tmp_path, fragment):
    document = browse(tmp_path, page_of(make_model(cell="rnn"), "ab")[1], fragment)
    assert document.all(tag="body")[0]["data-address"] == "bits"
    assert "hidden" in document.one("to-gate")
    assert len(document.colours) == 2


def test_browser_shows_hostile_text_as_text(tmp_path):
    model = make_model(HOSTILE_TEXT)
    page = page_of(model, HOSTILE_TEXT)[1].replace(
        "</body>", "<script>document.title = 2</script></body>"
    )
    document = browse(tmp_path, page, "#cell=0.0&at=0")
    assert document.all(tag="title")[0]["text"] == "Gates at work"  # no other script may run
    assert document.all(tag="img") == []
    assert len(document.characters) == len(HOSTILE_TEXT)
    shown = HOSTILE_TEXT.replace("\u2028\u2029", "\\u2028\\u2029")
    assert document.one("text")["text"] == shown


def test_no_symbol_or_title_can_end_the_element_with_the_data():
    symbols = ["</script>", "<!--<script>", "]]>", "\0", "\ud800", "'\"`&", "\x1b[2J", "\u202e"]
    model = make_model(vocab=Vocab.from_words(symbols), hidden=2)
    activity = measure_activity(model, model.vocab.encode_words(symbols))
    run = "</title><script>alert(1)</script>\0\x1b\ud800"
    page = render(gates_page_data(model, activity, run))
    assert page.count("<script") == page.count("</script") == 2
    assert not set(page) & set("\0\x1b\ud800\u202e")
    page.encode()  # no half of a surrogate pair is left
    data = embedded(page)
    assert data["run"] == "</title><script>alert(1)</script>\\x00\\x1b\\ud800"
    shown = {text for text, _ in data["symbols"]}
    assert {"</script>", "<!--<script>", "\\x00", "\\ud800", "\\x1b[2J", "\\u202e"} <= shown


def test_browser_shows_a_word_of_markup_as_text(tmp_path):
    word = "<img/src=x>&amp;"  # no text yields such a word, but a checkpoint's vocabulary may
    model = make_model(vocab=Vocab.from_words([word]), hidden=2)
    activity = measure_activity(model, model.vocab.encode_words([word]))
    document = browse(tmp_path, render(gates_page_data(model, activity, word)), "#at=0")
    assert document.all(tag="img") == []
    assert document.one("text")["text"] == document.one("character")["text"] == word
    assert document.one("about")["text"].startswith(f"{word} · LSTM")
    assert word in document.one("expected")["text"]


@pytest.mark.slow
def test_browser_shows_bytes_and_words(tmp_path):
    text = "“é”\n"
    model = make_model(vocab=Vocab.bytes(), hidden=2)
    document = browse(tmp_path, page_of(model, text)[1])
    shown = [e["text"] for e in document.characters]
    assert shown == [*(f"\\x{byte:02x}" for byte in text.encode()[:-1]), "↵\n"]
    model = make_model(vocab=Vocab.from_words(["the", "king"]), hidden=2)
    document = browse(tmp_path, page_of(model, "the king, the\n")[1])
    assert [e["text"] for e in document.characters] == ["the", " king", " �", " the", "↵\n"]


def with_script(page, script):
    """The page with another script at its end, and a policy that lets it run."""
    page = re.sub(r"'sha256-[^']*'", "'unsafe-inline'", page)
    return page.replace("</body>", f"<script>{script}</script></body>")


KEYS = """
const press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
document.querySelector(".c").focus();
for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown"]) press(key);
"""
POINTER = """
document.querySelectorAll(".c")[2].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
"""


# from the second character of the first line to that of the next; and to the third
@pytest.mark.slow
@pytest.mark.parametrize(("script", "chosen"), [(KEYS, 6), (POINTER, 2)])
def test_browser_describes_the_character_of_the_keyboard_or_the_pointer(tmp_path, script, chosen):
    page = page_of(make_model(), "abba\nba")[1]
    document = browse(tmp_path, with_script(page, script))
    found = [k for k, e in enumerate(document.characters) if "chosen" in e["class"].split()]
    assert found == [chosen]
    assert document.one("surprise")["text"].startswith(f"character {chosen + 1} of 7: ")


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "red"), [(1, 255), (0, 23)])
def test_browser_follows_the_colour_scheme(tmp_path, scheme, red):
    script = "document.title = getComputedStyle(document.body).backgroundColor;"
    page = with_script(page_of(make_model(), "ab")[1], script)
    document = browse(tmp_path, page, "", f"--blink-settings=preferredColorScheme={scheme}")
    assert document.all(tag="title")[0]["text"].startswith(f"rgb({red}, ")
