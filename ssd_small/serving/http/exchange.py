"""One request and its answer: a body within limits, and an answer that arrives whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from .refusals import Gone, Refusal, busy
from .settings import BODY_SECONDS, LINGER_BYTES, LINGER_SECONDS, MOST_HELD

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
#: most seconds until a changed deadline is seen
_TICK = 0.5


class Memory:
    """Bytes of bodies that are held of all requests together."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most, self._held = most, 0

    def take(self, count: int) -> None:
        """Hold so many more.

        Raises:
            Refusal: 503, since it is too much.
        """
        if self._held + count > self._most:
            raise busy("too many large pictures are on their way; try again")
        self._held += count

    def give(self, count: int) -> None:
        """Hold so many less."""
        self._held -= count


class Exchange:
    """What ASGI tells of a request, and what is told it.

    Attributes:
        method, path: of the request.
        headers: by their names in small letters; of several the last.
        query: behind the question mark.
        received: bytes of the body so far.
        deadline: on the clock of ``time.monotonic``; what is read later is given up.
    """

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        self.method, self.path = str(scope["method"]), str(scope["path"])
        self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        self.query = bytes(scope["query_string"]).decode("latin-1")
        client = scope.get("client")
        self.client = client[0] if client else "-"
        self.received = 0
        self.started = time.monotonic()
        self.deadline = self.started + BODY_SECONDS
        self._receive, self._send = receive, send
        sized = self.headers.get("content-length", "0").strip("0") != ""
        self._unread = sized or "transfer-encoding" in self.headers
        self._held = 0

    async def body(self, most: int, memory: Memory) -> bytes:
        """All of the body.

        Raises:
            Refusal: 413 above ``most`` bytes, 408 where it takes too long, 503 where too much is
                held of all.
            Gone: the connection was closed.
        """
        large = Refusal(413, f"the body has more than {most} bytes; send a smaller picture")
        length = self.headers.get("content-length", "")
        if length.isdigit() and (len(length) > 18 or int(length) > most):
            raise large
        content = bytearray()
        while self._unread:
            content += await self._part(self.deadline)
            if len(content) > most:
                raise large
            memory.take(len(content) - self._held)
            self._held = len(content)
        return bytes(content)

    def forget(self, memory: Memory) -> None:
        """The body is held no more."""
        memory.give(self._held)
        self._held = 0

    async def gone(self) -> None:
        """Wait until the connection is closed; only once the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _part(self, deadline: float) -> bytes:
        late = Refusal(408, "the body did not come in time; send it faster")
        # a task: a part that has come must not be lost with a time-out that hits it
        task = asyncio.ensure_future(self._receive())
        try:
            while not task.done():
                left = min(deadline, self.deadline) - time.monotonic()
                if left <= 0:
                    raise late
                await asyncio.wait({task}, timeout=min(left, _TICK))
        finally:
            if not task.done():
                task.cancel()
        message = task.result()
        if message["type"] == "http.disconnect":
            raise Gone
        part: bytes = message.get("body", b"")
        self.received += len(part)
        self._unread = bool(message.get("more_body", False))
        return part

    async def answer(
        self, status: int, headers: Mapping[str, str], body: bytes, *, close: bool = False
    ) -> None:
        """Send an answer.

        Who still sends a body gets it at once and is read on for a while: if the connection were
        closed with something unread in it, the answer would be lost on its way.
        """
        unread = self._unread
        pairs = {
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **headers,
        }
        if close or unread:
            pairs["connection"] = "close"
        raw = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in pairs.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body, "more_body": unread})
        if unread:
            # whoever waits for "100 Continue" has sent nothing
            if "expect" not in self.headers or self.received:
                await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        until, most = time.monotonic() + LINGER_SECONDS, self.received + LINGER_BYTES
        self.deadline = max(self.deadline, until)
        with suppress(Refusal, Gone):
            while self._unread and self.received < most:
                await self._part(until)
