"""The cache of encoded texts: its entries, its limit and its folder."""

import json
import os
import tempfile
import time
from pathlib import Path

import pytest
from corpus_files import SENTENCE, entries, text_of

from charlstm.errors import CharlstmError
from charlstm.text import cache as cache_module
from charlstm.text import cache_entry
from charlstm.text import corpus as corpus_module
from charlstm.text.cache import cache_folder, cache_size, clear_cache
from charlstm.text.cache_entry import FACTS, IDS, remove_damaged_entries
from charlstm.text.corpus import open_corpus

pytestmark = pytest.mark.usefixtures("cache")


def test_a_second_opening_comes_from_the_cache(write, cache, monkeypatch):
    path = write("a", SENTENCE)
    first = open_corpus([path])
    assert len(entries(cache)) == 1
    assert sorted(entries(cache / entries(cache)[0])) == [FACTS, IDS]
    monkeypatch.setattr(corpus_module, "_make_entry", lambda *_: pytest.fail("encoded again"))
    elsewhere = write("other/name", SENTENCE)
    second = open_corpus([elsewhere])
    assert second.ids.tolist() == first.ids.tolist()
    assert second.vocab == first.vocab and second.digest == first.digest
    assert (second.bytes, second.train_length) == (first.bytes, first.train_length)
    assert second.paths == (str(elsewhere),)


def test_the_key_of_an_entry_is_its_content_not_its_time(write, cache):
    path = write("a", "abcabc")
    before = path.stat()
    first = open_corpus([path])
    path.write_text("abcabd")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = open_corpus([path])
    assert text_of(second) == "abcabd" and text_of(first) == "abcabc"
    assert second.digest != first.digest
    assert len(entries(cache)) == 2


def cut(entry):
    with (entry / IDS).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 1)


def lengthen(entry):
    with (entry / IDS).open("ab") as file:
        file.write(b"\0")


def flip_a_bit(name, place):
    def damage(entry):
        data = bytearray((entry / name).read_bytes())
        data[place] ^= 1
        (entry / name).write_bytes(data)

    return damage


def change(**facts):
    def damage(entry):
        record = json.loads((entry / FACTS).read_text())
        record["facts"] |= facts
        (entry / FACTS).write_text(json.dumps(record))

    return damage


def remove_a_fact(entry):
    """An entry of an earlier version, whose facts have the right checksum."""
    record = json.loads((entry / FACTS).read_text())
    del record["facts"]["file_symbols"]
    record["checksum"] = cache_entry._checksum(record["facts"])
    (entry / FACTS).write_text(json.dumps(record))


DAMAGES = {
    "facts of another version": remove_a_fact,
    "cut": cut,
    "longer": lengthen,
    "empty ids": lambda entry: (entry / IDS).write_bytes(b""),
    "another id": flip_a_bit(IDS, 20),
    "another last id": flip_a_bit(IDS, -1),
    "another digit": flip_a_bit(FACTS, -3),
    "no ids": lambda entry: (entry / IDS).unlink(),
    "no facts": lambda entry: (entry / FACTS).unlink(),
    "cut facts": lambda entry: (entry / FACTS).write_text('{"vocab"'),
    "facts that are not UTF-8": lambda entry: (entry / FACTS).write_bytes(b'{"\xff": 1}'),
    "deep nesting": lambda entry: (entry / FACTS).write_text("[" * 100_000),
    "JSON of another kind": lambda entry: (entry / FACTS).write_text("[]"),
    "facts of another kind": lambda entry: (entry / FACTS).write_text('{"facts": 1}'),
    "bad vocabulary": change(vocab={"level": "char", "symbols": ["b", "a"]}),
    "other level": change(vocab={"level": "byte"}),
    "other size of a file": change(file_symbols=[10**6]),
    "ids are a folder": lambda entry: [(entry / IDS).unlink(), (entry / IDS).mkdir()],
    "empty folder": lambda entry: [path.unlink() for path in entry.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_anew(write, cache, damage):
    path = write("a", SENTENCE)
    open_corpus([path])
    (entry,) = cache.iterdir()
    undamaged = {file.name: file.read_bytes() for file in entry.iterdir()}
    damage(entry)
    corpus = open_corpus([path])
    assert text_of(corpus) == SENTENCE and corpus.train_length == len(SENTENCE)
    assert entries(cache) == [entry.name]
    assert {file.name: file.read_bytes() for file in entry.iterdir()} == undamaged


def test_ids_of_another_type_are_made_anew(write, cache, monkeypatch):
    path = write("a", "".join(map(chr, range(300))))
    expected = open_corpus([path]).ids.tolist()
    (entry,) = cache.iterdir()
    record = json.loads((entry / FACTS).read_text())
    record["facts"]["ids_type"] = ">u2"  # as on a machine of the other byte order
    record["checksum"] = cache_entry._checksum(record["facts"])
    (entry / FACTS).write_text(json.dumps(record))
    assert open_corpus([path]).ids.tolist() == expected
    assert json.loads((entry / FACTS).read_text())["facts"]["ids_type"] == "<u2"


def test_an_error_in_the_program_is_not_taken_for_damage(write, cache, monkeypatch):
    path = write("a", SENTENCE)
    open_corpus([path])

    def fail(saved):
        raise KeyError("a bug")

    monkeypatch.setattr(cache_entry.Vocab, "from_dict", fail)
    with pytest.raises(KeyError, match="a bug"):
        open_corpus([path])
    assert len(entries(cache)) == 1


def test_a_long_text_that_was_changed_in_the_cache_is_made_anew(write, cache, monkeypatch):
    monkeypatch.setattr(cache_entry, "CHECKED_BYTES", 0)
    path = write("a", SENTENCE)
    open_corpus([path])
    (entry,) = cache.iterdir()
    later = time.time_ns() + 10**9
    flip_a_bit(IDS, 20)(entry)
    os.utime(entry / IDS, ns=(later, later))
    assert text_of(open_corpus([path])) == SENTENCE


def test_the_ids_of_a_copied_cache_are_read_only_once_for_a_check(write, cache, monkeypatch):
    monkeypatch.setattr(cache_entry, "CHECKED_BYTES", 0)
    path, read = write("a", SENTENCE), []
    open_corpus([path])
    (entry,) = cache.iterdir()
    os.utime(entry / FACTS, (1000, 1000))
    checksum = cache_entry._file_checksum
    monkeypatch.setattr(
        cache_entry, "_file_checksum", lambda path: read.append(path) or checksum(path)
    )
    for _ in range(2):
        assert text_of(open_corpus([path])) == SENTENCE
        assert read == [entry / IDS]


def test_of_long_texts_only_a_check_of_the_cache_reads_every_id(write, cache, monkeypatch):
    monkeypatch.setattr(cache_entry, "CHECKED_BYTES", len(SENTENCE))
    paths = [write("short", SENTENCE), write("long", SENTENCE + "."), write("intact", "abc")]
    for path in paths:
        before = set(entries(cache))
        corpus = open_corpus([path])
        (name,) = set(entries(cache)) - before
        if path.name != "intact":
            flip_a_bit(IDS, 20)(cache / name)
            os.utime(cache / name / IDS, (1000, 1000))  # as if a bit of the disk had flipped
    assert text_of(open_corpus(paths[:1])) == SENTENCE
    corpus = open_corpus(paths[1:2])
    assert text_of(corpus) != SENTENCE + "."
    calls = []
    assert remove_damaged_entries(lambda *call: calls.append(call)) == (2, 1)
    assert calls == [(done, 3, "checking") for done in (1, 2, 3)]
    assert text_of(open_corpus(paths[1:2])) == SENTENCE + "."
    assert remove_damaged_entries() == (3, 0)


def test_an_entry_that_cannot_be_written_leaves_nothing(write, cache, monkeypatch):
    path = write("a", SENTENCE)
    monkeypatch.setattr(
        cache_entry.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(CharlstmError) as caught:
        open_corpus([path])
    message = str(caught.value)
    for part in (str(cache), f"{len(SENTENCE)} bytes", "No space left", "CHARLSTM_CACHE"):
        assert part in message
    assert entries(cache) == []


def test_two_processes_can_make_the_same_entry(write, cache, monkeypatch):
    path = write("a", SENTENCE)
    make = corpus_module._make_entry
    seen = []

    def make_twice(root, key, *rest):
        seen.append(key)
        if len(seen) == 1:
            # As if another process finished between this one's look and its rename.
            original = Path.rename

            def rename(self, target):
                monkeypatch.setattr(Path, "rename", original)
                make(root, key, *rest)
                return original(self, target)

            monkeypatch.setattr(Path, "rename", rename)
        make(root, key, *rest)

    monkeypatch.setattr(corpus_module, "discard", lambda _: None)
    monkeypatch.setattr(corpus_module, "_make_entry", make_twice)
    assert text_of(open_corpus([path])) == SENTENCE
    assert entries(cache) == [seen[0]]


def test_an_entry_that_vanishes_at_once_is_reported(write, cache, monkeypatch):
    monkeypatch.setattr(corpus_module, "_make_entry", lambda *_: None)
    with pytest.raises(CharlstmError, match=r"stored there cannot be used") as caught:
        open_corpus([write("a", SENTENCE)])
    assert str(caught.value).startswith(f"{cache}: ")


def test_the_least_recently_used_entries_are_removed_first(write, cache, monkeypatch):
    texts = {name: "ab" + name * 998 for name in "cdef"}
    paths = {name: write(name, text) for name, text in texts.items()}
    names = {}
    for age, name in enumerate("cde"):
        known = set(entries(cache))
        open_corpus([paths[name]])
        (names[name],) = set(entries(cache)) - known
        os.utime(cache / names[name], (1000 + age, 1000 + age))
    open_corpus([paths["c"]])  # used again: now d is the oldest
    size, count = cache_size()
    assert count == 3 and 3 * 1000 < size < 3 * 1500
    monkeypatch.setenv("CHARLSTM_CACHE_GB", str(size / 1e9))
    open_corpus([paths["f"]])
    assert names["d"] not in entries(cache)
    assert {names["c"], names["e"]} < set(entries(cache)) and len(entries(cache)) == 3
    monkeypatch.setenv("CHARLSTM_CACHE_GB", "0")
    open_corpus([write("g", "abg")])
    assert len(entries(cache)) == 1 and text_of(open_corpus([write("g", "abg")])) == "abg"


@pytest.mark.parametrize("limit", ["-1", "much", "nan"])
def test_a_bad_limit_is_refused(write, monkeypatch, limit):
    monkeypatch.setenv("CHARLSTM_CACHE_GB", limit)
    with pytest.raises(CharlstmError, match="CHARLSTM_CACHE_GB must be a number"):
        open_corpus([write("a", SENTENCE)])


def test_clearing_leaves_the_files_of_others(write, cache):
    open_corpus([write("a", SENTENCE)])
    (cache / "notes.txt").write_text("mine")
    (cache / f"{'0' * 64}.00ff.tmp").mkdir()
    (cache / f"{'0' * 64}.00ff.tmp" / IDS).write_bytes(b"x" * 1000)
    size, count = cache_size()
    assert count == 1 and size > 1000 + len(SENTENCE)
    assert clear_cache() == size
    assert cache_size() == (0, 0)
    assert entries(cache) == ["notes.txt"]


def test_unfinished_entries_of_killed_processes_are_removed_after_a_day(write, cache):
    old, new = (cache / f"{'0' * 64}.{name}.tmp" for name in ("aa", "bb"))
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (time.time() - 90000,) * 2)
    open_corpus([write("a", SENTENCE)])
    assert not old.exists() and new.exists()


def test_an_explicit_folder_is_used_instead(write, cache, tmp_path):
    open_corpus([write("a", SENTENCE)], cache=tmp_path / "deep" / "own")
    assert len(entries(tmp_path / "deep" / "own")) == 1
    assert entries(cache) == []


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "{}/xdg"}, "xdg/charlstm"),
        ("linux", {}, "home/.cache/charlstm"),
        ("linux", {"CHARLSTM_CACHE": "{}/own"}, "own"),
        ("darwin", {"XDG_CACHE_HOME": "{}/xdg"}, "home/Library/Caches/charlstm"),
        ("win32", {"LOCALAPPDATA": "{}/local"}, "local/charlstm"),
        ("win32", {}, "home/AppData/Local/charlstm"),
    ],
)
def test_the_folder_of_the_cache_depends_on_the_platform(
    tmp_path, monkeypatch, platform, variables, expected
):
    for name in ("CHARLSTM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    monkeypatch.setattr(cache_module.sys, "platform", platform)
    assert cache_folder() == tmp_path / expected
    assert cache_folder().is_dir()


def no_default_cache(monkeypatch, file):
    """Make the default folder of the cache one that cannot be made, as its parent is a file."""
    monkeypatch.delenv("CHARLSTM_CACHE", raising=False)
    monkeypatch.setattr(cache_module, "_platform_folder", lambda: file)


def test_a_default_cache_that_cannot_be_made_is_a_temporary_folder(write, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    no_default_cache(monkeypatch, write("a-file", "x"))
    folder = cache_folder()
    assert folder == temporary / f"charlstm-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert text_of(open_corpus([write("a", SENTENCE)])) == SENTENCE
    assert len(entries(folder)) == 1


def test_a_cache_of_the_user_that_cannot_be_made_is_refused(write, cache, monkeypatch):
    file = write("a-file", "x")
    for folder, reason in ((file, "it is a file"), (file / "cache", "Not a directory")):
        monkeypatch.setenv("CHARLSTM_CACHE", str(folder))
        for use in (cache_size, clear_cache, lambda: open_corpus([write("a", SENTENCE)])):
            with pytest.raises(CharlstmError, match=f"^CHARLSTM_CACHE={folder}: .*: {reason}: "):
                use()
    # root may write to every folder
    monkeypatch.setenv("CHARLSTM_CACHE", str(cache))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CharlstmError, match="Permission denied: name another one"):
        open_corpus([write("a", SENTENCE)])


def test_a_temporary_folder_of_another_user_is_not_used(write, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    no_default_cache(monkeypatch, write("a-file", "x"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"charlstm-{os.getuid()}").symlink_to(tmp_path / "theirs")
    folder = cache_folder()
    assert folder.parent == tmp_path and folder.name.startswith("charlstm-")
    assert not folder.is_symlink() and entries(tmp_path / "theirs") == []
