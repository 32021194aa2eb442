"""bfloat16.py: rows are the losses of runs, and a row that is there is not measured again."""

import bfloat16 as script
import common
import pytest

import charlstm

SMALL = {"layers": 1, "hidden": 8, "batch_size": 4, "seq_length": 10, "lr": 0.01}
ORIGIN = common.Origin("some kernels", "Some CPU", "3", "abc1234")


@pytest.fixture(autouse=True)
def small(monkeypatch, text_file):
    monkeypatch.setattr(script, "SETTING", script.SETTING | SMALL)
    monkeypatch.setattr(script, "TEXTS", ("reber",))
    monkeypatch.setattr(script, "find_text", lambda name: {"reber.txt": text_file}[name])
    monkeypatch.setattr(script, "this_origin", lambda: ORIGIN)


def call(table, *more):
    script.main(["--steps", "5", "--seeds", "0", "7", "--table", str(table), *more])


def cells_of(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_rows_are_the_losses_of_runs_and_the_summary_their_means(tmp_path, text_file, capsys):
    call(tmp_path / "t.tsv")
    results = script.read_results(tmp_path / "t.tsv")
    keys = [(seed, precision) for seed in (0, 7) for precision in ("float32", "bfloat16")]
    assert [each[:4] for each in results] == [("reber", 5, *key) for key in keys]
    assert all(each.origin == ORIGIN for each in results)
    nats = [each.nats for each in results]
    for (seed, precision), result in zip(keys, results, strict=True):
        setting = script.SETTING | {"warmup": 0, "steps": 5, "eval_every": 5, "seed": seed}
        folder = tmp_path / f"{seed} {precision}"
        run = charlstm.train(text_file, folder, precision=precision, **setting)
        assert run.best_val_loss == result.nats
        assert common.stored_settings(folder) == result.settings
    assert nats[0] != nats[1] and nats[0] != nats[2]
    heading, _, line = capsys.readouterr().out.splitlines()
    cells = cells_of(line)
    mean = [(nats[0] + nats[2]) / 2, (nats[1] + nats[3]) / 2]
    assert cells[:3] == ["reber", f"{mean[0]:.4f}", f"{mean[1]:.4f}"]
    assert cells[3].startswith(f"{mean[1] - mean[0]:+.4f} (")
    assert float(cells[5]) == pytest.approx(mean[0] / 0.6931472 - 0.538462, abs=1e-4)
    assert cells[7:] == ["5", "some kernels", "Some CPU, 3 cores", "abc1234"]
    assert len(cells) == len(cells_of(heading))


def test_a_run_is_made_again_only_without_a_row_of_its_key(tmp_path, monkeypatch):
    path, measured = tmp_path / "t.tsv", []

    def measure(trial, origin):
        measured.append(trial)
        if len(measured) == 3:
            raise KeyboardInterrupt
        settings = common.resolved_settings(script.find_text("reber.txt"), trial.options)
        return script.Result(*trial, 1.5, 60, settings, *origin)

    monkeypatch.setattr(script, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        call(path)
    assert path.read_text().count("\n") == 3  # the heading and the two runs before
    call(path)
    expected = [("reber", 5, seed, p) for seed in (0, 7) for p in script.PRECISIONS]
    assert measured == [*expected[:3], *expected[2:]]
    before = path.read_text()
    call(path)
    assert path.read_text() == before and len(measured) == 5
    call(path, "--steps", "6")
    assert len(measured) == 9
    monkeypatch.setattr(script, "SETTING", script.SETTING | {"clip": 2.0})
    call(path)
    assert len(measured) == 13
    for changed in ({"kernels": "x"}, {"cpu": "x"}, {"cores": "4"}, {"commit": "abc1234+"}):
        monkeypatch.setattr(script, "this_origin", lambda new=changed: ORIGIN._replace(**new))
        before = len(measured)
        call(path)
        call(path)
        assert len(measured) == before + 4


def test_all_rows_are_printed_without_a_text(tmp_path, monkeypatch, capsys):
    path = tmp_path / "t.tsv"
    call(path)
    ours = capsys.readouterr().out.splitlines()
    stale = common.Origin("other kernels", "", "", "stale: before abc1234")
    for seed, nats in ((0, 1.25), (7, 1.75)):
        for trial in (script.Trial("reber", 5, seed, p) for p in script.PRECISIONS):
            common.append_row(path, script.Result(*trial, nats, 60, "", *stale)._asdict())
    unpaired = script.Result("reber", 5, 0, "float32", 1.0, 60, "", *stale._replace(cpu="x"))
    common.append_row(path, unpaired._asdict())
    monkeypatch.setattr(script, "find_text", None)
    call(path, "--print")
    lines = capsys.readouterr().out.splitlines()
    assert [cells_of(line) for line in lines[:3:2]] == [cells_of(line) for line in ours[::2]]
    assert cells_of(lines[3])[:3] == ["reber", "1.5000", "1.5000"]
    assert cells_of(lines[3])[8:] == ["other kernels", "not recorded", "stale: before abc1234"]
    assert len(lines) == 4


def test_the_committed_table_is_read(monkeypatch, capsys):
    monkeypatch.setattr(script, "TEXTS", ("tinyshakespeare", "reber", "play"))
    script.main(["--print"])
    rows = [cells_of(line) for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows[:3]] == ["tinyshakespeare", "reber", "play"]
    assert rows[0][1:3] == ["1.5129", "1.5124"] and rows[0][-1] == "stale: before d6328c7"


def test_wrong_options_and_a_missing_text_are_refused(tmp_path, monkeypatch, capsys):
    for arguments in (["--steps", "0"], ["--texts", "novel"]):
        with pytest.raises(SystemExit):
            script.main(arguments)
    errors = capsys.readouterr().err
    assert "--steps must be 1" in errors and "invalid choice" in errors
    monkeypatch.setattr(script, "find_text", common.find_text)
    monkeypatch.setattr(common, "TEXT_FOLDERS", (tmp_path,))
    with pytest.raises(SystemExit, match=r"reber\.txt is neither in data/"):
        call(tmp_path / "t.tsv")
    assert not (tmp_path / "t.tsv").exists()
