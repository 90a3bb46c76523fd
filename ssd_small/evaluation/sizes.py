"""The small-object scorecard: average precision and recall by object size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ..pictures.placement import Fit, sizes_seen
from .columns import Floats, ResultColumns, TruthColumns
from .curves import mean_of_known

#: sides in pixels at which each size starts; it ends at the next one, the last is unlimited
EDGES: tuple[int, ...] = (0, 8, 16, 32, 64, 96)


@dataclass(frozen=True)
class SizeScore:
    """The metric for the objects of one size, with 100 detections per class and image.

    Attributes:
        from_px, to_px: from_px squared <= area < to_px squared; None: no limit.
        at: ``picture``: sizes as annotated; ``network``: sizes at the network's input.
        ap, recall: means over IoU 0.50 to 0.95 and the classes; None without such objects.
        boxes: number of such objects, without crowds.
    """

    from_px: int
    to_px: int | None
    at: Literal["picture", "network"]
    ap: float | None
    recall: float | None
    boxes: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


@dataclass(frozen=True)
class SizeCurve:
    """Precision over recall at an IoU of 0.5, averaged over the classes with objects of a size.

    Attributes:
        size: ``all``, ``small``, ``medium`` or ``large``, as in COCO.
        precision: at recall 0, 0.01 to 1.
    """

    size: str
    precision: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, rounded to four digits."""
        return {"size": self.size, "precision": [round(value, 4) for value in self.precision]}


def size_curves(precision: Floats) -> tuple[SizeCurve, ...]:
    """One curve for each size that has objects.

    Args:
        precision: ``[R, K, A]`` by recall, class and COCO's four ranges of areas; -1 without
            ground truth.
    """
    curves = []
    for place, size in enumerate(("all", "small", "medium", "large")):
        known = (precision[:, :, place] > -1).all(axis=0)
        if known.any():
            mean = precision[:, known, place].mean(axis=1)
            curves.append(SizeCurve(size, tuple(mean.tolist())))
    return tuple(curves)


def size_areas() -> list[list[float]]:
    """The range of areas of each size in square pixels, both ends included."""
    lows = [float(edge**2) for edge in EDGES]
    return [
        [low, high]
        for low, high in zip(lows, [*np.nextafter(lows[1:], 0.0).tolist(), np.inf], strict=True)
    ]


def areas_at_input(
    truth: TruthColumns,
    found: ResultColumns,
    input_size: tuple[int, int],
    tile: tuple[int, int] | None = None,
    fit: Fit = "stretch",
) -> tuple[Floats, Floats]:
    """Areas ``[B]`` and ``[D]`` after each image is resized to the network's (height, width).

    If pictures are cut into tiles, the tile (height, width) is resized, or the image if smaller.
    """
    sizes = truth.image_sizes if tile is None else np.minimum(truth.image_sizes, tile)
    sizes = sizes_seen(fit, sizes, input_size)
    factors: Floats = (np.array(input_size, np.float64) / sizes).prod(axis=1)
    theirs = found.boxes_xywh[:, 2] * found.boxes_xywh[:, 3]
    of = np.searchsorted(truth.image_ids, found.image_ids)
    return truth.areas * factors[truth.images], theirs * factors[of]


def sizes_from_curves(
    precision: Floats, recall: Floats, areas: Floats, at: Literal["picture", "network"]
) -> tuple[SizeScore, ...]:
    """One row per size.

    Args:
        precision, recall: ``[T, R, K, S]`` and ``[T, K, S]`` at the areas of :func:`size_areas`.
        areas: of the objects, without crowds, in square pixels.
        at: where these areas are measured.
    """
    rows = []
    for place, (low, high) in enumerate(size_areas()):
        rows.append(
            SizeScore(
                EDGES[place],
                EDGES[place + 1] if place + 1 < len(EDGES) else None,
                at,
                mean_of_known(precision[..., place]),
                mean_of_known(recall[..., place]),
                int(np.count_nonzero((areas >= low) & (areas <= high))),
            )
        )
    return tuple(rows)
