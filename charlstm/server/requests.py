"""The body of a request for completions: what a client may ask for, checked."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from charlstm.config.limits import Limits
from charlstm.errors import CharlstmError, shown
from charlstm.network.sampling import Sampling
from charlstm.server.errors import RequestError
from charlstm.text.vocab import UNKNOWN_CHOICES, UnknownTreatment

DEFAULT_MAX_TOKENS = 16  # as in OpenAI's API
MAX_ALTERNATIVES = 100  # the largest `logprobs`
MAX_CHOICES = 128  # the largest `n`
MAX_STOPS, MAX_STOP_CHARACTERS = 16, 1_000

Prompt = str | list[int]


@dataclass(frozen=True)
class CompletionRequest:
    """A request for completions; the names are those of OpenAI's API.

    logprobs: None, or the number of alternatives of each character.
    seed: None if the server shall choose it. top_k, min_p and unknown are those of charlstm.
    """

    model: str | None
    prompts: list[Prompt]
    max_tokens: int
    sampling: Sampling
    n: int
    stream: bool
    include_usage: bool
    stops: tuple[str, ...]
    seed: int | None
    logprobs: int | None
    echo: bool
    unknown: UnknownTreatment


def parse_request(body: bytes, limits: Limits) -> CompletionRequest:
    """Return the request that a body holds; RequestError for anything else."""
    fields = _Fields(_json_object(body))
    number = fields.number
    prompts = _prompts(fields.take("prompt"))
    try:
        sampling = Sampling(
            temperature=number("temperature", 1.0),
            top_p=number("top_p", 1.0),
            top_k=fields.integer("top_k", 0, 0, 2**53),
            min_p=number("min_p", 0.0),
        )
    except CharlstmError as error:
        message = str(error).replace("`", "")
        raise RequestError(400, message, message.partition(" ")[0]) from None
    options = fields.take("stream_options")
    if options is not None and type(options) is not dict:
        raise wrong("stream_options", "an object", options)
    stream_options = _Fields(options or {}, "stream_options.")
    request = CompletionRequest(
        model=fields.text("model"),
        prompts=prompts,
        max_tokens=fields.integer("max_tokens", DEFAULT_MAX_TOKENS, 0, limits.max_tokens),
        sampling=sampling,
        n=fields.integer("n", 1, 1, MAX_CHOICES),
        stream=fields.boolean("stream"),
        include_usage=stream_options.boolean("include_usage"),
        stops=_stops(fields.take("stop")),
        seed=fields.optional_integer("seed", -(2**63), 2**63 - 1),
        logprobs=fields.optional_integer("logprobs", 0, MAX_ALTERNATIVES),
        echo=fields.boolean("echo"),
        unknown=_unknown(fields.take("unknown")),
    )
    if options is not None and not request.stream:
        raise RequestError(400, "stream_options needs stream to be true", "stream_options")
    fields.text("user")
    if fields.integer("best_of", request.n, 1, MAX_CHOICES) != request.n:
        raise RequestError(400, "best_of must be n: the server chooses no best text", "best_of")
    fields.refuse_unless_neutral("suffix", "")
    fields.refuse_unless_neutral("presence_penalty", 0)
    fields.refuse_unless_neutral("frequency_penalty", 0)
    fields.refuse_unless_neutral("logit_bias", {})
    stream_options.refuse_unless_neutral("include_obfuscation", False)
    stream_options.refuse_others()
    fields.refuse_others()
    return request


def wrong(name: str, expected: str, value: object) -> RequestError:
    """Return the error for a parameter of a wrong type or value."""
    return RequestError(400, f"{name} must be {expected}, not {shown(value)}", name)


def _json_object(body: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        found = json.loads(body.decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else shown(str(error))
        raise RequestError(400, f"the body is not JSON in UTF-8: {reason}") from None
    if type(found) is not dict:
        raise RequestError(400, "the body must be a JSON object")
    return found


class _Fields:
    """The members of a JSON object. Each is taken once; null means the same as no member."""

    def __init__(self, members: dict[str, Any], prefix: str = "") -> None:
        self._members, self._prefix = dict(members), prefix

    def take(self, name: str) -> Any:
        return self._members.pop(name, None)

    def _checked(self, name: str, expected: str, accepts: Callable[[Any], bool]) -> Any:
        value = self.take(name)
        if value is not None and not accepts(value):
            raise wrong(self._prefix + name, expected, value)
        return value

    def text(self, name: str) -> str | None:
        value: str | None = self._checked(name, "a string", lambda value: type(value) is str)
        return value

    def boolean(self, name: str) -> bool:
        return bool(self._checked(name, "true or false", lambda value: type(value) is bool))

    def number(self, name: str, default: float) -> float:
        def is_finite(value: Any) -> bool:
            return type(value) in (int, float) and abs(value) <= 1e300 and math.isfinite(value)

        value = self._checked(name, "a number", is_finite)
        return default if value is None else float(value)

    def optional_integer(self, name: str, least: int, most: int) -> int | None:
        found: int | None = self._checked(
            name,
            f"a whole number from {least:,} to {most:,}",
            lambda value: type(value) is int and least <= value <= most,
        )
        return found

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        value = self.optional_integer(name, least, most)
        return default if value is None else value

    def refuse_unless_neutral(self, name: str, neutral: object) -> None:
        """Refuse a parameter that is not implemented, unless its value asks for nothing."""
        value = self.take(name)
        if value is not None and value != neutral:
            name = self._prefix + name
            raise RequestError(
                400, f"{name} is not implemented: leave it out", name, "unsupported_parameter"
            )

    def refuse_others(self) -> None:
        """Refuse members that were not taken."""
        if self._members:
            name = self._prefix + shown(next(iter(self._members)))[1:-1]
            raise RequestError(400, f"unknown parameter: {name}", name, "unknown_parameter")


def _prompts(found: Any) -> list[Prompt]:
    """Return the prompts: one or several, each of which is a string or a list of ids."""
    if found is None:
        return [""]
    if type(found) is str or _are_ids(found):
        return [found]
    if type(found) is list and found and all(type(p) is str or _are_ids(p) for p in found):
        return found
    raise wrong("prompt", "a string, a list of ids, or a list of strings or of lists of ids", found)


def _are_ids(found: Any) -> bool:
    return type(found) is list and bool(found) and all(type(id_) is int for id_ in found)


def _stops(found: Any) -> tuple[str, ...]:
    stops = [] if found is None else [found] if type(found) is str else found
    if type(stops) is not list or not all(type(s) is str and s for s in stops):
        raise wrong("stop", "a string that is not empty, or a list of such strings", found)
    if len(stops) > MAX_STOPS or any(len(s) > MAX_STOP_CHARACTERS for s in stops):
        raise RequestError(
            400,
            f"stop may have {MAX_STOPS} strings of {MAX_STOP_CHARACTERS:,} characters each",
            "stop",
        )
    return tuple(stops)


def _unknown(found: Any) -> UnknownTreatment:
    if found is not None and found not in UNKNOWN_CHOICES:
        raise wrong("unknown", f"one of {', '.join(UNKNOWN_CHOICES)}", found)
    return found or "error"
