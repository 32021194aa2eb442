"""The library's types: what type checkers, editors and help() know of its options."""

import importlib.metadata
import inspect
import json
import os
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import api_page
import pytest
from corpus_files import make_text

import charlstm
from charlstm import CharlstmError, UnknownOptionError
from charlstm.config import knobs_of, run_options
from charlstm.network.sampling import Sampling

PROGRAMS = Path(__file__).parent / "programs"
CORRECT, WRONG = PROGRAMS / "correct.py", PROGRAMS / "wrong.py"


@pytest.fixture
def model():
    return charlstm.CharModel(charlstm.ModelConfig(hidden=3), charlstm.Vocab.from_text("ab\n"))


# -- as the program runs ---------------------------------------------------------------------------


def test_the_signature_of_train_has_every_option_with_its_default():
    parameters = inspect.signature(charlstm.train).parameters
    assert {knob.name for knob in run_options()} < parameters.keys()
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters.values())
    assert parameters["batch_size"].default == 24
    assert parameters["hidden"].default == "auto"
    assert parameters["minutes"].default is None
    assert "paths" not in parameters


def test_help_shows_the_options_of_train():
    shown = pydoc.plain(pydoc.render_doc(charlstm.train))
    assert "batch_size: Union[int, Literal['auto']] = 24" in shown
    assert re.search(r"hidden: Hidden units of each layer\.  \[default: by the size", shown)
    assert "(schedule cosine)" in shown and "--" not in shown  # names of keywords, not of options


@pytest.mark.parametrize("name", ["sample", "stream", "sample_lines"])
def test_sampling_has_the_defaults_of_its_record(name):
    parameters = inspect.signature(getattr(charlstm.CharModel, name)).parameters
    for knob in knobs_of(Sampling).values():
        assert parameters[knob.name].default == knob.default
        assert parameters[knob.name].annotation is knob.annotation


def test_a_misspelt_option_is_refused_with_the_nearest_name(model, text_file, tmp_path):
    calls = [
        (lambda: charlstm.train(text_file, tmp_path / "run", hiden=3), "'hiden': did you mean 'hi"),
        (lambda: charlstm.train(text_file, overwrit=True), "'overwrit': did you mean 'overwrite'?"),
        (lambda: charlstm.train(text_file, paths=()), r"'paths': help\(charlstm.train\) lists"),
        (lambda: model.sample(5, temprature=1), "'temprature': did you mean 'temperature'?"),
        (lambda: model.stream(5, topk=1), "'topk': did you mean 'top_k'?"),
        (lambda: model.score("a", unkown="skip"), "'unkown': did you mean 'unknown'?"),
        (lambda: model.sample(5, x=1), r"'x': help\(charlstm.CharModel.sample\) lists the options"),
        (lambda: charlstm.TrainConfig(drop_out=1), "'drop_out': did you mean 'dropout'?"),
        (
            lambda: charlstm.ModelConfig(size=1),
            r"'size': help\(charlstm.ModelConfig\) lists the options",
        ),
    ]
    for call, message in calls:
        with pytest.raises(UnknownOptionError, match="^unknown option " + message):
            call()
    assert issubclass(UnknownOptionError, CharlstmError) and issubclass(
        UnknownOptionError, TypeError
    )
    assert not (tmp_path / "run").exists()


def test_the_version_of_the_package_is_that_of_its_metadata():
    assert importlib.metadata.version("charlstm") == charlstm.__version__


def test_the_license_is_part_of_the_package():
    metadata = importlib.metadata.metadata("charlstm")
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["charlstm/LICENSE"]


# -- documents and stub ----------------------------------------------------------------------------


def test_the_page_and_the_stub_file_are_those_of_the_library():
    for path, text in ((api_page.PAGE, api_page.page()), (api_page.STUB, api_page.stub())):
        found = path.read_text(encoding="utf-8")
        assert found == text, "run .venv/bin/python scripts/api_page.py"


def test_every_public_name_is_documented_and_used_by_the_correct_program():
    program = CORRECT.read_text(encoding="utf-8")
    for name in charlstm.__all__:
        assert f"charlstm.{name}" in program
        each = getattr(charlstm, name)
        if name != "__version__":
            assert each.__doc__, name
        if inspect.isclass(each):
            for member, value in api_page.members_of(each):
                assert value.__doc__, f"{name}.{member}"
                assert f".{member}" in program, f"{name}.{member}"


def test_the_correct_program_runs(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(make_text(40))
    subprocess.run([sys.executable, CORRECT, corpus, tmp_path], check=True, cwd=tmp_path)


# -- tools that read the source --------------------------------------------------------------------


@pytest.fixture
def completions(tmp_path, monkeypatch):
    """A function that returns the names that an editor offers at the end of a program."""
    import jedi

    monkeypatch.setattr(jedi.settings, "cache_directory", str(tmp_path / "jedi"))
    return lambda program: [each.name for each in jedi.Script(program).complete()]


def test_an_editor_completes_the_options_of_train(completions):
    assert completions("import charlstm\ncharlstm.train('text', hid")[:1] == ["hidden="]


@pytest.mark.slow
def test_an_editor_completes_the_options_of_a_model(completions):
    opened = "import charlstm\nmodel = charlstm.load('run')\n"
    for name in ("sample", "stream", "sample_lines"):
        assert "temperature=" in completions(f"{opened}model.{name}(5, temp")
    assert "unknown=" in completions(f"{opened}model.score('a', unk")
    assert "bits_per_character" in completions(f"{opened}model.score('a').bits")


def wrong_lines():
    """The numbers of the lines of WRONG that must be refused."""
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]


def run_tool(*command, folder):
    # From another folder, a tool finds the package only where it is installed. pyright asks the
    # first `python` of the path for the folders of the installed packages.
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_mypy_accepts_correct_calls_only(tmp_path):
    pytest.importorskip("mypy")
    result = run_tool("mypy", "--strict", CORRECT, WRONG, folder=tmp_path)
    found = re.findall(r"^(.+?):(\d+): error", result.stdout, re.MULTILINE)
    lines = {(Path(file), int(line)) for file, line in found}  # A line may have several errors.
    assert sorted(lines) == [(WRONG, line) for line in wrong_lines()]


@pytest.mark.slow
def test_stubtest_finds_the_stub_file_true(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "mypy.ini").write_text("[mypy]\nignore_missing_imports = true\n")
    result = run_tool(
        "mypy.stubtest", "charlstm", "--concise", "--mypy-config-file=mypy.ini", folder=tmp_path
    )
    assert "not checking" not in result.stdout
    # Other modules have no stub file: stubtest compares their source with itself.
    assert re.findall(r"^charlstm\.\w+ .*", result.stdout, re.MULTILINE) == []


@pytest.mark.slow
def test_pyright_accepts_correct_calls_only(tmp_path):
    pytest.importorskip("basedpyright")
    settings = {"typeCheckingMode": "strict", "include": [str(CORRECT), str(WRONG)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    result = run_tool("basedpyright", "--outputjson", folder=tmp_path)
    found = json.loads(result.stdout)["generalDiagnostics"]
    lines = {(Path(each["file"]), each["range"]["start"]["line"] + 1) for each in found}
    assert sorted(lines) == [(WRONG, line) for line in wrong_lines()]


@pytest.mark.slow
def test_pyright_knows_the_type_of_every_public_name(tmp_path):
    pytest.importorskip("basedpyright")
    result = run_tool(
        "basedpyright", "--verifytypes", "charlstm", "--ignoreexternal", "--outputjson",
        folder=tmp_path,
    )  # fmt: skip
    public = [f"charlstm.{name}" for name in charlstm.__all__]
    for each in filter(inspect.isclass, (getattr(charlstm, name) for name in charlstm.__all__)):
        public += [f"{base.__module__}.{base.__qualname__}" for base in each.__mro__]
    of_public = re.compile("|".join(rf"{re.escape(name)}(\.|$)" for name in public))
    symbols = json.loads(result.stdout)["typeCompleteness"]["symbols"]
    symbols = [each for each in symbols if of_public.match(each["name"])]
    assert len(symbols) > 100
    assert [each["name"] for each in symbols if not each["isTypeKnown"]] == []
