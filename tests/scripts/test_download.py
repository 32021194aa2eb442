from __future__ import annotations

import hashlib
import io
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import download as fetch_corpora
import pytest

TEXT = bytes(range(256)) * 1000


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `files`; notes each request's Range; knows Range unless told not to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.knows_range = True
        self.sent_at_most: int | None = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if content is None:
            self.send_error(404)
            return
        begin = 0
        if asked and self.server.knows_range:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:][: self.server.sent_at_most])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(server, tmp_path, monkeypatch):
    """Publishes a file, then fetches it as the corpus "toy" with given expectations."""
    server.files["/toy.bin"] = TEXT

    def run(content=TEXT, base=None, name="toy", **fields):
        fields = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), **fields}
        corpus = fetch_corpora.Corpus("https://nowhere.invalid/x/toy.bin", "toy.txt", **fields)
        monkeypatch.setattr(fetch_corpora, "CORPORA", {"toy": corpus})
        base = base or f"http://127.0.0.1:{server.server_port}/"
        return fetch_corpora.main([name, "--output", str(tmp_path / "data"), "--base-url", base])

    run.data = tmp_path / "data"
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_downloads_the_whole_file_once(run, server, capsys):
    assert run() == 0
    assert (run.data / "toy.txt").read_bytes() == TEXT
    assert names(run.data) == ["toy.txt"]
    assert capsys.readouterr().err == f"{run.data / 'toy.txt'}: 256,000 bytes\n"
    assert run() == 0
    assert server.ranges == [None]


def test_a_file_that_was_changed_is_fetched_again(run):
    run.data.mkdir()
    (run.data / "toy.txt").write_bytes(b"changed")
    assert run() == 0
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_goes_on_from_a_part(run, server):
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(TEXT[:100_000])
    assert run() == 0
    assert server.ranges == ["bytes=100000-"]
    assert (run.data / "toy.txt").read_bytes() == TEXT
    assert names(run.data) == ["toy.txt"]


def test_a_whole_part_needs_no_request(run, server):
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(TEXT)
    assert run() == 0
    assert server.ranges == []
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_starts_over_where_the_server_ignores_range(run, server):
    server.knows_range = False
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(b"?" * 1000)
    assert run() == 0
    assert server.ranges == ["bytes=1000-"]
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_part_longer_than_the_file_is_dropped(run, server):
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(TEXT + b"more")
    assert run() == 0
    assert server.ranges == [None]
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_broken_download_keeps_its_part_and_the_next_run_ends_it(run, server, capsys):
    server.sent_at_most = 150_000
    assert run() == 1
    err = capsys.readouterr().err
    assert "broke off at 150,000 of 256,000 bytes; run again" in err and err.count("\n") == 1
    assert (run.data / "toy.txt.part").read_bytes() == TEXT[:150_000]
    server.sent_at_most = None
    assert run() == 0
    assert server.ranges == [None, "bytes=150000-"]
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_wrong_checksum_removes_the_part(run, capsys):
    assert run(sha256="0" * 64) == 1
    err = capsys.readouterr().err
    found = hashlib.sha256(TEXT).hexdigest()
    assert f"SHA-256 is {found}, should be {'0' * 64}; removed" in err and err.count("\n") == 1
    assert names(run.data) == []


def test_a_file_longer_than_it_should_be_is_refused(run, capsys):
    assert run(size=1000) == 1
    assert "more than the 1,000 bytes it should have" in capsys.readouterr().err
    assert names(run.data) == []


def test_404_is_one_line(run, server, capsys):
    server.files.clear()
    assert run() == 1
    url = f"http://127.0.0.1:{server.server_port}/toy.bin"
    assert capsys.readouterr().err == f"fetch_corpora: toy: {url}: HTTP 404 Not Found\n"
    assert names(run.data) == []


def test_connection_refused_is_one_line(run, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: every connection is refused
        assert run(base=f"http://127.0.0.1:{taken.getsockname()[1]}") == 1
    err = capsys.readouterr().err
    assert "refused" in err and err.count("\n") == 1


def test_an_address_that_is_none_is_one_line(run, capsys):
    assert run(base="nonsense") == 1
    err = capsys.readouterr().err
    assert err == "fetch_corpora: toy: nonsense/toy.bin: unknown url type: 'nonsense/toy.bin'\n"


def test_unpacks_the_one_member_and_keeps_the_archive(run, server):
    archive = zipped(toy=TEXT)
    server.files["/toy.bin"] = archive
    assert run(archive, member="toy", member_size=len(TEXT)) == 0
    assert (run.data / "toy").read_bytes() == TEXT
    assert (run.data / "toy.txt").read_bytes() == archive
    (run.data / "toy").unlink()
    assert run(archive, member="toy", member_size=len(TEXT)) == 0
    assert (run.data / "toy").read_bytes() == TEXT
    assert server.ranges == [None]


@pytest.mark.parametrize(
    ("archive", "size", "message"),
    [
        (zipped(toy=bytes(10_000_000)), 1000, "toy is not the 1,000 bytes it should be"),
        (zipped(toy=b"short"), 1000, "toy is not the 1,000 bytes it should be"),
        (zipped(toy=b"x", other=b"y"), 1, "the archive should hold toy and nothing else"),
        (b"no archive", 1, "File is not a zip file"),
    ],
    ids=["bomb", "short", "two members", "no archive"],
)
def test_archives_that_hold_anything_else_are_refused(run, server, capsys, archive, size, message):
    server.files["/toy.bin"] = archive
    assert run(archive, member="toy", member_size=size) == 1
    err = capsys.readouterr().err
    assert err == f"fetch_corpora: toy: {run.data / 'toy.txt'}: {message}\n"
    assert names(run.data) == ["toy.txt"]


def test_an_unknown_name_is_a_usage_error(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run(name="war-and-peace")
    assert stop.value.code == 2
    assert "no corpus 'war-and-peace': choose from toy" in capsys.readouterr().err


def test_without_names_lists_every_corpus_with_its_size(capsys):
    assert fetch_corpora.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",http")[0].split(": ")[0] for line in lines] == [
        "tinyshakespeare", "text8", "enwik8"]  # fmt: skip
    assert "1,115,394 bytes" in lines[0]
    assert "31,344,016 bytes, 100,000,000 unpacked" in lines[1]


def test_time_to_go_counts_only_what_this_run_fetched():
    line = fetch_corpora.progress_line
    assert line("a", 60_000_000, 100_000_000, 10_000_000, 5.0) == "a: 60.0 of 100.0 MB, 20 s to go"
    assert line("a", 50_000_000, 100_000_000, 0, 5.0) == "a: 50.0 of 100.0 MB"
