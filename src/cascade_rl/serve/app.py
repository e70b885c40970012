"""The addresses of the server, and who may ask: Starlette routes over `completions`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cascade_rl.serve.completions import Completion, Served, event_of
from cascade_rl.serve.refusals import Refused

MOST_BYTES = 8_000_000  # of a request
Told = Callable[[str], None]
Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """The routes over one model.

    key   what clients send as a bearer token; None lets everybody in
    told  hears one line a request
    """

    def __init__(self, served: Served, key: str | None, told: Told) -> None:
        self.served, self.key, self.told, self.since = served, key, told, int(time.time())

    def app(self) -> Starlette:
        """To be run by an ASGI server."""
        routes = [
            Route("/health", self.health),
            Route("/v1/models", self.guarded(self.models)),
            Route("/v1/models/{name:path}", self.guarded(self.model)),
            Route("/v1/chat/completions", self.guarded(self.chat), methods=["POST"]),
        ]
        handlers = {HTTPException: _no_route, Refused: self.refuse, Exception: _fault}
        return Starlette(routes=routes, exception_handlers=handlers)

    def guarded(self, handler: Handler) -> Handler:
        """The same for those who know the key."""

        async def guard(request: Request) -> Response:
            scheme, _, sent = request.headers.get("authorization", "").partition(" ")
            known = scheme.lower() == "bearer" and secrets.compare_digest(
                sent.strip().encode(), (self.key or "").encode()
            )
            if self.key is not None and not known:
                raise Refused("a key is needed: Authorization: Bearer KEY", 401, "invalid_api_key")
            return await handler(request)

        return guard

    async def health(self, request: Request) -> Response:
        """Whether it can decode."""
        fault = self.served.batches.fault
        told = {"status": "failed", "fault": fault} if fault else {"status": "ok"}
        return JSONResponse({**told, "requests": self.served.batches.requests}, 503 if fault else 200)

    async def models(self, request: Request) -> Response:
        """The one that is served."""
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """It, by its name."""
        if (name := request.path_params["name"]) != self.served.name:
            raise Refused(f"the model {name!r} is not served here", 404, "model_not_found", "model")
        return JSONResponse(self._model())

    def _model(self) -> dict[str, object]:
        return {
            "id": self.served.name,
            "object": "model",
            "created": self.since,
            "owned_by": "cascade-rl",
            "max_model_len": self.served.longest,
        }

    async def chat(self, request: Request) -> Response:
        """A chat completion, whole or as it comes."""
        begun = time.monotonic()
        self.served.batches.refuse_more()
        completion = Completion(self.served, await _body(request))
        if completion.asked.stream:
            return StreamingResponse(
                self._streamed(completion, begun),
                media_type="text/event-stream",
                headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
            )
        reply = await unless_gone(request, completion.whole())
        self._tell(completion, begun, gone=reply is None)
        return Response(status_code=499) if reply is None else JSONResponse(reply)

    async def _streamed(self, completion: Completion, begun: float) -> AsyncIterator[str]:
        # left also where the client goes: then this generator is closed
        try:
            async with completion.at_work() as job, aclosing(completion.events(job)) as events:
                async for event in events:
                    yield event
        except Refused as refused:
            yield event_of(refused.body())
        finally:
            self._tell(completion, begun, gone=not all(c.finish for c in completion.choices))

    def _tell(self, completion: Completion, begun: float, gone: bool) -> None:
        usage = completion.usage
        ends = "/".join(sorted({choice.finish or "cut off" for choice in completion.choices}))
        self.told(
            f"{'499' if gone else '200'} {len(completion.choices)} x {completion.ask.problem.mode}: "
            f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens, {ends}, "
            f"{time.monotonic() - begun:.2f} s"
        )

    async def refuse(self, request: Request, refused: Exception) -> Response:
        """An error in OpenAI's form."""
        assert isinstance(refused, Refused)
        self.told(f"{refused.status} {request.url.path}: {str(refused)[:200]}")
        headers = {"retry-after": "1"} if refused.status == 429 else {}
        return JSONResponse(refused.body(), refused.status, headers)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    served = "GET /health, GET /v1/models and POST /v1/chat/completions"
    told = Refused(
        f"{request.method} {request.url.path} is not served here; there are {served}", error.status_code
    )
    return JSONResponse(told.body(), error.status_code, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    # Starlette raises it again behind this answer, so that its traceback is shown where the server runs
    told = Refused(f"a fault of the server: {type(error).__name__}", 500)
    return JSONResponse(told.body(), 500)


async def _body(request: Request) -> bytes:
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            # counted while it comes: a length that a client announces is only its word
            if len(data) > MOST_BYTES:
                raise Refused(f"the request is longer than {MOST_BYTES} bytes", 413)
    except ClientDisconnect:
        raise Refused("the request was cut off") from None
    return bytes(data)


async def unless_gone(request: Request, work: Awaitable[dict[str, object]]) -> dict[str, object] | None:
    """What the work gives; None, and the work is given up, if the client goes first."""
    done, left = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({done, left}, return_when=asyncio.FIRST_COMPLETED)
        return done.result() if done.done() else None
    finally:
        left.cancel()
        done.cancel()
        await asyncio.gather(done, left, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
