"""Texts that look like lists, for which --lines is suggested, and others."""

import random
import string
from pathlib import Path

import numpy as np
import pytest
from corpus_files import make_text
from required import REQUIRE_ALL

import charlstm
from charlstm import Vocab
from charlstm.text.lists import looks_like_list

ROOT = Path(__file__).resolve().parents[2]
SHAKESPEARE = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"


def words(count, seed=0, most=11):
    """Words of random letters."""
    draw = random.Random(seed)
    return ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, most)))
            for _ in range(count)]  # fmt: skip


LISTS = {
    "first names": "\n".join(word.capitalize() for word in words(300)),
    "names of two words": "\n".join(
        f"{first.title()} {last.title()}"
        for first, last in zip(words(99), words(99, 1), strict=True)
    ),
    "words": "\r\n".join(sorted(words(5000))),
    "records": "\n".join(f"{word},{len(word)},{word[::-1]}" for word in words(200)),
    "numbers": "\n".join(map(str, range(1000, 1900))),
    "reber": (ROOT / "corpora" / "reber.txt").read_text(encoding="utf-8"),
}
OTHERS = {
    "play": (ROOT / "corpora" / "play.txt").read_text(encoding="utf-8"),
    "code": Path(charlstm.__file__).with_name("network").joinpath("model.py").read_text("utf-8"),
    "sentences": make_text(120),
    "verse": "\n".join("Upon the shore the silver waters fall," for _ in range(200)),
    "short verse": "床前明月光,\n疑是地上霜。\n举头望明月,\n低头思故乡。\n" * 50,
    "stanzas": "the old pond\na frog leaps in\nsound of water\n\n" * 50,
    "few lines": "\n".join(words(20)),
    "one line": " ".join(words(3000)),
    "wrapped data": "\n".join("".join(words(9, seed)) * 2 for seed in range(99)),
}
if SHAKESPEARE.exists() or (REQUIRE_ALL and SHAKESPEARE.parent.exists()):
    OTHERS["tiny Shakespeare"] = SHAKESPEARE.read_text(encoding="utf-8")


@pytest.mark.parametrize("level", ["char", "byte"])
@pytest.mark.parametrize("name", [*LISTS, *OTHERS])
def test_lists_are_told_from_other_texts(name, level):
    text = (LISTS | OTHERS)[name]
    vocab = Vocab.bytes() if level == "byte" else Vocab.from_text(text)
    assert looks_like_list(vocab.encode(text), vocab) == (name in LISTS)


def test_a_long_text_is_judged_by_its_beginning():
    text = LISTS["words"] * 10
    vocab = Vocab.from_text(text + " ")
    ids = np.concatenate((vocab.encode(text), vocab.encode("a b c d e f g\n" * 20_000)))
    assert looks_like_list(ids, vocab)


def test_a_note_suggests_lines_for_a_list_unless_the_user_has_decided(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text(LISTS["first names"])
    small = {"steps": 1, "hidden": 3, "workers": 1}

    def notices(number, **options):
        events = []
        charlstm.train(path, tmp_path / number, observer=events.append, **small, **options)
        return [note for note in events[0]["notices"] if "looks like a list" in note]

    assert len(notices("1")) == 1
    assert notices("2", lines=True) == notices("3", lines=False) == []
    assert notices("4", level="word") == []
