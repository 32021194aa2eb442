"""RequestError: an error of a request, which is answered as OpenAI's API answers errors."""

import json
from typing import Any


class RequestError(Exception):
    """Raised for a request that is refused, or whose answer ends early.

    status: the code of HTTP. param: the name of the parameter that is wrong. code: a word for
    programs.
    """

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def to_dict(self) -> dict[str, Any]:
        """Return the error object of OpenAI's API."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        other = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = kinds.get(self.status, other)
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def to_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8. A lone surrogate, which UTF-8 does not have, becomes "?"."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
