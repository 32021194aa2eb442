"""The command charlstm serve: its start, its errors, newer models, reports and its end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from command_line import COMMAND, run_command
from servers import expected, make_model, save_model, serving

import charlstm


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short training."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("the cat sat on the mat. " * 200)
    small = {"hidden": 4, "steps": 2, "batch_size": 2, "seq_length": 8, "workers": 1}
    return charlstm.train(folder / "text.txt", folder / "a <b>", **small).path


def test_the_address_is_printed_when_the_server_has_started(run):
    process = subprocess.Popen(
        [*COMMAND, "serve", "-r", run, "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert line.startswith("serving a <b> at http://127.0.0.1:")
    assert line.endswith("/ (Ctrl-C ends)\n")
    process.stdout.close()


def test_a_port_in_use_is_one_clear_line(run):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = run_command("serve", "-r", run, "--port", port)
    assert (code, out) == (1, "")
    assert err == (
        f"charlstm: port {port} of 127.0.0.1 cannot be listened at: Address already in use: "
        "choose another --port, or 0 for any that is free\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 1, "no run under runs/: name the folder of a run with -r, or begin a run with"),
        (("-r", "none"), 1, "none: no such file"),
        (("-r", ".", "--host", "300.0.0.1"), 1, "--host: 300.0.0.1 cannot be listened at:"),
        (("-r", ".", "--port", "70000"), 2, "invalid value for '--port'"),
        (("-r", ".", "--api-key", ""), 2, "--api-key is empty: give a key, or leave the option"),
        (("-r", ".", "--max-samples", "0"), 2, "--max-samples must be 1 to 10,000, not 0"),
    ],
)
def test_errors_are_one_clear_line(tmp_path, model, arguments, code, message):
    save_model(tmp_path, model)
    found, out, err = run_command("serve", *arguments, cwd=tmp_path)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert err.startswith(f"charlstm: {message}")


def test_two_models_of_one_name_are_refused(tmp_path, model):
    one, two = (save_model(tmp_path / name / "tiny", model) for name in "ab")
    code, _, err = run_command("serve", "-r", one, "-r", two, "--port", 0)
    assert code == 2
    assert "-r: several models are named tiny" in err


def test_a_missing_extra_is_named_in_one_line(run, tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ImportError")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code, _, err = run_command("serve", "-r", run, env=environment)
    assert code == 1
    assert err == (
        "charlstm: charlstm serve needs Starlette and uvicorn: pip install 'charlstm[serve]'\n"
    )


def test_the_network_is_warned_of_without_a_key(run):
    for more, is_warned in (((), True), (("--api-key", "k"), False)):
        process = subprocess.Popen(
            [*COMMAND, "serve", "-r", run, "--host", "0.0.0.0", "--port", "0", *more],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=20)
        assert process.returncode == 143
        assert (err == "warning: the network reaches this server, and anyone may use it: give "
                "--api-key\n") == is_warned  # fmt: skip
        assert err == "" or is_warned


def test_charlstm_without_the_command_imports_no_server():
    code = (
        "import sys, charlstm.cli.main; sys.exit(bool({'uvicorn', 'starlette'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_reports_are_shown_where_they_are_asked_for(run):
    with serving("-r", run, "--reports") as server:
        status, _, page = server.request("GET", "/runs/")
        assert status == 200
        assert b'<a href="a%20%3Cb%3E">a &lt;b&gt;</a>' in page
        status, _, page = server.request("GET", "/runs/a%20%3Cb%3E")
        assert status == 200
        assert b"<title>" in page and b'"name":"a \\u003cb\\u003e"' in page
        for path in ("/runs/other", "/runs/..%2f..%2fetc%2fpasswd", "/runs/a/b"):
            assert server.request("GET", path)[0] == 404


def test_a_better_model_is_served_while_a_stream_goes_on_with_the_old_one(tmp_path, model):
    folder = save_model(tmp_path / "tiny", model)
    better = make_model()
    better.parameters["head.b"][5] += 1
    newer = save_model(tmp_path / "newer", better) / "best.safetensors"
    with serving("-r", folder) as server:
        length = 60_000
        with server.stream(prompt="a", max_tokens=length, seed=1) as answer:
            old = json.loads(answer.readline()[6:])["choices"][0]["text"]
            newer.replace(folder / "best.safetensors")
            new = server.complete(prompt="a", seed=1, max_tokens=50)
            assert new["choices"][0]["text"] == expected(better, "a", 1, 50)
            lines = answer.read().decode().splitlines()
        texts = [json.loads(e[6:])["choices"][0]["text"] for e in lines if e[:7] == "data: {"]
        text = old + "".join(texts)
        assert len(text) == length
        assert text[:3000] == expected(model, "a", 1, 3000)
        # a damaged file is refused, and the last good model stays
        damaged = tmp_path / "damaged"
        damaged.write_bytes(b"no checkpoint")
        damaged.replace(folder / "best.safetensors")
        again = server.complete(prompt="a", seed=1, max_tokens=50)
        assert again["choices"] == new["choices"]
        shutil.rmtree(folder)
        assert server.complete(prompt="a", seed=1, max_tokens=50)["choices"] == new["choices"]
        server.process.terminate()
        err = server.process.communicate(timeout=20)[1].decode()
        assert "best.safetensors: not a checkpoint of charlstm" in err
        assert err.count("; the model that was loaded before stays\n") == 2
        assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stream_that_ends_soon_is_finished_after_a_signal(model, tmp_path, number):
    with serving("-r", save_model(tmp_path / "tiny", model)) as server:
        with server.stream(prompt="a", max_tokens=40_000) as answer:
            answer.readline()
            server.process.send_signal(number)
            assert answer.read().endswith(b"data: [DONE]\n\n")
        assert server.process.wait(20) == 128 + number
        assert server.process.stderr.read().strip() == b""


def test_a_long_stream_ends_with_an_error_event_after_a_signal(model, tmp_path):
    limits = ("--max-tokens", 10**8)
    with serving("-r", save_model(tmp_path / "tiny", model), *limits) as server:
        with server.stream(prompt="a", max_tokens=10**8) as answer:
            answer.readline()
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            last = answer.read().decode().split("\n\n")[-2]
        assert json.loads(last[6:])["error"]["code"] == "shutting_down"
        assert server.process.wait(20) == 143
        assert time.monotonic() - began > 4  # in which it might have been finished
