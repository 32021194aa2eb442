"""looks_like_list: whether each line of a text is best read by itself, as in a list of names."""

from charlstm.arrays import Ids
from charlstm.text.vocab import Vocab

SYMBOLS_TO_READ = 100_000
FEWEST_LINES = 30
# The lines of a list are short and have few spaces. Unlike verse and code, a list has almost no
# empty or indented lines. Few lines of a list end with punctuation.
LONGEST_MEAN = 40  # characters
MOST_SPACES = 2  # in a line, on average
MOST_EMPTY_OR_INDENTED = 0.02  # of all lines
MOST_PUNCTUATED = 0.2  # of all lines
PUNCTUATION = tuple(".,;:!?…。，、！？；：{}()[]\\")


def looks_like_list(ids: Ids, vocab: Vocab) -> bool:
    """Return whether a text of characters or bytes looks like a list, judging by its beginning."""
    if vocab.level == "word":
        return False
    beginning = ids[:SYMBOLS_TO_READ]
    lines = vocab.decode(beginning, "replace").replace("\r\n", "\n").split("\n")
    lines.pop()  # the last line may be empty or incomplete
    if len(lines) < FEWEST_LINES:
        return False
    count = len(lines)
    empty_or_indented = sum(not line.strip() or line[0].isspace() for line in lines)
    return (
        sum(map(len, lines)) <= LONGEST_MEAN * count
        and sum(line.count(" ") for line in lines) <= MOST_SPACES * count
        and empty_or_indented <= MOST_EMPTY_OR_INDENTED * count
        and sum(line.endswith(PUNCTUATION) for line in lines) <= MOST_PUNCTUATED * count
    )
