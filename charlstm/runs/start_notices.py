"""Notices at the start of a run, about unsuitable settings and about the validation text."""

import numpy as np

from charlstm import kernels
from charlstm.config import AUTO, TrainConfig
from charlstm.runs.run import Run
from charlstm.system.wording import counted

LARGE_VOCABULARY = 5_000  # A notice advises level byte above this number of characters.

SUGGESTION_OF_LINES = (
    "the text looks like a list: with `lines=True` each line is a text of its own, and sample "
    "writes new lines (`lines=False` hides this note)"
)


def start_notices(asked: TrainConfig, run: Run) -> list[str]:
    """Return sentences for the user on settings that are impossible or unwise for the text.

    asked: the settings of the training before the run adapted them to the length of the text.
    """
    notices = []
    config, vocab = run.trainer.config, run.corpus.vocab
    if (config.batch_size, config.seq_length) != (asked.batch_size, asked.seq_length):
        notices.append(
            f"the text has room for only {counted(config.batch_size, 'stream')} of windows of "
            f"{config.seq_length} (asked for: {asked.batch_size} of {asked.seq_length})"
        )
    total, every = run.trainer.total_steps, config.eval_every
    if total is not None and every != AUTO and every > total:
        notices.append(
            f"`eval_every={every}` is more than the {total:,} steps of the run: it is evaluated "
            "only once, at its end"
        )
    model = run.trainer.model.config
    contexts = run.train_length * (model.ngrams - 1)
    is_own = not run.extended  # With --init-from, the size of the table cannot be chosen.
    if is_own and model.ngrams and model.ngram_slots > contexts:
        notices.append(
            f"`ngram_slots={model.ngram_slots}` is more than the text can use, at most "
            f"{contexts:,}: a smaller table trains as well, and is saved faster"
        )
    if changed := run.corpus.changed_line_ends:
        notices.append(
            f"{changed:,} line end{'s' * (changed > 1)} (\\r\\n or \\r) read as \\n: "
            '`newlines="keep"` leaves them as they are'
        )
    if pages := run.corpus.html_files:
        others = f" (and {len(pages) - 1:,} others)" if len(pages) > 1 else ""
        notices.append(
            f"{pages[0]}{others} is HTML: the model learns its tags like its words. To learn only "
            "the words, save HTML as plain text, for example with: pandoc -t plain FILE -o FILE.txt"
        )
    if kernels.ADVICE:
        notices.append(f"{kernels.DESCRIPTION}: {kernels.ADVICE}")
    if sentence := _validation_notice(run):
        notices.append(sentence)
    if spelled := len(vocab) - len(vocab.characters) if vocab.level == "char" else 0:
        notices.append(
            f"rare characters are spelled as bytes, which are {spelled} of the {len(vocab)} "
            "symbols: `spell_below=0` gives each character a symbol of its own"
        )
    if vocab.level == "char" and len(vocab) > LARGE_VOCABULARY:
        notices.append(
            f"the text has {len(vocab):,} distinct characters, which makes the model large and "
            'slow: `level="byte"` needs only 256'
        )
    return notices


def _validation_notice(run: Run) -> str:
    """Return a sentence that says which part of the text is the validation text.

    Returns "" for a validation file, and for the end of a text of one file.
    """
    text, files = run.corpus_config, len(run.corpus.paths)
    percentage = f"{100 * text.val_frac:.3g}%"
    if not run.validation.can_evaluate:
        reason = ""
        if text.val_frac and not text.val_file:
            of_each, joined = text.val_split == "each" and files > 1, '`val_split="end"` '
            reason = (
                f"`val_frac={text.val_frac}` holds out too little of "
                f"{f'each of the {files:,} files' if of_each else 'the text'}, give a larger "
                f"`val_frac`, {joined * of_each}or `val_file`; "
            )
        return f"no validation text: {reason}best.safetensors holds the latest weights"
    if text.val_file:
        return ""
    if text.val_split == "random":
        return (
            f"the validation text is {percentage} of the text, in lines drawn at random: "
            '`val_split="end"` takes the last lines'
        )
    if files == 1:
        return ""
    if text.val_split == "end":
        return (
            f"the validation text is the last {percentage} of all {files:,} files joined: "
            '`val_split="each"` takes the end of each file, `val_file` another text'
        )
    used = int(np.count_nonzero(run.corpus.validation_sizes))
    small = f"{used:,} of the {files:,} files (the others are too small)"
    return (
        f"the validation text is the last {percentage} of each of "
        f"{small if used < files else f'the {files:,} files'}: "
        '`val_split="end"` takes the end of all files joined, `val_file` another text'
    )
