"""LossHistory: the training losses since the last evaluation, their mean and the newest of them."""

from collections import deque
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.untrusted import integer, of_type, real, real_value

RECENT_STEPS = 20


class LossHistory:
    """The training losses since the last evaluation, in nats per character.

    count: the number of steps since the last evaluation. recent: the losses of the last
    RECENT_STEPS of these steps, or of all of them if there are fewer.
    """

    def __init__(self) -> None:
        self.count, self._sum = 0, 0.0
        # The number of steps since the last call of mean_since_log, and the sum of their losses.
        self._unlogged, self._unlogged_sum = 0, 0.0
        self.recent: deque[float] = deque(maxlen=RECENT_STEPS)

    def add(self, loss: float) -> None:
        """Add the loss of a step."""
        self.count += 1
        self._sum += loss
        self._unlogged += 1
        self._unlogged_sum += loss
        self.recent.append(loss)

    @property
    def mean(self) -> float:
        """The mean loss of the steps since the last evaluation."""
        return self._sum / self.count

    def mean_since_log(self) -> float:
        """Return the mean loss of the steps since the last call of this method."""
        mean = self._unlogged_sum / self._unlogged
        self._unlogged, self._unlogged_sum = 0, 0.0
        return mean

    def to_dict(self) -> dict[str, Any]:
        """Return the losses, for JSON."""
        return {
            "count": self.count,
            "sum": self._sum,
            "unlogged": self._unlogged,
            "unlogged_sum": self._unlogged_sum,
            "recent": list(self.recent),
        }

    @classmethod
    def from_dict(cls, saved: object) -> "LossHistory":
        """Rebuild a history from its to_dict; raise CharlstmError if the dict is malformed."""
        losses = cls()
        losses.count = integer(saved, "count")
        losses._sum = real(saved, "sum")
        losses._unlogged = integer(saved, "unlogged", most=losses.count)
        losses._unlogged_sum = real(saved, "unlogged_sum")
        recent = of_type(list, saved, "recent")
        losses.recent.extend(real_value("recent", loss) for loss in recent)
        if len(recent) != min(losses.count, RECENT_STEPS):
            raise CharlstmError(
                f"recent must hold the losses of the last {min(losses.count, RECENT_STEPS)} steps"
            )
        return losses
