"""The recurrences: the one place that knows which implementation runs."""

from .reference import (
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    rnn_backward,
    rnn_forward,
)

BACKEND = "numpy"

__all__ = [
    "BACKEND",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]
