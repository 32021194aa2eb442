"""What the tests of files, corpora and their cache share."""

SENTENCE = "A corpus may hold any text, this one holds two lines.\nNaïve café — “ok”.\n"


def text_of(corpus):
    """The text that a corpus encodes."""
    return corpus.vocab.decode(corpus.ids)


def entries(folder):
    """The names in a folder, in order; none if there is no such folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
