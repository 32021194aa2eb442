"""charlstm: character-level language models from your own text, on the CPU."""

from .config import ModelConfig, TrainConfig
from .errors import CharlstmError
from .model import CharModel
from .trainer import Trainer
from .vocab import Vocab

__version__ = "0.1.0"

__all__ = ["CharModel", "CharlstmError", "ModelConfig", "TrainConfig", "Trainer", "Vocab"]
