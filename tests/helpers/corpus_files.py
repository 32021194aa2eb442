"""Small texts, and the contents of corpora and cache folders."""

from functools import cache

import numpy as np

SENTENCE = "A corpus may hold any text, this one holds two lines.\nNaïve café — “ok”.\n"


def text_of(corpus):
    """Return the text that a corpus encodes."""
    return corpus.vocab.decode(corpus.ids)


def entries(folder):
    """Return the sorted names in a folder, or [] if it does not exist."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


SUBJECTS = "the cat", "a dog", "our king", "my lord", "the old queen"
VERBS = "sees", "hears", "follows", "never finds"


@cache
def make_text(lines: int, seed: int = 0) -> str:
    """Return lines such as "the cat never finds a dog."."""
    rng = np.random.default_rng(seed)
    return "".join(
        f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(SUBJECTS)}.\n"
        for _ in range(lines)
    )
