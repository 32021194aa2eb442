"""Learns words, a line at a time, with plain gradient descent.

    .venv/bin/python scripts/exercises/learn_words.py [TEXT] [--cell rnn|gru|lstm] [--epochs N]

One hidden layer of 100 units learns the first 200 lines of a text. The vocabulary is the 8,000 most
frequent words of the text. Each step reads one line and sums the gradients of its words. The
learning rate is 0.005; it is halved whenever the loss of an epoch is higher than that of the epoch
before. The loss per word starts near ln 8000 = 8.99, the loss of a uniform distribution.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer
from charlstm.network.scoring import evaluate
from charlstm.text.corpus import open_corpus

ROOT = Path(__file__).resolve().parents[2]
# The text is looked for where download.py puts it, and in a folder beside the checkout.
PLACES = (ROOT / "data/tinyshakespeare.txt", ROOT / "../shared/data/tinyshakespeare.txt")
VOCABULARY, HIDDEN, LINES, EPOCHS = 8_000, 100, 200, 3
LONGEST_LINE = 200  # words


def find_text() -> Path | None:
    """Return the path of tiny Shakespeare; None if the file does not exist."""
    return next((path.resolve() for path in PLACES if path.exists()), None)


def first_lines(ids: np.ndarray, line_end: int, count: int) -> np.ndarray:
    """Return the ids up to the end of the `count`-th line that is not empty."""
    ends = np.flatnonzero(ids == line_end)
    filled = ends[np.diff(ends, prepend=-1) > 1]
    return ids[: filled[:count][-1] + 1]


def learn(text: Path, cell: str = "lstm", epochs: int = EPOCHS, lines: int = LINES) -> list[float]:
    """Train on the first lines of a text; return the losses in nats per word.

    The first loss is measured before the training, the others after each epoch.
    """
    corpus = open_corpus([text], level="word", vocab_size=VOCABULARY)
    ids = first_lines(corpus.ids, corpus.vocab.symbols.index("\n"), lines)
    config = ModelConfig(cell=cell, hidden=HIDDEN, layers=1, lines=True)  # type: ignore[arg-type]
    model = CharModel(config, corpus.vocab, seed=10)
    trainer = Trainer(
        model,
        ids,
        TrainConfig(
            batch_size=1,
            seq_length=LONGEST_LINE,
            reduction="sum",
            optimizer="sgd",
            beta1=0.0,
            lr=0.005,
            schedule="halve-on-rise",
            clip=0.0,
        ),
    )
    losses = [evaluate(model, ids).nats_per_character]
    for _ in range(epochs):
        for _ in range(trainer.batches.windows_per_pass):
            trainer.step()
        losses.append(evaluate(model, ids).nats_per_character)
    trainer.close()
    return losses


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "text", nargs="?", type=Path, help="text to learn  [default: tiny Shakespeare]"
    )
    parser.add_argument("--cell", choices=["lstm", "gru", "rnn"], default="lstm")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"[default: {EPOCHS}]")
    arguments = parser.parse_args()
    text = arguments.text or find_text()
    if text is None:
        sys.exit(
            "tiny Shakespeare was not found: name another text, or download it with "
            ".venv/bin/python scripts/corpora/download.py tinyshakespeare"
        )
    print(
        f"ln {VOCABULARY} = {math.log(VOCABULARY):.2f} nats per word; "
        f"{arguments.cell}, {HIDDEN} units, {LINES} lines"
    )
    for epoch, loss in enumerate(learn(text, arguments.cell, arguments.epochs)):
        print(f"after epoch {epoch}: {loss:.2f}" if epoch else f"before:        {loss:.2f}")


if __name__ == "__main__":
    main()
