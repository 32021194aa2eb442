"""CorpusConfig: where the text of a run comes from and how it is read."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from charlstm.config.knobs import Group, Record, knob

Level = Literal["char", "byte", "word"]
Newlines = Literal["keep", "lf"]
ValSplit = Literal["end", "each", "random"]


@dataclass(frozen=True)
class CorpusConfig(Record):
    """Where the text of a run comes from and how it is read.

    In a saved run, the path of a text inside the run's folder is relative to that folder. The path
    of a text outside the run's folder is absolute.
    """

    group: ClassVar[Group | None] = "Text"

    paths: tuple[str, ...] = knob((), "Files and folders of text.")
    level: Level = knob(
        "char",
        "Kind of symbol: a Unicode code point, a byte, or a word. At level word, punctuation marks "
        "and line ends are symbols too, but spaces and tabs are not kept.",
        group="Common options",
    )
    vocab_size: int | None = knob(
        None,
        "Number of distinct symbols at level word, 3 or more: the most frequent words, and one "
        "symbol for all other words. Without this option, every word has a symbol of its own.",
    )
    spell_below: float = knob(
        0.0,
        "Spell characters beyond ASCII that are rarer than this share of the text as the bytes of "
        "their UTF-8 form, where that makes the vocabulary much smaller. 0: every character has a "
        "symbol of its own. For level char only.",
        within="[0, 1)",
        rule="5e-05, or as the model of `init_from`",
    )
    encoding: str = knob("utf-8", "Encoding of the files, by its name in Python, such as latin-1.")
    newlines: Newlines = knob(
        "keep",
        "Treatment of line ends. lf: read each \\r\\n and each \\r as \\n, with a note. keep: "
        "leave them as they are. Level byte reads all bytes as they are.",
        rule="lf, or keep if the model of `init_from` knows \\r",
    )
    val_frac: float = knob(
        0.1,
        "Fraction of the text that is held out for validation; 0: no validation. `val_split` "
        "chooses which part of the text is held out.",
        within="[0, 1)",
    )
    val_split: ValSplit = knob(
        "end",
        "Which part of the text is held out for validation. end: the end of the text that all "
        "files form together, in whole lines for `lines`. each: the end of each file; the state is "
        "not carried from file to file in validation. random: lines drawn at random from all "
        "files, as `seed` determines; copies of one line are all held out or all trained on. "
        "random is for `lines` only, and needs memory for all of the text; each is for texts "
        "without `lines` only.",
        rule="random with `lines`, else each for several files, else end",
    )
    val_file: tuple[str, ...] = knob(
        (),
        "File to validate on, instead of a part of the text; may be given several times.",
    )
    mix: tuple[str, ...] = knob(
        (),
        "Other text to read beside the text, such as the text of the run that `init_from` names, "
        "so that the model does not forget it: a part of each step, `mix_share`, is read from it. "
        "Its last part, as large as `val_frac` says, is held out, and the loss on it is measured "
        "too. May be given several times.",
    )

    @property
    def all_paths(self) -> tuple[str, ...]:
        """The paths of all texts that the run reads."""
        return (*self.paths, *self.val_file, *self.mix)
