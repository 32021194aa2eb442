#!/usr/bin/env python3
"""Measures the effect of the sampling temperature on the texts of a trained model.

    .venv/bin/python scripts/benchmarks/temperature.py RUN

For each temperature, a text of 20,000 characters is sampled. The table shows the share of its words
that occur in the run's training text, the share of its sequences of three words that are distinct,
and the loss of the text under the model at temperature 1.
"""

import re
import sys
from pathlib import Path

from tabulate import tabulate

import charlstm
from charlstm.runs.texts import training_and_validation_ids

TEMPERATURES = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)
CHARACTERS = 20_000
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def measure(
    model: charlstm.CharModel, known: set[str], temperature: float, characters: int = CHARACTERS
) -> tuple[float, float, float]:
    """Return the shares of known words and of distinct word triples, and the bits per character.

    known: the words of the training text.
    """
    text = model.sample(characters, temperature=temperature, seed=1)
    words = WORD.findall(text)
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return (
        sum(word in known for word in words) / max(1, len(words)),
        len(set(triples)) / max(1, len(triples)),
        model.score(text).bits_per_character,
    )


def main(arguments: list[str]) -> None:
    """Print the table of a run."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    run = Path(arguments[0])
    model = charlstm.load(run)
    known = set(WORD.findall(model.vocab.decode(training_and_validation_ids(run).train)))
    rows = [(t, *measure(model, known, t)) for t in TEMPERATURES]
    headers = ["temperature", "known words", "distinct triples", "bits per character"]
    print(tabulate(rows, headers, tablefmt="github", floatfmt=("g", ".1%", ".0%", ".2f")))


if __name__ == "__main__":
    main(sys.argv[1:])
