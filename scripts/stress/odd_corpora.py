#!/usr/bin/env python3
"""Trains and samples with odd texts, and checks that the texts that are refused get a clear error.

    .venv/bin/python scripts/stress/odd_corpora.py                 2,000 texts
    .venv/bin/python scripts/stress/odd_corpora.py --count 100     fewer

The library hypothesis generates the texts. Each text is written in one encoding, sometimes read in
another, and trained on for one step: as characters, bytes or words, as one text or line by line.
The ids must stand for the same text that Python decodes. If charlstm refuses a text, the error must
have one line, and no file may be left behind. If a text fails, the exit code is 1, and the script
describes the simplest text that fails.
"""

import codecs
import io
import os
import sys
import traceback
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable
from itertools import count
from operator import mul
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

try:
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st
    from tabulate import tabulate
    from tqdm import tqdm

    import charlstm
    from charlstm.text.corpus import open_corpus
    from charlstm.text.words import split_words
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then .venv/bin/python scripts/stress/odd_corpora.py"
    )

COUNT = 2_000  # texts
ONE_STEP: dict[str, Any] = {
    "hidden": 3, "layers": 1, "steps": 1, "eval_every": 1, "batch_size": 3, "seq_length": 6,
    "workers": 1,
}  # fmt: skip
SAMPLE_LENGTH = 9
OUTCOMES = ("trained", "refused")
ENCODINGS = (
    "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252",
    "gb18030", "shift_jis", "utf-7", "unicode_escape",
)  # fmt: skip
BYTE_ORDER_MARKS = (
    codecs.BOM_UTF8,
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
    codecs.BOM_UTF32_LE,
)

any_text = st.text(st.characters(codec="utf-8"), max_size=60)
with_lone_surrogates = st.text(
    st.one_of(st.characters(categories=["Cs"]), st.characters()), max_size=30
)


def text_of(characters: str) -> st.SearchStrategy[str]:
    """Return a strategy of hypothesis that draws texts of these characters only."""
    return st.text(st.sampled_from(characters), min_size=2, max_size=80)


def distinct(first: int, size: int) -> str:
    """Return `size` consecutive characters from code point `first`, without surrogates."""
    return "".join(chr(k) for k in range(first, first + size) if not 0xD800 <= k < 0xE000)


TEXTS: dict[str, st.SearchStrategy[str]] = {
    "empty or nearly": st.sampled_from(["", "\n", "a", "\0", "\ufeff", "ab", "\r\n"]),
    "one character": st.builds(mul, st.characters(codec="utf-8"), st.integers(1, 99)),
    "all distinct": st.builds(distinct, st.integers(0, 0x10F000), st.integers(2, 3000)),
    "NULs": text_of("\0\0\0a\n"),
    "lone surrogates": with_lone_surrogates,
    "mixed newlines": text_of("\r\n\x85\u2028\u2029\x0b\x0cab"),
    "right to left": text_of("אבגשלום مرحبا\u202e\u202b\u200f\u2067\n"),
    "combining marks": text_of("e\u0301\u0327\u20dd\u0e33\u200d👩🏽\ufe0f\n"),
    "huge line": st.builds(mul, any_text, st.sampled_from([5_000, 20_000])),
    "any text": any_text,
}
# Kinds of files whose content is not a text in one encoding.
FILES: dict[str, Callable[[st.DrawFn], bytes]] = {
    "byte-order marks": lambda draw: (
        draw(st.sampled_from(BYTE_ORDER_MARKS))
        + draw(any_text).encode()
        + draw(st.sampled_from(BYTE_ORDER_MARKS))
    ),
    "odd length": lambda draw: (draw(any_text) + "ab").encode("utf-16")[:-1],
    "any bytes": lambda draw: draw(st.binary(max_size=80)),
}


Case = tuple[str, bytes, dict[str, Any]]  # the kind of a text, the bytes of its file, the options


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw the kind of a text, the bytes of its file, and the options for training on it."""
    kind = draw(st.sampled_from([*TEXTS, *FILES]))
    written = draw(st.sampled_from(ENCODINGS))
    options: dict[str, Any] = {
        "level": draw(st.sampled_from(("char", "char", "byte", "word"))),
        "newlines": draw(st.sampled_from(("keep", "keep", "lf"))),
        "encoding": draw(st.sampled_from((written, written, written, "utf-8"))),
        "lines": draw(st.sampled_from((False, False, True))),
        "val_frac": draw(st.sampled_from((0.1, 0.0, 0.5))),
    }
    if options["level"] == "byte":
        options |= {"encoding": "utf-8", "newlines": "auto"}
    if kind in FILES:
        return kind, FILES[kind](draw), options
    text = draw(TEXTS[kind])
    try:
        return kind, text.encode(written, "surrogatepass"), options
    except (UnicodeError, NotImplementedError):
        return kind, text.encode(written, "replace"), options


def decode(data: bytes, options: dict[str, Any]) -> str:
    """Decode a file with Python's own codecs, and return the text that charlstm should read."""
    encoding = options["encoding"]
    if encoding in ("utf-8", "utf-8-sig"):  # The byte-order mark is removed at level byte, too.
        data = data.removeprefix(codecs.BOM_UTF8)
    elif encoding == "utf-16-le":
        data = data.removeprefix(codecs.BOM_UTF16_LE)
    text = data.decode("latin-1" if options["level"] == "byte" else encoding.removesuffix("-sig"))
    if options["newlines"] == "lf":
        text = io.IncrementalNewlineDecoder(None, translate=True).decode(text, final=True)
    return text


def attempt(folder: Path, data: bytes, options: dict[str, Any]) -> str:
    """Train one step on a file and sample; return "trained" or "refused".

    Raises AssertionError if the ids stand for another text than Python decodes, or if a refusal has
    more than one line or leaves a file behind.
    """
    path, run = folder / "text", folder / "run"
    path.write_bytes(data)
    try:
        charlstm.train(path, run, **ONE_STEP, **options)
    except charlstm.CharlstmError as error:
        assert str(error) and "\n" not in str(error), error
        assert not run.exists(), "refused, but something was written"
        return "refused"
    model = charlstm.load(run)
    assert isinstance(model.sample(SAMPLE_LENGTH, seed=1), str)
    reading = {name: options[name] for name in ("level", "newlines", "encoding")}
    if options["level"] == "byte":
        reading["newlines"] = "keep"
    corpus, text = open_corpus([path], **reading), decode(data, options)
    assert corpus.vocab == model.vocab
    if options["level"] == "byte":
        assert corpus.ids.tobytes() == text.encode("latin-1")
    elif options["level"] == "word":
        assert [model.vocab.symbols[k] for k in corpus.ids] == split_words(text)
    else:
        assert model.vocab.decode(corpus.ids) == text
        assert model.vocab.encode(text).tolist() == corpus.ids.tolist()
    return "trained"


def attempt_all(texts: int, first_seed: int) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Call `attempt` with generated texts, up to this number, until one fails.

    Returns the counts by kind and outcome, and a description of the text that failed, if any.
    """
    found: Counter[tuple[str, str]] = Counter()
    failed: list[Case] = []  # After a failure, hypothesis tries simpler and simpler texts.
    folders = count()

    @seed(first_seed)
    @settings(
        max_examples=texts,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(cases())
    def attempt_one(case: Case) -> None:
        kind, data, options = case
        folder = Path(temporary) / str(next(folders))
        folder.mkdir()
        try:
            found[kind, attempt(folder, data, options)] += 1
        except BaseException:
            failed.append(case)
            raise
        bar.update()

    with (
        TemporaryDirectory() as temporary,
        tqdm(total=texts, unit="text", dynamic_ncols=True, disable=None) as bar,
        patch.dict(os.environ, CHARLSTM_CACHE=f"{temporary}/cache"),
        warnings.catch_warnings(),
    ):
        # The codec unicode_escape warns of invalid escapes.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            attempt_one()
        except Exception:
            kind, data, options = failed[-1]
            return found, [f"{kind}, {options}, {data!r:.1000}: {traceback.format_exc()}"]
    return found, []


def numbers(found: Counter[tuple[str, str]]) -> dict[str, float]:
    """Return the counts of all kinds of text together."""
    return {
        outcome: sum(n for (_, own), n in found.items() if own == outcome) for outcome in OUTCOMES
    }


def summarise(found: Counter[tuple[str, str]]) -> str:
    """Return a Markdown table with a row for each kind of text."""
    rows: list[list[Any]] = [
        [kind, *(found[kind, outcome] for outcome in OUTCOMES)]
        for kind in (*TEXTS, *FILES)
        if any(found[kind, outcome] for outcome in OUTCOMES)
    ]
    rows.append(["all", *(sum(row[k] for row in rows) for k in (1, 2))])
    headings = ("text", "trained and sampled", "refused in one line")
    return tabulate(rows, headings, tablefmt="pipe", intfmt=",")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 1 if a text failed."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help=f"texts  [default: {COUNT:,}]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the texts  [default: 0]")
    options = parser.parse_args(arguments)
    found, failures = attempt_all(options.count, options.seed)
    print(summarise(found))
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
