"""Stopping a run between two updates, so that it can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Whether a run is to stop after the current update.

    Attributes:
        signal: number of the signal that requested it; None while there is no request.
    """

    signal: int | None = None


@dataclass(frozen=True)
class StopReason:
    """Why a session ends before its run does.

    Attributes:
        signal: number of the signal that requested it; None if the session's time is over.
    """

    signal: int | None

    def __str__(self) -> str:
        return "its time is over" if self.signal is None else f"signal {self.signal}"


#: the only reason other than a signal
TIME_OVER = StopReason(None)


class Stopped(Exception):
    """A run was stopped before its end, and can be resumed.

    Attributes:
        reason: why it was stopped.
    """

    def __init__(self, reason: StopReason) -> None:
        super().__init__(f"stopped: {reason}")
        self.reason = reason


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn Ctrl-C, SIGTERM and a lost terminal into a request; a second signal acts at once.

    A signal that is ignored (SIGHUP under ``nohup``) stays ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {k: handler for k, handler in before.items() if handler != signal.SIG_IGN}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
