"""What an answer of a server says: a completion, a list of models, or why there is neither."""

from __future__ import annotations

import email.utils
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import APIStatusError

WORTH_RETRYING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
# Refusals that hold for every question: another address, key, money, permission, model or path.
FOR_ALL = frozenset({301, 302, 307, 308, 401, 402, 403, 404, 405})
LONGEST_WAIT_S = 120.0  # however long a server asks us to wait
QUOTED = 300  # characters of an answer that an error shows


class ServerError(Exception):
    """A server gave nothing that can be used; `final` when asking again would not help.

    for_all  no other question would be answered either
    status   of its answer, if there was one
    wait_s   how long it wants not to be asked
    """

    def __init__(
        self,
        reason: str,
        *,
        final: bool = False,
        for_all: bool = False,
        status: int | None = None,
        wait_s: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.final, self.for_all, self.status, self.wait_s = final or for_all, for_all, status, wait_s


class BudgetSpent(ServerError):
    """No more may be asked: `most_requests` or `most_faults` is reached."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, for_all=True)


@dataclass(frozen=True, slots=True)
class Completion:
    """The choices of one answer, one at least, and its usage, empty if it tells none."""

    choices: list[Mapping[str, Any]]
    usage: Mapping[str, Any]


def refusal(error: APIStatusError) -> ServerError:
    """What a status other than 2xx says."""
    status, answer = error.status_code, error.response
    text = f"HTTP {status}: {_quoted(answer.content)}"
    if answer.is_redirect:
        text += f" (it leads to {answer.headers.get('location')}, and is not followed: give that address)"
    # OpenAI's word for an account without money: it comes as 429, and waiting does not help
    for_all = status in FOR_ALL or error.code == "insufficient_quota"
    return ServerError(
        text,
        final=status not in WORTH_RETRYING,
        for_all=for_all,
        status=status,
        wait_s=_retry_after(answer.headers.get("retry-after")),
    )


def completion(data: bytes, counts: Counter[str]) -> Completion:
    """The completion in an answer; its tokens are counted even if nothing else of it is of use."""
    try:
        answer = json.loads(data)
        usage = answer["usage"] if isinstance(answer.get("usage"), dict) else {}
        told = {name: tokens(usage, name) for name in ("prompt_tokens", "completion_tokens")}
        counts["untold"] += None in told.values()
        counts.update({name: count for name, count in told.items() if count is not None})
        choices = answer["choices"]
        if choices and all(isinstance(choice["message"], dict) for choice in choices):
            return Completion(list(choices), usage)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # told below, with what came instead
    raise ServerError(f"no chat completion: {_quoted(data)!r}")


def models(data: bytes) -> list[Mapping[str, Any]]:
    """The entries of a list of models, each with an `id`."""
    try:
        entries = json.loads(data)["data"]
        if all(isinstance(entry["id"], str) for entry in entries):
            return list(entries)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # told below, with what came instead
    raise ServerError(f"no list of models: {_quoted(data)!r}")


def tokens(usage: Mapping[str, Any], name: str) -> int | None:
    """A count of the server's usage; None for what is no count. Never 0: nothing takes no tokens at all."""
    count = usage.get(name)
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None


def first_cause(error: BaseException) -> str:
    """Where the system says `Connection refused`, the library says that attempts failed."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{type(error).__name__}: {error}"


def _quoted(data: bytes) -> str:
    return data[:QUOTED].decode(errors="replace")


def _retry_after(text: str | None) -> float:
    """Seconds to wait, of a number or a date; 0 of anything else, and never more than LONGEST_WAIT_S."""
    try:
        wait_s = float(text or 0)
    except ValueError:
        date = email.utils.parsedate_tz(text)
        wait_s = email.utils.mktime_tz(date) - time.time() if date else 0.0
    return min(wait_s, LONGEST_WAIT_S) if wait_s > 0 else 0.0  # also of NaN
