"""Parameters of decode + NMS."""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from ..errors import UsageError

ScoreActivation = Literal["softmax", "sigmoid", "none"]
ACTIVATIONS = get_args(ScoreActivation)

#: parameters that cap what is kept, per class or per picture
CUTS = ("pre_nms_topk", "keep_topk_per_class", "keep_topk")
_MOST = 2**31 - 1
#: right and bottom edge of the picture in its own unit square
WHOLE = (1.0, 1.0)
#: limits of the 64-bit order key: 32 bits score, 10 bits label, 22 bits prior
MAX_CLASSES = 1 << 10
MAX_PRIORS = 1 << 22


@dataclass(frozen=True)
class PostprocessParams:
    """Parameters of decode + NMS; also the attributes of the DecodeNms operator.

    ``PostprocessParams()`` is the preset for deployment (bounded output, plain IoU);
    :meth:`coco` is the published evaluation protocol.

    Attributes:
        score_threshold: keep scores greater than this (after the activation).
        iou_threshold: suppress boxes whose IoU with a kept box is greater than this.
        variances: scale of the centre and of the size offsets.
        activation: function that turns conf into scores.
        background_label: class that is never detected; -1 if the network has none.
        pre_nms_topk: candidates per class that enter NMS; 0 for no cut.
        keep_topk_per_class: detections kept per class; 0 for no cut.
        keep_topk: detections kept per image; 0 for no cut.
        pixel_offset: added to widths and heights in the IoU, in unit-square units: ``1 / n`` is a
            pixel of an n x n input. The same number is used for both sides, so with an input that
            is not square it is ``width / n`` pixels across and ``height / n`` down (1/300 at
            320x240: 1.07 and 0.8), and no value makes it one pixel both ways.
        clip_boxes: clip boxes to the picture before NMS; the resulting boxes are clipped then.
    """

    score_threshold: float = 0.01
    iou_threshold: float = 0.6
    variances: tuple[float, float] = (0.1, 0.2)
    activation: ScoreActivation = "softmax"
    background_label: int = 0
    pre_nms_topk: int = 400
    keep_topk_per_class: int = 100
    keep_topk: int = 200
    pixel_offset: float = 0.0
    clip_boxes: bool = False

    def __post_init__(self) -> None:
        # ints are accepted for floats, but must be converted: an artefact stores the given type
        self._convert("variances", lambda given: tuple(float(v) for v in given), "two numbers")
        for name in ("score_threshold", "iou_threshold", "pixel_offset"):
            self._convert(name, float, "a number")
        for name in ("background_label", *CUTS):
            self._convert(name, lambda given: int(operator.index(given)), "a whole number")
        self._convert("clip_boxes", _truth_value, "true or false")
        for name, fault in self._faults():
            raise UsageError(
                f"post-processing parameter {name}: got {getattr(self, name)!r}, {fault}"
            )

    def _convert(self, name: str, convert: Callable[[Any], Any], expected: str) -> None:
        given = getattr(self, name)
        try:
            object.__setattr__(self, name, convert(given))
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(
                f"post-processing parameter {name}: got {given!r}, expected {expected}"
            ) from error

    def _faults(self) -> Iterator[tuple[str, str]]:
        # the backends compute in float32, so a value counts as infinite or 0 if it is so there
        if not math.isfinite(_float32(self.score_threshold)):
            yield "score_threshold", "expected a finite number (float32)"
        if not 0 <= self.iou_threshold <= 1:
            yield "iou_threshold", "expected a number from 0 to 1"
        if len(self.variances) != 2 or not all(0 < _float32(v) < math.inf for v in self.variances):
            yield "variances", "expected two positive numbers (float32)"
        if self.activation not in ACTIVATIONS:
            yield "activation", "expected softmax, sigmoid or none"
        if not -1 <= self.background_label < MAX_CLASSES:
            yield "background_label", f"expected -1 (none) to {MAX_CLASSES - 1}"
        for name in CUTS:
            if not 0 <= getattr(self, name) <= _MOST:
                yield name, "expected 0 (no cut) or a positive number below 2**31"
        offset = _float32(self.pixel_offset)
        if not (0 < offset < math.inf or self.pixel_offset == 0):
            yield "pixel_offset", "expected a number of at least 0 (float32)"

    @property
    def operator_version(self) -> int:
        """The first version of the DecodeNms operator and plugin that supports these parameters."""
        return 2 if self.clip_boxes else 1

    @classmethod
    def coco(cls) -> PostprocessParams:
        """The published COCO protocol: no pre-NMS cut, 100 per class, no global cut.

        IoU follows the "+1 pixel" convention of the original at 300 x 300 pixels.
        """
        return cls(pre_nms_topk=0, keep_topk_per_class=100, keep_topk=0, pixel_offset=1 / 300)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PostprocessParams:
        """Rebuild parameters from :meth:`to_dict`, refusing names that do not exist."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"unknown post-processing parameter {unknown[0]!r}; known: {known}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name.

        ``clip_boxes`` is left out if false, so that files stay as every version writes and reads
        them.
        """
        values = asdict(self) | {"variances": list(self.variances)}
        if not self.clip_boxes:
            del values["clip_boxes"]
        return values

    def of_views(self, count: int, kept: Collection[str] = ()) -> PostprocessParams:
        """A copy with the cuts multiplied by the number of views of a picture, such as tiles.

        ``kept`` names cuts that stay as they are.
        """
        cuts = {name: getattr(self, name) for name in CUTS if name not in kept}
        return replace(self, **{name: min(cut * count, _MOST) for name, cut in cuts.items()})

    def max_detections(self, num_priors: int, num_classes: int) -> int:
        """K, the most detections one image can give with heads of this size."""
        foreground = num_classes - (0 <= self.background_label < num_classes)
        cuts = [cut for cut in (self.pre_nms_topk, self.keep_topk_per_class) if cut]
        total = foreground * min([num_priors, *cuts])
        return min(total, self.keep_topk) if self.keep_topk else total


def _truth_value(given: Any) -> bool:
    """Convert Python's or numpy's bool; numbers and strings are refused."""
    if type(given).__name__ not in ("bool", "bool_"):
        raise TypeError
    return bool(given)


def _float32(value: float) -> float:
    """The float32 nearest to a number; infinite if that overflows."""
    return ctypes.c_float(value).value
