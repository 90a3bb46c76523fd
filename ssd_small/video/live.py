"""The newest frame of a camera or a network stream, with reconnection if it goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from ..errors import BadFile, MissingRequirement
from ..pictures.frame import VideoFrame
from ..pictures.limits import most_pixels
from .capture import Pace, open_capture, quiet_video, rate_of
from .sources import name_of

#: seconds between attempts to reach a lost source again, and for how long to try
RETRY, PATIENCE = 3.0, 60.0
#: seconds that the end of an iteration waits for a thread that is blocked in FFmpeg
_JOIN = 0.5
#: seconds after which a wait for a frame is interrupted, to react to Ctrl-C
_LOOK_UP = 0.2


class LiveFrames:
    """Gives the newest frame whenever one is asked for; can be iterated once.

    A thread takes frames as they arrive and keeps only the newest, so that a slow consumer never
    falls further behind.

    Attributes:
        name: name of the source.
        rate: frames per second that come out, as far as known.
        is_live: True; frames may be left out.
        received: frames that have arrived.
        dropped: how many of these nobody asked for in time.
    """

    is_live = True

    def __init__(
        self,
        source: int | str,
        *,
        rate: float | None = None,
        max_pixels: int | None = None,
        say: Callable[[str], None] = lambda line: None,
        capture: Any = None,
    ) -> None:
        """Open a source.

        Args:
            source: index of a camera, or an address.
            rate: frames to take from each second; None for as many as there is time for.
            max_pixels: largest frame, in pixels.
            say: called with a line of text when the source goes away and when it is back.
            capture: the source's capture, if it has been opened already.

        Raises:
            MissingRequirement: no such camera.
            BadFile: nothing answers at the address, or there is no video.
        """
        self.name, self._source, self._taken, self._say = name_of(source), source, rate, say
        self._most, self.received, self.dropped = most_pixels(max_pixels), 0, 0
        self._quiet = ExitStack()
        self._cv2 = self._quiet.enter_context(quiet_video())
        self._capture = capture or open_capture(self._cv2, source)
        if self._capture is None:
            self._quiet.close()
            raise self._refusal()
        own = rate_of(self._cv2, self._capture)
        self.rate = own if rate is None else min(rate, own or rate)
        self._changed = threading.Condition()
        self._newest: VideoFrame | None = None
        self._stopped, self._ended = threading.Event(), False
        self._fault: BaseException | None = None

    def _refusal(self) -> MissingRequirement | BadFile:
        if isinstance(self._source, int):
            return MissingRequirement(
                f"{self.name} cannot be opened; expected the index of a camera of this machine "
                "(Linux: /dev/video0 is 0): connect one, or check who may read it"
            )
        return BadFile(
            f"cannot read {self.name}: nobody answers there, or with no video that can be decoded; "
            "check the address, and that its server is running"
        )

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the newest frame, as soon as there is one that was not yielded before.

        Raises:
            BadFile: the source has been away for :data:`PATIENCE` seconds, or a frame is too large.
        """
        # a daemon, as it may block in FFmpeg for seconds and must not keep the process alive
        thread = threading.Thread(target=self._receive, name="video", daemon=True)
        thread.start()
        try:
            while (frame := self._next()) is not None:
                yield frame
                del frame
        finally:
            self._stopped.set()
            thread.join(_JOIN)
            self._quiet.close()
        if self._fault is not None:
            raise self._fault

    def _next(self) -> VideoFrame | None:
        """Wait for a frame; None at the end."""
        with self._changed:
            # on some platforms, Ctrl-C does not interrupt a wait without a timeout
            while self._newest is None and not self._ended:
                self._changed.wait(_LOOK_UP)
            frame, self._newest = self._newest, None
            return frame

    def _receive(self) -> None:
        """Receive frames until stopped; runs in the thread."""
        try:
            began, pace = time.monotonic(), Pace(self._taken)
            while not self._stopped.is_set() and self._capture is not None:
                came = self._receive_one(began, pace)
                if not came and not self._stopped.is_set():
                    self._capture.release()
                    self._capture = self._opened_again()
        except BaseException as error:
            self._fault = error
        finally:
            if self._capture is not None:
                self._capture.release()
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _receive_one(self, began: float, pace: Pace) -> bool:
        """Receive one frame; whether there was one."""
        if not self._capture.grab():
            return False
        now = time.monotonic() - began
        index, self.received = self.received, self.received + 1
        if not pace.takes(now):
            return True
        fine, pixels = self._capture.retrieve()
        if not fine:
            return False
        if pixels.shape[0] * pixels.shape[1] > self._most:
            raise BadFile(
                f"{self.name} has frames of {pixels.shape[1]}x{pixels.shape[0]} pixels, more than "
                f"the limit of {self._most}; scale it down, or raise --max-pixels"
            )
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = VideoFrame(pixels, index, now)
            self._changed.notify()
        return True

    def _opened_again(self) -> Any:
        """Reopen the source once it answers; None if it does not, or if iteration has stopped."""
        lost = time.monotonic()
        while not self._stopped.is_set():
            away = time.monotonic() - lost
            if away > PATIENCE:
                self._fault = BadFile(
                    f"{self.name} went away, and could not be reached again for {away:.0f} s; "
                    "check its server, and start again"
                )
                return None
            self._say(f"{self.name} gives no more frames; reconnect in {RETRY:g} s ({away:.0f} s)")
            if self._stopped.wait(RETRY):
                return None
            capture = open_capture(self._cv2, self._source)
            if capture is not None:
                self._say(f"{self.name} reconnected after {time.monotonic() - lost:.0f} s")
                return capture
        return None
