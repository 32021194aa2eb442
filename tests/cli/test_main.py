"""The command line as a whole: version, errors in one line, exit codes, broken pipes."""

import os
import shlex
import subprocess
import sys

import pytest
from command_line import COMMAND, run_command
from corpus_files import make_text

import charlstm


def test_help_and_version(cli):
    for arguments in (["--help"], ["-h"], ["train", "-h"], ["sample", "--help"]):
        result = cli(*arguments)
        assert result.stdout.startswith("Usage: ") and result.stderr == ""
    code, out, err = run_command("--help")
    assert code == 0 and out.startswith("Usage: ") and err == ""
    version = f"charlstm, version {charlstm.__version__}\n"
    assert run_command("--version") == (0, version, "")


REFUSED = [
    (["train", "none.txt"], "/none.txt: No such file or directory"),
    (["train", "empty.txt"], "empty.txt: too small to learn from: 0 characters"),
    (["train", "same.txt"], "same.txt: too small to learn from: 'a' is its only character"),
    (["train", "two.txt"], "leaves 1 of 2 characters to learn from"),
    (["train", "latin.txt"], "latin.txt: invalid UTF-8 at byte 3 (0xe9"),
    (["train", "good.txt", "none"], "/none: No such file"),
    (["train", "good.txt", "--val-file", "none.txt"], "/none.txt: No such file"),
    (["train", "good.txt", "--init-from", "none"], "none: no such file"),
    (["train", "good.txt", "--init-from", "good.txt"], "good.txt: not a checkpoint of charlstm"),
    (["train", "--resume"], "no run under runs/"),
    (["train", "--resume", "-r", "none"], "none: nothing to resume"),
    (
        ["train", "good.txt", "-r", "good.txt/run", "--steps", "1"],
        "good.txt/run: the folder cannot be made",
    ),
    (
        ["sample"],
        "no run under runs/: name the folder of a run with -r, or begin a run with charlstm train",
    ),
    (["sample", "-r", "none"], "none: no such file"),
    (["sample", "-r", "."], "no run in this folder"),
    (["sample", "-r", "good.txt"], "not a checkpoint of charlstm"),
    (["eval", "good.txt"], "no run under runs/"),
    (["score", "good.txt"], "no run under runs/"),
    (["info", "none"], "none: no such file"),
]
WRONG_USAGE = [
    (["train"], "no corpus: name a text file"),
    (["train", "-", "-"], "standard input (-) can be given only once"),
    (["train", "good.txt", "--steps", "5", "--minutes", "1"], "--steps and --minutes contradict"),
    (["train", "good.txt", "--steps", "0"], "steps must be above 0"),
    (["train", "good.txt", "--batch-size", "0"], "--batch-size must be 1 or more"),
    (["train", "good.txt", "--hidden", "-4"], "hidden must be 1 to"),
    (["train", "good.txt", "--lr", "nan"], "lr must be a finite number"),
    (["train", "good.txt", "--dropout", "1"], "dropout must be 0 or more and below 1"),
    (["train", "good.txt", "--val-frac", "1"], "--val-frac must be 0 or more and below 1"),
    (["train", "good.txt", "--encoding", "klingon"], "--encoding klingon is not a text encoding"),
    (["train", "good.txt", "--mix-share", "0.3"], "--mix-share has no effect without --mix"),
    (["train", "good.txt", "--resume"], "--resume takes the corpus and the weights from the run"),
    (
        ["train", "--textbook", "--resume"],
        "--resume takes the corpus, the weights and the settings",
    ),
    (["inspect", "gates", "--text", "a", "-r", "good.txt", "--output", "-"], "-o must name"),
    (["inspect", "gradients", "--seed", "-1"], "--seed must be a whole number of 0 or more"),
]


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [(1, *refused) for refused in REFUSED] + [(2, *wrong) for wrong in WRONG_USAGE],
)
def test_an_error_is_one_line_and_nothing_is_written(
    cli, tmp_path, monkeypatch, code, arguments, message
):
    monkeypatch.chdir(tmp_path)
    texts = {"empty.txt": b"", "same.txt": b"a" * 50, "two.txt": b"ab", "latin.txt": b"caf\xe9 x"}
    for name, text in {**texts, "good.txt": make_text(30).encode()}.items():
        (tmp_path / name).write_bytes(text)
    before = sorted(tmp_path.rglob("*"))
    result = cli(*arguments, code=code)
    assert result.stdout == ""
    assert result.stderr.startswith("charlstm: ") and result.stderr.count("\n") == 1
    assert message in result.stderr, result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "x", "--steps", "many"], "'many' is not a valid integer"),
        (["train", "x", "--optimizer", "adamax"], "'adamax' is not one of"),
        (
            ["train", "x", "--rnn-size", "5"],
            "no such option --rnn-size: --help lists",
        ),
        (["train", "x", "-o", "y"], "no such option -o: --help lists the options"),
        (["train", "x", "--hiden", "5"], "no such option --hiden: did you mean --hidden?"),
        (["sample", "--temp", "0.5"], "no such option --temp: did you mean --temperature?"),
        (["sample", "--top", "5"], "no such option --top: did you mean --top-k or --top-p?"),
        (
            ["sample", "-o", "a.txt"],
            "no such option -o: the result goes to standard output: add > F",
        ),
        (["cache", "x"], "unexpected argument x"),
        (["sample", "novel"], "unexpected argument novel: a run is named with -r RUN"),
        (["sample", "--length", "x"], "invalid value for '--length': 'x' is not a valid integer"),
        (["eval", "--window"], "option '--window' requires an argument"),
        (["sample", "--prime", "a", "--prime-file", "b"], "give --prime or --prime-file"),
        (["sample", "--unknown", "ignore"], "'ignore' is not one of"),
        (["eval", "--newlines", "lf"], "--encoding and --newlines say how TEXTS are read"),
        (["smaple"], "no such command 'smaple'"),
        (["smaple\x1b[2J"], "no such command 'smaple\\x1b[2J'"),
        (["--foo"], "no such option '--foo'"),
        (["inspect", "gate"], "no such command 'gate'"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(cli, arguments, message):
    result = cli(*arguments, code=2)
    assert (
        message in result.stderr
        and result.stderr.startswith("charlstm: ")
        and result.stderr.count("\n") == 1
    )


def test_the_name_of_a_run_alone_is_answered_with_its_folder(cli, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "my names").symlink_to(trained)
    for command in ("sample", "report"):
        error = cli(command, "my names", code=2).stderr
        expected = "unexpected argument 'my names': a run is named with -r 'runs/my names'"
        assert error == f"charlstm: {expected}\n"
    for command in (["info"], ["eval", "-r"], ["eval"], ["score"], ["inspect", "gates"]):
        error = cli(*command, "my names", code=1).stderr
        expected = "my names: no such file: the run of this name is runs/my names"
        assert error == f"charlstm: {expected}\n"


def test_an_error_of_a_process_prints_no_traceback(tmp_path):
    code, out, err = run_command("train", "none.txt", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err == f"charlstm: cannot read {tmp_path}/none.txt: No such file or directory\n"


def test_an_error_contains_no_control_characters(cli):
    for command in ("train", "info"):
        result = cli(command, "no\x1b[2Jne\n  .txt", code=1)
        assert "no\\x1b[2Jne\\n  .txt: " in result.stderr and result.stderr.count("\n") == 1


def test_a_link_to_itself_is_not_called_a_damaged_file(cli, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for command in (["info"], ["sample", "-r"], ["train", "--init-from"]):
        error = cli(*command, tmp_path / "loop", *["x"] * (command[0] == "train"), code=1).stderr
        assert error.endswith("loop: cannot be read: Too many levels of symbolic links\n")


def test_a_closed_standard_input_is_an_error(trained, tmp_path):
    for arguments in (["train", "-"], ["score", "-r", trained], ["eval", "-", "-r", trained]):
        command = " ".join([*COMMAND, *map(str, arguments), "<&-"])
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            done.stderr == "charlstm: there is no standard input to read (-): name a file instead\n"
        )


def test_standard_input_given_twice_is_an_error(cli, trained):
    for command in ("eval", "score"):
        error = cli(command, "-", "-", "-r", trained, input="the cat", code=2).stderr
        assert error == "charlstm: standard input (-) can be given only once\n"


EVAL = ["eval", "TEXT", "--json"]


@pytest.mark.parametrize(
    ("command", "target"),
    [
        (EVAL, "a closed pipe"),
        (EVAL, "/dev/full"),
        (EVAL, "nothing"),
        (["score", "TEXT", "--dynamic"], "a closed pipe"),
        (["sample", "--length", "50", "--seed", "1", "--novelty"], "a closed pipe"),
        (["train", "TEXT", "--steps", "9", "--hidden", "4", "--eval-every", "2"], "a closed pipe"),
    ],
)
def test_commands_work_without_a_reader_of_standard_error(
    cli, trained, text_file, tmp_path, command, target
):
    run = tmp_path / "run" if command[0] == "train" else trained
    arguments = [{"TEXT": str(text_file)}.get(word, word) for word in command] + ["-r", str(run)]
    if target == "a closed pipe":
        reading, stderr = os.pipe()
        os.close(reading)
    else:
        stderr = os.open(os.devnull if target == "nothing" else target, os.O_WRONLY)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60,
            preexec_fn=(lambda: os.close(2)) if target == "nothing" else None,
        )  # fmt: skip
    finally:
        os.close(stderr)
    assert done.returncode == 0
    if command[0] == "train":
        assert (run / "best.safetensors").exists() and done.stdout.startswith(f"{run}: 9 steps")
    else:
        assert done.stdout == cli(*arguments).stdout


@pytest.mark.parametrize(("arguments", "code"), [(["sample", "-r", "none"], 1), (["smaple"], 2)])
def test_the_exit_code_of_an_error_needs_no_reader_of_standard_error(arguments, code):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert subprocess.run([*COMMAND, *arguments], stderr=writing).returncode == code
    finally:
        os.close(writing)


SMALL_RUN = ["--steps", "3", "--hidden", "4", "--quiet"]
FULL = ">/dev/full", "charlstm: standard output: No space left on device"
CLOSED = ">&-", "charlstm: standard output: it is closed: redirect it to a file"


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["--version"], FULL),
        (["--version"], CLOSED),
        (["train", "--help"], FULL),
        (["sample", "-r", "RUN", "--length", "0", "--seed", "1"], CLOSED),
        (["info", "RUN", "--json"], FULL),
        (["train", "TEXT", "-r", "NEW", *SMALL_RUN], FULL),
        (["train", "TEXT", "-r", "NEW", *SMALL_RUN], ("<&- >&-", CLOSED[1])),
    ],
)
def test_a_result_that_cannot_be_written_is_an_error(
    trained, text_file, tmp_path, arguments, target
):
    redirection, message = target
    places = {"RUN": str(trained), "TEXT": str(text_file), "NEW": str(tmp_path / "new")}
    words = [*COMMAND, *(places.get(word, word) for word in arguments)]
    command = f"{shlex.join(words)} {redirection}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
    if "NEW" in arguments:
        message += f" (the run is saved in {places['NEW']})"
        assert charlstm.load(tmp_path / "new").sample(3, seed=1)
    assert (done.returncode, done.stderr) == (1, message + "\n")


def test_a_reader_of_standard_output_that_has_ended_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for completion, arguments in (
            ("", ["--version"]),
            ("", ["train", "-h"]),
            ("bash_source", []),
        ):
            done = subprocess.run(
                [*COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, timeout=60,
                env={**os.environ, "_CHARLSTM_COMPLETE": completion},
            )  # fmt: skip
            assert (done.returncode, done.stderr) == (0, b"")
    finally:
        os.close(writing)


@pytest.mark.parametrize("command", ["eval", "score"])
def test_sigterm_while_standard_input_is_read_leaves_no_copy_of_it(trained, tmp_path, command):
    process = subprocess.Popen(
        [*COMMAND, command, "-", "-r", str(trained)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with process:
        process.stdin.write(b"a cat\n" * 30_000)  # more than a pipe holds: some of it is read
        process.stdin.flush()
        process.terminate()
        assert process.wait(60) == 143
    assert list(tmp_path.iterdir()) == []


# Two commands, then the library, in one process, as the kernels are chosen when it starts.
USE_KERNELS = """
import sys
import charlstm
from charlstm.cli.main import main
for command in (["sample", "-r", sys.argv[1], "--length", "3"], ["info"]):
    try:
        main(command)
    except SystemExit as end:
        print("exit code", end.code)
charlstm.CharModel(charlstm.ModelConfig(), charlstm.Vocab.bytes())
"""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CHARLSTM_ISA", "abacus", "CHARLSTM_ISA=abacus: this machine has "),
        ("CHARLSTM_KERNELS", "bogus", "CHARLSTM_KERNELS must be numpy or native, not 'bogus'"),
    ],
)
def test_kernels_that_are_not_available_are_refused_in_a_line(trained, name, value, message):
    if name == "CHARLSTM_ISA" and charlstm.kernels.BACKEND == "numpy":
        value, message = "", ""  # only the native kernels read CHARLSTM_ISA
    done = subprocess.run(
        [sys.executable, "-c", USE_KERNELS, trained],
        capture_output=True, text=True, env={**os.environ, name: value}, cwd=trained.parent,
    )  # fmt: skip
    if message:
        assert done.stdout == "exit code 1\n" * 2
        first, second, *traceback = done.stderr.splitlines()
        assert first == second and first.startswith(f"charlstm: {message}")
        assert traceback[0].startswith("Traceback")
    assert ("CharlstmError" in done.stderr) == bool(message)


def test_an_endless_sample_ends_quietly_when_its_reader_does(trained):
    command = f"{' '.join(COMMAND)} sample -r '{trained}' --length 0 --seed 1 | head -c 3000"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0 and len(done.stdout) == 3000 and done.stderr == ""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (r'ImportError("many lines\n\nlibblas.so: failed to map\n")', "libblas.so: failed to map"),
        ("MemoryError()", "not enough memory"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_one_line(tmp_path, error, reason):
    (tmp_path / "numpy.py").write_text(f"raise {error}")
    code, out, err = run_command("info", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (code, out) == (1, "")
    assert err == (
        f"charlstm: a module cannot be loaded ({reason}): allow more memory, or install charlstm "
        "again\n"
    )
