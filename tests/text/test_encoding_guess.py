"""The encoding that a text is likely in, which the error for a text that is not UTF-8 names."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from charlstm.errors import CharlstmError
from charlstm.text.corpus import open_corpus
from charlstm.text.encoding_guess import likely_encoding, unicode_encoding
from charlstm.text.standard_input import read_standard_input

pytestmark = pytest.mark.usefixtures("cache")

ENGLISH = "The quick brown fox jumps over the lazy dog, and then it sleeps.\n"
GERMAN = "Die Straße führt über die Brücke zum Marktplatz, wo schöne Häuser stehen.\n"
FRENCH = "L'été dernier, nous avons déjà mangé des pêches et bu du café à la fenêtre.\n"
SPANISH = "¿Dónde está el niño? Mañana comerá más plátanos en el jardín con su tía.\n"
PORTUGUESE = "A manhã não é fria, e o coração da cidade está em construção até amanhã.\n"
SWEDISH = "På ön växer små träd, och där går kor på ängen när våren är här.\n"
POLISH = "Żółta łódź płynęła wąską rzeką, a dzieci śpiewały i cieszyły się słońcem.\n"
CZECH = "Příliš mnoho lidí dnes čeká na vlak, který přijede až večer ke třetí bráně.\n"
HUNGARIAN = "Az öreg hídőr esténként szőlőt evett, és nézte a folyót a fűzfák között.\n"
TURKISH = "Güneş doğunca kuşlar ağaçta şarkı söyledi ve çocuklar dışarı çıktı.\n"
RUSSIAN = "Утром мы пошли в лес, где было тихо и пахло хвоей, а потом вернулись домой.\n"
GREEK = "Το πρωί πήγαμε στη θάλασσα και φάγαμε ψωμί με ελιές κάτω από τον ήλιο.\n"
JAPANESE = "今日は天気がいいので、友だちといっしょに公園へ行って、お弁当を食べました。\n"
CHINESE = "今天的天气很好，我们在公园里看到了很多人，他们都在那里和孩子一起玩。\n"
TRADITIONAL = "今天的天氣很好，我們在公園裡看到了很多人，他們都在那裡和孩子一起玩。\n"
KOREAN = "오늘은 날씨가 좋아서 우리는 공원에 가서 아이들이 노는 것을 보고 밥을 먹었다.\n"

TEXTS = [
    (GERMAN, "cp1252"),
    (FRENCH, "cp1252"),
    (SPANISH, "cp1252"),
    (PORTUGUESE, "cp1252"),
    (SWEDISH, "cp1252"),
    ("“Well,” she said – it’s late…\n", "cp1252"),
    ("café\n", "cp1252"),
    (POLISH, "cp1250"),
    (CZECH, "cp1250"),
    (HUNGARIAN, "cp1250"),
    (TURKISH, "cp1254"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8-r"),
    (RUSSIAN, "cp866"),
    (GREEK, "cp1253"),
    (JAPANESE, "cp932"),
    (JAPANESE, "euc-jp"),
    (CHINESE, "gb18030"),
    (TRADITIONAL, "big5"),
    (KOREAN, "cp949"),
]


@pytest.mark.parametrize(("text", "encoding"), TEXTS)
def test_the_likely_encoding_is_named_and_reads_the_text(write, text, encoding):
    path = write("a.txt", (ENGLISH + text).encode(encoding))
    with pytest.raises(CharlstmError) as caught:
        open_corpus([path])
    message = str(caught.value)
    assert message.startswith(f"{path}: invalid UTF-8 at byte ") and "\n" not in message
    assert f'): the text is likely {encoding}, which `encoding="{encoding}"` reads, or' in message


def test_the_first_invalid_byte_may_come_after_much_valid_text(write):
    path = write("a.txt", (ENGLISH * 9000 + "\n" + GERMAN).encode("latin-1"))
    with pytest.raises(CharlstmError, match="the text is likely cp1252, which"):
        open_corpus([path])


def test_a_text_that_ends_with_the_invalid_byte():
    assert likely_encoding(b"caf\xe9", 3) == "cp1252"
    assert likely_encoding(b"abc\xff", 3) == likely_encoding(b"\x81", 0) == ""


def test_no_encoding_is_named_for_damaged_utf8_and_for_random_bytes(write):
    for text in (RUSSIAN, GERMAN * 3, JAPANESE, FRENCH * 2):
        damaged = text.encode() + b"\xff" + text.encode()
        with pytest.raises(CharlstmError, match=r"\): name the text's encoding with"):
            open_corpus([write("a.txt", damaged)])
    generator = np.random.default_rng(0)
    for _ in range(20):
        noise = generator.integers(0, 256, 3000, np.uint8).tobytes()
        assert likely_encoding(noise, 0) == ""


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, GREEK, GERMAN])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf16_and_utf32_are_named_with_and_without_a_mark(write, text, encoding, monkeypatch):
    data = text.encode(encoding)
    for content, name in ((data, encoding), ("\ufeff".encode(encoding) + data, encoding[:6])):
        with pytest.raises(CharlstmError) as caught:
            open_corpus([write("a.txt", content)])
        assert str(caught.value).endswith(
            f'a.txt: not UTF-8: the text is likely {name}, which `encoding="{name}"` reads'
        )
        assert open_corpus([write("a.txt", content)], encoding=name).length == len(text)
        stream = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content)))
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(CharlstmError, match=f"^standard input: not UTF-8: .* likely {name},"):
            list(read_standard_input("char", "utf-8"))


def test_text_in_utf8_is_not_taken_for_utf16():
    texts = [
        ENGLISH,
        *(text for text, _ in TEXTS),
        "\0" * 99,
        "a\0\0b\0",
        "\t\n" * 9,
    ]
    assert [unicode_encoding(text.encode()) for text in texts] == [""] * len(texts)
