"""The losses of the training steps since the last evaluation, in bounded memory."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from .bounds import checked_number, whole
from .errors import CharlstmError

RECENT = 20  # steps


class StepLosses:
    """Counts and sums of them, in nats a character; the newest themselves.

    count: of the steps since the last evaluation. recent: the last RECENT of them at most.
    """

    def __init__(self) -> None:
        self.count, self._sum = 0, 0.0
        self._unlogged, self._unlogged_sum = 0, 0.0
        self.recent: deque[float] = deque(maxlen=RECENT)

    def add(self, loss: float) -> None:
        """Count the loss of the newest step."""
        self.count += 1
        self._sum += loss
        self._unlogged += 1
        self._unlogged_sum += loss
        self.recent.append(loss)

    @property
    def mean(self) -> float:
        """Over all steps since the last evaluation."""
        return self._sum / self.count

    def log(self) -> float:
        """The mean over the steps since this was last asked."""
        mean = self._unlogged_sum / self._unlogged
        self._unlogged, self._unlogged_sum = 0, 0.0
        return mean

    def saved(self) -> dict[str, Any]:
        """What `from_saved` takes, as a JSON object."""
        return {
            "count": self.count,
            "sum": self._sum,
            "unlogged": self._unlogged,
            "unlogged_sum": self._unlogged_sum,
            "recent": list(self.recent),
        }

    @classmethod
    def from_saved(cls, saved: Mapping[str, Any] | list[Any]) -> "StepLosses":
        """The losses of which `saved` came; CharlstmError for what cannot be."""
        losses = cls()
        if isinstance(saved, list):  # all of them, as earlier versions saved
            for loss in saved:
                losses.add(checked_number("losses", loss))
            return losses
        losses.count = whole(saved, "count")
        losses._sum = checked_number("sum", saved["sum"])
        losses._unlogged = whole(saved, "unlogged", most=losses.count)
        losses._unlogged_sum = checked_number("unlogged_sum", saved["unlogged_sum"])
        losses.recent.extend(checked_number("recent", loss) for loss in saved["recent"])
        if not len(losses.recent) == len(saved["recent"]) == min(losses.count, RECENT):
            raise CharlstmError(f"recent must be the last {RECENT} losses of {losses.count:,}")
        return losses
