# This file is made by scripts/api_page.py from the knobs in charlstm/config.
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from charlstm.analysis.evaluation import Evaluation, evaluate
from charlstm.analysis.novelty import Comparison, Novelty, novelty
from charlstm.analysis.stretches import Stretch
from charlstm.config import ModelConfig, TrainConfig
from charlstm.errors import ArgumentError, CharlstmError, UnknownOptionError, UnwritableError
from charlstm.network.model import CharModel
from charlstm.network.scoring import Loss, Score
from charlstm.runs.events import Observer
from charlstm.runs.folder import load, save
from charlstm.runs.result import TrainedRun
from charlstm.text.vocab import Vocab
from charlstm.training.trainer import Trainer

__version__: str

__all__ = [
    "ArgumentError",
    "CharModel",
    "CharlstmError",
    "Comparison",
    "Evaluation",
    "Loss",
    "ModelConfig",
    "Novelty",
    "Score",
    "Stretch",
    "TrainConfig",
    "TrainedRun",
    "Trainer",
    "UnknownOptionError",
    "UnwritableError",
    "Vocab",
    "__version__",
    "evaluate",
    "load",
    "novelty",
    "save",
    "train",
]

def train(
    corpus: str | Path | Sequence[str | Path] = (),
    run: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    init_from: str | Path | None = None,
    textbook: bool = False,
    quiet: bool = True,
    report: bool | None = None,
    engine: Literal["native", "torch"] | None = None,
    device: Literal["auto", "cuda", "mps", "cpu"] | None = None,
    on_interrupt: Literal["raise", "return"] = "raise",
    observer: Observer | None = None,
    started: float | None = None,
    val_file: str | Path | Sequence[str | Path] | None = None,
    mix: str | Path | Sequence[str | Path] | None = None,
    level: Literal["char", "byte", "word", "auto"] = "char",
    vocab_size: int | Literal["auto"] | None = None,
    spell_below: float | Literal["auto"] = "auto",
    encoding: str | Literal["auto"] = "utf-8",
    newlines: Literal["keep", "lf", "auto"] = "auto",
    val_frac: float | Literal["auto"] = 0.1,
    val_split: Literal["end", "each", "random", "auto"] = "auto",
    cell: Literal["lstm", "gru", "rnn", "auto"] = "lstm",
    hidden: int | Literal["auto"] = "auto",
    layers: int | Literal["auto"] = "auto",
    dtype: Literal["float32", "float64", "auto"] = "float32",
    lines: bool | Literal["auto"] = False,
    skip: bool | Literal["auto"] = "auto",
    ngrams: int | Literal["auto"] = "auto",
    ngram_slots: int | Literal["auto"] = "auto",
    capped: bool | Literal["auto"] = "auto",
    batch_size: int | Literal["auto"] = 24,
    seq_length: int | Literal["auto"] = "auto",
    mix_share: float | Literal["auto"] = 0.4,
    recut: bool | Literal["auto"] = True,
    reduction: Literal["mean", "sum", "auto"] = "mean",
    dropout: float | Literal["auto"] = "auto",
    dropout_between: float | Literal["auto"] | None = "auto",
    weight_dropout: float | Literal["auto"] = "auto",
    reset: float | Literal["auto"] = 0.04,
    optimizer: Literal["adam", "rmsprop", "sgd", "auto"] = "adam",
    lr: float | Literal["auto"] = "auto",
    schedule: Literal["constant", "cosine", "step", "plateau", "halve-on-rise", "auto"] = "cosine",
    warmup: int | Literal["auto"] = "auto",
    final_lr: float | Literal["auto"] = 0.02,
    decay: float | Literal["auto"] = 0.5,
    decay_every: int | Literal["auto"] = 5,
    patience: int | Literal["auto"] = 3,
    beta1: float | Literal["auto"] = 0.9,
    beta2: float | Literal["auto"] = "auto",
    ngram_lr: float | Literal["auto"] = "auto",
    weight_decay: float | Literal["auto"] = 0.0,
    average: float | Literal["auto"] = 0.998,
    clip: float | Literal["auto"] = 1.0,
    clip_value: float | Literal["auto"] = 0.0,
    epochs: float | Literal["auto"] | None = None,
    steps: int | Literal["auto"] | None = None,
    minutes: float | Literal["auto"] | None = None,
    stop_after: int | Literal["auto"] = "auto",
    eval_every: int | Literal["auto"] = "auto",
    keep_every: int | Literal["auto"] | None = None,
    precision: Literal["float32", "bfloat16", "auto"] = "auto",
    seed: int | Literal["auto"] = 0,
    workers: int | Literal["auto"] = "auto",
) -> TrainedRun:
    """Train a model on text and save the model in a folder.

    corpus: files and folders, or "-" for standard input. To resume a run, leave the corpus out, or
        name the new path of the run's text, which must not have changed.
    run: the folder; by default a new one under runs/, named after the corpus.
    resume: continue a run, bit for bit as if it had not been interrupted. Only the end of a resumed
        run (steps, epochs or minutes), the paths of texts (corpus, val_file, mix), and the engine
        and the device may change.
    overwrite: begin a new run in a folder that holds a run.
    init_from: a run or a checkpoint file from whose weights to start. Characters of the corpus that
        the other model does not know are added to the vocabulary.
    textbook: train a textbook's network: settings that are not given are those of config.TEXTBOOK.
    quiet: False shows progress on standard error, as the command line does.
    report: write report.html into the folder, a page that shows the run, now and after each
        evaluation; an open page renews itself. None: as before if the run is resumed, else True.
    engine: what computes the steps and the losses: "native", the kernels of charlstm, or "torch",
        PyTorch. None: as before if the run is resumed, else "native".
    device: the device of PyTorch: "cuda", "mps" or "cpu"; "auto" takes a GPU if there is one. None:
        as before if a run of the same engine is resumed, else "auto".
    on_interrupt: what happens after Ctrl-C, SIGTERM or SIGHUP during the training. The step ends
        and the run is saved first. Then "raise" raises KeyboardInterrupt, or SystemExit for a
        signal other than Ctrl-C; "return" returns the run, whose `reason` names the signal.
    observer: called with each event of metrics.jsonl, and with the events step and plan.
    started: the time.monotonic() from which `minutes` counts; by default now.
    val_file: one or more files to validate on, instead of a part of the text.
    mix: one or more files and folders of another text, which is read beside the text.

    Raises CharlstmError for all that is refused: arguments, settings, files, and errors of the
    system such as a full disk.

    The other keywords are the settings of the text, the model and the training, as on the command
    line. The value "auto" means the same as leaving the keyword out.

    level: Kind of symbol: a Unicode code point, a byte, or a word. At level word, punctuation
        marks and line ends are symbols too, but spaces and tabs are not kept.  [default: char]
    vocab_size: Number of distinct symbols at level word, 3 or more: the most frequent words,
        and one symbol for all other words. Without this option, every word has a symbol of its
        own.
    spell_below: Spell characters beyond ASCII that are rarer than this share of the text as the
        bytes of their UTF-8 form, where that makes the vocabulary much smaller. 0: every
        character has a symbol of its own. For level char only.  [default: 5e-05, or as the
        model of `init_from`; range: 0 or more and below 1]
    encoding: Encoding of the files, by its name in Python, such as latin-1.  [default: utf-8]
    newlines: Treatment of line ends. lf: read each \\r\\n and each \\r as \\n, with a note. keep:
        leave them as they are. Level byte reads all bytes as they are.  [default: lf, or keep
        if the model of `init_from` knows \\r]
    val_frac: Fraction of the text that is held out for validation; 0: no validation.
        `val_split` chooses which part of the text is held out.  [default: 0.1; range: 0 or more
        and below 1]
    val_split: Which part of the text is held out for validation. end: the end of the text that
        all files form together, in whole lines for `lines`. each: the end of each file; the
        state is not carried from file to file in validation. random: lines drawn at random from
        all files, as `seed` determines; copies of one line are all held out or all trained on.
        random is for `lines` only, and needs memory for all of the text; each is for texts
        without `lines` only.  [default: random with `lines`, else each for several files, else
        end]
    cell: Kind of recurrent layer.  [default: lstm]
    hidden: Hidden units of each layer.  [default: by the size of the text and the time
        available; range: 1 to 16,384]
    layers: Number of recurrent layers, one on top of the other.  [default: 1, or 2 if there is
        time; range: 1 to 64]
    dtype: Floating-point type of weights and states.  [default: float32]
    lines: Treat each line as a text of its own, which is predicted without the lines before it:
        for lists of names and other records.  [default: no]
    skip: Add skip connections: every layer also reads the character itself, and the prediction
        is made from the outputs of all layers (Graves 2013).  [default: yes if two layers are
        chosen for you, else no]
    ngrams: Longest context, in characters, of a table of n-grams, whose logits are added to
        those of the network (Mikolov et al. 2011). The table learns most of the text's short
        patterns in a few passes. 0: no table, for a plain network and smaller files.  [default:
        6, or 0 for more than 8,192 distinct symbols, such as words; range: 0, or 2 to 16]
    ngram_slots: Number of rows of the table of n-grams. A hash assigns each context to a row.
        [default: by the size of the text; range: 1 to 16,777,216]
    capped: Cap the input gate i of an LSTM at 1 - f, with f the forget gate (Melis et al.
        2020), so that memories last longer.  [default: yes for lstm]
    batch_size: Number of streams of text (with `lines`: of lines) that each step reads in
        parallel.  [default: 24; range: 1 or more]
    seq_length: Time steps of truncated back-propagation through time, in characters; with
        `lines`, the length above which a line is cut.  [default: 64, or 256 with `lines`;
        range: 1 or more]
    mix_share: Fraction of the streams of each step that read the text of `mix`; at least one
        stream does, and at least one reads the other text.  [default: 0.4; range: above 0 and
        below 1]
    recut: Cut the text into streams at a new random place in each pass over it.  [default: yes]
    reduction: Whether a step takes the gradient of the mean or of the sum of its characters'
        losses.  [default: mean]
    dropout: Fraction of the outputs of the layers that is dropped before the prediction, in
        training.  [default: grows with the passes over the text and with the weights per
        character, to at most 0.3, or 0.5 without a table of n-grams; range: 0 or more and below
        1]
    dropout_between: Fraction of a layer's outputs that is dropped before the next layer, in
        training.  [default: half of `dropout`; range: 0 or more and below 1]
    weight_dropout: Fraction of the recurrent weights that is dropped in training, rounded to a
        multiple of 1/256 (DropConnect, Merity et al. 2018).  [default: as chosen for `dropout`;
        a `dropout` that you give does not change it; range: 0 or more and below 1]
    reset: Probability that a stream forgets its state before a step, so that the model also
        learns to begin a text (Melis et al. 2020).  [default: 0.04; range: 0 or more and below
        1]
    optimizer: Rule by which gradients change the weights.  [default: adam]
    lr: Peak learning rate.  [default: 0.02 for lstm, 0.01 for gru, 0.002 for rnn, and less for
        more than 5,000 steps; up to 1.5 times as much with `init_from` and `mix`; 0.002 with
        sgd and rmsprop; range: above 0 and at most 1e+38]
    schedule: How the learning rate changes. constant: not at all. cosine: it rises for `warmup`
        steps, then falls along a cosine to `final_lr`. step: it is multiplied by `decay` every
        `decay_every` epochs. plateau: it is multiplied by `decay` after `patience` evaluations
        without a new best. halve-on-rise: it is halved after each pass over the text in which
        the loss was higher than in the pass before.  [default: cosine]
    warmup: Steps over which the learning rate rises from 0 (schedule cosine).  [default: 100,
        or a tenth of all steps if that is less; range: 0 or more]
    final_lr: Last learning rate, as a fraction of `lr` (schedule cosine).  [default: 0.02;
        range: 0 to 1]
    decay: Factor of each decay of the learning rate (schedules step and plateau).  [default:
        0.5; range: 0 to 1]
    decay_every: Epochs between decays of the learning rate (schedule step).  [default: 5;
        range: 1 or more]
    patience: Evaluations without a new best before the learning rate decays (schedule plateau).
        [default: 3; range: 1 or more]
    beta1: Decay per step of adam's moving average of gradients, or the momentum of sgd.
        [default: 0.9; range: 0 or more and below 1]
    beta2: Decay per step of the moving average of squared gradients (adam and rmsprop).
        [default: 0.99 for adam, 0.999 for rmsprop; range: 0 or more and below 1]
    ngram_lr: Learning rate of the table of n-grams: the size of a row's first step, in nats.
        AdaGrad makes later steps smaller.  [default: at most 0.25, or 0.4 with `init_from` and
        `mix`, and falls with the number of passes over the text; range: 0 to 100]
    weight_decay: Weight decay (Loshchilov and Hutter 2019): each step multiplies each weight by
        1 - r x d, where r is the learning rate and d this number. The peak learning rate times
        d must be at most 1.  [default: 0; range: 0 or more]
    average: Decay per step of a moving average of the weights. best.safetensors then holds the
        average, or the latest weights if these are better. 0: no average.  [default: 0.998;
        range: 0 or more and below 1]
    clip: Maximum norm of the gradient of all weights: a gradient with a larger norm is scaled
        down to this norm. 0: no limit.  [default: 1; range: 0 or more]
    clip_value: Absolute value to which each element of the gradient is clipped; 0: no limit.
        [default: 0; range: 0 or more]
    epochs: End after this number of passes over the text.  [range: above 0 and at most
        1,000,000,000]
    steps: End after this number of steps.  [range: above 0]
    minutes: End after this number of minutes, from the start of the command to its exit.
        Without `epochs`, `steps` and `minutes` a run takes about three minutes on two cores,
        less for a small text, and prints its expected time.  [range: above 0 and at most
        10,000,000]
    stop_after: End early, after this number of evaluations in a row without a new best; 0:
        never. With schedule cosine, a run that ends early misses its last steps, in which the
        small learning rate lowers the loss most.  [default: 5, or 0 with `steps` and `epochs`;
        range: 0 or more]
    eval_every: Steps between evaluations.  [default: a tenth of all steps, at least 10 (with
        `minutes`: 1) and at most 1,000; range: above 0]
    keep_every: Steps between checkpoints that are kept in addition to best and last. Without
        this option, only best and last are kept.  [range: above 0]
    precision: Precision of the factors of matrix products in training; sums, states and weights
        keep the type of `dtype`.  [default: bfloat16 for an LSTM of float32 where the processor
        has AMX, else float32]
    seed: Seed of all random numbers.  [default: 0; range: 0 to 3.40282e+38]
    workers: Number of threads.  [default: one per core; range: 1 to 1,024]
    """
