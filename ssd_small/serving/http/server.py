"""Listening for requests, and shutting down without losing answers."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from ...detection.detector import Detector
from ...errors import UsageError, reason_from_exception
from ...pictures.tiles import Tiling
from ...terminal import one_line
from .application import Application
from .batching import PictureQueue, Threshold
from .metrics import Metrics
from .page import page_of_detector
from .protocol import BoundedProtocol
from .settings import GOODBYE_SECONDS, IDLE_SECONDS, MOST_GOODBYE, MOST_HEAD, ServeSettings

_BACKLOG = 128
#: most lines of the log that wait to be written
_MOST_LINES = 1000
#: most seconds that shutting down takes, besides those for the answers
_LAST_SECONDS = 2.0
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def bound_socket(host: str, port: int) -> socket.socket:
    """Create a socket bound to an address, to which nobody can connect yet.

    Raises:
        UsageError: the address does not belong to this machine, or is in use.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"--host {host!r}: {reason_from_exception(error)}; expected a name or address of this "
            "machine, such as 127.0.0.1"
        ) from error
    family, kind, protocol, _, address = found[0]
    own = socket.socket(family, kind, protocol)
    try:
        # allows immediate reuse of an address, but not sharing it with another socket
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(address)
    except OSError as error:
        own.close()
        raise _taken(host, port, error) from error
    return own


def _taken(host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        f"cannot listen on port {port} of {host}: {error.strerror or error}; pass another --port "
        "(0: one that is free) or --host"
    )


def is_loopback(own: socket.socket) -> bool:
    """Whether a socket can be reached only from this machine."""
    return ipaddress.ip_address(own.getsockname()[0].partition("%")[0]).is_loopback


def url_of_socket(own: socket.socket) -> str:
    """The URL at which a socket can be reached."""
    host, port = own.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Log:
    """Writes lines to standard error in a thread, so that a slow reader cannot block the server."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_LINES)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def __call__(self, line: str) -> None:
        """Write a line, or drop it if too many are waiting."""
        with suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self, seconds: float = 1.0) -> None:
        """Wait for the remaining lines to be written, for at most this many seconds."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(seconds)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            # not through Python's stream, whose lock would be held while a pipe is full
            with suppress(OSError):
                os.write(2, f"{one_line(line)}\n".encode(errors="backslashreplace"))


class _Uvicorn(uvicorn.Server):
    """uvicorn's server without signal handling, which is up to :class:`Server`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals."""
        yield


class Server:
    """An HTTP server for detectors.

    Args:
        detectors: one thread each; the caller closes them.
        settings: settings of the server.
        listening: socket from :func:`bound_socket`; closed at the end.
        tiling: how every picture is cut into tiles; None for whole pictures.
        threshold: thresholds for requests that set none; None for the engine's.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        settings: ServeSettings,
        listening: socket.socket,
        *,
        tiling: Tiling | None = None,
        threshold: Threshold | None = None,
    ) -> None:
        self._listening, self._log = listening, Log()
        # the queue is created below; the gauge uses it only when it is read
        self._metrics = Metrics(lambda: self._pictures.waiting)
        self._pictures = PictureQueue(detectors, settings, tiling, self._metrics.ran)
        self._application = Application(
            detectors[0],
            self._pictures,
            self._metrics,
            page_of_detector(detectors[0], threshold, asks_token=settings.token is not None),
            token=settings.token,
            threshold=threshold,
            told=self._log,
        )
        self._signals = 0

    def run(self, ready: Callable[[], None]) -> int:
        """Serve until a signal or :meth:`stop`; ``ready`` is called once the server listens.

        Returns:
            The number of requests that were not answered in time while shutting down.
        """
        for name in ("uvicorn.error", "python_multipart"):  # their messages are not for our log
            logger = logging.getLogger(name)
            logger.addHandler(logging.NullHandler())
            logger.propagate = False
        config = uvicorn.Config(
            self._application,
            http=BoundedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=int(IDLE_SECONDS),
            timeout_graceful_shutdown=int(_LAST_SECONDS),
            h11_max_incomplete_event_size=MOST_HEAD,
        )
        try:
            return asyncio.run(self._serve(_Uvicorn(config), ready))
        finally:
            self._log.close()

    async def _serve(self, server: uvicorn.Server, ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        # ignore errors of connections that were closed in the middle of an operation
        loop.set_exception_handler(lambda _, context: None)
        self._told = asyncio.Event()
        with self._heard(loop):
            serving = asyncio.ensure_future(server.serve(sockets=[self._listening]))
            while not server.started:
                if serving.done():  # if two servers bound the address, one fails here
                    host, port = self._listening.getsockname()[:2]
                    error = serving.exception()
                    raise _taken(host, port, error if isinstance(error, OSError) else OSError())
                await asyncio.sleep(0.01)
            ready()
            await asyncio.wait(
                {serving, asyncio.ensure_future(self._told.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            lost = await self._say_goodbye()
            server.should_exit = True
            await serving
        return lost

    async def _say_goodbye(self) -> int:
        """Answer pending requests, refuse new ones; return how many got no answer."""
        self._application.end()
        began = time.monotonic()
        deadline = began + MOST_GOODBYE + _LAST_SECONDS
        while self._application.active or time.monotonic() < began + GOODBYE_SECONDS:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        lost = self._application.active
        await asyncio.to_thread(self._pictures.close, 0.0 if lost else 1.0)
        return lost

    def stop(self, number: int = 0) -> None:
        """Shut down after answering pending requests; a second call does not wait for these."""
        self._signals += 1
        if self._signals > 1:
            self._application.end(0.0)
        self._told.set()

    @contextmanager
    def _heard(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Let signals call :meth:`stop`; a signal that is ignored stays ignored."""
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in _SIGNALS}
            before = {k: one for k, one in before.items() if one not in (signal.SIG_IGN, None)}
        for number in before:
            loop.add_signal_handler(number, self.stop, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
