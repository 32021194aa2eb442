"""The runs that defaults.py makes: their texts and options."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Settings = dict[str, Any]


class Trial(NamedTuple):
    """One run to make: a text, and options of charlstm.train.

    The option `tera` stands for the end of the run: after this number of tera-operations.
    """

    text: str
    settings: Settings

    @property
    def asked(self) -> str:
        """The options as JSON, as a result stores them."""
        return json.dumps(self.settings, sort_keys=True)


def describe(settings: Settings) -> str:
    """Settings in words, for a table."""
    return " ".join(f"{name}={value}" for name, value in settings.items()) or "default"


# The settings that all runs of the sweep share. They are written out, so that a change of the
# defaults leaves the sweep as it is.
SETTING: Settings = {
    "layers": 1,
    "batch_size": 16,
    "seq_length": 64,
    "lr": 2e-2,
    "dropout": 0.25,
    "weight_dropout": 0.2,
    "average": 0.998,
    "reset": 0.01,
    "capped": False,
    "ngrams": 0,
    "seed": 0,
}
NGRAMS: Settings = {"batch_size": 24, "ngrams": 6, "ngram_slots": 65_536}
# Text | tera-operations | differences from SETTING. `ngrams` alone stands for NGRAMS, and a dropout
# without a weight_dropout sets both.
SWEEP = """
first 1 MB       | 20.0 | hidden=384 batch_size=32
first 1 MB       | 20.0 | hidden=512 batch_size=32
first 1 MB       | 20.0 | hidden=384 batch_size=32 seq_length=32
first 1 MB       | 20.0 | hidden=320 batch_size=32
first 1 MB       | 20.0 | hidden=384 batch_size=32 lr=0.03
first 1 MB       | 6.7  | dropout=0.15 hidden=224 batch_size=32
first 1 MB       | 6.7  | dropout=0.15 hidden=224
first 1 MB       | 6.7  | dropout=0.15 hidden=224 batch_size=32 lr=0.03
first 1 MB       | 6.7  | dropout=0.15 hidden=224 batch_size=8
first 1 MB       | 6.7  | dropout=0.15 hidden=224 batch_size=32 seq_length=32
first 1 MB       | 20.0 | hidden=384
first 1 MB       | 6.7  | dropout=0.15 hidden=224 seq_length=128
first 1 MB       | 6.7  | dropout=0.15 hidden=224 lr=0.014
first 1 MB       | 6.7  | dropout=0.15 hidden=224 lr=0.03
first 100 kB     | 3    | dropout=0.5 hidden=128
first 100 kB     | 6.7  | dropout=0.5 hidden=224
first 1 MB       | 20.0 | hidden=384 lr=0.015
first 1 MB       | 1.5  | dropout=0.1 hidden=160
first 1 MB       | 1.5  | dropout=0.1 hidden=96
first 1 MB       | 1.5  | dropout=0.1 hidden=128
first 1 MB       | 1.5  | dropout=0.1 hidden=192
first 1 MB       | 17   | dropout=0.15 hidden=320 batch_size=24 weight_dropout=0.1
first 1 MB       | 14   | ngrams dropout=0.15 hidden=256
first 1 MB       | 14   | ngrams dropout=0.15 hidden=320
first 1 MB       | 14   | ngrams dropout=0.2 hidden=192
first 1 MB       | 14   | ngrams dropout=0.08 hidden=256
first 1 MB       | 3    | ngrams dropout=0.15 hidden=160
first 1 MB       | 3    | dropout=0.15 hidden=160 batch_size=24
first 1 MB       | 3    | ngrams ngrams=4 dropout=0.15 hidden=160
first 1 MB       | 3    | ngrams ngrams=8 dropout=0.15 hidden=160
first 1 MB       | 3    | ngrams dropout=0.15 hidden=160 ngram_lr=0.12
first 1 MB       | 3    | ngrams dropout=0.15 hidden=160 ngram_lr=0.5
first 1 MB       | 3    | ngrams ngram_slots=16384 dropout=0.15 hidden=160
first 100 kB     | 3    | ngrams ngram_slots=6500 dropout=0.5 hidden=128
first 100 kB     | 3    | ngrams ngram_slots=6500 dropout=0.3 hidden=128
first 1 MB       | 14   | ngrams ngram_slots=129000 dropout=0.15 hidden=256 ngram_lr=0.15
first 1 MB       | 14   | ngrams ngram_slots=129000 dropout=0.15 hidden=256 ngram_lr=0.08
first 100 kB     | 5    | ngrams ngram_slots=45000 dropout=0.4 hidden=192 ngram_lr=0.05
standard library | 6    | ngrams ngram_slots=83000 dropout=0.0 hidden=256
standard library | 6    | ngrams ngram_slots=83000 dropout=0.0 hidden=256 ngram_lr=0.5
first 1 MB       | 60   | ngrams ngram_slots=129000 dropout=0.2 hidden=384 ngram_lr=0.1
first 1 MB       | 60   | ngrams ngram_slots=129000 dropout=0.3 hidden=384 ngram_lr=0.1
first 1 MB       | 60   | ngrams ngram_slots=129000 dropout=0.42 hidden=384 ngram_lr=0.1
first 1 MB       | 5    | ngrams ngram_slots=129000 dropout=0.0 hidden=192 ngram_lr=0.18
first 1 MB       | 5    | ngrams ngram_slots=129000 dropout=0.1 hidden=192 ngram_lr=0.18
first 1 MB       | 14   | ngrams ngram_slots=129000 dropout=0.1 hidden=256 ngram_lr=0.13
first 1 MB       | 14   | ngrams ngram_slots=129000 dropout=0.2 hidden=256 ngram_lr=0.13
first 100 kB     | 5    | ngrams ngram_slots=45000 dropout=0.3 hidden=192 ngram_lr=0.05
play             | 14   | ngrams ngram_slots=129000 dropout=0.05 hidden=256 ngram_lr=0.13
play             | 14   | ngrams ngram_slots=129000 dropout=0.2 hidden=256 ngram_lr=0.13
standard library | 6    | ngrams ngram_slots=83000 dropout=0.0 hidden=96
standard library | 6    | ngrams ngram_slots=83000 dropout=0.0 hidden=160
"""


def sweep_lines() -> Iterator[tuple[str, float, Settings]]:
    """The text, the tera-operations and the differences from SETTING of each line of SWEEP."""
    for line in SWEEP.strip().splitlines():
        text, tera, words = (part.strip() for part in line.split("|"))
        changes: Settings = {}
        for word in words.split():
            name, _, value = word.partition("=")
            changes.update({name: json.loads(value)} if value else NGRAMS)
        if "dropout" in changes:
            changes.setdefault("weight_dropout", changes["dropout"])
        yield text, json.loads(tera), changes


# One element of the defaults changed in each run, on the first 1 MB of tiny Shakespeare.
ABLATION: dict[str, Settings] = {
    "default": {},
    "no n-grams": {"ngrams": 0},
    "no averaged weights": {"average": 0.0},
    "no DropConnect": {"weight_dropout": 0.0},
    "no dropout": {"dropout": 0.0},
    "input gates not capped": {"capped": False},
    "the learning rate of a short run": {"lr": 2e-2},
    "half the learning rate": {"lr": 7e-3},
    "a constant learning rate": {"schedule": "constant"},
    "no warm-up": {"warmup": 0},
    "streams cut once": {"recut": False},
    "state never reset": {"reset": 0.0},
    "clipping at norm 5": {"clip": 5.0},
    "half the units": {"hidden": 128},
    "twice the units": {"hidden": 512},
}

# Widely different settings, which are compared with the defaults on other texts.
DOZEN: tuple[Settings, ...] = tuple(
    {"hidden": hidden, "lr": lr, "dropout": dropout, "weight_dropout": dropout}
    for hidden in (128, 256, 512)
    for lr in (5e-3, 2e-2)
    for dropout in (0.0, 0.3)
)
OTHER_TEXTS = ("standard library", "play")
MINUTES = 3.0  # of each run of DOZEN

COMPARISONS = ("sweep", "ablation", "dozen", "minutes", "compressors")


def trials(comparison: str, seeds: int) -> list[tuple[str, Trial]]:
    """The runs of a comparison, each with the name of its row in the table.

    seeds: the number of runs for each row of ablation and minutes.
    """
    if comparison == "sweep":
        return [
            (
                f"{text}, {tera:g} T: {describe(changes)}",
                Trial(text, {**SETTING, **changes, "tera": tera}),
            )
            for text, tera, changes in sweep_lines()
        ]
    if comparison == "ablation":
        return [
            (name, Trial("first 1 MB", {"seed": seed, **changes}))
            for name, changes in ABLATION.items()
            for seed in range(seeds)
        ]
    if comparison == "dozen":
        return [
            (f"{text}: {describe(each)}", Trial(text, {"minutes": MINUTES, "seed": 0, **each}))
            for text in OTHER_TEXTS
            for each in ({}, *DOZEN)
        ]
    if comparison == "compressors":
        return [("documentation, --minutes 2", Trial("documentation", {"minutes": 2.0, "seed": 0}))]
    return [
        (f"--minutes {minutes}", Trial("tinyshakespeare", {"seed": seed, "minutes": minutes}))
        for minutes in (3.0, 10.0)
        for seed in range(seeds)
    ]
