"""TrainConfig: how a model is trained."""

from dataclasses import dataclass
from typing import Literal

from charlstm.config.knobs import AUTO, Record, knob
from charlstm.errors import CharlstmError

Optimizer = Literal["adam", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "step", "plateau", "halve-on-rise"]
Reduction = Literal["mean", "sum"]
Precision = Literal["float32", "bfloat16"]

ENDS = ("epochs", "steps", "minutes")  # the knobs that say when a run ends


@dataclass(frozen=True)
class TrainConfig(Record):
    """How a model is trained. The defaults are plain; `charlstm train` chooses better ones."""

    batch_size: int = knob(
        50,
        "Parallel streams of text, or lines, that a step learns from.",
        within="[1, inf)",
        train=24,
    )
    seq_length: int = knob(
        50,
        "Time steps of truncated back-propagation through time, in characters; with --lines, the "
        "longest line that is learned in one piece.",
        within="[1, inf)",
        rule="64; 256 with --lines",
    )
    recut: bool = knob(
        True, "Cut the text into streams at another place, drawn at random, in each pass over it."
    )
    reduction: Reduction = knob(
        "mean", "Reduction of the losses of a step to one number, before the gradient."
    )
    dropout: float = knob(
        0.0,
        "Part of the outputs that is dropped before the prediction while training, 0 to below 1.",
        within="[0, 1)",
        rule="more with more passes over the text and more weights for each character; at most "
        "0.3, or 0.5 without a table of n-grams",
    )
    dropout_between: float | None = knob(
        None,
        "Part of the outputs of a layer that is dropped before the next layer.",
        within="[0, 1)",
        rule="half of --dropout",
    )
    weight_dropout: float = knob(
        0.0,
        "Part of the recurrent weights that is dropped while training, in 256ths (DropConnect, "
        "Merity et al. 2018).",
        within="[0, 1)",
        rule="as --dropout would be",
    )
    reset: float = knob(
        0.0,
        "Probability that a stream forgets its state before a step, so that the model also learns "
        "to begin a text (Melis et al. 2020).",
        within="[0, 1)",
        train=0.04,  # capped cells fill slowly: at 0.01, beginnings are 0.01 nats worse
    )
    optimizer: Optimizer = knob("adam", "How gradients become changes of the weights.")
    lr: float = knob(
        2e-3,
        "Peak learning rate.",
        within="(0, 1e38]",
        rule="0.02, gru 0.01, rnn 0.002, and less for more than 5,000 steps; sgd and rmsprop 0.002",
    )
    schedule: Schedule = knob(
        "constant",
        "How the learning rate changes. cosine: a warm-up, then down to --final-lr. step: times "
        "--decay every --decay-every epochs. plateau: times --decay after --patience evaluations "
        "without a new best. halve-on-rise: half whenever a pass has a higher loss than the one "
        "before.",
        train="cosine",
    )
    warmup: int = knob(
        0,
        "Steps over which the learning rate rises from 0 (schedule cosine).",
        within="[0, inf)",
        rule="100, or a tenth of the steps if that is less",
    )
    final_lr: float = knob(
        0.02, "Last learning rate as a part of --lr (schedule cosine).", within="[0, 1]"
    )
    decay: float = knob(
        0.5, "Factor of each decay of the rate (schedules step and plateau).", within="[0, 1]"
    )
    decay_every: int = knob(5, "Epochs between decays (schedule step).", within="[1, inf)")
    patience: int = knob(
        3, "Evaluations without a new best before a decay (schedule plateau).", within="[1, inf)"
    )
    beta1: float = knob(
        0.9, "Decay of adam's mean gradient, or the momentum of sgd.", within="[0, 1)"
    )
    beta2: float = knob(
        0.999,
        "Decay of the mean squared gradient (adam, rmsprop).",
        within="[0, 1)",
        rule="adam 0.99, rmsprop 0.999",
    )
    ngram_lr: float = knob(
        0.25,
        "Learning rate of the table of n-grams: the first step of a row, in nats; AdaGrad makes "
        "later ones smaller.",
        within="[0, 1e38]",
        rule="less with more passes over the text, at most 0.25",
    )
    weight_decay: float = knob(
        0.0,
        "Part of each weight that is taken away at each step, times the learning rate.",
        within="[0, inf)",
    )
    average: float = knob(
        0.0,
        "Decay at each step of a moving average of the weights; best.safetensors is then the "
        "average, or the last weights where they are better. 0 keeps no average.",
        within="[0, 1)",
        train=0.998,
    )
    clip: float = knob(
        5.0, "Largest norm of the whole gradient; 0: no limit.", within="[0, inf)", train=1.0
    )
    clip_value: float = knob(
        0.0,
        "Largest absolute value of each element of the gradient; 0: no limit.",
        within="[0, inf)",
    )
    epochs: float | None = knob(
        None, "End after this number of passes over the text.", within="(0, 1000000000]"
    )
    steps: int | None = knob(None, "End after this number of steps.", within="(0, inf)")
    minutes: float | None = knob(
        None,
        "End after this number of minutes, from the command to its exit. Without any end a run "
        "takes about three minutes on two cores, less for a small text, and says how long it will "
        "take.",
        within="(0, 10000000]",
    )
    stop_after: int = knob(
        0,
        "End early, after this number of evaluations in a row without a new best; 0: never. With "
        "schedule cosine the loss falls most towards the end, as the rate comes down: where a "
        "model overfits before that, rather train for fewer steps.",
        within="[0, inf)",
        rule="5; 0 with --steps or --epochs",
    )
    eval_every: int = knob(
        AUTO,
        "Steps between evaluations.",
        within="(0, inf)",
        rule="a tenth of the run, at most 1000",
    )
    keep_every: int | None = knob(
        None, "Steps between checkpoints that are kept beside best and last.", within="(0, inf)"
    )
    precision: Precision = knob(
        AUTO,
        "Precision of the factors of matrix products in training; sums, states and weights keep "
        "the type of --dtype.",
        rule="bfloat16 for an LSTM of float32 where the processor has AMX, else float32",
    )
    seed: int = knob(0, "Seed of everything that is random.", within=f"[0, {2**128 - 1}]")
    workers: int = knob(AUTO, "Threads.", within="[1, 1024]", rule="one for each core")

    def check_together(self) -> None:
        ends = [name for name in ENDS if getattr(self, name) not in (None, AUTO)]
        if len(ends) > 1:
            raise CharlstmError(f"{' and '.join(ends)} contradict each other: give one of them")
        open_end = any(getattr(self, name) == AUTO for name in ENDS)
        if self.schedule == "cosine" and not (ends or open_end):
            raise CharlstmError("schedule cosine needs an end: give steps, epochs or minutes")
