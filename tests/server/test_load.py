"""Many requests at once: whole texts, those of their seeds, and nothing left behind."""

import asyncio
import json
import os
import socket
import time
from contextlib import closing

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from servers import expected, make_model, save_model, serving


async def stream(server, body):
    """The text of one stream, read from a socket of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    payload = json.dumps({"stream": True, **body}).encode()
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(payload), payload)
    )
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 200")
    lines = [line[6:] for line in answer.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return "".join(json.loads(line)["choices"][0]["text"] for line in lines)


def test_sixty_four_streams_at_once_are_whole_and_those_of_their_seeds(server, model):
    prompts = ["", "The ", "a\nb" * 300]

    async def all_streams():
        bodies = [
            {"prompt": prompts[k % 3], "max_tokens": 500, "seed": k, "temperature": 0.5 + k / 64}
            for k in range(64)
        ]
        return bodies, await asyncio.gather(*(stream(server, body) for body in bodies))

    bodies, texts = asyncio.run(all_streams())
    for body, text in zip(bodies, texts, strict=True):
        assert len(text) == 500
        if body["seed"] % 4 == 0:  # each of them was compared once; a quarter is enough
            alone = server.complete(**body)["choices"][0]["text"]
            assert text == alone
    assert texts[0] == "" or len(set(texts)) == 64
    assert server.texts == 0


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("fields", [{"stream": True}, {}, {"echo": True, "logprobs": 1}])
def test_clients_that_vanish_leave_nothing_running(server, fields):
    body = json.dumps({"prompt": "a" * 50_000, "max_tokens": 100_000, "n": 2, **fields}).encode()
    clients = []
    for _ in range(100):
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n")
        client.sendall(b"content-length: %d\r\n\r\n%s" % (len(body), body))
        clients.append(client)
    wait_until(lambda: server.texts >= 100)
    for client in clients:
        client.close()
    wait_until(lambda: server.texts == 0)
    assert server.complete(prompt="a")["choices"][0]["finish_reason"] == "length"


def test_more_texts_than_places_are_refused_until_one_is_free(model, tmp_path):
    run = save_model(tmp_path / "tiny", model)
    limits = ("--max-samples", 3, "--max-tokens", 10**7, "--max-prompt", 10)
    with serving("-r", run, *limits) as server:
        with server.stream(prompt="a", max_tokens=10**7, n=2) as answer:
            assert server.complete(prompt="a")["choices"]
            error = server.complete(429, prompt="a", n=2)["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "busy")
            assert "try again" in error["message"]
            assert server.complete(400, prompt="a", n=4)["error"]["param"] == "n"
            error = server.complete(400, prompt="a" * 11)["error"]
            assert error["code"] == "context_length_exceeded"
            large = b'{"user": "%s"}' % (b"a" * 101_000)
            status, _, body = server.request("POST", "/v1/completions", large)
            assert status == 413
            assert json.loads(body)["error"]["message"].startswith("the body is above")
            answer.readline()
        wait_until(lambda: server.texts == 0)
        assert server.complete(prompt="a", n=3)["choices"]


def test_a_request_that_takes_too_long_ends_with_an_error(model, tmp_path):
    run = save_model(tmp_path / "tiny", model)
    with serving("-r", run, "--max-tokens", 10**8, "--max-seconds", 0.5) as server:
        error = server.complete(408, prompt="a", max_tokens=10**8)["error"]
        assert error["message"] == ("the request took longer than 0.5 seconds: ask for less text")
        *_, last = (
            server.request(
                "POST", "/v1/completions", {"prompt": "a", "max_tokens": 10**8, "stream": True}
            )[2]
            .decode()
            .split("\n\n")[:-1]
        )
        assert json.loads(last[6:])["error"] == error
        assert server.texts == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = (
    "model prompt max_tokens temperature top_p n stream stream_options stop seed logprobs echo "
    "user best_of suffix logit_bias top_k min_p unknown presence_penalty"
)
PLAUSIBLE = {
    "prompt": st.text("ab \n", max_size=20) | st.lists(st.integers(0, 70), min_size=1, max_size=5),
    "max_tokens": st.integers(0, 40),
    "temperature": st.floats(0, 3),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(0, 80),
    "min_p": st.floats(0, 1),
    "n": st.integers(0, 4),
    "logprobs": st.none() | st.integers(0, 101),
    "echo": st.booleans(),
    "stream": st.booleans(),
    "seed": st.integers(-(2**64), 2**64),
    "stop": st.text("ab\n", max_size=2) | st.lists(st.text("ab", max_size=2), max_size=3),
}
REQUESTS = st.builds(
    lambda plausible, odd: {**plausible, **odd},
    st.fixed_dictionaries({}, optional=PLAUSIBLE),
    st.dictionaries(st.sampled_from(NAMES.split()), JSON, max_size=2) | st.just({}),
)
BODIES = (
    REQUESTS.map(lambda fields: json.dumps(fields).encode())
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=40)
)


def test_odd_requests_get_an_answer_or_a_clear_refusal(model, tmp_path):
    """ODD_REQUESTS=5000 in the environment asks 5,000 of them."""
    count = int(os.environ.get("ODD_REQUESTS", 200))
    run = save_model(tmp_path / "tiny", model)
    with serving("-r", run) as server, closing(server.connect()) as client:
        statuses, memory = [], []

        @settings(
            max_examples=count,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(BODIES)
        def ask(body):
            client.request("POST", "/v1/completions", body)
            answer = client.getresponse()
            content = answer.read()
            statuses.append(answer.status)
            assert answer.status == 200 or 400 <= answer.status < 500, (body, content)
            if answer.status != 200:
                assert json.loads(content)["error"]["message"]
            elif b'"stream": true' in body and content[:1] != b"{":
                assert content.endswith(b"data: [DONE]\n\n")
            memory.append(server.memory)

        ask()
        assert statuses.count(200) > len(statuses) / 20
        assert statuses.count(400) > len(statuses) / 20
        # after the first requests, which load modules and fill pools
        assert memory[-1] - memory[len(memory) // 4] < 8 << 20
        assert server.texts == 0


def test_a_model_without_batches_serves_several_streams_too(tmp_path):
    model = make_model(cell="gru", hidden=8)
    with serving("-r", save_model(tmp_path / "gru", model)) as server:

        async def all_streams():
            bodies = [{"prompt": "a", "max_tokens": 40, "seed": k} for k in range(5)]
            return await asyncio.gather(*(stream(server, body) for body in bodies))

        assert asyncio.run(all_streams()) == [expected(model, "a", k, 40) for k in range(5)]
