"""A sampler behind an OpenAI-compatible server: messages in, text out, no ids and no log-probabilities.

A reply that does not come is no empty reply: it has no place among the replies at all. What came is handed
over, group by group; at the end one error says what is missing, and a restart asks for that only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.errors import InputError, ServerFailure, meant
from cascade_rl.protocols import Finished, Sampling
from cascade_rl.remote import address
from cascade_rl.remote.address import Served
from cascade_rl.remote.answers import ServerError
from cascade_rl.remote.client import ChatClient, Terms
from cascade_rl.remote.wording import WAYS, Dialect, ModeBy, chat_messages, options, rollouts
from cascade_rl.remote.work import Asked, Part, Work
from cascade_rl.types import Problem, Rollout

OURS = "cascade-rl"  # who owns a model that `cascade serve` lists
# An hour: 64K tokens at 20 a second. About a minute of pauses: a server may restart meanwhile.
TERMS = Terms(timeout_s=3600.0, attempts=7, backoff_s=1.0, parallel=16, most_faults=100)


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """How a served model is asked for replies.

    key_variable  the environment variable that holds the key; None: OPENAI_API_KEY, if it is set and the
                  address is https or of this machine
    mode_by       how the mode is said, see `wording`; None: `flag` to `cascade serve`, else `none`
    together      samples of a prompt in one request. With one each has its own seed, its own count of tokens
                  and its own second try; more save the prompt's tokens where they are paid for
    """

    terms: Terms = TERMS
    key_variable: str | None = None
    mode_by: ModeBy | None = None
    together: int = 1

    def __post_init__(self) -> None:
        if self.mode_by not in (None, *WAYS):
            raise InputError(f"{meant(str(self.mode_by), WAYS)}the mode is said by {', '.join(WAYS)}")
        if self.together < 1:
            raise InputError(f"together must be 1 or more (got {self.together})")


def open_sampler(served: Served, settings: ServedSettings | None = None) -> ServerSampler:
    """The sampler of a served model; asks for the server's list where the model or the mode is not told.

    Raises InputError when the key, the address or the model can't be used, ServerFailure when nobody answers.
    """
    _refuse_in_a_loop()
    settings = settings or ServedSettings()
    key = address.default_key(served.url)
    if settings.key_variable:
        key = address.named_key(settings.key_variable, "the server's")
    client = ChatClient(served.url, served.model or "", api_key=key, terms=settings.terms)
    entries: list[Any] = []
    if served.model is None or settings.mode_by is None:
        entries = _listed(client, needed=served.model is None)
    if served.model is None:
        client.model = _only(served, [entry["id"] for entry in entries])
    ours = any(e["id"] == client.model and e.get("owned_by") == OURS for e in entries)
    return ServerSampler(client, settings.mode_by or ("flag" if ours else "none"), settings.together)


def _listed(client: ChatClient, needed: bool) -> list[Any]:
    """The server's models; none of a server that keeps no list, where one is not needed."""
    try:
        return list(asyncio.run(client.models()))
    except TimeoutError:
        why = f"no answer within {client.terms.timeout_s:g} s"
    except ServerError as error:
        # a server without a list is a server all the same
        if error.status in (404, 405, 501) and not needed:
            return []
        if error.for_all:
            raise InputError(f"{client.url}/models: {error}{_advice(client.url, error.status)}") from None
        why = str(error)
    raise ServerFailure(f"{client.url}/models gave no list of models: {why}")


def _refuse_in_a_loop() -> None:
    """Raise RuntimeError where an event loop runs, in words, and before anything is begun."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("a server's replies can't be asked for inside a running event loop")


def _only(served: Served, names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    listed = f"lists {', '.join(sorted(names)[:20])}" if names else "lists no model"
    raise InputError(
        f"{served.url} {listed}: name one, as in {Served(served.url, names[0] if names else 'NAME')}"
    )


def _advice(url: str, status: int | None) -> str:
    """How what a status refuses may be mended."""
    if status == 401 and address.held_back(url):
        return (
            f"; {address.DEFAULT_KEY} is set and goes to no other machine over http, where it can be read on "
            "the way, unless you name it yourself"
        )
    if status in (401, 403):
        return f"; set {address.DEFAULT_KEY}, or name the environment variable that holds the key"
    if status in (404, 405) and not url.endswith("/v1"):
        return f"; most servers' address ends in /v1: {url}/v1"
    return ""


class ServerSampler:
    """A `Sampler` over a client; opened by `open_sampler`.

    `client.counts` are the requests, retries and tokens so far. Must not be called inside a running loop.
    """

    def __init__(self, client: ChatClient, mode_by: ModeBy = "none", together: int = 1) -> None:
        self.client, self.mode_by, self.together = client, mode_by, together
        self.dialect = Dialect()

    def described(self) -> dict[str, Any]:
        """How it was asked, for a result to tell: no key, and no count, which no other run repeats."""
        return {
            "server": self.client.url,
            "model": self.client.model,
            "mode_by": self.mode_by,
            "together": self.together,
            "refused": sorted(self.dialect.refused),
        }

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """`sampling.n` rollouts a problem; raises ServerFailure when some never came, after all others did.

        `finished` is called from this thread. How long a prompt is only the server knows, which refuses it.
        """
        return self._sample([(problems, sampling)], finished)[0]

    def sample_many(self, asked: Asked) -> list[list[tuple[Rollout, ...]]]:
        """Several requests in one go."""
        return self._sample(asked, None)

    def _sample(self, asked: Asked, finished: Finished | None) -> list[list[tuple[Rollout, ...]]]:
        """`finished` hears of the groups of a single request."""
        _refuse_in_a_loop()
        work = Work(asked, self.together, finished)
        asyncio.run(self._all(work))
        if missing := work.missing():
            raise ServerFailure(f"{self.client.url}, model {self.client.model}: {missing}")
        return work.found

    async def _all(self, work: Work) -> None:
        parts = work.parts()
        count = self.client.terms.parallel
        await asyncio.gather(*(self._work_on(work, parts) for _ in range(count)))

    async def _work_on(self, work: Work, parts: Iterator[Part]) -> None:
        """Ask for one part after the other; several of these share the parts."""
        for part in parts:
            try:
                work.add(part, await self._fill(part))
            except TimeoutError:
                terms = self.client.terms
                work.fail(part, f"no answer within {terms.timeout_s:g} s, {terms.attempts} times")
            except ServerError as error:
                if error.for_all:
                    work.over = f"{error}{_advice(self.client.url, error.status)}"
                else:
                    work.fail(part, str(error))

    async def _fill(self, part: Part) -> list[Rollout]:
        """All samples of a part, asked for again while there are fewer; each answer brings one at least."""
        found: list[Rollout] = []
        while left := part.indices[len(found) :]:
            found += (await self._ask(part, left))[: len(left)]
        return found

    async def _ask(self, part: Part, indices: range) -> list[Rollout]:
        """One answer, in words that this server knows."""
        messages = chat_messages(part.problem, self.mode_by)
        wanted = options(part.problem, part.sampling, self.mode_by, indices[0], len(indices))
        while True:
            said = self.dialect.said(wanted)
            try:
                return await self.client.complete(messages, rollouts, **said)
            except ServerError as error:
                # each time one word less is left that could be refused
                if not self.dialect.learn(str(error), error.status, said):
                    raise
