"""charlstm train: its options, its messages, its result."""

import inspect
import json
import math
import re
import subprocess
import sys
from dataclasses import fields

import pytest
from command_line import COMMAND
from corpus_files import make_text

import charlstm
from charlstm import CharlstmError, ModelConfig, TrainConfig
from charlstm.cli.main import main
from charlstm.config import CorpusConfig
from charlstm.runs.checkpoint import load_checkpoint


def test_options_of_train_are_the_knobs_and_the_parameters_of_the_library():
    records = (ModelConfig, TrainConfig, CorpusConfig)
    names = {field.name for record in records for field in fields(record)} - {"paths"}
    own = {"corpus", "run", "resume", "overwrite", "init_from", "textbook", "report"}
    own |= {"engine", "device"}
    assert own < set(inspect.signature(charlstm.train).parameters)
    given = {p.name: p for p in main.commands["train"].params}
    assert set(given) - {"quiet", "verbose", "as_json", "new_corpus_paths"} == names | own
    chosen = main.commands["train"].make_context("train", ["text"]).params
    for name in names:
        assert chosen[name] in (None, ()), "the defaults are the library's"
        assert given[name].opts == [f"--{name.replace('_', '-')}"]


def test_progress_is_on_standard_error_and_the_result_on_standard_output(cli, text_file, tmp_path):
    folder = tmp_path / "run"
    options = ("--steps", 40, "--hidden", 8, "--seed", 5, "--average", 0)
    result = cli("train", text_file, "-r", folder, *options)
    assert result.stdout.startswith(f"{folder}: 40 steps, best validation loss ")
    assert result.stdout.count("\n") == 1
    err = result.stderr
    text = text_file.read_text()
    learned = int(len(text) * 0.9)
    assert err.startswith(
        f"Text: {learned:,} characters to learn from, {len(text) - learned:,} to validate on "
        f"({len(set(text))} distinct)\nModel: LSTM, 1 layer of 8 units, "
    )
    assert f"{charlstm.load(folder).parameters.count:,} parameters; saved in {folder}\n" in err
    assert "step 10: training " in err and " bits per character, best so far\n" in err
    assert "averaged" not in err and "seed" not in err
    assert f"To watch: open {folder}/report.html in a browser\n" in err
    assert f"\nto see the run: open {folder}/report.html in a browser\n" in err
    assert f"\nto write text: charlstm sample -r {folder}\n" in err
    assert re.search(r"loss \d\.\d{4} nats \(\d\.\d{4} bits\) per character\n", result.stdout)


def test_progress_names_the_evaluated_weights_and_info_those_of_a_file(cli, text_file, tmp_path):
    small = ("--steps", 4, "--hidden", 4, "--eval-every", 2, "--average", 0.5, "-v")
    lines = cli("train", text_file, "-r", tmp_path / "run", *small).stderr.splitlines()
    evaluations = [line for line in lines if line.startswith("step ")]
    assert len(evaluations) == 2
    assert evaluations[0].endswith(", best so far (averaged weights)")
    shown = cli("info", tmp_path / "run").stdout
    assert re.search(r"kind .*averaged weights", shown)
    last = cli("info", tmp_path / "run" / "last.safetensors").stdout
    assert re.search(r"sample uses +last.safetensors, step 4$", last, re.M)


def test_quiet_and_json(cli, text_file, tmp_path):
    folder = tmp_path / "run"
    small = ("--steps", 3, "--hidden", 4)
    result = cli("train", text_file, "-r", folder, *small, "--quiet", "--json")
    assert result.stderr == ""
    record = json.loads(result.stdout)
    names = {"path", "best_val_loss", "best_val_bits", "best_step", "unit", "steps", "reason"}
    assert set(record) == names | {"warnings"}
    assert record["best_val_bits"] == pytest.approx(record["best_val_loss"] / math.log(2))
    assert record["unit"] == "character"
    assert record["best_step"] == load_checkpoint(folder / "best.safetensors").summary["step"]
    assert (record["path"], record["steps"], record["reason"]) == (str(folder), 3, "finished")


def test_advice_is_shown_saved_and_part_of_the_result(cli, text_file, tmp_path):
    options = ("--steps", 8, "--hidden", 4, "--cell", "gru", "--lr", 0.3)
    shown = cli("train", text_file, "-r", tmp_path / "run", *options).stderr
    result = cli("train", text_file, "-r", tmp_path / "2", *options, "--json", "--quiet").stdout
    event = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    (advice,) = [text for text in event["warnings"] if text.endswith("; try `lr=0.1`")]
    assert advice.startswith("the learning rate is too high: ")
    as_printed = advice.replace("`lr=0.1`", "--lr 0.1")
    assert f"note: {as_printed}\n" in shown
    assert as_printed in json.loads(result)["warnings"]
    again = charlstm.train(run=tmp_path / "run", resume=True)  # it has finished already
    assert advice in again.warnings


@pytest.mark.parametrize(("best", "is_told"), [(20, True), (100, False), (None, False)])
def test_the_end_of_a_run_says_which_step_samples_use(cli, tmp_path, monkeypatch, best, is_told):
    run = charlstm.TrainedRun(tmp_path / "a run", 1.0, 100, "finished", best_step=best)
    run.path.mkdir()
    (run.path / "report.html").touch()
    monkeypatch.setattr(charlstm, "train", lambda *corpus, **options: run)
    end = (
        f"  (by the model of step 20; by that of the last step: charlstm sample -r '{tmp_path}"
        "/a run/last.safetensors')\n"
    )
    shown = cli("train", "text.txt").stderr
    page = f"to see the run: open '{tmp_path}/a run/report.html' in a browser\n"
    begin = f"to write text: charlstm sample -r '{tmp_path}/a run'\n"
    assert shown == page + begin + end * is_told


def test_a_text_from_standard_input_is_kept_for_resumption(cli, tmp_path):
    folder, text = tmp_path / "run", make_text(60)
    cli("train", "-", "-r", folder, "--steps", 4, "--hidden", 4, "--quiet", input=text)
    assert (folder / "stdin-1.txt").read_text() == text
    result = cli("train", "-r", folder, "--resume", "--steps", 6, "--quiet", input="other text")
    assert "6 steps" in result.stdout
    result = cli(
        "train", "-", "-r", folder, "--overwrite", "--steps", 1, "--quiet", input=text[:900]
    )
    kept = list(folder.glob("stdin-*.txt"))
    assert [path.read_text() for path in kept] == [text[:900]]


def test_an_error_in_standard_input_does_not_name_the_copy_of_it(cli, tmp_path):
    for text, message in (
        ("\n", "too small to learn from"),
        (b"ab\xff", "invalid UTF-8 at byte 2"),
    ):
        error = cli("train", "-", "-r", tmp_path / "run", "--quiet", input=text, code=1).stderr
        assert error.startswith(f"charlstm: standard input: {message}")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resume", [False, True])
def test_the_newest_run_is_the_default(cli, text_file, tmp_path, monkeypatch, resume):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        cli("train", text_file, "-r", f"runs/{name}", "--steps", 2, "--hidden", 3, "--quiet")
    if resume:
        assert "runs/two: 3 steps" in cli("train", "--resume", "--steps", 3, "--quiet").stdout
    assert json.loads(cli("info", "--json").stdout)["path"] == "runs/two"


def test_a_note_says_that_the_end_of_each_of_several_files_is_held_out(cli, text_file, tmp_path):
    (tmp_path / "more.txt").write_text("the cat sees a dog.\n" * 50)
    options = ("--steps", 2, "--hidden", 4)
    both = (text_file, tmp_path / "more.txt")
    err = cli("train", *both, "-r", tmp_path / "both", *options).stderr
    note = "note: the validation text is the last 10% of each of the 2 files: --val-split end takes"
    assert note in err
    own = ("--val-file", text_file)
    assert "each of" not in cli("train", *both, *own, "-r", tmp_path / "own", *options).stderr
    assert "each of" not in cli("train", text_file, "-r", tmp_path / "one", *options).stderr


def test_training_goes_on_when_standard_error_is_closed(text_file, tmp_path):
    arguments = ["train", str(text_file), "-r", str(tmp_path / "run"), "--hidden", "8"]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--steps", "200", "--eval-every", "20"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr.readline().startswith("Text: ")
        process.stderr.close()
        assert ": 200 steps, best validation loss " in process.stdout.read()
        assert process.wait(60) == 0
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["reason"], last["step"]) == ("stop", "finished", 200)


def test_a_text_of_very_many_characters_is_trained_on_if_the_model_fits(cache, tmp_path):
    path = tmp_path / "all.txt"
    path.write_text("".join(chr(k) for k in range(0x20000) if not 0xD800 <= k < 0xE000), "utf-8")
    small = {
        "newlines": "keep",
        "spell_below": 0,
        "batch_size": 1,
        "seq_length": 1,
        "steps": 1,
        "eval_every": 1,
        "val_frac": 0,
        "workers": 1,
    }
    run = charlstm.train(path, tmp_path / "run", hidden=1, **small)
    assert len(charlstm.load(run.path).vocab) == 129_024
    with pytest.raises(CharlstmError, match="on 129,024 distinct symbols takes at least"):
        charlstm.train(path, tmp_path / "no", hidden=16_384, **small)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("level", ["char", "byte"])
def test_a_run_in_place_of_a_text_is_refused(cli, trained, tmp_path, level):
    result = cli("train", trained, "--level", level, "-r", tmp_path / "run", code=1)
    assert result.stderr == (
        f"charlstm: {trained} is a run, not a text: --resume with -r {trained} goes on with the "
        f"run, --init-from {trained} starts from its weights\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("killed_while", ["reading", "encoding"])
def test_a_copy_of_standard_input_of_a_killed_process_is_removed_by_the_next_run(
    cli, text_file, tmp_path, killed_while
):
    folder = tmp_path / "run"
    folder.mkdir()
    if killed_while == "reading":
        function = "charlstm.text.standard_input.shutil.copyfileobj"
    else:
        function = "charlstm.runs.start.split_train_validation"
    program = (
        "import os, signal; from unittest import mock; import charlstm.cli.main as m\n"
        "kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"mock.patch({function!r}, kill).start()\n"
        f"m.main(['train', '-', '-r', {str(folder)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=make_text(60).encode())
    assert done.returncode == -9
    left = {path.name.split(".")[0] for path in folder.iterdir()}
    assert left == {"lock", "stdin-1"}
    assert (folder / "stdin-1.txt").exists() == (killed_while == "encoding")
    cli("train", text_file, "-r", folder, "--steps", 1, "--hidden", 3, "--quiet")
    names = {path.name for path in folder.iterdir()}
    assert names == {"best.safetensors", "last.safetensors", "metrics.jsonl", "report.html"}
