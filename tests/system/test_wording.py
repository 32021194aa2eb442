"""Numbers in words."""

import pytest

from charlstm.system.wording import size_in_words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (83_449, "83.4 kB"),
        (90_900_000, "90.9 MB"),
        (2_000_000_000, "2.0 GB"),
        (3_210_000_000_000, "3,210.0 GB"),
    ],
)
def test_a_size_has_the_unit_that_suits_it(size, words):
    assert size_in_words(size) == words
