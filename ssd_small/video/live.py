"""The newest frame of a camera or a network stream, tried again when it goes away."""

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

#: seconds between two tries to reach a source again, and for which it is tried
RETRY, PATIENCE = 3.0, 60.0
#: seconds that the end of an iteration waits for a thread that is in FFmpeg's hands
_JOIN = 0.5
#: seconds after which somebody who waits for a frame looks up
_LOOK_UP = 0.2


class LiveFrames:
    """The newest frame whenever one is asked for; iterated once.

    A thread takes frames as they come and keeps one, so that who takes longer than a frame lasts
    sees the next one late by no more than that.

    Attributes:
        name: of the source.
        rate: frames per second as it announces them.
        is_live: True; frames are left out.
        received: frames that have come.
        dropped: of these, frames that nobody asked for in time.
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
            rate: take so many frames of each second; None for as many as there is time for.
            max_pixels: of a frame.
            say: is given a line when the source goes away and when it is there again.
            capture: of the source, where somebody has opened it.

        Raises:
            MissingRequirement: no such camera.
            BadFile: nobody answers at the address, or there is no video.
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
        """The newest frame, as soon as there is one that was not given before.

        Raises:
            BadFile: the source is away for :data:`PATIENCE` seconds.
        """
        # it may be in FFmpeg's hands for seconds, and must not keep a process from its end
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
            # a wait without end would not hear Ctrl-C everywhere
            while self._newest is None and not self._ended:
                self._changed.wait(_LOOK_UP)
            frame, self._newest = self._newest, None
            return frame

    def _receive(self) -> None:
        """What the thread does."""
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
        """Take one frame; whether there was one."""
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
        """The source once it answers again; None if it does not, or nobody wants it any more."""
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
