"""Limits of the server, each of which is an option of `charlstm serve`."""

from dataclasses import dataclass

from charlstm.config.knobs import Record, knob


@dataclass(frozen=True)
class Limits(Record):
    """The most that requests may ask for. A request beyond a limit is refused with an error."""

    max_prompt: int = knob(
        200_000,
        "Largest number of characters of all prompts of a request.",
        within="[1, 100000000]",
    )
    max_tokens: int = knob(
        100_000,
        "Largest number of characters that a request may ask for, of each text.",
        within="[1, 100000000]",
    )
    max_samples: int = knob(
        256,
        "Largest number of texts that are written or scored at once, over all requests.",
        within="[1, 10000]",
    )
    max_seconds: float = knob(
        600.0, "Largest time that a request may take, in seconds.", within="[0.1, 1e6]"
    )

    @property
    def max_body(self) -> int:
        """The largest number of bytes of a body: a prompt of escapes, and the other fields."""
        return 12 * self.max_prompt + 100_000
