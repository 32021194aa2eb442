"""Settings as typed records: CorpusConfig, ModelConfig and TrainConfig; RunConfig holds all three.

A field of a record is called a knob: its declaration states its type, default, range and help text.
The checks of the library, the options of the command line and the table of options are made from
the declarations. Of charlstm, this package may import only charlstm.errors and charlstm.untrusted.
Start reading at knobs.py.
"""

from charlstm.config.corpus import CorpusConfig, Level, Newlines, ValSplit
from charlstm.config.keywords import takes_options
from charlstm.config.knobs import (
    AUTO,
    GROUPS,
    Interval,
    Knob,
    Record,
    knob,
    knobs_of,
    nearest_names,
    split_by_record,
)
from charlstm.config.model import MAX_HIDDEN, MAX_LAYERS, Cell, Dtype, ModelConfig
from charlstm.config.run import RunConfig, run_options
from charlstm.config.textbook import TEXTBOOK, beyond_textbook, textbook_in_words
from charlstm.config.train import (
    ENDS,
    MAX_WORKERS,
    Optimizer,
    Precision,
    Reduction,
    Schedule,
    TrainConfig,
)

__all__ = [
    "AUTO",
    "ENDS",
    "GROUPS",
    "MAX_HIDDEN",
    "MAX_LAYERS",
    "MAX_WORKERS",
    "TEXTBOOK",
    "Cell",
    "CorpusConfig",
    "Dtype",
    "Interval",
    "Knob",
    "Level",
    "ModelConfig",
    "Newlines",
    "Optimizer",
    "Precision",
    "Record",
    "Reduction",
    "RunConfig",
    "Schedule",
    "TrainConfig",
    "ValSplit",
    "beyond_textbook",
    "knob",
    "knobs_of",
    "nearest_names",
    "run_options",
    "split_by_record",
    "takes_options",
    "textbook_in_words",
]
