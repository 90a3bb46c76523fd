"""One request and its answer: reading a body within limits, and sending a complete answer."""

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
#: most seconds until a changed deadline is noticed
_TICK = 0.5


class Memory:
    """Counts the bytes of bodies held for all requests together."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most, self._held = most, 0

    def take(self, count: int) -> None:
        """Count this many more bytes as held.

        Raises:
            Refusal: 503, the limit would be exceeded.
        """
        if self._held + count > self._most:
            raise busy("too many large pictures are on their way; try again")
        self._held += count

    def give(self, count: int) -> None:
        """Count this many bytes as released."""
        self._held -= count


class Exchange:
    """A request received through ASGI, and its answer.

    Attributes:
        method, path: method and path of the request.
        headers: headers by lower-case name; the last one if a name is repeated.
        query: the part of the URL after the question mark.
        received: bytes of the body received so far.
        deadline: time, on the clock of ``time.monotonic``, after which reading is given up.
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
        """Read the whole body.

        Raises:
            Refusal: 413 above ``most`` bytes, 408 if it takes too long, 503 if too many bytes are
                held for all requests.
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
        """Release the bytes held for the body."""
        memory.give(self._held)
        self._held = 0

    async def gone(self) -> None:
        """Wait until the connection is closed; call this only after the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _part(self, deadline: float) -> bytes:
        late = Refusal(408, "the body did not come in time; send it faster")
        # a task, so that a part that arrives at the same time as a time-out is not lost
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

        A client that is still sending a body gets the answer at once, but its data is read for a
        while longer: if the connection were closed with unread data, the answer would be lost.
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
            # a client that waits for "100 Continue" has sent nothing
            if "expect" not in self.headers or self.received:
                await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        until, most = time.monotonic() + LINGER_SECONDS, self.received + LINGER_BYTES
        self.deadline = max(self.deadline, until)
        with suppress(Refusal, Gone):
            while self._unread and self.received < most:
                await self._part(until)
