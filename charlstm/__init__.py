"""charlstm: character-level language models from your own text, on the CPU.

run = charlstm.train("corpus.txt", minutes=3)   # as `charlstm train` does
model = charlstm.load(run.path)
print(model.sample(500, prime="Once"))
print(model.score("To be, or not to be").bits_per_character)
"""

from charlstm.config import ModelConfig, TrainConfig
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.scoring import Loss, Score
from charlstm.runs.folder import load, save
from charlstm.runs.result import TrainedRun
from charlstm.runs.start import train
from charlstm.text.vocab import Vocab
from charlstm.training.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "CharModel",
    "CharlstmError",
    "Loss",
    "ModelConfig",
    "Score",
    "TrainConfig",
    "TrainedRun",
    "Trainer",
    "Vocab",
    "__version__",
    "load",
    "save",
    "train",
]
