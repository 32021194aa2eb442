"""The page of gates: its data, its safety, and how a browser shows it."""

import base64
import hashlib
import re

import numpy as np
import pytest
from gate_pages import HOSTILE_TEXT, TEXT, browse, embedded, make_model, page_of, quote_model

from charlstm import CharlstmError, Vocab
from charlstm.analysis import gates_page_data as page_data
from charlstm.analysis.gate_activity import measure_activity
from charlstm.analysis.gates_page import render
from charlstm.analysis.gates_page_data import gates_page_data, require_small_page
from charlstm.pages.page import to_script_json

# -- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_data_are_rounded_to_the_nearest_unit(cell):
    model = make_model(cell=cell)
    activity = measure_activity(model, model.vocab.encode(TEXT))
    data = embedded(render(gates_page_data(model, activity, "run")))
    assert np.abs(np.array(data["text"]["bits"]) / 1000 - activity.bits).max() <= 0.0005 + 1e-12
    for layer in range(2):
        for unit in range(6):
            numbers = base64.b64decode(data["units"][layer][unit])
            kept = np.frombuffer(numbers[:300], np.int8) / 127
            assert np.abs(kept - activity.cells[layer, :, unit]).max() <= 0.5 / 127 + 1e-12
            gates = np.frombuffer(numbers[300:], np.uint8).reshape(-1, 300) / 255
            assert gates.shape == activity.gates[layer, :, :, unit].shape
            np.testing.assert_allclose(gates, activity.gates[layer, :, :, unit], atol=0.501 / 255)
        assert list(data["gates"][layer]) == list({"lstm": "ifo", "gru": "rz", "rnn": ""}[cell])
        for gate, openness in zip(
            data["gates"][layer].values(), activity.gates[layer].mean(axis=2), strict=True
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
    hashes = {}
    for tag in ("script", "style"):
        content = page.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[tag] = f"{tag}-src 'sha256-{digest}'; "
    assert policy == (
        "default-src 'none'; "
        + hashes["style"]
        + hashes["script"]
        + "base-uri 'none'; form-action 'none'"
    )
    data = embedded(page)
    text = data["text"]
    assert "".join(text["symbols"][k][0] for k in text["text"][:8]) == "</script"
    assert data["run"] == "runs/" + HOSTILE_TEXT.replace("\u2028\u2029", "\\u2028\\u2029")


def luminance(colour):
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    """The contrast of two colours by the Web Content Accessibility Guidelines."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def schemes_of(page):
    """The colours in light and in dark; both files of style set some of each."""
    style = page.split("<style>")[1].split("</style>")[0]
    blocks = re.findall(r"(@media [^{]*\{\s*)?:root \{([^}]*)\}", style)
    light, dark = {}, {}
    for media, block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        if "dark" in media:
            dark |= colours
        elif not media:
            light |= colours
    return light, dark


def test_text_and_bars_are_readable_on_every_colour_in_light_and_in_dark():
    light, dark = schemes_of(page_of(make_model(), "ab")[1])
    assert light.keys() == dark.keys()
    assert luminance(light["paper"]) > 0.9 and luminance(dark["paper"]) < 0.02
    grounds = ("paper", "panel", "bits-middle", "bits", "warm", "cool", "gate-middle", "gate")
    for colours in (light, dark):
        for ground in grounds:
            assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
        for ink in ("quiet", "link"):
            assert contrast(colours[ink], colours["paper"]) >= 4.5
            assert contrast(colours[ink], colours["panel"]) >= 4.5
        assert contrast(colours["on"], colours["link"]) >= 4.5
        for lane in ("lane-1", "lane-2", "lane-3"):
            assert contrast(colours[lane], colours["track"]) >= 3, lane


def test_a_page_too_large_for_browsers_is_refused(monkeypatch):
    model = make_model()  # 2 layers of 6 units with 4 numbers: 64 bytes for each symbol
    monkeypatch.setattr(page_data, "LARGEST_PAGE", 64_000)
    require_small_page(model, 1000)
    with pytest.raises(CharlstmError, match=r"a page of 2,000 symbols .*: give `length=1000` or"):
        require_small_page(model, 2000)


def test_the_size_of_a_page_is_expected_within_a_tenth():
    model = make_model()
    activity = measure_activity(model, model.vocab.encode(TEXT * 40))
    page = render(gates_page_data(model, activity, "run"))
    empty = render(gates_page_data(model, measure_activity(model, model.vocab.encode("a")), "run"))
    units = sum(len(unit) for layer in embedded(page)["units"] for unit in layer)
    assert units == pytest.approx(page_data.page_size(model, len(TEXT) * 40), rel=0.01)
    assert len(page) > len(empty) + units


# -- in a real browser ----------------------------------------------------------------------------


def test_browser_colours_by_surprisal(tmp_path):
    activity, page = page_of(make_model())
    document = browse(tmp_path, page, "#surprisal&scale=whole")
    assert document.all(tag="body")[0]["data-view"] == "surprisal"
    assert document.one("title")["text"] == "Surprisal of each character"
    assert document.all(tag="title")[0]["text"] == "Surprisal of each character · a run"
    assert len(document.characters) == len(TEXT)
    shown = {"\n": "↵\n", "\t": "⇥\t", "\x07": "\\x07"}
    assert [e["text"] for e in document.characters] == [shown.get(c, c) for c in TEXT]
    np.testing.assert_allclose(document.colours, np.minimum(1, activity.bits / 8), atol=0.001)
    mean = f"{activity.bits.mean():.3f} bits each on average"
    assert document.one("about")["text"] == f"a run · LSTM, 2 × 6 units · 300 characters, {mean}"
    for word in ("Surprisal is", "A gate is", "openness: 0 is closed", "The value of a unit is"):
        assert word in document.one("caption")["text"]
    assert "capped" not in document.one("caption")["text"]


def test_browser_says_that_input_gates_are_capped(tmp_path):
    document = browse(tmp_path, page_of(make_model(capped=True), "ab")[1])
    assert (
        "input gates of this model are capped: each is shown as min(i, 1 − f)"
        in (document.one("caption")["text"])
    )


def scaled(values):
    """Values as fractions of the range that leaves out 2 percent at either end."""
    least, most = np.sort(values)[[6, 293]]  # of 300
    return np.clip((values - least) / (most - least), 0, 1)


def lanes_of(document):
    return [
        [float(height) for height in re.findall(r"--g\d: ([\d.]+)", e["style"])]
        for e in document.characters
    ]


def test_browser_shows_a_unit_and_its_gates_and_describes_a_character(tmp_path):
    model = quote_model()
    activity, page = page_of(model)
    document = browse(tmp_path, page, "#unit=1.3&at=4&scale=whole")
    assert document.all(tag="body")[0]["data-address"] == "unit=1.3"
    assert document.one("title")["text"] == "Layer 1, unit 3: its value and its gates"
    np.testing.assert_allclose(document.colours, activity.cells[0, :, 2], atol=0.5 / 127 + 0.001)
    gates = activity.gates[0, :, :, 2].T
    np.testing.assert_allclose(lanes_of(document), gates, atol=0.5 / 255 + 0.001)
    assert document.one("key")["text"].endswith(
        "input 0.00 to 1.00forget 0.00 to 1.00output 0.00 to 1.00"
    )
    assert document.one("character")["text"] == "b"
    bits = f"{activity.bits[3]:.2f} bits"
    assert document.one("surprise")["text"] == f"character 4 of 300: {bits}"
    names = {" ": "␣ space", "\n": "↵ line end", "\t": "⇥ tab", "\x07": "\\x07"}
    symbols = [model.vocab.symbols[id_] for id_ in activity.expected[3]]
    shares = [f"{100 * probability:.1f} %" for probability in activity.probabilities[3]]
    rows = [names.get(c, c) + share for c, share in zip(symbols, shares, strict=True)]
    assert document.one("expected")["text"] == "Expected here" + "".join(rows)
    value = f"{np.rint(activity.cells[0, 3, 2] * 127) / 127:+.2f}".replace("-", "−")
    opened = np.rint(gates[3, 0] * 255) / 255
    start = f"On reading itlayer 1, unit 3{value}its input gate{opened:.2f}its forget gate"
    assert document.one("values")["text"].startswith(start)
    focusable = [k for k, e in enumerate(document.characters) if e["tabindex"] == "0"]
    assert focusable == [3]


def test_browser_first_shows_the_unit_that_follows_a_feature_most(tmp_path):
    activity, page = page_of(quote_model())
    document = browse(tmp_path, page)
    assert document.one("title")["text"] == "Layer 1, unit 2: its value and its gates"
    np.testing.assert_allclose(
        document.colours, np.clip(activity.cells[0, :, 1] / np.tanh(1), -1, 1), atol=0.01
    )
    lanes = np.array(lanes_of(document))
    for k, gate in enumerate(activity.gates[0, :, :, 1]):
        kept = np.rint(gate * 255) / 255
        np.testing.assert_allclose(lanes[:, k], scaled(kept), atol=0.001)
    current = {e["href"] for e in document.all(tag="a") if e.get("aria-current")}
    assert {address.partition("#")[2] for address in current} == {"unit=1.2"}
    text = document.one("found")["text"]
    assert "Units that follow a feature of the text (1)" in text
    assert "inside quotes at 96 of 300, noise 0." in text
    assert "layer 1, unit 2+1.00" in text
    assert "no unit is above it" in text


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "gate"), [("lstm", "2.f"), ("gru", "1.z")])
def test_browser_colours_by_the_gates_of_a_layer(tmp_path, cell, gate):
    activity, page = page_of(make_model(cell=cell))
    document = browse(tmp_path, page, f"#gates={gate}")
    assert document.all(tag="body")[0]["data-address"] == f"gates={gate}"
    openness = activity.gates[int(gate[0]) - 1].mean(axis=2)
    spread = np.ptp(openness, axis=1).min()
    np.testing.assert_allclose(document.colours, scaled(openness[1]), atol=0.001 + 0.0003 / spread)
    expected = np.transpose([scaled(values) for values in openness])
    np.testing.assert_allclose(lanes_of(document), expected, atol=0.001 + 0.0003 / spread)
    assert np.min(document.colours) == 0 and np.max(document.colours) == 1


@pytest.mark.parametrize(
    "fragment", ["#gates=1.i&at=-1", "#unit=1.length", "#gates=length.f&at=x", "#unit=0.1&at=0"]
)
def test_browser_shows_a_unit_for_an_address_without_a_view(tmp_path, fragment):
    document = browse(tmp_path, page_of(make_model(cell="rnn"), "ab")[1], fragment)
    assert document.all(tag="body")[0]["data-address"] == "unit=1.1"
    assert document.one("title")["text"] == "Layer 1, unit 1: its value"
    assert "hidden" in document.one("to-gates")
    assert len(document.colours) == 2


def test_browser_shows_hostile_text_as_text(tmp_path):
    model = make_model(HOSTILE_TEXT)
    page = page_of(model, HOSTILE_TEXT)[1].replace(
        "</body>", "<script>document.title = 2</script></body>"
    )
    document = browse(tmp_path, page, "#unit=1.1&at=1")
    title = document.all(tag="title")[0]["text"]
    assert title.startswith("Layer 1, unit 1")  # no other script may run
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
    shown = {text for text, _ in data["text"]["symbols"]}
    assert {"</script>", "<!--<script>", "\\x00", "\\ud800", "\\x1b[2J", "\\u202e"} <= shown


def test_browser_shows_a_word_of_markup_as_text(tmp_path):
    word = "<img/src=x>&amp;"  # no text yields such a word, but a checkpoint's vocabulary may
    model = make_model(vocab=Vocab.from_words([word]), hidden=2)
    activity = measure_activity(model, model.vocab.encode_words([word]))
    document = browse(tmp_path, render(gates_page_data(model, activity, word)), "#at=1")
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


CLOSE = """
document.querySelectorAll(".c")[2].click();
document.title = document.body.dataset.panel;
document.getElementById("close").click();
document.title += " " + document.body.dataset.panel;
document.querySelectorAll(".c")[4].click();
document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
document.title += " " + document.body.dataset.panel;
"""
SCALE = """
const scale = document.getElementById("scale");
scale.value = "whole";
scale.dispatchEvent(new Event("change"));
document.getElementById("to-gates").click();
"""
KEYS = """
const press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
document.querySelector(".c").focus();
for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown"]) press(key);
"""
POINTER = """
document.querySelectorAll(".c")[2].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
"""
# Whether the panel of a narrow window is open, and whether a character is described: after a touch,
# under a mouse, and after a tap. At last: whether the character is above the panel then.
NARROW = """
const tapped = spans[spans.length - 40];
const over = (pointerType) =>
  tapped.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, pointerType }));
const now = () => `${document.body.dataset.panel} ${tapped.classList.contains("chosen")}`;
over("touch");
const seen = [now()];
over("mouse");
seen.push(now());
tapped.click();
requestAnimationFrame(() => requestAnimationFrame(() => {
  seen.push(now(), tapped.getBoundingClientRect().bottom
    <= $("here").getBoundingClientRect().top);
  document.title = seen.join(", ");
}));
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
def test_browser_opens_the_panel_of_a_narrow_window_below_the_character_that_is_tapped(tmp_path):
    page = with_script(page_of(make_model())[1], NARROW)
    for _ in range(5):  # On a busy machine, the virtual time may be over before a frame is drawn.
        document = browse(tmp_path, page, "", "--window-size=360,740")
        title = document.all(tag="title")[0]["text"]
        if "gates" not in title:
            break
    assert title == "undefined false, undefined true, open true, true"


@pytest.mark.slow
def test_browser_closes_the_panel(tmp_path):
    document = browse(tmp_path, with_script(page_of(make_model(), "abba\nba")[1], CLOSE))
    assert document.all(tag="title")[0]["text"] == "open closed closed"


@pytest.mark.slow
def test_browser_keeps_the_scale_from_view_to_view(tmp_path):
    document = browse(tmp_path, with_script(page_of(make_model())[1], SCALE))
    assert document.all(tag="body")[0]["data-view"] == "gates"
    assert document.one("key")["text"].startswith("forget 0.001.00input 0.00 to 1.00")


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "red"), [(1, 255), (0, 23)])
def test_browser_follows_the_colour_scheme(tmp_path, scheme, red):
    script = "document.title = getComputedStyle(document.body).backgroundColor;"
    page = with_script(page_of(make_model(), "ab")[1], script)
    document = browse(tmp_path, page, "", f"--blink-settings=preferredColorScheme={scheme}")
    assert document.all(tag="title")[0]["text"].startswith(f"rgb({red}, ")
