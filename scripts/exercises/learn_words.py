"""Exercise 5: words, a line at a time, with plain gradient descent.

One hidden layer of 100 units, the 8,000 most frequent words of a text, rate 0.005, one line a step
with the gradient summed over its words, halved whenever an epoch's loss rises. The loss per word on
the first 200 lines starts near ln 8000 = 8.99, that of a fair guess, and falls at each epoch.

    .venv/bin/python scripts/exercises/learn_words.py [TEXT] [--cell rnn|gru|lstm] [--epochs N]
"""

import argparse
import math
from pathlib import Path

import numpy as np

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer
from charlstm.network.scoring import evaluate
from charlstm.text.corpus import open_corpus

TEXT = Path(__file__).parents[2] / "../shared/data/tinyshakespeare.txt"


def first_lines(ids: np.ndarray, line_end: int, count: int) -> np.ndarray:
    """The ids up to the end of the `count`-th line that is not empty."""
    ends = np.flatnonzero(ids == line_end)
    filled = ends[np.diff(ends, prepend=-1) > 1]
    return ids[: filled[:count][-1] + 1]


def learn(text: Path, cell: str = "lstm", epochs: int = 3, lines: int = 200) -> list[float]:
    """The loss in nats per word, before training and after each epoch."""
    corpus = open_corpus([text], level="word", vocab_size=8000)
    ids = first_lines(corpus.ids, corpus.vocab.symbols.index("\n"), lines)
    config = ModelConfig(cell=cell, hidden=100, layers=1, lines=True)  # type: ignore[arg-type]
    model = CharModel(config, corpus.vocab, seed=10)
    trainer = Trainer(
        model,
        ids,
        TrainConfig(
            batch_size=1,
            seq_length=200,
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", nargs="?", type=Path, default=TEXT)
    parser.add_argument("--cell", choices=["lstm", "gru", "rnn"], default="lstm")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    print(f"ln 8000 = {math.log(8000):.2f} nats a word; {arguments.cell}, 100 units, 200 lines")
    for epoch, loss in enumerate(learn(arguments.text, arguments.cell, arguments.epochs)):
        print(f"after epoch {epoch}: {loss:.2f}" if epoch else f"before:        {loss:.2f}")
