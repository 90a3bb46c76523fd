"""Where the time of a picture goes: stage by stage, on real pictures, one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ..detection.inference import Inference, Stopwatch
from ..detection.pipeline import detect
from ..errors import BadFile
from ..pictures.preprocessing import input_from_image
from ..pictures.reading import bytes_of_image, image_from_bytes
from ..postprocess import Detections
from ..runtimes.base import Images
from ..runtimes.device_events import DeviceTimes
from .same_outputs import SameOutputs
from .timing import Timing

#: in the order of the way. Networks of pictures resize inside, and what is left is making a batch.
#: On a GPU upload, network and download are by CUDA events, and host is what the processor does
#: around them: to and from page-locked memory, enqueueing, waiting
STAGES = (
    *("read", "decode", "resize", "upload", "network", "download", "host"),
    "decode_nms",
)
#: pictures of a folder that are taken, the first of its listing
MOST_PICTURES = 64


@dataclass(frozen=True)
class Ledger:
    """Milliseconds per picture of each stage, and of the way with its stages overlapping.

    Attributes:
        stages: by name, see :data:`STAGES`; decode + NMS are missing where they are inside of the
            engine, copies where there is no GPU.
        total: of the stages one after the other.
        pictures: different ones.
        batch: pictures per call of the network.
        detections: per picture.
        overlapped: pictures per second of ``detect`` and ``eval``, which read ahead in threads.
        workers: of these threads.
        compared: passes whose detections were compared with those of the first.
    """

    stages: dict[str, Timing]
    total: Timing
    pictures: int
    batch: int
    detections: float
    overlapped: float
    workers: int
    compared: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with each stage's share of the sum of medians."""
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
        }


def ledger_of_pictures(
    inference: Inference, paths: Sequence[Path], seconds: float, *, batch: int, workers: int
) -> Ledger:
    """Time each stage of the way from files to detections.

    The files are in the page cache after the first pass, which is not counted, as they are for
    whoever has just written them.

    Args:
        inference: network or engine with its post-processing.
        paths: of pictures; at most :data:`MOST_PICTURES` are taken.
        seconds: how long to measure; two passes are made at least.
        batch: pictures per call of the network.
        workers: threads of the overlapping way.

    Raises:
        BadFile: there is no picture, or one cannot be read.
        CheckFailed: a pass finds something else than the first one found.
    """
    if not paths:
        raise BadFile("no pictures to measure on; pass a folder that holds some")
    groups = [paths[i : i + batch] for i in range(0, min(len(paths), MOST_PICTURES), batch)]
    number = sum(map(len, groups))
    rows: list[dict[str, float]] = []
    with inference.runtime.watched() as device:
        first = [_pass(inference, group, device)[1] for group in groups]
        check = SameOutputs(first, f"{inference.runtime.description.model} on pictures")
        started = time.perf_counter()
        while len(rows) < 2 * len(groups) or time.perf_counter() - started < seconds:
            done = [_pass(inference, group, device) for group in groups]
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
    overlapped = _overlapped(inference, chosen, seconds / 2, batch, workers)
    return Ledger(
        stages=stages,
        total=Timing.from_seconds([sum(row.values()) for row in rows]),
        pictures=number,
        batch=batch,
        detections=sum(len(one) for found in first for one in found) / number,
        overlapped=overlapped,
        workers=workers,
        compared=check.compared,
    )


def _pass(
    inference: Inference, group: Sequence[Path], device: DeviceTimes | None
) -> tuple[dict[str, float], list[Detections]]:
    """Seconds of each stage for a batch of files, and what was found."""
    description = inference.runtime.description
    preprocessing, of_pictures = description.preprocessing, description.pictures is not None
    spent = dict.fromkeys(STAGES, 0.0)
    inputs: list[Images] = []
    for path in group:
        began = time.perf_counter()
        content = bytes_of_image(path)
        read = time.perf_counter()
        pixels = image_from_bytes(content, path)
        decoded = time.perf_counter()
        inputs.append(pixels if of_pictures else input_from_image(pixels, preprocessing))
        spent["read"] += read - began
        spent["decode"] += decoded - read
        spent["resize"] += time.perf_counter() - decoded
    stopwatch, before = Stopwatch(), replace(device) if device else None
    found: list[Detections] = []
    # a network of pictures takes those of one size at once; any other has one size
    for _, alike in groupby(inputs, key=lambda one: one.shape):
        began = time.perf_counter()
        images = np.stack(list(alike))
        spent["resize"] += time.perf_counter() - began
        found += inference(images, stopwatch)
    spent["network"], spent["decode_nms"] = stopwatch.network, stopwatch.decode_nms
    if device and before:
        for name in ("upload", "network", "download"):
            spent[name] = getattr(device, name) - getattr(before, name)
        # two clocks: the one of the GPU may be ahead
        on_device = spent["upload"] + spent["network"] + spent["download"]
        spent["host"] = max(0.0, stopwatch.network - on_device)
    return spent, found


def _overlapped(
    inference: Inference, paths: Sequence[Path], seconds: float, batch: int, workers: int
) -> float:
    """Pictures per second of the pipeline, over whole passes."""
    passes = 0
    started = time.perf_counter()
    while not passes or time.perf_counter() - started < seconds:
        for _ in detect(inference, paths, batch_size=batch, workers=workers):
            pass
        passes += 1
    return passes * len(paths) / (time.perf_counter() - started)
