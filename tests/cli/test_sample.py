"""charlstm sample: what it prints, as text and as JSON, and when."""

import json
import os
import signal
import subprocess
import time
from itertools import islice

import numpy as np
import pytest
from command_line import COMMAND, run_command

import charlstm
from charlstm.network.sampling import Sampling, generate
from charlstm.seeds import generator


def test_standard_output_has_the_text_only(cli, trained):
    result = cli("sample", "-r", trained, "--length", 50, "--prime", "the cat", "--seed", 4)
    assert result.stderr == ""
    expected = charlstm.load(trained).sample(50, prime="the cat", seed=4)
    assert result.stdout == f"the cat{expected}\n"
    hidden = cli(
        "sample", "-r", trained, "--length", 50, "--prime", "the cat", "--seed", 4, "--hide-prime"
    )
    assert hidden.stdout == f"{expected}\n"


def test_the_printed_seed_gives_the_same_text_again(cli, trained):
    first = cli("sample", "-r", trained, "--length", 60)
    seed = first.stderr.removeprefix("seed ").strip()
    again = cli("sample", "-r", trained, "--length", 60, "--seed", seed)
    assert again.stdout == first.stdout
    assert cli("sample", "-r", trained, "--length", 60).stdout != first.stdout


def test_bits_of_spelled_characters_are_printed_as_replaced(cli, trained, tmp_path):
    known = charlstm.load(trained).vocab.characters
    vocab = charlstm.Vocab.from_characters(known, spelled="日本")
    model = charlstm.CharModel(charlstm.ModelConfig(hidden=4), vocab, seed=1)
    (tmp_path / "run").mkdir()
    charlstm.save(model, tmp_path / "run" / "best.safetensors")
    arguments = ("sample", "-r", tmp_path / "run", "--length", 300, "--seed", 2)
    text = cli(*arguments).stdout.removesuffix("\n")
    assert text == model.sample(300, seed=2)
    assert "\ufffd" in text and not any("\ud800" <= c <= "\udfff" for c in text)
    assert json.loads(cli(*arguments, "--json").stdout)["texts"] == [text]


def test_several_samples_are_printed_one_after_another(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 30, "--prime", "the ", "--seed", 1)
    samples = cli(*arguments, "--count", 3).stdout.removesuffix("\n").split("\n---\n")
    assert [len(text) for text in samples] == [34] * 3 and len(set(samples)) == 3
    assert samples == json.loads(cli(*arguments, "--count", 3, "--json").stdout)["texts"]
    for given, line in ((r"*\t*", "*\t*"), ("", "")):
        printed = cli(*arguments, "--count", 3, "--separator", given).stdout
        assert printed == f"\n{line}\n".join(samples) + "\n"


def test_the_line_between_samples_is_not_a_line_of_a_sample(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 30, "--seed", 1, "--unknown", "skip")
    for prime, line in (("---\n-----\n----\nthe", "------"), ("--- \n.---\n-\nthe", "---")):
        several = (*arguments, "--count", 3, "--prime", prime)
        texts = json.loads(cli(*several, "--json").stdout)["texts"]
        assert texts[0].startswith(prime)
        assert cli(*several).stdout == f"\n{line}\n".join(texts) + "\n"


def test_whole_samples_end_with_a_sentence(cli, trained):
    arguments = ("sample", "-r", trained, "--seed", 1)
    long = cli(*arguments, "--length", 500).stdout
    end = long.index(".\n", 100) + 1
    assert cli(*arguments, "--length", 100, "--whole").stdout == long[:end] + "\n"
    three = (*arguments, "--length", 100, "--whole", "--count", 3)
    texts = json.loads(cli(*three, "--json").stdout)["texts"]
    assert all(len(text) >= 100 and text.endswith(".") for text in texts)
    assert cli(*three).stdout == "\n---\n".join(texts) + "\n"
    refused = cli(*arguments, "--length", 0, "--whole", code=2)
    assert "--whole ends a sample after --length: give a --length above 0" in refused.stderr


def test_a_stop_text_may_be_a_line_end_typed_as_an_escape(cli, trained):
    arguments = ("sample", "-r", trained, "--seed", 1, "--length", 500)
    text = cli(*arguments).stdout
    assert cli(*arguments, "--stop", r"\n").stdout == text[: text.index("\n") + 1]
    assert cli(*arguments, "--stop", r"\\n").stdout == text  # a backslash, which never occurs


def test_a_prime_may_have_a_line_end_typed_as_an_escape_and_a_prime_file_is_literal(
    cli, trained, byte_run, tmp_path
):
    arguments = ("sample", "-r", trained, "--length", 30, "--seed", 1)
    text = cli(*arguments, "--prime", "the cat\nthe").stdout
    assert text.startswith("the cat\nthe")
    assert cli(*arguments, "--prime", r"the cat\nthe").stdout == text
    assert cli(*arguments, "--prime", r"\n").stdout == cli(*arguments, "--prime", "\n").stdout
    arguments = ("sample", "-r", byte_run, "--length", 30, "--seed", 1)
    file = tmp_path / "prime.txt"
    file.write_bytes(rb"a\nb\q\\t")
    literal = cli(*arguments, "--prime-file", file).stdout
    assert literal.startswith(r"a\nb\q\\t")
    assert cli(*arguments, "--prime", r"a\\nb\q\\\\t").stdout == literal


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


@pytest.mark.parametrize("run_name", ["trained", "byte_run", "line_run", "word_run"])
def test_samples_are_those_of_the_library(cli, request, run_name):
    run = request.getfixturevalue(run_name)
    options = {"length": 40, "count": 50, "seed": 7, "temperature": 0.8, "prime": "a"}
    named = [each for name, value in options.items() for each in (f"--{name}", value)]
    printed = cli("sample", "-r", run, *named, "--json", "--hide-prime").stdout
    texts = charlstm.load(run).sample(**options, workers=1, errors="surrogateescape")
    assert len(texts) == 50 and json.loads(printed)["texts"] == texts


def test_several_samples_need_a_length(cli, trained):
    result = cli("sample", "-r", trained, "--length", 0, "--count", 2, code=2)
    assert (
        "--count prints only when the sample is finished: give a --length above 0" in result.stderr
    )


def test_a_sample_of_a_model_of_lines_is_a_line(cli, line_run, names):
    arguments = ("sample", "-r", line_run, "--seed", 3, "--temperature", 0.3)
    for given, count in (((), 20), (("--count", 7), 7), (("--count", 1), 1)):
        lines = cli(*arguments, *given).stdout.splitlines()
        assert len(lines) == count and set(lines) <= set(names)
        assert json.loads(cli(*arguments, *given, "--json").stdout)["texts"] == lines
    dotted = cli(*arguments, "--count", 7, "--separator", ".").stdout
    assert dotted == cli(*arguments, "--count", 7).stdout[:-1].replace("\n", "\n.\n") + "\n"
    primed = cli(*arguments, "--prime", "em", "--count", 4).stdout
    assert primed == "emil\n" * 4
    assert "count must be 1 or more" in cli(*arguments, "--count", 0, code=2).stderr


def test_prime_file_and_stop(cli, trained, tmp_path):
    (tmp_path / "prime.txt").write_text("the cat sees")
    result = cli(
        "sample", "-r", trained, "--prime-file", tmp_path / "prime.txt", "--stop", ".\n",
        "--seed", 1, "--length", 500,
    )  # fmt: skip
    assert result.stdout.startswith("the cat sees ")
    assert ".\n" not in result.stdout.removesuffix("\n") and len(result.stdout) < 300


def test_temperature_zero_takes_the_likeliest_and_below_zero_is_refused(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 40, "--temperature")
    assert cli(*arguments, 0, "--seed", 1).stdout == cli(*arguments, 0, "--seed", 2).stdout
    result = cli(*arguments, -1, code=2)
    assert result.stderr == "charlstm: --temperature must be 0 or more, not -1.0\n"


def test_the_help_says_that_the_prime_may_come_from_standard_input(cli, trained):
    help_text = " ".join(cli("sample", "--help").stdout.split())
    assert "that the sample continues; - for standard input" in help_text
    given = cli("sample", "-r", trained, "--prime-file", "-", "--length", 3, input="the cat")
    assert given.stdout.startswith("the cat")


def test_an_unknown_character_of_the_prime_is_refused_left_out_or_replaced(cli, trained):
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


def bytes_of(model, length, seed, prime=b"\n"):
    """The bytes that a model of bytes samples after a prime."""
    prime_ids, rng = np.frombuffer(prime, np.uint8), generator(seed, "sample")
    steps = generate(model, prime_ids, 1, Sampling(), rng)
    return bytes(int(ids[0]) for ids in islice(steps, length))


def is_utf8(data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_a_model_of_bytes_writes_its_bytes_as_they_are(cli, byte_run):
    model, number = charlstm.load(byte_run), 4
    data = bytes_of(model, 301, seed=3)
    assert not is_utf8(data)
    arguments = ("sample", "-r", byte_run, "--length", 301, "--seed", 3)
    assert cli(*arguments).stdout_bytes == data + b"\n"
    several = cli(*arguments, "--count", number).stdout_bytes
    texts = json.loads(cli(*arguments, "--count", number, "--json").stdout)["texts"]
    assert b"\n---\n".join(os.fsencode(text) for text in texts) + b"\n" == several
    one = json.loads(cli(*arguments, "--json").stdout)["texts"]
    assert [os.fsencode(text) for text in one] == [data]


def test_a_model_of_bytes_continues_any_bytes(cli, byte_run, tmp_path):
    prime = "köln".encode()[:2] + b"\xff\r\n" + "語".encode()[:2]
    (tmp_path / "prime").write_bytes(prime)
    arguments = ("sample", "-r", byte_run, "--length", 60, "--seed", 3)
    from_file = (*arguments, "--prime-file", tmp_path / "prime")
    data = bytes_of(charlstm.load(byte_run), 60, 3, prime)
    assert cli(*from_file).stdout_bytes == prime + data + b"\n"
    assert cli(*from_file, "--hide-prime").stdout_bytes == data + b"\n"
    assert cli(*arguments, "--prime", os.fsdecode(prime)).stdout_bytes == prime + data + b"\n"
    (text,) = json.loads(cli(*from_file, "--json").stdout)["texts"]
    assert os.fsencode(text) == prime + data


def test_novelty_compares_the_bytes_of_a_sample(cli, byte_run):
    arguments = ("sample", "-r", byte_run, "--length", 301, "--seed", 3, "--json", "--novelty")
    about = json.loads(cli(*arguments).stdout)
    novelty, data = about["novelty"], os.fsencode(about["texts"][0])
    assert novelty["characters"] == len(data) == 301
    for stretch in novelty["stretches"]:
        first, last = stretch["start"], stretch["start"] + stretch["length"]
        assert os.fsencode(stretch["text"]) == data[first:last]
    assert any(not is_utf8(os.fsencode(stretch["text"])) for stretch in novelty["stretches"])


def test_a_terminal_that_cannot_show_a_character_gets_its_escape(trained):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    code, out, _ = run_command(
        "sample", "-r", trained, "--length", 5, "--seed", 1, "--prime", "thé", "--unknown", "skip",
        env=environment,
    )  # fmt: skip
    assert code == 0 and out.startswith("th\\xe9")


def test_texts_and_names_on_the_command_line_are_read_as_utf8_under_the_locale_c(
    cli, line_run, tmp_path
):
    run = tmp_path / "größe"
    run.symlink_to(line_run)
    arguments = ["-r", run, "--count", 30, "--seed", 1, "--prime", "gr", "--stop", "ße"]
    expected = cli("sample", *arguments, "--separator", "ö").stdout
    assert "\ngrü\n" in expected and "ß" not in expected
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code, out, err = run_command("sample", *arguments, "--separator", "ö", env=environment)
    assert (code, out, err) == (0, expected.replace("ü", "\\xfc").replace("ö", "\\xf6"), "")
    code, _, err = run_command("info", tmp_path / "grün", env=environment)
    assert code == 1
    assert err == f"charlstm: {tmp_path}/gr\\udcc3\\udcbcn: no such file\n"


def test_an_endless_sample_is_printed_as_it_grows_and_ends_at_an_interrupt(trained):
    process = subprocess.Popen(
        [*COMMAND, "sample", "-r", str(trained), "--length", "0", "--seed", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert len(process.stdout.read(100)) == 100
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and b"Traceback" not in err


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
        # 40 samples may fit between two saves: go on until a later step has been seen
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


def test_the_encoding_of_the_prime_and_of_known_lines_can_be_given(
    cli, trained, line_run, tmp_path
):
    (tmp_path / "latin.txt").write_bytes("the cät".encode("latin-1"))
    arguments = ("sample", "-r", trained, "--prime-file", tmp_path / "latin.txt")
    error = cli(*arguments, code=1).stderr
    assert error.endswith("which --encoding cp1252 reads\n")
    options = ("--length", 2, "--unknown", "replace")
    assert cli(*arguments, "--encoding", "latin-1", *options).stdout.startswith("the cät")
    known = (
        "sample",
        "-r",
        line_run,
        "--new-only",
        "--count",
        1,
        "--corpus",
        tmp_path / "latin.txt",
    )
    assert "which --encoding cp1252 reads" in cli(*known, code=1).stderr
    assert cli(*known, "--encoding", "latin-1").stdout
    wrong = cli("sample", "-r", trained, "--encoding", "latin-1", code=2).stderr
    assert "--encoding says how --prime-file and --corpus are read: give one" in wrong
