"""The settings of a textbook's recurrent network, for teaching and for comparisons.

`charlstm train` adds to a textbook's network all that lowers the loss. With --textbook, nothing is
added: each layer is a plain cell, the prediction is made from the last layer alone, and no weight
or output is dropped. The optimizer, the sizes and the learning rate are chosen as without
--textbook.
"""

from typing import Any

from charlstm.config.model import ModelConfig
from charlstm.config.train import TrainConfig

TEXTBOOK_MODEL: dict[str, Any] = {"capped": False, "skip": False, "ngrams": 0}
TEXTBOOK_TRAINING: dict[str, Any] = {
    "dropout": 0.0,
    "weight_dropout": 0.0,
    "reset": 0.0,
    "average": 0.0,
    "weight_decay": 0.0,
}
TEXTBOOK = TEXTBOOK_MODEL | TEXTBOOK_TRAINING

IN_WORDS = {
    "capped": "capped gates",
    "skip": "skip connections",
    "ngrams": "table of n-grams",
    "dropout": "dropout",
    "weight_dropout": "dropout of recurrent weights",
    "reset": "resets of the state",
    "average": "averaged weights",
    "weight_decay": "weight decay",
    "dropout_between": "dropout between layers",
}


def beyond_textbook(model: ModelConfig, train: TrainConfig | None = None) -> dict[str, Any]:
    """Return the settings, by name, in which a model and its training differ from a textbook's.

    train: the settings of the training, or None if they are not known.
    """
    settings = model.to_dict() | (train.to_dict() if train else {})
    plain = TEXTBOOK if train else TEXTBOOK_MODEL
    found = {name: settings[name] for name, value in plain.items() if settings[name] != value}
    if train and model.layers > 1 and train.dropout_between:
        found["dropout_between"] = train.dropout_between
    return found


def textbook_in_words(model: ModelConfig, train: TrainConfig | None = None) -> str:
    """Return "a textbook LSTM", or "beyond the textbook:" and the settings that differ.

    train: the settings of the training, or None if they are not known.
    """
    found = beyond_textbook(model, train)
    if not found:
        return f"a textbook {model.cell.upper()}"
    return f"beyond the textbook: {', '.join(IN_WORDS[name] for name in found)}"
