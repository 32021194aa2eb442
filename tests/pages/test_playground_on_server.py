"""The playground as the page of a server, which answers as OpenAI's API does."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import browser_in

from charlstm.pages.playground import playground_on_server

MODELS = [
    {"id": name, "level": level, "lines": False, "cell": "lstm", "layers": 1, "hidden": 8,
     "vocabulary": 256, "parameters": 1234}
    for name, level in (("play", "char"), ("raw", "byte"), ("<b>prose</b>", "word"))
]  # fmt: skip
# What the models write after the beginning: tokens, each with its log-probability.
TEXTS = {
    "play": [("1", -0.5), ("\n", None), ("b", -2.0)],
    "raw": [("a", -1.0), ("bytes:\\xc3", -1.0), ("bytes:\\xbc", -0.1)],
    "<b>prose</b>": [(" be", -1.0), (",", -0.5), (" or", -0.2)],
}
ASKED = []  # the requests for completions


def logprobs(tokens):
    return {
        "tokens": [token for token, _ in tokens],
        "token_logprobs": [each for _, each in tokens],
        "top_logprobs": [
            None if each is None else {"x": -3.0, "7": -2.0, token.strip(" "): each}
            for token, each in tokens
        ],
        "text_offset": [0] * len(tokens),
    }


class Answers(BaseHTTPRequestHandler):
    """Answers with the page, the models, and completions that depend on nothing but the model."""

    def log_message(self, *arguments):
        pass

    def answer(self, kind, body, status=200):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/models":
            self.answer("application/json", json.dumps({"data": MODELS}).encode())
        elif self.path == "/":
            self.answer("text/html; charset=utf-8", playground_on_server().encode())
        else:
            self.answer("text/plain", b"", 404)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ASKED.append(request)
        text = TEXTS[request["model"]]
        if request["prompt"] == "refuse":
            body = json.dumps({"error": {"message": "the prompt is refused"}}).encode()
            self.answer("application/json", body, 400)
        elif not request.get("stream"):
            choices = [{"index": 0, "text": text[0][0], "logprobs": logprobs(text[:1])}]
            self.answer("application/json", json.dumps({"choices": choices}).encode())
        else:
            given = [(c, None) for c in request["prompt"]]
            parts = [given, text[:1], text[1:]] if request["echo"] else [text]
            events = [
                {"choices": [{"index": k, "text": "", "logprobs": logprobs(part)}]}
                for part in parts
                for k in range(request["n"])
            ]
            if request["prompt"] == "fail":
                events.append({"error": {"message": "the server is shutting down"}})
            lines = [f"data: {json.dumps(event)}\n\n" for event in events]
            self.answer("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with browser_in(tmp_path_factory.mktemp("browser")) as browser:
        page = browser.open(f"http://127.0.0.1:{server.server_address[1]}/")
        page.wait_for("document.body.dataset.state === 'ready'")
        yield page
    server.shutdown()
    server.server_close()


def write(page, beginning, model="play", **fields):
    values = {"beginning": beginning, **fields}
    page.evaluate(f"chooseModel({json.dumps(model)})")
    page.evaluate(
        f"Object.entries({json.dumps(values)}).forEach(([id, value]) => {{ $(id).value = value; }})"
    )
    page.evaluate("void write()")
    page.wait_for("document.body.dataset.state === 'ready' && !running")
    return json.loads(page.evaluate("JSON.stringify(samples.map(({ tokens }) => tokens))"))


def test_a_request_and_the_tokens_of_its_answer(page):
    ASKED.clear()
    first, second = write(
        page, "an", length=12, count=2, seed=5, temperature=0.5, top_k=3, stops="\\n\\n|end"
    )
    request = next(each for each in ASKED if each.get("stream"))
    expected = {"model": "play", "prompt": "an", "max_tokens": 12, "n": 2, "seed": 5,
                "temperature": 0.5, "top_k": 3, "top_p": 1, "min_p": 0, "stop": ["\n\n", "end"],
                "stream": True, "echo": True, "logprobs": 10, "unknown": "replace"}  # fmt: skip
    assert request == expected
    assert [token["symbol"] for token in first] == ["a", "n", "1", "\n", "b"] and first == second
    assert [token["bits"] for token in first] == [
        None, None, pytest.approx(0.5 / math.log(2)), None, pytest.approx(2 / math.log(2))
    ]  # fmt: skip
    # the likeliest first, also where a key of JSON is a number
    assert [symbol for symbol, _ in first[2]["expected"]] == ["1", "7", "x"]
    assert first[2]["expected"][0][1] == pytest.approx(math.exp(-0.5))
    assert page.evaluate("$('next').textContent") == "160.7 %713.5 %x5.0 %"


def test_tokens_of_bytes_and_words(page):
    (tokens,) = write(page, "a", model="raw", count=1)
    assert [token["symbol"] for token in tokens] == ["a", "a", "\udcc3", "\udcbc"]
    assert "".join(token["text"] for token in tokens) == "aaü"
    (tokens,) = write(page, "", model="<b>prose</b>", count=1)
    assert [token["symbol"] for token in tokens] == ["be", ",", "or"]
    assert "".join(token["text"] for token in tokens) == "be, or"
    assert page.evaluate("$('title').textContent") == "<b>prose</b>"


def test_errors_are_shown(page):
    write(page, "refuse", count=1)
    assert page.evaluate("$('status').textContent") == "the prompt is refused"
    (tokens,) = write(page, "fail", count=1)
    assert "the server is shutting down" in page.evaluate("$('status').textContent")
    assert "".join(token["text"] for token in tokens) == "fail1\nb"
    page.messages[:] = [each for each in page.messages if "400 (Bad Request)" not in each]


def test_the_page_reaches_its_server_and_no_other(page):
    policy = page.evaluate("document.querySelector('meta[http-equiv]').content")
    assert "connect-src 'self'; " in policy and "unsafe" not in policy
    assert page.messages == []
