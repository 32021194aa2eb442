"""scripts/benchmarks/temperature.py: a low temperature writes known words, a high one others."""

import re

import temperature

import charlstm


def test_a_lower_temperature_writes_more_known_and_more_repeated_words(trained, text_file):
    model = charlstm.load(trained)
    known = set(temperature.WORD.findall(text_file.read_text(encoding="utf-8")))
    low, high = (temperature.measure(model, known, t, characters=1500) for t in (0.2, 3.0))
    assert low[0] > 0.9 > high[0]
    assert low[1] < high[1]
    assert low[2] < high[2]


def test_the_table_has_a_row_for_each_temperature(trained, capsys):
    temperature.main([str(trained)])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [float(row.split("|")[1]) for row in rows] == list(temperature.TEMPERATURES)
    assert all(re.search(r"\d%", row) for row in rows)
