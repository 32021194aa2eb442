"""Help texts: full sentences, with the default, the unit or the range of every value."""

import re

import click
import pytest

from charlstm.cli.main import main
from charlstm.cli.option_names import as_options
from charlstm.config import GROUPS, CorpusConfig, ModelConfig, TrainConfig, knobs_of


def commands(group, name="charlstm"):
    """Every command below a group, and the groups, with their full names."""
    for key, command in group.commands.items():
        yield f"{name} {key}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {key}")


COMMANDS = [("charlstm", main), *commands(main)]
OPTIONS = [
    (f"{name} {option.opts[-1]}", option)
    for name, command in COMMANDS
    for option in command.params
    if isinstance(option, click.Option) and option.name != "version"
]
WITH_VALUE = [
    (name, option) for name, option in OPTIONS if not option.is_flag and not option.secondary_opts
]

# Options that take a value but change something only if they are given.
WITHOUT_DEFAULT = {
    "charlstm convert --vocab",
    "charlstm train --init-from",
    "charlstm train --vocab-size",
    "charlstm train --val-file",
    "charlstm train --mix",
    "charlstm train --corpus",
    "charlstm train --epochs",
    "charlstm train --steps",
    "charlstm train --minutes",
    "charlstm train --keep-every",
    "charlstm serve --allow-host",
    "charlstm serve --cors",
    "charlstm sample --prime",
    "charlstm sample --prime-file",
    "charlstm sample --stop",
    "charlstm inspect gates --text",
    "charlstm report --tensorboard",
    "charlstm inspect gradients --output",
}
UNITS = (
    "characters", "symbols", "units", "layers", "time steps", "steps", "passes", "minutes",
    "samples", "streams", "threads", "nats", "norm", "seed", "factor", "bias", "layer",
)  # fmt: skip


def shown_help(command, option):
    """The help of an option as click prints it, on one line."""
    context = click.Context(command, max_content_width=10_000, terminal_width=10_000)
    return " ".join(option.get_help_record(context)[1].split())


def sentences(text):
    """A help text without the notes in brackets at its end."""
    return re.sub(r"(\s*\[[^\[\]]*\])*$", "", text.strip())


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_command_has_a_help_text_of_full_sentences(name, command):
    paragraphs = [" ".join(text.split()) for text in command.help.split("\n\n")]
    for paragraph in paragraphs:
        assert paragraph[0].isupper() and paragraph[-1] == ".", name
    assert len(paragraphs[0].split()) > 4


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_has_a_help_text_of_full_sentences(name, option):
    text = sentences(option.help)
    assert len(text) > 10 and text[0].isupper() and text[-1] == ".", name


@pytest.mark.parametrize(("name", "option"), WITH_VALUE)
def test_help_states_the_default_of_a_value(name, option):
    shown = shown_help(main, option)
    assert ("[default: " in shown) == (name not in WITHOUT_DEFAULT), shown


@pytest.mark.parametrize(
    ("name", "option"),
    [(n, o) for n, o in WITH_VALUE if o.type.name in ("integer", "float", "integer range")],
)
def test_help_states_the_range_or_the_unit_of_a_number(name, option):
    shown = shown_help(main, option).lower()
    in_range = re.search(r"range: .*\]|x>=\d|\d or more", shown)
    assert in_range or any(unit in shown for unit in UNITS), shown


def test_help_of_train_lists_every_knob(cli):
    text = cli("train", "--help").stdout
    shown = " ".join(text.split())
    for record in (CorpusConfig, ModelConfig, TrainConfig):
        for name, one in knobs_of(record).items():
            if name == "paths":
                continue
            flag = f"--{name.replace('_', '-')}"
            assert re.search(rf"^  {flag} ", text, re.MULTILINE), flag
            assert as_options(one.default_in_words) in shown and one.range_in_words in shown


def test_help_of_train_begins_with_six_options_and_shows_the_others_in_groups(cli):
    text = cli("train", "--help").stdout
    headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert headings == list(GROUPS)
    parts = dict(zip(headings, re.split(r"^\w.*:$", text, flags=re.MULTILINE)[1:], strict=True))
    members = {name: re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", part, re.MULTILINE)
               for name, part in parts.items()}  # fmt: skip
    six = {"run", "resume", "level", "hidden", "lines", "minutes"}
    assert set(members["Common options"]) == six
    examples = {"Text": "val-frac", "Model": "cell", "Training": "lr", "Regularisation": "dropout",
                "Run": "seed", "Output": "json"}  # fmt: skip
    for group, option in examples.items():
        assert option in members[group]
    assert sum(map(len, members.values())) == len(main.commands["train"].params)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_help_fits_into_the_terminal_and_breaks_no_word(monkeypatch, name, command, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    whole = main.context_class(main, **main.context_settings)
    context = command.context_class(command, info_name=name, parent=whole)
    shown = command.get_help(context)
    too_long = [line for line in shown.split("\n") if len(line) > columns]
    assert [line for line in too_long if "_CHARLSTM_COMPLETE" not in line] == []
    words = set(re.sub(r"\|", " | ", shown).split())
    for option in command.params:
        if isinstance(option, click.Option):
            assert set(re.sub(r"\|", " | ", option.help).split()) <= words, option.name


def test_arguments_are_not_listed_among_the_options(cli):
    for command in (["train"], ["eval"], ["runs"], ["inspect", "gates"]):
        shown = cli(*command, "--help").stdout
        lines = re.split(r"^\w[\w ]*:$", shown, maxsplit=1, flags=re.MULTILINE)[1].splitlines()
        assert lines and not [line for line in lines if line.startswith(("  [", "  CORPUS"))]
