"""Match detections of two sides; find those only one has, and pairs that differ beyond rounding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..detection.merging import are_large, priors_of_view, tile_of_picture
from ..evaluation.differences import compare_detections
from ..evaluation.intervals import Intervals, intervals_from_heads
from ..evaluation.limits import BOX_ROUNDING, HEAD_LIMITS
from ..postprocess import Detections
from ..postprocess.boxes import edges_from_scale
from .head_differences import scale_of

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from .recording import Heads
    from .side import Side

#: number of examples kept
_SHOWN = 20


@dataclass(frozen=True)
class Example:
    """A detection that differs.

    Attributes:
        picture: file name.
        name: its class name.
        box: (x, y, width, height) in pixels of the picture.
        score: its score on the side that has it.
        side: the side that has it, ``reference`` or ``engine``.
        explained: whether rounding may be the cause.
        reason: which values are within rounding of each other, or what rounding does not explain.
    """

    picture: str
    name: str
    box: tuple[float, float, float, float]
    score: float
    side: str
    explained: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        values = asdict(self)
        return {"picture": values.pop("picture"), "class": values.pop("name"), **values}


@dataclass(frozen=True)
class PictureDifferences:
    """How two results for one picture differ.

    Attributes:
        matched: number of pairs that are the same up to rounding.
        examples: every detection that differs.
        moved: how many of the examples are pairs of one class and prior.
    """

    matched: int
    examples: Sequence[Example]
    moved: int = 0


class DetectionCounts:
    """Counts of detections, summed over pictures.

    Attributes:
        reference, engine: detections of each side.
        matched: pairs of one class and prior, or of two tied priors, the same up to rounding.
        explained: detections that only one side has, where rounding may be the cause.
        unexplained: those where it cannot be, and pairs that differ by more than rounding.
        moved: how many of the unexplained are such pairs.
        examples: the gravest differences; unexplained ones first, then by score.
    """

    def __init__(self) -> None:
        self.reference = self.engine = 0
        self.matched = self.explained = self.unexplained = self.moved = 0
        self.examples: list[Example] = []

    def add(self, reference: int, engine: int, found: PictureDifferences) -> None:
        """Count a picture: detections of each side, and what became of them."""
        self.reference += reference
        self.engine += engine
        self.matched += found.matched
        self.moved += found.moved
        for one in found.examples:
            self.explained += one.explained
            self.unexplained += not one.explained
            self.examples.append(one)
        self.examples.sort(key=lambda one: (one.explained, -one.score))
        del self.examples[_SHOWN:]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "reference": self.reference,
            "engine": self.engine,
            "matched": self.matched,
            "explained": self.explained,
            "unexplained": self.unexplained,
            "moved": self.moved,
            "examples": [one.to_dict() for one in self.examples],
        }


@dataclass(frozen=True, eq=False)
class Frame:
    """The context that turns a detection into an example.

    Attributes:
        picture: file name.
        size: height and width in pixels.
        description: provides the class names.
    """

    picture: str
    size: tuple[float, float]
    description: Description

    def example(
        self, found: Detections, position: int, side: str, reason: str, *, explained: bool
    ) -> Example:
        """The example for the detection at a position."""
        height, width = self.size
        x1, y1, x2, y2 = (float(v) for v in found.boxes[position])
        box = (x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height)
        rounded = (round(box[0], 3), round(box[1], 3), round(box[2], 3), round(box[3], 3))
        label = int(found.labels[position])
        known = 0 <= label < self.description.num_classes
        name = self.description.label_name(label) if known else f"class {label}"
        score = float(found.scores[position])
        return Example(self.picture, name, rounded, score, side, explained, reason)


def allowed_errors(
    reference: Heads, engine: Heads | None, precision: str, *, own_heads: bool
) -> tuple[float, float]:
    """Largest differences of loc and conf of a picture that still count as rounding.

    This is the measured difference, but never more than the limit of the precision; without the
    engine's heads it is that limit. If the heads come from another session than the detections
    (``own_heads`` false), rounding of the same kind separates the two sessions, so twice the
    measured difference is allowed, plus the limit of single precision.
    """
    errors = []
    for place in (0, 1):
        scale = scale_of(reference[place])
        limit = HEAD_LIMITS[precision] * scale
        error = limit
        if engine is not None:
            with np.errstate(invalid="ignore"):
                measured = float(np.abs(reference[place] - engine[place]).max())
            if not own_heads:
                measured = 2 * measured + HEAD_LIMITS["fp32"] * scale
            error = min(measured, limit) if np.isfinite(measured) else limit
        errors.append(error)
    return errors[0], errors[1]


def intervals_of_picture(
    heads: Heads, side: Side, errors: tuple[float, float], size: tuple[int, int]
) -> Intervals:
    """Bounds of what decode + NMS of a side may give if its heads are off by some errors.

    Args:
        heads: heads of the picture, or of all its views.
        side: the side they come from.
        errors: largest errors of loc and of conf.
        size: height and width of the decoded picture.
    """
    loc, conf = heads
    off = {"loc_error": errors[0], "conf_error": errors[1]}
    params, priors = side.params_of_picture(size), side.description.priors
    if side.tiling is None:
        edges = side.description.edges
        found = intervals_from_heads(loc, conf, priors, params, **off, edges=edges)
        if side.description.tiles is not None:
            found = _scaled(found, side.description.tiles.box_scale)
        placed = side.description.preprocessing.placement(*size)
        if placed.is_whole:
            return found
        # rounded as detections are, so that a detection between two bounds stays there
        low, high = (
            placed.picture_from_input(corners).astype(np.float32).astype(np.float64)
            for corners in (found.box_low, found.box_high)
        )
        return replace(found, box_low=low, box_high=high)
    unit = tile_of_picture(side.tiling, size)
    windows = list(side.tiling.windows(*size))
    moved = np.concatenate([priors_of_view(priors, window, unit) for window in windows])
    scale = np.array([unit[0] / size[1], unit[1] / size[0]] * 2)
    edges = edges_from_scale(scale)
    if len(windows) > 1 and side.tiling.whole:
        # small objects of the whole view are no candidates, as when tiles are merged
        own = slice(-len(priors), None)
        small = ~are_large(loc[own], moved[own], params, side.tiling, edges)
        conf = conf.copy()
        conf[own][small] = np.nan
    found = intervals_from_heads(loc, conf, moved, params, **off, edges=edges)
    # boxes as detections have them; overlaps are computed in units of the tile
    return _scaled(found, scale)


def _scaled(found: Intervals, scale: npt.NDArray[np.floating]) -> Intervals:
    """Multiply boxes by ``scale [4]`` and widen their bounds by the rounding of the product."""
    low, high = found.box_low * scale, found.box_high * scale
    margin = BOX_ROUNDING * np.maximum(np.abs(high), 1)
    return replace(found, box_low=low - margin, box_high=high + margin)


def differences_of_picture(
    reference: Detections,
    other: Detections,
    intervals: Intervals,
    frame: Frame,
    names: Sequence[str] = ("reference", "engine"),
) -> PictureDifferences:
    """Find what agrees and what differs in a picture.

    Args:
        reference: what decode + NMS gives for the heads behind the intervals.
        other: the other side's detections, with the labels and priors of the first.
        intervals: bounds computed from the reference's heads.
        frame: context of the picture.
        names: names of the two sides.
    """
    comparison = compare_detections(reference, other, intervals)
    accused = {
        (fault.label, prior): fault.text
        for fault in reversed(comparison.faults)
        for prior in fault.prior_indices
    }
    sides = {"reference": (reference, names[0]), "other": (other, names[1])}
    examples = []
    for one in comparison.differences:
        having, name = sides[one.side]
        key = one.label, one.prior_index
        at = np.flatnonzero((having.labels == key[0]) & (having.prior_indices == key[1]))
        reason = accused.get(key, one.reason)
        examples.append(frame.example(having, int(at[-1]), name, reason, explained=one.explained))
    moved = list(_moved(comparison.pairs.tolist(), other, accused, frame, names[1]))
    examples += moved
    for fault in comparison.faults:
        if not fault.prior_indices:  # about the picture as a whole
            nowhere = (0.0, 0.0, 0.0, 0.0)
            examples.append(Example(frame.picture, "", nowhere, 0.0, names[1], False, fault.text))
    return PictureDifferences(len(comparison.pairs) - len(moved), examples, len(moved))


def _moved(
    pairs: Sequence[Sequence[int]],
    other: Detections,
    accused: dict[tuple[int, int], str],
    frame: Frame,
    name: str,
) -> Iterator[Example]:
    """Examples for the pairs whose scores or boxes differ by more than rounding."""
    for _, position in pairs:
        key = int(other.labels[position]), int(other.prior_indices[position])
        if key in accused:
            yield frame.example(other, position, name, accused[key], explained=False)


def in_order(detections: Detections) -> Detections:
    """Sort into the total order: score descending, then label ascending, then prior ascending."""
    keys = (detections.prior_indices, detections.labels, -detections.scores)
    return detections[np.lexsort(keys)]
