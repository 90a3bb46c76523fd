"""uvicorn's HTTP/1.1 with the limits it lacks: time for heads and answers, connections."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import HEAD_SECONDS, MOST_CONNECTIONS

#: seconds within which an answer must have been sent, and a closed connection have ended
_STUCK_SECONDS = 30.0


def _refusal(status: str, message: str, *more: str) -> bytes:
    body = f"{json.dumps({'error': message})}\n".encode()
    head = (
        f"HTTP/1.1 {status}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *more,
    )
    return "\r\n".join((*head, "", "")).encode() + body


class BoundedProtocol(H11Protocol):
    """Closes connections that send heads too slowly, are too many, or do not read their answer."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(
                _refusal("503 Service Unavailable", "too many connections", "retry-after: 1")
            )
            transport.close()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching a connection that has ended."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle part of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Limit the time for sending an answer that is complete."""
        super().on_response_complete()
        self.loop.call_later(_STUCK_SECONDS, self._abort_if_closing)

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP, in the same form as all refusals."""
        if not self.transport.is_closing():
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.write(_refusal("400 Bad Request", "no request of HTTP/1.1"))
            self.transport.close()

    @property
    def _answers(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """Limit the time for the head of a request, from its first byte on."""
        if self._answers:
            self._unwatch()
        elif self._late is None and self.timeout_keep_alive_task is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if not self._answers and not self.transport.is_closing():
            self.transport.write(
                _refusal("408 Request Timeout", "the head of the request did not come in time")
            )
            self.transport.close()
            self.loop.call_later(_STUCK_SECONDS, self._abort_if_closing)

    def _abort_if_closing(self) -> None:
        """Abort a closed connection whose client does not read the rest of the answer."""
        if self.transport.is_closing() and self in self.connections:
            self.transport.abort()
