#!/usr/bin/env python3
"""Write charlstm/cli/OPTIONS.md: a table of all options of all commands.

The table is made from the commands and the knobs themselves, and a test compares it with the file:
run this script whenever an option changes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

try:
    from charlstm.analysis.dynamic_evaluation import DynamicConfig
    from charlstm.cli.main import main as charlstm_command
    from charlstm.cli.option_names import as_options
    from charlstm.config import CorpusConfig, Knob, ModelConfig, TrainConfig, knobs_of
    from charlstm.config.limits import Limits
    from charlstm.network.sampling import Sampling
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup, then .venv/bin/python scripts/options_table.py")

PAGE = Path(__file__).resolve().parents[1] / "charlstm" / "cli" / "OPTIONS.md"
RECORDS = {  # the commands whose options come from knobs, with the prefix of their names
    "train": ((CorpusConfig, ""), (ModelConfig, ""), (TrainConfig, "")),
    "sample": ((Sampling, ""),),
    "serve": ((Limits, ""),),
    "eval": ((DynamicConfig, "dynamic_"),),
    "score": ((DynamicConfig, "dynamic_"),),
}

OPENING = """# All options of all commands

This page is made by `.venv/bin/python scripts/options_table.py` from the commands and from the
knobs in `charlstm/config`; a test compares the page with them. The options of `charlstm train` are
also keyword arguments of `charlstm.train`, with `_` for `-`. For a keyword argument, "auto" means
the same as leaving the argument out: the value is chosen for you, as the column "default"
describes. Where the table states no upper end of a range, whole numbers are at most 2^53, about
9.01e15, as floats represent larger ones inexactly, and other numbers are at most 1e300, so that
computing with them does not overflow.
"""


def knob_of(command: str, option: click.Parameter) -> Knob | None:
    """The knob that an option of a command was made from, if any."""
    for record, prefix in RECORDS.get(command, ()):
        name = (option.name or "").removeprefix(prefix)
        if name in knobs_of(record) and f"{prefix}{name}" == option.name:
            return knobs_of(record)[name]
    return None


def values_of(option: click.Option, knob: Knob | None) -> str:
    """The type or the range of an option's values."""
    if option.is_flag or option.secondary_opts:
        return ""
    if isinstance(option.type, click.Choice):
        return ", ".join(map(str, option.type.choices))
    kind = {"integer": "whole number", "float": "number", "path": "path"}.get(option.type.name, "")
    if isinstance(option.type, click.IntRange):
        return f"whole number, {option.type.min:g} or more"
    if knob is not None and knob.range_in_words:
        return f"{kind}, {knob.range_in_words}"
    return kind or "text"


def row(command: str, option: click.Option) -> str:
    """The row of one option: names, values, default, help."""
    knob = knob_of(command, option)
    help_text, _, default = (option.help or "").partition("[default: ")
    if knob is not None:
        help_text, default = map(as_options, (knob.facts.help, knob.default_in_words))
    if not default and option.show_default and option.default is not None:
        default = f"{option.default}]"
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    cells = (names, values_of(option, knob), default.removesuffix("]"), " ".join(help_text.split()))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command of a group and of the groups below it, with its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def page() -> str:
    """The whole page."""
    parts = [OPENING]
    for name, command in commands(charlstm_command):
        arguments = [p.make_metavar(click.Context(command)) for p in command.params
                     if isinstance(p, click.Argument)]  # fmt: skip
        usage = " ".join((f"charlstm {name} [OPTIONS]", *arguments))
        summary = " ".join((command.help or "").split("\n\n")[0].split())
        rows = [row(name, p) for p in command.params if isinstance(p, click.Option)]
        parts.append(
            f"\n## charlstm {name}\n\n`{usage}`\n\n{summary}\n\n"
            "| option | values | default | meaning |\n| --- | --- | --- | --- |\n"
            + "\n".join(rows)
            + "\n"
        )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
