"""Count identities that a tracker keeps on synthetic motion.

Objects of 14 to 40 pixels move through 150 frames of 1280x720. Each is out of sight once, for 5 to
15 frames, and missed in 6 % of the others; its box has noise of 4 % of its side, and NMS leaves one
of two that overlap. There are four kinds of motion: slow, fast (up to half a side per frame),
crossing in pairs, and low (a side per frame, as with a low ``--fps``). An identity is kept if an
object ends with the number that it began with. Run ``python benchmarks/bench_tracking.py``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssd_small.detection import tracking
from ssd_small.detection.picture_detections import PictureDetections

FRAMES, OBJECTS, WIDTH, HEIGHT, RATE = 150, 12, 1280, 720, 30
#: pixels per frame, standard deviation of each direction
SPEEDS = {"slow": 1.5, "fast": 6.0, "crossing": 3.0, "low": 9.0}
#: boxes ``[D, 4]``, scores ``[D]``, which object each is of (-1 for none)
Frame = tuple[Any, Any, Any]


def scene(seed: int, kind: str) -> list[Frame]:
    """What a detector would find in each frame."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(14, 40, OBJECTS)
    places = rng.uniform([100, 100], [WIDTH - 100, HEIGHT - 100], (OBJECTS, 2))
    speeds = rng.normal(0, SPEEDS[kind], (OBJECTS, 2))
    for i in range(0, OBJECTS if kind == "crossing" else 0, 2):
        at, when = rng.uniform([250, 200], [WIDTH - 250, HEIGHT - 200]), rng.uniform(50, 100)
        first = rng.uniform(0, 2 * np.pi)
        for j, angle in ((i, first), (i + 1, first + rng.uniform(0.6, 3.1))):
            speeds[j] = rng.uniform(1.5, 4) * np.array([np.cos(angle), np.sin(angle)])
            places[j] = at - speeds[j] * when
        sides[i + 1] = sides[i] * rng.uniform(0.9, 1.1)
    gaps = rng.integers([30, 5], [110, 16], (OBJECTS, 2))
    return [_frame(rng, places + speeds * f, sides, gaps, f) for f in range(FRAMES)]


def _frame(rng: np.random.Generator, centers: Any, sides: Any, gaps: Any, number: int) -> Frame:
    hidden = (gaps[:, 0] <= number) & (number < gaps.sum(1)) | (rng.random(OBJECTS) < 0.06)
    inside = ((centers > 0) & (centers < [WIDTH, HEIGHT])).all(1)
    which = np.flatnonzero(inside & ~hidden)
    half = np.repeat(sides[which, None] / 2, 2, 1)
    boxes = np.concatenate([centers[which] - half, centers[which] + half], 1)
    boxes += rng.normal(0, 0.04, boxes.shape) * sides[which, None]
    scores = rng.normal(0.78, 0.12, len(which)).clip(0.3, 0.99)
    kept: list[int] = []
    for i in np.argsort(-scores):
        if all(_iou(boxes[i], boxes[j]) <= 0.45 for j in kept):
            kept.append(int(i))
    boxes, scores, which = boxes[kept], scores[kept], which[kept]
    if rng.random() < 0.15:  # something that is none
        place = rng.uniform([0, 0], [WIDTH - 30, HEIGHT - 30])
        boxes = np.concatenate([boxes, [[*place, *(place + 25)]]])
        scores, which = np.append(scores, 0.4), np.append(which, -1)
    return boxes.astype(np.float32), scores.astype(np.float32), which


def _iou(one: Any, other: Any) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - both)


def numbers_of(frames: list[Frame], buffer: float) -> list[Any]:
    """The tracks of this package's tracker, whose boxes are enlarged by ``buffer``."""
    before, tracking.BUFFER = tracking.BUFFER, buffer
    tracker, found = tracking.Tracker(RATE), []
    for number, (boxes, scores, _) in enumerate(frames):
        zeros = np.zeros(len(boxes), np.int32)
        one = PictureDetections(
            *(boxes, scores, zeros + 1, zeros, WIDTH, HEIGHT, None, ("object",)),
            frame=number,
            time=number / RATE,
        )
        found.append(tracker(one).tracks)
    tracking.BUFFER = before
    return found


def identities(frames: list[Frame], numbers: list[Any]) -> tuple[int, int, int]:
    """Objects that kept their identity, objects long enough in sight, and changes of numbers."""
    seen: dict[int, list[int]] = {}
    for (_, _, which), tracks in zip(frames, numbers, strict=True):
        for one, track in zip(which.tolist(), tracks.tolist(), strict=True):
            if one >= 0:
                seen.setdefault(one, []).append(track)
    changes = sum(int((np.diff(tracks) != 0).sum()) for tracks in seen.values())
    long = [tracks for tracks in seen.values() if len(tracks) > 60]
    kept = sum(_usual(tracks[:25]) == _usual(tracks[-25:]) for tracks in long)
    return kept, len(long), changes


def _usual(tracks: list[int]) -> int:
    values, counts = np.unique(tracks, return_counts=True)
    return int(values[counts.argmax()])


def measured(run: Callable[[list[Frame]], list[Any]], seeds: int) -> dict[str, Any]:
    """Identities of each kind of motion, and milliseconds per frame."""
    result: dict[str, Any] = {}
    seconds = 0.0
    for kind in SPEEDS:
        rows = []
        for seed in range(seeds):
            frames = scene(seed, kind)
            began = time.perf_counter()
            numbers = run(frames)
            seconds += time.perf_counter() - began
            rows.append(identities(frames, numbers))
        kept, objects, changes = (sum(column) for column in zip(*rows, strict=True))
        result[kind] = {"kept": kept, "objects": objects, "changes": changes}
    result["ms_per_frame"] = round(1e3 * seconds / (len(SPEEDS) * seeds * FRAMES), 4)
    return result


def main() -> None:
    """Print the identities kept with and without enlarged boxes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {
        f"boxes enlarged by {buffer:g}": measured(
            lambda frames, b=buffer: numbers_of(frames, b), options.seeds
        )
        for buffer in (0.0, tracking.BUFFER, 1.0)
    }
    text = json.dumps(found, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
