"""``detector.stream`` of a video in Python."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from clips import FRAMES, RATE, SIZE, write_clip

import ssd_small
from ssd_small.errors import BadFile, UsageError
from ssd_small.video.reading import FileFrames


@pytest.fixture(scope="module")
def detector(engine):
    with ssd_small.load(engine, max_batch=4) as one:
        yield one


def test_results_know_their_frame_and_its_time(detector, clip):
    found = list(detector.stream(str(clip), score_threshold=0.02))
    assert [one.frame for one in found] == list(range(FRAMES))
    assert [round(one.time, 6) for one in found] == [i / RATE for i in range(FRAMES)]
    assert all((one.height, one.width) == SIZE for one in found)
    pixels = [frame.taken() for frame in FileFrames(clip)]
    assert [one.boxes.tolist() for one in found] == [
        one.boxes.tolist() for one in detector.stream(pixels, score_threshold=0.02)
    ]
    # a path as well, and so many frames of each second
    assert [one.frame for one in detector.stream(clip, fps=2)] == [0, 5, 10]


def test_tracks_go_with_their_detections(detector, clip):
    pytest.importorskip("edgefirst.tracker")
    results = list(detector.stream(clip, score_threshold=0.02, track=True))
    assert all(len(one.tracks) == len(one) > 0 for one in results)
    # frames of one grey each: the same objects, or nearly
    assert set(results[3].tracks.tolist()) & set(results[4].tracks.tolist())
    last = results[-1]
    assert last[0].track == last.tracks[0]
    half = last[::2]
    assert half.tracks.tolist() == last.tracks[::2].tolist()
    assert [one["track"] for one in half.to_dict()["detections"]] == half.tracks.tolist()
    assert next(detector.stream(clip)).tracks is None


def test_closing_ends_its_threads(detector, clip):
    stream = detector.stream(clip)
    assert next(stream).frame == 0
    stream.close()
    assert not [one for one in threading.enumerate() if one.name == "video"]


def test_what_is_lost_is_raised_after_the_results(detector, tmp_path):
    path = write_clip(tmp_path / "a.mkv", "FFV1")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.7)])
    found = []
    with pytest.raises(BadFile, match=r"a.mkv ends early"):
        found.extend(one.frame for one in detector.stream(path))
    assert found == list(range(len(found)))
    assert 0 < len(found) < FRAMES


def test_a_source_of_frames_is_streamed_and_pictures_have_no_rate(detector, clip):
    with pytest.raises(UsageError, match=r"is no picture but a source of frames"):
        detector(clip)
    with pytest.raises(UsageError, match="fps and track are for videos"):
        detector.stream([np.zeros((9, 9, 3), np.uint8)], fps=3)
    with pytest.raises(UsageError, match=r"fps 0: expected frames per second"):
        detector.stream(clip, fps=0)
    with pytest.raises(UsageError, match="fps '5': expected frames per second"):
        detector.stream(clip, fps="5")


def test_classes_are_chosen_of_pictures_too(detector, clip):
    frame = next(iter(FileFrames(clip))).taken()
    (every,) = detector(frame, score_threshold=0.02)
    (cats,) = detector(frame, score_threshold=0.02, only=["cat"])
    assert cats == every[np.array(every.names) == "cat"]
    for wrong in ([], "cat", [3]):
        with pytest.raises(UsageError, match=r"only .*expected names of classes"):
            detector(frame, only=wrong)


@pytest.mark.slow
def test_a_long_video_takes_no_more_memory_than_its_batches(detector, tmp_path):
    """The most frames that are alive at once, however many there are."""
    # a clip of 13 frames over and over
    frames = _Counted(write_clip(tmp_path / "x.avi", "MJPG", 13), 600)
    most = 0
    for _ in _streamed(detector, frames):
        most = max(most, frames.alive())
    assert frames.given == 600
    assert most <= 4 * detector.max_batch + 16


class _Counted(FileFrames):
    """Frames of a clip over and over, which are counted while they have their pixels."""

    def __init__(self, path, count):
        super().__init__(path)
        self._pixels = [frame.taken() for frame in super().__iter__()]
        self._count, self._frames, self.given = count, [], 0

    def __iter__(self):
        from ssd_small.pictures.frame import VideoFrame

        for number in range(self._count):
            frame = VideoFrame(self._pixels[number % 13], number, number / 10)
            self._frames.append(frame)
            self.given += 1
            yield frame

    def alive(self):
        self._frames = [one for one in self._frames if one.pixels is not None]
        return len(self._frames)


def _streamed(detector, frames):
    from ssd_small.detection.video import video_outcomes

    return video_outcomes(detector, frames)
