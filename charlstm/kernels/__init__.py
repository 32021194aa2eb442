"""The recurrences: the one place that knows which implementation runs."""

from .reference import lstm_backward, lstm_forward

BACKEND = "numpy"

__all__ = ["BACKEND", "lstm_backward", "lstm_forward"]
