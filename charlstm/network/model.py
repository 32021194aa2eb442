"""CharModel: the network with methods that generate and score texts."""

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Literal, overload

from charlstm.arrays import Array, all_finite
from charlstm.config import ModelConfig, takes_options
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.network.line_sampling import LineFilter, stream_lines
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.network.predictions import score_view
from charlstm.network.sampling import Sampling, require_memory_for_texts, sample_stops, stream_texts
from charlstm.network.scoring import Score, score_texts
from charlstm.network.stack import RecurrentStack
from charlstm.system.threads import Workers, worker_count
from charlstm.text.decoder import DecodingErrors
from charlstm.text.vocab import UnknownTreatment, Vocab
from charlstm.untrusted import one_or_several, require_type, whole_number


class CharModel(RecurrentStack):
    """A character-level language model.

    Its methods change nothing in it, so several threads may use one model at once.

    config: the shape of the model.
    vocab: its symbols.
    parameters: its weights, arrays by name such as "layers.0.Wh"; writing into an array changes the
        model.
    """

    def __repr__(self) -> str:
        shape, vocab = self.config, self.vocab
        layers = f"{shape.layers} layer{'s' * (shape.layers > 1)} of {shape.hidden}"
        return (
            f"CharModel({layers} {shape.cell.upper()} units, {len(vocab):,} {vocab.unit}s, "
            f"{self.parameters.count:,} parameters)"
        )

    def _repr_html_(self) -> str:
        """Return a table of the model's sizes, for a notebook."""
        shape, vocab = self.config, self.vocab
        left = "text-align: left"
        table = f"contexts of up to {shape.ngrams}" if shape.ngrams else "none"
        rows = {
            "cells": f"{shape.cell.upper()}{', capped' if shape.capped else ''}",
            "layers": f"{shape.layers} of {shape.hidden} units",
            "vocabulary": f"{len(vocab):,} distinct {vocab.unit}s",
            "table of n-grams": table,
            "parameters": f"{self.parameters.count:,} in {shape.dtype}",
            "reads": "lines, each by itself" if shape.lines else "a text",
        }
        cells = "".join(
            f"<tr><th style='{left}'>{name}</th><td style='{left}'>{text}</td></tr>"
            for name, text in rows.items()
        )
        return f"<table><caption>CharModel</caption>{cells}</table>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the config, the vocabulary and the weights, and nothing else."""
        saved = (self.config.to_dict(), self.vocab.to_dict(), dict(self.parameters))
        return _unpickled, saved

    @takes_options()
    def stream(
        self,
        length: int = 0,
        *,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        stop: Sequence[str] = (),
        whole: bool = False,
        unknown: UnknownTreatment = "error",
        seed: int | None = None,
        errors: DecodingErrors = "replace",
    ) -> Iterator[str]:
        """Yield text as it is sampled: `length` symbols, or endless text if length is 0.

        prime: the text that the sample continues; it is not yielded.
        temperature: divides the log-probabilities. Below 1 the text is safer, above 1 it is wilder;
            0 takes the likeliest symbol each time.
        top_k: only the k likeliest symbols are drawn; 0: all.
        top_p: symbols are drawn only from the smallest set of likeliest symbols that have at least
            this probability together.
        min_p: only symbols at least this many times as likely as the likeliest are drawn.
        stop: a stop string, or several; the text ends before the first one that occurs.
        whole: whether the text goes on beyond `length` to the next end of a sentence or line, by at
            most 500 symbols.
        unknown: what to do with characters of the prime that the model does not know: "error",
            "skip" or "replace".
        seed: the same seed gives the same text on the same machine; None: a new seed.
        errors: what to do with sampled bytes that are not valid UTF-8: "replace" turns them into
            U+FFFD, "surrogateescape" keeps them, as in Vocab.decode.
        """
        self._require_finite()
        texts = stream_texts(
            self,
            length=length,
            prime=prime,
            unknown=unknown,
            sampling=Sampling(temperature, top_k, top_p, min_p),
            stops=one_or_several("stop", stop, str),
            whole=whole,
            seed=seed,
            errors=errors,
        )
        return (text for (text,) in texts)

    @overload
    def sample(
        self,
        length: int,
        *,
        count: None = None,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        stop: Sequence[str] = (),
        whole: bool = False,
        unknown: UnknownTreatment = "error",
        seed: int | None = None,
        errors: DecodingErrors = "replace",
        workers: int | Literal["auto"] = "auto",
    ) -> str: ...

    @overload
    def sample(
        self,
        length: int,
        *,
        count: int,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        stop: Sequence[str] = (),
        whole: bool = False,
        unknown: UnknownTreatment = "error",
        seed: int | None = None,
        errors: DecodingErrors = "replace",
        workers: int | Literal["auto"] = "auto",
    ) -> list[str]: ...

    @takes_options()
    def sample(
        self,
        length: int,
        *,
        count: int | None = None,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        stop: Sequence[str] = (),
        whole: bool = False,
        unknown: UnknownTreatment = "error",
        seed: int | None = None,
        errors: DecodingErrors = "replace",
        workers: int | Literal["auto"] = "auto",
    ) -> str | list[str]:
        """Return a text of `length` symbols: characters, bytes or words.

        The text is shorter if a stop string occurs in it, and may be longer with `whole`.

        count: the number of texts, which are made in one batch; the result is then the list of the
            texts. With the same seed, they are the texts of `charlstm sample --count`, without the
            prime: a model of lines ends each of them with its line.
        workers: the largest number of threads; "auto": one per core.

        The other options are those of stream.
        """
        length = whole_number("length", length)
        if length < 1:
            raise ArgumentError(
                f"`length` must be 1 or more, not {length} (0 has no end: use stream)"
            )
        stops = one_or_several("stop", stop, str)
        if count is not None:
            stops = sample_stops(self, stops)
        self._require_finite()
        steps = stream_texts(
            self,
            length=length,
            count=1 if count is None else count,
            prime=prime,
            unknown=unknown,
            sampling=Sampling(temperature, top_k, top_p, min_p),
            stops=stops,
            whole=whole,
            seed=seed,
            errors=errors,
            workers=workers,
        )
        if not stops:  # Otherwise the texts may end long before `length`.
            require_memory_for_texts(length, 1 if count is None else count)
        texts = ["".join(pieces) for pieces in zip(*steps, strict=True)]
        return texts[0] if count is None else texts

    @takes_options()
    def sample_lines(
        self,
        count: int,
        *,
        known: Container[str] = (),
        unique: bool = False,
        length: int = 2000,
        prime: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        stop: Sequence[str] = (),
        whole: bool = False,
        unknown: UnknownTreatment = "error",
        seed: int | None = None,
        errors: DecodingErrors = "replace",
    ) -> Iterator[str]:
        """Yield up to `count` lines of a model of lines, each with the prime before it.

        There are fewer lines if 1,000 lines in a row were known or repeated.

        known: lines not to yield, such as the set of the lines of the training text.
        unique: whether to yield no line twice.
        length: the largest number of symbols of a line.

        The other options are those of stream.
        """
        require_type("known", known, Container)
        if isinstance(known, str | bytes):  # would contain parts of its lines, too
            raise ArgumentError("`known` must be a collection of lines, not one text")
        require_type("unique", unique, bool)
        self._require_finite()
        texts = stream_lines(
            self,
            count,
            LineFilter(known, unique),
            length=length,
            prime=prime,
            sampling=Sampling(temperature, top_k, top_p, min_p),
            stops=one_or_several("stop", stop, str),
            whole=whole,
            unknown=unknown,
            seed=seed,
            errors=errors,
        )
        return (prime + text for text in texts)

    @overload
    def score(  # type: ignore[overload-overlap]  # a str is an Iterable[str] too
        self,
        text: str,
        unknown: UnknownTreatment = "error",
        workers: int | Literal["auto"] = "auto",
    ) -> Score: ...

    @overload
    def score(
        self,
        text: Iterable[str],
        unknown: UnknownTreatment = "error",
        workers: int | Literal["auto"] = "auto",
    ) -> list[Score]: ...

    @takes_options()
    def score(
        self,
        text: str | Iterable[str],
        unknown: UnknownTreatment = "error",
        workers: int | Literal["auto"] = "auto",
    ) -> Score | list[Score]:
        """Return the loss of each character of a text, as if the text followed a line end.

        For several texts, such as a list, the result is the list of their scores. Texts of similar
        length are then read together, which is much faster than a call for each text.

        unknown: what to do with characters of the text that the model does not know: "error",
            "skip" or "replace".
        workers: the number of threads; "auto": one per core.
        """
        texts = one_or_several("text", text, str)
        self._require_finite()
        count = min(worker_count(workers), max(1, len(texts)))
        with closing(Workers(count)) as threads:
            name = "" if isinstance(text, str) else "text"
            scores = list(score_texts(self, texts, unknown, threads, name))
        for score in scores:
            object.__setattr__(score, "_view", partial(score_view, self, score, unknown))
        return scores[0] if isinstance(text, str) else scores

    def _require_finite(self) -> None:
        """Raise CharlstmError if a weight outside of the table of n-grams is not a finite number.

        The table is left out, because it may be much larger than the other weights.
        """
        if not all_finite(self.parameters.vector):
            raise CharlstmError("the model cannot be used: some of its weights are NaN or infinite")


def _unpickled(
    config: dict[str, Any], vocab: dict[str, Any], arrays: dict[str, Array]
) -> CharModel:
    """Return the model with these weights; CharlstmError if the parts do not fit each other."""
    model_config = ModelConfig.from_dict(config)
    model_config.require_chosen()
    model = CharModel(model_config, Vocab.from_dict(vocab), seed=None)
    if arrays.keys() != model.parameters.keys():
        raise CharlstmError("a pickled model must have the parameters of its config, and no others")
    for name, array in arrays.items():
        if array.dtype != model_config.dtype or not all_finite(array):
            raise CharlstmError(f"the parameter {name} must be of finite {model_config.dtype}")
        model.parameters[name] = array
    return model


def copy_weights_by_symbol(source: CharModel, target: CharModel) -> None:
    """Copy the weights of a model into another of the same shape, whose vocabulary may differ.

    Rows and columns that belong to symbols are matched by the symbol. Rows and columns of symbols
    that only the target has keep their values.
    """
    source_ids = {symbol: k for k, symbol in enumerate(source.vocab.symbols)}
    target_ids = {symbol: k for k, symbol in enumerate(target.vocab.symbols)}
    common = sorted(source_ids.keys() & target_ids.keys())
    from_ids, to_ids = [source_ids[s] for s in common], [target_ids[s] for s in common]
    for name, array in source.parameters.items():
        if name == "layers.0.Wx" or name.endswith(".Wi"):
            target.parameters[name][to_ids] = array[from_ids]
        elif name.startswith("head.") or name == NGRAM_TABLE:
            target.parameters[name][..., to_ids] = array[..., from_ids]
        else:
            target.parameters[name] = array
