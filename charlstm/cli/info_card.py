"""The card of `charlstm info`: a run or a checkpoint in words, with rounded numbers."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from charlstm.config import ModelConfig, TrainConfig, textbook_in_words
from charlstm.system.terminal import shell_word, visible
from charlstm.system.wording import (
    counted,
    duration,
    in_nats_and_bits,
    rounded,
    size_in_words,
    wrapped,
)

LABEL = 14  # columns
SHOWN_SYMBOLS = 24  # of a vocabulary
UNITS = {"char": "character", "byte": "byte", "word": "word"}


def card(facts: Mapping[str, Any], columns: int | None) -> Iterator[str]:
    """Yield the lines of the card.

    facts: the result of folder.describe. Entries of the summary that have a wrong type are left
        out, because the checkpoint may come from a stranger.
    columns: the width of the terminal; None for lines of any length.
    """
    yield from wrapped(visible(facts["absolute_path"]), columns).split("\n")
    for label, text in _entries(facts):
        first = f"  {label:{LABEL}}"
        yield from wrapped(visible(text), columns, " " * len(first), first).split("\n")


def _entries(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the entries of the card as pairs (label, text)."""
    model = ModelConfig.from_dict(facts["model"])
    train = TrainConfig.from_dict(facts["training"]) if "training" in facts else None
    unit = UNITS[facts["level"]]
    layers, units = counted(model.layers, "layer"), counted(model.hidden, "unit")
    yield "model", f"{model.cell.upper()}, {layers} of {units}{', for lines' * model.lines}"
    yield "parameters", f"{facts['parameters']:,}"
    yield "kind", textbook_in_words(model, train)
    yield "vocabulary", _vocabulary(facts)
    yield from _progress(facts["summary"], unit)
    for path in facts.get("texts", ()):
        yield "text", path
    if origin := facts.get("origin"):
        step = "" if origin["step"] is None else f" (step {origin['step']:,})"
        added = f"; {counted(origin['added'], unit)} added {origin['symbols']}".rstrip()
        yield "begun from", f"{origin['path']}{step}{added}"
    if train is not None:
        yield "settings", _settings(train, unit)
    sizes = (f"{Path(name).name} {size_in_words(size)}" for name, size in facts["files"].items())
    yield "size", ", ".join(sizes)
    yield "sample uses", _used(facts["sample"])
    yield "to sample", f"charlstm sample -r {shell_word(facts['path'])}"
    yield "kernels", facts["kernels"]
    yield "precision", facts["precision"]


def _settings(train: TrainConfig, unit: str) -> str:
    streams, length = counted(train.batch_size, "stream"), counted(train.seq_length, unit)
    return (
        f"{streams}, windows of {length}; {train.optimizer} with a learning rate of "
        f"{train.lr:g}; dropout {train.dropout:g}; seed {train.seed}"
    )


def _used(sample: Mapping[str, Any]) -> str:
    """Return the file, the step and the kind of the weights that `charlstm sample` uses."""
    step = _number(sample["step"])
    at = "" if step is None else f", step {int(step):,}"
    weights = ", averaged weights" * (sample["weights"] == "average")
    return f"{Path(sample['file']).name}{at}{weights}"


def _vocabulary(facts: Mapping[str, Any]) -> str:
    if facts["level"] == "byte":
        return "all 256 bytes"
    count = counted(facts["vocabulary"], UNITS[facts["level"]])
    if facts["level"] == "word":
        return count
    symbols = facts["symbols"]
    more = " ..." if len(symbols) > SHOWN_SYMBOLS else ""
    return f"{count}: {symbols[:SHOWN_SYMBOLS]}{more}"


def _progress(summary: Mapping[str, Any], unit: str) -> Iterator[tuple[str, str]]:
    """Yield the entries on how long the model was trained, and on its loss."""
    numbers = {name: _number(value) for name, value in summary.items()}
    step, total = numbers.get("step"), numbers.get("total_steps")
    if step is not None:
        last = counted(int(step if total is None else total), "step")
        text = last if total is None else f"{int(step):,} of {last}"
        if (epoch := numbers.get("epoch")) is not None:
            text += f", {counted(rounded(epoch), 'pass', 'passes')} over the text"
        if (seconds := numbers.get("seconds")) is not None:
            text += f", {duration(seconds)}"
        yield "trained", text
    if (length := numbers.get("train_characters")) is not None:
        yield "learned from", counted(int(length), unit)
    if (loss := numbers.get("best_val_loss")) is not None:
        yield "best loss", f"{in_nats_and_bits(loss, unit)} of validation text"


def _number(value: object) -> float | None:
    """Return a value if it is a finite number of 0 or more; None for all others."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if math.isfinite(value) and 0 <= value < 1e18 else None
    return None
