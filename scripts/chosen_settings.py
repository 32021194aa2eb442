#!/usr/bin/env python3
"""Print the settings that `charlstm train` chooses for texts of several lengths and times.

    .venv/bin/python scripts/chosen_settings.py

The table stands in charlstm/training/DEFAULTS.md; a test compares the page with it. No model is
trained: the settings follow from the length of the text, its number of distinct symbols, and the
number of floating-point operations that the time allows on a machine of a known speed.
"""

import sys

try:
    from charlstm import ModelConfig, TrainConfig
    from charlstm.config import RunConfig
    from charlstm.training.defaults import choose_settings
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup, then .venv/bin/python scripts/chosen_settings.py")

OPERATIONS_PER_SECOND = 110e9  # in matrix products of training steps, on two cores
VOCAB_SIZE = 80
LENGTHS = {"30 kB": 30_000, "300 kB": 300_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
MINUTES = (1, 3, 10, 60)


def settings(length: int, minutes: float) -> tuple[ModelConfig, TrainConfig]:
    """The settings for a text of `length` characters and a run of some minutes."""
    asked = RunConfig.asked({"minutes": minutes, "paths": ("corpus.txt",)})
    return choose_settings(
        length,
        asked.model,
        asked.train,
        vocab_size=VOCAB_SIZE,
        operations=OPERATIONS_PER_SECOND * 60 * minutes,
    )


def table() -> str:
    """The table of the chosen settings, in Markdown."""
    columns = ("text", "minutes", "layers × units", "rows of the table", "learning rate",
               "table's rate", "dropout")  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for name, length in LENGTHS.items():
        for minutes in MINUTES:
            model, train = settings(length, minutes)
            lines.append(
                f"| {name} | {minutes} | {model.layers} × {model.hidden} | {model.ngram_slots:,} "
                f"| {train.lr:g} | {train.ngram_lr:g} | {train.dropout:g} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
