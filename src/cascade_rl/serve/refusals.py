"""What a client is told when it gets no completion, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# what OpenAI calls errors of a status
KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class Refused(Exception):
    """A request that gets an error: its HTTP status, OpenAI's code, and the field that is to blame."""

    def __init__(
        self, message: str, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = KINDS.get(self.status, "invalid_request_error")
        param = None if self.param is None else _writable(self.param)
        return {"error": {"message": _writable(str(self)), "type": kind, "param": param, "code": self.code}}


def _writable(text: str) -> str:
    """What a client wrote may hold half a surrogate pair, which no answer can."""
    return text.encode(errors="backslashreplace").decode()


def refused_for(problems: Sequence[tuple[str, str]]) -> Refused:
    """All that is wrong with a request, as (field, what is wrong); the first field is the one to blame."""
    lines = [f"{path}: {text}" if path else text for path, text in problems]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return Refused(f"{count}: {'; '.join(lines)}", param=problems[0][0] or None)
