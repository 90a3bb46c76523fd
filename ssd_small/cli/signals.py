"""The signals that end a command: it cleans up, says a line and has the exit code of a shell."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from ..errors import Ended
from ..system.temporary import remove_own

#: Windows has no SIGHUP
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_NUMBERS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
#: seconds in which a command that was told to end unwinds by itself
GRACE = 2.0


class _State:
    """Of the call that hears signals at present.

    Attributes:
        number: the signal that has ended it; None as long as none has.
        process: that hears them; one forked from it does not.
    """

    number: int | None = None
    process: int | None = None


_state = _State()


@contextmanager
def heard_signals(*, own_process: bool) -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, as Ctrl-C is; the first of the signals alone.

    Later ones would break the clean-up. A command that has not ended :data:`GRACE` seconds after
    the first, since it waits for a library's code or that has swallowed the exception, is ended
    once its temporary files are removed. A signal that is ignored (SIGHUP under ``nohup``, SIGINT
    in the background of a shell) stays so.

    Args:
        own_process: the process ends with the block; else it is as before afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    # None: a handler that Python does not know and could not put back
    before = {k: one for k, one in before.items() if one not in (signal.SIG_IGN, None)}
    _state.number, _state.process = None, os.getpid()
    for number in before:
        signal.signal(number, _hear)
    unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable(sys.unraisablehook)
    try:
        yield
    finally:
        if own_process:
            # the interpreter takes its time to end, and Python's own handler would show where
            for number in before:
                signal.signal(number, _leave)
        else:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = unraisable
            _state.process = None


def number_from_interrupt(interrupt: BaseException) -> int:
    """The signal that ends the present call; ``interrupt`` is what came out of the command."""
    if _state.number is not None:
        return _state.number
    # click raises an exception of its own from it
    cause = interrupt.__cause__ or interrupt
    return cause.number if isinstance(cause, Ended) else signal.SIGINT


@contextmanager
def interrupts_first() -> Iterator[None]:
    """Let the block end by the signal that was heard, whatever became of the exception.

    Libraries turn it into errors of their own while they load.
    """
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:
        if _state.number is None or isinstance(error, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from error
    if _state.number is not None:
        raise KeyboardInterrupt


def last_line(number: int) -> str:
    """What a command says that a signal ends."""
    how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    return f"ssd-small: {how}; nothing half-written was left"


def end_at_once(code: int) -> NoReturn:
    """End this process, which has cleaned up, without waiting for libraries and their threads."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _leave(number: int, frame: FrameType | None) -> None:
    end_at_once(128 + (_state.number or number))


def _hear(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _state.process:  # forked, and not yet what it is to be
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    if _state.number is not None:
        return
    _state.number = number
    # not by threading, whose locks the interrupted code may hold
    with suppress(RuntimeError):
        _thread.start_new_thread(_enforce, (number,))
    raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)


def _enforce(number: int) -> None:
    """End the process that has not ended by itself."""
    time.sleep(GRACE)
    if _state.process != os.getpid() or _state.number != number:
        return
    remove_own()
    with suppress(OSError):
        os.write(2, f"{last_line(number)}\n".encode())
    os._exit(128 + number)


def _unraisable(
    show: Callable[[sys.UnraisableHookArgs], object],
) -> Callable[[sys.UnraisableHookArgs], object]:
    """Keep quiet about an interrupt that came while an object was cleared away."""

    def hook(event: sys.UnraisableHookArgs) -> None:
        if _state.number is None or not issubclass(event.exc_type, KeyboardInterrupt):
            show(event)
            return
        # it does not come out of there: the handler raises it again where it does
        with suppress(RuntimeError):
            _thread.start_new_thread(_again, (_state.number,))

    return hook


def _again(number: int) -> None:
    time.sleep(0.01)
    if _state.number == number:
        _state.number = None
        os.kill(os.getpid(), number)
