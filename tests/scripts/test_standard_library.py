"""scripts/corpora/standard_library.py, mostly on a small library of its own."""

from __future__ import annotations

import pytest
import standard_library


@pytest.fixture
def library(tmp_path, monkeypatch):
    root = tmp_path / "lib"
    files = {
        "b.py": b"b = 1\r\n",
        "a.py": b"a = 1",
        "pkg/z.py": "# -*- coding: latin-1 -*-\nz = '\u00e9'\n\n".encode("latin-1"),
        "pkg/bad.py": b"x = '\xff'\n",
        "pkg/coding.py": b"# coding: no-such-codec\n",
        "test/t.py": b"t = 1\n",
        "site-packages/s.py": b"s = 1\n",
        "pkg/tests/u.py": b"u = 1\n",
        "notes.txt": b"no source\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    monkeypatch.setattr(standard_library.sysconfig, "get_path", lambda name: str(root))
    return root


def test_sources_that_can_be_decoded_are_joined_in_the_order_of_their_paths(
    library, tmp_path, capsys
):
    output = tmp_path / "corpus.txt"
    assert standard_library.main([str(output)]) == 0
    whole = "a = 1\n\nb = 1\n\n# -*- coding: latin-1 -*-\nz = '\u00e9'\n\n"
    assert output.read_bytes() == whole.encode("utf-8")
    size = len(whole.encode("utf-8"))
    assert capsys.readouterr().err.splitlines() == [
        "pkg/bad.py: skipped, cannot be decoded",
        "pkg/coding.py: skipped, cannot be decoded",
        f"{output}: {size} bytes from 3 texts",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt", "lib"]


def test_documentation_is_each_docstring_once_and_the_topics_of_help(
    library, tmp_path, capsys, monkeypatch
):
    (library / "a.py").write_text(
        '"""About a."""\n\nclass A:\n    """A class\n    of two lines."""\n\n    def f(self):\n'
        '        """Said once."""\n'
    )
    (library / "b.py").write_text('def g():\n    """Said once."""\n')
    (library / "c.py").write_text("print 'of another Python'\n")
    monkeypatch.setattr(standard_library, "topics", {"if": "The if statement.\n"})
    output = tmp_path / "corpus.txt"
    assert standard_library.main([str(output), "--documentation"]) == 0
    assert output.read_text() == (
        "About a.\n\nA class\nof two lines.\n\nSaid once.\n\nThe if statement.\n\n"
    )
    lines = capsys.readouterr().err.splitlines()
    assert "c.py: skipped, not valid in this version of Python" in lines
    assert lines[-1].endswith(" bytes from 2 texts")


def test_a_limit_cuts_between_files(library, tmp_path):
    output = tmp_path / "corpus.txt"
    assert standard_library.main([str(output), "--megabytes", "0.000014"]) == 0
    assert output.read_bytes() == b"a = 1\n\nb = 1\n\n"
    assert standard_library.main([str(output), "--megabytes", "0.000013"]) == 0
    assert output.read_bytes() == b"a = 1\n\n"


def test_a_limit_below_the_first_file_writes_nothing(library, tmp_path, capsys):
    output = tmp_path / "corpus.txt"
    assert standard_library.main([str(output), "--megabytes", "0.000001"]) == 1
    assert capsys.readouterr().err == (
        "standard_library: nothing written, as the first source is above --megabytes\n"
    )
    assert not output.exists()


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_an_invalid_limit_is_refused(value, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        standard_library.main([str(tmp_path / "corpus.txt"), f"--megabytes={value}"])
    assert stop.value.code == 2
    assert f"invalid number of megabytes above 0 value: '{value}'" in capsys.readouterr().err


def test_a_missing_folder_is_reported_in_one_line(library, tmp_path, capsys):
    assert standard_library.main([str(tmp_path / "none" / "corpus.txt")]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("standard_library: ") and "No such file" in last


def test_the_sources_of_this_interpreter_are_joined(tmp_path):
    output = tmp_path / "corpus.txt"
    assert standard_library.main([str(output), "--megabytes", "0.3"]) == 0
    text = output.read_text(encoding="utf-8")
    assert 50_000 < len(text) <= 300_000
    assert "import" in text and "\r" not in text
