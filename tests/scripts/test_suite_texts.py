"""texts.py: the halves of the suite, and texts made of files."""

import gzip
import json
import subprocess

import pytest
import texts


def test_the_halves_are_those_that_the_table_records():
    suite = texts.read_suite()
    assert list(suite) == list(texts.SOURCES)
    assert {name: entry.half for name, entry in suite.items()} == {
        name: texts.half_of(name) for name in texts.SOURCES
    }
    assert texts.CHOOSING == (
        "c", "dictionary", "german", "japanese", "python", "reber", "shakespeare"
    )  # fmt: skip
    assert texts.REPORTING == (
        "book", "fortunes", "manuals", "names", "perl", "play", "russian"
    )  # fmt: skip
    sizes = [int(entry.characters) for entry in suite.values()]
    assert min(sizes) > 100_000
    assert max(sizes) == texts.LIMIT


def write(folder, **contents):
    paths = []
    for name, content in contents.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(path)
    return paths


def test_files_are_joined_by_name_and_unpacked(tmp_path):
    (tmp_path / "a").mkdir()
    files = write(tmp_path, y="2\r\n", x_gz=gzip.compress("één".encode()), v=b"\xff")
    files += write(tmp_path / "a", z="3")
    assert texts.joined(files) == "\ufffd\néén\n2\n\n3"


def test_a_book_has_no_tags(tmp_path):
    page = "<html><style>p {}</style><p class='a'>Salt &amp; pepper</p>\n \n\n<p>ends\n</html>"
    assert texts.without_tags(write(tmp_path, page_html=page)) == "Salt & pepper\n\nends\n"


def test_each_name_stands_once_and_in_the_same_order_every_time(tmp_path):
    content = json.dumps({"3166-1": [{"name": name} for name in "abcdeabcde"]})
    text = texts.names(write(tmp_path, iso=content))
    assert sorted(text.splitlines()) == list("abcde")
    assert text == texts.names(write(tmp_path, iso=content)) != "a\nb\nc\nd\ne\n"


def test_the_technical_text_has_every_sixth_small_file(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "LARGE", 10)
    files = write(tmp_path, **{f"f{n:02}": str(n) for n in range(13)}, a="a" * 11)
    assert texts.sixth_files(files) == "0\n6\n12"


def test_a_text_of_another_package_is_said_to_differ():
    entry = texts.Entry("c", "choosing", "1", "1", "ab", "p 2")
    assert texts.difference(entry, entry._replace(packages="p 1")) is None
    assert "made of p 2, the recorded one of p 1" in str(
        texts.difference(entry, entry._replace(sha256="cd", packages="p 1"))
    )
    assert "not recorded" in str(texts.difference(entry, None))


def test_a_text_is_made_of_the_files_of_its_packages(tmp_path, monkeypatch, capsys):
    def unpack(packages, folder):
        write(folder, b_h="int b;", a_c="int a;", note_txt="no")
        (folder / "link.c").symlink_to(folder / "a.c")
        return [f"{package} 1" for package in packages]

    monkeypatch.setattr(texts, "unpack", unpack)
    monkeypatch.setattr(texts, "FOLDER", tmp_path / "suite")
    texts.main(["c"])
    assert texts.suite_text("c").read_text() == "int a;\nint b;"
    printed = capsys.readouterr()
    assert printed.out == "c\tchoosing\t13\t13\n"
    assert "it is made of libstb-dev 1, the recorded one of libstb-dev 0.0" in printed.err
    with pytest.raises(SystemExit, match=r"texts.py german"):
        texts.suite_text("german")


def test_a_failed_download_and_an_unknown_text_are_errors_of_one_line(monkeypatch, capsys):
    def failing(packages, folder):
        raise subprocess.CalledProcessError(100, ["apt-get", "download"], stderr="E: a\nE: none\n")

    monkeypatch.setattr(texts, "unpack", failing)
    with pytest.raises(SystemExit, match=r"^c: apt-get download failed: E: none$"):
        texts.main(["c"])
    with pytest.raises(SystemExit):
        texts.main(["latin"])
    assert "no text 'latin': choose from book, c" in capsys.readouterr().err
