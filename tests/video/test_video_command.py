"""``ssd-small detect`` of video files, as its user sees it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from clips import FRAMES, RATE, SIZE, entries_of, write_clip

#: shown is nearly everything that random weights find
ALL = ("--score-threshold", "0.02")


@pytest.fixture
def opened():
    """Frames of a video by OpenCV alone, and its rate."""
    cv2 = pytest.importorskip("cv2")

    def read(path):
        capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
        while (got := capture.read())[0]:
            frames.append(got[1])
        return frames, capture.get(cv2.CAP_PROP_FPS)

    return read


@pytest.fixture
def picture(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    return path


def test_a_line_for_each_frame_and_the_video_with_boxes(call, engine, clip, tmp_path, opened):
    out = tmp_path / "out"
    done = call("detect", "--engine", engine, clip, "--json", "-o", out, *ALL).fits()
    entries = entries_of(done.out)
    assert [entry["frame"] for entry in entries] == list(range(FRAMES))
    assert [entry["time"] for entry in entries] == [i / RATE for i in range(FRAMES)]
    assert {(entry["width"], entry["height"]) for entry in entries} == {SIZE[::-1]}
    assert {entry["source"] for entry in entries} == {str(clip)}
    assert all(entry["detections"] for entry in entries)
    frames, rate = opened(out / "clip.mp4")
    assert [frame.shape for frame in frames] == [(*SIZE, 3)] * FRAMES
    assert rate == RATE
    # boxes are drawn on them
    assert all(frame.std() > 5 for frame in frames)
    assert [one.name for one in out.iterdir()] == ["clip.mp4"]
    said = done.err.splitlines()
    assert said[0].startswith(f"{clip}: {FRAMES} frames, ")
    assert said[0].endswith("frames/s")
    assert said[1:] == [f"note: {FRAMES} frames with boxes in {out / 'clip.mp4'}"]


@pytest.mark.slow
def test_a_frame_is_what_the_same_pixels_are_as_a_picture(call, engine, clip, tmp_path, opened):
    cv2 = pytest.importorskip("cv2")
    frames, _ = opened(clip)
    for number, frame in enumerate(frames):
        assert cv2.imwrite(str(tmp_path / f"{number:02}.png"), frame)
    for tiles in ((), ("--tiles", "64x64")):
        run = ("detect", "--engine", engine, "--json", *ALL, *tiles, "--batch", 5)
        video = entries_of(call(*run, clip).fits().out)
        pictures = entries_of(call(*run, tmp_path).fits().out)
        assert len(video) == len(pictures) == FRAMES
        for one, same in zip(video, pictures, strict=True):
            assert one["tiles"] == same["tiles"]
            assert one["detections"] == same["detections"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.mp4", "x.avi", "x.mkv", "x.webm", "x.mov"])
def test_an_output_may_be_a_file(name, call, engine, clip, tmp_path, opened):
    call("detect", "--engine", engine, clip, "-o", tmp_path / name, "--fps", 5).fits()
    frames, rate = opened(tmp_path / name)
    assert [frame.shape for frame in frames] == [(*SIZE, 3)] * 6
    assert rate == 5


@pytest.mark.slow
def test_several_videos_have_an_output_each(call, engine, clip, tmp_path, opened):
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(clip, again / "clip.mp4")
    other = write_clip(tmp_path / "other.mjpeg", "MJPG", 3)
    out = tmp_path / "out"
    call("detect", "--engine", engine, clip, other, again / "clip.mp4", "-o", out).fits()
    assert sorted(one.name for one in out.iterdir()) == ["clip-2.mp4", "clip.mp4", "other.mp4"]
    assert len(opened(out / "other.mp4")[0]) == 3


def test_text_names_the_frame(call, engine, clip):
    out = call("detect", "--engine", engine, clip, "--fps", 1, "--track", *ALL).fits().out
    assert f"{clip} frame 10 at 1.000 s (128x96): " in out
    assert " track 1\n" in out


def test_a_clip_that_ends_early_is_decoded_as_far_as_it_goes(call, engine, tmp_path, opened):
    path = write_clip(tmp_path / "cut.avi", "MJPG")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.8)])
    outcome = call("detect", "--engine", engine, path, "--json", "-o", tmp_path / "out")
    outcome.fails(4, "cut.avi ends early", "frames could be decoded")
    entries = entries_of(outcome.out)
    assert 0 < len(entries) < FRAMES
    assert len(opened(tmp_path / "out" / "cut.avi")[0]) == len(entries)
    # beside others, which are done
    whole = write_clip(tmp_path / "whole.avi", "MJPG")
    outcome = call("detect", "--engine", engine, path, whole, "--json")
    outcome.fails(4, "1 of 2 videos could not be read whole, see above")
    assert "  " + f"{path} ends early" in outcome.err
    assert len(entries_of(outcome.out)) == len(entries) + FRAMES


def test_nothing_of_ffmpeg_s_is_said(start, engine, tmp_path):
    # damaged in the middle of a frame, which its decoder would tell at length
    path = write_clip(tmp_path / "a.avi", "MJPG")
    content = bytearray(path.read_bytes())
    for place in range(6200, 8000, 7):
        content[place] ^= 0x5A
    path.write_bytes(content)
    outcome = start("detect", "--engine", engine, path, "--json").ended()
    lines = outcome.err.splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert outcome.code in (0, 4)
    assert len(lines) == (1 if outcome.code == 0 else 2), outcome.err
    count = len(entries_of(outcome.out))
    assert outcome.code == (4 if count < FRAMES else 0)
    assert outcome.code == 0 or f" {count} " in lines[1]


@pytest.mark.slow
def test_a_class_is_shown_and_no_other(call, engine, clip, picture):
    for given in (clip, picture):
        run = ("detect", "--engine", engine, given, "--json", *ALL)
        everything, cats = (
            [entry["detections"] for entry in entries_of(call(*more).fits().out)]
            for more in (run, (*run, "--only", "cat"))
        )
        assert cats == [[one for one in found if one["name"] == "cat"] for found in everything]
        assert 0 < sum(map(len, cats)) < sum(map(len, everything))
        both = call(*run, "--only", "cat", "--only", "dog").fits().out
        assert both == call(*run).fits().out
        outcome = call(*run, "--only", "bird")
        outcome.fails(2, "--only names class 'bird', which this network does not have", "cat, dog")
        assert outcome.out == ""


def test_the_best_score_is_of_the_classes_that_are_shown(call, engine, picture):
    run = ("detect", "--engine", engine, picture, "--json")
    found = entries_of(call(*run, *ALL).fits().out)[0]["detections"]
    best = {
        name: max(one["score"] for one in found if one["name"] == name) for name in ("cat", "dog")
    }
    assert best["cat"] != best["dog"]
    for name, score in best.items():
        (entry,) = entries_of(call(*run, "--only", name, "--score-threshold", 1).fits().out)
        assert entry["detections"] == []
        assert entry["best_score"] == pytest.approx(score, abs=1e-6)


def test_what_cannot_be_is_refused_before_any_work(call, engine, clip, picture, tmp_path):
    run = ("detect", "--engine", engine)
    call(*run, clip, picture).fails(2, "clip.mp4 is a video and", "pass pictures and videos apart")
    call(*run, clip, "rtsp://127.0.0.1:9/x").fails(2, "has no end; pass it alone")
    call(*run, clip, "-o", tmp_path / "x.txt").fails(2, "no video is written that ends in '.txt'")
    call(*run, clip, "-o", clip).fails(2, "would overwrite an input")
    call(*run, clip, "-o", clip.parent).fails(2, "would overwrite")
    call(*run, clip, "--fps", 0).fails(2, "--fps")
    call(*run, picture, "--fps", 2).fails(2, "--fps is for videos")
    call(*run, picture, "--track").fails(2, "--track is for videos")
    call(*run, tmp_path / "no.mp4").fails(4, "no.mp4 does not exist")
    call(*run, clip, "--max-pixels", 1000).fails(4, "frames of 128x96 pixels")
    assert not list(tmp_path.glob("*.txt"))


def test_no_camera_is_missing_hardware(call, engine):
    call("detect", "--engine", engine, "99").fails(3, "camera 99 cannot be opened")


def test_nobody_at_an_address_is_said_in_a_line(call, engine):
    address = "tcp://user:secret@127.0.0.1:9"
    line = call("detect", "--engine", engine, address).fails(4, "cannot read tcp://127.0.0.1:9")
    assert "secret" not in line


def test_a_full_disk_leaves_no_half_of_a_video(call, engine, clip, tmp_path, monkeypatch):
    from ssd_small.video import writing

    # FFmpeg's writer says nothing of it: what is there is counted
    monkeypatch.setattr(writing.VideoWriter, "count", 99, raising=False)
    kept = writing.VideoWriter.write

    def write(self, pixels):
        kept(self, pixels)
        self.count += 1

    monkeypatch.setattr(writing.VideoWriter, "write", write)
    outcome = call("detect", "--engine", engine, clip, "--json", "-o", tmp_path / "o")
    outcome.fails(4, "o/clip.mp4: of 24 frames 12 are in it", "free space")
    assert not list((tmp_path / "o").iterdir())
    assert len(json.loads(f"[{','.join(outcome.out.splitlines())}]")) == FRAMES
