"""TrainingState: the record in last.safetensors from which a run is resumed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from charlstm.config import CorpusConfig, TrainConfig
from charlstm.errors import CharlstmError
from charlstm.training.loss_history import LossHistory
from charlstm.untrusted import LARGEST_INTEGER, MALFORMED_ERRORS, integer, real


@dataclass(frozen=True)
class TrainingState:
    """Everything beside the arrays that a run needs to continue as if it had not been interrupted.

    config: the settings of the training, completed. corpus: where its text is.
    digest, file_bytes: the digest and the size of that text (see Corpus), by which a change is
        noticed.
    kernels: description of the kernels that computed the last step.
    extended: whether the vocabulary also holds the symbols of another run.
    trainer, validation, time_budget: the values of their to_dict; their load_dict checks them.
    eval_every: steps between evaluations; None until the speed of the machine is known.
    losses: the losses of the steps since the last evaluation.
    seconds: the time that the run has taken so far.
    """

    config: TrainConfig
    corpus: CorpusConfig
    digest: str
    file_bytes: int
    kernels: str
    extended: bool
    trainer: dict[str, Any]
    validation: dict[str, Any]
    time_budget: dict[str, Any]
    eval_every: int | None
    losses: LossHistory
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The state, for JSON."""
        configs = {"config": self.config.to_dict(), "corpus": self.corpus.to_dict()}
        return {**vars(self), **configs, "losses": self.losses.to_dict()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "TrainingState":
        """Rebuild a state that to_dict wrote.

        Raises CharlstmError, or one of MALFORMED_ERRORS, for anything else.
        """
        is_planned = saved["eval_every"] is not None
        return cls(
            config=TrainConfig.from_dict(saved["config"]),
            corpus=_corpus(saved["corpus"]),
            digest=_of_type(str, saved, "digest"),
            file_bytes=integer(saved, "file_bytes"),
            kernels=_of_type(str, saved, "kernels"),
            extended=_of_type(bool, saved, "extended"),
            trainer=_of_type(dict, saved, "trainer"),
            validation=_of_type(dict, saved, "validation"),
            time_budget=_of_type(dict, saved, "time_budget"),
            eval_every=integer(saved, "eval_every", least=1) if is_planned else None,
            losses=LossHistory.from_dict(saved["losses"]),
            seconds=real(saved, "seconds", least=0, most=LARGEST_INTEGER),
        )


def _corpus(saved: Mapping[str, Any]) -> CorpusConfig:
    """Rebuild the config of a text; CharlstmError if a path is no string."""
    config = CorpusConfig.from_dict(saved)
    for path in (*config.paths, *config.val_file):
        if not isinstance(path, str):
            raise CharlstmError(f"corpus: a path must be a string, not {path!r:.60}")
    return config


def _of_type(kind: type, saved: Mapping[str, Any], name: str) -> Any:
    """The value of that name; CharlstmError if it has another type."""
    value = saved[name]
    if type(value) is not kind:
        raise CharlstmError(f"{name} must be of type {kind.__name__}, not {value!r:.60}")
    return value


@contextmanager
def malformed_refused(message: str) -> Iterator[None]:
    """Turn every error that a malformed state can cause into a CharlstmError with that message."""
    try:
        yield
    except CharlstmError as error:
        raise CharlstmError(f"{message} ({error})") from None
    except MALFORMED_ERRORS as error:
        raise CharlstmError(f"{message} ({error!r})") from None
