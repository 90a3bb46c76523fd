"""Answering requests: the ASGI application in front of the queue of pictures."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...detection.detector import Detector
from ...errors import UsageError, reason_from_exception
from ...json_files import json_text
from ...pictures.limits import TooManyPixels
from ...terminal import cut, one_line
from .batching import Job, PictureQueue, PictureRefused, QueueFull, Threshold
from .exchange import Exchange, Memory, Receive, Send
from .form import boundary_from_type, file_from_form, threshold_from_query
from .metrics import CONTENT_TYPE, Metrics
from .page import Page
from .refusals import Gone, Refusal, busy
from .settings import MOST_BYTES, MOST_FORM, MOST_GOODBYE

#: path -> allowed methods
_METHODS = {
    "/": ("GET", "HEAD"),
    "/health": ("GET", "HEAD"),
    "/metrics": ("GET", "HEAD"),
    "/v1/detect": ("POST",),
}
#: status of a request whose client has closed the connection, as in nginx
_GONE = 499
_LONGEST_PATH = 200
_TICK = 0.5
_TEXT = {"content-type": "application/json"}

Answer = tuple[int, Mapping[str, str], bytes]


class Application:
    """Answers requests.

    Args:
        detector: one of the detectors behind the queue; used to check thresholds.
        pictures: the queue.
        metrics: counts requests and detections.
        page: the page at ``/``.
        token: token that requests must send; None for none.
        threshold: thresholds for requests that set none; None for the engine's.
        told: called with a log line for each request.
    """

    def __init__(
        self,
        detector: Detector,
        pictures: PictureQueue,
        metrics: Metrics,
        page: Page,
        *,
        token: str | None,
        threshold: Threshold | None,
        told: Callable[[str], None],
    ) -> None:
        self._detector, self._pictures, self._metrics = detector, pictures, metrics
        self._page, self._told, self._threshold = page, told, threshold
        self._token = None if token is None else token.encode()
        self._memory = Memory()
        self._asked: set[Exchange] = set()
        self.deadline: float | None = None

    @property
    def is_ending(self) -> bool:
        """Whether new requests are refused."""
        return self.deadline is not None

    @property
    def active(self) -> int:
        """Number of unanswered requests, except those that arrived after :meth:`end`."""
        return len(self._asked)

    def end(self, seconds: float = MOST_GOODBYE) -> None:
        """Refuse new requests, and give existing ones this many seconds."""
        until = time.monotonic() + seconds
        self.deadline = until if self.deadline is None else min(until, self.deadline)
        for exchange in self._asked:
            exchange.deadline = min(exchange.deadline, self.deadline)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle a request, as an ASGI application."""
        exchange = Exchange(scope, receive, send)
        if not self.is_ending:
            self._asked.add(exchange)
        status = _GONE
        try:
            status, headers, body = await self._answer(exchange)
            exchange.forget(self._memory)
            await exchange.answer(status, headers, body, close=self.is_ending)
        except Gone:
            pass
        finally:
            exchange.forget(self._memory)
            self._asked.discard(exchange)
            self._count(exchange, status)

    def _count(self, exchange: Exchange, status: int) -> None:
        seconds = time.monotonic() - exchange.started
        path = exchange.path if exchange.path in _METHODS else "other"
        self._metrics.answered(path, status, seconds)
        # no part of the query and the headers, which may contain secrets
        asked = f"{cut(exchange.method, 20)} {cut(exchange.path, _LONGEST_PATH)}"
        if self._token is not None:
            asked = asked.replace(self._token.decode(), "***")
        size = exchange.received
        self._told(f"{exchange.client} {asked} {status} {1e3 * seconds:.1f} ms {size} bytes")

    async def _answer(self, exchange: Exchange) -> Answer:
        try:
            return await self._routed(exchange)
        except Refusal as refusal:
            return _refused(refusal)
        except Gone:
            raise
        except Exception as error:  # a bug of ours; the server continues
            reason = f"{type(error).__name__}: {reason_from_exception(error)}"
            self._told(f"{exchange.path} failed: {reason}")
            return _refused(
                Refusal(500, "the picture could not be worked on; see the server's log")
            )

    async def _routed(self, exchange: Exchange) -> Answer:
        path, methods = exchange.path, _METHODS.get(exchange.path)
        if methods is None:
            paths = ", ".join(_METHODS)
            raise Refusal(404, f"there is nothing at {cut(path, _LONGEST_PATH)}; expected {paths}")
        if exchange.method not in methods:
            allowed = ", ".join(methods)
            raise Refusal(405, f"{path} takes {allowed}", {"Allow": allowed})
        if path in ("/metrics", "/v1/detect"):
            self._check_token(exchange)
        if path == "/metrics":
            return 200, {"content-type": CONTENT_TYPE}, self._metrics.text()
        if self.is_ending:
            raise busy("the server is shutting down; ask another, or try again later", 5)
        if path == "/health":
            return 200, _TEXT, b'{"status": "ok"}\n'
        if path == "/":
            return 200, self._page.headers, self._page.content
        return await self._detect(exchange)

    def _check_token(self, exchange: Exchange) -> None:
        if self._token is None:
            return
        kind, _, given = exchange.headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if kind.lower() != "bearer" or not is_right:
            raise Refusal(
                401,
                "expected the header 'Authorization: Bearer TOKEN' with this server's token",
                {"WWW-Authenticate": 'Bearer realm="ssd-small"'},
            )

    async def _detect(self, exchange: Exchange) -> Answer:
        threshold = threshold_from_query(exchange.query) or self._threshold
        try:
            self._detector.filter_from_threshold(threshold)
        except UsageError as error:
            raise Refusal(400, str(error)) from error
        coding = exchange.headers.get("content-encoding", "identity")
        if coding.strip().lower() != "identity":
            raise Refusal(415, "a Content-Encoding: expected the picture's file as it is")
        boundary = boundary_from_type(exchange.headers.get("content-type", ""))
        if self._pictures.is_full:
            raise self._full()
        most = MOST_BYTES + (MOST_FORM if boundary is not None else 0)
        name, content = None, await exchange.body(most, self._memory)
        if boundary is not None:
            name, content = file_from_form(content, boundary)
        if len(content) > MOST_BYTES:
            raise Refusal(413, f"the picture has more than {MOST_BYTES} bytes; send a smaller one")
        job = Job(content, name, threshold)
        try:
            self._pictures.submit(job)
        except QueueFull:
            raise self._full() from None
        del content
        entry = await self._done(exchange, job)
        self._metrics.found(len(entry["detections"]))
        return 200, _TEXT, f"{json_text(entry)}\n".encode()

    def _full(self) -> Refusal:
        return busy("too many pictures wait; try again", self._pictures.retry_after)

    async def _done(self, exchange: Exchange, job: Job) -> dict[str, Any]:
        """Wait for a picture's result; discard the picture if the client has gone."""
        answer = asyncio.wrap_future(job.future)
        gone = asyncio.ensure_future(exchange.gone())
        both: set[asyncio.Future[Any]] = {answer, gone}
        try:
            while not answer.done():
                await asyncio.wait(both, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED)
                if gone.done() and not answer.done():
                    raise Gone
                if self.deadline is not None and time.monotonic() > self.deadline:
                    raise busy("the server is shutting down; ask another, or try again later", 5)
            return answer.result()
        except PictureRefused as refused:
            many = isinstance(refused.reason, TooManyPixels)
            # only whoever started the server can raise the limit
            message = refused.reason.message.partition(", or pass --max-pixels")[0]
            raise Refusal(413 if many else 400, message) from refused
        finally:
            gone.cancel()
            if not answer.done():
                self._pictures.discard(job)


def _refused(refusal: Refusal) -> Answer:
    line = one_line(refusal.message)
    return refusal.status, _TEXT | refusal.headers, f"{json_text({'error': line})}\n".encode()
