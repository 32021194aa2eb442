"""scripts/corpora/download.py, against a server of this process."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import download
import pytest

TEXT = bytes(range(256)) * 1000


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `files` and keeps the Range header of each request.

    knows_range: whether it sends a part of a file. sent_at_most: bytes before it breaks off.
    """

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
    """run(...) publishes a file, downloads it as the corpus "toy" and returns the exit code."""
    server.files["/toy.bin"] = TEXT

    def run(content=TEXT, base=None, name="toy", **fields):
        fields = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), **fields}
        corpus = download.Corpus("https://nowhere.invalid/x/toy.bin", "toy.txt", **fields)
        monkeypatch.setattr(download, "CORPORA", {"toy": corpus})
        base = base or f"http://127.0.0.1:{server.server_port}/"
        return download.main([name, "--output", str(tmp_path / "data"), "--base-url", base])

    run.data = tmp_path / "data"
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(run, server, capsys):
    assert run() == 0
    assert (run.data / "toy.txt").read_bytes() == TEXT
    assert names(run.data) == ["toy.txt"]
    assert capsys.readouterr().err == f"{run.data / 'toy.txt'}: 256,000 bytes\n"
    assert run() == 0
    assert server.ranges == [None]


def test_a_changed_file_is_downloaded_again(run):
    run.data.mkdir()
    (run.data / "toy.txt").write_bytes(b"changed")
    assert run() == 0
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_partial_download_is_continued(run, server):
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(TEXT[:100_000])
    assert run() == 0
    assert server.ranges == ["bytes=100000-"]
    assert (run.data / "toy.txt").read_bytes() == TEXT
    assert names(run.data) == ["toy.txt"]


def test_a_complete_partial_file_needs_no_request(run, server):
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(TEXT)
    assert run() == 0
    assert server.ranges == []
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_download_begins_anew_where_the_server_ignores_range(run, server):
    server.knows_range = False
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(b"?" * 1000)
    assert run() == 0
    assert server.ranges == ["bytes=1000-"]
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_partial_file_that_is_too_long_is_replaced(run, server):
    run.data.mkdir()
    (run.data / "toy.txt.part").write_bytes(TEXT + b"more")
    assert run() == 0
    assert server.ranges == [None]
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_broken_download_is_kept_and_completed_by_the_next_run(run, server, capsys):
    server.sent_at_most = 150_000
    assert run() == 1
    err = capsys.readouterr().err
    assert "broke off at 150,000 of 256,000 bytes; run the command again" in err
    assert err.count("\n") == 1
    assert (run.data / "toy.txt.part").read_bytes() == TEXT[:150_000]
    server.sent_at_most = None
    assert run() == 0
    assert server.ranges == [None, "bytes=150000-"]
    assert (run.data / "toy.txt").read_bytes() == TEXT


def test_a_file_with_a_wrong_checksum_is_removed(run, capsys):
    assert run(sha256="0" * 64) == 1
    err = capsys.readouterr().err
    found = hashlib.sha256(TEXT).hexdigest()
    assert f"removed the file: its SHA-256 is {found} instead of {'0' * 64}\n" in err
    assert err.count("\n") == 1
    assert names(run.data) == []


def test_a_file_that_is_too_long_is_refused(run, capsys):
    assert run(size=1000) == 1
    assert "the server sent more than the 1,000 bytes of the file" in capsys.readouterr().err
    assert names(run.data) == []


def test_http_404_is_reported_in_one_line(run, server, capsys):
    server.files.clear()
    assert run() == 1
    url = f"http://127.0.0.1:{server.server_port}/toy.bin"
    assert capsys.readouterr().err == f"download: toy: {url}: HTTP 404 Not Found\n"
    assert names(run.data) == []


def test_a_refused_connection_is_reported_in_one_line(run, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: every connection is refused
        assert run(base=f"http://127.0.0.1:{taken.getsockname()[1]}") == 1
    err = capsys.readouterr().err
    assert "refused" in err and err.count("\n") == 1


def test_an_invalid_address_is_reported_in_one_line(run, capsys):
    assert run(base="nonsense") == 1
    err = capsys.readouterr().err
    assert err == "download: toy: nonsense/toy.bin: unknown url type: 'nonsense/toy.bin'\n"


def test_the_member_of_an_archive_is_extracted_and_the_archive_kept(run, server):
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
        (zipped(toy=bytes(10_000_000)), 1000, "toy should have 1,000 bytes"),
        (zipped(toy=b"short"), 1000, "toy should have 1,000 bytes"),
        (zipped(toy=b"x", other=b"y"), 1, "the archive should hold toy and nothing else"),
        (b"no archive", 1, "File is not a zip file"),
    ],
    ids=["bomb", "short", "two members", "no archive"],
)
def test_an_archive_with_other_contents_is_refused(run, server, capsys, archive, size, message):
    server.files["/toy.bin"] = archive
    assert run(archive, member="toy", member_size=size) == 1
    err = capsys.readouterr().err
    assert err == f"download: toy: {run.data / 'toy.txt'}: {message}\n"
    assert names(run.data) == ["toy.txt"]


def test_an_unknown_corpus_is_a_usage_error(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run(name="war-and-peace")
    assert stop.value.code == 2
    assert "no corpus 'war-and-peace': choose from toy" in capsys.readouterr().err


def test_without_names_every_corpus_is_listed_with_its_size(capsys):
    assert download.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",http")[0].split(": ")[0] for line in lines] == [
        "tinyshakespeare", "text8", "enwik8"]  # fmt: skip
    assert "1,115,394 bytes" in lines[0]
    assert "31,344,016 bytes, 100,000,000 unpacked" in lines[1]


def test_the_time_left_follows_from_the_bytes_that_this_run_received():
    line = download.progress_line
    assert line("a", 60_000_000, 100_000_000, 10_000_000, 5.0) == "a: 60.0 of 100.0 MB, 20 s to go"
    assert line("a", 50_000_000, 100_000_000, 0, 5.0) == "a: 50.0 of 100.0 MB"


def test_the_default_folder_is_data_in_the_checkout():
    data = Path(__file__).resolve().parents[2] / "data"
    assert data == download.DATA
