"""The last part of each file as validation text: its sizes, its ids, and its shortening."""

import gzip
import json

import numpy as np
import pytest
from corpus_files import entries

from charlstm.config import CorpusConfig
from charlstm.text.corpus import open_corpus, split_train_validation
from charlstm.text.file_split import held_out_sizes, shortened, starts_of_parts

pytestmark = pytest.mark.usefixtures("cache")


def split_of(corpus, **settings):
    """The text to train on and the parts of the text to validate on."""
    split = split_train_validation(corpus, CorpusConfig(**settings), lines=False)
    parts = np.split(split.validation, split.starts[1:])
    return corpus.vocab.decode(split.train), [corpus.vocab.decode(part) for part in parts]


def test_a_file_too_small_for_a_part_is_only_trained_on():
    sizes = np.array([0, 1, 2, 10, 11, 19, 20, 100])
    assert held_out_sizes(sizes, 0.1).tolist() == [0, 0, 0, 0, 2, 2, 2, 10]
    assert held_out_sizes(sizes, 0.0).tolist() == [0] * 8
    assert held_out_sizes(sizes, 0.75).tolist() == [0, 0, 2, 8, 9, 15, 15, 75]


def test_starts_of_parts_leave_out_empty_parts():
    assert starts_of_parts(np.array([0, 3, 0, 2, 4, 0])).tolist() == [0, 3, 5]
    assert starts_of_parts(np.array([0, 0])).tolist() == []


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
@pytest.mark.parametrize("level", ["char", "byte"])
def test_the_end_of_each_file_is_held_out(write, level, chunk_bytes):
    files = [write("1", "abcdefghij" * 2), write("2", gzip.compress(b"K" * 36 + b"1234"))]
    files += [write("3", "xyz"), write("4", ""), write("5", "-" * 18 + "+=")]
    corpus = open_corpus(files, level=level, held_out=0.1, chunk_bytes=chunk_bytes)
    train, parts = split_of(corpus, val_split="each")
    assert train == "abcdefghijabcdefgh" + "K" * 36 + "xyz" + "-" * 18
    assert parts == ["ij", "1234", "+="]
    assert corpus.validation_sizes.tolist() == [2, 4, 0, 0, 2]


def test_words_of_different_files_stay_apart(write):
    files = [write("1", "one two three four"), write("2", "five six seven eight")]
    train, parts = split_of(open_corpus(files, level="word", held_out=0.5), val_split="each")
    assert train == "one two five six" and parts == ["three four", "seven eight"]


@pytest.mark.parametrize("fraction", [0.1, 0.3, 1 / 3, 0.9])
@pytest.mark.parametrize("size", [5, 100, 1234])
def test_the_end_of_a_single_file_is_the_end_of_the_text(write, cache, size, fraction):
    path = write("1", "".join(chr(65 + k % 50) for k in range(size)))
    each = split_of(open_corpus([path], held_out=fraction), val_split="each", val_frac=fraction)
    end = split_of(open_corpus([path]), val_split="end", val_frac=fraction)
    if len(end[1][0]) > 1:
        assert each == end
    assert len(entries(cache)) == 1


def test_texts_held_out_differently_do_not_share_an_entry(write, cache):
    files = [write("1", "abcdefghij" * 4), write("2", "klmnopqrst" * 4)]
    plain = open_corpus(files)
    texts = [split_of(open_corpus(files, held_out=f), val_split="each")[1] for f in (0.1, 0.05)]
    assert texts == [["ghij", "qrst"], ["ij", "st"]]
    assert plain.vocab.decode(plain.ids) == "abcdefghij" * 4 + "klmnopqrst" * 4
    assert len(entries(cache)) == 3
    assert plain.digest == open_corpus(files, held_out=0.1).digest
    for entry in cache.iterdir():
        facts = json.loads((entry / "facts.json").read_text())["facts"]
        assert facts["file_symbols"] == [40, 40]
        assert {file.name for file in entry.iterdir()} == {"facts.json", "ids.bin"}


def parts_of(ids, starts):
    return [part.tolist() for part in np.split(ids, starts[1:])]


def test_a_shortened_text_has_the_beginning_of_each_part():
    ids, starts = np.arange(1_000), np.array([0, 500, 600])
    assert parts_of(*shortened(ids, starts, 5_000, 10)) == parts_of(ids, starts)
    parts = parts_of(*shortened(ids, starts, 100, 10))
    assert parts == [[*range(50)], [*range(500, 510)], [*range(600, 640)]]
    # With room for only 2 parts of 10, the longest are kept.
    parts = parts_of(*shortened(ids, starts, 27, 10))
    assert parts == [[*range(15)], [*range(600, 612)]]
    assert parts_of(*shortened(ids, starts, 5, 10)) == [[0, 1, 2, 3, 4]]


def test_a_text_of_very_many_small_parts_is_shortened_to_some_of_them():
    ids, starts = np.arange(30_000), np.arange(0, 30_000, 3)
    parts = parts_of(*shortened(ids, starts, 1_000, 100))
    assert parts == [[3 * k, 3 * k + 1, 3 * k + 2] for k in range(10)]
