"""Where the time for a picture goes: stage by stage, on real pictures, one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from ..detection.inference import Inference, Stopwatch
from ..detection.merging import TileMerger
from ..detection.pipeline import detect
from ..detection.tiled import detect_tiled
from ..errors import BadFile
from ..pictures.decoded import decoded_from_bytes
from ..pictures.preprocessing import input_from_image
from ..pictures.reading import bytes_of_image, image_from_bytes
from ..pictures.tiles import Tiling
from ..pictures.windows import PictureInMemory
from ..postprocess import Detections
from ..postprocess.params import MAX_PRIORS
from ..runtimes.base import HeadOutputs, Images
from ..runtimes.device_events import DeviceTimes
from .same_outputs import SameOutputs
from .timing import Timing

#: stages in order. Networks that take pictures resize inside, so "resize" is only making a batch.
#: On a GPU, upload, network and download are timed by CUDA events, and host is what the processor
#: does around them: copying to and from page-locked memory, enqueueing and waiting
STAGES = (
    *("read", "decode", "resize", "upload", "network", "download", "host"),
    "decode_nms",
)
#: most pictures of a folder that are used, the first in its listing
MOST_PICTURES = 64


@dataclass(frozen=True)
class Ledger:
    """Milliseconds per picture of each stage, and the throughput with overlapping stages.

    Attributes:
        stages: timings by name, see :data:`STAGES`; without decode + NMS if they are inside the
            engine, and without copies if there is no GPU.
        total: the stages one after the other.
        pictures: number of different pictures.
        batch: pictures per call of the network, or tiles.
        detections: mean number of detections per picture.
        overlapped: pictures per second of ``detect`` and ``eval``, which read ahead in threads.
        workers: number of these threads.
        compared: passes whose detections were compared with those of the first.
        tiles: mean number of tiles per picture; 1 if pictures are not cut.
    """

    stages: dict[str, Timing]
    total: Timing
    pictures: int
    batch: int
    detections: float
    overlapped: float
    workers: int
    compared: int
    tiles: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, with each stage's share of the sum of medians."""
        medians = sum(timing.median for timing in self.stages.values())
        return {
            "stages": {
                name: timing.to_dict() | {"share": round(timing.median / medians, 4)}
                for name, timing in self.stages.items()
            },
            "total_ms": self.total.to_dict(),
            "images_per_second": round(1e3 / self.total.median, 3),
            "images_per_second_overlapped": round(self.overlapped, 3),
            "workers": self.workers,
            "pictures": self.pictures,
            "batch": self.batch,
            "detections_per_image": self.detections,
            "passes_compared": self.compared,
            "tiles_per_image": self.tiles,
        }


def ledger_of_pictures(
    inference: Inference,
    paths: Sequence[Path],
    seconds: float,
    *,
    batch: int,
    workers: int,
    tiling: Tiling | None = None,
    caps_grow: bool = True,
) -> Ledger:
    """Time each stage from files to detections.

    The first pass is not counted; after it the files are in the page cache, as for a user who has
    just written them.

    Args:
        inference: network or engine with its post-processing.
        paths: picture files, of which at most :data:`MOST_PICTURES` are used.
        seconds: how long to time the stages, with at least two passes, and half as long again for
            the overlapped throughput.
        batch: pictures per call of the network, or tiles.
        workers: threads that read ahead when stages overlap.
        tiling: how pictures are cut; None if they are not.
        caps_grow: whether the caps of decode + NMS grow with a picture's number of tiles.

    Raises:
        BadFile: there is no picture, or one cannot be read.
        CheckFailed: a pass gives other detections than the first.
    """
    if not paths:
        raise BadFile("no pictures to measure on; pass a folder that holds some")
    step = batch if tiling is None else 1  # batches hold the tiles of one picture
    groups = [paths[i : i + step] for i in range(0, min(len(paths), MOST_PICTURES), step)]
    number = sum(map(len, groups))
    rows: list[dict[str, float]] = []
    with inference.runtime.watched() as device:

        def one_pass(group: Sequence[Path]) -> tuple[dict[str, float], list[Detections]]:
            if tiling is None:
                return _pass(inference, group, device)
            return _pass_of_tiles(inference, group[0], device, tiling, batch, caps_grow)

        first = [one_pass(group)[1] for group in groups]
        check = SameOutputs(first, f"{inference.runtime.description.model} on pictures")
        started = time.perf_counter()
        while len(rows) < 2 * len(groups) or time.perf_counter() - started < seconds:
            done = [one_pass(group) for group in groups]
            rows += [
                {k: v / len(g) for k, v in one[0].items()}
                for one, g in zip(done, groups, strict=True)
            ]
            check([one[1] for one in done])
    stages = {
        name: Timing.from_seconds([row[name] for row in rows])
        for name in STAGES
        if any(row[name] for row in rows)
    }
    chosen = [path for group in groups for path in group]
    running: dict[str, Any] = {"batch_size": batch, "workers": workers}
    if tiling is not None:
        running |= {"tiling": tiling, "caps_grow": caps_grow}
    overlapped, tiles = _overlapped(inference, chosen, seconds / 2, running)
    return Ledger(
        stages=stages,
        total=Timing.from_seconds([sum(row.values()) for row in rows]),
        pictures=number,
        batch=batch,
        detections=sum(len(one) for found in first for one in found) / number,
        overlapped=overlapped,
        workers=workers,
        compared=check.compared,
        tiles=tiles,
    )


def _pass(
    inference: Inference, group: Sequence[Path], device: DeviceTimes | None
) -> tuple[dict[str, float], list[Detections]]:
    """Return the seconds of each stage for a batch of files, and the detections."""
    description = inference.runtime.description
    preprocessing, of_pictures = description.preprocessing, description.pictures is not None
    spent = dict.fromkeys(STAGES, 0.0)
    inputs: list[Images] = []
    for path in group:
        began = time.perf_counter()
        content = bytes_of_image(path)
        read = time.perf_counter()
        pixels = decoded_from_bytes(content, path, description.decoding).pixels
        decoded = time.perf_counter()
        inputs.append(pixels if of_pictures else input_from_image(pixels, preprocessing))
        spent["read"] += read - began
        spent["decode"] += decoded - read
        spent["resize"] += time.perf_counter() - decoded
    stopwatch, before = Stopwatch(), replace(device) if device else None
    found: list[Detections] = []
    # a network that takes pictures runs those of one size together; other inputs have one size
    for _, alike in groupby(inputs, key=lambda one: one.shape):
        began = time.perf_counter()
        images = np.stack(list(alike))
        spent["resize"] += time.perf_counter() - began
        found += inference(images, stopwatch)
    spent["network"], spent["decode_nms"] = stopwatch.network, stopwatch.decode_nms
    _split(spent, device, before)
    return spent, found


def _split(spent: dict[str, float], device: DeviceTimes | None, before: DeviceTimes | None) -> None:
    """Split the network's time by stage, if the device has timed them since ``before``."""
    if device and before:
        whole = spent["network"]
        for name in ("upload", "network", "download"):
            spent[name] = getattr(device, name) - getattr(before, name)
        # the GPU has a clock of its own, which may run ahead
        on_device = spent["upload"] + spent["network"] + spent["download"]
        spent["host"] = max(0.0, whole - on_device)


def _pass_of_tiles(
    inference: Inference,
    path: Path,
    device: DeviceTimes | None,
    tiling: Tiling,
    batch: int,
    caps_grow: bool,
) -> tuple[dict[str, float], list[Detections]]:
    """Like :func:`_pass`, for a picture in tiles; cutting them counts as resizing."""
    description = inference.runtime.description
    spent = dict.fromkeys(STAGES, 0.0)
    began = time.perf_counter()
    content = bytes_of_image(path)
    read = time.perf_counter()
    picture = PictureInMemory(image_from_bytes(content, path))
    spent["read"], spent["decode"] = read - began, time.perf_counter() - read
    views = tiling.views(*picture.size)
    params = inference.params.of_views(views) if caps_grow else inference.params
    merger = TileMerger(picture.size, tiling, description.priors, params, MAX_PRIORS)
    windows, before = tiling.windows(*picture.size), replace(device) if device else None
    while group := list(islice(windows, batch)):
        began = time.perf_counter()
        inputs: list[Images] = [picture.pixels(window) for window in group]
        if description.pictures is None:
            inputs = [input_from_image(one, description.preprocessing) for one in inputs]
        resized = time.perf_counter()
        rows: list[tuple[Any, Any]] = []
        for _, alike in groupby(inputs, key=lambda one: one.shape):
            heads, _ = inference.run(np.stack(list(alike)))
            assert isinstance(heads, HeadOutputs)
            heads = heads.as_float32()
            rows += zip(heads.loc, heads.conf, strict=True)
        ran = time.perf_counter()
        for window, (loc, conf) in zip(group, rows, strict=True):
            merger.add(loc, conf, window)
        spent["resize"] += resized - began
        spent["network"] += ran - resized
        spent["decode_nms"] += time.perf_counter() - ran
    began = time.perf_counter()
    found = merger.detections(inference.postprocess_rows)
    spent["decode_nms"] += time.perf_counter() - began
    _split(spent, device, before)
    return spent, [found]


def _overlapped(
    inference: Inference, paths: Sequence[Path], seconds: float, running: dict[str, Any]
) -> tuple[float, float]:
    """Return the pipeline's pictures per second, over whole passes, and tiles per picture."""
    passes = tiles = 0
    road = detect if "tiling" not in running else detect_tiled
    started = time.perf_counter()
    while not passes or time.perf_counter() - started < seconds:
        for outcome in road(inference, paths, **running):
            tiles += outcome.tiles
        passes += 1
    done = passes * len(paths)
    return done / (time.perf_counter() - started), tiles / done
