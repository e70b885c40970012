"""What goes out to a server and what comes in, bounded whatever the client library or the server would like.

Out: to one address, through no proxy and along no redirect, with the headers named here; the key is put in
here, so that the library never has it. In: so many bytes as may be, unpacked.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator

import httpx2

LONGEST_ANSWER = 8_000_000  # bytes, headers apart

# The library adds some that tell of this machine, and those of its environment variables, other keys too.
SENT = ("Host", "Content-Type", "Content-Length", "Accept")

# A reply is silent until it is whole, which may take an hour: without these a router on the way forgets the
# connection after some minutes, and nobody would hear of it. macOS has no name for the second.
ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), seconds)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30))
    if hasattr(socket, name)
]


class TooLong(Exception):
    """The answer has more than LONGEST_ANSWER bytes."""


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Carries requests to the server; `key` goes as a bearer token."""

    def __init__(self, tls: ssl.SSLContext, key: str | None) -> None:
        self._inner = httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, socket_options=ALIVE)
        self._key = key

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request without what nobody asked for; raises TooLong while the answer is read."""
        headers = [(name, request.headers[name]) for name in SENT if name in request.headers]
        headers += [("Accept-Encoding", "identity")]
        headers += [("Authorization", f"Bearer {self._key}")] if self._key else []
        # a timeout of each wait is of no use: a server that drips would never meet it
        sent = httpx2.Request(request.method, request.url, headers=headers, stream=request.stream)
        answer = await self._inner.handle_async_request(sent)
        # what was unpacked is no longer what these two say
        kept = [
            (n, v) for n, v in answer.headers.raw if n.lower() not in (b"content-encoding", b"content-length")
        ]
        return httpx2.Response(answer.status_code, headers=kept, stream=_Counted(answer))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    """An answer's bytes, unpacked, while there are not too many."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for part in self._answer.aiter_bytes():
            count += len(part)
            # counted while it comes: a length that a server announces is only its word
            if count > LONGEST_ANSWER:
                raise TooLong
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()
