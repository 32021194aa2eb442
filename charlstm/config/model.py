"""ModelConfig: the shape of a model."""

from dataclasses import dataclass
from typing import Literal

from charlstm.config.knobs import AUTO, Record, knob
from charlstm.errors import CharlstmError

Cell = Literal["lstm", "gru", "rnn"]
Dtype = Literal["float32", "float64"]

# Far above all sizes that train on a CPU; they keep a hostile file from asking for all memory.
MAX_HIDDEN = 16_384
MAX_LAYERS = 64
MAX_NGRAMS = 16
MAX_NGRAM_SLOTS = 2**24


@dataclass(frozen=True)
class ModelConfig(Record):
    """The shape of a model; its vocabulary comes beside it.

    The defaults are plain; `charlstm train` chooses better ones.
    """

    cell: Cell = knob("lstm", "Kind of the recurrent layers.")
    hidden: int = knob(
        128,
        "Hidden units of each layer.",
        within=f"[1, {MAX_HIDDEN}]",
        rule="by the size of the text and the time there is",
    )
    layers: int = knob(
        2,
        "Recurrent layers, one on top of the other.",
        within=f"[1, {MAX_LAYERS}]",
        rule="1; 2 where there is time",
    )
    dtype: Dtype = knob("float32", "Type of all numbers.")
    lines: bool = knob(
        False,
        "Treat each line as a text of its own, which learns nothing from the line before it: for "
        "names and other records.",
    )
    skip: bool = knob(
        False,
        "Add skip connections: every layer also sees the character itself, and the prediction sees "
        "every layer (Graves 2013).",
        rule="no; yes where two layers are chosen",
    )
    ngrams: int = knob(
        0,
        "Longest context, in characters, of a table of n-grams that predicts beside the network "
        "(Mikolov et al. 2011). The table learns in a few passes most of the text's short "
        "patterns. 0 leaves the table out, for a plain network and small files.",
        within=f"[2, {MAX_NGRAMS}]",
        also=(0,),
        rule="6; 0 for more than 8,192 distinct symbols, as words have",
    )
    ngram_slots: int = knob(
        65_536,
        "Rows of the table of n-grams, to which contexts are hashed.",
        within=f"[1, {MAX_NGRAM_SLOTS}]",
        rule="by the size of the text",
    )
    capped: bool = knob(
        False,
        "Cap the input gate i of an LSTM at 1 - f, with f the forget gate (Melis et al. 2020), so "
        "that memories last longer.",
        rule="yes for an LSTM",
    )

    def check_together(self) -> None:
        if self.capped is True and self.cell not in ("lstm", AUTO):
            raise CharlstmError("capped must be false without an LSTM, not True")

    @property
    def layers_seen(self) -> int:
        """The number of layers that the head sees, counted from the last."""
        return self.layers if self.skip else 1
