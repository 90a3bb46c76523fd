"""The COCO metric of a list of results; the scoring is pycocotools', in a single run."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations
from ..requirements import require
from .operating_point import IOU, Matches, operating_point

#: the twelve numbers, in pycocotools' order
METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)
#: detections of a class and image that count, the best ones
_MOST = 100


@dataclass(frozen=True, eq=False)
class ClassScore:
    """What a metric says of one class, boxes of all sizes.

    Attributes:
        name: of the category.
        aps: ``AP`` as the metric defines it, COCO's beside it ``AP50``; None without ground truth.
        boxes: ground truth that counts, crowds (or difficult objects) left out.
        detections: entries of the results.
        matches: which of its detections are right at IoU 0.5.
    """

    name: str
    aps: Mapping[str, float | None]
    boxes: int
    detections: int
    matches: Matches

    @property
    def ap(self) -> float | None:
        """Average precision: COCO's is the mean over IoU 0.50 to 0.95, VOC's that at 0.5."""
        return self.aps["AP"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        counts = {"boxes": self.boxes, "detections": self.detections}
        return {"name": self.name, **self.aps, **counts}


@dataclass(frozen=True, eq=False)
class Scores:
    """What a metric says.

    Attributes:
        metrics: the twelve COCO numbers, or VOC's ``AP``, 0 to 1; None where there is no ground
            truth (of that size).
        classes: each category, in the order of their ids.
    """

    metrics: dict[str, float | None]
    classes: tuple[ClassScore, ...]

    def operating_point(self, thresholds: Sequence[float]) -> dict[str, Any]:
        """Precision and recall at a score threshold per class; see :func:`operating_point`."""
        names = [one.name for one in self.classes]
        return operating_point(names, [one.matches for one in self.classes], thresholds)

    @property
    def surplus(self) -> int:
        """Detections that do not count, since their class and image have 100 better ones."""
        return sum(one.detections - len(one.matches.scores) for one in self.classes)


def score(annotations: Annotations, results: Sequence[dict[str, Any]]) -> Scores:
    """COCO's metric of result entries (:func:`ssd_small.evaluation.coco_results.read_results`).

    Raises:
        MissingRequirement: pycocotools is missing.
    """
    require("pycocotools", "scoring")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def indexed(boxes: Sequence[dict[str, Any]]) -> Any:
        data = COCO()
        data.dataset = {
            "images": list(annotations.images),
            "categories": list(annotations.categories),
            "annotations": list(boxes),
        }
        data.createIndex()
        return data

    found = [
        {**entry, "id": i + 1, "iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3]}
        for i, entry in enumerate(results)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(indexed(annotations.boxes), indexed(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {
        name: None if value < 0 else float(value)
        for name, value in zip(METRICS, evaluation.stats, strict=True)
    }
    return Scores(metrics, _classes(evaluation, annotations, results))


def _classes(
    evaluation: Any, annotations: Annotations, results: Sequence[dict[str, Any]]
) -> tuple[ClassScore, ...]:
    """Each class of an evaluation that has been accumulated."""
    params = evaluation.params
    names = {category["id"]: str(category["name"]) for category in annotations.categories}
    detections = Counter(entry["category_id"] for entry in results)
    at_iou = int(np.flatnonzero(params.iouThrs == IOU)[0])
    area = params.areaRngLbl.index("all")
    # [T, R, K, A, M] -> [T, R, K]: IoU, recall, class; -1 without ground truth
    precision = evaluation.eval["precision"][:, :, :, area, params.maxDets.index(_MOST)]
    images = len(params.imgIds)
    classes = []
    for k, key in enumerate(params.catIds):
        # evalImgs is the flat list [K, A, I], None where an image has nothing of the class
        first = (k * len(params.areaRng) + area) * images
        entries = [e for e in evaluation.evalImgs[first : first + images] if e is not None]
        matches = _matches(entries, at_iou)
        classes.append(
            ClassScore(
                names[key],
                {"AP": _mean(precision[:, :, k]), "AP50": _mean(precision[at_iou, :, k])},
                matches.boxes,
                detections[key],
                matches,
            )
        )
    return tuple(classes)


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]
    return float(np.mean(known)) if known.size else None


def _matches(entries: Sequence[dict[str, Any]], at_iou: int) -> Matches:
    """Matches of one class from pycocotools' entries of the images.

    ``dtMatches`` and ``dtIgnore`` are ``[T, D]``, the id of the box that a detection matches (0 for
    none) and whether that counts; ``gtIgnore`` is ``[G]``.
    """
    none = np.zeros(0, bool)
    matched = np.concatenate([none, *(entry["dtMatches"][at_iou] > 0 for entry in entries)])
    counts = np.concatenate([none, *(entry["dtIgnore"][at_iou] == 0 for entry in entries)])
    return Matches(
        np.array([score for entry in entries for score in entry["dtScores"]], np.float32),
        matched & counts,
        ~matched & counts,
        sum(int(np.count_nonzero(entry["gtIgnore"] == 0)) for entry in entries),
    )
