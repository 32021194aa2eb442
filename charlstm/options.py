"""The options of the command line: those that commands share, and those of the largest two."""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, get_args

import click

from . import config
from .vocab import LEVELS

Command = Callable[..., Any]

run_option = click.option(
    "-r", "--run", type=click.Path(path_type=Path), help="Folder of the run.  [default: newest]"
)
unknown_option = click.option(
    "--unknown",
    type=click.Choice(["error", "skip", "replace"]),
    default="error",
    show_default=True,
    help="What to do with characters that the model does not know: refuse the text, leave them "
    "out, or take the nearest known character, else a space.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
encoding_option = click.option(
    "--encoding", default="utf-8", show_default=True, help="Encoding of the files."
)
novelty_option = click.option(
    "--novelty",
    is_flag=True,
    help="Then tell what the text (not a prime) shares with the training text, beside what "
    "held-out text does: the longest stretches, and how much of it is in long ones.",
)

LINES_AT_ONCE = 20  # that `sample` writes from a model of lines

_DYNAMIC = config.DynamicConfig()


def _unescaped(text: str) -> str:
    """Text as it was typed, where shells have no easy way to a line end or a tab."""
    return re.sub(r"\\([nt\\])", lambda found: {"n": "\n", "t": "\t"}.get(found[1], "\\"), text)


# Each is named after a field of ModelConfig, TrainConfig or CorpusOptions; those given go there.
_TRAIN_OPTIONS = (
    click.option(
        "--cell",
        type=click.Choice(get_args(config.Cell)),
        help="Kind of the recurrent layers.  [default: lstm]",
    ),
    click.option(
        "--hidden",
        type=int,
        help="Units of each layer.  [default: by the size of the corpus and the time there is]",
    ),
    click.option(
        "--layers", type=int, help="Layers of the stack.  [default: 1; 2 where there is time]"
    ),
    click.option(
        "--capped/--no-capped",
        default=None,
        help="Cap the input gates of an LSTM at what the forget gates let go, min(i, 1 - f) in the "
        "place of i (Melis et al. 2020): memories last longer.  [default: yes]",
    ),
    click.option(
        "--skip/--no-skip",
        default=None,
        help="Skip connections: every layer also sees the character itself, and all layers are "
        "seen where the next character is predicted (Graves 2013).  [default: no; yes where two "
        "layers are chosen]",
    ),
    click.option(
        "--ngrams",
        type=int,
        help="The last 2 to so many symbols also predict the next one from a table (Mikolov et al. "
        "2011): most of what a small text can teach is learned in a few passes; 0: no table, a "
        "plain network and small files.  [default: 6; 0 for more than 8,192 symbols, as of words]",
    ),
    click.option(
        "--ngram-slots",
        type=int,
        help="Rows of that table, to which they are hashed.  [default: by the size of the corpus]",
    ),
    click.option(
        "--ngram-lr",
        type=float,
        help="Rate of that table: the first step of a row, in nats; AdaGrad makes later ones "
        "smaller.  [default: less the more passes over the corpus, 0.25 at most]",
    ),
    click.option(
        "--dtype",
        type=click.Choice(get_args(config.Dtype)),
        help="Type of all numbers.  [default: float32]",
    ),
    click.option(
        "--level",
        type=click.Choice(LEVELS),
        help="What a symbol is: a Unicode code point, a byte, or a word (or punctuation "
        "mark, or line end; other spacing is not kept).  [default: char]",
    ),
    click.option(
        "--vocab-size",
        type=int,
        help="Symbols at level word: the most frequent words; one stands for all others.  "
        "[default: all words]",
    ),
    click.option(
        "--lines",
        is_flag=True,
        default=None,
        help="Each line is a text of its own: none learns from the one before it. For names and "
        "other records.",
    ),
    click.option("--encoding", help="Encoding of the files.  [default: utf-8]"),
    click.option(
        "--newlines",
        type=click.Choice(["keep", "lf"]),
        help="Line ends as they are, or all as \\n.  [default: keep]",
    ),
    click.option(
        "--val-frac",
        type=float,
        help="The part of the text, from the end of all files joined, for validation; 0: none.  "
        "[default: 0.1]",
    ),
    click.option(
        "--val-file",
        multiple=True,
        type=click.Path(),
        help="Validation text of its own, instead; may be given several times.",
    ),
    click.option(
        "--lanes", type=int, help="Parallel streams of text, or lines (batch size).  [default: 24]"
    ),
    click.option(
        "--window",
        type=int,
        help="Steps of back-propagation in time; with --lines, the longest line that is learned "
        "in one piece.  [default: 64; 256 with --lines]",
    ),
    click.option(
        "--recut/--no-recut",
        default=None,
        help="Whether each pass cuts the text into lanes at another place, drawn at random.  "
        "[default: recut]",
    ),
    click.option(
        "--reduction",
        type=click.Choice(get_args(config.Reduction)),
        help="Of a step's losses, before the gradient.  [default: mean]",
    ),
    click.option(
        "--dropout",
        type=float,
        help="Part of each layer's outputs that is dropped while training.  [default: more with "
        "more passes over the text and weights for each character; at most 0.3, without a table of "
        "n-grams 0.5]",
    ),
    click.option(
        "--dropout-between",
        type=float,
        help="The same for what a layer gives to the next one, if that is to differ.  "
        "[default: half of --dropout]",
    ),
    click.option(
        "--weight-dropout",
        type=float,
        help="Part of the recurrent weights that is dropped while training (DropConnect, Merity et "
        "al. 2018).  [default: as much as --dropout would be]",
    ),
    click.option(
        "--reset",
        type=float,
        help="Probability that a lane forgets its state before a window, so that the model also "
        "learns to begin a text (Melis et al. 2020).  [default: 0.04]",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(get_args(config.Optimizer)),
        help="How gradients become steps.  [default: adam]",
    ),
    click.option(
        "--lr",
        type=float,
        help="Peak learning rate.  [default: 0.02, gru 0.01, rnn 0.002, and less for more than "
        "5,000 steps; sgd and rmsprop 0.002]",
    ),
    click.option(
        "--schedule",
        type=click.Choice(get_args(config.Schedule)),
        help="constant; cosine: warm-up, then down to --final-lr; step: times --decay every "
        "--decay-every epochs; plateau: times --decay after --patience evaluations without "
        "a new best; halve-on-rise: half whenever a pass has a higher loss than the one before.  "
        "[default: cosine]",
    ),
    click.option("--warmup", type=int, help="Steps of rising rate (cosine).  [default: up to 100]"),
    click.option("--final-lr", type=float, help="Last rate as a part of --lr.  [default: 0.02]"),
    click.option("--decay", type=float, help="Factor of a decay.  [default: 0.5]"),
    click.option("--decay-every", type=int, help="Epochs between decays (step).  [default: 5]"),
    click.option("--patience", type=int, help="Evaluations to wait (plateau).  [default: 3]"),
    click.option(
        "--beta1", type=float, help="Decay of adam's mean; sgd's momentum.  [default: 0.9]"
    ),
    click.option(
        "--beta2", type=float, help="Decay of the mean square.  [default: adam 0.99, rmsprop 0.999]"
    ),
    click.option(
        "--weight-decay",
        type=float,
        help="Taken off each weight at each step, times the rate.  [default: 0]",
    ),
    click.option(
        "--average",
        type=float,
        help="Decay, at each step, of a moving average of the weights, such as 0.998; best is then "
        "the average, or the last weights where they are better; 0: none.  [default: 0.998]",
    ),
    click.option("--clip", type=float, help="Largest norm of the gradient; 0: any.  [default: 1]"),
    click.option(
        "--clip-value", type=float, help="Largest value in the gradient; 0: any.  [default: 0]"
    ),
    click.option("--epochs", type=float, help="End after so many passes over the text."),
    click.option("--steps", type=int, help="End after so many steps."),
    click.option(
        "--minutes",
        type=float,
        help="End after so many minutes, all included.  [default without any end: some three "
        "minutes on two cores, fewer for a small corpus; it says how long it will take]",
    ),
    click.option(
        "--stop-after",
        type=int,
        help="End early, after so many evaluations in a row without a new best; 0: never. With "
        "schedule cosine the loss falls most towards the end, as the rate comes down: where the "
        "model overfits before that, rather train for fewer steps.  [default: 5; 0 with --steps or "
        "--epochs]",
    ),
    click.option(
        "--eval-every",
        type=int,
        help="Steps between evaluations.  [default: ten in a run, at least every 1000]",
    ),
    click.option("--keep-every", type=int, help="Keep a checkpoint every so many steps."),
    click.option(
        "--precision",
        type=click.Choice(get_args(config.Precision)),
        help="Of the factors of matrix products in training; sums, states and weights stay float32."
        "  [default: auto: bfloat16 for an LSTM of float32 where the processor has AMX, else as "
        "--dtype]",
    ),
    click.option("--seed", type=int, help="Seed of all that is random.  [default: 0]"),
    click.option("--workers", type=int, help="Threads.  [default: one for each core]"),
)

_SAMPLE_OPTIONS = (
    click.option("--prime", default="", help="Text to go on from."),
    click.option("--prime-file", type=click.Path(path_type=Path), help="File of such text."),
    click.option("--hide-prime", is_flag=True, help="Print only what is new."),
    click.option(
        "--length",
        type=int,
        default=2000,
        show_default=True,
        help="Characters to write at most (bytes or words where the model is one of these); "
        "0: until interrupted.",
    ),
    click.option(
        "--temperature",
        type=float,
        default=1.0,
        show_default=True,
        help="Below 1 safer, above 1 wilder; 0: always the likeliest character.",
    ),
    click.option(
        "--top-k", type=int, default=0, help="Only the k likeliest; 0: all.  [default: 0]"
    ),
    click.option(
        "--top-p",
        type=float,
        default=1.0,
        show_default=True,
        help="Only the fewest likeliest that together have this probability.",
    ),
    click.option(
        "--min-p",
        type=float,
        default=0.0,
        show_default=True,
        help="Only those at least so many times as likely as the likeliest.",
    ),
    click.option(
        "--count",
        type=int,
        help="Samples, made in one batch and printed one after another, with an empty line between "
        f"them, or lines of a model of lines.  [default: 1; {LINES_AT_ONCE} lines]",
    ),
    click.option(
        "--stop",
        multiple=True,
        callback=lambda *given: tuple(map(_unescaped, given[-1])),
        help="End a sample before this text; several times. In it, \\n is a line end, \\t a tab, "
        "\\\\ a backslash.",
    ),
    click.option(
        "--seed",
        type=int,
        help="The same seed gives the same text.  [default: a new one, printed on standard error]",
    ),
)


_DYNAMIC_OPTIONS = (
    click.option(
        "--dynamic",
        is_flag=True,
        help="Dynamic evaluation (Krause et al. 2018): the weights follow each text as it is "
        "read, every loss counted before they learn from it.",
    ),
    click.option(
        "--dynamic-rate", type=float, help=f"How fast they follow.  [default: {_DYNAMIC.rate:g}]"
    ),
    click.option(
        "--dynamic-decay",
        type=float,
        help=f"How strongly the trained weights draw them back.  [default: {_DYNAMIC.decay:g}]",
    ),
    click.option(
        "--dynamic-ngram-lr",
        type=float,
        help="How fast the table of n-grams follows, in nats; 0: not at all.  "
        f"[default: {_DYNAMIC.ngram_lr:g}]",
    ),
)


def train_options(command: Command) -> Command:
    """Add to `train` what makes a run: its text, its model and how that is trained."""
    return _with(_TRAIN_OPTIONS, command)


def sample_options(command: Command) -> Command:
    """Add to `sample` what makes a text."""
    return _with(_SAMPLE_OPTIONS, command)


def dynamic_options(command: Command) -> Command:
    """Add to a command what it takes as `dynamic`: a DynamicConfig, or None if not asked for."""

    @wraps(command)
    def with_dynamic(*, dynamic: bool, **options: Any) -> Any:
        names = ("rate", "decay", "ngram_lr")
        given = {name: options.pop(f"dynamic_{name}") for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        if given and not dynamic:
            name = next(iter(given)).replace("_", "-")
            raise click.UsageError(f"--dynamic-{name} goes with --dynamic")
        settings = config.DynamicConfig(**given) if dynamic else None
        return command(dynamic=settings, **options)

    return _with(_DYNAMIC_OPTIONS, with_dynamic)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):  # decorators show in the help in the order of the text
        command = option(command)
    return command
