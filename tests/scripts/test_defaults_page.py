"""The page of the default settings: its table and its constants are those of the code."""

import re

import chosen_settings
from documented_commands import ROOT

from charlstm.training import defaults

PAGE = (ROOT / "charlstm" / "training" / "DEFAULTS.md").read_text("utf-8")


def test_the_table_of_settings_is_the_one_that_the_script_prints():
    assert chosen_settings.table() in PAGE, "run .venv/bin/python scripts/chosen_settings.py"


def test_each_constant_stands_with_its_value():
    rows = re.findall(r"^\| `(\w+)(?:\[\"(\w+)\"\])?` \| (\S+) \|", PAGE, re.M)
    written = {(name, key): float(value) for name, key, value in rows}
    # These are not constants of the rule: a list of sizes, typical lengths, the evaluations' times.
    others = {"SIZES", "AUTO", "MAX_LINE", "TYPICAL_LINE", "EVALUATIONS_PER_RUN",
              "MIN_STEPS_BETWEEN_EVALUATIONS", "MAX_STEPS_BETWEEN_EVALUATIONS"}  # fmt: skip
    expected = {}
    for name in [name for name in vars(defaults) if name.isupper() and name not in others]:
        value = getattr(defaults, name)
        values = value if isinstance(value, dict) else {"": value}
        expected |= {(name, key): each for key, each in values.items()}
    assert written == expected
