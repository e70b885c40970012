"""Ask a server that speaks OpenAI's chat completions, with one deadline for each attempt.

Retries are for what may pass: a server that is busy, restarts or drops a connection. What will not get better
(a refused key, a wrong request) is told at once.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import httpx2

from cascade_rl.errors import InputError

LONGEST_REPLY = 8_000_000  # bytes
WORTH_RETRYING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class ServerError(Exception):
    """A server gave nothing that can be used; `final` when asking again would not help."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class ChatClient:
    """Asks `{url}/chat/completions` of an OpenAI-compatible server, from any event loop.

    url        the base address, such as `http://127.0.0.1:8000/v1`
    api_key    sent as a bearer token, and told to nobody else
    timeout_s  for one attempt, from connecting to the last byte; there are `attempts` of them, with pauses
               between that start at `backoff_s` and double
    parallel   attempts at a time, in one event loop

    Raises InputError when the address or the key can't be sent.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        attempts: int = 4,
        backoff_s: float = 0.5,
        parallel: int = 16,
    ) -> None:
        self._url, self._model = _address(url), model
        # identity: LONGEST_REPLY then bounds what is received and not what it unfolds to
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise InputError("the key holds a line break or another character that no header can carry")
            self._headers["Authorization"] = f"Bearer {api_key}"
        self.timeout_s, self.attempts = timeout_s, attempts
        self._backoff_s, self._parallel = backoff_s, parallel
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._jitter = random.Random(0)  # so that those that were refused together do not come back together
        self._tls = ssl.create_default_context()  # once: it reads all of the system's certificates

    async def choices(self, messages: Sequence[Mapping[str, str]], **options: Any) -> list[Mapping[str, Any]]:
        """The choices of one completion, after as many attempts as it takes.

        Raises ServerError, or TimeoutError when the last attempt met its deadline.
        """
        asked = json.dumps({"model": self._model, "messages": messages, **options}).encode()
        for attempt in range(1, self.attempts + 1):
            try:
                return _choices(await self._attempt(asked))
            except (ServerError, TimeoutError) as error:
                if attempt == self.attempts or (isinstance(error, ServerError) and error.final):
                    raise
            # 0.5, 1, 2 s by default, each times 0.5 to 1.5
            await asyncio.sleep(self._backoff_s * 2 ** (attempt - 1) * self._jitter.uniform(0.5, 1.5))
        raise AssertionError("there is at least one attempt")

    async def _attempt(self, asked: bytes) -> bytes:
        # A semaphore belongs to the loop that first waited for it, and graders may be called from several.
        slots = self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._parallel))
        async with slots:
            try:
                # The library's own limits are for one wait each: a server that drips would never meet them.
                async with asyncio.timeout(self.timeout_s):
                    status, data = await self._post(asked)
            except httpx2.HTTPError as error:
                raise ServerError(_reason(error)) from None
        if status != 200:
            text = f"HTTP {status}: {data[:200].decode(errors='replace')}"
            raise ServerError(text, final=status not in WORTH_RETRYING)
        return data

    async def _post(self, asked: bytes) -> tuple[int, bytes]:
        """Status and content of one request, on a connection of its own, whatever proxy is configured."""
        data = bytearray()
        async with (
            # a client belongs to the loop that opened it; beside a judge's seconds connecting costs nothing
            httpx2.AsyncClient(verify=self._tls, timeout=None, trust_env=False) as client,
            client.stream("POST", self._url, content=asked, headers=self._headers) as response,
        ):
            async for part in response.aiter_bytes():
                data += part
                # counted while it comes: a length that a server announces is only its word
                if len(data) > LONGEST_REPLY:
                    raise ServerError("the answer is too long", final=True)
        return response.status_code, bytes(data)


def _address(url: str) -> httpx2.URL:
    try:
        found = httpx2.URL(url.rstrip("/") + "/chat/completions")
    except httpx2.InvalidURL:
        found = httpx2.URL("")
    if found.scheme not in ("http", "https") or not found.host:
        raise InputError(f"the server's address {url!r} must be like http://host:port/v1")
    return found


def _reason(error: BaseException) -> str:
    """The first cause: where the system says `Connection refused`, the library says that attempts failed."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{type(error).__name__}: {error}"


def _choices(data: bytes) -> list[Mapping[str, Any]]:
    try:
        choices = json.loads(data)["choices"]
        if choices and all(isinstance(choice["message"], dict) for choice in choices):
            return list(choices)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # told below, with what came instead
    raise ServerError(f"no chat completion: {data[:200].decode(errors='replace')!r}")
