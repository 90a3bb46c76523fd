"""A live source over a double of OpenCV's capture: the newest frame, dropped ones, reconnecting."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from ssd_small.errors import BadFile, MissingRequirement
from ssd_small.video import live
from ssd_small.video.live import LiveFrames


class Capture:
    """Gives ``count`` frames, one each ``seconds``; their grey is their number."""

    def __init__(self, count: int, seconds: float = 0.0) -> None:
        self._left, self._seconds, self._number, self.released = count, seconds, -1, False

    def grab(self) -> bool:
        time.sleep(self._seconds)
        self._left -= 1
        self._number += 1
        return self._left >= 0

    def retrieve(self):
        return True, np.full((4, 5, 3), self._number, np.uint8)

    def get(self, what: int) -> float:
        return 25.0

    def release(self) -> None:
        self.released = True


@pytest.fixture
def reopened(monkeypatch):
    """What ``open_capture`` gives, one after the other; then nothing."""
    captures: list[Capture | None] = []

    def opened(cv2, source):
        return captures.pop(0) if captures else None

    monkeypatch.setattr(live, "open_capture", opened)
    monkeypatch.setattr(live, "RETRY", 0.02)
    return captures


def test_a_slow_consumer_gets_the_newest_frame_and_the_others_are_counted(reopened):
    frames = LiveFrames("tcp://x", capture=Capture(1000, 0.01))
    seen = []
    iterator = iter(frames)
    for frame in iterator:
        seen.append((frame.index, frame.taken()[0, 0, 0]))
        if len(seen) == 5:
            break
        time.sleep(0.1)
    iterator.close()
    indices = [index for index, _ in seen]
    assert [grey for _, grey in seen] == indices
    assert all(after - before >= 3 for before, after in pairwise(indices))
    # one may have come since the last one was taken
    assert frames.received - 6 <= frames.dropped + len(seen) <= frames.received
    assert frames.dropped >= 8
    assert not [one for one in threading.enumerate() if one.name == "video"]


@pytest.mark.slow
def test_a_source_that_comes_back_is_taken_up_again(reopened, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 0.3)
    said: list[str] = []
    first, second = Capture(2, 0.03), Capture(3, 0.03)
    reopened += [None, second]
    frames = LiveFrames("tcp://x", capture=first, say=said.append)
    indices = []
    with pytest.raises(BadFile, match="went away, and could not be reached again for"):
        indices.extend(frame.index for frame in frames)
    assert indices[:1] == [0]
    assert indices[-1] == 4
    assert frames.received == 5
    assert len(indices) + frames.dropped == 5
    assert first.released
    assert second.released
    assert "tcp://x gives no more frames; reconnect in" in said[0]
    assert any(line.startswith("tcp://x reconnected after") for line in said)


def test_it_is_tried_often_enough_for_long_enough():
    # the names that the documentation promises: every few seconds, for at least 40 s
    assert live.RETRY <= 5
    assert live.PATIENCE >= 40


def test_frames_too_large_are_refused_whenever_they_come(reopened):
    frames = LiveFrames("tcp://x", capture=Capture(5), max_pixels=19)
    with pytest.raises(BadFile, match="frames of 5x4 pixels, more than the limit of 19"):
        list(frames)


@pytest.mark.slow
def test_so_many_frames_of_each_second_are_taken(reopened, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 0.01)
    frames = LiveFrames("tcp://x", capture=Capture(100, 0.005), rate=10)
    with pytest.raises(BadFile):
        list(frames)
    assert frames.received == 100
    assert frames.dropped == 0


def test_nothing_there_is_said_in_a_line(reopened):
    with pytest.raises(MissingRequirement, match="camera 7 cannot be opened"):
        LiveFrames(7)
    with pytest.raises(BadFile, match="cannot read tcp://h: nobody answers there"):
        LiveFrames("tcp://u:secret@h")
