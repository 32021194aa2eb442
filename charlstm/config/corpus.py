"""CorpusConfig: where the text of a run comes from and how it is read."""

from dataclasses import dataclass
from typing import Literal

from charlstm.config.knobs import Record, knob

Level = Literal["char", "byte", "word"]
Newlines = Literal["keep", "lf"]


@dataclass(frozen=True)
class CorpusConfig(Record):
    """Where the text of a run comes from and how it is read; paths are absolute."""

    paths: tuple[str, ...] = knob((), "Files and folders of text.")
    level: Level = knob(
        "char",
        "Kind of symbol: a Unicode code point, a byte, or a word. At level word, punctuation marks "
        "and line ends are symbols too, and other spacing is not kept.",
    )
    vocab_size: int | None = knob(
        None,
        "Distinct symbols at level word: the most frequent words, and one symbol for all others. "
        "Without it, all words.",
    )
    encoding: str = knob("utf-8", "Encoding of the files.")
    newlines: Newlines = knob("keep", "Keep line ends as they are, or read all as \\n.")
    val_frac: float = knob(
        0.1,
        "Part of the text, from the end of all files joined, that is held out for validation; 0: "
        "none.",
        within="[0, 1)",
    )
    val_file: tuple[str, ...] = knob((), "Text to validate on instead; may be given several times.")
