"""Score thresholds as users give them: one number, or numbers by class name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..configs.class_names import composed
from ..errors import UsageError
from ..postprocess import Detections

#: a number for all classes, or numbers by class name, where None stands for all other classes
ScoreThreshold = float | Mapping[str | None, float] | Mapping[str, float]

#: default threshold, unless the engine's own is larger
USUAL = 0.5
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class ScoreFilter:
    """Keeps detections whose score is greater than the threshold of their class.

    Attributes:
        by_label: ``[C]`` float32, a threshold per column of conf; infinite to hide a class.
    """

    by_label: npt.NDArray[np.float32]

    def __call__(self, detections: Detections) -> Detections:
        """The detections that pass, in the same order."""
        return detections[detections.scores > self.by_label[detections.labels]]

    @property
    def lowest(self) -> float:
        """The smallest threshold of any class."""
        return float(self.by_label.min())

    def best_score(self, detections: Detections) -> float | None:
        """The best score among the classes that are not hidden, whether or not it passes."""
        scores = detections.scores[np.isfinite(self.by_label[detections.labels])]
        return float(scores.max()) if len(scores) else None


def score_filter(
    threshold: ScoreThreshold | None,
    description: Description,
    own: float,
    *,
    is_bound: bool,
    only: Sequence[str] | None = None,
) -> ScoreFilter:
    """The filter that ``threshold`` asks for.

    Args:
        threshold: a number, or numbers by class name; classes that are not named get the value of
            the key None, else the default. None for the default: the threshold of the
            description's operating point, else 0.5; or ``own`` if larger.
        description: description of the network, which names the classes.
        own: threshold with which decode + NMS run.
        is_bound: decode + NMS are inside the engine, which returns nothing below ``own``.
        only: names of the classes to show; None for all.

    Raises:
        UsageError: a class is unknown, or a threshold is not a finite number or, for a bound
            engine, below ``own``.
    """
    background = description.postprocess.background_label
    point = description.operating_point
    detectable = [label for label in range(description.num_classes) if label != background]
    by_label = np.full(description.num_classes, np.inf, np.float32)
    names = [description.label_name(label) for label in detectable]
    by_label[detectable] = thresholds_by_class(
        threshold,
        names,
        own,
        usual=USUAL if point is None else point.score_threshold,
        holder="this network",
        refusal="with which decode + NMS were built into this engine: it gives nothing under that; "
        f"ask for {own:g} or more, or export the network with a lower score threshold"
        if is_bound
        else None,
    )
    if only is not None:
        shown = _shown(only, names)
        by_label[[label for label, is_one in zip(detectable, shown, strict=True) if not is_one]] = (
            np.inf
        )
    return ScoreFilter(by_label)


def _shown(only: Sequence[str], names: Sequence[str]) -> list[bool]:
    """Whether each class is among those to show; classes of the same name go together."""
    if isinstance(only, str) or not all(isinstance(name, str) for name in only) or not only:
        raise UsageError(f"--only {only!r}: expected names of classes, at least one")
    known, asked = [composed(name) for name in names], {composed(name): name for name in only}
    for name, given in asked.items():
        if name not in known:
            raise UsageError(
                f"--only names class {given!r}, which this network does not have; its classes are "
                f"{', '.join(names[:20])}" + (", ..." if len(names) > 20 else "")
            )
    return [name in asked for name in known]


def thresholds_by_class(
    threshold: ScoreThreshold | None,
    names: Sequence[str],
    own: float,
    *,
    usual: float = USUAL,
    holder: str,
    refusal: str | None = None,
) -> list[float]:
    """The threshold of each class, to be compared as float32, since scores are float32.

    Args:
        threshold: see :func:`score_filter`.
        names: class names; classes of the same name share a threshold.
        own: threshold with which the scores were computed.
        usual: default threshold, unless ``own`` is larger.
        holder: what has these classes, for messages.
        refusal: why thresholds below ``own`` are impossible and what to do, to follow the two
            numbers in the message; None if they are possible.

    Raises:
        UsageError: a class is unknown, or a threshold is not a finite number or is refused.
    """
    named: dict[object, object] = {None: None}
    if isinstance(threshold, Mapping):
        named.update(threshold.items())
    else:
        named[None] = threshold
    least = own if refusal is not None else -math.inf
    asked = named.pop(None, None)
    default = _number(max(usual, own) if asked is None else asked, "", least, refusal)
    known = [composed(name) for name in names]
    named = {composed(k) if isinstance(k, str) else k: value for k, value in named.items()}
    every = set(known)
    for name in named:
        if name not in every:
            raise UsageError(
                f"--score-threshold names class {name!r}, which {holder} does not have; its "
                f"classes are {', '.join(names[:20])}" + (", ..." if len(names) > 20 else "")
            )
    numbers = {name: _number(v, f" of {name}", least, refusal) for name, v in named.items()}
    return [numbers.get(name, default) for name in known]


def _number(value: object, of: str, least: float, refusal: str | None) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"--score-threshold{of}: got {value!r}, expected a number or a dict")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _LARGEST:
        raise UsageError(f"--score-threshold{of}: got {number}, expected a finite number (float32)")
    if np.float32(number) < np.float32(least):
        raise UsageError(f"--score-threshold{of} {number:g} is below {least:g}, {refusal}")
    return number
