"""TrainingState: the record in last.safetensors from which a run is resumed.

Run gathers the state from its parts (run.py). resume_run (resume.py) restores it, and so does
return_to_good_state (divergence.py) after a divergence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charlstm.config import AUTO, CorpusConfig, TrainConfig
from charlstm.errors import CharlstmError, shown
from charlstm.runs.engines import DEVICES, ENGINES, NATIVE
from charlstm.runs.origin import Origin
from charlstm.text.encodings import encoding_for
from charlstm.training.loss_history import LossHistory
from charlstm.untrusted import LARGEST_INTEGER, entry, integer, of_type, real, require_choice


@dataclass(frozen=True)
class TrainingState:
    """Everything except arrays that a run needs to continue as if it had not been interrupted.

    config: the settings of the training. Chosen values stand in place of "auto".
    corpus: the paths of the training text, and the options with which the run reads the text.
    digest, file_bytes: the digest and the size of the text's files (see Corpus). A resumed run
        compares the digest and the size with those of the text's present files.
    kernels: the description of the engine that computed the last step, and where: its kernels.
    extended: whether the vocabulary also holds the symbols of the run whose weights this run
        started from.
    trainer, validation, time_budget: the results of to_dict of Trainer, Validation and TimeBudget.
        The load_dict of each class checks the values.
    eval_every: steps between evaluations; None until the speed of the machine is known.
    losses: the losses of the steps since the last evaluation.
    seconds: the seconds that the run has taken, without the time between interruption and
        resumption.
    mix: the size and the digest of the files of --mix; None if there are none.
    origin: the run from whose weights this run started; None if it started from random weights.
    report: whether the run writes report.html.
    engine, device: those options of the run; `device` is "auto" for the native engine.

    If `mix` or `origin` is None, the saved dictionary has no entry of that name. Files of older
    versions may lack both entries, and `report`, `engine` and `device`.
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
    mix: tuple[int, str] | None = None
    origin: Origin | None = None
    report: bool = True
    engine: str = NATIVE
    device: str = AUTO

    def to_dict(self) -> dict[str, Any]:
        """Return the state as a dictionary that can be written as JSON."""
        configs = {"config": self.config.to_dict(), "corpus": self.corpus.to_dict()}
        saved = {**vars(self), **configs, "losses": self.losses.to_dict()}
        origin, mix = saved.pop("origin"), saved.pop("mix")
        if mix is not None:
            saved["mix"] = dict(zip(("file_bytes", "digest"), mix, strict=True))
        return saved if origin is None else {**saved, "origin": origin.to_dict()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "TrainingState":
        """Rebuild a state from a dictionary of to_dict; CharlstmError if it is malformed."""
        is_planned = entry(saved, "eval_every") is not None
        require_choice("engine", saved.get("engine", NATIVE), ENGINES)
        require_choice("device", saved.get("device", AUTO), DEVICES)
        return cls(
            config=TrainConfig.from_dict(entry(saved, "config")),
            corpus=recorded_corpus(entry(saved, "corpus")),
            digest=of_type(str, saved, "digest"),
            file_bytes=integer(saved, "file_bytes"),
            kernels=of_type(str, saved, "kernels"),
            extended=of_type(bool, saved, "extended"),
            trainer=of_type(dict, saved, "trainer"),
            validation=of_type(dict, saved, "validation"),
            time_budget=of_type(dict, saved, "time_budget"),
            eval_every=integer(saved, "eval_every", least=1) if is_planned else None,
            losses=LossHistory.from_dict(entry(saved, "losses")),
            seconds=real(saved, "seconds", least=0, most=LARGEST_INTEGER),
            mix=_size_and_digest(saved["mix"]) if "mix" in saved else None,
            origin=Origin.from_dict(saved["origin"]) if "origin" in saved else None,
            report=of_type(bool, saved, "report") if "report" in saved else True,
            engine=saved.get("engine", NATIVE),
            device=saved.get("device", AUTO),
        )


def _size_and_digest(saved: object) -> tuple[int, str]:
    return integer(saved, "file_bytes"), of_type(str, saved, "digest")


def recorded_corpus(saved: object) -> CorpusConfig:
    """Rebuild the config of a text from its to_dict; CharlstmError if that is malformed."""
    config = CorpusConfig.from_dict(saved)
    config.require_chosen()
    encoding_for(config.level, config.encoding)
    for path in config.all_paths:
        if not isinstance(path, str):
            raise CharlstmError(f"corpus: a path must be a string, not {shown(path)}")
    return config
