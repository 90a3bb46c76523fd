"""Video files: every frame comes out, in order, and what is missing is said."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from clips import FRAMES, RATE, SIZE, grey, write_clip

from ssd_small.errors import BadFile, UsageError
from ssd_small.video.capture import Clock, Pace
from ssd_small.video.opening import open_frames
from ssd_small.video.reading import FileFrames
from ssd_small.video.sources import name_of, source_from, stem_of

#: ending -> codec that OpenCV writes into it
CODECS = {
    ".mp4": "mp4v",
    ".mov": "mp4v",
    ".avi": "MJPG",
    ".mkv": "FFV1",
    ".webm": "VP80",
    ".ts": "MPG2",
    ".mjpeg": "MJPG",
}


def read(path: Path | str, rate: float | None = None) -> tuple[list[int], list[float], str]:
    """Frames by their grey level, their times, and what is said at the end."""
    greys, times, said = [], [], ""
    try:
        for frame in FileFrames(path, rate=rate):
            pixels = frame.taken()
            greys.append(round((int(pixels[40, 60].mean()) - grey(0)) / 15))
            times.append(round(frame.time, 3))
    except BadFile as error:
        said = str(error)
    return greys, times, said


def cut(path: Path, share: float) -> Path:
    """The beginning of a file, in its place."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("ending", CODECS)
def test_every_frame_comes_out_in_order_with_its_time(ending, tmp_path):
    path = write_clip(tmp_path / f"a{ending}", CODECS[ending])
    greys, times, said = read(path)
    assert said == ""
    assert greys == list(range(FRAMES))
    if ending == ".mjpeg":  # which has no times; FFmpeg takes 25 a second
        assert times == [round(i / 25, 3) for i in range(FRAMES)]
    else:
        assert times == [i / RATE for i in range(FRAMES)]


@pytest.mark.parametrize("ending", [".avi", ".mkv", ".webm", ".ts", ".mjpeg"])
def test_a_file_that_ends_early_gives_what_it_has_and_says_so(ending, tmp_path):
    path = cut(write_clip(tmp_path / f"a{ending}", CODECS[ending]), 0.8)
    greys, _, said = read(path)
    assert 0 < len(greys) < FRAMES
    # of MPEG-2, whose frames are differences, the last one lacks those before it
    whole = len(greys) - (ending == ".ts")
    assert greys[:whole] == list(range(whole))
    assert said.startswith(f"{path} ends early: ")
    assert f"; {len(greys)} frames could be decoded" in said


def test_a_file_without_its_index_says_why_nothing_can_be_decoded(tmp_path):
    path = cut(write_clip(tmp_path / "a.mp4", "mp4v"), 0.6)
    with pytest.raises(BadFile, match=r"a\.mp4: it ends early, before what says how to decode it"):
        FileFrames(path)


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0" * 4096])
def test_what_is_no_video_is_refused_by_its_name(content, tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"a\.mkv: it holds no video"):
        FileFrames(path)


def test_frames_lost_in_the_middle_are_counted(ffmpeg, tmp_path):
    path = tmp_path / "a.mp4"
    made = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", "-c:v", "libx264", "-g", 10)
    ffmpeg(*made, "-pix_fmt", "yuv420p", "-movflags", "+faststart", path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8000] = bytes(8000)
    path.write_bytes(content)
    greys, _, said = read(path)
    assert 0 < len(greys) < 50
    assert f"a.mp4 is damaged: {len(greys)} of " in said
    # cut off where all that says how to decode it comes first
    path.write_bytes(content[:middle])
    greys, _, said = read(path)
    assert 0 < len(greys) < 50
    assert said.startswith(f"{path} ends early: ")
    assert f"; {len(greys)} frames could be decoded of the 50 that it announces" in said


@pytest.mark.parametrize("ending", [".mov", ".mjpeg"])
def test_frames_behind_one_that_cannot_be_decoded_come_out(ending, tmp_path):
    path = write_clip(tmp_path / f"a{ending}", "MJPG")
    content = bytearray(path.read_bytes())
    starts = [i for i in range(len(content)) if content[i : i + 3] == b"\xff\xd8\xff"]
    # the fourth picture has no quantisation or Huffman tables, and no size
    content[starts[3] + 4 : starts[4] - 2] = bytes(starts[4] - 6 - starts[3])
    path.write_bytes(content)
    greys, _, said = read(path)
    assert greys == [i for i in range(FRAMES) if i != 3]
    assert f"a{ending} is damaged: {FRAMES - 1} of {FRAMES} frames could be decoded" in said


def test_a_count_that_a_container_guesses_is_not_believed(ffmpeg, tmp_path):
    source = tmp_path / "source.mp4"
    made = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", "-c:v", "libx264", "-g", 25)
    ffmpeg(*made, "-pix_fmt", "yuv420p", source)
    # a Matroska file whose duration times its rate is more than the frames that it has
    uneven = tmp_path / "uneven.mkv"
    picked = "select='lt(n,10)+not(mod(n,5))'"
    ffmpeg("-i", source, "-vf", picked, "-vsync", "vfr", uneven)
    # an MP4 file that hides the frames before a place without having cut them out
    hidden = tmp_path / "hidden.mp4"
    ffmpeg("-ss", 0.52, "-i", source, "-c", "copy", hidden)
    for path, count in ((source, 50), (uneven, 18), (hidden, 37)):
        greys, times, said = read(path)
        assert (path.name, len(greys), said) == (path.name, count, "")
        assert times == sorted(times)
    assert read(uneven)[1][9:12] == [0.36, 0.4, 0.6]


def test_frames_that_change_their_size_all_come_out(ffmpeg, tmp_path):
    joined = tmp_path / "joined.ts"
    for name, size in (("a.ts", "160x120"), ("b.ts", "320x240")):
        made = ("-f", "lavfi", "-i", f"smptebars=s={size}:r=25:d=1", "-c:v", "libx264")
        ffmpeg(*made, "-pix_fmt", "yuv420p", tmp_path / name)
        with joined.open("ab") as file:
            file.write((tmp_path / name).read_bytes())
    frames = [frame.taken() for frame in FileFrames(joined)]
    assert len(frames) == 50
    # OpenCV scales them to the size of the first; the same bars are in both halves
    assert {frame.shape for frame in frames} == {(120, 160, 3)}
    assert abs(frames[0].astype(int) - frames[25]).mean() < 20


@pytest.mark.parametrize(
    ("rate", "frames"), [(5, [0, 2, 4, 6, 8, 10]), (3, [0, 4, 7, 10]), (50, list(range(FRAMES)))]
)
def test_so_many_frames_are_taken_of_each_second(rate, frames, clip):
    greys, times, said = read(clip, rate)
    assert (greys, said) == (frames, "")
    assert times == [i / RATE for i in frames]


def test_a_rate_over_long_takes_as_many_as_it_says():
    pace = Pace(7)
    assert sum(pace.takes(i * 1001 / 30000) for i in range(30000)) == pytest.approx(7007, abs=1)
    # of few frames all
    pace = Pace(7)
    assert all(pace.takes(float(i)) for i in range(20))


def test_times_never_go_back_whatever_a_container_says():
    clock = Clock(10)
    said = [0, 100, 200, 0, 0, 700, 650, 9e18, -5]
    assert [round(clock(one), 3) for one in said] == [0, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0, 1.3, 1.6]
    clock = Clock(None)
    assert [round(clock(0), 3) for _ in range(3)] == [0, 0.04, 0.08]


def test_a_frame_larger_than_the_limit_is_refused(clip):
    with pytest.raises(BadFile, match=r"frames of 128x96 pixels, more than the limit of 12000"):
        FileFrames(clip, max_pixels=12000)
    assert len(list(FileFrames(clip, max_pixels=SIZE[0] * SIZE[1]))) == FRAMES


def test_the_pixels_of_a_frame_are_given_once(clip):
    frame = next(iter(FileFrames(clip)))
    assert frame.taken().shape == (*SIZE, 3)
    with pytest.raises(UsageError, match="frame 0: its pixels were taken"):
        frame.taken()


def test_a_camera_s_index_is_not_negative():
    with pytest.raises(UsageError, match=r"camera -1: expected the index of a camera"):
        open_frames(-1)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "frames"), [(1.0, FRAMES), (0.7, None)])
def test_a_file_at_an_address_that_ends_early_is_known_by_its_duration(share, frames, tmp_path):
    write_clip(tmp_path / "a.avi", "MJPG")
    cut(tmp_path / "a.avi", share)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        greys, _, said = read(f"http://127.0.0.1:{server.server_port}/a.avi?x=1")
        server.shutdown()
    assert greys == list(range(frames or len(greys)))
    assert greys
    assert ("it announces" in said) == (frames is None)


def test_what_is_a_source_of_frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert source_from("0") == 0
    assert source_from(2) == 2
    assert source_from("a/b.MKV") == Path("a/b.MKV")
    assert source_from("file:///b/a.mp4") == Path("/b/a.mp4")
    assert source_from("rtsp://u:secret@h/x") == "rtsp://u:secret@h/x"
    for other in ("a.jpg", "a", Path("0"), True, 1.5, None, b"a.mp4", ["a.mp4"], "1234"):
        assert source_from(other) is None
    # what is there by that name
    Path("0").touch()
    Path("folder.mp4").mkdir()
    assert source_from("0") is None
    assert source_from("folder.mp4") is None
    assert name_of("rtsp://u:secret@h/x") == "rtsp://h/x"
    assert (name_of(0), stem_of(0)) == ("camera 0", "camera-0")
    assert stem_of("rtsp://u:secret@h:554/a/b?c=d") == "h-554-a-b"
