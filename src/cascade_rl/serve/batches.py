"""Requests that wait are decoded together, by one thread that owns the model.

Who comes while a batch decodes waits for its end. A reply does not depend on what else is in its batch: each
row has a generator of its own, see `rollout/drawing`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Sequence

from cascade_rl.errors import WorkerError
from cascade_rl.rollout.streaming import Ask, Part, Token
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.serve.refusals import Refused

MOST_REQUESTS = 256  # that are served or wait; more are told to come again
# Replies times the longest of them, in tokens, that one batch may have: some 20 bytes are set aside for each.
MOST_PLACES = 1 << 24
GATHER_S = 0.005  # so long a batch waits for those that were sent together with its first

# (which of the replies, its next token), or why none comes any more
Event = tuple[int, Token] | Refused


class Job:
    """One request at work: tokens come in its event loop; replies that nobody wants any more are given up."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[list[Event]] = asyncio.Queue()
        # written by the event loop, read by the thread that decodes: a late look costs a step
        self._over: set[int] = set()

    async def tokens(self) -> AsyncIterator[tuple[int, Token]]:
        """(which reply, token) as they come, until every reply was given up; raises Refused for a fault."""
        while not self.left():
            for event in await self._events.get():
                if isinstance(event, Refused):
                    raise event
                if event[0] not in self._over:
                    yield event

    def end(self, *indices: int) -> None:
        """Draw no more tokens of these replies; of none, if no number is given."""
        self._over.update(indices or range(self.ask.sampling.n))

    def left(self) -> bool:
        """Whether nobody waits for any of its replies."""
        return len(self._over) == self.ask.sampling.n

    def goes_on(self, index: int) -> bool:
        """Whether a reply is still wanted."""
        return index not in self._over

    def tell(self, events: list[Event]) -> None:
        """Hand over, from whatever thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, events)


class Batches:
    """The thread; `fault` says why it can't decode any more, and is empty while it can."""

    def __init__(self, sampler: TorchSampler) -> None:
        self.sampler, self.fault, self.closed = sampler, "", False
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._next: Job | None = None  # it did not fit into the last batch
        self._open: set[Job] = set()  # in the event loop's hands
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
        self._thread.start()

    @property
    def requests(self) -> int:
        """How many are served or wait."""
        return len(self._open)

    def refuse_more(self) -> None:
        """Raise Refused where no further request can be taken."""
        if self.closed:
            raise Refused("the server is stopping", 503)
        if self.requests >= MOST_REQUESTS:
            raise Refused(f"{MOST_REQUESTS} requests are being served or wait; try again later", 429)

    def begin(self, ask: Ask) -> Job:
        """Put a request in line; `leave` it in the end, whatever became of it. Raises Refused."""
        self.refuse_more()
        job = Job(ask)
        self._open.add(job)
        self._waiting.put(job)
        return job

    def leave(self, job: Job) -> None:
        """Its replies are complete, or nobody listens any more."""
        job.end()
        self._open.discard(job)

    def dismiss(self) -> None:
        """Answer everybody that the server is stopping."""
        self.closed = True
        for job in self._open:
            job.tell([Refused("the server is stopping; the reply is not complete", 503)])

    def close(self) -> None:
        """Give up what is decoded, and end the thread."""
        self.closed = True
        for job in list(self._open):
            self.leave(job)
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended and (first := self._next or self._waiting.get()) is not None:
            jobs, ended = self._gathered(first)
            if wanted := [job for job in jobs if not job.left()]:
                self._decode(wanted)

    def _gathered(self, first: Job) -> tuple[list[Job], bool]:
        """The next batch, and whether the thread ends behind it."""
        jobs, self._next = [first], None
        rows, longest = first.ask.sampling.n, first.ask.sampling.max_new_tokens
        while True:
            try:
                job = self._waiting.get(timeout=GATHER_S)
            except queue.Empty:
                return jobs, False
            if job is None:
                return jobs, True
            rows, longest = rows + job.ask.sampling.n, max(longest, job.ask.sampling.max_new_tokens)
            if rows * longest > MOST_PLACES:
                self._next = job
                return jobs, False
            jobs.append(job)

    def _decode(self, jobs: Sequence[Job]) -> None:
        def heard(parts: Sequence[Part]) -> list[bool]:
            by_job: dict[int, list[Event]] = {}
            for part in parts:
                by_job.setdefault(part.request, []).append((part.index, part.token))
            for number, events in by_job.items():
                jobs[number].tell(events)
            return [jobs[part.request].goes_on(part.index) for part in parts]

        try:
            self.sampler.stream([job.ask for job in jobs], heard)
        except Exception as error:
            if isinstance(error, WorkerError):
                self.fault = str(error)
            for job in jobs:
                job.tell([Refused(f"decoding failed: {type(error).__name__}: {error}", 500)])
