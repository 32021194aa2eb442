"""ModelConfig: the shape of a model."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from charlstm.config.knobs import AUTO, Group, Record, knob
from charlstm.errors import ArgumentError

Cell = Literal["lstm", "gru", "rnn"]
Dtype = Literal["float32", "float64"]

# Upper bounds, far above all sizes that can be trained on a CPU. Without these bounds, a malicious
# file could make charlstm allocate all memory of the machine.
MAX_HIDDEN = 16_384
MAX_LAYERS = 64
MAX_NGRAMS = 16
MAX_NGRAM_SLOTS = 2**24


@dataclass(frozen=True)
class ModelConfig(Record):
    """The shape of a model, without its vocabulary.

    The defaults give a plain model; `charlstm train` chooses better values.
    """

    group: ClassVar[Group | None] = "Model"

    cell: Cell = knob("lstm", "Kind of recurrent layer.")
    hidden: int = knob(
        128,
        "Hidden units of each layer.",
        within=f"[1, {MAX_HIDDEN}]",
        rule="by the size of the text and the time available",
        group="Common options",
    )
    layers: int = knob(
        2,
        "Number of recurrent layers, one on top of the other.",
        within=f"[1, {MAX_LAYERS}]",
        rule="1, or 2 if there is time",
    )
    dtype: Dtype = knob("float32", "Floating-point type of weights and states.")
    lines: bool = knob(
        False,
        "Treat each line as a text of its own, which is predicted without the lines before it: for "
        "lists of names and other records.",
        group="Common options",
    )
    skip: bool = knob(
        False,
        "Add skip connections: every layer also reads the character itself, and the prediction is "
        "made from the outputs of all layers (Graves 2013).",
        rule="yes if two layers are chosen for you, else no",
    )
    ngrams: int = knob(
        0,
        "Longest context, in characters, of a table of n-grams, whose logits are added to those of "
        "the network (Mikolov et al. 2011). The table learns most of the text's short patterns in "
        "a few passes. 0: no table, for a plain network and smaller files.",
        within=f"[2, {MAX_NGRAMS}]",
        also=(0,),
        rule="6, or 0 for more than 8,192 distinct symbols, such as words",
    )
    ngram_slots: int = knob(
        65_536,
        "Number of rows of the table of n-grams. A hash assigns each context to a row.",
        within=f"[1, {MAX_NGRAM_SLOTS}]",
        rule="by the size of the text",
    )
    capped: bool = knob(
        False,
        "Cap the input gate i of an LSTM at 1 - f, with f the forget gate (Melis et al. 2020), so "
        "that memories last longer.",
        rule="yes for lstm",
    )

    def check_together(self) -> None:
        if self.capped is True and self.cell not in ("lstm", AUTO):
            raise ArgumentError(
                '`capped=True` is for `cell="lstm"` only: leave it out, or give `capped=False`'
            )

    @property
    def layers_seen(self) -> int:
        """The number of layers whose outputs the head reads: all with skip connections, else 1."""
        return self.layers if self.skip else 1
