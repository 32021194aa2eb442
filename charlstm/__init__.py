"""charlstm: character-level language models from your own text, on the CPU.

run = charlstm.train("corpus.txt", minutes=3)   # as `charlstm train` does
model = charlstm.load(run.path)
print(model.sample(500, prime="Once"))
print(model.score("To be, or not to be").bits_per_character)
"""

from .config import ModelConfig, TrainConfig
from .errors import CharlstmError
from .folder import load, save
from .launch import train
from .model import CharModel
from .trainer import Trainer
from .vocab import Vocab

__version__ = "0.1.0"

__all__ = [
    "CharModel",
    "CharlstmError",
    "ModelConfig",
    "TrainConfig",
    "Trainer",
    "Vocab",
    "load",
    "save",
    "train",
]
