#!/usr/bin/env python3
"""Downloads public corpora into data/ of this checkout and checks their SHA-256.

    .venv/bin/python scripts/corpora/download.py                        list the corpora
    .venv/bin/python scripts/corpora/download.py tinyshakespeare text8  download these two

The received part of a download that breaks off is kept as `<file>.part`. The next download of the
file asks the server for the rest (HTTP Range, RFC 9110 section 14). A file gets its final name once
its size and SHA-256 are right.
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

READ_BYTES = 1 << 16  # number of bytes read from a file or a connection at a time
TIMEOUT_SECONDS = 30.0
DATA = Path(__file__).resolve().parents[2] / "data"


@dataclass(frozen=True)
class Corpus:
    """A file to download, and how to check it.

    member, member_size: the name and the size in bytes of the one file in an archive; None and 0
        for a file that is no archive.
    """

    url: str
    file: str  # its name in the data folder
    size: int  # bytes
    sha256: str
    member: str | None = None
    member_size: int = 0


# The sizes and checksums of the archives are those that several public projects use for these
# addresses. enwik8 and text8 are the first 10^8 bytes of their sources (mattmahoney.net/dc).
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


class DownloadError(Exception):
    """A failed download, with the reason in one line."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def progress_line(name: str, done: int, size: int, received: int, seconds: float) -> str:
    """Return a line with the bytes that a download has, and the seconds left at its present speed.

    done: the number of bytes that are on disk, of which an earlier run may have received some.
    received, seconds: the number of bytes that this run has received, and in how many seconds.
    """
    line = f"{name}: {done / 1e6:.1f} of {size / 1e6:.1f} MB"
    if received and seconds > 0:
        line += f", {(size - done) * seconds / received:.0f} s to go"
    return line


class Progress:
    """Shows the progress of a download: in one line of a terminal, or in new lines elsewhere."""

    def __init__(self, name: str, done: int, size: int) -> None:
        self.name, self.begun_at, self.size = name, done, size
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Show the number of bytes done, unless the last line is too recent."""
        now = time.monotonic()
        if now - self.shown >= (0.2 if self.terminal else 10.0):
            self.shown = now
            received = done - self.begun_at
            line = progress_line(self.name, done, self.size, received, now - self.started)
            # The code \033[K clears the rest of the terminal's line, if an earlier line was longer.
            text = f"\r{line}\033[K" if self.terminal else f"{line}\n"
            print(text, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the line of progress from a terminal."""
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def download(url: str, partial: Path, size: int) -> None:
    """Download a file of `size` bytes to `partial`, continuing from the bytes already there.

    The download begins anew if the server cannot continue it. Raises DownloadError if the server
    sends fewer or more bytes.
    """
    have = partial.stat().st_size if partial.exists() else 0
    if have == size:
        return
    if have > size:
        partial.unlink()
        have = 0
    request = urllib.request.Request(url, headers={"User-Agent": "charlstm-download"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        content_range = response.headers.get("Content-Range", "")
        resumed = response.status == 206 and content_range.startswith(f"bytes {have}-")
        if not resumed:
            have = 0  # The server sends the file from its beginning.
        progress = Progress(partial.name.removesuffix(".part"), have, size)
        with partial.open("ab" if resumed else "wb") as file:
            while chunk := response.read(READ_BYTES):
                have += len(chunk)
                if have > size:
                    break
                file.write(chunk)
                progress.show(have)
        progress.close()
    if have > size:
        partial.unlink()
        raise DownloadError(f"the server sent more than the {size:,} bytes of the file")
    if have < size:
        raise DownloadError(
            f"broke off at {have:,} of {size:,} bytes; run the command again to continue"
        )


def unpack(archive: Path, corpus: Corpus, target: Path) -> None:
    """Extract the one file of an archive to `target`.

    Raises DownloadError if the file in the archive has another name or size than `corpus` states.
    """
    partial = target.with_name(target.name + ".part")
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if [m.filename for m in members] != [corpus.member]:
            raise DownloadError(f"the archive should hold {corpus.member} and nothing else")
        # The size in the archive's header may be wrong: stop at the known size.
        left = corpus.member_size
        with opened.open(members[0]) as source, partial.open("wb") as file:
            while left >= 0 and (chunk := source.read(READ_BYTES)):
                left -= len(chunk)
                file.write(chunk)
    if left:
        partial.unlink()
        raise DownloadError(f"{corpus.member} should have {corpus.member_size:,} bytes")
    partial.replace(target)


def fetch(corpus: Corpus, output: Path, base_url: str | None) -> Path:
    """Download a corpus into `output`, unless it is there; return the path of its text.

    base_url: an address that replaces the URL of the corpus except for the last part, the file
        name; None for the URL of the corpus.
    """
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
            raise DownloadError(f"{url}: HTTP {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise DownloadError(f"{url}: {error.reason}") from None
        # urllib raises ValueError for an invalid address.
        except (http.client.HTTPException, OSError, ValueError, DownloadError) as error:
            raise DownloadError(f"{url}: {error}") from None
        found = sha256_of(partial)
        if found != corpus.sha256:
            partial.unlink()
            raise DownloadError(
                f"{url}: removed the file: its SHA-256 is {found} instead of {corpus.sha256}"
            )
        partial.replace(final)
    if corpus.member is None:
        return final
    target = output / corpus.member
    if not (target.exists() and target.stat().st_size == corpus.member_size):
        try:
            unpack(final, corpus, target)
        except (zipfile.BadZipFile, DownloadError) as error:
            raise DownloadError(f"{final}: {error}") from None
    return target


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Download the named public corpora, or list all of them if no name is given."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"corpus to download: {', '.join(CORPORA)}"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=DATA,
        metavar="DIR",
        help="folder to download to  [default: data/ of this checkout]",
    )
    parser.add_argument(
        "--base-url",
        metavar="URL",
        help="address of a folder with files of the same names  [default: the corpora's own sites]",
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
        except (DownloadError, OSError) as error:
            print(f"download: {name}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(
                f"\ndownload: {name}: stopped; run the command again to continue", file=sys.stderr
            )
            return 130
        print(f"{path}: {path.stat().st_size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
