"""A guess at the encoding of a text that is not UTF-8, from the frequency of its letters.

A text in the right encoding has many of the letters that are frequent in a language. The guess is
shown in an error message only: no text is decoded with the guessed encoding.
"""

import codecs
import re

SAMPLE_BYTES = 1 << 14  # about the number of bytes that are judged
LEAST_SCORE = 0.6  # an encoding with a lower score is not guessed
_MARKS = "’‘“”„–—…«»€§°·\xa0"  # signs that are frequent in each language of cp1250 to cp1254


_RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"
_JAPANESE = (
    "あいうえおかがきぎくぐけげこごさざしじすずせぜそただちつってでとどなにぬねのはばひびふぶへべほぼまみむめもやゃゆゅよょらりるれろわをん"
    "アイウエオカキクケコサシスセソタチツッテトナニノハヒフヘホマミムメモラリルレロンー、。"
)
_SIMPLIFIED = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实，。、"
)
_TRADITIONAL = (
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡"
    "用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心本前開但因只從想實，。、"
)
_KOREAN = (
    "이다는을에의가고하지를은한도로기사어나아리서시자대그있라해것들인으게여만스부정전일수보과면"
)
# Languages: an encoding, the characters other than ASCII that are frequent in the language, and
# their usual share among all such characters of a text. If two scores are equal, the row that
# comes first is the guess.
_LANGUAGES: tuple[tuple[str, str, float], ...] = (
    ("cp1252", "é£", 1.0),  # English
    ("cp1252", "äöüßÄÖÜ", 1.0),  # German
    ("cp1252", "éèêëàâçùûîïôœÉÀÇÊæ", 1.0),  # French
    ("cp1252", "áéíóúñü¿¡ÁÉÍÓÚÑº", 1.0),  # Spanish
    ("cp1252", "ãçéáíõóêâàúôüÉÁÇº", 1.0),  # Portuguese
    ("cp1252", "àèéìòùÈ", 1.0),  # Italian
    ("cp1252", "åäöøæéÅÄÖØÆðþáíóúý", 1.0),  # a Nordic language
    ("cp1250", "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ", 1.0),  # Polish
    ("cp1250", "áčďéěíňóřšťúůýžľĺŕäôČŘŠŽÚÁÍ", 1.0),  # Czech or Slovak
    ("cp1250", "áéíóöőúüűÁÉÖŐ", 1.0),  # Hungarian
    ("cp1254", "şğıİçöüŞĞÖÜÇâ", 1.0),  # Turkish
    ("cp1251", _RUSSIAN, 0.9),  # Russian
    ("koi8-r", _RUSSIAN, 0.9),  # Russian
    ("cp866", _RUSSIAN, 0.9),  # Russian
    ("cp1253", "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώ", 0.9),  # Greek
    ("cp932", _JAPANESE, 0.6),  # Japanese
    ("euc-jp", _JAPANESE, 0.6),  # Japanese
    ("gb18030", _SIMPLIFIED, 0.4),  # Chinese
    ("big5", _TRADITIONAL, 0.4),  # Chinese
    ("cp949", _KOREAN, 0.5),  # Korean
)
_LATIN = ("cp1250", "cp1252", "cp1254")
# A run of characters other than ASCII, and the ASCII letters directly before and after the run.
_RUNS = r"([a-zA-Z]?)([^\0-\x7f]+)(?=([a-zA-Z]?))"
_MARKED = ("cp1250", "cp1251", "cp1252", "cp1253", "cp1254")


def likely_encoding(data: bytes, position: int) -> str:
    """Return the likely encoding of a text that is not UTF-8; "" if none is likely.

    data: bytes of the text.
    position: the index in `data` of the first byte that is not UTF-8.
    """
    # The sample begins at a line start, where no character of any of the encodings is cut.
    sample = data[data.rfind(b"\n", 0, position) + 1 : position + SAMPLE_BYTES]
    if _is_damaged_utf8(sample):
        return ""
    scores = [_score(sample, *language) for language in _LANGUAGES]
    best = max(scores)
    return _LANGUAGES[scores.index(best)][0] if best >= LEAST_SCORE else ""


def _score(sample: bytes, encoding: str, letters: str, usual_share: float) -> float:
    """Return how well a sample fits a language, from 0 to 1; 0 if the sample has invalid bytes.

    Only characters other than ASCII are judged: the score is the share of the language's frequent
    letters among these characters, divided by `usual_share`.
    """
    try:  # The last character of the sample may be incomplete.
        text = codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return 0
    if encoding in _MARKED:
        letters += _MARKS
    total = frequent = 0
    for before, run, after in re.findall(_RUNS, text):
        total += len(run)
        # Letters of scripts other than Latin seldom stand directly beside ASCII letters.
        if encoding in _LATIN or not (before or after):
            frequent += sum(character in letters for character in run)
    share = frequent / max(1, total)
    return round(min(1.0, share / usual_share), 6)


def _is_damaged_utf8(sample: bytes) -> bool:
    """Return whether most bytes other than ASCII form characters in UTF-8."""
    text = sample.decode("utf-8", "replace")
    invalid = text.count("\ufffd")
    return sum(character >= "\x80" for character in text) - invalid > invalid


def unicode_encoding(start: bytes) -> str:
    """Return the encoding of a text whose first bytes are UTF-16 or UTF-32; "" for other bytes.

    UTF-16 without a byte-order mark is recognised by bytes of 0 to 8 at every other position: the
    upper halves of Latin, Greek, Cyrillic, Hebrew and Arabic letters. Text in UTF-8 has no bytes of
    0 to 8.
    """
    for encoding, marks in (
        ("utf-32", (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)),
        ("utf-16", (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
    ):
        if start.startswith(marks):
            return encoding
    if len(start) < 8:
        return ""
    for encoding in ("utf-32-le", "utf-32-be"):
        decoded = start[: len(start) // 4 * 4].decode(encoding, "replace")
        if "\ufffd" not in decoded and "\0" not in decoded:
            return encoding
    even, odd = (sum(byte < 9 for byte in part) / len(part) for part in (start[::2], start[1::2]))
    if max(even, odd) > 0.6 and min(even, odd) < 0.1:
        return "utf-16-le" if odd > even else "utf-16-be"
    return ""
