"""A judge model behind an OpenAI-compatible address: the probability that it answers YES.

Standard library only. With log-probabilities, the probability is that of the tokens that spell yes among those that
spell yes or no, at the first token of the answer; without, the share of YES among samples. A judge that can't be
reached, is too slow, or answers something else has no verdict, and that is never a zero (peers' graders score a
server's error as a wrong answer). Every attempt has one deadline over connecting, waiting and reading.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import random
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cascade_rl.protocols import Judgement
from cascade_rl.types import Message

LONGEST_REPLY = 8_000_000  # bytes
WORTH_RETRYING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
LEAST_MASS = 0.01  # yes and no together, below which the first token is no answer


class JudgeError(Exception):
    """An answer that can't be used; `final` when asking again would not help."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class HttpJudge:
    """A `Judge` that asks `{url}/chat/completions`.

    url          the base address, such as `http://127.0.0.1:8000/v1`
    api_key      sent as a bearer token
    timeout_s    for one attempt, from connecting to the last byte; there are `attempts` of them, with pauses between
                 that start at `backoff_s` and double
    max_tokens   room for the answer; a judge that reasons first needs more
    samples      how many answers to draw when the server gives no log-probabilities
    parallel     requests at a time
    """

    def __init__(
        self, url: str, model: str, *, api_key: str | None = None, timeout_s: float = 60.0, attempts: int = 4,
        backoff_s: float = 0.5, max_tokens: int = 8, samples: int = 8, parallel: int = 16,
    ) -> None:  # fmt: skip
        self._address = urlsplit(url.rstrip("/") + "/chat/completions")
        if self._address.scheme not in ("http", "https") or not self._address.hostname:
            raise ValueError(f"the judge's address {url!r} must be like http://host:port/v1")
        self._model, self._max_tokens, self._samples = model, max_tokens, samples
        self._timeout_s, self._attempts, self._backoff_s = timeout_s, attempts, backoff_s
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._pool = ThreadPoolExecutor(parallel, "judge")
        self._jitter = random.Random(0)

    def close(self) -> None:
        """Let go of the threads; requests under way end with their deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def probability(self, messages: Sequence[Message]) -> Judgement:
        """The probability of YES, in [0, 1]; a Judgement with a fault when the judge gives none."""
        chat = [{"role": m.role, "content": m.content} for m in messages]
        try:
            choices = await self._ask(chat, temperature=0, logprobs=True, top_logprobs=20)
            value = yes_from_logprobs(choices[0])
            return Judgement(await self._from_samples(chat) if value is None else value)
        except JudgeError as error:
            return Judgement(fault="crash", note=str(error))
        except TimeoutError:
            return Judgement(
                fault="timeout", note=f"no answer within {self._timeout_s} s, {self._attempts} times"
            )

    async def _from_samples(self, chat: list[dict[str, str]]) -> float:
        """The share of YES; servers that ignore `n` are asked again until there are enough."""
        texts: list[str] = []
        for _ in range(self._samples):
            wanted = self._samples - len(texts)
            if wanted > 0:
                texts += [_text(choice) for choice in await self._ask(chat, temperature=1, n=wanted)][:wanted]
        return yes_from_texts(texts)

    async def _ask(self, chat: list[dict[str, str]], **options: Any) -> list[Mapping[str, Any]]:
        """The choices of one completion, after as many attempts as it takes."""
        body = json.dumps({"model": self._model, "messages": chat, "max_tokens": self._max_tokens, **options})
        for attempt in range(self._attempts):
            try:
                return await self._attempt(body.encode())
            except (JudgeError, TimeoutError) as error:
                if attempt == self._attempts - 1 or getattr(error, "final", False):
                    raise
            await asyncio.sleep(self._backoff_s * 2**attempt * self._jitter.uniform(0.5, 1.5))
        raise AssertionError("there is at least one attempt")

    async def _attempt(self, body: bytes) -> list[Mapping[str, Any]]:
        send = partial(_post, self._address, body, self._headers, self._timeout_s)
        status, data = await asyncio.get_running_loop().run_in_executor(self._pool, send)
        if status != 200:
            reason = f"HTTP {status}: {data[:200].decode(errors='replace')}"
            raise JudgeError(reason, final=status not in WORTH_RETRYING)
        return _choices(data)


def _post(
    address: SplitResult, body: bytes, headers: Mapping[str, str], timeout_s: float
) -> tuple[int, bytes]:
    """Status and content, in one thread and one deadline; raises TimeoutError or JudgeError.

    A socket's own timeout is for one wait, and a server that sends a byte now and then would never meet it: so the
    socket is shut down from outside when the time is over.
    """
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname, address.port, timeout=timeout_s)
    late = threading.Event()
    began = time.monotonic()
    try:
        connection.connect()
        timer = threading.Timer(
            max(0.0, timeout_s - (time.monotonic() - began)), _cut, (connection.sock, late)
        )
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", f"{address.path}?{address.query}".rstrip("?"), body, dict(headers))
            response = connection.getresponse()
            data = response.read(LONGEST_REPLY + 1)
        finally:
            timer.cancel()
        if late.is_set() or response.length:
            raise http.client.IncompleteRead(data, response.length)
        if len(data) > LONGEST_REPLY:
            raise JudgeError("the answer is too long", final=True)
        return response.status, data
    except (OSError, http.client.HTTPException) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise TimeoutError from None
        raise JudgeError(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()


def _cut(connected: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed in the meantime


def _choices(data: bytes) -> list[Mapping[str, Any]]:
    try:
        choices = json.loads(data)["choices"]
        if choices and all(isinstance(choice["message"], dict) for choice in choices):
            return choices
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise JudgeError(f"no chat completion: {data[:200].decode(errors='replace')!r}")


def _text(choice: Mapping[str, Any]) -> str:
    content = choice["message"].get("content")
    return content if isinstance(content, str) else ""


def _spelt(token: Any) -> str:
    """`yes` or `no` when the token is one of them or how one begins; else nothing."""
    text = re.sub(r"^[\s\"'*`_(\[Ġ▁]+|[\s\"'*`_)\].,:;!]+$", "", str(token)).casefold()
    return next((word for word in ("yes", "no") if text and word.startswith(text)), "")


def yes_from_logprobs(choice: Mapping[str, Any]) -> float | None:
    """The probability of yes against no at the first token of the answer; None when there are no log-probabilities.

    Raises JudgeError when that token answers neither way.
    """
    content = (
        (choice.get("logprobs") or {}).get("content") if isinstance(choice.get("logprobs"), dict) else None
    )
    if not content or not content[0].get("top_logprobs"):
        return None
    mass = {"yes": 0.0, "no": 0.0, "": 0.0}
    try:
        for entry in _answer_token(content)["top_logprobs"]:
            mass[_spelt(entry["token"])] += math.exp(min(0.0, float(entry["logprob"])))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise JudgeError("the log-probabilities are malformed") from None
    both = mass["yes"] + mass["no"]
    if not both >= LEAST_MASS:
        raise JudgeError(f"the judge's first word is neither yes nor no, but begins {_text(choice)[:80]!r}")
    return mass["yes"] / both


def _answer_token(content: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first token after the reasoning that holds more than blanks and signs."""
    said = ""
    ends = [
        i
        for i, token in enumerate(content)
        if (said := said + token["token"]) and said.rstrip().endswith("</think>")
    ]
    if said.lstrip().startswith("<think>") and not ends:
        raise JudgeError("the judge's reasoning does not end; give it more max_tokens")
    for token in content[ends[-1] + 1 if ends else 0 :]:
        if re.search(r"\w", token["token"]):
            return token
    raise JudgeError("the judge said nothing")


def yes_from_texts(texts: Sequence[str]) -> float:
    """The share of yes among answers whose last line is one word, yes or no; JudgeError when most are not."""
    words = []
    for text in texts:
        lines = text.rpartition("</think>")[2].strip().splitlines() or [""]
        word = re.sub(r"[\s\"'*`_().,:;!\[\]]", "", lines[-1]).casefold()
        words += [word] if word in ("yes", "no") else []
    if not words or len(words) * 2 < len(texts):
        raise JudgeError(f"{len(words)} of {len(texts)} answers are yes or no")
    return words.count("yes") / len(words)
