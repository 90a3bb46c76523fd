"""Score thresholds as people give them: one number, or numbers by class name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..errors import UsageError
from ..postprocess import Detections

#: a number for all classes; or by class name, None naming all the others
ScoreThreshold = float | Mapping[str | None, float] | Mapping[str, float]

#: what is shown unless asked otherwise, if the engine's own threshold is not larger
USUAL = 0.5
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class ScoreFilter:
    """Keeps detections whose score is greater than their class' threshold.

    Attributes:
        by_label: ``[C]`` float32, a threshold per column of conf.
    """

    by_label: npt.NDArray[np.float32]

    def __call__(self, detections: Detections) -> Detections:
        """The detections that pass, in the same order."""
        return detections[detections.scores > self.by_label[detections.labels]]

    @property
    def lowest(self) -> float:
        """The smallest threshold of any class."""
        return float(self.by_label.min())


def score_filter(
    threshold: ScoreThreshold | None, description: Description, own: float, *, is_bound: bool
) -> ScoreFilter:
    """The filter that ``threshold`` asks for.

    Args:
        threshold: a number, or numbers by class name; classes that are not named keep the
            default (or that of the key None). None for the default: the larger of 0.5 and ``own``.
        description: names the classes.
        own: threshold with which decode + NMS run.
        is_bound: decode + NMS are inside the engine, where nothing under ``own`` comes out.

    Raises:
        UsageError: an unknown class, not a finite number, or one below ``own`` of a bound engine.
    """
    named: dict[object, object] = {None: None}
    if isinstance(threshold, Mapping):
        named.update(threshold.items())
    else:
        named[None] = threshold
    usual = named.pop(None, None)
    usual = max(USUAL, own) if usual is None else usual
    by_label = np.full(description.num_classes, _number(usual, "", own, is_bound), np.float32)
    for name, value in named.items():
        labels = description.labels_named(name) if isinstance(name, str) else []
        if not labels:
            raise UsageError(
                f"score_threshold names class {name!r}, which this network does not have; its "
                f"classes are {', '.join(description.labels[:20])}"
                + (", ..." if len(description.labels) > 20 else "")
            )
        by_label[labels] = _number(value, f" of {name}", own, is_bound)
    return ScoreFilter(by_label)


def _number(value: object, of: str, own: float, is_bound: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"score_threshold{of}: got {value!r}, expected a number or a dict")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _LARGEST:
        raise UsageError(f"score_threshold{of}: got {number}, expected a finite number (float32)")
    if is_bound and np.float32(number) < np.float32(own):
        raise UsageError(
            f"score_threshold{of} {number:g} is below {own:g}, with which decode + NMS were built "
            f"into this engine: it gives nothing under that; ask for {own:g} or more, or export "
            "the network with a lower score threshold"
        )
    return number
