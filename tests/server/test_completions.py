"""The endpoint /v1/completions against the library: texts, log-probabilities, ends and errors."""

import json

import numpy as np
import pytest
from servers import expected, make_model, save_model, serving

from charlstm import Vocab
from charlstm.network.sampling import Sampling


def texts_of(answer):
    return [choice["text"] for choice in answer["choices"]]


def test_texts_equal_those_of_the_library_by_their_seed(server, model):
    answer = server.complete(prompt="The cat", max_tokens=300, seed=5)
    assert texts_of(answer) == [expected(model, "The cat", 5, 300)]
    assert answer["object"] == "text_completion"
    assert answer["model"] == "tiny"
    assert answer["seed"] == 5
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["logprobs"] is None
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 300, "total_tokens": 307}


def test_settings_are_those_of_the_library(server, model):
    settings = {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "min_p": 0.02}
    answer = server.complete(prompt="a", max_tokens=200, seed=1, **settings)
    assert texts_of(answer) == [expected(model, "a", 1, 200, sampling=Sampling(**settings))]
    greedy = server.complete(prompt="a", max_tokens=50, temperature=0)
    assert texts_of(greedy) == [expected(model, "a", 0, 50, sampling=Sampling(0))]


def test_several_prompts_and_texts_have_generators_of_their_own(server, model):
    prompts = ["one ", "two "]
    answer = server.complete(prompt=prompts, n=3, max_tokens=80, seed=2)
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    assert texts_of(answer) == [expected(model, p, 2, 80, k) for p in prompts for k in range(3)]


def test_a_prompt_may_be_ids_or_nothing(server, model):
    ids = model.vocab.encode("the end").tolist()
    one = server.complete(prompt=ids, max_tokens=20, seed=3)
    assert texts_of(one) == [expected(model, "the end", 3, 20)]
    two = server.complete(prompt=[ids, ids[:2]], max_tokens=20, seed=3)
    assert texts_of(two) == [expected(model, text, 3, 20) for text in ("the end", "th")]
    for nothing in ({}, {"prompt": None}, {"prompt": ""}):
        assert texts_of(server.complete(max_tokens=20, seed=3, **nothing)) == [
            expected(model, "", 3, 20)
        ]


def test_a_text_of_a_seed_that_the_server_chose_can_be_repeated(server):
    one = server.complete(prompt="a", max_tokens=50)
    other = server.complete(prompt="a", max_tokens=50)
    again = server.complete(prompt="a", max_tokens=50, seed=one["seed"])
    assert texts_of(one) == texts_of(again) != texts_of(other)


def test_max_tokens_is_16_by_default_and_may_be_1_or_0(server, model):
    assert texts_of(server.complete(prompt="a", seed=1)) == [expected(model, "a", 1, 16)]
    assert texts_of(server.complete(prompt="a", seed=1, max_tokens=1)) == [
        expected(model, "a", 1, 1)
    ]
    none = server.complete(prompt="a", max_tokens=0)
    assert texts_of(none) == [""]
    assert none["choices"][0]["finish_reason"] == "length"


def test_a_text_ends_before_a_stop_string(server, model):
    whole = expected(model, "a", 4, 400)
    stop = whole[200:203]
    place = whole.index(stop)
    answer = server.complete(prompt="a", max_tokens=400, seed=4, stop=[stop, "no such"])
    assert texts_of(answer) == [whole[:place]]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == place + 3
    streamed = server.events(prompt="a", max_tokens=400, seed=4, stop=stop)
    assert "".join(event["choices"][0]["text"] for event in streamed) == whole[:place]
    # a text that ends while the beginning of a stop string is held back
    held = server.complete(prompt="a", max_tokens=10, seed=4, stop=whole[9] + "\0")
    assert texts_of(held) == [whole[:10]]


def test_a_stream_has_the_same_text_and_then_the_usage(server, model):
    events = server.events(
        prompt="So ", max_tokens=900, seed=6, n=2, stream_options={"include_usage": True}
    )
    *pieces, last = events
    texts = ["", ""]
    for event in pieces:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["text"]
        assert event["usage"] is None
    assert texts == [expected(model, "So ", 6, 900, k) for k in range(2)]
    assert [e["choices"][0]["finish_reason"] for e in pieces].count("length") == 2
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 1800, "total_tokens": 1803}
    assert {event["id"] for event in events} == {events[0]["id"]}


def test_echo_with_logprobs_scores_every_character_as_charlstm_score_does(server, model):
    text = "The quick fox\njumps over it. " * 20
    for more in ({}, {"stream": True}):
        fields = {"prompt": text, "echo": True, "logprobs": 3, "max_tokens": 1, "seed": 1, **more}
        if more:
            parts = [event["choices"][0] for event in server.events(**fields)]
            choice = {"text": "".join(p["text"] for p in parts)}
            choice["logprobs"] = {
                name: [value for p in parts for value in p["logprobs"][name]]
                for name in parts[0]["logprobs"]
            }
        else:
            (choice,) = server.complete(**fields)["choices"]
        assert choice["text"][:-1] == text
        found = choice["logprobs"]
        assert "".join(found["tokens"]) == choice["text"]
        assert found["text_offset"] == list(range(len(text) + 1))
        (score,) = model.score([text])
        assert np.allclose(found["token_logprobs"][:-1], -score.nats, atol=1e-5)
        assert abs(sum(found["token_logprobs"][:-1]) + score.loss.nats) < 1e-4
        assert all(len(top) == 3 for top in found["top_logprobs"])
        assert all(max(top.values()) >= p for top, p in zip(
            found["top_logprobs"], found["token_logprobs"], strict=True
        ))  # fmt: skip


def test_logprobs_of_written_text_are_those_from_which_it_was_drawn(server, model):
    events = server.events(prompt="The ", max_tokens=300, seed=8, logprobs=2)
    tokens, log_probs, tops = [], [], []
    for event in events:
        found = event["choices"][0]["logprobs"]
        assert "".join(found["tokens"]) == event["choices"][0]["text"]
        tokens += found["tokens"]
        log_probs += found["token_logprobs"]
        tops += found["top_logprobs"]
    text = "".join(tokens)
    assert text == expected(model, "The ", 8, 300)
    ids, state = model.vocab.encode("The " + text), model.initial_state(1)
    for k, id_ in enumerate(ids[:-1]):
        predicted, state = model.step(np.array([id_]), state)
        if k >= 3:
            assert abs(predicted[0, ids[k + 1]] - log_probs[k - 3]) < 1e-4
            likeliest = np.argsort(-predicted[0])[:2]
            assert list(tops[k - 3]) == [model.vocab.symbols[i] for i in likeliest]


def test_logprobs_may_have_no_alternatives_and_end_before_a_stop_string(server, model):
    whole = expected(model, "a", 4, 100)
    stop = whole[50:53]
    answer = server.complete(prompt="a", max_tokens=100, seed=4, logprobs=0, stop=stop)
    found = answer["choices"][0]["logprobs"]
    assert "".join(found["tokens"]) == texts_of(answer)[0] == whole[: whole.index(stop)]
    assert set(map(json.dumps, found["top_logprobs"])) == {"{}"}


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": "caf\u00e9"}, "prompt", "the vocabulary has no 'é' (U+00E9)"),
        ({"prompt": [1, 900]}, "prompt", "prompt must be 0 to 61, not 900"),
        ({"prompt": [[1], "a", 3]}, "prompt", "prompt must be a string, a list of ids, or a list"),
        ({"prompt": []}, "prompt", "prompt must be a string, a list of ids, or a list"),
        ({"max_tokens": -1}, "max_tokens", "max_tokens must be a whole number from 0 to 100,000"),
        ({"max_tokens": True}, "max_tokens", "max_tokens must be a whole number"),
        ({"max_tokens": 10**6}, "max_tokens", "max_tokens must be a whole number from 0 to 100,0"),
        ({"temperature": -1}, "temperature", "temperature must be 0 or more, not -1"),
        ({"temperature": "1"}, "temperature", "temperature must be a number, not '1'"),
        ({"top_p": 0}, "top_p", "top_p must be above 0 and at most 1, not 0"),
        ({"n": 0}, "n", "n must be a whole number from 1 to 128, not 0"),
        ({"prompt": ["a"] * 9, "n": 100}, "n", "a request may have 256 texts"),
        ({"best_of": 2}, "best_of", "best_of must be n: the server chooses no best text"),
        ({"stop": [""]}, "stop", "stop must be a string that is not empty, or a list of such"),
        ({"stop": list("abcdefghijklmnopq")}, "stop", "stop may have 16 strings of 1,000 char"),
        ({"logprobs": 101}, "logprobs", "logprobs must be a whole number from 0 to 100, not 101"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "logit_bias is not implemented: leave it out"),
        ({"suffix": "x"}, "suffix", "suffix is not implemented: leave it out"),
        ({"presence_penalty": 0.5}, "presence_penalty", "presence_penalty is not implemented"),
        ({"stream_options": {}}, "stream_options", "stream_options needs stream to be true"),
        ({"tools": []}, "tools", "unknown parameter: tools"),
        ({"seed": 1.5}, "seed", "seed must be a whole number from -9,223,372,036,854,775,808 to"),
        ({"unknown": "drop"}, "unknown", "unknown must be one of error, skip, replace"),
        ({"prompt": "a" * 200_001}, "prompt", "the prompts have more than 200,000 characters"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_and_named(server, fields, param, message):
    error = server.complete(400, **fields)["error"]
    assert error["message"].startswith(message)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_null_means_the_same_as_no_parameter_and_neutral_values_ask_for_nothing(server, model):
    names = (
        "max_tokens temperature top_p n stream stream_options stop logprobs echo user best_of "
        "suffix presence_penalty frequency_penalty logit_bias model top_k min_p unknown"
    )
    answer = server.complete(prompt="a", seed=1, **dict.fromkeys(names.split()))
    assert texts_of(answer) == [expected(model, "a", 1, 16)]
    neutral = {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "suffix": "",
               "best_of": 1, "user": "me", "model": "tiny"}  # fmt: skip
    assert texts_of(server.complete(prompt="a", seed=1, **neutral)) == texts_of(answer)


def test_unknown_characters_may_be_skipped_or_replaced(server, model):
    skipped = server.complete(prompt="caf\u00e9", unknown="skip", seed=1, echo=True)
    assert texts_of(skipped) == ["caf" + expected(model, "caf", 1, 16)]
    replaced = server.complete(prompt="caf\u00e9", unknown="replace", seed=1, echo=True)
    assert texts_of(replaced) == ["cafe" + expected(model, "cafe", 1, 16)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON in UTF-8"),
        (b"{", "the body is not JSON in UTF-8"),
        (b"[1]", "the body must be a JSON object"),
        (b'{"temperature": NaN}', "the body is not JSON in UTF-8"),
        (b'{"temperature": 1e999}', "temperature must be a number"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "the body is not JSON in UTF-8"),
        (b"[" * 50_000, "the body is not JSON in UTF-8"),
        (b"\xff\xfe{\0}\0", "the body is not JSON in UTF-8"),
        (b'{"prompt": "\\ud800"}', "the vocabulary has no '\\ud800'"),
    ],
)
def test_a_body_that_is_no_request_is_refused(server, body, message):
    status, _, answer = server.request("POST", "/v1/completions", body)
    assert status == 400
    assert json.loads(answer)["error"]["message"].startswith(message)


def test_models_are_listed_with_their_facts(server, model):
    status, _, body = server.request("GET", "/v1/models")
    (facts,) = json.loads(body)["data"]
    assert status == 200
    assert {"id": "tiny", "object": "model", "level": "char", "hidden": 32}.items() <= facts.items()
    assert facts["vocabulary"] == len(model.vocab)
    assert json.loads(server.request("GET", "/v1/models/tiny")[2]) == facts
    assert server.complete(404, model="gpt-4")["error"]["code"] == "model_not_found"


def test_other_addresses_and_methods_are_refused_with_error_objects(server):
    for method, path, status in (
        ("GET", "/v1/completions", 405),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/v1/models/none", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/runs/", 404),
    ):
        found, _, body = server.request(method, path, b"{}")
        assert found == status
        assert json.loads(body)["error"]["type"] == "invalid_request_error"


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Models of other kinds, and a server of them all."""
    words = Vocab.from_words(["the", "cat", "sat", "on", "a", "mat", ".", ","])
    models = {
        "bytes": make_model(Vocab.bytes()),
        "words": make_model(words),
        "lines": make_model(lines=True, capped=True),
        "gru": make_model(cell="gru"),
        "no_line_end": make_model(Vocab.from_text("abc"), ngrams=0),
        "spelled": make_model(Vocab.from_characters("\n ab", spelled="日本€é")),
    }
    models["lines"].parameters["head.b"][0] += 2  # more line ends
    folder = tmp_path_factory.mktemp("others")
    paths = [save_model(folder / name, each) for name, each in models.items()]
    with serving(*(word for path in paths for word in ("-r", path))) as server:
        yield server, models


@pytest.mark.parametrize("name", ["bytes", "words", "gru", "no_line_end"])
@pytest.mark.parametrize("prompt", ["", "ab"])
def test_texts_of_other_models_equal_those_of_the_library(others, name, prompt):
    server, models = others
    text = expected(models[name], prompt, 3, 150)
    fields = {"model": name, "prompt": prompt, "max_tokens": 150, "seed": 3}
    assert texts_of(server.complete(**fields)) == [text]
    assert "".join(e["choices"][0]["text"] for e in server.events(**fields)) == text
    (scored,) = server.complete(**fields, logprobs=1, stop="@@")["choices"]
    assert scored["text"] == text
    assert len(scored["logprobs"]["tokens"]) == 150
    assert (scored["logprobs"]["token_logprobs"][0] is None) == (
        name == "no_line_end" and not prompt
    )


def test_a_line_of_a_model_of_lines_ends_before_the_line_end(others):
    server, models = others
    answer = server.complete(model="lines", n=20, max_tokens=400, seed=1)
    for k, choice in enumerate(answer["choices"]):
        line, end, _ = expected(models["lines"], "", 1, 400, k).partition("\n")
        assert (choice["text"], choice["finish_reason"]) == (line, "stop" if end else "length")


@pytest.mark.parametrize("name", ["bytes", "words", "lines", "gru", "no_line_end"])
def test_echoed_logprobs_of_other_models_are_those_of_score(others, name):
    server, models = others
    text = {"words": "the cat sat\non a mat", "no_line_end": "abcabccab"}.get(name, "ab\ncd é\n")
    if name in ("lines", "gru"):
        text = text.replace("é", "e")
    fields = {"model": name, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 0}
    (choice,) = server.complete(**fields)["choices"]
    (score,) = models[name].score([text])
    found = [p for p in choice["logprobs"]["token_logprobs"] if p is not None]
    assert np.allclose(found, -score.nats, atol=1e-5)
    assert len(choice["logprobs"]["tokens"]) == len(models[name].vocab.encode(text))


@pytest.mark.parametrize("name", ["bytes", "spelled"])
def test_parts_of_a_character_are_named_by_their_bytes(others, name):
    server, _ = others
    fields = {"model": name, "prompt": "é", "echo": True, "logprobs": 0, "max_tokens": 0}
    (choice,) = server.complete(**fields)["choices"]
    assert choice["text"] == "é"
    assert choice["logprobs"]["tokens"] == ["bytes:\\xc3", "bytes:\\xa9"]


def test_tokens_of_a_spelled_character_are_its_bytes(others):
    server, models = others
    model, prompt = models["spelled"], "a日b€ é"
    fields = {"model": "spelled", "prompt": prompt, "seed": 3}
    text = expected(model, prompt, 3, 150)
    answer = server.complete(**fields, max_tokens=150)
    assert answer["usage"]["completion_tokens"] == 150
    (written,) = texts_of(answer)
    assert text.startswith(written.rstrip("\ufffd"))
    assert 50 < len(written) < 150
    (choice,) = server.complete(**fields, echo=True, logprobs=1, max_tokens=0)["choices"]
    nats = -np.array(choice["logprobs"]["token_logprobs"])
    (score,) = model.score([prompt])
    assert np.allclose(np.add.reduceat(nats, [0, 1, 4, 5, 8, 9]), score.nats, atol=1e-5)
