"""Videos with damage anywhere, and files that are none by a video's name."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz_case import GOOD, Case, Place
from fuzz_values import ODD_WORDS, damaged_bytes

_CODECS = {"mp4": "mp4v", "mov": "MJPG", "avi": "MJPG", "mkv": "FFV1", "webm": "VP80", "ts": "MPG2"}
#: in a process of its own: cases are forks, which must not wait for threads of an encoder
_WRITE = """
import sys
import cv2, numpy as np
path, codec = sys.argv[1:]
writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
for number in range(6):
    writer.write(np.full((48, 64, 3), 40 * number, np.uint8))
writer.release()
"""


@functools.cache
def _clip(ending: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip.{ending}"
        subprocess.run(
            [sys.executable, "-c", _WRITE, path, _CODECS[ending]], check=True, capture_output=True
        )
        return path.read_bytes()


def video(rng: random.Random, place: Place) -> Case:
    """A damaged clip, or none, and options of videos."""
    kind = rng.choice(list(_CODECS))
    if rng.random() < 0.1:
        content, what = rng.choice([b"", b"text\n", b"\0" * 5000, b"\x47" * 1880, b"RIFF"]), "none"
    else:
        content, what = damaged_bytes(rng, _clip(kind), head=200)
    ending = rng.choice([kind, kind, kind, *_CODECS, "mjpeg", "h264"])
    path = place.write(f"v/x.{ending}", content)
    engine = place.copy(GOOD / "detections.fp32.engine")
    place.copy(GOOD / "detections.fp32.engine.json")
    options: list[tuple[str, ...]] = [
        ("--json",),
        ("-o", "out/v"),
        ("-o", f"out/v.{rng.choice(['mp4', 'avi', 'mkv', 'x'])}"),
        ("--fps", rng.choice(["5", "1e-3", *ODD_WORDS])),
        ("--track",),
        ("--only", rng.choice(["cat", "digit", ""])),
        ("--max-pixels", rng.choice(["1", "100000"])),
    ]
    chosen = [word for one in rng.sample(options, rng.randrange(3)) for word in one]
    return Case(f"{kind}: {what}", ("detect", "--engine", engine, path, "--threads", "1", *chosen))
