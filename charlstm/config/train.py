"""TrainConfig: the settings of training."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from charlstm.config.knobs import AUTO, Group, Record, knob
from charlstm.errors import ArgumentError

Optimizer = Literal["adam", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "step", "plateau", "halve-on-rise"]
Reduction = Literal["mean", "sum"]
Precision = Literal["float32", "bfloat16"]

MAX_WORKERS = 1024
ENDS = ("epochs", "steps", "minutes")  # the knobs that say when a run ends


@dataclass(frozen=True)
class TrainConfig(Record):
    """The settings of training.

    The defaults leave out dropout, averaging, warm-up and decay of the rate; `charlstm train`
    chooses values that suit the text and the time.
    """

    group: ClassVar[Group | None] = "Training"

    batch_size: int = knob(
        50,
        "Number of streams of text (with `lines`: of lines) that each step reads in parallel.",
        within="[1, inf)",
        train=24,
    )
    seq_length: int = knob(
        50,
        "Time steps of truncated back-propagation through time, in characters; with `lines`, the "
        "length above which a line is cut.",
        within="[1, inf)",
        rule="64, or 256 with `lines`",
    )
    mix_share: float = knob(
        0.4,
        "Fraction of the streams of each step that read the text of `mix`; at least one stream "
        "does, and at least one reads the other text.",
        within="(0, 1)",
    )
    recut: bool = knob(
        True, "Cut the text into streams at a new random place in each pass over it."
    )
    reduction: Reduction = knob(
        "mean",
        "Whether a step takes the gradient of the mean or of the sum of its characters' losses.",
    )
    dropout: float = knob(
        0.0,
        "Fraction of the outputs of the layers that is dropped before the prediction, in training.",
        within="[0, 1)",
        rule="grows with the passes over the text and with the weights per character, to at most "
        "0.3, or 0.5 without a table of n-grams",
        group="Regularisation",
    )
    dropout_between: float | None = knob(
        None,
        "Fraction of a layer's outputs that is dropped before the next layer, in training.",
        within="[0, 1)",
        rule="half of `dropout`",
        group="Regularisation",
    )
    weight_dropout: float = knob(
        0.0,
        "Fraction of the recurrent weights that is dropped in training, rounded to a multiple of "
        "1/256 (DropConnect, Merity et al. 2018).",
        within="[0, 1)",
        rule="as chosen for `dropout`; a `dropout` that you give does not change it",
        group="Regularisation",
    )
    reset: float = knob(
        0.0,
        "Probability that a stream forgets its state before a step, so that the model also learns "
        "to begin a text (Melis et al. 2020).",
        within="[0, 1)",
        # With a reset probability of 0.01 instead of 0.04, the loss at the beginning of a text is
        # 0.01 nats higher, because the states of capped cells grow slowly from zero.
        train=0.04,
        group="Regularisation",
    )
    optimizer: Optimizer = knob("adam", "Rule by which gradients change the weights.")
    lr: float = knob(
        2e-3,
        "Peak learning rate.",
        within="(0, 1e38]",
        rule="0.02 for lstm, 0.01 for gru, 0.002 for rnn, and less for more than 5,000 steps; up "
        "to 1.5 times as much with `init_from` and `mix`; 0.002 with sgd and rmsprop",
    )
    schedule: Schedule = knob(
        "constant",
        "How the learning rate changes. constant: not at all. cosine: it rises for `warmup` steps, "
        "then falls along a cosine to `final_lr`. step: it is multiplied by `decay` every "
        "`decay_every` epochs. plateau: it is multiplied by `decay` after `patience` evaluations "
        "without a new best. halve-on-rise: it is halved after each pass over the text in which "
        "the loss was higher than in the pass before.",
        train="cosine",
    )
    warmup: int = knob(
        0,
        "Steps over which the learning rate rises from 0 (schedule cosine).",
        within="[0, inf)",
        rule="100, or a tenth of all steps if that is less",
    )
    final_lr: float = knob(
        0.02, "Last learning rate, as a fraction of `lr` (schedule cosine).", within="[0, 1]"
    )
    decay: float = knob(
        0.5,
        "Factor of each decay of the learning rate (schedules step and plateau).",
        within="[0, 1]",
    )
    decay_every: int = knob(
        5, "Epochs between decays of the learning rate (schedule step).", within="[1, inf)"
    )
    patience: int = knob(
        3,
        "Evaluations without a new best before the learning rate decays (schedule plateau).",
        within="[1, inf)",
    )
    beta1: float = knob(
        0.9,
        "Decay per step of adam's moving average of gradients, or the momentum of sgd.",
        within="[0, 1)",
    )
    beta2: float = knob(
        0.999,
        "Decay per step of the moving average of squared gradients (adam and rmsprop).",
        within="[0, 1)",
        rule="0.99 for adam, 0.999 for rmsprop",
    )
    ngram_lr: float = knob(
        0.25,
        "Learning rate of the table of n-grams: the size of a row's first step, in nats. AdaGrad "
        "makes later steps smaller.",
        within="[0, 100]",
        rule="at most 0.25, or 0.4 with `init_from` and `mix`, and falls with the number of passes "
        "over the text",
    )
    weight_decay: float = knob(
        0.0,
        "Weight decay (Loshchilov and Hutter 2019): each step multiplies each weight by 1 - r x d, "
        "where r is the learning rate and d this number. The peak learning rate times d must be "
        "at most 1.",
        within="[0, inf)",
        group="Regularisation",
    )
    average: float = knob(
        0.0,
        "Decay per step of a moving average of the weights. best.safetensors then holds the "
        "average, or the latest weights if these are better. 0: no average.",
        within="[0, 1)",
        train=0.998,
        group="Regularisation",
    )
    clip: float = knob(
        5.0,
        "Maximum norm of the gradient of all weights: a gradient with a larger norm is scaled down "
        "to this norm. 0: no limit.",
        within="[0, inf)",
        train=1.0,
    )
    clip_value: float = knob(
        0.0,
        "Absolute value to which each element of the gradient is clipped; 0: no limit.",
        within="[0, inf)",
    )
    epochs: float | None = knob(
        None,
        "End after this number of passes over the text.",
        within="(0, 1000000000]",
        group="Run",
    )
    steps: int | None = knob(
        None, "End after this number of steps.", within="(0, inf)", group="Run"
    )
    minutes: float | None = knob(
        None,
        "End after this number of minutes, from the start of the command to its exit. Without "
        "`epochs`, `steps` and `minutes` a run takes about three minutes on two cores, less for a "
        "small text, and prints its expected time.",
        within="(0, 10000000]",
        group="Common options",
    )
    stop_after: int = knob(
        0,
        "End early, after this number of evaluations in a row without a new best; 0: never. With "
        "schedule cosine, a run that ends early misses its last steps, in which the small learning "
        "rate lowers the loss most.",
        within="[0, inf)",
        rule="5, or 0 with `steps` and `epochs`",
        group="Run",
    )
    eval_every: int = knob(
        AUTO,
        "Steps between evaluations.",
        within="(0, inf)",
        rule="a tenth of all steps, at least 10 (with `minutes`: 1) and at most 1,000",
        group="Run",
    )
    keep_every: int | None = knob(
        None,
        "Steps between checkpoints that are kept in addition to best and last. Without this "
        "option, only best and last are kept.",
        within="(0, inf)",
        group="Run",
    )
    precision: Precision = knob(
        AUTO,
        "Precision of the factors of matrix products in training; sums, states and weights keep "
        "the type of `dtype`.",
        rule="bfloat16 for an LSTM of float32 where the processor has AMX, else float32",
        group="Run",
    )
    seed: int = knob(0, "Seed of all random numbers.", within=f"[0, {2**128 - 1}]", group="Run")
    workers: int = knob(
        AUTO, "Number of threads.", within=f"[1, {MAX_WORKERS}]", rule="one per core", group="Run"
    )

    def check_together(self) -> None:
        ends = [name for name in ENDS if getattr(self, name) not in (None, AUTO)]
        if len(ends) > 1:
            names = " and ".join(f"`{name}`" for name in ends)
            raise ArgumentError(f"{names} contradict each other: give one of them")
        open_end = any(getattr(self, name) == AUTO for name in ENDS)
        if self.schedule == "cosine" and not (ends or open_end):
            raise ArgumentError(
                '`schedule="cosine"` needs an end: give `steps`, `epochs` or `minutes`'
            )
        if AUTO not in (self.lr, self.weight_decay) and self.lr * self.weight_decay > 1:
            raise ArgumentError(
                f"`weight_decay` must be {1 / self.lr:.3g} at most for `lr={self.lr:g}`, not "
                f"{self.weight_decay:g}: each step multiplies each weight by 1 - lr x weight_decay"
            )
