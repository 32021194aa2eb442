"""scaling.py: its figures, its tables and its picture."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import scaling

TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The result of a quick run, and its picture."""
    # In a process of its own: this one is larger than the children whose peak is measured.
    picture = tmp_path_factory.mktemp("scaling") / "picture.svg"
    command = [sys.executable, scaling.__file__, "--quick", "--json", "--picture", picture]
    return json.loads(subprocess.check_output(command)), picture


@pytest.mark.slow
def test_rows_are_consistent(measured):
    result, _ = measured
    middle = scaling.QUICK.middle._asdict()
    for sweep, planned in zip(result["sweeps"], scaling.QUICK.sweeps(), strict=True):
        assert sweep["varied"] == planned.varied
        shapes = [tuple(row[name] for name in scaling.Shape._fields) for row in sweep["rows"]]
        assert shapes == planned.shapes
        for row, shape in zip(sweep["rows"], shapes, strict=True):
            seconds = row["milliseconds"] / 1e3
            speed = row["characters_per_second"]
            assert speed == pytest.approx(row["batch_size"] * row["seq_length"] / seconds)
            low, high = row["spread"]
            assert 0 < low <= speed * (1 + 1e-9) and speed <= high * (1 + 1e-9)
            whole = scaling.Shape(*shape).step_operations
            assert row["gflops"] == pytest.approx(whole / seconds / 1e9)
    through = [
        row for sweep in result["sweeps"] for row in sweep["rows"] if middle.items() <= row.items()
    ]
    assert len(through) == 4 and all(row == through[0] for row in through)  # measured once
    assert result["machine"]["rounds"] == scaling.QUICK.rounds


def test_memory_grows_with_the_sequence_length(measured):
    result, _ = measured
    short, long = result["memory"]["rows"]
    assert (short["seq_length"], long["seq_length"]) == (25, 400)
    # For each character 256 gates i f o g, h, c, tanh c and the gradient from above, and 65
    # log-probabilities, in float32: 101 MB more.
    more = long["peak_megabytes"] - short["peak_megabytes"]
    assert more == pytest.approx(32 * 375 * (8 * 256 + 65) * 4 / 1e6, rel=0.25)


def test_the_picture_names_its_axes(measured):
    result, picture = measured
    texts = [element.text for element in ElementTree.parse(picture).iter(TEXT)]
    assert set(scaling.LABELS.values()) <= set(texts)
    assert scaling.caption(result["machine"]) in texts
    for sweep in (*result["sweeps"], result["memory"]):
        assert sweep["kept"] in texts
    assert picture.stat().st_size < 60_000
    again = picture.with_name("again.svg")
    scaling.draw(result, again)
    assert again.read_bytes() == picture.read_bytes()


def test_the_tables_have_a_row_for_each_point(measured, monkeypatch, tmp_path, capsys):
    result, _ = measured
    monkeypatch.setattr(scaling, "measure", lambda plan: result)
    scaling.main(["--picture", str(tmp_path / "picture.svg")])
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if line.startswith("| ") and "--" not in line]
    names = [line.split("|")[1].strip() for line in headings]
    assert names[:6] == ["hidden units per layer", "16", "32"] * 2
    assert names[-3:] == ["sequence length T (characters)", "25", "400"]
    assert lines[-1] == f"rounds {scaling.QUICK.rounds}"
    assert (tmp_path / "picture.svg").exists()


def test_sweeps_go_through_the_middle():
    one_layer, *others = scaling.FULL.sweeps()
    assert scaling.FULL.middle == (2, 256, 50, 50)
    assert scaling.FULL.middle._replace(layers=1) in one_layer.shapes
    for sweep in others:
        assert scaling.FULL.middle in sweep.shapes
        kept = [shape._replace(**{sweep.varied: 0}) for shape in sweep.shapes]
        assert len(set(kept)) == 1 and len(set(sweep.shapes)) == len(sweep.shapes)
    assert [sweep.kept for sweep in (one_layer, *others)] == [
        "1 layer, B = 50, T = 50",
        "2 layers, B = 50, T = 50",
        "256 units, B = 50, T = 50",
        "2 layers, 256 units, T = 50",
        "2 layers, 256 units, B = 50",
    ]


def test_a_picture_that_cannot_be_drawn_is_refused_at_once(monkeypatch, tmp_path, capsys):
    def refused(*arguments):
        with pytest.raises(SystemExit) as stopped:
            scaling.main(list(arguments))
        assert stopped.value.code == 2
        return capsys.readouterr().err

    assert "is no folder" in refused("--picture", str(tmp_path / "none" / "picture.svg"))
    monkeypatch.setattr(scaling, "find_spec", lambda name: None)
    assert "drawing needs matplotlib" in refused()
