from __future__ import annotations

import itertools
import json
import math
import random
import re
import sys
from pathlib import Path

import generate as make_corpora
import pytest

CORPORA = SCRIPTS.parent / "corpora"
START = make_corpora.START
REBER = make_corpora.reber_grammar()
PLAY = make_corpora.play_grammar()

# Every text enumerable by hand: two lengths, unequal weights, a nonterminal used twice.
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
    """Every derivation of a run of symbols with its probability."""
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


def test_moments_equal_the_sums_over_all_texts():
    texts = list(enumerate_texts(TINY, ["<S>"]))
    assert len(texts) == len({text for text, _ in texts}) == 8
    assert math.fsum(p for _, p in texts) == pytest.approx(1, abs=1e-15)
    bits, chars = make_corpora.moments(TINY, "<S>")
    assert bits == pytest.approx(-math.fsum(p * math.log2(p) for _, p in texts), rel=1e-12)
    assert chars == pytest.approx(math.fsum(p * len(text) for text, p in texts), rel=1e-12)


def test_sample_states_the_probability_of_what_it_drew():
    probabilities = dict(enumerate_texts(TINY, ["<S>"]))
    rng = random.Random(3)
    drawn = [make_corpora.sample(TINY, "<S>", rng) for _ in range(4000)]
    for text, bits in drawn:
        assert bits == pytest.approx(-math.log2(probabilities[text]), rel=1e-12)
    for text, p in probabilities.items():
        share = sum(t == text for t, _ in drawn) / len(drawn)
        assert abs(share - p) < 5 * math.sqrt(p / len(drawn))


def test_moments_of_a_recursion_are_its_closed_form():
    # a geometric number of "ab": mean 1/(1-p), entropy of the stopping draws h(p)/(1-p)
    p = 0.75
    grammar = {"<S>": [(3, ["ab", "<S>"]), (1, ["c"])]}
    bits, chars = make_corpora.moments(grammar, "<S>")
    entropy = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert bits == pytest.approx(entropy / (1 - p), rel=1e-9)
    assert chars == pytest.approx(2 * p / (1 - p) + 1, rel=1e-9)


def test_a_grammar_without_finite_texts_is_refused(monkeypatch):
    monkeypatch.setattr(make_corpora, "MAX_SWEEPS", 200)
    with pytest.raises(ValueError, match="<S>: the expected length does not converge"):
        make_corpora.moments({"<S>": [(1, ["a", "<S>", "<S>"]), (1, ["b"])]}, "<S>")


def test_derivations_counts_every_reading():
    assert make_corpora.derivations(AMBIGUOUS, "<S>", "abc") == 2
    assert make_corpora.derivations(AMBIGUOUS, "<S>", "ac") == 1
    assert make_corpora.derivations(AMBIGUOUS, "<S>", "abx") == 0
    # bracketings of n+1 leaves: the Catalan numbers
    trees = {"<T>": [(1, ["(", "<T>", "<T>"]), (2, ["x"])], "<S>": [(1, ["x"]), (1, ["x", "<S>"])]}
    trees["<P>"] = [(1, ["<S>", "<S>", "<S>"])]
    assert make_corpora.derivations(trees, "<P>", "x" * 8) == math.comb(7, 2)
    with pytest.raises(ValueError, match="<L> is left-recursive"):
        make_corpora.derivations({"<L>": [(1, ["<L>", "a"]), (1, ["a"])]}, "<L>", "aa")


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
def test_conflict_finds_shared_beginnings(grammar):
    assert make_corpora.conflict(grammar) is not None


@pytest.mark.parametrize("grammar", [TINY, REBER, PLAY], ids=["tiny", "reber", "play"])
def test_no_text_has_two_derivations_and_no_record_begins_another(grammar):
    assert make_corpora.conflict(grammar) is None


@pytest.mark.parametrize("grammar", [REBER, PLAY], ids=["reber", "play"])
def test_every_symbol_in_brackets_has_rules_and_every_rule_is_used(grammar):
    used = {s for alternatives in grammar.values() for _, rhs in alternatives for s in rhs}
    assert {s for s in used if re.search(r"[<>{}]", s)} | {START} == set(grammar)
    for alternatives in grammar.values():
        for weight, symbols in alternatives:
            assert isinstance(weight, int) and weight > 0
            assert symbols and all(symbols)


def test_reber_entropy_is_seven_bits_in_thirteen_characters():
    # One bit for the outer letter, six for the inner draws, each of which writes one character;
    # around them BT and TE\n or BP and PE\n, and the inner string's own B and E.
    bits, chars = make_corpora.moments(REBER, START)
    assert bits == pytest.approx(7, rel=1e-12)
    assert chars == pytest.approx(13, rel=1e-12)


def test_reber_strings_walk_the_automaton():
    # Reber's states, written down apart from the grammar: (state, letter) -> state
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
        assert make_corpora.derivations(REBER, START, line + "\n") == 1


def test_play_scenes_have_one_derivation():
    scenes = (CORPORA / "play.txt").read_text(encoding="ascii").split("\n\n\n")
    assert scenes.pop() == ""
    assert len(scenes) == make_corpora.RECORDS["play.txt"]
    for scene in scenes[:200]:
        assert make_corpora.derivations(PLAY, START, scene + "\n\n\n") == 1
    assert make_corpora.derivations(PLAY, START, scenes[0]) == 0


def test_play_agrees_in_number_and_article():
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
        ("sg", "pl"), sys.modules["play_words"].RHYMES.items()
    ):
        assert set(first.split()).isdisjoint(second.split())
        ends = {rhs[-1] for _, rhs in PLAY[f"<verse {number} {rhyme} 0>"]}
        assert ends == {f"<rhyme {rhyme} 0>"}


def test_committed_files_are_what_the_seed_gives(capsys):
    assert make_corpora.main(["--check"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in CORPORA.iterdir()) == [
        "README.md", "corpora.json", "play.txt", "reber.txt"]  # fmt: skip


def test_figures_are_those_of_the_files():
    entries = json.loads((CORPORA / "corpora.json").read_text(encoding="ascii"))
    readme = (CORPORA / "README.md").read_text(encoding="ascii")
    assert set(entries) == {"reber.txt", "play.txt"}
    for name, entry in entries.items():
        text = (CORPORA / name).read_bytes()
        assert len(text) == entry["characters"] == len(text.decode("ascii"))
        assert 500_000 <= len(text) <= 2_000_000
        bits, chars = make_corpora.moments({"reber.txt": REBER, "play.txt": PLAY}[name], START)
        assert entry["bits_per_character"] == round(bits / chars, 6)
        assert entry["nats_per_character"] == round(bits / chars * math.log(2), 6)
        # the luck of the draw: some tenths of a percent over this many records
        assert entry["realised_bits_per_character"] == pytest.approx(bits / chars, rel=0.005)
        assert f"{entry['bits_per_character']:.6f}" in readme and entry["sha256"] in readme


def test_writes_and_checks_another_folder(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(make_corpora, "GRAMMARS", {"reber.txt": make_corpora.reber_grammar})
    monkeypatch.setattr(make_corpora, "RECORDS", {"reber.txt": 20})
    output = tmp_path / "new"
    options = ["--output", str(output), "--seed", "5"]
    assert make_corpora.main(options) == 0
    assert sorted(p.name for p in output.iterdir()) == ["README.md", "corpora.json", "reber.txt"]
    assert (output / "reber.txt").read_text().count("\n") == 20
    assert make_corpora.main([*options, "--check"]) == 0
    assert make_corpora.main(["--output", str(output), "--seed", "6", "--check"]) == 1
    (output / "README.md").unlink()
    capsys.readouterr()
    assert make_corpora.main([*options, "--check"]) == 1
    assert capsys.readouterr().err == f"{output / 'README.md'}: not what the generator writes\n"


def test_refuses_an_ambiguous_grammar(monkeypatch):
    grammar = {START: [(1, ["x"]), (1, ["x"])]}
    monkeypatch.setattr(make_corpora, "GRAMMARS", {"reber.txt": lambda: grammar})
    with pytest.raises(ValueError, match=r"reber\.txt: the grammar may be ambiguous at <record>"):
        make_corpora.make("reber.txt", 1)
