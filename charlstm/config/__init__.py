"""Settings as typed records: what a text, a model and a training are asked to be.

Each field is a knob, whose type, range, help text and default stand where it is declared; the
library's checks, the command line's options and the table of options come from there. May import
errors only. Start reading at knobs.py.
"""

from charlstm.config.corpus import CorpusConfig, Level, Newlines
from charlstm.config.knobs import AUTO, Interval, Knob, Record, knob, knobs_of, split_by_record
from charlstm.config.model import MAX_HIDDEN, MAX_LAYERS, Cell, Dtype, ModelConfig
from charlstm.config.run import RunConfig
from charlstm.config.train import ENDS, Optimizer, Precision, Reduction, Schedule, TrainConfig

__all__ = [
    "AUTO",
    "ENDS",
    "MAX_HIDDEN",
    "MAX_LAYERS",
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
    "knob",
    "knobs_of",
    "split_by_record",
]
