"""Clients that others wrote, against the server: openai, llm, and the requests of an lm-eval."""

import json
import os
import subprocess
import sys

import pytest
from servers import expected, save_model, serving

from charlstm.network.sampling import Sampling

openai = pytest.importorskip("openai")
pytest.importorskip("llm")


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "v1", api_key="none", max_retries=0) as client:
        yield client


def test_openai_completes_a_text(client, model):
    answer = client.completions.create(
        model="tiny", prompt="The ", max_tokens=200, temperature=0.8, top_p=0.9, seed=3, user="me"
    )
    sampling = Sampling(0.8, top_p=0.9)
    assert answer.choices[0].text == expected(model, "The ", 3, 200, sampling=sampling)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.total_tokens == 204


def test_openai_streams_several_texts(client, model):
    texts = ["", ""]
    usage = None
    for event in client.completions.create(
        model="tiny", prompt="I ", max_tokens=300, n=2, seed=3, stream=True,
        stream_options={"include_usage": True},
    ):  # fmt: skip
        for choice in event.choices:
            texts[choice.index] += choice.text
        usage = event.usage
    assert texts == [expected(model, "I ", 3, 300, k) for k in range(2)]
    assert usage.completion_tokens == 600


def test_openai_stops_and_reads_logprobs(client, model):
    whole = expected(model, "x", 1, 100)
    answer = client.completions.create(
        model="tiny", prompt="x", max_tokens=100, seed=1, stop=[whole[40:42]], logprobs=5, echo=True
    )
    (choice,) = answer.choices
    assert choice.text == "x" + whole[: whole.index(whole[40:42])]
    assert choice.finish_reason == "stop"
    assert "".join(choice.logprobs.tokens) == choice.text
    assert len(choice.logprobs.token_logprobs) == len(choice.text)
    assert all(len(top) == 5 for top in choice.logprobs.top_logprobs)


def test_openai_raises_its_own_errors(client):
    with pytest.raises(openai.BadRequestError, match=r"the vocabulary has no 'ß'") as caught:
        client.completions.create(model="tiny", prompt="ß")
    assert caught.value.param == "prompt"
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="other", prompt="a")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="tiny", messages=[])
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_a_place_is_free_at_once_when_an_openai_client_leaves(client, server):
    stream = client.completions.create(model="tiny", prompt="a", max_tokens=100_000, stream=True)
    next(iter(stream))
    assert server.texts == 1
    stream.close()
    while server.texts:  # until the server has seen that the connection is closed
        pass
    answer = client.completions.with_raw_response.create(model="tiny", prompt="a", max_tokens=5)
    assert answer.status_code == 200


def test_openai_sends_the_key(model, tmp_path):
    run = save_model(tmp_path / "tiny", model)
    with serving("-r", run, env={"CHARLSTM_API_KEY": "secret"}) as server:
        for key, is_right in (("secret", True), ("secre", False)):
            with openai.OpenAI(base_url=server.url + "v1", api_key=key, max_retries=0) as client:
                if is_right:
                    assert client.completions.create(model="tiny", prompt="a").choices
                else:
                    with pytest.raises(openai.AuthenticationError, match="missing or wrong"):
                        client.completions.create(model="tiny", prompt="a")


def test_llm_writes_a_text(server, model, tmp_path):
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: mine\n  model_name: tiny\n  api_base: {server.url}v1\n  completion: true\n"
        "  api_key_name: none\n"
    )
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "mine", "--key", "none", "--no-log",
         "-o", "max_tokens", "60", "-o", "seed", "3", "The "],
        env=environment, capture_output=True, timeout=60, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == expected(model, "The ", 3, 60).strip(), done.stderr


def test_the_requests_of_an_evaluation_harness_are_scored_as_charlstm_score_does(server, model):
    """lm-eval's local-completions: it sums token_logprobs[len(context):-1], and compares greedily.

    https://github.com/EleutherAI/lm-evaluation-harness, lm_eval/models/openai_completions.py
    """
    context, continuations = "The cat sat on the ", ["mat and slept.", "dog; it barked!"]
    prompts = [model.vocab.encode(context + each).tolist() for each in continuations]
    body = {"model": "tiny", "prompt": prompts, "temperature": 0, "max_tokens": 1,
            "logprobs": 1, "seed": 1234, "echo": True}  # fmt: skip
    status, _, answer = server.request("POST", "/v1/completions", body)
    assert status == 200
    for choice, continuation in zip(json.loads(answer)["choices"], continuations, strict=True):
        found = choice["logprobs"]
        summed = sum(found["token_logprobs"][len(context) : -1])
        whole, before = model.score([context + continuation, context])
        assert abs(summed + whole.loss.nats - before.loss.nats) < 1e-4
        assert len(found["tokens"]) == len(context + continuation) + 1
        for log_prob, top in zip(found["token_logprobs"], found["top_logprobs"], strict=True):
            assert max(top.values()) >= log_prob
