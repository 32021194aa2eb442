"""charlstm info: the description of a run and of a checkpoint file."""

import json

import charlstm


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
    shown = cli("info", trained).stdout
    assert "hidden 32" in shown and "best_val_loss" in shown and "\x1b" not in shown


def test_info_summarises_a_vocabulary_of_words_or_bytes(cli, word_run, byte_run):
    about = json.loads(cli("info", "-r", word_run, "--json").stdout)
    assert (about["level"], about["symbols"]) == ("word", f"{about['vocabulary']} words")
    assert json.loads(cli("info", "-r", byte_run, "--json").stdout)["symbols"] == "all bytes"


def test_info_takes_one_place(cli, trained):
    assert "give a PATH or -r, not both" in cli("info", trained, "-r", trained, code=2).stderr
