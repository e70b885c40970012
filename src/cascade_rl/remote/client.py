"""Ask a server for OpenAI's chat completions, with one deadline for each attempt and a budget for all.

On the `openai` library, which writes requests and tells errors apart. It limits single waits and single
requests only; deadlines, retries, budgets and the size of an answer are therefore held here.

Retries are for what may pass: a server that is busy, restarts or drops a connection. What will not get better
(a refused key, a wrong request) is told at once.
"""

from __future__ import annotations

import asyncio
import math
import random
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import httpx2

from cascade_rl.errors import InputError
from cascade_rl.remote.address import base_url
from cascade_rl.remote.answers import (
    BudgetSpent,
    Completion,
    ServerError,
    completion,
    first_cause,
    models,
    refusal,
)
from cascade_rl.remote.transport import BoundedTransport, TooLong

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SHARE_OF_FAULTS = 0.1  # of the attempts, below which `most_faults` is no reason to stop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms:
    """How a server is asked, be it judge or policy.

    timeout_s      of one attempt, from connecting to the last byte
    attempts       at one question, with pauses between that start at backoff_s, double, and vary by half;
                   a server that says how long to wait (Retry-After) is obeyed, up to two minutes
    parallel       attempts at a time, in one event loop
    most_requests  attempts in all; None: any number
    most_faults    attempts in all that may fail before nothing more is asked, unless they are fewer than one
                   in ten; None: any number
    """

    timeout_s: float = 60.0
    attempts: int = 4
    backoff_s: float = 0.5
    parallel: int = 16
    most_requests: int | None = None
    most_faults: int | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be {wanted} (got {value})"
            for name, value, possible, wanted in (
                ("timeout_s", self.timeout_s, 0 < self.timeout_s < math.inf, "above 0 and finite"),
                ("attempts", self.attempts, self.attempts >= 1, "1 or more"),
                ("backoff_s", self.backoff_s, 0 <= self.backoff_s < math.inf, "0 or more and finite"),
                ("parallel", self.parallel, self.parallel >= 1, "1 or more"),
                (
                    "most_requests",
                    self.most_requests,
                    self.most_requests is None or self.most_requests >= 1,
                    "1 or more",
                ),
                ("most_faults", self.most_faults, (self.most_faults or 0) >= 0, "0 or more"),
            )
            if not possible
        ]
        if wrong:
            raise InputError("; ".join(wrong))


class ChatClient:
    """Asks the chat completions of an OpenAI-compatible server, from any event loop.

    url      the base address, such as `http://127.0.0.1:8000/v1`
    api_key  sent as a bearer token, and told to nobody else
    counts   `requests`, `retries`, `faults`, and by the server's own usage `prompt_tokens` and
             `completion_tokens`; `untold` are answers without usage

    Raises InputError when the address or the key can't be sent.
    """

    def __init__(
        self, url: str, model: str, *, api_key: str | None = None, terms: Terms | None = None
    ) -> None:
        self.url, self.model, self.terms = str(base_url(url)), model, terms or Terms()
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise InputError("the key holds a line break or another character that no header can carry")
        self._key = api_key or None
        self.counts: Counter[str] = Counter()
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._jitter = random.Random(0)  # so that those that were refused together do not come back together
        self._not_before = 0.0  # by the monotonic clock: a server that is too busy for one is so for all
        self._tls = ssl.create_default_context()  # once: it reads all of the system's certificates

    async def complete(
        self, messages: Sequence[Mapping[str, str]], read: Callable[[Completion], T], **options: Any
    ) -> T:
        """What `read` makes of one completion, after as many attempts as it takes; it may raise ServerError.

        `options` that the schema of OpenAI does not have go in `extra_body`. Raises ServerError, BudgetSpent
        among them, or TimeoutError when the last attempt met its deadline.
        """

        async def ask(api: AsyncOpenAI) -> Any:
            create: Any = api.chat.completions.with_raw_response.create  # its overloads are of fixed names
            return await create(model=self.model, messages=messages, **options)

        return await self._tried(ask, lambda data: read(completion(data, self.counts)))

    async def models(self) -> list[Mapping[str, Any]]:
        """The entries of the server's list of models, each with an `id`. Raises as `complete` does."""

        async def ask(api: AsyncOpenAI) -> Any:
            return await api.models.with_raw_response.list()

        return await self._tried(ask, models)

    async def _tried(self, ask: Callable[[AsyncOpenAI], Awaitable[Any]], read: Callable[[bytes], T]) -> T:
        for attempt in range(1, self.terms.attempts + 1):
            try:
                return read(await self._attempt(ask))
            except BudgetSpent:
                raise
            except (ServerError, TimeoutError) as error:
                self.counts["faults"] += 1
                if self._key:  # a server may send back what it was sent
                    error.args = tuple(str(text).replace(self._key, "***") for text in error.args)
                final, wait_s = (
                    (error.final, error.wait_s) if isinstance(error, ServerError) else (False, 0.0)
                )
                if attempt == self.terms.attempts or final:
                    raise
            # 0.5, 1, 2 s by default, each times 0.5 to 1.5
            backoff_s = self.terms.backoff_s * 2 ** (attempt - 1) * self._jitter.uniform(0.5, 1.5)
            self._not_before = max(self._not_before, time.monotonic() + wait_s)
            await asyncio.sleep(backoff_s)
            self.counts["retries"] += 1
        raise AssertionError("there is at least one attempt")

    async def _attempt(self, ask: Callable[[AsyncOpenAI], Awaitable[Any]]) -> bytes:
        import openai  # a third of a second, which commands that ask nobody need not wait

        # A semaphore belongs to the loop that first waited for it, and graders may be called from several.
        slots = self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.terms.parallel))
        async with slots:
            while (rest_s := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(rest_s + self._jitter.uniform(0, self.terms.backoff_s))
            self._charge()
            try:
                # The library's own limits are for one wait each: a server that drips would never meet them.
                async with asyncio.timeout(self.terms.timeout_s):
                    async with self._opened() as api:
                        answer = await ask(api)
                    return bytes(answer.content)
            except TooLong:
                raise ServerError("the answer is too long", final=True) from None
            except openai.APIStatusError as error:
                raise refusal(error) from None
            except openai.APIConnectionError as error:
                raise ServerError(first_cause(error)) from None

    def _charge(self) -> None:
        """Count one attempt; raises BudgetSpent instead when it may not be made."""
        terms, made, faults = self.terms, self.counts["requests"], self.counts["faults"]
        if terms.most_requests is not None and made >= terms.most_requests:
            raise BudgetSpent(f"the budget of {terms.most_requests} requests is spent")
        if terms.most_faults is not None and faults > max(terms.most_faults, SHARE_OF_FAULTS * made):
            raise BudgetSpent(
                f"{faults} of {made} requests failed, more than {terms.most_faults} and more than one in ten"
            )
        self.counts["requests"] += 1

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncOpenAI]:
        """The library's client on a connection of its own, which costs a millisecond beside connecting.

        It would belong to the loop that opened it; and what an attempt that was cut off left behind in a
        shared connection can't reach the next.
        """
        from openai import AsyncOpenAI

        http = httpx2.AsyncClient(
            transport=BoundedTransport(self._tls, self._key), timeout=None, trust_env=False
        )
        # max_retries: they are counted, and paid from the budget, here. The transport alone has the key.
        async with AsyncOpenAI(
            api_key="none", base_url=self.url, max_retries=0, timeout=None, http_client=http
        ) as api:
            yield api
