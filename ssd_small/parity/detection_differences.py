"""Detections of two sides one to one: what only one has, and what is not the same by rounding."""

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

#: examples that are kept
_SHOWN = 20


@dataclass(frozen=True)
class Example:
    """A detection that differs.

    Attributes:
        picture: file name.
        name: of its class.
        box: (x, y, width, height) in pixels of the picture.
        score: as the side has it that has it.
        side: ``reference`` or ``engine``.
        explained: rounding may have done it.
        reason: what lies within rounding of what, or what rounding does not explain.
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
    """Two results of a picture.

    Attributes:
        matched: pairs that are the same but for rounding.
        examples: all that differs.
        moved: how many of those are pairs of one class and prior.
    """

    matched: int
    examples: Sequence[Example]
    moved: int = 0


class DetectionCounts:
    """Sums over pictures.

    Attributes:
        reference, engine: detections of each.
        matched: pairs of one class and prior, or of two priors that tie, the same but for rounding.
        explained: detections of one side alone, which rounding may have done.
        unexplained: those that it cannot have done, and pairs that are not the same by rounding.
        moved: how many of the unexplained are such pairs.
        examples: of the last two the gravest, unexplained ones of high score first.
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
    """What turns a detection into an example.

    Attributes:
        picture: file name.
        size: height and width in pixels.
        description: names the classes.
    """

    picture: str
    size: tuple[float, float]
    description: Description

    def example(
        self, found: Detections, position: int, side: str, reason: str, *, explained: bool
    ) -> Example:
        """Of the detection at a position."""
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
    """By how much loc and conf of a picture may differ and still do so by rounding.

    What was measured, and never more than the limit of the precision; the limit where the engine's
    heads cannot be had. Heads of another session than the one that gave the detections lie as far
    from its own as rounding of the same kind takes them: twice what was measured, and what single
    precision leaves open.
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
    """What decode + NMS of a side may give if its heads are so far off.

    Args:
        heads: of the picture, or of all its views.
        side: whose they are.
        errors: of loc and of conf.
        size: height and width of the picture as it was decoded.
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
        # rounded as detections are, which keeps one that lies between the two there
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
        # no candidates, as in the merging of tiles
        own = slice(-len(priors), None)
        small = ~are_large(loc[own], moved[own], params, side.tiling, edges)
        conf = conf.copy()
        conf[own][small] = np.nan
    found = intervals_from_heads(loc, conf, moved, params, **off, edges=edges)
    # boxes as detections have them; of the overlaps the unit is the tile
    return _scaled(found, scale)


def _scaled(found: Intervals, scale: npt.NDArray[np.floating]) -> Intervals:
    """Boxes times ``scale [4]``, a product that rounds: also of a box that lies at an edge."""
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
    """What of a picture agrees, and what differs.

    Args:
        reference: what decode + NMS gives for the heads of the intervals.
        other: the same picture by the other side, with the labels and priors of the first.
        intervals: of the reference's heads.
        frame: of the picture.
        names: what the two sides are called.
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
    """Of the pairs those whose score or box is not the same by rounding."""
    for _, position in pairs:
        key = int(other.labels[position]), int(other.prior_indices[position])
        if key in accused:
            yield frame.example(other, position, name, accused[key], explained=False)


def in_order(detections: Detections) -> Detections:
    """In the total order: score down, then label up, then prior up."""
    keys = (detections.prior_indices, detections.labels, -detections.scores)
    return detections[np.lexsort(keys)]
