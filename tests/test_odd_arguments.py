"""Every public function and method takes odd arguments, or refuses them with a CharlstmError."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charlstm
from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Trainer, Vocab
from charlstm.config import Record

TEXT = "Once upon a time there was a king.\n" * 4
HUGE = 10**30
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, HUGE, 0.5, float("nan"), "", "x", b"x", "\udcff\0", [], [None], {}, object(),
    len, np.zeros((2, 2)), np.full(3, -1), np.array(["a", "b"]), np.array(None),
)  # fmt: skip
# A huge length of a line is legal, because the line ends before. Here none would.
ENDLESS = {("CharModel.sample_lines", "length")}


def public_calls() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return the public functions and methods that have parameters, with valid keywords."""
    vocab, words = Vocab.from_text(TEXT), Vocab.from_words(["a", "b"])
    config = ModelConfig(hidden=2, layers=1, ngrams=3, ngram_slots=7, lines=True)
    model, ids = CharModel(config, vocab), vocab.encode(TEXT)
    trainer = Trainer(model, ids, TrainConfig(batch_size=2, workers=1))
    inputs, targets = ids[:6].reshape(3, 2), ids[1:7].reshape(3, 2)
    state, activations = model.initial_state(2), model.new_activations(3, 2)
    model.forward(inputs, state, activations)
    gradients = model.parameters.zeros_like()
    (stretch, *_), score = charlstm.novelty("Once upon", TEXT).stretches, model.score("Once")
    calls: list[tuple[Any, dict[str, Any]]] = [
        (charlstm.evaluate, {"model": model, "text": TEXT, "workers": 1}),
        (charlstm.load, {"path": "model"}),
        (charlstm.save, {"model": model, "path": "model"}),
        (charlstm.novelty, {"sample": "Once upon", "training_text": TEXT}),
        (charlstm.train, {"corpus": "text.txt", "run": "run", "overwrite": True, "steps": 1,
                          "hidden": 2, "workers": 1}),
        (CharModel, {"config": config, "vocab": vocab}),
        (model.stream, {"length": 3}),
        (model.sample, {"length": 3, "workers": 1}),
        (model.sample_lines, {"count": 1, "length": 3}),
        (model.score, {"text": "Once", "workers": 1}),
        (model.initial_state, {"B": 2}),
        (model.new_activations, {"T": 3, "B": 2}),
        (model.forward, {"inputs": inputs, "state": state, "activations": activations}),
        (model.context_rows, {"inputs": inputs, "state": state, "new_state": state.copy()}),
        (model.backward, {"targets": targets, "activations": activations, "scale": 0.1,
                          "gradients": gradients}),
        (model.backward_activations, {"targets": targets, "activations": activations,
                                      "scale": 0.1}),
        (model.weight_gradients, {"activations": activations, "gradients": gradients}),
        (model.losses, {"inputs": inputs, "targets": targets, "state": state}),
        (model.loss_and_gradients, {"inputs": inputs, "targets": targets}),
        (model.step, {"ids": ids[:2], "state": state}),
        (model.read, {"ids": ids[:5], "state": model.initial_state(1)}),
        (score.loss.bits_per_byte, {"bytes": 2}),
        (stretch.overlaps, {"other": stretch}),
        (ModelConfig, {}),
        (TrainConfig, {"steps": 1}),
        (Trainer, {"model": model, "ids": ids, "config": trainer.config}),
        (trainer.array_shapes, {"model": config, "parameters": {}, "config": trainer.config}),
        (trainer.load_arrays, {"arrays": trainer.arrays()}),
        (trainer.load_dict, {"saved": trainer.to_dict()}),
        (Vocab, {"level": "char", "symbols": vocab.symbols}),
        (Vocab.from_text, {"text": TEXT}),
        (Vocab.from_characters, {"characters": "abc\n", "spelled": "日"}),
        (Vocab.from_words, {"words": ["a", "b"]}),
        (Vocab.from_dict, {"saved": vocab.to_dict()}),
        (vocab.union, {"other": vocab}),
        (vocab.extended, {"symbols": "abc\n"}),
        (vocab.lacking, {"characters": "abc☃"}),
        (vocab.continues, {"ids": ids}),
        (vocab.count_characters, {"ids": ids}),
        (words.encode_words, {"words": ["a"]}),
        (vocab.encode, {"text": "Once"}),
        (vocab.encode_codes, {"codes": np.array([110])}),
        (vocab.replacements, {"text": "Onze"}),
        (vocab.decode, {"ids": ids[:3]}),
        (vocab.decoder, {}),
    ]  # fmt: skip
    named = {call.__qualname__.replace("RecurrentStack", "CharModel"): (call, valid)
             for call, valid in calls}  # fmt: skip
    assert len(named) == len(calls)
    return named


CALLS = public_calls()


def parameters_of(function: Any) -> list[str]:
    """Return the names of the parameters of a function, without the knobs of `charlstm.train`.

    The test of TrainConfig and ModelConfig tries the knobs.
    """
    parameters = inspect.signature(inspect.unwrap(function)).parameters.values()
    names = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    return [name for name in names if name != "self"]


def test_the_calls_are_all_public_functions_and_methods_with_parameters():
    """The records of results, such as Loss, check nothing: any values make one."""
    expected = set()
    for name in charlstm.MODULES:
        member = getattr(charlstm, name)
        if not inspect.isclass(member):
            expected.add(name)
            continue
        if name in CALLS:
            expected.add(name)
        inherited = Record if issubclass(member, Record) else Exception
        methods = (m for m in dir(member) if not (m.startswith("_") or hasattr(inherited, m)))
        for method in methods:
            function = getattr(member, method)
            if callable(function) and set(inspect.signature(function).parameters) - {"self"}:
                expected.add(f"{name}.{method}")
    assert set(CALLS) == expected


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments_are_accepted_or_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT)
    charlstm.save(CALLS["save"][1]["model"], "model")
    function, valid = CALLS[name]
    function(**valid)
    for parameter in parameters_of(function):
        refused = 0
        for value in ODD_VALUES:
            if value is HUGE and (name, parameter) in ENDLESS:
                continue
            try:
                result = function(**{**valid, parameter: value})
                if isinstance(result, Iterator):
                    next(result, None)
            except CharlstmError as error:
                refused += 1
                assert "\n" not in str(error)
            except Exception as error:
                pytest.fail(f"{name}({parameter}={value!r:.60}) raises {error!r:.200}")
        assert refused, parameter
