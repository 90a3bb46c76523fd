"""Average precision of resampled pictures: the same numbers as the metric's, whatever is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_small.datasets.coco import Annotations, annotations_from_content
from ssd_small.evaluation.score import score
from ssd_small.parity.match_tables import AREAS, match_tables
from ssd_small.parity.resampling import mean_precisions, paired_intervals

IMAGES, CLASSES = 6, 3
METRICS = {"all": "AP", "small": "AP_small", "medium": "AP_medium", "large": "AP_large"}
Entries = list[dict[str, Any]]


def truth_of(boxes: Entries, copies: Sequence[int] = (1,) * IMAGES) -> tuple[Annotations, Any]:
    """Annotations with some images several times, and what makes the same of entries."""
    ids = {i: [100 * c + i for c in range(copies[i])] for i in range(IMAGES)}

    def copied(entries: Entries) -> Entries:
        return [{**e, "image_id": key} for e in entries for key in ids[e["image_id"]]]

    images = [
        {"id": key, "file_name": f"{key}.png", "width": 640, "height": 480}
        for keys in ids.values()
        for key in keys
    ]
    content = {
        "images": images,
        "categories": [{"id": k + 1, "name": f"class {k}"} for k in range(CLASSES)],
        "annotations": [{**box, "id": i + 1} for i, box in enumerate(copied(boxes))],
    }
    return annotations_from_content(content, Path("truth.json")), copied


def made_up(seed: int) -> tuple[Entries, Entries]:
    """Objects of all sizes, a crowd among them, and detections near them and elsewhere."""
    rng = np.random.default_rng(seed)
    boxes, found = [], []
    for image in range(IMAGES):
        for _ in range(8):
            side = float(rng.choice([12.0, 25.0, 50.0, 130.0]))
            x, y = rng.uniform(0, 300, 2)
            category = int(rng.integers(1, CLASSES + 1))
            box = [float(x), float(y), side, side]
            boxes.append(
                {
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": side * side,
                    "iscrowd": int(rng.random() < 0.1),
                }
            )
            for _ in range(int(rng.integers(0, 4))):
                near = (np.array(box) + rng.normal(0, side / 12, 4)).tolist()
                # scores of two digits: some are equal
                score_of = round(float(rng.random()), 2)
                kind = category if rng.random() < 0.8 else int(rng.integers(1, CLASSES + 1))
                found.append(
                    {"image_id": image, "category_id": kind, "bbox": near, "score": score_of}
                )
    return boxes, found


@pytest.mark.parametrize("seed", range(4))
def test_without_resampling_the_numbers_are_the_metric_s(seed: int) -> None:
    boxes, found = made_up(seed)
    truth, _ = truth_of(boxes)
    own = mean_precisions(match_tables(truth, found), np.ones((1, IMAGES), np.int64))
    told = score(truth, found).metrics
    for area, metric in METRICS.items():
        # sums of the same 101 * 10 * 3 terms in another order
        assert own[area][0] == pytest.approx(told[metric], abs=1e-12), area


@pytest.mark.parametrize("draw", [(2, 0, 1, 3, 0, 0), (0, 0, 0, 0, 0, 6), (1, 1, 0, 2, 2, 0)])
def test_a_picture_drawn_twice_counts_as_two_pictures(draw: tuple[int, ...]) -> None:
    boxes, found = made_up(1)
    # copies of a picture stand beside each other only where no other picture has the same score
    found = [{**one, "score": one["score"] + i * 1e-6} for i, one in enumerate(found)]
    whole, _ = truth_of(boxes)
    own = mean_precisions(match_tables(whole, found), np.array([draw]))
    copies, copied = truth_of(boxes, draw)
    told = score(copies, copied(found)).metrics
    for area, metric in METRICS.items():
        if told[metric] is None:
            assert np.isnan(own[area][0])
        else:
            assert own[area][0] == pytest.approx(told[metric], abs=1e-12), area


def test_equal_results_leave_no_room_for_a_difference() -> None:
    boxes, found = made_up(2)
    tables = match_tables(truth_of(boxes)[0], found)
    intervals = paired_intervals(tables, tables, IMAGES)
    assert intervals.resamples == 1000
    assert intervals.by_area == dict.fromkeys(AREAS, (0.0, 0.0))


def test_an_interval_is_of_the_engine_less_the_reference_and_the_same_each_time() -> None:
    boxes, found = made_up(3)
    truth, _ = truth_of(boxes)
    worse = [{**one, "score": 0.01} if one["image_id"] < 3 else one for one in found[::2]]
    before, after = match_tables(truth, found), match_tables(truth, worse)
    first, again = (paired_intervals(before, after, IMAGES) for _ in range(2))
    assert first == again
    ends = first.by_area["all"]
    assert ends is not None
    low, high = ends
    metrics = [score(truth, entries).metrics["AP"] for entries in (found, worse)]
    assert metrics[0] is not None
    assert metrics[1] is not None
    assert low < metrics[1] - metrics[0] < high
    assert high < 0  # half of the detections are gone


def test_without_objects_of_a_size_there_is_no_interval() -> None:
    boxes, found = made_up(0)
    small = [box for box in boxes if box["area"] < 32**2]
    tables = match_tables(truth_of(small)[0], found)
    assert paired_intervals(tables, tables, IMAGES).by_area["large"] is None
