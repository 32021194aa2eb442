#!/usr/bin/env python3
"""Makes the suite: texts of many kinds, on which defaults and forms of models are compared.

    .venv/bin/python scripts/benchmarks/texts.py               make the texts, compare checksums
    .venv/bin/python scripts/benchmarks/texts.py names german  make these two
    .venv/bin/python scripts/benchmarks/texts.py --record      make all, and write suite.tsv anew

Half of the texts, drawn by SEED, are for choosing: experiments compare settings on them. The other
half is only for reporting: nothing is chosen by a loss on these texts. `technical` belongs to
neither half. It is the text that is compared with compressors.

The texts are made from Debian packages, which `apt-get download` gets and `dpkg-deb` unpacks into a
temporary folder. Nothing is installed, and no text is committed. suite.tsv has the checksum of each
text and the versions of its packages. Other versions give other texts, and the script says so.
"""

import csv
import gzip
import hashlib
import html
import json
import random
import re
import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

try:
    from common import ROOT, append_row, find_text, read_rows
    from tqdm import tqdm
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/benchmarks/texts.py"
    )

FOLDER = ROOT / "data/suite"
TABLE = Path(__file__).with_name("suite.tsv")
LIMIT = 20_000_000  # characters; a longer text is cut
LARGE = 500_000  # bytes; larger files have no part in the technical text
SEED = 20  # of the draw of the half for choosing


def _name(path: Path) -> tuple[str, str]:
    return path.name, str(path)


def joined(files: Iterable[Path]) -> str:
    """The texts of files in the order of their names; gzip files are unpacked.

    Bytes that are not UTF-8 become U+FFFD.
    """
    texts = []
    for path in sorted(files, key=_name):
        data = path.read_bytes()
        if path.suffix in (".gz", ".dz"):
            data = gzip.decompress(data)
        texts.append(data.decode("utf-8", "replace").replace("\r\n", "\n"))
    return "\n".join(texts)


def without_tags(files: Iterable[Path]) -> str:
    """The text of HTML files without tags, and with one empty line in the place of several."""
    text = html.unescape(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", "", joined(files)))
    return re.sub(r"\n\s*\n", "\n\n", text)


def names(files: Iterable[Path]) -> str:
    """The distinct names in JSON files of ISO codes, one a line, in random order."""
    found = {
        entry["name"]
        for path in files
        for entries in json.loads(path.read_text(encoding="utf-8")).values()
        for entry in entries
    }
    lines = sorted(found)
    random.Random(SEED).shuffle(lines)
    return "\n".join(lines) + "\n"


def sixth_files(files: Iterable[Path]) -> str:
    """The texts of every sixth file in the order of the names, without the largest files.

    The files of more than LARGE bytes are lists of patches, which have little in common with the
    rest.
    """
    small = (path for path in files if path.stat().st_size <= LARGE)
    return joined(sorted(small, key=_name)[::6])


def training_part(files: Iterable[Path]) -> str:
    """The first nine tenths of a text: the last tenth is nanoGPT's validation text."""
    text = joined(files)
    return text[: len(text) * 9 // 10]


class Source(NamedTuple):
    """The files of Debian packages that a text is made of, or one file that the checkout finds.

    pattern: a regular expression, which is searched in the paths of the files of the packages; the
        name of the file if there are no packages.
    """

    packages: tuple[str, ...]
    pattern: str
    make: Callable[[Iterable[Path]], str] = joined
    lines: bool = False  # whether the text is a list, for `charlstm train --lines`


SUITE = {
    "book": Source(("anarchism",), r"/html/(sec|append)[^/]*\.html$", without_tags),
    "c": Source(("libstb-dev",), r"\.[ch]$"),
    "dictionary": Source(("dict-gcide",), r"\.dict\.dz$"),
    "fortunes": Source(("fortunes", "fortunes-min"), r"/games/fortunes/[^./]+$"),
    "german": Source(("fortunes-de",), r"/games/fortunes/de/[^./]+$"),
    "japanese": Source(("manpages-ja",), r"/man/ja/man1/[^/]*\.gz$"),
    "manuals": Source(("manpages", "manpages-dev"), r"/man/man\d/[^/]*\.gz$"),
    "names": Source(("iso-codes",), r"/iso_(639-3|3166-1|3166-2)\.json$", names, lines=True),
    "perl": Source(("perl-modules-5.36",), r"\.pm$"),
    "play": Source((), "play.txt"),
    "python": Source(("libpython3.11-minimal", "libpython3.11-stdlib"), r"\.py$"),
    "reber": Source((), "reber.txt"),
    "russian": Source(("fortunes-ru",), r"/games/fortunes/ru/[^./]+$"),
    "shakespeare": Source((), "tinyshakespeare.txt", training_part),
}
CHOOSING = tuple(sorted(random.Random(SEED).sample(sorted(SUITE), len(SUITE) // 2)))
REPORTING = tuple(sorted(set(SUITE) - set(CHOOSING)))
TECHNICAL = Source(
    ("git-doc", "python3.11-doc", "vim-runtime"),
    r"/git-doc/.*\.txt$|/html/_sources/.*\.txt$|/vim\d+/doc/.*\.txt$",
    sixth_files,
)
SOURCES = {**SUITE, "technical": TECHNICAL}


class Entry(NamedTuple):
    """A row of suite.tsv."""

    text: str
    half: str
    characters: str
    bytes: str
    sha256: str
    packages: str  # with their versions


def half_of(name: str) -> str:
    """The half that a text belongs to."""
    halves = {"choosing": CHOOSING, "reporting": REPORTING}
    return next((half for half, texts in halves.items() if name in texts), "compressors")


def suite_text(name: str) -> Path:
    """The file of a text of the suite. Exits with a message if it has not been made."""
    path = FOLDER / f"{name}.txt"
    if not path.exists():
        sys.exit(f"no {path}: make it with .venv/bin/python scripts/benchmarks/texts.py {name}")
    return path


def unpack(packages: Iterable[str], folder: Path) -> list[str]:
    """Download packages, unpack them into a folder, and return their names with their versions."""
    versions = []
    for package in packages:
        with TemporaryDirectory() as temporary:
            subprocess.run(
                ["apt-get", "download", "-qq", package],
                cwd=temporary, check=True, capture_output=True, text=True,
            )  # fmt: skip
            archive = next(Path(temporary).glob("*.deb"))
            subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
            versions.append(subprocess.check_output(
                ["dpkg-deb", "--show", "--showformat=${Package} ${Version}", archive], text=True
            ))  # fmt: skip
    return versions


def make(name: str) -> Entry:
    """Write a text into FOLDER, and return its entry."""
    source, packages = SOURCES[name], [""]
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        if source.packages:
            packages = unpack(source.packages, root)
            paths = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
            files = [
                path for path in paths if re.search(source.pattern, f"/{path.relative_to(root)}")
            ]
        else:
            files = [find_text(source.pattern)]
        text = source.make(files)[:LIMIT]
    data = text.encode()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.txt").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return Entry(name, half_of(name), str(len(text)), str(len(data)), digest, ", ".join(packages))


def difference(entry: Entry, recorded: Entry | None) -> str | None:
    """A sentence that says how a text differs from the recorded one; None if it does not."""
    if recorded is None:
        return f"{entry.text} is not recorded: run texts.py --record"
    if entry.sha256 == recorded.sha256:
        return None
    return (
        f"{entry.text} is another text than the recorded one, and losses on it cannot be compared: "
        f"it is made of {entry.packages}, the recorded one of {recorded.packages}"
    )


def read_suite() -> dict[str, Entry]:
    """The entries of suite.tsv by the names of the texts."""
    return {row["text"]: Entry(**row) for row in read_rows(TABLE, Entry._fields)}


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"text to make: {', '.join(SOURCES)} [all]"
    )
    parser.add_argument("--record", action="store_true", help="make all, write suite.tsv anew")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(SOURCES)):
        parser.error(f"no text {unknown[0]!r}: choose from {', '.join(SOURCES)}")
    chosen = list(SOURCES) if options.record or not options.names else options.names
    entries = []
    for name in tqdm(chosen, unit="text", disable=None):
        try:
            entries.append(make(name))
        except FileNotFoundError as error:
            sys.exit(f"{name} needs apt-get and dpkg-deb, as Debian has them: {error}")
        except subprocess.CalledProcessError as error:
            last = (error.stderr or "").strip().splitlines()[-1:]
            sys.exit(f"{name}: {' '.join(map(str, error.cmd))} failed: {''.join(last)}")
    if options.record:
        TABLE.unlink(missing_ok=True)
        for entry in entries:
            append_row(TABLE, entry._asdict())
    suite = read_suite()
    writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    for entry in entries:
        writer.writerow(entry[:4])
    for entry in entries:
        if message := difference(entry, suite.get(entry.text)):
            print(message, file=sys.stderr)


if __name__ == "__main__":
    main()
