#!/usr/bin/env python3
"""Downloads the usual public corpora, checked against their SHA-256.

    scripts/fetch_corpora                        list them
    scripts/fetch_corpora tinyshakespeare text8  download these two into ./data

A download that breaks off stays as `<file>.part`, and the next run asks the server for the rest
(HTTP Range, RFC 9110 section 14). A file takes its own name only when its size and SHA-256 are
right.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 16
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Corpus:
    url: str
    file: str  # the name it is kept under
    size: int
    sha256: str
    member: str | None = None  # the one file in the archive, where it is one
    member_size: int = 0


# The sizes and sums of the archives are those that several public projects pin for these addresses;
# enwik8 and text8 are the first 10^8 bytes and characters of their sources (mattmahoney.net/dc).
CORPORA = {
    "tinyshakespeare": Corpus(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "tinyshakespeare.txt",
        1_115_394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "text8": Corpus(
        "https://mattmahoney.net/dc/text8.zip",
        "text8.zip",
        31_344_016,
        "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
        "text8",
        100_000_000,
    ),
    "enwik8": Corpus(
        "https://mattmahoney.net/dc/enwik8.zip",
        "enwik8.zip",
        36_445_475,
        "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
        "enwik8",
        100_000_000,
    ),
}


class FetchError(Exception):
    """What went wrong, in one line for the reader."""


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def progress_line(name: str, done: int, size: int, fetched: int, seconds: float) -> str:
    """How far a download is; the time to go counts only what this run fetched as its speed."""
    line = f"{name}: {done / 1e6:.1f} of {size / 1e6:.1f} MB"
    if fetched and seconds > 0:
        line += f", {(size - done) * seconds / fetched:.0f} s to go"
    return line


class Progress:
    """Redraws one line on a terminal; elsewhere writes one now and then."""

    def __init__(self, name: str, done: int, size: int) -> None:
        self.name, self.begun_at, self.size = name, done, size
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self.shown >= (0.2 if self.terminal else 10.0):
            self.shown = now
            fetched = done - self.begun_at
            line = progress_line(self.name, done, self.size, fetched, now - self.started)
            # \033[K clears what a longer line left
            text = f"\r{line}\033[K" if self.terminal else f"{line}\n"
            print(text, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def download(url: str, partial: Path, size: int) -> None:
    """Bring `partial` to `size` bytes, going on from what it holds where the server can."""
    have = partial.stat().st_size if partial.exists() else 0
    if have == size:
        return
    if have > size:
        partial.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "charlstm-fetch-corpora"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        content_range = response.headers.get("Content-Range", "")
        resumed = response.status == 206 and content_range.startswith(f"bytes {have}-")
        if not resumed:
            have = 0  # the server sends the whole file: start over
        progress = Progress(partial.name.removesuffix(".part"), have, size)
        with partial.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                have += len(chunk)
                if have > size:
                    break
                file.write(chunk)
                progress.show(have)
        progress.close()
    if have > size:
        partial.unlink()
        raise FetchError(f"more than the {size:,} bytes it should have")
    if have < size:
        raise FetchError(f"broke off at {have:,} of {size:,} bytes; run again to go on from there")


def unpack(archive: Path, corpus: Corpus, target: Path) -> None:
    """Write the archive's one member to `target`, refusing any but the size it is known to have."""
    partial = target.with_name(target.name + ".part")
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if [m.filename for m in members] != [corpus.member]:
            raise FetchError(f"the archive should hold {corpus.member} and nothing else")
        # What the header states is not what the stream holds: stop at the size, whatever it states.
        left = corpus.member_size
        with opened.open(members[0]) as source, partial.open("wb") as file:
            while left >= 0 and (chunk := source.read(CHUNK)):
                left -= len(chunk)
                file.write(chunk)
    if left:
        partial.unlink()
        raise FetchError(f"{corpus.member} is not the {corpus.member_size:,} bytes it should be")
    partial.replace(target)


def fetch(corpus: Corpus, output: Path, base_url: str | None) -> Path:
    """The corpus in `output`, downloaded unless it is there already; the path of its text."""
    output.mkdir(parents=True, exist_ok=True)
    url = corpus.url
    if base_url is not None:
        url = f"{base_url.rstrip('/')}/{url.rsplit('/', 1)[1]}"
    final = output / corpus.file
    if not (final.exists() and sha256_of(final) == corpus.sha256):
        partial = output / (corpus.file + ".part")
        try:
            download(url, partial, corpus.size)
        except urllib.error.HTTPError as error:
            error.close()
            raise FetchError(f"{url}: HTTP {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise FetchError(f"{url}: {error.reason}") from None
        # ValueError: urllib's for an address that is none
        except (http.client.HTTPException, OSError, ValueError, FetchError) as error:
            raise FetchError(f"{url}: {error}") from None
        found = sha256_of(partial)
        if found != corpus.sha256:
            partial.unlink()
            raise FetchError(f"{url}: SHA-256 is {found}, should be {corpus.sha256}; removed")
        partial.replace(final)
    if corpus.member is None:
        return final
    target = output / corpus.member
    if not (target.exists() and target.stat().st_size == corpus.member_size):
        try:
            unpack(final, corpus, target)
        except (zipfile.BadZipFile, FetchError) as error:
            raise FetchError(f"{final}: {error}") from None
    return target


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Download public corpora; without names, list.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CORPORA))
    parser.add_argument(
        "--output", type=Path, default=Path("data"), metavar="DIR", help="default: ./data"
    )
    parser.add_argument(
        "--base-url", metavar="URL", help="fetch each file's last path component from here instead"
    )
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in CORPORA]
    if unknown:
        parser.error(f"no corpus {unknown[0]!r}: choose from {', '.join(CORPORA)}")
    if not arguments.names:
        for name, corpus in CORPORA.items():
            unpacked = f", {corpus.member_size:,} unpacked" if corpus.member else ""
            print(f"{name}: {corpus.size:,} bytes{unpacked}, {corpus.url}")
    for name in arguments.names:
        try:
            path = fetch(CORPORA[name], arguments.output, arguments.base_url)
        except (FetchError, OSError) as error:
            print(f"fetch_corpora: {name}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\nfetch_corpora: {name}: stopped; run again to go on", file=sys.stderr)
            return 130
        print(f"{path}: {path.stat().st_size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
