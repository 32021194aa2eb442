"""Checks that the settings of a new run agree with each other and suit the run's text."""

from charlstm.arrays import Ids
from charlstm.config import CorpusConfig, ModelConfig, RunConfig, TrainConfig
from charlstm.config.unused import refuse_unused
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.network.model import CharModel
from charlstm.text.corpus import Corpus
from charlstm.text.vocab import Vocab
from charlstm.training.defaults import choose_settings
from charlstm.training.training_memory import require_memory_to_train


def check_settings(asked: RunConfig, base: CharModel | None) -> None:
    """Raise CharlstmError for settings that contradict each other.

    The settings are checked before the text is read, because reading may take long.
    """
    # choose_settings raises the same errors for any length of text, such as 1,000,000 characters.
    choose_settings(1_000_000, asked.model, asked.train)
    if base is not None:
        refuse_unused(asked.corpus.given, {"level": base.vocab.level})
        for name, value in asked.model.given.items():
            if value != getattr(base.config, name):
                before = getattr(base.config, name)
                raise CharlstmError(f"`{name}` is {before} in the run to start from, not {value}")
    if "mix_share" in asked.train.given and not asked.corpus.given.get("mix"):
        raise ArgumentError("`mix_share` has no effect without `mix`: name a text to mix in")
    if {"val_file", "val_frac"} <= asked.corpus.given.keys():
        raise ArgumentError(
            "give `val_file` or `val_frac`, not both: each sets the validation text"
        )
    if {"val_file", "val_split"} <= asked.corpus.given.keys():
        raise ArgumentError(
            "give `val_file` or `val_split`, not both: each sets the validation text"
        )


def check_split(text: CorpusConfig, lines: bool) -> None:
    """Raise CharlstmError if `val_split` is "random" without `lines`, or "each" with `lines`."""
    if text.val_split == "random" and not lines:
        raise ArgumentError(
            '`val_split="random"` draws lines: add `lines=True`, or give `val_split` each or end'
        )
    if text.val_split == "each" and lines:
        raise ArgumentError(
            '`val_split="each"` may cut a line of each file: with `lines=True`, give '
            '`val_split="random"`, which draws whole lines from all files, or end'
        )


def require_training_text(corpus: Corpus, text: CorpusConfig, length: int) -> None:
    """Raise CharlstmError if the validation text leaves too few symbols to train on."""
    total = corpus.length
    if text.val_file or length >= 2:
        return
    unit = corpus.vocab.unit
    suitable = 0.1 if text.val_frac > 0.1 and int(total * 0.9) >= 2 else 0
    raise CharlstmError(
        f"`val_frac={text.val_frac}` leaves {length} of {total:,} {unit}s to learn from, at "
        f"least 2 are needed: give a smaller `val_frac`, such as {suitable}, or a longer text"
    )


def require_memory(
    train_ids: Ids, mix_ids: Ids | None, vocab: Vocab, model: ModelConfig, train: TrainConfig
) -> None:
    """Raise CharlstmError if the machine has less memory than training on these texts needs."""
    mixed = 0 if mix_ids is None else len(mix_ids)
    require_memory_to_train(len(train_ids), len(vocab), model, train, mixed)
