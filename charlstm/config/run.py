"""RunConfig: all settings of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from charlstm.config.corpus import CorpusConfig
from charlstm.config.knobs import Knob, knobs_of, split_by_record
from charlstm.config.model import ModelConfig
from charlstm.config.train import TrainConfig
from charlstm.config.unused import refuse_unused


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run: its text, its model and its training."""

    corpus: CorpusConfig
    model: ModelConfig
    train: TrainConfig

    @classmethod
    def asked(
        cls, given: Mapping[str, Any], preset: Mapping[str, Any] = MappingProxyType({})
    ) -> "RunConfig":
        """Return settings with the given values, and AUTO for all other knobs.

        A value of None counts as not given.

        preset: values for knobs that are not given, such as TEXTBOOK.

        Raises CharlstmError for an unknown name, for a value out of its range, and for an option
        that has no effect because of another option.
        """
        known = {name: value for name, value in given.items() if value is not None}
        corpus, model, train = split_by_record(
            {**preset, **known}, CorpusConfig, ModelConfig, TrainConfig
        )
        asked = cls(CorpusConfig.asked(corpus), ModelConfig.asked(model), TrainConfig.asked(train))
        knobs = knobs_of(TrainConfig)
        defaults = {name: knobs[name].train_default for name in ("schedule", "optimizer")}
        refuse_unused({name: asked.given[name] for name in asked.given if name in known}, defaults)
        return asked

    @property
    def given(self) -> dict[str, Any]:
        """The values other than AUTO, by name."""
        return self.corpus.given | self.model.given | self.train.given


def run_options() -> list[Knob]:
    """Return the knobs that are keywords of `charlstm.train`: all but the paths of the text."""
    records = (CorpusConfig, ModelConfig, TrainConfig)
    knobs = (knob for record in records for knob in knobs_of(record).values())
    return [knob for knob in knobs if knob.name != "paths"]
