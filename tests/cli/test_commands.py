"""The command line: what it prints where, its exit codes, and its options."""

import inspect
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from itertools import pairwise

import click
import numpy as np
import pytest
from corpus_files import make_text

import charlstm
from charlstm import ModelConfig, TrainConfig
from charlstm.cli.main import main
from charlstm.config import CorpusConfig
from charlstm.network import scoring
from charlstm.network.scoring import utf8_size

COMMAND = [sys.executable, "-m", "charlstm"]


def run(*arguments, **options):
    """In a process of its own: (exit code, standard output, standard error)."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, timeout=60, **options
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def commands(group, name="charlstm"):
    for key, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {key}")
        else:
            yield f"{name} {key}", command


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "command"), list(commands(main)))
def test_every_command_and_option_is_documented(name, command):
    assert command.help and command.help.strip().split("\n")[0][-1] in ".;]", name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help and len(parameter.help) > 10, (name, parameter.name)
            assert parameter.help[0].isupper() or parameter.help.split()[0] == "constant;"
            assert parameter.help.rstrip()[-1] in ".]", (name, parameter.name)


def test_options_of_train_are_the_fields_of_the_configs_and_its_parameters():
    records = (ModelConfig, TrainConfig, CorpusConfig)
    names = {field.name for record in records for field in fields(record)} - {"paths"}
    own = {"corpus", "run", "resume", "overwrite", "init_from"}
    assert own < set(inspect.signature(charlstm.train).parameters)
    given = {p.name: p for p in main.commands["train"].params}
    assert set(given) - {"quiet", "as_json"} == names | own
    chosen = main.commands["train"].make_context("train", ["text"]).params
    for name in names:
        assert chosen[name] in (None, ()), "the defaults are the library's"
        assert given[name].opts == [f"--{name.replace('_', '-')}"]


def test_help_and_version():
    for arguments in (["--help"], ["-h"], ["train", "-h"], ["sample", "--help"]):
        code, out, err = run(*arguments)
        assert code == 0 and out.startswith("Usage: ") and err == ""
    assert run("--version") == (0, f"charlstm, version {charlstm.__version__}\n", "")


# -- train ---------------------------------------------------------------------------------------


def test_train_says_what_it_does_on_standard_error_and_the_result_on_standard_output(
    cli, text_file, tmp_path
):
    folder = tmp_path / "run"
    options = ("--steps", 40, "--hidden", 8, "--seed", 5, "--average", 0)
    result = cli("train", text_file, "-r", folder, *options)
    assert result.stdout.startswith(f"{folder}: 40 steps, best validation loss ")
    assert result.stdout.count("\n") == 1
    err = result.stderr
    text = text_file.read_text()
    assert f"{len(text):,} characters, {len(set(text))} distinct" in err
    parameters = charlstm.load(folder).parameters.count
    ratio = parameters / int(len(text) * 0.9)
    assert f"{parameters:,} parameters, {ratio:.2f} for each character" in err
    assert "seed 5" in err and "step 4: training" in err and "the best so far" in err
    assert "nats (" in err and "bits) a character" in err
    assert f"charlstm sample -r {folder}" in err
    assert "averaged" not in err


def test_train_says_which_weights_were_evaluated_and_info_which_a_file_holds(
    cli, text_file, tmp_path
):
    small = ("--steps", 4, "--hidden", 4, "--eval-every", 2, "--average", 0.5)
    lines = cli("train", text_file, "-r", tmp_path / "run", *small).stderr.splitlines()
    evaluations = [line for line in lines if line.startswith("step ")]
    assert len(evaluations) == 2
    assert evaluations[0].endswith(", the best so far (averaged weights)")
    assert "average 0.5" in cli("info", tmp_path / "run").stdout
    assert "weights last" in cli("info", tmp_path / "run" / "last.safetensors").stdout


def test_quiet_and_json(cli, text_file, tmp_path):
    folder = tmp_path / "run"
    small = ("--steps", 3, "--hidden", 4)
    result = cli("train", text_file, "-r", folder, *small, "--quiet", "--json")
    assert result.stderr == ""
    record = json.loads(result.stdout)
    assert set(record) == {"path", "best_val_loss", "steps", "reason", "warnings"}
    assert (record["path"], record["steps"], record["reason"]) == (str(folder), 3, "finished")


def test_train_from_standard_input_is_kept_and_resumed(cli, tmp_path):
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


@pytest.mark.parametrize("resume", [False, True])
def test_without_a_run_the_newest_is_taken(cli, text_file, tmp_path, monkeypatch, resume):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        cli("train", text_file, "-r", f"runs/{name}", "--steps", 2, "--hidden", 3, "--quiet")
    if resume:
        assert "runs/two: 3 steps" in cli("train", "--resume", "--steps", 3, "--quiet").stdout
    assert json.loads(cli("info", "--json").stdout)["path"] == "runs/two"


REFUSED = [
    (["train", "none.txt"], "/none.txt: No such file or directory"),
    (["train", "empty.txt"], "empty.txt: too small to learn from: 0 characters"),
    (["train", "same.txt"], "same.txt: too small to learn from: 'a' is its only character"),
    (["train", "two.txt"], "too small to learn from"),
    (["train", "latin.txt"], "latin.txt: invalid UTF-8 at byte 3 (0xe9"),
    (["train", "good.txt", "none"], "/none: No such file"),
    (["train"], "no corpus: name a text file"),
    (["train", "-", "-"], "standard input (-) can be given only once"),
    (["train", "good.txt", "--steps", "5", "--minutes", "1"], "steps and minutes contradict"),
    (["train", "good.txt", "--steps", "0"], "steps must be above 0"),
    (["train", "good.txt", "--batch-size", "0"], "batch_size must be 1 or more"),
    (["train", "good.txt", "--hidden", "-4"], "hidden must be 1 to"),
    (["train", "good.txt", "--lr", "nan"], "lr must be a finite number"),
    (["train", "good.txt", "--dropout", "1"], "dropout must be 0 or more and below 1"),
    (["train", "good.txt", "--val-frac", "1"], "val_frac must be 0 or more and below 1"),
    (["train", "good.txt", "--encoding", "klingon"], "'klingon' is not a text encoding"),
    (["train", "good.txt", "--val-file", "none.txt"], "/none.txt: No such file"),
    (["train", "good.txt", "--init-from", "none"], "none: no such file"),
    (["train", "good.txt", "--init-from", "good.txt"], "good.txt: not a checkpoint of charlstm"),
    (["train", "--resume"], "no run under runs/"),
    (["train", "--resume", "-r", "none"], "none: nothing to resume"),
    (["train", "good.txt", "-r", "good.txt/run", "--steps", "1"], "good.txt/run: cannot be made"),
    (["sample"], "no run under runs/: name one with -r, or begin with charlstm train"),
    (["sample", "-r", "none"], "none: no such file"),
    (["sample", "-r", "."], "no run in this folder"),
    (["sample", "-r", "good.txt"], "not a checkpoint of charlstm"),
    (["eval", "good.txt"], "no run under runs/"),
    (["score", "good.txt"], "no run under runs/"),
    (["info", "none"], "none: no such file"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_is_refused_is_one_line_and_nothing_is_written(
    cli, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    texts = {"empty.txt": b"", "same.txt": b"a" * 50, "two.txt": b"ab", "latin.txt": b"caf\xe9 x"}
    for name, text in {**texts, "good.txt": make_text(30).encode()}.items():
        (tmp_path / name).write_bytes(text)
    before = sorted(tmp_path.rglob("*"))
    result = cli(*arguments, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("charlstm: ") and result.stderr.count("\n") == 1
    assert message in result.stderr, result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "x", "--steps", "many"], "'many' is not a valid integer"),
        (["train", "x", "--optimizer", "adamax"], "'adamax' is not one of"),
        (["train", "x", "--rnn-size", "5"], "No such option"),
        (["sample", "--prime", "a", "--prime-file", "b"], "give --prime or --prime-file"),
        (["sample", "--unknown", "ignore"], "'ignore' is not one of"),
        (["eval"], "Missing argument"),
        (["smaple"], "No such command 'smaple'"),
    ],
)
def test_wrong_usage_exits_with_2(cli, arguments, message):
    result = cli(*arguments, code=2)
    assert message in result.stderr and "Usage: " in result.stderr


def test_no_traceback_where_a_process_ends(tmp_path):
    code, out, err = run("train", "none.txt", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err == f"charlstm: cannot read {tmp_path}/none.txt: No such file or directory\n"


def test_what_is_refused_cannot_move_the_terminal(cli):
    result = cli("train", "no\x1b[2Jne\n.txt", code=1)
    assert "\x1b" not in result.stderr and result.stderr.count("\n") == 1


def test_standard_input_that_is_closed_is_told(trained, tmp_path):
    for arguments in (["train", "-"], ["score", "-r", trained], ["eval", "-", "-r", trained]):
        command = " ".join([*COMMAND, *map(str, arguments), "<&-"])
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "charlstm: there is no standard input to read (-)\n"


# -- sample --------------------------------------------------------------------------------------


def test_sample_prints_only_text_on_standard_output(cli, trained):
    result = cli("sample", "-r", trained, "--length", 50, "--prime", "the cat", "--seed", 4)
    assert result.stderr == ""
    expected = charlstm.load(trained).sample(50, prime="the cat", seed=4)
    assert result.stdout == f"the cat{expected}\n"
    hidden = cli(
        "sample", "-r", trained, "--length", 50, "--prime", "the cat", "--seed", 4, "--hide-prime"
    )
    assert hidden.stdout == f"{expected}\n"


def test_seed_is_printed_and_gives_the_same_text_again(cli, trained):
    first = cli("sample", "-r", trained, "--length", 60)
    seed = first.stderr.removeprefix("seed ").strip()
    again = cli("sample", "-r", trained, "--length", 60, "--seed", seed)
    assert again.stdout == first.stdout
    assert cli("sample", "-r", trained, "--length", 60).stdout != first.stdout


def test_several_samples_of_one_batch_come_one_after_another(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 30, "--prime", "the ", "--seed", 1)
    samples = cli(*arguments, "--count", 3).stdout.removesuffix("\n").split("\n\nthe ")
    assert len(samples) == 3
    assert [len(text) for text in samples] == [34, 30, 30]
    assert len(set(samples)) == 3


def test_a_stop_may_be_a_line_end_as_shells_can_type_it(cli, trained):
    arguments = ("sample", "-r", trained, "--seed", 1, "--length", 500)
    whole = cli(*arguments).stdout
    assert cli(*arguments, "--stop", r"\n").stdout == whole[: whole.index("\n") + 1]
    assert cli(*arguments, "--stop", r"\\n").stdout == whole  # a backslash, of which there is none


def test_samples_as_json_are_those_that_are_printed(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 40, "--prime", "the ", "--seed", 7)
    printed = cli(*arguments).stdout
    result = cli(*arguments, "--count", 3, "--json", "--novelty")
    about = json.loads(result.stdout)
    assert set(about) == {"seed", "texts", "novelty"} and result.stderr == ""
    assert about["seed"] == 7 and [len(text) for text in about["texts"]] == [44] * 3
    assert about["novelty"]["longest"] > 0
    assert [json.loads(cli(*arguments, "--json").stdout)["texts"]] == [[printed[:-1]]]
    refused = cli("sample", "-r", trained, "--json", "--length", 0, code=2)
    assert (
        "--json prints only when the sample is finished: give a --length above 0" in refused.stderr
    )


def test_a_sample_of_a_model_of_lines_is_a_line(cli, tmp_path):
    names = ["anna", "bert", "carla", "dora", "emil"]
    (tmp_path / "names.txt").write_text("\n".join(names * 200))
    options = ("--lines", "--steps", 300, "--hidden", 16, "--quiet")
    cli("train", tmp_path / "names.txt", "-r", tmp_path / "run", *options)
    arguments = ("sample", "-r", tmp_path / "run", "--seed", 3, "--temperature", 0.3)
    for given, count in (((), 20), (("--count", 7), 7), (("--count", 1), 1)):
        lines = cli(*arguments, *given).stdout.splitlines()
        assert len(lines) == count and set(lines) <= set(names)
        assert json.loads(cli(*arguments, *given, "--json").stdout)["texts"] == lines
    primed = cli(*arguments, "--prime", "em", "--count", 4).stdout
    assert primed == "emil\n" * 4
    assert "count must be 1 or more" in cli(*arguments, "--count", 0, code=1).stderr


def test_what_is_left_out_is_told(cli, trained, tmp_path):
    (tmp_path / "t.txt").write_text("the cät sees ä dög")
    for arguments in (
        ("eval", tmp_path / "t.txt"),
        ("score", tmp_path / "t.txt"),
        ("sample", "--seed", 1, "--length", 5, "--prime", "the cät, ä dög"),
    ):
        told = cli(*arguments, "-r", trained, "--unknown", "skip").stderr.splitlines()
        for letter in "äö":
            assert told.count(f"{letter!r} is unknown to the model: left out") == 1


def test_what_is_shown_at_the_end_needs_an_end(cli, trained):
    result = cli("sample", "-r", trained, "--length", 0, "--count", 2, code=2)
    assert (
        "--count prints only when the sample is finished: give a --length above 0" in result.stderr
    )


def test_info_takes_one_place(cli, trained):
    assert "give a PATH or -r, not both" in cli("info", trained, "-r", trained, code=2).stderr


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CHARLSTM_ISA", "abacus", "CHARLSTM_ISA=abacus: this machine has "),
        ("CHARLSTM_KERNELS", "bogus", "CHARLSTM_KERNELS must be numpy or native, not 'bogus'"),
    ],
)
def test_kernels_that_cannot_be_had_are_refused_in_a_line(trained, name, value, told):
    if name == "CHARLSTM_ISA" and charlstm.kernels.BACKEND == "numpy":
        value, told = "", ""  # which only the native kernels read
    environment = {**os.environ, name: value}
    for arguments in (["sample", "-r", trained, "--length", "3"], ["info"]):
        done = subprocess.run(
            [sys.executable, "-m", "charlstm", *arguments],
            capture_output=True, text=True, env=environment, cwd=trained.parent,
        )  # fmt: skip
        if told:
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith(f"charlstm: {told}") and done.stderr.count("\n") == 1
    code = "import charlstm; charlstm.CharModel(charlstm.ModelConfig(), charlstm.Vocab.bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (b"CharlstmError" in done.stderr) == bool(told)


def test_prime_file_and_stop(cli, trained, tmp_path):
    (tmp_path / "prime.txt").write_text("the cat sees")
    result = cli(
        "sample", "-r", trained, "--prime-file", tmp_path / "prime.txt", "--stop", ".\n",
        "--seed", 1, "--length", 500,
    )  # fmt: skip
    assert result.stdout.startswith("the cat sees ")
    assert ".\n" not in result.stdout.removesuffix("\n") and len(result.stdout) < 300


def test_temperature_zero_is_greedy_and_below_zero_is_refused(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 40, "--temperature")
    assert cli(*arguments, 0, "--seed", 1).stdout == cli(*arguments, 0, "--seed", 2).stdout
    result = cli(*arguments, -1, code=1)
    assert result.stderr == "charlstm: temperature must be 0 or more, not -1.0\n"


def test_prompt_with_unknown_character_is_named_skipped_or_replaced(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 20, "--seed", 1, "--prime", "thé日")
    result = cli(*arguments, code=1)
    assert result.stdout == ""  # not even the prime
    assert "no 'é' (U+00E9), found at position 2" in result.stderr
    assert "--unknown skip" in result.stderr and "--unknown replace" in result.stderr
    text = charlstm.load(trained).sample(20, prime="th", seed=1)
    assert cli(*arguments, "--unknown", "skip", "--hide-prime").stdout == text + "\n"
    result = cli(*arguments, "--unknown", "replace", "--hide-prime")
    assert "'é' is unknown to the model: read as 'e'" in result.stderr
    assert "'日' is unknown to the model: read as ' '" in result.stderr
    assert result.stdout == charlstm.load(trained).sample(20, prime="the ", seed=1) + "\n"


def test_unicode_of_level_byte_is_never_broken_on_the_screen(byte_run):
    code, _, err = run("sample", "-r", byte_run, "--length", 301, "--seed", 3)
    assert code == 0 and err == ""  # and run() has decoded it as UTF-8


def test_a_terminal_that_cannot_show_a_character_gets_its_escape(trained):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    code, out, _ = run(
        "sample", "-r", trained, "--length", 5, "--seed", 1, "--prime", "thé", "--unknown", "skip",
        env=environment,
    )  # fmt: skip
    assert code == 0 and out.startswith("th\\xe9")


def test_endless_sample_streams_and_ends_quietly_when_its_reader_does(trained):
    command = f"{' '.join(COMMAND)} sample -r '{trained}' --length 0 --seed 1 | head -c 3000"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0 and len(done.stdout) == 3000 and done.stderr == ""


def test_sample_streams_before_its_end(trained):
    process = subprocess.Popen(
        [*COMMAND, "sample", "-r", str(trained), "--length", "0", "--seed", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert len(process.stdout.read(100)) == 100  # of an endless text
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and b"Traceback" not in err


def test_training_goes_on_when_nobody_reads_standard_error_any_more(text_file, tmp_path):
    arguments = ["train", str(text_file), "-r", str(tmp_path / "run"), "--hidden", "8"]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--steps", "400", "--eval-every", "40"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert "kernels" in process.stderr.readline()
        process.stderr.close()
        assert ": 400 steps, best validation loss " in process.stdout.read()
        assert process.wait(60) == 0
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["reason"], last["step"]) == ("stop", "finished", 400)


def test_sample_works_while_the_run_is_training(cli, text_file, tmp_path):
    folder = tmp_path / "run"
    options = ["--steps", "100000", "--quiet", "--hidden", "16", "--eval-every", "10"]
    process = subprocess.Popen(
        [*COMMAND, "train", str(text_file), "-r", str(folder), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (folder / "last.safetensors").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        steps = []
        # 40 samples may fit between two saves, so go on until the run is seen to have gone on
        while len(steps) < 40 or steps[-1] == steps[0]:
            assert time.monotonic() < deadline, steps
            text = cli("sample", "-r", folder, "--length", 20, "--seed", 1).stdout
            assert len(text) == 21
            steps.append(json.loads(cli("info", folder, "--json").stdout)["summary"]["step"])
        assert process.poll() is None
        assert steps == sorted(steps)
    finally:
        process.terminate()
        process.wait(20)
    assert process.returncode == 143


# -- eval and score ------------------------------------------------------------------------------

KEYS = {
    "characters",
    "bytes",
    "nats_per_character",
    "bits_per_character",
    "bits_per_byte",
    "perplexity",
    "window",
    "dynamic",
}


def nats_of(model, text):
    ids = model.vocab.encode(text)
    state, nats = model.initial_state(1), []
    for before, id_ in pairwise(ids):
        log_probs, state = model.step(np.array([before]), state)
        nats.append(-float(log_probs[0, id_]))
    return nats


def test_eval_prints_exactly_these_figures(cli, trained, tmp_path):
    text = make_text(8, seed=5)
    (tmp_path / "t.txt").write_text(text)
    figures = json.loads(cli("eval", tmp_path / "t.txt", "-r", trained, "--json").stdout)
    assert set(figures) == KEYS
    nats = nats_of(charlstm.load(trained), text)
    assert figures["characters"] == figures["bytes"] == len(text) - 1 == len(nats)
    assert figures["nats_per_character"] == pytest.approx(np.mean(nats), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(np.mean(nats) / math.log(2), rel=1e-5)
    assert figures["bits_per_byte"] == pytest.approx(figures["bits_per_character"])
    assert figures["perplexity"] == pytest.approx(math.exp(np.mean(nats)), rel=1e-5)
    assert figures["window"] is None and figures["dynamic"] is None
    shown = cli("eval", tmp_path / "t.txt", "-r", trained).stdout
    assert f"{figures['bits_per_character']:.4f}" in shown and "none, state carried" in shown


def test_eval_joins_texts_and_reads_standard_input(cli, trained, tmp_path):
    text = make_text(8, seed=5)
    (tmp_path / "a").write_text(text[:100])
    (tmp_path / "b").write_text(text[100:])
    (tmp_path / "whole").write_text(text)
    whole = cli("eval", tmp_path / "whole", "-r", trained, "--json").stdout
    assert cli("eval", tmp_path / "a", tmp_path / "b", "-r", trained, "--json").stdout == whole
    assert cli("eval", "-", "-r", trained, "--json", input=text).stdout == whole
    both = cli("eval", "-", tmp_path / "b", "-r", trained, "--json", input=text[:100]).stdout
    assert both == whole


def test_eval_on_cold_windows(cli, trained, tmp_path):
    text = make_text(8, seed=5)
    (tmp_path / "t.txt").write_text(text)
    model = charlstm.load(trained)
    figures = json.loads(
        cli("eval", tmp_path / "t.txt", "-r", trained, "--json", "--window", 64).stdout
    )
    expected = sum(sum(nats_of(model, text[k : k + 65])) for k in range(0, len(text) - 1, 64))
    assert figures["window"] == 64 and figures["characters"] == len(text) - 1
    assert figures["nats_per_character"] == pytest.approx(expected / (len(text) - 1), rel=1e-5)


def test_bits_per_byte_and_per_character_are_both_printed(cli, tmp_path, byte_run):
    text = "grüße aus köln, 日本語も。\n" * 30
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    cli("train", tmp_path / "t.txt", "-r", tmp_path / "run", "--steps", 5, "--hidden", 8, "--quiet")
    figures = json.loads(cli("eval", tmp_path / "t.txt", "-r", tmp_path / "run", "--json").stdout)
    assert figures["characters"] == len(text) - 1
    assert figures["bytes"] == len(text.encode()) - 1
    total = figures["bits_per_character"] * figures["characters"]
    assert figures["bits_per_byte"] == pytest.approx(total / figures["bytes"])
    figures = json.loads(cli("eval", tmp_path / "t.txt", "-r", byte_run, "--json").stdout)
    assert figures["characters"] == figures["bytes"] == len(text.encode()) - 1


def test_words_have_no_bytes(cli, tmp_path):
    (tmp_path / "t.txt").write_text("the cat sees a dog .\n" * 40)
    cli("train", tmp_path / "t.txt", "-r", tmp_path / "run", "--level", "word", "--steps", 2)
    arguments = ("eval", tmp_path / "t.txt", "-r", tmp_path / "run")
    figures = json.loads(cli(*arguments, "--json").stdout)
    assert figures["bytes"] is figures["bits_per_byte"] is None
    assert figures["bits_per_character"] > 0 and figures["unit"] == "word"
    shown = cli(*arguments).stdout
    assert "bits per byte        not known of words" in shown
    assert f"bits per word        {figures['bits_per_character']:,.4f}" in shown
    assert f"words                {figures['characters']}" in shown and "character" not in shown
    scored = json.loads(cli("score", "-", "-r", tmp_path / "run", input="the cat\n").stdout)
    assert (scored["unit"], scored["characters"]) == ("word", 2)


def test_several_files_are_joined_for_validation_which_is_told(cli, text_file, tmp_path):
    (tmp_path / "more.txt").write_text("the cat sees a dog.\n" * 50)
    options = ("--steps", 2, "--hidden", 4)
    both = (text_file, tmp_path / "more.txt")
    told = cli("train", *both, "-r", tmp_path / "both", *options).stderr
    assert "note: validated on the last 10% of all 2 files joined: --val-file takes another" in told
    own = ("--val-file", text_file)
    assert "files joined" not in cli("train", *both, *own, "-r", tmp_path / "own", *options).stderr
    assert "files joined" not in cli("train", text_file, "-r", tmp_path / "one", *options).stderr


def test_the_bytes_of_a_text_are_counted_in_blocks(monkeypatch):
    text = "grüße, \ud800日本語\U0001f600" * 5
    vocab = charlstm.Vocab.from_text(text)
    monkeypatch.setattr(scoring, "BLOCK_CHARACTERS", 7)
    assert utf8_size(vocab, vocab.encode(text)) == len(text.encode("utf-8", "surrogatepass"))


def test_eval_of_lines_counts_the_symbols_of_all_but_empty_ones(cli, tmp_path):
    text = "grüße\nköln\n" * 200
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    cli("train", tmp_path / "t.txt", "-r", tmp_path / "run", "--lines", "--steps", 3, "--quiet")
    for measured, characters, size in (
        ("grüße\n\n\nköln", 10, 13),
        ("g", 1, 1),
        ("\ngr\n", 3, 3),
    ):
        given = {"input": measured}
        figures = json.loads(cli("eval", "-", "-r", tmp_path / "run", "--json", **given).stdout)
        assert (figures["characters"], figures["bytes"]) == (characters, size)
        total = figures["bits_per_character"] * characters
        assert figures["bits_per_byte"] == pytest.approx(total / size)
    result = cli("eval", "-", "-r", tmp_path / "run", input="\n\n", code=1)
    assert "empty lines has nothing to predict" in result.stderr
    result = cli("eval", "-", "-r", tmp_path / "run", input="", code=1)
    assert result.stderr.startswith("charlstm: ") and "nothing to predict" in result.stderr


def test_eval_refuses_what_it_cannot_measure(cli, trained, byte_run, tmp_path):
    (tmp_path / "t.txt").write_text("the cät")
    (tmp_path / "empty.txt").write_text("")
    arguments = ("eval", tmp_path / "t.txt", "-r", trained)
    assert "no 'ä' (U+00E4)" in cli(*arguments, code=1).stderr
    assert json.loads(cli(*arguments, "--json", "--unknown", "skip").stdout)["characters"] == 5
    result = cli(*arguments, "--json", "--unknown", "replace")
    assert json.loads(result.stdout)["characters"] == 6 and "read as 'a'" in result.stderr
    assert "fewer than 2" in cli("eval", tmp_path / "empty.txt", "-r", trained, code=1).stderr
    assert "window must be 1" in cli(*arguments, "--unknown", "skip", "--window", 0, code=1).stderr
    latin = cli("eval", tmp_path / "t.txt", "-r", byte_run, "--encoding", "latin-1", code=1)
    assert "bytes as they are" in latin.stderr


def test_a_model_of_bytes_scores_bytes_that_are_no_utf_8(cli, byte_run, tmp_path):
    data = [b"caf\xe9", b"\xff\xfe", "grüße".encode()]
    (tmp_path / "t.txt").write_bytes(b"\n".join(data))
    output = cli("score", tmp_path / "t.txt", "-r", byte_run).stdout
    records = [json.loads(line) for line in output.splitlines()]
    assert [record["text"] for record in records] == ["caf\udce9", "\udcff\udcfe", "grüße"]
    assert [record["characters"] for record in records] == [len(line) for line in data]
    model = charlstm.load(byte_run)
    for record, line in zip(records, data, strict=True):
        ids = np.frombuffer(b"\n" + line, np.uint8).astype(np.intp)[:, None]
        nats, _ = model.losses(ids[:-1], ids[1:], model.initial_state(1))
        assert record["nats"] == pytest.approx(float(nats.sum()), rel=1e-5)
    error = cli("score", tmp_path / "t.txt", "-r", byte_run, "--encoding", "latin-1", code=1).stderr
    assert "bytes as they are" in error


def test_score_prints_an_object_a_line(cli, trained, tmp_path):
    lines = ["the cat sees a dog.", "", "a dog", "my lord follows the cat."]
    (tmp_path / "t.txt").write_bytes("\r\n".join(lines).encode())
    output = cli("score", tmp_path / "t.txt", "-r", trained).stdout
    records = [json.loads(line) for line in output.splitlines()]
    assert [record["text"] for record in records] == lines
    model = charlstm.load(trained)
    for record in records:
        keys = {"text", "characters", "nats", "bits_per_character", "perplexity"}
        assert set(record) == keys
        score = model.score(record["text"])
        assert record["characters"] == len(record["text"])
        assert record["nats"] == pytest.approx(score.loss.nats, rel=1e-5)
        assert record["bits_per_character"] == pytest.approx(score.bits_per_character, rel=1e-5)
    assert records[1]["nats"] == 0 and records[1]["perplexity"] == 1


def test_score_of_each_character_from_standard_input(cli, trained):
    output = cli("score", "-r", trained, "--per-char", input="the cat\n\na\n").stdout
    records = [json.loads(line) for line in output.splitlines()]
    assert [len(record["bits"]) for record in records] == [7, 0, 1]
    expected = np.array(nats_of(charlstm.load(trained), "\nthe cat")) / math.log(2)
    assert np.allclose(records[0]["bits"], expected, atol=1e-4)


def test_score_tells_each_replacement_once(cli, trained):
    text = "thé cat\nthé dög\n"
    assert "no 'é'" in cli("score", "-r", trained, input=text, code=1).stderr
    result = cli("score", "-r", trained, "--unknown", "replace", input=text)
    assert result.stderr.count("'é' is unknown to the model: read as 'e'") == 1
    assert result.stderr.count("'ö' is unknown") == 1


# -- info and cache ------------------------------------------------------------------------------


def test_info_tells_what_a_run_and_a_file_hold(cli, trained):
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


def test_info_tells_words_and_bytes_by_their_kind(cli, byte_run, tmp_path):
    (tmp_path / "t.txt").write_text("to be or not to be, " * 200)
    run = tmp_path / "run"
    cli("train", tmp_path / "t.txt", "-r", run, "--level", "word", "--steps", 2, "--quiet")
    about = json.loads(cli("info", "-r", run, "--json").stdout)
    assert (about["level"], about["symbols"]) == ("word", f"{about['vocabulary']} words")
    assert json.loads(cli("info", "-r", byte_run, "--json").stdout)["symbols"] == "all bytes"


def test_cache_is_told_and_cleared(cli, text_file, tmp_path, monkeypatch):
    monkeypatch.setenv("CHARLSTM_CACHE", str(tmp_path / "cache"))
    cli("train", text_file, "-r", tmp_path / "run", "--steps", 1, "--hidden", 2, "--quiet")
    assert cli("cache").stdout.startswith(f"{tmp_path / 'cache'}: 1 texts, ")
    assert "bytes freed" in cli("cache", "--clear").stdout
    assert cli("cache").stdout.startswith(f"{tmp_path / 'cache'}: 0 texts, 0 of ")
