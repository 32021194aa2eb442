"""Options made from the knobs of a record."""

import json
from dataclasses import dataclass
from typing import Literal

import click
import pytest
from command_line import invoke

from charlstm.analysis.dynamic_evaluation import DynamicConfig
from charlstm.cli.main import main
from charlstm.cli.option_names import as_options
from charlstm.cli.shared_options import knob_options, knob_values
from charlstm.config import AUTO, CorpusConfig, ModelConfig, Record, TrainConfig, knob, knobs_of
from charlstm.network.sampling import Sampling
from charlstm.runs.checkpoint import load_checkpoint


@dataclass(frozen=True)
class Settings(Record):
    """A record with a knob of every type."""

    height: int = knob(3, "Height in metres.", within="[1, 9]", also=(0,))
    share: float = knob(0.5, "Share of the sun.", within="[0, 1)", train=0.25)
    with_roof: bool = knob(True, "Build a roof.")
    colour: Literal["red", "blue"] = knob("red", "Colour of the walls.")
    material: Literal["wood", "stone"] = knob(AUTO, "Material.", rule="wood in the north")
    rooms: tuple[str, ...] = knob((), "Names of rooms.")
    owner: str | None = knob(None, "Name of the owner.")


@click.command()
@knob_options(Settings)
def build(**options):
    click.echo(json.dumps(options))


@click.command()
@knob_options(Settings, ("share", "with_roof"), prefix="house-")
def build_part(**options):
    click.echo(json.dumps(options))


def options_of(command):
    return {option.name: option for option in command.params}


def call(command, *arguments, code=0):
    result = invoke(command, *arguments)
    assert result.exit_code == code, result.stdout + result.stderr
    return result.stderr if code else json.loads(result.stdout)


def test_options_are_the_knobs_in_their_order():
    assert list(options_of(build)) == list(knobs_of(Settings))
    names = [option.opts + option.secondary_opts for option in build.params]
    assert names == [
        ["--height"], ["--share"], ["--with-roof", "--no-with-roof"], ["--colour"], ["--material"],
        ["--rooms"], ["--owner"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "help_text"),
    [
        ("height", "Height in metres.  [default: 3; range: 0, or 1 to 9]"),
        ("share", "Share of the sun.  [default: 0.25; range: 0 or more and below 1]"),
        ("with_roof", "Build a roof.  [default: yes]"),
        ("colour", "Colour of the walls.  [default: red]"),
        ("material", "Material.  [default: wood in the north]"),
        ("rooms", "Names of rooms."),
        ("owner", "Name of the owner."),
    ],
)
def test_help_states_the_default_or_its_rule_and_the_range(name, help_text):
    assert options_of(build)[name].help == help_text


def test_choices_are_those_of_the_knob_and_auto_only_where_it_is_the_default():
    assert list(options_of(build)["colour"].type.choices) == ["red", "blue"]
    assert list(options_of(build)["material"].type.choices) == ["auto", "wood", "stone"]
    assert "'green' is not one of 'red', 'blue'" in call(build, "--colour", "green", code=2)


def test_values_have_the_type_of_the_knob():
    given = ("--height", "5", "--share", "0", "--no-with-roof", "--material", "auto")
    given += ("--rooms", "hall", "--rooms", "attic", "--owner", "Ada")
    values = call(build, *given)
    assert values == {
        "height": 5, "share": 0.0, "with_roof": False, "colour": None, "material": "auto",
        "rooms": ["hall", "attic"], "owner": "Ada",
    }  # fmt: skip
    assert "'2.5' is not a valid integer" in call(build, "--height", "2.5", code=2)


def test_an_option_that_is_not_given_stays_auto():
    values = call(build)
    assert {name for name, value in values.items() if value is not None} == {"rooms"}  # it is ()
    asked = Settings.asked(knob_values(values | {"rooms": None, "height": 0}))
    assert asked.given == {"height": 0}
    assert asked.share == asked.with_roof == asked.owner == asked.rooms == AUTO


def test_a_prefix_stands_before_the_names_of_some_knobs():
    assert list(options_of(build_part)) == ["house_share", "house_with_roof"]
    names = [option.opts + option.secondary_opts for option in build_part.params]
    assert names == [["--house-share"], ["--house-with-roof", "--no-house-with-roof"]]
    assert call(build_part, "--house-share", "0.5")["house_share"] == 0.5


@pytest.mark.parametrize(
    ("command", "record", "prefix"),
    [
        ("train", CorpusConfig, ""),
        ("train", ModelConfig, ""),
        ("train", TrainConfig, ""),
        ("sample", Sampling, ""),
        ("eval", DynamicConfig, "dynamic_"),
        ("score", DynamicConfig, "dynamic_"),
    ],
)
def test_options_of_the_commands_have_the_help_and_the_choices_of_their_knobs(
    command, record, prefix
):
    options = options_of(main.commands[command])
    found = 0
    for name, one in knobs_of(record).items():
        option = options.get(prefix + name)
        if option is None:
            assert name in ("paths", "segment", "epsilon")  # which only the library takes
            continue
        found += 1
        assert option.help.startswith(as_options(one.facts.help))
        assert as_options(one.default_in_words) in option.help and one.range_in_words in option.help
        if one.choices:
            assert set(option.type.choices) - {AUTO} == set(one.choices)
    assert found >= 3


def test_precision_auto_is_the_same_as_no_precision(cli, text_file, tmp_path):
    small = ("--steps", 1, "--hidden", 2, "--quiet")
    for name, given in (("auto", ("--precision", AUTO)), ("none", ())):
        cli("train", text_file, "-r", tmp_path / name, *small, *given)
    auto, none = (
        load_checkpoint(tmp_path / name / "last.safetensors").training["config"]["precision"]
        for name in ("auto", "none")
    )
    assert auto == none


PATHS = {
    "train": ["CORPUS", "--run", "--init-from", "--val-file"],
    "sample": ["--run", "--prime-file"],
    "eval": ["TEXTS", "--run"],
    "score": ["FILES", "--run"],
    "info": ["PATH", "--run"],
    "report": ["--run", "--output", "--tensorboard"],
    "runs": ["FOLDER"],
    "inspect gates": ["TEXTS", "--run", "--output"],
    "inspect gradients": ["TEXTS", "--run", "--output"],
}


@pytest.mark.parametrize(
    ("command", "parameter"), [(name, one) for name, these in PATHS.items() for one in these]
)
def test_an_empty_path_is_an_error_that_names_the_option(cli, command, parameter):
    option = [parameter] if parameter.startswith("--") else []
    error = cli(*command.split(), *option, "", code=2).stderr
    assert "invalid value for " in error and parameter in error and "the path is empty" in error
