"""What the tests of files, corpora and their cache share."""

import numpy as np

SENTENCE = "A corpus may hold any text, this one holds two lines.\nNaïve café — “ok”.\n"


def text_of(corpus):
    """The text that a corpus encodes."""
    return corpus.vocab.decode(corpus.ids)


def entries(folder):
    """The names in a folder, in order; none if there is no such folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


SUBJECTS = "the cat", "a dog", "our king", "my lord", "the old queen"
VERBS = "sees", "hears", "follows", "never finds"


def make_text(lines: int, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    return "".join(
        f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(SUBJECTS)}.\n"
        for _ in range(lines)
    )
