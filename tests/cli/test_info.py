"""charlstm info: the description of a run and of a checkpoint file."""

import json
import math
import re

import pytest

import charlstm
from charlstm.cli.info_card import card
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlstm.runs.folder import describe
from charlstm.system.terminal import visible
from charlstm.system.wording import duration, rounded


def test_info_describes_a_run_and_a_file(cli, trained):
    about = json.loads(cli("info", "-r", trained, "--json").stdout)
    model = charlstm.load(trained)
    assert about["model"]["hidden"] == 32
    assert about["parameters"] == model.parameters.count
    assert (about["level"], about["vocabulary"]) == ("char", len(model.vocab))
    assert about["symbols"] == model.vocab.characters
    assert about["summary"]["step"] == about["summary"]["total_steps"] == 250
    assert about["summary"]["best_val_loss"] <= about["summary"]["val_loss"]
    assert about["training"]["seed"] == 0 and about["corpus"]["val_frac"] == 0.1
    assert about["bytes"] == (trained / "last.safetensors").stat().st_size
    best = json.loads(cli("info", trained / "best.safetensors", "--json").stdout)
    assert "training" not in best and best["model"] == about["model"]


def test_info_is_a_card_in_words(cli, trained, text_file):
    about = json.loads(cli("info", "-r", trained, "--json").stdout)
    loss, parameters = about["summary"]["best_val_loss"], about["parameters"]
    best = load_checkpoint(trained / "best.safetensors").summary
    file = str(trained / "best.safetensors")
    used = {"file": file, "step": best["step"], "weights": best["weights"]}
    assert about["sample"] == used
    assert about["texts"] == [str(text_file)] and about["absolute_path"] == str(trained)
    sizes = [(trained / f"{name}.safetensors").stat().st_size / 1e3 for name in ("best", "last")]
    weights = ", averaged weights" * (best["weights"] == "average")
    assert cards(cli("info", trained).stdout) == [
        [str(trained)],
        ["model", "LSTM, 1 layer of 32 units"],
        ["parameters", f"{parameters:,}"],
        ["kind", "beyond the textbook: capped gates, table of n-grams, dropout, dropout of "
         "recurrent weights, resets of the state, averaged weights"],
        ["vocabulary", f"{about['vocabulary']} characters: "
         f"{visible(about['symbols'][:24])}{' ...' * (about['vocabulary'] > 24)}"],
        ["trained", f"250 of 250 steps, {rounded(about['summary']['epoch'])} passes over the text, "
         f"{duration(about['summary']['seconds'])}"],
        ["learned from", f"{about['summary']['train_characters']:,} characters"],
        ["best loss", f"{loss:.4f} nats ({loss / math.log(2):.4f} bits) per character of "
         "validation text"],
        ["text", str(text_file)],
        ["settings", "8 streams, windows of 24 characters; adam with a learning rate of 0.02; "
         f"dropout {about['training']['dropout']:g}; seed 0"],
        ["size", f"best.safetensors {sizes[0]:.1f} kB, last.safetensors {sizes[1]:.1f} kB"],
        ["sample uses", f"best.safetensors, step {best['step']}{weights}"],
        ["to sample", f"charlstm sample -r {trained}"],
        ["kernels", about["kernels"]],
        ["precision", about["precision"]],
    ]  # fmt: skip


def cards(shown):
    """The entries of a card: the text of its first line, then pairs of label and text."""
    return [re.split(r"  +", line.strip(), maxsplit=1) for line in shown.splitlines()]


def test_the_card_names_a_textbook_network_and_the_unit(
    cli, text_file, tmp_path, byte_run, word_run
):
    small = {"hidden": 4, "steps": 1, "workers": 1, "layers": 1}
    run = charlstm.train(text_file, tmp_path / "a run", textbook=True, **small)
    entries = dict(cards(cli("info", run.path).stdout)[1:])
    assert entries["kind"] == "a textbook LSTM"
    assert entries["trained"].startswith("1 of 1 step, ")
    assert entries["to sample"] == f"charlstm sample -r '{run.path}'"
    entries = dict(cards(cli("info", byte_run).stdout)[1:])
    assert entries["vocabulary"] == "all 256 bytes" and "bits) per byte of" in entries["best loss"]
    assert " bits) per word of" in dict(cards(cli("info", word_run).stdout)[1:])["best loss"]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_card_breaks_no_word(trained, columns):
    facts = describe(trained)
    whole = list(card(facts, None))
    lines = list(card(facts, columns))
    assert " ".join(lines).split() == " ".join(whole).split()
    longest = max(len(word) for line in whole for word in line.split())
    assert max(map(len, lines)) <= max(columns, longest + 16)


def test_a_summary_of_odd_values_is_shown_without_them(tmp_path, cli):
    vocab = charlstm.Vocab.from_characters("ab")
    model = charlstm.CharModel(charlstm.ModelConfig(hidden=2), vocab)
    summary = {"step": "many", "epoch": True, "best_val_loss": 1e300, "train_characters": -3}
    save_checkpoint(tmp_path / "m", Checkpoint(model, summary))
    labels = [entry[0] for entry in cards(cli("info", tmp_path / "m").stdout)]
    assert "trained" not in labels and "best loss" not in labels and "sample uses" in labels


def test_info_summarises_a_vocabulary_of_words_or_bytes(cli, word_run, byte_run):
    about = json.loads(cli("info", "-r", word_run, "--json").stdout)
    assert (about["level"], about["symbols"]) == ("word", f"{about['vocabulary']} words")
    assert json.loads(cli("info", "-r", byte_run, "--json").stdout)["symbols"] == "all bytes"


def test_info_takes_one_place(cli, trained):
    assert "give a PATH or -r, not both" in cli("info", trained, "-r", trained, code=2).stderr
