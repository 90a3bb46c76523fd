"""Frames that damage within a file has taken are never lost with success, and none are missed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from clips import write_clip

from ssd_small.errors import BadFile
from ssd_small.video.ends import is_cut_off
from ssd_small.video.movie_index import MovieIndex, movie_index
from ssd_small.video.reading import FileFrames
from ssd_small.video.structure import Structure, joined_pictures, structure_from_file

_PICTURES = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2")
_SOUND = ("-f", "lavfi", "-i", "sine=d=2")
_H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
#: name of a whole file with 50 frames -> what ffmpeg is told
WHOLE = {
    "sound.mp4": (*_PICTURES, *_SOUND, *_H264),
    "fragments.mp4": (*_PICTURES, *_SOUND, *_H264, "-movflags", "frag_keyframe+empty_moov"),
    "small.mov": (*_PICTURES, "-c:v", "mpeg4"),
    "sound.mkv": (*_PICTURES, *_SOUND, *_H264),
    "live.mkv": (*_PICTURES, *_SOUND, *_H264, "-live", 1),
    "sound.ts": (*_PICTURES, *_SOUND, *_H264),
    "sound.m2ts": (*_PICTURES, *_SOUND, *_H264),
    "sound.avi": (*_PICTURES, *_SOUND, "-c:v", "mpeg4", "-bf", 2, "-c:a", "mp3"),
}


def frames(path: Path) -> tuple[int, str]:
    """How many come out, and what is said at the end."""
    count = 0
    try:
        for _ in FileFrames(path):
            count += 1
    except BadFile as error:
        return count, str(error)
    return count, ""


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_damage_anywhere_is_seen_where_it_takes_frames(
    name: str, ffmpeg: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / name
    ffmpeg(*WHOLE[name], path)
    assert frames(path) == (50, "")
    structure = structure_from_file(path)
    assert structure is not None
    assert structure.broken_at is None
    assert structure.times is None or len(structure.times) == 50
    content, chance = path.read_bytes(), random.Random(name)
    size, fewer = len(content), 0
    for what in ("zeros", "noise", "less", "tail") * 3:
        length = chance.choice([1000, 4000])
        begin = size - length if what == "tail" else chance.randrange(size // 8, size - length)
        new = {"less": b"", "noise": chance.randbytes(length)}.get(what, bytes(length))
        path.write_bytes(content[:begin] + new + content[begin + length :])
        try:
            count, said = frames(path)
        except BadFile:  # of what says how to decode it
            continue
        fewer += count < 50
        assert count == 50 or said, f"{what}, {length} bytes at {begin}: {count} frames"
    assert fewer > 2


@pytest.mark.parametrize(("codec", "ending"), [("mp4v", ".mp4"), ("MJPG", ".mov")])
def test_an_end_of_zeros_before_the_index_is_seen(codec: str, ending: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"a{ending}", codec)
    content = bytearray(path.read_bytes())
    end = content.index(b"moov") - 4
    begin = end - (end - content.index(b"mdat")) // 4
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)
    count, said = frames(path)
    assert 0 < count < 12
    assert said == (
        f"{path} is damaged: {count} of 12 frames could be decoded; copy or record it again"
    )


@pytest.mark.slow
def test_frames_that_nobody_is_to_see_are_not_missed(
    ffmpeg: Callable[..., None], tmp_path: Path
) -> None:
    source, uneven = tmp_path / "source.mp4", tmp_path / "uneven.mp4"
    ffmpeg(*_PICTURES, *_H264, source)
    ffmpeg("-i", source, "-vf", "select='lt(n,10)+not(mod(n,5))'", "-vsync", "vfr", uneven)
    cuts = {}
    for name, of, begin in (("cut.mp4", source, 0.52), ("uneven_cut.mp4", uneven, 0.3)):
        cuts[name] = tmp_path / name
        ffmpeg("-ss", begin, "-i", of, "-c", "copy", cuts[name])
    assert movie_index(cuts["cut.mp4"]) == MovieIndex(50, 0.52, 1.48)
    assert [frames(one) for one in cuts.values()] == [(37, ""), (10, "")]
    # and what is missing of them is
    content = bytearray(cuts["cut.mp4"].read_bytes())
    end = content.index(b"moov") - 4
    content[end - 4000 : end] = bytes(4000)
    cuts["cut.mp4"].write_bytes(content)
    count, said = frames(cuts["cut.mp4"])
    assert count < 37
    assert f"is damaged: {count} of 37 frames" in said
    # VP8 has frames that only others refer to
    made, log = (*_PICTURES, "-c:v", "libvpx", "-auto-alt-ref", 1, "-b:v", "200k"), tmp_path / "log"
    for step in (("-pass", 1, "-f", "null", "-"), ("-pass", 2, tmp_path / "a.webm")):
        ffmpeg(*made, "-lag-in-frames", 16, "-passlogfile", log, *step)
    assert frames(tmp_path / "a.webm") == (50, "")


@pytest.mark.slow
def test_the_demuxer_s_own_end_is_not_believed_of_matroska(
    ffmpeg: Callable[..., None], tmp_path: Path
) -> None:
    """Noise within a frame's length ended OpenCV's H.264, and its list of packets with it."""
    path = tmp_path / "a.mkv"
    ffmpeg(*_PICTURES, *_H264, path)
    content = path.read_bytes()
    frames_of = structure_from_file(path)
    assert frames_of is not None
    shown = [i / 25 for i in range(50)]
    assert sorted(frames_of.times or ()) == pytest.approx(shown, abs=1e-3)
    chance, lost = random.Random(3), 0
    for _ in range(12):
        begin = chance.randrange(len(content) // 5, len(content) - 1000)
        path.write_bytes(content[:begin] + chance.randbytes(200) + content[begin + 200 :])
        count, said = frames(path)
        lost += count < 50
        assert count == 50 or said, f"at {begin}: {count} frames"
    assert lost


def test_a_number_of_frames_that_is_only_announced_is_not_missed(
    ffmpeg: Callable[..., None], tmp_path: Path
) -> None:
    avi, mkv = write_clip(tmp_path / "a.avi", "MJPG"), tmp_path / "a.mkv"
    content = bytearray(avi.read_bytes())
    header = content.index(b"avih") + 8
    content[header + 16 : header + 20] = (100).to_bytes(4, "little")
    avi.write_bytes(content)
    assert frames(avi) == (12, "")
    # sound that goes on when the pictures have ended
    ffmpeg(*_PICTURES, "-f", "lavfi", "-i", "sine=d=6", *_H264, mkv)
    assert frames(mkv) == (50, "")


@pytest.mark.parametrize("length", [b"\0\0\0\1" + b"free" + bytes(8), b"\0\0\0\3free" + bytes(8)])
def test_a_box_without_a_length_ends_the_walk(length: bytes, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(clip.read_bytes() + length)
    assert structure_from_file(path) == Structure(clip.stat().st_size)
    assert movie_index(path) == movie_index(clip)
    assert not is_cut_off(path)


def test_a_codec_that_is_not_there_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileFrames, "_grab", lambda self: False)
    count, said = frames(clip)
    assert count == 0
    assert said.startswith(f"{clip}: none of its 12 frames can be decoded; expected a codec of ")
    assert "it has FMP4" in said or "it has mp4v" in said


def test_pictures_of_a_raw_file_that_have_become_one_are_missed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mjpeg", "MJPG")
    content = path.read_bytes()
    assert joined_pictures(path) == (12, True)
    joint = content.index(b"\xff\xd9\xff\xd8\xff", len(content) // 2)
    path.write_bytes(content[:joint] + content[joint + 30 :])
    count, said = frames(path)
    assert count < 12
    assert "is damaged" in said
