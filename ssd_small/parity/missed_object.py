"""Explain why an engine or a network found or missed one object in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..artefacts.tiled import check_no_tiles
from ..detection.thresholds import ScoreThreshold
from ..errors import UsageError
from ..evaluation.explanation import Explanation, explain_object
from .recording import cut_runtime, outcomes_with_heads

if TYPE_CHECKING:
    from .side import Side


def explain_in_picture(
    side: Side,
    picture: Path,
    box: Sequence[float],
    *,
    name: str | None = None,
    threshold: ScoreThreshold | None = None,
    threads: int = 0,
) -> Explanation:
    """Run a picture and follow an object through decode + NMS.

    Args:
        side: network or engine whose heads are available: anything but a TensorRT engine with
            decode + NMS inside.
        picture: the picture file.
        box: the object's (x, y, width, height) in pixels of the picture.
        name: the object's class; None for whichever scores best.
        threshold: score threshold as for ``detect``; None for its default.
        threads: CPU threads; 0 for one per core.

    Raises:
        BadFile: the picture cannot be read.
        UsageError: the heads are not available, the class is unknown, or the box does not lie in
            the picture.
    """
    detector, description = side.detector, side.description
    check_no_tiles(description, "explain")
    label = None if name is None else _label(side, name)
    allowed = detector.filter_from_threshold(threshold).by_label
    cut = cut_runtime(side, threads)
    try:
        ((outcome, heads),) = outcomes_with_heads(side, [picture], cut)
    finally:
        if cut is not None:
            cut.close()
    if outcome.error is not None:
        raise outcome.error
    if heads is None:
        raise UsageError(
            f"{side.path} has decode + NMS inside and gives no heads to look at: pass --weights "
            "with its checkpoint, its ONNX file, or an engine built with --heads"
        )
    _check_box(box, outcome.size)
    return explain_object(
        *heads,
        description,
        replace(
            side.params, score_threshold=min(side.params.score_threshold, float(allowed.min()))
        ),
        box,
        outcome.size,
        label=label,
        thresholds=allowed,
    )


def _label(side: Side, name: str) -> int:
    description = side.description
    background = description.postprocess.background_label
    names = {
        description.label_name(label): label
        for label in range(description.num_classes)
        if label != background
    }
    if name not in names:
        raise UsageError(
            f"--label {name!r} is no class of this network; its classes are "
            f"{', '.join(list(names)[:20])}" + (", ..." if len(names) > 20 else "")
        )
    return names[name]


def _check_box(box: Sequence[float], size: tuple[int, int]) -> None:
    x, y, width, height = box
    inside = x < size[1] and y < size[0] and x + width > 0 and y + height > 0
    if not (np.isfinite(box).all() and width > 0 and height > 0 and inside):
        raise UsageError(
            f"--box {','.join(f'{value:g}' for value in box)}: expected x,y,width,height in pixels "
            f"of a picture of {size[1]}x{size[0]}, with some of it inside"
        )
