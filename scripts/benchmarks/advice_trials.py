"""The runs that advice.py makes: their texts and options, and the changes that advice proposes."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple

from common import ROOT, find_text

Settings = dict[str, Any]

# Text | options of charlstm.train. Each line is trained at `lr` times each of FACTORS: from a rate
# that is too low for the cell and the optimizer to one that is too high.
FACTORS = (1, 3, 9, 27, 81, 243)
SUITABLE = 9  # the factor of FACTORS that gives a good learning rate
RATES = """
shakespeare 300 kB | hidden=64 lr=0.002 steps=250
shakespeare 300 kB | hidden=64 lr=0.001 steps=250 schedule="constant" average=0.0 ngrams=0
shakespeare 300 kB | hidden=96 lr=0.0002 steps=250 cell="rnn"
shakespeare 300 kB | hidden=64 lr=0.0002 steps=250 optimizer="rmsprop" average=0.0
code 100 kB        | hidden=96 lr=0.002 steps=200 ngram_slots=5000
code 100 kB        | hidden=64 lr=0.001 steps=250 cell="gru" ngrams=0
code 100 kB        | hidden=64 lr=0.001 steps=250 schedule="plateau" average=0.0 ngrams=0
reber 100 kB       | hidden=32 lr=0.002 steps=200
play 300 kB        | hidden=64 lr=0.002 steps=250 ngrams=0
play 300 kB        | hidden=64 lr=0.001 steps=250 cell="gru" schedule="constant" average=0.0
names 100 kB       | hidden=64 lr=0.002 steps=200 lines=true ngrams=0
names 100 kB       | hidden=64 lr=0.001 steps=200 lines=true cell="gru" schedule="step" ngrams=0
"""
# Small texts, of which the larger models learn much by heart. `plain` stands for PLAIN, and `short`
# for SHORT.
PLAIN: Settings = {"dropout": 0.0, "weight_dropout": 0.0, "ngrams": 0}
SHORT: Settings = {"batch_size": 16, "seq_length": 32}
SETS = {"plain": PLAIN, "short": SHORT}
SMALL_TEXTS = """
shakespeare 15 kB | hidden=96 lr=0.01 steps=800 plain short
shakespeare 15 kB | hidden=96 lr=0.02 steps=800 plain short dropout=0.2
shakespeare 30 kB | hidden=128 lr=0.01 steps=1000 plain short
shakespeare 15 kB | hidden=64 lr=0.005 steps=800 plain short schedule="constant" average=0.0
shakespeare 15 kB | hidden=64 lr=0.02 steps=800 short dropout=0.0 weight_dropout=0.0
shakespeare 15 kB | hidden=128 lr=0.002 steps=800 plain short cell="rnn"
shakespeare 50 kB | hidden=64 lr=0.01 steps=400 plain short level="word"
code 15 kB        | hidden=96 lr=0.01 steps=800 plain short
code 15 kB        | hidden=64 lr=0.01 steps=800 plain short cell="gru"
code 15 kB        | hidden=96 lr=0.005 steps=400 plain cell="gru" schedule="plateau" average=0.0
play 20 kB        | hidden=96 steps=400 plain
play 20 kB        | hidden=96 steps=400 dropout=0.5
reber 10 kB       | hidden=64 steps=400 plain
reber 40 kB       | hidden=32 steps=400
names 15 kB       | hidden=96 steps=300 plain lines=true
names 15 kB       | hidden=64 steps=300 dropout=0.3 lines=true
play 8 kB         | hidden=96 lr=0.01 steps=800 plain short
names 8 kB        | hidden=96 lr=0.01 steps=600 plain lines=true batch_size=16
shakespeare 20 kB | hidden=64 lr=0.01 steps=800 plain short cell="gru"
shakespeare 8 kB  | hidden=64 lr=0.01 steps=600 plain short schedule="plateau" average=0.0
code 8 kB         | hidden=64 lr=0.02 steps=600 plain short schedule="constant" average=0.0
shakespeare 8 kB  | hidden=96 lr=0.02 steps=800 plain short
code 8 kB         | hidden=96 lr=0.01 steps=800 plain short
play 8 kB         | hidden=64 lr=0.01 steps=800 plain short cell="gru"
reber 2 kB        | hidden=64 lr=0.02 steps=800 plain short
"""


class Trial(NamedTuple):
    """One run to make: a text, and options of charlstm.train."""

    text: str
    settings: Settings

    @property
    def asked(self) -> str:
        """The options as JSON, as a result stores them."""
        return json.dumps(self.settings, sort_keys=True)

    def changed(self, **settings: Any) -> "Trial":
        """The trial with other options."""
        return Trial(self.text, {**self.settings, **settings})


def trials() -> Iterator[Trial]:
    """Yield the runs that advice is given to; each has a seed of its own."""
    seed = 0
    for text, settings in _lines(RATES):
        seed += 1
        for factor in FACTORS:
            yield Trial(text, {**settings, "lr": rounded(settings["lr"] * factor), "seed": seed})
    for text, settings in _lines(SMALL_TEXTS):
        seed += 1
        yield Trial(text, {**settings, "seed": seed})


def rate_factor(trial: Trial) -> int | None:
    """The factor of a trial's learning rate; None for a trial of SMALL_TEXTS."""
    for seed, (_, settings) in enumerate(_lines(RATES), 1):
        if seed == trial.settings["seed"]:
            return round(trial.settings["lr"] / settings["lr"])
    return None


def rounded(rate: float) -> float:
    """Round a learning rate to four digits, so that x * 3 / 3 gives x again."""
    return float(f"{rate:.4g}")


def _lines(table: str) -> Iterator[tuple[str, Settings]]:
    """Yield the text and the options of each line."""
    for line in table.strip().splitlines():
        text, words = (part.strip() for part in line.split("|"))
        settings: Settings = {}
        for word in words.split():
            name, _, value = word.partition("=")
            settings.update({name: json.loads(value)} if value else SETS[name])
        yield text, settings


# -- texts ----------------------------------------------------------------------------------


def first_bytes(name: str, kilobytes: int) -> bytes:
    """The beginning of a text file."""
    return find_text(f"{name}.txt").read_bytes()[: 1000 * kilobytes]


def code(kilobytes: int) -> bytes:
    """The middle of the interpreter's standard library."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "library.txt"
        command = [sys.executable, ROOT / "scripts/corpora/standard_library.py", path]
        subprocess.run(command, check=True, capture_output=True)
        text = path.read_bytes()
    begin = len(text) // 2
    return text[begin : begin + 1000 * kilobytes].decode("utf-8", "ignore").encode()


def names(kilobytes: int) -> bytes:
    """The names of functions in the interpreter's standard library, in random order."""
    found = sorted(set(re.findall(r"def (\w+)", code(20_000).decode())))
    random.Random(0).shuffle(found)
    return "".join(f"{name}\n" for name in found).encode()[: 1000 * kilobytes]


TEXTS: dict[str, Callable[[int], bytes]] = {
    "shakespeare": lambda kilobytes: first_bytes("tinyshakespeare", kilobytes),
    "play": lambda kilobytes: first_bytes("play", kilobytes),
    "reber": lambda kilobytes: first_bytes("reber", kilobytes),
    "code": code,
    "names": names,
}


def text_file(name: str) -> Path:
    """The file of a text such as "code 30 kB", which is written when it is first needed."""
    path = Path(gettempdir()) / "charlstm-benchmarks" / f"advice-{name.replace(' ', '-')}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        kind, size, _ = name.split()
        path.write_bytes(TEXTS[kind](int(size)))
    return path
