"""The context-free grammar of corpora/play.txt, a text of scenes of a play.

Grammatical agreement and rhyme are parameters in the names of nonterminals. For example,
`<verse pl at 1>` is a line that plural speakers say, and that ends with a rhyme on "at", the second
of a couplet. The functions of this module write out the rules for every value of a parameter.

No word of a list is a prefix of another word of the list, which find_conflict in grammars.py
checks. Verse is iambic pentameter; play_words.py describes the classes of words. The two lines of a
couplet end with words from different lists, so that no word rhymes with itself.
"""

from __future__ import annotations

import re

from grammars import Grammar
from play_words import PHRASES, RHYMES, WORDS

PROPER = {  # for each heading of a speech, the name in a sentence and the pronoun
    "BEATRIX": ("Beatrix", "she"),
    "CAPTAIN BRINE": ("Captain Brine", "he"),
    "OTTOLINE": ("Ottoline", "she"),
    "FATHER PUDGE": ("Father Pudge", "he"),
    "LORD MARROW": ("Lord Marrow", "he"),
    "THE GHOST": ("the Ghost", "he"),
    "THE TWINS": ("the Twins", "they"),
    "THE BAILIFFS": ("the Bailiffs", "they"),
}
VOCATIVES = {"she": "madam|my lady", "he": "sir|old friend", "they": "my friends|good people"}

FIRST = {  # the forms of the first person in the singular and the plural
    "sg": {
        "n": "sg",
        "I": "I",
        "i": "I",
        "am": "am",
        "was": "was",
        "my": "my",
        "My": "My",
        "me": "me",
    },
    "pl": {
        "n": "pl",
        "I": "We",
        "i": "we",
        "am": "are",
        "was": "were",
        "my": "our",
        "My": "Our",
        "me": "us",
    },
}
THIRD = {
    "she": {"he": "she", "He": "She", "his": "her", "num": "sg"},
    "he": {"he": "he", "He": "He", "his": "his", "num": "sg"},
    "they": {"he": "they", "He": "They", "his": "their", "num": "pl"},
}
AGREE = {
    "sg": {"has": "has", "is": "is", "was": "was", "does": "does"},
    "pl": {"has": "have", "is": "are", "was": "were", "does": "do"},
}

VERSE = """\
<Det {n}> <A2> <N1> <aux> <PAST> <det {n}> <A2> {end}
{I} <PAST> <det {n}> <N1> <P2> <det {n}> <A2> {end}
O <A2> <N1>, return to {me} {my} {end}
{My} <N2> <iv sg> no <ADVERB> than <det {n}> {end}
No <N1> was ever <COMPARATIVE> than <det {n}> {end}
Then let <det {n}> <N2> <INTRANSITIVE> <P2> <det {n}> {end}
{I} {was} <a N1> before {i} <PAST> <det {n}> {end}
{I} <PAST> <det {n}> <A2> <N1> to buy <det {n}> {end}
Alas, {my} <N1>! Alas, {my} <A2> {end}
If <ABSTRACT> is <A2>, give it to <det {n}> {end}
For <ABSTRACT> is but <a A2> <N2>'s {end}
The <N2> <iv sg> <P2> <det {n}> <A2> {end}
So every <N1> that <iv sg> deserves <det {n}> {end}"""

PROSE = """\
Never <tv pl> <np {n}> <P2> <np {n}>.
{I} would sooner <tv pl> <np {n}> than <tv pl> <np {n}>.
{My} physician forbids <nouns>, <nouns> and <ODD> <nouns>.
It costs <price> to <tv pl> <np {n}> in <town>.
<Count> <nouns> cannot <INTRANSITIVE> in one <noun>.
Have you <PAST> <np {n}> <P2> <np {n}>?
Whoever <tv sg> <np {n}> must <tv pl> <np {n}>.
They <PAST> {me} in <town> with <np {n}>.
{I} {am} <COMPARATIVE> than <np {n}> and <COMPARATIVE> than <COUNT> <nouns>.
Behold, <np {n}> that <iv sg> like <np {n}>!
Where <nouns> <INTRANSITIVE>, <ODD> <nouns> <tv pl> <np {n}>.
Bring {me} <COUNT> <odd nouns>, <COUNT> <odd nouns> and <np {n}>.
In <town> one meets <odd nouns>, <odd nouns> and <np {n}>.
{I} married <np {n}> for <price> and <np {n}>.
There is <a odd noun> in {my} <noun>: it <tv sg> <odd nouns>.
Sell <np {n}>, <np {n}> and <np {n}>, or <INTRANSITIVE>!
Give <np {n}> to <a noun>, and soon it <iv sg> like <np {n}>.
All <ODD> <nouns> <tv pl> <nouns>; {my} <noun> <tv sg> <np {n}>."""

ADDRESS = """\
You <ODD> <noun>, you <A2>, <ODD>, <A2> <noun>!
Tell {me}, <voc>, who <PAST> <np {n}>?
You <INTRANSITIVE> like <np {n}>, <voc>.
Sit down, <voc>, and <tv pl> <np {n}> with {me}.
Truly, your <noun> is <COMPARATIVE> than <np {n}>, <voc>.
Where were you, <voc>, when <np {n}> <PAST> <np {n}>?
{I} would give <price> for <np {n}>, <voc>.
Do not <tv pl> <np {n}>, <voc>; <tv pl> <np {n}>."""

GOSSIP = """\
{C} {has} <PAST> <np {n}>, and now {he} <iv {num}> like <np {n}>.
They say {c} {is} <trade {num}>; {i} say {he} {is} <a noun {num}>.
Did you hear that {c} <PAST> <np {n}> in <town>?
Only {c} {does} not <tv pl> <np {n}>: {he} <tv {num}> <nouns>.
Hush! If {c} <tv {num}> <np {n}>, {he} will <tv pl> <np {n}>.
Once {c} {was} <COMPARATIVE> than <np {n}>; now {he} <iv {num}>."""

QUESTION = """\
Why does <a odd noun> <tv pl> <a noun>?
What is <COMPARATIVE> than <a noun> and never <iv sg>?
How many <nouns> does it take to <tv pl> <a noun>?
Which <noun> always <iv sg> in <town>?"""

GUESS = """\
{I} cannot guess, <voc>.
Is it <a odd noun>?
{I} will not answer, <voc>, before {i} <tv pl> <np {n}>.
<Count> <nouns>?"""

ANSWER = """\
Because nobody <PAST> its <noun>.
Only the one that <PAST> <np {n}>.
Your own <noun>, <voc>!
No: <COUNT>, and <a odd noun> to <tv pl> the <noun>.
{I} forget, but in <town> they <PAST> {me} for it."""

DIRECTION = """\
[{He} <tv {num}> the <odd noun>.]
[{He} <iv {num}>.]
[Aside, to <a noun>.]
[A <N1> <iv sg> <P2> the <noun>.]
[{He} <tv {num}> {his} <noun> and <iv {num}>.]"""


def _symbols(text: str) -> list[str]:
    return [part for part in re.split(r"(<[^<>]+>)", text) if part]


def _rules(
    alternatives: list[str], weights: list[int] | None = None
) -> list[tuple[int, list[str]]]:
    return [
        (weight, _symbols(alternative))
        for weight, alternative in zip(
            weights or [1] * len(alternatives), alternatives, strict=True
        )
    ]


def _templates(block: str, forms: dict[str, str]) -> list[str]:
    return [line.format_map(forms) for line in block.splitlines()]


def _phrases(block: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in block.split("|")]


def _a(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _s(word: str) -> str:
    """Return the plural of a noun or the third person of a verb; one spelling rule gives both."""
    irregular = {"goose": "geese", "tooth": "teeth", "sheep": "sheep", "thief": "thieves"}
    if word in irregular:
        return irregular[word]
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|sh|ch|x)$", word) else "s")


def _lexicon() -> Grammar:
    words = {name: block.split() for name, block in WORDS.items()}
    phrases = {name: _phrases(block) for name, block in PHRASES.items()}
    nouns = words["N1"] + words["N2"] + words["N3"]
    transitive, intransitive = words["TRANSITIVE"], words["INTRANSITIVE"]
    coins = phrases.pop("coin")
    inflected = {
        "plain noun": nouns,
        "plain nouns": [_s(noun) for noun in nouns],
        "a plain noun": [_a(noun) for noun in nouns],
        "tv pl": transitive,
        "tv sg": [_s(verb) for verb in transitive],
        "iv pl": intransitive,
        "iv sg": [_s(verb) for verb in intransitive],
        "a noun sg": ["<a noun>"],
        "a noun pl": ["<nouns>"],
        **{f"a {name}": [_a(word) for word in words[name]] for name in ("N1", "A2", "ODD")},
        "odd noun": ["<ODD> <noun>", "<A2> <noun>"],
        "odd nouns": ["<ODD> <nouns>", "<A2> <nouns>"],
        "a odd noun": ["<a ODD> <noun>", "<a A2> <noun>"],
        "town": ["<place name><place ending>"],
        "Count": [_capital(count) for count in words["COUNT"]],
        "price": [f"<COUNT> {_s(coin)}" for coin in coins] + [f"one {coin}" for coin in coins],
    }
    for number, forms in FIRST.items():
        definite_words = ["the", forms["my"], "your", "this", "that", "some"]
        inflected[f"det {number}"] = [*definite_words, "a", "no"]
        # "No" is missing here, because a line of another template begins with it.
        inflected[f"Det {number}"] = [_capital(word) for word in [*definite_words, "a"]]
        # "no" is missing here, because it would be a double negative in some sentences.
        inflected[f"definite {number}"] = [*definite_words, "every"]
        definite = f"<definite {number}>"
        inflected[f"np {number}"] = [
            "<a noun>",
            "<a odd noun>",
            f"{definite} <noun>",
            f"{definite} <odd noun>",
        ]
    lists = words | phrases | inflected
    for unused in ("N3", "TRANSITIVE"):
        del lists[unused]
    grammar = {f"<{name}>": _rules(alternatives) for name, alternatives in lists.items()}
    plain_to_compound = [3, 2]
    for name, compound in {
        "noun": "<prefix>-<plain noun>",
        "nouns": "<prefix>-<plain nouns>",
        "a noun": "a <prefix>-<plain noun>",
    }.items():
        plain = f"<{name.replace('noun', 'plain noun')}>"
        grammar[f"<{name}>"] = _rules([plain, compound], plain_to_compound)
    return grammar


def _speeches(number: str) -> Grammar:
    """Return the rules of prose and couplets that are addressed to nobody.

    number: "sg" for one speaker, "pl" for a character of several persons, such as the Twins.
    """
    forms = FIRST[number]
    grammar: Grammar = {f"<prose {number}>": _rules(_templates(PROSE, forms))}
    for rhyme, words in RHYMES.items():
        for line in (0, 1):
            verse = f"verse {number} {rhyme} {line}"
            end = f"<rhyme {rhyme} {line}>"
            grammar[f"<{verse}>"] = _rules(_templates(VERSE, forms | {"end": end}))
            grammar[end] = _rules(words[line].split())
    couplets = [
        f"<verse {number} {rhyme} 0><pause>\n<verse {number} {rhyme} 1><stop>" for rhyme in RHYMES
    ]
    grammar[f"<couplet {number}>"] = _rules(couplets)
    return grammar


def _character(heading: str) -> Grammar:
    """Return the rules of stage directions, forms of address and gossip for one character."""
    name, pronoun = PROPER[heading]
    third = THIRD[pronoun]
    forms = {"C": _capital(name), "c": name, **third, **AGREE[third["num"]]}
    grammar: Grammar = {f"<direction {heading}>": _rules(_templates(DIRECTION, forms))}
    called = name.removeprefix("the ")
    titles = VOCATIVES[pronoun].split("|")
    grammar[f"<voc {heading}>"] = _rules(
        [called, f"dear {called}", f"poor {called}", f"sweet {called}", *titles]
    )
    for number, speaker in FIRST.items():
        grammar[f"<gossip {number} {heading}>"] = _rules(_templates(GOSSIP, speaker | forms))
    return grammar


def _pair(speaker: str, other: str) -> Grammar:
    """Return the rules of a turn of `speaker` with `other` on stage, and of the talk after it."""
    number = THIRD[PROPER[speaker][1]]["num"]
    pair = f"{speaker}, {other}"
    absent = [heading for heading in PROPER if heading not in (speaker, other)]

    def said_to_other(block: str) -> list[tuple[int, list[str]]]:
        lines = _templates(block, FIRST[number])
        return _rules([line.replace("<voc>", f"<voc {other}>") for line in lines])

    riddle = (
        f"<question>\n\n{other}.\n<guess {other}, {speaker}>\n\n{speaker}.\n<answer {pair}>\n\n"
    )
    turn = f"<turn {pair}>"
    kinds = {
        f"<prose {number}>": 6,
        f"<couplet {number}>": 5,
        f"<address {pair}>": 3,
        f"<gossip {pair}>": 2,
        f"<direction {speaker}>": 1,
    }
    return {
        f"<talk {pair}>": _rules([f"{turn}<talk {other}, {speaker}>", f"{turn}<close>"], [5, 1]),
        turn: _rules([f"{speaker}.\n<body {pair}>", f"{speaker}.\n{riddle}"], [7, 1]),
        f"<body {pair}>": _rules([f"<line {pair}>\n\n", f"<line {pair}>\n<body {pair}>"], [1, 2]),
        f"<line {pair}>": _rules(list(kinds), list(kinds.values())),
        f"<gossip {pair}>": _rules([f"<gossip {number} {heading}>" for heading in absent]),
        f"<address {pair}>": said_to_other(ADDRESS),
        f"<guess {pair}>": said_to_other(GUESS),
        f"<answer {pair}>": said_to_other(ANSWER),
    }


def play_grammar() -> Grammar:
    """Return the complete grammar. A text of `<record>` is a scene and the empty lines after it."""
    pairs = [(a, b) for a in PROPER for b in PROPER if a != b]
    entrances = [
        f"SCENE. <place>, <time>.\n\nEnter {a}, and {b} with <a odd noun>.\n\n<talk {a}, {b}>"
        for a, b in pairs
    ]
    grammar = {
        "<record>": _rules(entrances),
        "<close>": _rules(["Exeunt, <ending>.\n\n\n"]),
        "<pause>": _rules([",", ";", ":"], [3, 1, 1]),
        "<stop>": _rules([".", "!"], [3, 1]),
        "<question>": _rules(QUESTION.splitlines()),
    }
    grammar |= _lexicon()
    for number in FIRST:
        grammar |= _speeches(number)
    for heading in PROPER:
        grammar |= _character(heading)
    for speaker, other in pairs:
        grammar |= _pair(speaker, other)
    return grammar
