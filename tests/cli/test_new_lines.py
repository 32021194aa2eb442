"""charlstm sample --new-only and --unique: lines that are not known, and no line twice."""

import json
import shutil

import pytest

import charlstm

HOT = ("--temperature", 2, "--seed", 5)


@pytest.fixture(scope="module")
def arguments(line_run):
    return ("sample", "-r", line_run, *HOT)


def test_new_only_leaves_out_known_lines_and_counts_them(cli, arguments, names):
    plain = cli(*arguments, "--count", 40).stdout.splitlines()
    result = cli(*arguments, "--count", 40, "--new-only")
    lines = result.stdout.splitlines()
    first = [line for line in dict.fromkeys(plain) if line and line not in names]
    assert 0 < len(first) < 40 and len(lines) == 40 and lines[: len(first)] == first
    assert not {"", *names} & set(lines)
    about = json.loads(cli(*arguments, "--count", 40, "--new-only", "--json").stdout)
    assert about["texts"] == lines and about["known_lines"] + about["repeated_lines"] >= 40
    counts = f"{about['known_lines']} known lines, {about['repeated_lines']} repeated lines"
    assert result.stderr == f"passed over: {counts}\n"
    assert set(about) == {"seed", "texts", "known_lines", "repeated_lines"}


def test_new_only_writes_no_line_twice(cli, line_run, names):
    arguments = ("sample", "-r", line_run, "--temperature", 1, "--seed", 5, "--count", 200)
    about = json.loads(cli(*arguments, "--new-only", "--json").stdout)
    assert len({*about["texts"], *names}) == 200 + len(names) and about["repeated_lines"] > 0


def test_unique_writes_no_line_twice(cli, line_run, names):
    arguments = ("sample", "-r", line_run, "--temperature", 0.7, "--seed", 5, "--count", 7)
    about = json.loads(cli(*arguments, "--unique", "--json").stdout)
    assert len(set(about["texts"])) == 7 and about["repeated_lines"] > 0
    hot = (*arguments, "--temperature", 2, "--unique", "--new-only", "--json", "--novelty")
    both = json.loads(cli(*hot).stdout)
    assert len({*both["texts"], *names}) == 7 + len(names)
    assert both["known_lines"] > 0 and both["novelty"]["known_lines"] == 0


def test_the_prime_belongs_to_the_line(cli, arguments):
    result = cli(*arguments, "--new-only", "--prime", "em", "--count", 9)
    lines = result.stdout.splitlines()
    assert len(lines) == 9 and "emil" not in lines and all(line[:2] == "em" for line in lines)
    hidden = cli(*arguments, "--new-only", "--prime", "em", "--count", 9, "--hide-prime")
    assert [f"em{line}" for line in hidden.stdout.splitlines()] == lines


def test_sampling_ends_where_all_lines_are_known(cli, line_run, names):
    arguments = ("sample", "-r", line_run, "--temperature", 0, "--seed", 1, "--count", 3)
    result = cli(*arguments, "--new-only", code=1)
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "passed over: 1,000 known lines, 0 repeated lines",
        "charlstm: found 0 of 3 lines: the next 1,000 lines were all passed over: try a higher "
        "--temperature, or a lower --count",
    ]
    about = json.loads(cli(*arguments, "--unique", "--json", code=1).stdout)
    assert len(about["texts"]) == 1 and about["texts"][0] in names
    assert about["repeated_lines"] == 1000


def test_corpus_names_the_known_lines(cli, arguments, line_run, tmp_path):
    lines = cli(*arguments, "--count", 30, "--new-only").stdout.splitlines()
    (tmp_path / "known.txt").write_text("\n".join([*lines[:10], "日本"]), encoding="utf-8")
    given = ("--new-only", "--corpus", tmp_path / "known.txt")
    others = cli(*arguments, "--count", 30, *given).stdout.splitlines()
    assert not set(lines[:10]) & set(others)
    shutil.copy(line_run / "best.safetensors", tmp_path / "alone.safetensors")
    alone = ("sample", "-r", tmp_path / "alone.safetensors", *HOT)
    result = cli(*alone[:3], "--new-only", code=1)
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert result.stderr.endswith(
        "sample --new-only --corpus PATH takes the known lines from PATH\n"
    )
    assert cli(*alone, "--count", 30, *given).stdout.splitlines() == others
    assert "give both" in cli(*arguments, "--corpus", tmp_path, code=2).stderr


def test_other_models_are_refused(cli, trained):
    for option in ("--new-only", "--unique"):
        result = cli("sample", "-r", trained, option, code=1)
        assert result.stderr.endswith(f"{option} is for a model of lines: train one with --lines\n")


def test_the_library_gives_the_lines_of_the_command(cli, arguments, line_run, names):
    printed = cli(*arguments, "--count", 20, "--new-only").stdout.splitlines()
    model = charlstm.load(line_run)
    options = {"unique": True, "temperature": 2, "seed": 5}
    assert list(model.sample_lines(20, known={"", *names}, **options)) == printed


@pytest.mark.parametrize("level", ["byte", "word"])
def test_lines_of_bytes_and_words(cli, tmp_path, level):
    known = ["grüße an alle", "grüße an köln", "alle an köln"]
    (tmp_path / "t.txt").write_text("\n".join(known * 40) + "\n", encoding="utf-8")
    options = {"hidden": 16, "steps": 60, "workers": 1, "lines": True, "val_split": "end"}
    run = charlstm.train(tmp_path / "t.txt", tmp_path / "run", level=level, **options).path
    arguments = ("sample", "-r", run, "--seed", 2, "--count", 12, "--json")
    lines = json.loads(cli(*arguments, "--new-only").stdout)["texts"]
    assert len(lines) == len(set(lines)) == 12 and not {"", *known} & set(lines)
