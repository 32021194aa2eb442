"""Servers of charlstm in processes of their own, and requests to them."""

import http.client
import json
import os
import subprocess
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from command_line import COMMAND

from charlstm import CharModel, ModelConfig, Vocab, save
from charlstm.network.sampling import stream_texts

TEXT = "\n abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:;'!?-"


def make_model(vocab=None, **options):
    """A model whose probabilities are as uneven as those of a trained one."""
    vocab = vocab or Vocab.from_text(TEXT)
    config = ModelConfig(**{"hidden": 32, "ngrams": 3, "ngram_slots": 500} | options)
    model = CharModel(config, vocab, seed=7)
    model.parameters["head.W"] *= 4
    if config.ngrams:
        table = model.parameters["ngrams.W"]
        table[...] = np.random.default_rng(1).normal(0, 0.7, table.shape)
    return model


def expected(model, prompt, seed, length, batch=0, sampling=None):
    """The text that stream_texts writes, as charlstm sample does."""
    pieces = stream_texts(
        model, prime=prompt, seed=seed, length=length, batch=batch, sampling=sampling
    )
    return "".join(text for (text,) in pieces)


class Server:
    """A running server: its address, its process, and its answers."""

    def __init__(self, process, started):
        self.process, self.url, self.models = process, started["url"], started["models"]
        self.port = urlsplit(self.url).port

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    @contextmanager
    def stream(self, **fields):
        """The answer to a request for a stream, which is read while the context is open."""
        with closing(self.connect()) as connection:
            body = json.dumps({"stream": True, **fields})
            connection.request("POST", "/v1/completions", body)
            with closing(connection.getresponse()) as answer:
                yield answer

    def request(self, method, path, body=None, headers=None):
        """The status, the headers and the body of an answer; a body that is no text is JSON."""
        with closing(self.connect()) as connection:
            if body is not None and not isinstance(body, (str, bytes)):
                body = json.dumps(body)
            connection.request(method, path, body, headers or {})
            with closing(connection.getresponse()) as answer:
                return answer.status, dict(answer.getheaders()), answer.read()

    def complete(self, status=200, **fields):
        """The JSON of an answer to a request for completions that has this status."""
        found, _, body = self.request("POST", "/v1/completions", fields)
        assert found == status, body
        return json.loads(body)

    def events(self, **fields):
        """The events of a stream, without the last, [DONE]."""
        status, headers, body = self.request("POST", "/v1/completions", {"stream": True, **fields})
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        *events, done, end = body.decode().split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    @property
    def texts(self):
        """The number of texts that the server is writing."""
        return json.loads(self.request("GET", "/health")[2])["texts"]

    @property
    def memory(self):
        """The memory that the process has in use, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(*arguments, env=None, **options):
    """A server in a process of its own, which ends with the context."""
    command = [*COMMAND, "serve", "--port", "0", "--json", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        **options,
    )
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1].decode())
        yield Server(process, json.loads(line))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.communicate()


def save_model(folder, model):
    """Save a model as the best one of a run; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder / "best.safetensors")
    return folder
