"""The report: a page that shows a run, or several runs side by side, as one HTML file.

The data of the page come from the events of a run (history.py), and from its best model, which
reads a part of the validation text. A run may come from a stranger: all its texts are shown as
text, and nothing that names a path, a user or a machine is shown.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import CorpusConfig, ModelConfig, Record, TrainConfig, knobs_of
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.predictions import predict, predictions_data, symbol_losses
from charlstm.pages import page
from charlstm.pages.text_data import shown_symbol
from charlstm.runs.folder import METRICS, load
from charlstm.runs.history import (
    MAX_NAME,
    History,
    file_name,
    finite,
    public_path,
    read_history,
    sentence,
    state_of,
    thinned,
)
from charlstm.runs.metrics import Event
from charlstm.runs.texts import RunTextError, training_and_validation_ids
from charlstm.system.terminal import visible, visible_lines
from charlstm.system.wording import counted, duration, option_words, rounded
from charlstm.text.corpus import Split
from charlstm.text.reading import ReadingProgress
from charlstm.text.vocab import Vocab, start_ids

MAX_ROWS = 1_500  # about the largest number of rows of a table that a page holds
MAX_SAMPLES = 1_000
# Lengths in symbols of the validation text: the part that is shown, and the part whose losses are
# counted by symbol.
SHOWN_SYMBOLS, COUNTED_SYMBOLS = 1_500, 50_000
TRAINING_SYMBOLS = 1_000_000  # largest part of the training text whose symbols are counted
MAX_BARS = 40  # symbols in a list of bars
# The entries of the event `start` that hold settings.
RECORDS: dict[str, type[Record]] = {
    "corpus": CorpusConfig,
    "model": ModelConfig,
    "config": TrainConfig,
}
MAX_COLUMN, FEWEST_IN_COLUMN = 80, 20  # positions in a line, and the predictions that one needs


def report_page(runs: Sequence[dict[str, Any]], live: bool = False) -> str:
    """Return the report on runs as HTML. live: whether an open page loads itself again."""
    names = [run["name"] for run in runs]
    named = [
        run | {"name": f"{run['name']} ({names[:k].count(run['name']) + 1})"}
        if names.count(run["name"]) > 1
        else run
        for k, run in enumerate(runs)
    ]
    data = {"runs": named, "written": round(time.time()), "live": live, **_comparison(runs)}
    return page.render(page.PAGES, "report", data, ("text", "charts"))


def run_data(
    folder: Path, progress: ReadingProgress | None = None
) -> tuple[dict[str, Any], str, list[str]]:
    """Return the data of a run for the report, its state, and sentences on what is missing.

    Raises CharlstmError if the folder has no events.
    """
    history, missing, model_data = read_history(folder), [], {}
    if not (history.start or history.steps):
        raise CharlstmError(f"{folder}: no events of a run (in {METRICS}) to show")
    try:
        model = load(folder)
        try:
            split = training_and_validation_ids(folder, progress)
        except RunTextError as error:
            missing.append(f"{error}: the report shows no validation text")
        else:
            model_data = text_measurements(model, split, SHOWN_SYMBOLS, COUNTED_SYMBOLS)
    except CharlstmError as error:
        missing.append(f"{error}: the report shows no model")
    state = state_of(folder, history)
    return history_data(folder, history, state) | model_data, state, missing


def history_data(folder: Path, history: History, state: str) -> dict[str, Any]:
    """Return the part of the data of a run that its events tell.

    state: "running", "finished" or "interrupted".
    """
    start, unit = history.start, unit_of(history.start)
    characters, windows = (finite(start.get(k)) for k in ("train_characters", "windows_per_pass"))
    samples = history.samples
    if len(samples) > MAX_SAMPLES:
        kept = np.linspace(0, len(samples) - 1, MAX_SAMPLES).round().astype(int)
        samples = [samples[k] for k in kept]
    best = history.best
    return {
        "name": visible(Path(folder).resolve().name[:MAX_NAME]) or "run",
        "state": state,
        "unit": unit,
        "train": _compact(thinned(history.train, MAX_ROWS)),
        "evaluations": _compact(thinned(history.evaluations, MAX_ROWS)),
        "best": None if best is None else history.evaluations["step"][best],
        "best_val_loss": history.best_val_loss,
        "steps": history.steps,
        "total_steps": finite(start.get("total_steps")),
        "seconds": history.seconds,
        "characters_per_step": characters / windows if characters and windows else None,
        "clip": finite(_part(start, "config").get("clip")),
        "samples": [[step, visible_lines(text)] for step, text in samples],
        "recoveries": history.recoveries[-100:],
        "resumptions": history.resumptions[-100:],
        "settings": _settings(start, history.given),
        "notes": _notes(history),
        "facts": list(_facts(history, unit)),
        "command": _command(start, history.given),
    }


def text_measurements(model: CharModel, split: Split, shown: int, counted: int) -> dict[str, Any]:
    """Return the part of the data of a run that its model and its text tell.

    shown: the number of symbols of the validation text that are shown with their surprisal.
    counted: the number of symbols whose losses are counted by symbol and by position in the line;
        the model reads the text a second time, unless this number is that of the shown symbols.
    """
    vocab = model.vocab
    part = np.asarray(split.train[:TRAINING_SYMBOLS])
    counts = np.bincount(part, minlength=len(vocab))
    most = np.argsort(-counts, kind="stable")[:MAX_BARS]
    measured: dict[str, Any] = {
        "frequencies": {
            "counted": len(part),
            "distinct": len(vocab),
            "symbols": [[shown_symbol(vocab.symbols[k])[1], int(counts[k])] for k in most],
        }
    }
    ids = np.asarray(split.validation[:counted])
    if len(ids) < 2:
        return measured
    predictions = predict(model, _from_line_start(vocab, ids)[:shown])
    measured["text"] = predictions_data(vocab, predictions)
    if counted > shown:
        positions, nats = symbol_losses(model, ids)
        bits = nats.astype(np.float64) / np.log(2)
    else:
        ids = predictions.ids
        positions, bits = np.arange(1, len(ids)), predictions.bits[1:]
    if len(positions):
        measured |= _losses_by_symbol(vocab, ids[positions], bits)
        measured |= _losses_by_column(vocab, ids, positions, bits)
    return measured


def _from_line_start(vocab: Vocab, ids: Ids) -> Ids:
    """Return a text from the start of its first whole line; the whole text if that is far."""
    end = start_ids(vocab)
    is_end = ids[: len(ids) // 4] == (end[0] if len(end) else -1)
    return ids[np.argmax(is_end) + 1 :] if is_end.any() else ids


def _losses_by_symbol(vocab: Vocab, targets: Ids, bits: Array) -> dict[str, Any]:
    """Return (symbol, number, mean bits, share of the loss) of the symbols that cost most."""
    counts = np.bincount(targets, minlength=len(vocab))
    sums = np.bincount(targets, bits, minlength=len(vocab))
    most = [k for k in np.argsort(-sums, kind="stable")[:MAX_BARS] if counts[k]]
    rows = [
        [
            shown_symbol(vocab.symbols[k])[1],
            int(counts[k]),
            round(float(sums[k] / counts[k]), 3),
            round(float(sums[k] / max(sums.sum(), 1e-9)), 4),
        ]
        for k in most
    ]
    return {"by_symbol": {"predicted": len(targets), "symbols": rows}}


def _losses_by_column(vocab: Vocab, ids: Ids, positions: Ids, bits: Array) -> dict[str, Any]:
    """Return (position in the line, mean bits) for each position that was predicted often enough.

    The text before the first line end is left out, as it may begin inside a line.
    """
    end = start_ids(vocab)
    if len(end) == 0:
        return {}
    at = np.arange(len(ids))
    ends_before = np.maximum.accumulate(np.where(ids == end[0], at, -1))[positions - 1]
    columns = np.where(ends_before < 0, -1, positions - 1 - ends_before)
    fits = (columns >= 0) & (columns < MAX_COLUMN)
    counts = np.bincount(columns[fits], minlength=1)
    sums = np.bincount(columns[fits], bits[fits], minlength=1)
    rows = [
        [k + 1, round(float(sums[k] / counts[k]), 3)]
        for k in range(len(counts))
        if counts[k] >= FEWEST_IN_COLUMN
    ]
    return {"by_column": rows} if len(rows) > 1 else {}


def _compact(table: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return a table whose real numbers have at most seven significant digits."""
    return {
        name: [float(f"{x:.7g}") if isinstance(x, float) else x for x in column]
        for name, column in table.items()
    }


def _part(event: Event, name: str) -> dict[str, Any]:
    """Return an entry of an event that is a JSON object; {} if it is none."""
    found = event.get(name)
    return found if isinstance(found, dict) else {}


def unit_of(start: Event) -> str:
    """Return the kind of symbol of a run: "character", "byte" or "word"."""
    unit = start.get("unit")
    return unit if unit in ("byte", "word") else "character"


def _settings(start: Event, given: Mapping[str, Any] | None) -> list[list[str]]:
    """Return (name, value, reason) of each setting of the run.

    reason: "given" by the user; a rule of charlstm train by which it chose the value; "default";
        or "" if the run does not record which settings were given.
    """
    rows = []
    for entry, record in RECORDS.items():
        values = _part(start, entry)
        for name, one in knobs_of(record).items():
            if name not in values or tuple in one.types:
                continue
            reason = one.facts.rule or "default"
            if given is None:
                reason = ""
            elif name in given:
                reason = "given"
            rows.append([name, _shown_value(values[name]), reason])
    return rows


def _shown_value(value: object) -> str:
    """Return a setting as text, on one line and without paths."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        number = finite(value)
        return "?" if number is None else f"{number:,}" if isinstance(value, int) else f"{value:g}"
    return sentence(value)[:MAX_NAME] or "?"


def _notes(history: History) -> list[str]:
    """Return what the user was told: notices, recoveries and, last, the advice at the end."""
    warnings = history.stop.get("warnings")
    advice = [sentence(each) for each in warnings] if isinstance(warnings, list) else []
    recoveries = [f"step {step:,}: {text}" for step, text in history.recoveries]
    told = [*history.notices, *recoveries, *filter(None, advice)]
    return list(dict.fromkeys(told))[-50:]


def _facts(history: History, unit: str) -> list[tuple[str, str]]:
    """Return the facts of a run as pairs (label, text)."""
    start = history.start
    facts = []
    files = files_of(start)
    text = [", ".join(files[:5]) + (f" and {len(files) - 5:,} more" if len(files) > 5 else "")]
    for name, purpose in (
        ("train_characters", "to learn from"),
        ("validation_characters", "held out"),
    ):
        if number := finite(start.get(name)):
            text.append(f"{counted(int(number), unit)} {purpose}")
    facts.append(("Text", "; ".join(filter(None, text))))
    vocabulary, parameters = (finite(start.get(name)) for name in ("vocabulary", "parameters"))
    if vocabulary:
        facts.append(("Vocabulary", counted(int(vocabulary), f"distinct {unit}")))
    if model := model_in_words(start):
        size = f"; {counted(int(parameters), 'parameter')}" if parameters else ""
        facts.append(("Model", model + size))
    if history.steps:
        passes, windows = "", finite(start.get("windows_per_pass"))
        if windows:
            passes = (
                f", {counted(rounded(history.steps / windows), 'pass', 'passes')} over the text"
            )
        seconds = "" if history.seconds is None else f", {duration(history.seconds)}"
        facts.append(("Trained", f"{counted(history.steps, 'step')}{passes}{seconds}"))
    origin = _part(start, "origin").get("path")
    if isinstance(origin, str):
        facts.append(("Begun from", file_name(origin)))
    versions = {name: _shown_value(each) for name, each in _part(start, "versions").items()}
    facts.append(("Kernels", sentence(start.get("kernels"))))
    facts.append(("Precision", sentence(start.get("precision"))))
    facts.append(("Machine", sentence(start.get("machine"))))
    facts.append(
        ("Versions", ", ".join(f"{visible(name[:20])} {each}" for name, each in versions.items()))
    )
    return [fact for fact in facts if fact[1]]


def model_in_words(start: Event) -> str:
    """Return the kind and the size of a run's model; "" if the event `start` does not say it."""
    model = _part(start, "model")
    layers, hidden = finite(model.get("layers")), finite(model.get("hidden"))
    if not (layers and hidden and model.get("cell") in ("lstm", "gru", "rnn")):
        return ""
    units = counted(int(hidden), "unit")
    return f"{model['cell'].upper()}, {counted(int(layers), 'layer')} of {units}"


def files_of(start: Event) -> list[str]:
    """Return the names, without folders, of the files and folders of the text of a run."""
    corpus = _part(start, "corpus")
    found = corpus["paths"] if isinstance(corpus.get("paths"), list) else []
    names = (
        [Path(each).name for each in found if isinstance(each, str)]
        if isinstance(found, list)
        else []
    )
    return [visible(name[:MAX_NAME]) for name in names[:1000] if name]


def _command(start: Event, given: Mapping[str, Any] | None) -> str:
    """Return a command that repeats a run; "" if the run does not record its settings.

    Paths stand in the command as in history.public_path: it repeats the run in the folder in which
    the run was begun, if all texts are below that folder.
    """
    if given is None:
        return ""
    paths = given.get("paths")
    texts = _public_paths(paths) if isinstance(paths, list) else files_of(start)
    words = ["charlstm", "train", *map(shlex.quote, texts)]
    known = {name for record in RECORDS.values() for name in knobs_of(record)} - {"paths"}
    known |= {"engine", "device"}
    values = [(name, value) for name, value in given.items() if name in known]
    origin = _part(start, "origin").get("path")
    if isinstance(origin, str):
        values.insert(0, ("init_from", [origin]))
    for name, value in values:
        if isinstance(value, list):
            for path in _public_paths(value):
                words += option_words(name, shlex.quote(path))
        elif isinstance(value, bool):
            words += option_words(name, value)
        elif isinstance(value, int | float | str):
            words += option_words(name, shlex.quote(_plain(value)))
    return " ".join(words)


def _public_paths(paths: list[Any]) -> list[str]:
    return [public_path(path) for path in paths if isinstance(path, str)]


def _plain(value: float | str) -> str:
    """Return a value as the command line takes it."""
    if isinstance(value, str):
        return sentence(value)[:MAX_NAME] or "?"
    number = finite(value)
    return "?" if number is None else f"{number:.15g}"


def _comparison(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings in which runs differ, and groups of runs that differ only in their seed.

    differing: (name, value for each run). repeats: lists of indices of runs.
    """
    if len(runs) < 2:
        return {"differing": [], "repeats": []}
    settings = [{name: value for name, value, _ in run["settings"]} for run in runs]
    texts = [dict(run["facts"]).get("Text", "") for run in runs]
    names = dict.fromkeys(name for each in settings for name in each)
    columns = [[name, *(each.get(name, "") for each in settings)] for name in names]
    groups: dict[Any, list[int]] = {}
    for k, each in enumerate(settings):
        rest = tuple(sorted((n, v) for n, v in each.items() if n not in ("seed", "workers")))
        groups.setdefault((texts[k], rest), []).append(k)
    return {
        "differing": [row for row in columns if len(set(row[1:])) > 1],
        "repeats": [group for group in groups.values() if len(group) > 1 and settings[group[0]]],
    }
