"""Rare characters that are spelled as bytes: the vocabulary, the decoder, and the text as ids."""

import numpy as np
import pytest

from charlstm import CharlstmError, Vocab
from charlstm.text.corpus import open_corpus
from charlstm.text.known_lines import KnownLines
from charlstm.text.sizes import utf8_size
from charlstm.text.spelling import CharacterCounts, to_spell, utf8

SPELLED = "日本語€𝄞"
VOCAB = Vocab.from_characters("\n abcé", spelled=SPELLED)


def test_code_points_become_the_bytes_of_utf8():
    codes = np.array([0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF, 0x20AC])
    found, sizes = utf8(codes)
    for code, bytes_, size in zip(codes, found, sizes, strict=True):
        assert bytes(bytes_[:size]) == chr(code).encode()
        assert not bytes_[size:].any()


def test_the_symbols_are_characters_and_then_the_bytes_that_spell_others():
    names = sorted({f"\\x{byte:02x}" for byte in SPELLED.encode()})
    assert VOCAB.symbols == (*"\n abcé", *names)
    assert VOCAB.characters == "\n abcé"
    assert Vocab.from_dict(VOCAB.to_dict()) == VOCAB


@pytest.mark.parametrize("text", ["", "abc", "日", "a日b é€𝄞c本\n", "𝄞𝄞", "語a"])
def test_a_text_is_the_same_after_encoding_and_decoding(text):
    ids = VOCAB.encode(text)
    assert len(ids) == sum(len(c.encode()) if c in SPELLED else 1 for c in text)
    assert VOCAB.decode(ids) == text
    assert VOCAB.count_characters(ids) == len(text)
    assert utf8_size(VOCAB, ids) == len(text.encode())
    decoder = VOCAB.decoder()
    assert "".join(map(decoder.feed, ids.tolist())) + decoder.finish() == text


def test_random_texts_are_the_same_after_encoding_and_decoding():
    rng = np.random.default_rng(0)
    rare = "".join(map(chr, rng.choice(np.r_[0x80:0xD800, 0xE000:0x11000], 300)))
    vocab = Vocab.from_characters("abc", spelled=rare)
    for _ in range(20):
        text = "".join(rng.choice([*"abc", *rare], 50))
        assert vocab.decode(vocab.encode(text)) == text


def test_incomplete_characters_become_replacement_characters():
    lead, second = VOCAB.encode("日")[:2]
    a = int(VOCAB.encode("a")[0])
    assert VOCAB.decode([lead, a, second, a, lead, second]) == "\ufffda\ufffda\ufffd"
    assert VOCAB.decode([lead, a], errors="surrogateescape") == "\udce6a"
    assert VOCAB.decoder().feed_all([lead, second, a]) == "\ufffda"


def test_a_character_whose_bytes_are_not_all_known_is_unknown():
    assert VOCAB.encode("a日xb", unknown="skip").tolist() == VOCAB.encode("a日b").tolist()
    assert VOCAB.replacements("日☃x") == {"☃": " ", "x": " "}
    with pytest.raises(CharlstmError, match="found at position 13"):
        VOCAB.encode("日本x", offset=11)
    with pytest.raises(CharlstmError, match="code point 9731"):
        VOCAB.encode_codes(np.array([0x65E5, 0x2603]))


@pytest.mark.parametrize(
    "symbols",
    [("a", "b", "\\xe9", "\\xc3"), ("a", "\\xe9", "b"), ("a", "b", "\\x41"), ("a", "\\xE9")],
)
def test_malformed_symbols_are_refused(symbols):
    with pytest.raises(CharlstmError):
        Vocab("char", symbols)


def test_rare_characters_are_those_below_the_limit_unless_too_few():
    counts = CharacterCounts()
    counts.add(np.r_[np.repeat(0xE9, 10), np.arange(0x3041, 0x30F7), np.arange(0x3041, 0x3050)])
    assert counts.numbers.tolist() == [10] + [2] * 15 + [1] * 167
    assert to_spell(counts, 2).tolist() == list(range(0x3050, 0x30F7))
    assert to_spell(counts, 1).tolist() == []
    few = CharacterCounts()
    few.add(np.arange(0x3041, 0x3061))
    assert to_spell(few, 5).tolist() == []  # 32 characters need 34 bytes


@pytest.fixture
def rare_text(write):
    """A text of 20,000 characters, of which 100 occur once."""
    rare = "".join(map(chr, range(0x4E00, 0x4E64)))
    text = "".join(f"{'ab é' * 49}{c}\n" for c in rare)
    return write("rare.txt", text), text, rare


def test_a_corpus_spells_rare_characters(rare_text):
    path, text, rare = rare_text
    corpus = open_corpus([path], spell_below=1e-3)
    assert corpus.vocab == Vocab.from_characters("\n abé", spelled=rare)
    assert corpus.length == len(text) + 2 * len(rare)
    assert corpus.vocab.decode(corpus.ids) == text
    assert corpus.bytes == len(text.encode()) == utf8_size(corpus.vocab, corpus.ids)
    plain = open_corpus([path])
    assert (plain.length, len(plain.vocab)) == (len(text), 105)


def test_characters_that_a_base_vocabulary_spells_stay_spelled(rare_text, write):
    path, _, rare = rare_text
    base = open_corpus([path], spell_below=1e-3).vocab
    other = open_corpus([write("b.txt", f"abc{rare}☃" * 9)], base_vocab=base, spell_below=0.5)
    assert set(other.vocab.symbols) - set(base.symbols) == {"c", "☃"}
    assert other.vocab.decode(other.ids) == f"abc{rare}☃" * 9


def test_files_keep_their_numbers_of_symbols(write):
    rare = [chr(code) for code in range(0x4E00, 0x4E64)]
    files = [write(f"{k}.txt", "ab " * 900 + "".join(rare[k::2])) for k in (0, 1)]
    corpus = open_corpus(files, spell_below=1e-3, held_out=0.1, chunk_bytes=1000)
    assert corpus.validation_sizes.tolist() == [285, 285]  # of 2,700 + 150 symbols each


def test_known_lines_compare_spelled_characters():
    known = KnownLines(VOCAB.encode("a日\nb€\n"), VOCAB)
    assert "a日" in known and "b€" in known
    assert "a本" not in known and "a☃" not in known and "a" not in known
