"""Pascal VOC's metric beside the package mean-average-precision, on boxes that crowd each other.

It matches as VOC's kit does, with whole pixels. What differs is taken into account: it counts
difficult objects among those to be found, which scales its recall; it mixes up which boxes of a
picture and class are difficult, so here all of them are or none; it compares IoU > 0.5, and no IoU
drawn here is a half; the order of equal scores is left to chance, and none are equal.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from mean_average_precision import MetricBuilder

from ssd_small.datasets.coco import Annotations
from ssd_small.evaluation.voc_score import voc_score

CLASSES, IMAGES = 3, 12


def drawn(seed: int, difficult: float) -> tuple[Annotations, list[dict]]:
    """Overlapping boxes of whole pixels, some difficult, and detections around them."""
    draw = random.Random(seed)
    boxes, entries = [], []
    for image in range(IMAGES):
        hard = [int(draw.random() < difficult) for _ in range(CLASSES)]
        for _ in range(6):
            category = draw.randrange(CLASSES)
            x, y = draw.randint(0, 50), draw.randint(0, 50)
            w, h = draw.randint(10, 40), draw.randint(10, 40)
            boxes.append(
                {
                    "image_id": image,
                    "category_id": category,
                    "bbox": [float(v) for v in (x, y, w, h)],
                    "iscrowd": 0,
                    "difficult": hard[category],
                }
            )
    scores = draw.sample(range(100000), 40 * IMAGES)
    for score in scores:
        box = draw.choice(boxes)
        bbox = [v + draw.uniform(-5, 5) for v in box["bbox"]]
        category = box["category_id"] if draw.random() < 0.7 else draw.randrange(CLASSES)
        entries.append(
            {
                "image_id": box["image_id"],
                "category_id": category,
                "bbox": bbox,
                "score": score / 1e5,
            }
        )
    images = tuple({"id": i, "file_name": f"{i}", "width": 99, "height": 99} for i in range(IMAGES))
    categories = tuple({"id": i, "name": f"c{i}"} for i in range(CLASSES))
    return Annotations(Path("truth"), images, categories, tuple(boxes), 0), entries


def pixels(bbox: list[float]) -> list[float]:
    """xmin, ymin, xmax, ymax of VOC, counted from 1, the last ones included."""
    x, y, w, h = bbox
    return [x + 1, y + 1, x + w, y + h]


@pytest.mark.parametrize("difficult", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_both_rules_give_the_same_ap(seed: int, difficult: float) -> None:
    annotations, entries = drawn(seed, difficult)
    metric = MetricBuilder.build_evaluation_metric("map_2d", async_mode=False, num_classes=CLASSES)
    for image in range(IMAGES):
        truth = [
            [*pixels(box["bbox"]), box["category_id"], box["difficult"], 0]
            for box in annotations.boxes
            if box["image_id"] == image
        ]
        found = [
            [*pixels(one["bbox"]), one["category_id"], one["score"]]
            for one in entries
            if one["image_id"] == image
        ]
        metric.add(np.array(found).reshape(-1, 6), np.array(truth).reshape(-1, 7))
    by_points, by_area = (voc_score(annotations, entries, rule) for rule in ("voc07", "voc12"))
    for key in range(CLASSES):
        of_class = [box for box in annotations.boxes if box["category_id"] == key]
        share = sum(not box["difficult"] for box in of_class) / len(of_class)
        assert 0 < share <= 1
        # a little less, since a recall of k / 10 can be 2**-53 under the tenth
        recalls = (np.arange(11) / 10 - 1e-9) * share
        theirs = metric.value(iou_thresholds=0.5, recall_thresholds=recalls)[0.5][key]["ap"]
        # it rounds to single precision
        assert by_points.classes[key].ap == pytest.approx(float(theirs), rel=2**-23)
        theirs = metric.value(iou_thresholds=0.5)[0.5][key]["ap"]
        assert by_area.classes[key].ap == pytest.approx(float(theirs) / share, rel=2**-22)
        assert 0.1 < by_area.classes[key].ap < 0.9
