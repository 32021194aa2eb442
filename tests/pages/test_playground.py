"""The playground as its readers use it: keys, clicks, links and files, in windows of all widths."""

import json

import pytest
from browser import browser_in

import charlstm
from charlstm.export.compact import compact
from charlstm.export.html_page import html_page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browser_in(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The file of a page, and the model that it computes."""
    compacted = compact(charlstm.load(trained), "int8")
    path = tmp_path_factory.mktemp("page") / "model.html"
    path.write_text(html_page(compacted, "my run"), encoding="utf-8")
    return path, compacted.model


@pytest.fixture
def page(browser, exported):
    page = browser.open(exported[0], 1200)
    wait(page)
    return page


def wait(page):
    page.wait_for("document.body.dataset.state === 'ready' && !running")


def enter(page, **values):
    page.evaluate(
        f"Object.entries({json.dumps(values)}).forEach(([id, value]) => {{ $(id).value = value; "
        "$(id).dispatchEvent(new Event('input')); })"
    )


def write(page, **values):
    enter(page, **values)
    page.evaluate("$('write').click()")
    wait(page)


def text(page, sample=0):
    return page.evaluate(f"samples[{sample}].text.textContent")


def test_write_and_the_samples_beside_each_other(page, exported):
    write(page, beginning="the ", length=80, seed=3, temperature=0.7, count=2)
    texts = exported[1].sample(80, prime="the ", seed=3, temperature=0.7, count=2)
    assert [text(page, k) for k in (0, 1)] == [f"the {each}" for each in texts]
    assert page.evaluate("document.querySelectorAll('.given').length") == 2 * len("the ")
    assert page.evaluate("$('status').textContent").startswith("160 characters in ")
    assert page.evaluate("$('status').textContent").endswith(", seed 3")
    assert page.messages == []


def test_what_comes_next_is_shown_while_one_types_and_can_be_taken(page, exported):
    enter(page, beginning="th")
    page.wait_for("!running")
    (first, share), *_ = page.evaluate("home.next('th', new AbortController().signal)")
    model = exported[1]
    state = model.read(model.vocab.encode("t"), model.initial_state(1))
    log_probs, _ = model.step(model.vocab.encode("h"), state)
    assert first == model.vocab.symbols[log_probs.argmax()]
    shown = page.evaluate("$('next').querySelector('.percent').textContent")
    assert shown == f"{100 * share:.1f} %"
    page.evaluate("$('next').querySelector('button').click()")
    page.wait_for("!running")
    assert page.evaluate("$('beginning').value") == "th" + first


def test_a_click_into_the_text_goes_on_with_another_character(page, exported):
    write(page, beginning="the ", length=60, seed=3)
    before = text(page)
    page.evaluate("samples[0].spans[20].click()")
    assert page.evaluate("$('surprise').textContent").startswith("character 21 of 64: ")
    other = page.evaluate("samples[0].tokens[20].expected[1][0]")
    page.evaluate("$('instead').querySelectorAll('button')[1].click()")
    wait(page)
    prefix = before[:20] + other
    assert page.evaluate("$('beginning').value") == prefix
    assert text(page) == prefix + exported[1].sample(60, prime=prefix, seed=3, temperature=0.8)
    page.evaluate("document.querySelector('.sample button').click()")  # go on from the end
    wait(page)
    assert len(text(page)) == len(prefix) + 120
    for expected in (prefix, "the "):
        page.evaluate("$('back').click()")
        page.wait_for("!running")
        assert page.evaluate("$('beginning').value") == expected
    assert text(page) == before and page.evaluate("$('back').disabled")


def test_everything_works_by_keyboard(page):
    write(page, beginning="a", length=30, seed=1)
    page.evaluate("samples[0].spans[0].focus()")
    page.press("ArrowRight", "ArrowRight", "End", "ArrowLeft")
    assert page.evaluate("chosen.at") == 29
    page.press("Enter")
    assert page.evaluate("document.activeElement.closest('#instead') !== null")
    page.press("Escape")
    assert page.evaluate("document.activeElement === samples[0].spans[29]")
    assert page.evaluate("document.body.dataset.panel") == "closed"
    before = text(page)
    enter(page, seed=2)
    page.evaluate(
        "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', ctrlKey: true }))"
    )
    wait(page)
    assert text(page) != before


def test_a_link_holds_the_beginning_and_the_settings(browser, page, exported):
    write(page, beginning="so & <b>", length=25, temperature=0.5, top_k=9, stops="\\n\\n|x")
    seed = page.evaluate("document.body.dataset.seed")
    page.evaluate("copyLink()")
    link = page.evaluate("location.href")
    assert f"seed={seed}" in link and "top_p" not in link
    assert page.evaluate("$('seed').value") == ""  # writing again takes a new seed
    other = browser.open(link)
    wait(other)
    values = [other.evaluate(f"$('{name}').value") for name in ("beginning", "length", "seed")]
    assert values == ["so & <b>", "25", seed]
    assert other.evaluate("settings().stops") == ["\n\n", "x"]
    assert other.evaluate("$('more').open")
    other.evaluate("$('write').click()")
    wait(other)
    assert text(other) == text(page)
    unknown = "The model does not know & (left out), < (left out), b (left out), > (left out)"
    assert other.evaluate("$('unknown').textContent") == unknown


def test_stop_keeps_what_is_written(page):
    enter(page, length=100_000, seed=1)
    page.evaluate("$('write').click()")
    page.wait_for("samples[0].tokens.length > 5")
    page.press("Escape")
    assert page.evaluate("$('status').textContent") == "Stopped"
    assert page.evaluate("$('stop').disabled && !$('write').disabled")
    count = page.evaluate("samples[0].tokens.length")
    page.wait_for("!running")
    assert page.evaluate("samples[0].tokens.length") == count < 100_000


def test_the_text_is_saved(browser, page, tmp_path):
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    write(page, beginning="", length=40, count=2)
    page.evaluate("$('save').click()")
    page.wait_for("true")
    expected = f"{text(page)}\n\n---\n\n{text(page, 1)}\n"
    for _ in range(200):
        if (tmp_path / "sample.txt").exists():
            break
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 50))")
    assert (tmp_path / "sample.txt").read_text("utf-8") == expected
    assert page.messages == []


def test_settings_out_of_range_are_not_used(page):
    write(page, temperature="-1")
    assert page.evaluate("samples.length") == 0
    write(page, temperature="0", top_p="2")
    assert page.evaluate("samples.length") == 0 and page.evaluate("$('more').open")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(page, dark):
    write(page, length=200, count=3, beginning="x" * 300)
    page.evaluate("describe(samples[0], 5); $('more').open = true")
    for width in (360, 800, 1400):
        page.show_as(width, dark=dark)
        page.wait_for(f"innerWidth === {width}")
        assert page.evaluate("document.documentElement.scrollWidth") == width
