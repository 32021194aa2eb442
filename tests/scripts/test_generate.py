"""scripts/corpora/generate.py and the grammars it draws from."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from pathlib import Path

import generate
import grammars
import play_words
import pytest

CORPORA = Path(__file__).resolve().parents[2] / "corpora"
START = generate.START
REBER = generate.reber_grammar()
PLAY = generate.play_grammar()

# A grammar of eight texts, with unequal weights and a nonterminal that is used twice.
TINY = {
    "<S>": [(3, ["<N>", " ", "<V>"]), (1, ["o ", "<N>", "!"])],
    "<N>": [(2, ["cat"]), (1, ["dog"])],
    "<V>": [(1, ["runs"]), (3, ["sat on ", "<N>"])],
}
AMBIGUOUS = {
    "<S>": [(1, ["<A>", "<B>"])],
    "<A>": [(1, ["a"]), (1, ["ab"])],
    "<B>": [(1, ["bc"]), (1, ["c"])],
}


def enumerate_texts(grammar, symbols):
    """Yield the text and the probability of every derivation of a sequence of symbols."""
    if not symbols:
        yield "", 1.0
        return
    head, *rest = symbols
    for tail, q in enumerate_texts(grammar, rest):
        if head not in grammar:
            yield head + tail, q
            continue
        total = sum(weight for weight, _ in grammar[head])
        for weight, rhs in grammar[head]:
            for text, p in enumerate_texts(grammar, rhs):
                yield text + tail, weight / total * p * q


def test_expectations_equal_the_sums_over_all_texts():
    texts = list(enumerate_texts(TINY, ["<S>"]))
    assert len(texts) == len({text for text, _ in texts}) == 8
    assert math.fsum(p for _, p in texts) == pytest.approx(1, abs=1e-15)
    bits, chars = grammars.expectations(TINY, "<S>")
    assert bits == pytest.approx(-math.fsum(p * math.log2(p) for _, p in texts), rel=1e-12)
    assert chars == pytest.approx(math.fsum(p * len(text) for text, p in texts), rel=1e-12)


def test_a_sample_comes_with_its_probability():
    probabilities = dict(enumerate_texts(TINY, ["<S>"]))
    rng = random.Random(3)
    drawn = [grammars.sample(TINY, "<S>", rng) for _ in range(4000)]
    for text, bits in drawn:
        assert bits == pytest.approx(-math.log2(probabilities[text]), rel=1e-12)
    for text, p in probabilities.items():
        share = sum(t == text for t, _ in drawn) / len(drawn)
        assert abs(share - p) < 5 * math.sqrt(p / len(drawn))


def test_expectations_of_a_recursion_equal_the_closed_form():
    # a geometric number of "ab": mean 1/(1-p), entropy of the stopping draws h(p)/(1-p)
    p = 0.75
    grammar = {"<S>": [(3, ["ab", "<S>"]), (1, ["c"])]}
    bits, chars = grammars.expectations(grammar, "<S>")
    entropy = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert bits == pytest.approx(entropy / (1 - p), rel=1e-9)
    assert chars == pytest.approx(2 * p / (1 - p) + 1, rel=1e-9)


def test_a_grammar_of_infinite_expected_length_is_refused(monkeypatch):
    monkeypatch.setattr(grammars, "MAX_SWEEPS", 200)
    with pytest.raises(ValueError, match="<S>: the expected length does not converge"):
        grammars.expectations({"<S>": [(1, ["a", "<S>", "<S>"]), (1, ["b"])]}, "<S>")


def test_all_derivations_of_a_text_are_counted():
    assert grammars.count_derivations(AMBIGUOUS, "<S>", "abc") == 2
    assert grammars.count_derivations(AMBIGUOUS, "<S>", "ac") == 1
    assert grammars.count_derivations(AMBIGUOUS, "<S>", "abx") == 0
    # bracketings of n+1 leaves: the Catalan numbers
    trees = {"<T>": [(1, ["(", "<T>", "<T>"]), (2, ["x"])], "<S>": [(1, ["x"]), (1, ["x", "<S>"])]}
    trees["<P>"] = [(1, ["<S>", "<S>", "<S>"])]
    assert grammars.count_derivations(trees, "<P>", "x" * 8) == math.comb(7, 2)
    with pytest.raises(ValueError, match="<L> is left-recursive"):
        grammars.count_derivations({"<L>": [(1, ["<L>", "a"]), (1, ["a"])]}, "<L>", "aa")


@pytest.mark.parametrize(
    "grammar",
    [
        AMBIGUOUS,
        {"<S>": [(1, ["x"]), (1, ["x"])]},
        {"<S>": [(1, ["x"]), (1, ["xy"])]},
        {"<S>": [(1, ["<A>", "!"]), (1, ["<B>", "!"])], "<A>": [(1, ["x"])], "<B>": [(1, ["x"])]},
        {"<S>": [(1, ["a", "<S>"]), (1, ["<T>"])], "<T>": [(1, ["aab"]), (1, ["b"])]},
    ],
)
def test_ambiguous_grammars_and_prefixes_are_found(grammar):
    assert grammars.find_conflict(grammar) is not None


@pytest.mark.parametrize(
    "grammar",
    [TINY, REBER, pytest.param(PLAY, marks=pytest.mark.slow)],
    ids=["tiny", "reber", "play"],
)
def test_no_text_has_two_derivations_and_no_record_is_a_prefix_of_another(grammar):
    assert grammars.find_conflict(grammar) is None


@pytest.mark.parametrize("grammar", [REBER, PLAY], ids=["reber", "play"])
def test_every_nonterminal_has_rules_and_is_used(grammar):
    used = {s for alternatives in grammar.values() for _, rhs in alternatives for s in rhs}
    assert {s for s in used if re.search(r"[<>{}]", s)} | {START} == set(grammar)
    for alternatives in grammar.values():
        for weight, symbols in alternatives:
            assert isinstance(weight, int) and weight > 0
            assert symbols and all(symbols)


def test_a_reber_string_has_seven_bits_in_thirteen_characters():
    # One bit for the outer letter, six for the inner draws, each of which writes one character;
    # around them BT and TE\n or BP and PE\n, and the inner string's own B and E.
    bits, chars = grammars.expectations(REBER, START)
    assert bits == pytest.approx(7, rel=1e-12)
    assert chars == pytest.approx(13, rel=1e-12)


def test_reber_strings_are_accepted_by_the_automaton():
    # the automaton, independent of the grammar: (state, letter) -> state
    transitions = "0B1 1T2 1P3 2S2 2X4 3T3 3V5 4X3 4S6 5P4 5V6 6E7".split()  # noqa: SIM905
    walk = {(int(origin), letter): int(goal) for origin, letter, goal in transitions}
    lines = set((CORPORA / "reber.txt").read_text(encoding="ascii").splitlines())
    assert len(lines) > 1000
    for line in lines:
        assert line[0] == "B" and line[-1] == "E" and line[1] == line[-2] and line[1] in "TP"
        state = 0
        for letter in line[2:-2]:
            state = walk[state, letter]
        assert state == 7
        assert grammars.count_derivations(REBER, START, line + "\n") == 1


@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_scenes_of_the_play_have_one_derivation(count):
    scenes = (CORPORA / "play.txt").read_text(encoding="ascii").split("\n\n\n")
    assert scenes.pop() == ""
    assert len(scenes) == generate.RECORDS["play.txt"]
    for scene in scenes[:count]:
        assert grammars.count_derivations(PLAY, START, scene + "\n\n\n") == 1
    assert grammars.count_derivations(PLAY, START, scenes[0]) == 0


def test_the_play_agrees_in_number_and_article():
    play = (CORPORA / "play.txt").read_text(encoding="ascii")
    assert not re.search(r"\b[Aa] [aeiou]", play)
    assert not re.search(r"\b[Aa]n [^aeiou]", play)
    assert not re.search(r"\b(the Twins|the Bailiffs) (is|has|was|does)\b", play, re.IGNORECASE)
    assert not re.search(r"\b(Beatrix|Ottoline|Pudge|Marrow) (are|have|were|do)\b", play)
    speakers = re.findall(r"^([A-Z ]+)\.$", play, re.MULTILINE)
    assert len(set(speakers)) == 8
    for speech in re.findall(r"^THE TWINS\.\n(.*?)\n\n", play, re.MULTILINE | re.DOTALL):
        assert not re.search(r"\b(I|me|My|my (?!lady|friends))\b", speech)


def test_couplets_rhyme_on_two_different_words():
    for number, (rhyme, (first, second)) in itertools.product(
        ("sg", "pl"), play_words.RHYMES.items()
    ):
        assert set(first.split()).isdisjoint(second.split())
        ends = {rhs[-1] for _, rhs in PLAY[f"<verse {number} {rhyme} 0>"]}
        assert ends == {f"<rhyme {rhyme} 0>"}


def test_the_committed_reber_strings_are_those_of_the_generator():
    text, entry = generate.make("reber.txt", generate.DEFAULT_SEED)
    assert text == (CORPORA / "reber.txt").read_text(encoding="ascii")
    assert entry == json.loads((CORPORA / "corpora.json").read_text())["reber.txt"]


@pytest.mark.slow
def test_the_committed_corpora_are_those_of_the_generator(capsys):
    assert generate.main(["--check"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in CORPORA.iterdir()) == [
        "README.md", "corpora.json", "play.txt", "reber.txt"]  # fmt: skip


def test_the_figures_are_those_of_the_files():
    entries = json.loads((CORPORA / "corpora.json").read_text(encoding="ascii"))
    readme = (CORPORA / "README.md").read_text(encoding="ascii")
    assert set(entries) == {"reber.txt", "play.txt"}
    for name, entry in entries.items():
        text = (CORPORA / name).read_bytes()
        assert len(text) == entry["characters"] == len(text.decode("ascii"))
        assert 500_000 <= len(text) <= 2_000_000
        bits, chars = grammars.expectations({"reber.txt": REBER, "play.txt": PLAY}[name], START)
        assert entry["bits_per_character"] == round(bits / chars, 6)
        assert entry["nats_per_character"] == round(bits / chars * math.log(2), 6)
        # a sample of this many records deviates by some tenths of a percent
        assert entry["realised_bits_per_character"] == pytest.approx(bits / chars, rel=0.005)
        assert f"{entry['bits_per_character']:.6f}" in readme and entry["sha256"] in readme


def test_another_folder_is_written_and_checked(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(generate, "GRAMMARS", {"reber.txt": generate.reber_grammar})
    monkeypatch.setattr(generate, "RECORDS", {"reber.txt": 20})
    output = tmp_path / "new"
    options = ["--output", str(output), "--seed", "5"]
    assert generate.main(options) == 0
    assert sorted(p.name for p in output.iterdir()) == ["README.md", "corpora.json", "reber.txt"]
    assert (output / "reber.txt").read_text().count("\n") == 20
    assert generate.main([*options, "--check"]) == 0
    assert generate.main(["--output", str(output), "--seed", "6", "--check"]) == 1
    (output / "README.md").unlink()
    capsys.readouterr()
    assert generate.main([*options, "--check"]) == 1
    assert (
        capsys.readouterr().err == f"{output / 'README.md'}: differs from the generator's output\n"
    )


def test_an_ambiguous_grammar_is_refused(monkeypatch):
    grammar = {START: [(1, ["x"]), (1, ["x"])]}
    monkeypatch.setattr(generate, "GRAMMARS", {"reber.txt": lambda: grammar})
    with pytest.raises(ValueError, match=r"reber\.txt: the grammar may be ambiguous at <record>"):
        generate.make("reber.txt", 1)
