"""Vocabularies: round trips at each level, unknown characters, refusals."""

import codecs
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm.errors import CharlstmError
from charlstm.text.vocab import Vocab, code_points

# All that a Python string can hold, with NULs, byte-order marks and lone surrogates.
ANY_CHARACTER = st.one_of(
    st.characters(codec=None, exclude_categories=()),
    st.sampled_from("\0\ufeff\r\n\ud800\udbff\udc00\udfff\U0010ffff"),
)
ANY_TEXT = st.text(ANY_CHARACTER)
LEARNABLE = ANY_TEXT.filter(lambda text: len(set(text)) >= 2)


@given(LEARNABLE)
def test_char_round_trip(text):
    vocab = Vocab.from_text(text)
    ids = vocab.encode(text)
    assert vocab.decode(ids) == text
    assert ids.dtype == vocab.dtype
    assert [vocab.symbols[k] for k in ids] == list(text)
    assert vocab.encode_codes(code_points(text)).tolist() == ids.tolist()
    decoder = vocab.decoder()
    assert "".join(decoder.feed(k) for k in ids) + decoder.finish() == text


@given(LEARNABLE)
def test_a_vocabulary_is_the_distinct_characters_in_code_point_order(text):
    vocab = Vocab.from_text(text)
    assert list(vocab.symbols) == sorted(set(text), key=ord)
    assert vocab.characters == "".join(sorted(set(text)))
    assert len(vocab) == len(set(text))
    assert Vocab.from_characters(reversed(text)) == vocab


@given(LEARNABLE)
def test_json_round_trip_through_text(text):
    vocab = Vocab.from_text(text)
    assert Vocab.from_dict(json.loads(json.dumps(vocab.to_dict()))) == vocab


@given(st.text())
def test_byte_round_trip(text):
    vocab = Vocab.bytes()
    ids = vocab.encode(text)
    assert ids.tolist() == list(text.encode())
    assert vocab.decode(ids) == text


@given(st.binary())
def test_bytes_decode_one_at_a_time_as_all_at_once(data):
    vocab = Vocab.bytes()
    decoder = vocab.decoder()
    pieces = [decoder.feed(k) for k in data] + [decoder.finish()]
    assert "".join(pieces) == vocab.decode(list(data)) == data.decode("utf-8", "replace")


@given(st.binary())
def test_bytes_that_are_not_utf8_can_be_kept(data):
    vocab = Vocab.bytes()
    decoder = vocab.decoder("surrogateescape")
    text = "".join([decoder.feed(k) for k in data] + [decoder.finish()])
    assert text == vocab.decode(list(data), "surrogateescape")
    assert vocab.encode(text).tobytes() == data


def test_another_treatment_of_bytes_is_refused():
    for decode in (Vocab.bytes().decoder, lambda errors: Vocab.from_text("ab").decode([], errors)):
        with pytest.raises(
            CharlstmError, match="`errors` must be one of replace, surrogateescape, not"
        ):
            decode("strict")


def test_a_byte_decoder_waits_for_complete_characters():
    decoder = Vocab.bytes().decoder()
    assert [decoder.feed(k) for k in "é€!".encode()] == ["", "é", "", "", "€", "!"]
    assert decoder.feed(0xE2) == ""
    assert decoder.finish() == "\ufffd"


def test_level_byte_has_the_256_byte_values():
    vocab = Vocab.bytes()
    assert len(vocab) == 256 and vocab.dtype == np.uint8
    assert (vocab.symbols[0x41], vocab.symbols[0xE9]) == ("A", "\\xe9")
    assert len(set(vocab.symbols)) == 256
    assert vocab.encode("\ud800").tolist() == [0xED, 0xA0, 0x80]
    assert vocab.encode("é\udcff").tolist() == [0xC3, 0xA9, 0xFF]  # a byte that is not UTF-8
    assert vocab.decode([0xED, 0x41]) == "\ufffdA"
    assert vocab.replacements("é\ud800") == {}
    assert vocab.union(Vocab.bytes()) == vocab
    assert Vocab.from_dict(vocab.to_dict()) == vocab
    with pytest.raises(CharlstmError, match="level byte has no characters"):
        _ = vocab.characters


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(2, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4")],
)
def test_ids_have_the_smallest_type(size, dtype):
    text = "".join(map(chr, range(size)))
    vocab = Vocab.from_text(text)
    ids = vocab.encode(text)
    assert vocab.dtype == ids.dtype == np.dtype(dtype)
    assert ids[0] == 0 and ids[-1] == size - 1
    assert vocab.decode(ids) == text


@pytest.mark.parametrize("text", ["", "a", "aaaa"])
def test_fewer_than_two_characters_are_refused(text):
    with pytest.raises(CharlstmError, match=f"too small to learn from: {len(set(text))} distinct"):
        Vocab.from_text(text)


def test_symbols_of_several_characters_are_refused():
    with pytest.raises(CharlstmError, match="single character"):
        Vocab.from_characters(["a", "bc"])


def test_vocabularies_compare_and_hash_by_value_and_are_immutable():
    assert Vocab.from_text("ab") == Vocab.from_text("baab") != Vocab.from_text("abc")
    assert hash(Vocab.from_text("ab")) == hash(Vocab.from_text("ba"))
    with pytest.raises(AttributeError):
        Vocab.from_text("ab").level = "byte"


def test_a_union_has_the_symbols_of_both():
    assert Vocab.from_text("ac").union(Vocab.from_text("bc")).characters == "abc"
    with pytest.raises(CharlstmError, match="level char cannot be extended by one of level byte"):
        Vocab.from_text("ab").union(Vocab.bytes())


def test_an_unknown_character_is_named():
    vocab = Vocab.from_text("abc ")
    with pytest.raises(CharlstmError) as caught:
        vocab.encode("ab é")
    message = str(caught.value)
    for part in ("'é'", "U+00E9", "position 3", '`unknown="skip"`', '`unknown="replace"`'):
        assert part in message
    with pytest.raises(CharlstmError, match=r"'\\ud800' \(U\+D800\)"):
        vocab.encode("\ud800")


def test_unknown_characters_can_be_skipped():
    vocab = Vocab.from_text("abc")
    assert vocab.decode(vocab.encode("xaybéc\U0001f600", "skip")) == "abc"
    assert vocab.encode("", "skip").tolist() == []
    assert vocab.encode("é", "skip").dtype == np.uint8
    with pytest.raises(CharlstmError, match="error, skip, replace, not 'drop'"):
        vocab.encode("a", "drop")


@pytest.mark.parametrize(
    ("known", "unknown", "expected"),
    [
        ("ae ", "é", "e"),
        ("ae ", "É", "e"),
        ("AE ", "é", "E"),
        ("aé ", "É", "é"),
        ("eéE", "É", "E"),
        ("fi ", "ﬁ", "fi"),
        ("st ", "ß", "ss"),
        (". ", "…", "..."),
        (". ", "—", " "),
        ("- ", "—", "-"),
        ("— ", "-", "—"),
        ("' ", "’", "'"),
        ("’ ", "'", "’"),
        ("' ", "´", "'"),
        ('" ', "„", '"'),
        ("”“ ", '"', "”"),
        (" ", "\u00a0", " "),
        ("1/2 ", "½", "1/2"),
        (" ", "\U0001f600", " "),
        ("", "\U0001f600", ""),
        ("\n ", "\u2028", "\n"),
        ("\n ", "\r", ""),
        (" ", "\u0301", ""),
        (" ", "\ufeff", ""),
        (" ", "\ufe0f", ""),
        (" ", "\ud800", " "),
    ],
)
def test_an_unknown_character_is_replaced_by_the_nearest_known(known, unknown, expected):
    vocab = Vocab.from_text("xy" + known)
    assert vocab.replacements(f"x{unknown}y{unknown}") == {unknown: expected}
    assert vocab.decode(vocab.encode(f"x{unknown}y", "replace")) == f"x{expected}y"


@given(ANY_TEXT)
def test_replacing_never_fails_and_keeps_known_characters(text):
    vocab = Vocab.from_text("abcdefghijklmnopqrstuvwxyz ,.")
    swaps = vocab.replacements(text)
    assert set(swaps) == set(text) - set(vocab.symbols)
    expected = "".join(swaps.get(character, character) for character in text)
    assert vocab.decode(vocab.encode(text, "replace")) == expected


def test_a_text_of_one_character_is_counted_in_the_singular():
    with pytest.raises(CharlstmError, match="1 distinct character, at least 2 are needed"):
        Vocab.from_text("aaaa")


def test_encode_codes_refuses_unknown_code_points():
    vocab = Vocab.from_text("ab")
    for codes in ([97, 120], [97, 0x10FFFF]):
        with pytest.raises(CharlstmError, match=f"^code point {codes[1]}"):
            vocab.encode_codes(np.array(codes, np.uint32))


@pytest.mark.parametrize("vocab", [Vocab.from_text("abc"), Vocab.bytes()])
@pytest.mark.parametrize("bad", [-1, 256])
def test_decode_refuses_ids_outside_of_the_vocabulary(vocab, bad):
    message = f"^`ids` must be 0 to {len(vocab) - 1}, not {bad}$"
    with pytest.raises(CharlstmError, match=message):
        vocab.decode([0, bad])


WORDS = Vocab.from_words(["cat", "sat"])
LETTERS = Vocab.from_text("abc")


@pytest.mark.parametrize("vocab", [LETTERS, Vocab.bytes(), WORDS])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, r"of shape \(N,\), not \(\)"),
        ("a", r"of shape \(N,\), not \(\)"),
        (float("nan"), r"of shape \(N,\), not \(\)"),
        ([2**63], rf"0 to \d+, not {2**63}$"),
        ([2**64], "whole numbers, not object"),
        ([0.9, 1.7], "whole numbers, not float64"),
        ([-1], r"0 to \d+, not -1$"),
        ([[0], [0, 1]], r"an array, not \[\[0\], \[0, 1\]\]"),
    ],
)
def test_decode_refuses_all_but_a_row_of_whole_numbers(vocab, bad, message):
    with pytest.raises(CharlstmError, match=f"^`ids` must be {message}"):
        vocab.decode(bad)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LETTERS.union(None), "`other` must be of type Vocab, not None"),
        (lambda: LETTERS.extended(5), "`symbols` must be strings, not 5"),
        (lambda: Vocab.bytes().extended(5), "`symbols` must be strings, not 5"),
        (lambda: Vocab.from_words(["a", None]), "`words` must be strings, not None"),
        (lambda: Vocab.from_words("cat"), "`words` must be a collection of words, not the string"),
        (lambda: Vocab.from_characters([b"x"]), "`characters` must be strings, not b'x'"),
        (lambda: Vocab.from_characters(None), "`characters` must be strings, not None"),
        (lambda: WORDS.encode_words(7), "`words` must be strings, not 7"),
        (lambda: WORDS.encode_words("cat"), "`words` must be a collection of words"),
        (lambda: LETTERS.encode_words(["a"]), "a vocabulary of level char has no words"),
        (lambda: WORDS.encode_codes([97]), "a vocabulary of level word has no characters"),
        (lambda: LETTERS.encode_codes([0.5]), "`codes` must be whole numbers, not float64"),
        (lambda: LETTERS.encode_codes([-1]), "`codes` must be 0 to 1114111, not -1"),
        (lambda: LETTERS.encode("a", unknown=np.zeros(2)), "`unknown` must be one of error, skip"),
        (lambda: LETTERS.encode("z", offset="1"), "`offset` must be a whole number, not '1'"),
        (lambda: LETTERS.decode([0], errors=np.zeros(2)), "`errors` must be one of replace"),
        (lambda: LETTERS.decoder().feed(-1), "`id` must be 0 to 2, not -1"),
        (lambda: Vocab.bytes().decoder().feed(256), "`id` must be 0 to 255, not 256"),
        (lambda: WORDS.decoder().feed("a"), "`id` must be a whole number, not 'a'"),
        (lambda: LETTERS.replacements(5), "`text` must be of type str, not 5"),
        (lambda: Vocab("char", 5), "`symbols` must be of type tuple, not 5"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(call, message):
    with pytest.raises(CharlstmError, match=f"^{message}"):
        call()


def test_no_ids_decode_to_an_empty_text():
    assert Vocab.from_text("ab").decode([]) == Vocab.bytes().decode([]) == ""


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        [],
        "char",
        {},
        {"level": "word", "symbols": ["a", "b"]},
        {"level": ["char"], "symbols": ["a", "b"]},
        {"level": "char"},
        {"level": "char", "symbols": "ab"},
        {"level": "char", "symbols": ["b", "a"]},
        {"level": "char", "symbols": ["a", "a"]},
        {"level": "char", "symbols": ["a"]},
        {"level": "char", "symbols": ["a", 98]},
        {"level": "char", "symbols": ["a", ["b"]]},
        {"level": "char", "symbols": ["a", "bc"]},
        {"level": "char", "symbols": ["", "b"]},
        {"level": "char", "symbols": ["a", "b"], "more": 1},
        {"level": "char", "symbols": ["a"] * 0x110001},
        {"level": "byte", "symbols": ["a", "b"]},
    ],
)
def test_malformed_dicts_are_refused(malformed):
    with pytest.raises(CharlstmError):
        Vocab.from_dict(malformed)


def test_a_vocabulary_may_have_every_code_point():
    vocab = Vocab.from_characters(map(chr, range(0x110000)))
    assert len(vocab) == 0x110000
    assert vocab.encode("\0a\U0010ffff").tolist() == [0, 97, 0x10FFFF]


def test_code_points_of_ascii_are_bytes():
    assert code_points("az").dtype == np.uint8
    assert code_points("aé").tolist() == [97, 233]
    assert code_points("\ud800").tolist() == [0xD800]
    assert code_points(codecs.BOM_UTF8.decode()).tolist() == [0xFEFF]
