"""Messages of the library, shown with the options of the command line."""

import ast
import re
from pathlib import Path

import pytest

import charlstm
from charlstm import CharlstmError
from charlstm.cli.main import main
from charlstm.cli.option_names import as_options
from charlstm.errors import quoted, system_errors_refused

TRAIN, SAMPLE, EVAL = (main.commands[name] for name in ("train", "sample", "eval"))


@pytest.mark.parametrize(
    ("command", "message", "shown"),
    [
        (TRAIN, "take a smaller `batch_size`", "take a smaller --batch-size"),
        (TRAIN, "try `lr=0.01` or `steps=5`", "try --lr 0.01 or --steps 5"),
        (TRAIN, '`schedule="halve-on-rise"` or `encoding=""`', "--schedule halve-on-rise or "
         "--encoding ''"),
        (TRAIN, "`capped=True`, `capped=False`", "--capped, --no-capped"),
        (TRAIN, "name it with `run`", "name it with -r"),
        (TRAIN, '`charlstm.train(run="a b", resume=True, corpus=PATH)` does',
         "charlstm train -r 'a b' --resume --corpus PATH does"),
        (SAMPLE, "`hidden` must be 1 or more", "hidden must be 1 or more"),
        (SAMPLE, "`count` and `text=3`", "--count and text=3"),
        (EVAL, "`dynamic_rate` must be", "--dynamic-rate must be"),
        (None, "half of `dropout_between`", "half of --dropout-between"),
        (TRAIN, "a file `of mine`, `, and `a", "a file `of mine`, `, and `a"),
    ],
)  # fmt: skip
def test_arguments_become_options(command, message, shown):
    assert as_options(message, command) == shown


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ('a "b" `c`', """'a "b" `c`'"""),
        ("a\\b", "'a\\b'"),
        ("it's", """'it'"'"'s'"""),
        ("\udc80", "$'\\200'"),  # a byte that is no UTF-8
    ],
)
def test_any_path_can_stand_in_a_message(path, word):
    message = f"`charlstm.train(run={quoted(path)}, resume=True)`"
    assert as_options(message, TRAIN) == f"charlstm train -r {word} --resume"


def strings_of(file):
    """The strings of a module that are no docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented)]
    docstrings = {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value


def test_no_message_of_the_library_names_an_option():
    package = Path(charlstm.__file__).parent
    for file in package.rglob("*.py"):
        if file.relative_to(package).parts[0] != "cli":
            found = [text for text in strings_of(file) if re.search(r"(?<!\S)--?[a-z][a-z]", text)]
            assert found == [], file


def test_an_error_speaks_of_arguments_in_the_library_and_of_options_on_the_command_line(
    cli, trained, text_file, tmp_path
):
    run = tmp_path / "run"
    with pytest.raises(CharlstmError, match=r"^`batch_size` must be 1 or more, not 0$"):
        charlstm.train(text_file, run, batch_size=0)
    error = cli("train", text_file, "-r", run, "--batch-size", 0, code=2).stderr
    assert error == "charlstm: --batch-size must be 1 or more, not 0\n"
    with pytest.raises(CharlstmError, match='`unknown="skip"` leaves such characters out'):
        charlstm.load(trained).score("☃")
    error = cli("score", "-r", trained, input="☃\n", code=1).stderr
    assert ": --unknown skip leaves such characters out, --unknown replace takes" in error
    with pytest.raises(CharlstmError, match=r"already: `resume=True` goes on with it"):
        charlstm.train(text_file, trained)
    error = cli("train", text_file, "-r", trained, code=1).stderr
    assert "already: --resume goes on with it, --overwrite replaces it" in error


def test_an_error_of_the_system_is_a_refusal_with_its_cause(text_file, tmp_path):
    def full(event):
        raise OSError(28, "No space left on device", "place")

    with pytest.raises(CharlstmError, match=r"^place: No space left on device$") as caught:
        charlstm.train(text_file, tmp_path / "run", steps=1, hidden=2, observer=full)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(CharlstmError, match="corpus` cannot be read: File name too long"):
        charlstm.train("text " * 2_000)
    with pytest.raises(CharlstmError, match=r"^no name$"), system_errors_refused():
        raise OSError("no name")
