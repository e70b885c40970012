"""The pipe to our graders: a process of our own interpreter, started here, many replies under way at once.

Requests and answers are lines of JSON with a number each; see `backends/verl/grader.py` for the other end.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

LONGEST = 1 << 28  # bytes of a line
Score = Callable[[str], Awaitable[float]]  # of a text, by a reward model that is served elsewhere
LEFT_S, POLL_S = 2.0, 0.5  # for what a server that ended has said already; how often it is looked at
STARTS = 3  # of the server, if it ends while replies wait; each reply is then asked again


class GraderLost(RuntimeError):
    """The grading server can't be had; verl counts the reply's group as failed."""


class Server:
    """One process that grades, and the questions that it has not answered."""

    def __init__(self, process: Process, score: Score | None) -> None:
        self.process, self._score = process, score
        self._scoring: set[asyncio.Task[None]] = set()  # held: the loop itself keeps no task alive
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())
        self._watcher = asyncio.create_task(self._watch())
        self._number = 0
        self.ended = False

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer; raises ConnectionError when the process ends before."""
        if self.ended:
            raise ConnectionError("the grading server ended")
        self._number += 1
        number = self._number
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            try:
                await self._say({"id": number, **request})
            except ConnectionError:
                self.ended = True  # before its end is read: the next question goes to another one
                raise
            return await future
        finally:
            del self._waiting[number]

    async def _say(self, line: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps(line) + "\n").encode())
        await self.process.stdin.drain()

    async def _read(self) -> None:
        """Hand out answers, until there are no more: then all who wait are told, whatever ended it."""
        assert self.process.stdout is not None
        try:
            # a torn last line is none: a server that is killed may be in the middle of one
            while (line := await self.process.stdout.readline()).endswith(b"\n"):
                self._hear(json.loads(line))
        except ValueError as error:  # no JSON, or longer than `LONGEST`: nothing that follows can be trusted
            print(f"the grading server said what can't be read: {error}", file=sys.stderr)
        finally:
            self.ended = True
            if self.process.returncode is None:
                self.process.kill()
            if self.process.stdin is not None:
                self.process.stdin.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("the grading server ended"))

    def _hear(self, answer: dict[str, Any]) -> None:
        if "score" in answer:
            task = asyncio.create_task(self._answer_score(answer))
            self._scoring.add(task)
            task.add_done_callback(self._scoring.discard)
            return
        future = self._waiting.get(int(answer.get("id") or 0))
        if future and not future.done():
            future.set_result(answer)

    async def _watch(self) -> None:
        """End the reading where the process is gone, but not the pipe: what it started may still hold it."""
        while self.process.returncode is None:
            await asyncio.sleep(POLL_S)
        await asyncio.wait({self._reader}, timeout=LEFT_S)
        self._reader.cancel()
        await let_go(self.process)

    async def finished(self) -> None:
        """Wait until the process is gone and all that it said was heard."""
        await asyncio.wait({self._watcher, self._reader})

    async def _answer_score(self, asked: Mapping[str, Any]) -> None:
        """Hand the score of a text back, or why there is none: the reply then has no verdict."""
        said: dict[str, Any] = {"scored": asked["score"]}
        try:
            if self._score is None:
                raise RuntimeError("no reward model is served")
            said["value"] = await self._score(asked["text"])
        except Exception as error:
            said["fault"] = f"{type(error).__name__}: {error}"
        try:
            await self._say(said)
        except ConnectionError:
            return  # the server ended: whoever waits for its verdict is told by `_read`


async def let_go(process: Process) -> None:
    """Close our ends of the pipes of a process that has ended, while the loop that they belong to still runs.

    Where a process that it started holds the other end they would stay open, and be closed by the garbage
    collector at a time when their loop is gone. asyncio has no public way to do it.
    """
    process._transport.close()  # type: ignore[attr-defined]
    await asyncio.sleep(0)  # the pipes are closed by callbacks


class Grader:
    """A grading server, started by the first question, and again when it ends.

    settings  `command` and `environment` of the server
    score     asks a reward model for it, where one is served
    """

    def __init__(self, settings: Mapping[str, Any], score: Score | None = None) -> None:
        self._settings, self._score = settings, score
        self._server: Server | None = None
        self._starting = asyncio.Lock()
        # tells apart the files of processes on several machines
        self.name = f"{socket.gethostname()}-{os.getpid()}"

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict on a reply; raises GraderLost when no server could give one."""
        for _ in range(STARTS):
            server = await self._started()
            try:
                answer = await server.ask(request)
            except ConnectionError:
                continue
            if "refused" in answer:
                raise GraderLost(f"the grading server refuses a reply: {answer['refused']}")
            return answer
        raise GraderLost(f"the grading server ended {STARTS} times while it was asked the same")

    async def _started(self) -> Server:
        async with self._starting:
            if self._server is None or self._server.ended:
                self._server = Server(await self._start(), self._score)
            return self._server

    async def _start(self) -> Process:
        # verl's own path and its GPUs are none of the graders' business
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        process = await asyncio.create_subprocess_exec(
            *self._settings["command"],
            stdin=PIPE,
            stdout=PIPE,
            env={**inherited, "CUDA_VISIBLE_DEVICES": "", **self._settings["environment"]},
            limit=LONGEST,
        )
        assert process.stdout is not None
        first = await process.stdout.readline()
        said = json.loads(first) if first.strip() else {"refused": "it ended at once"}
        if "refused" in said:
            await process.wait()
            await let_go(process)
            raise GraderLost(f"the grading server does not start: {said['refused']}")
        print(f"grading server: {said['ready']}", file=sys.stderr)
        return process

    async def close(self) -> None:
        """End the server once it has answered what it was asked."""
        if self._server is not None and self._server.process.stdin is not None:
            self._server.process.stdin.close()
            await self._server.finished()
