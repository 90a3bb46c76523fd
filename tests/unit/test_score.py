"""AP of each class, and precision and recall at a score threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hotcoco", reason="needs hotcoco")

from ssd_small.datasets.coco import Annotations, read_annotations
from ssd_small.evaluation.coco_results import read_results
from ssd_small.evaluation.score import score

CAT, DOG, COW = 10, 20, 30
A, B, FAR = [10.0, 10.0, 20.0, 20.0], [50.0, 50.0, 20.0, 20.0], [80.0, 5.0, 10.0, 10.0]

Entry = dict[str, Any]


def truth(*boxes: tuple[int, list[float]], crowds: Sequence[tuple[int, list[float]]] = ()):
    """One picture, three categories: (category, [x, y, w, h]) of its objects."""
    every = [(*box, 0) for box in boxes] + [(*box, 1) for box in crowds]
    return Annotations(
        Path("truth"),
        ({"id": 7, "file_name": "a.png", "width": 100, "height": 100},),
        tuple(
            {"id": key, "name": name} for key, name in ((CAT, "cat"), (DOG, "dog"), (COW, "cow"))
        ),
        tuple(
            {
                "id": i + 1,
                "image_id": 7,
                "category_id": category,
                "bbox": bbox,
                "area": bbox[2] * bbox[3],
                "iscrowd": crowd,
            }
            for i, (category, bbox, crowd) in enumerate(every)
        ),
        0,
    )


def found(category: int, bbox: list[float], score: float) -> Entry:
    return {"image_id": 7, "category_id": category, "bbox": bbox, "score": score}


def counts(point: dict[str, Any]) -> tuple[int, int, int]:
    return point["true_positives"], point["false_positives"], point["missed"]


def cats(annotations: Annotations, *entries: Entry, above: float = 0.5) -> dict[str, Any]:
    """The operating point of the class cat."""
    point = score(annotations, entries).operating_point([above] * 3)
    (cat,) = (one for one in point["classes"] if one["name"] == "cat")
    # the other classes have neither boxes nor detections
    assert counts(point) == counts(cat)
    return cat


def test_a_duplicate_is_a_false_positive() -> None:
    cat = cats(truth((CAT, A)), found(CAT, A, 0.8), found(CAT, A, 0.9))
    assert counts(cat) == (1, 1, 0)
    assert (cat["precision"], cat["recall"]) == (0.5, 1.0)


def test_the_higher_score_has_the_box_even_if_the_lower_one_lies_better() -> None:
    shifted = [12.0, 10.0, 20.0, 20.0]  # IoU 18 / 22
    cat = cats(truth((CAT, A)), found(CAT, A, 0.8), found(CAT, shifted, 0.9), above=0.85)
    assert counts(cat) == (1, 0, 0)


def test_a_box_that_nothing_finds_is_missed() -> None:
    cat = cats(truth((CAT, A), (CAT, B)), found(CAT, A, 0.9), found(CAT, FAR, 0.6))
    assert counts(cat) == (1, 1, 1)
    assert (cat["precision"], cat["recall"]) == (0.5, 0.5)


def test_a_match_of_a_crowd_counts_neither_way() -> None:
    annotations = truth((CAT, A), crowds=[(CAT, B)])
    inside = [55.0, 55.0, 5.0, 5.0]  # a crowd is matched by what lies in it
    entries = [found(CAT, A, 0.9), found(CAT, B, 0.9), found(CAT, inside, 0.8)]
    assert counts(cats(annotations, *entries)) == (1, 0, 0)
    # beside the crowd it is an ordinary mistake
    assert counts(cats(annotations, *entries, found(CAT, FAR, 0.7))) == (1, 1, 0)
    assert score(annotations, entries).classes[0].boxes == 1


@pytest.mark.parametrize(("height", "expected"), [(10.0, (1, 0, 0)), (9.9, (0, 1, 1))])
def test_boxes_match_from_an_iou_of_a_half(height: float, expected: tuple[int, int, int]) -> None:
    assert counts(cats(truth((CAT, A)), found(CAT, [10.0, 10.0, 20.0, height], 0.9))) == expected


def test_the_class_must_be_right() -> None:
    point = score(truth((CAT, A)), [found(DOG, A, 0.9)]).operating_point([0.5] * 3)
    assert counts(point) == (0, 1, 1)
    cat, dog, cow = point["classes"]
    assert (counts(cat), cat["precision"], cat["recall"]) == ((0, 0, 1), None, 0.0)
    assert (counts(dog), dog["precision"], dog["recall"]) == ((0, 1, 0), 0.0, None)
    assert (counts(cow), cow["precision"], cow["recall"]) == ((0, 0, 0), None, None)


# 0.7 in float32 is less than the decimal a file holds, 0.3 is more
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.3])
def test_a_score_must_be_greater_than_the_threshold(threshold: float) -> None:
    single = np.float32(threshold)
    scores = [threshold, float(single)]
    entries = [found(CAT, A, number) for number in scores]
    assert counts(cats(truth((CAT, A)), *entries, above=threshold)) == (0, 0, 1)
    next_one = float(np.nextafter(single, np.float32(1)))
    entries.append(found(CAT, A, next_one))
    assert counts(cats(truth((CAT, A)), *entries, above=threshold)) == (1, 0, 0)


def test_each_class_has_its_threshold_and_the_total_is_their_sum() -> None:
    annotations = truth((CAT, A), (DOG, B), (DOG, A))
    entries = [found(CAT, A, 0.6), found(DOG, B, 0.6), found(DOG, FAR, 0.6)]
    scores = score(annotations, entries)
    point = scores.operating_point([0.7, 0.5, 0.5])
    assert [counts(one) for one in point["classes"]] == [(0, 0, 1), (1, 1, 1), (0, 0, 0)]
    assert [one["score_threshold"] for one in point["classes"]] == [0.7, 0.5, 0.5]
    assert counts(point) == (1, 1, 2)
    assert (point["precision"], point["recall"]) == (1 / 2, 1 / 3)
    assert (point["score_threshold"], point["iou"]) == (None, 0.5)
    assert scores.operating_point([0.5] * 3)["score_threshold"] == 0.5


def test_a_hundred_detections_of_a_class_and_image_count() -> None:
    entries = [found(CAT, FAR, 0.6 + i / 1000) for i in range(120)]
    scores = score(truth((CAT, A)), [*entries, found(CAT, A, 0.55), found(DOG, A, 0.9)])
    assert scores.surplus == 21
    assert scores.classes[0].detections == 121
    assert counts(scores.operating_point([0.5] * 3)["classes"][0]) == (0, 100, 1)


def test_classes_are_listed_with_what_they_have() -> None:
    annotations = truth((CAT, A), (CAT, B), crowds=[(COW, A)])
    entries = [found(CAT, A, 0.9), found(DOG, A, 0.9)]
    cat, dog, cow = (one.to_dict() for one in score(annotations, entries).classes)
    # one of two boxes found: precision 1 up to recall 0.5, 51 of the 101 points
    half = pytest.approx(51 / 101)
    aps = {"AP": half, "AP50": half, "ap": half, "ap50": half}
    assert cat == {"name": "cat", **aps, "boxes": 2, "detections": 1}
    nothing = {**dict.fromkeys(aps), "boxes": 0}
    assert dog == {"name": "dog", **nothing, "detections": 1}
    assert cow == {"name": "cow", **nothing, "detections": 0}


def test_without_detections_everything_is_missed() -> None:
    scores = score(truth((CAT, A), (DOG, B)), [])
    assert [one.ap for one in scores.classes] == [0.0, 0.0, None]
    point = scores.operating_point([0.5] * 3)
    assert (counts(point), point["precision"], point["recall"]) == ((0, 0, 2), None, 0.0)


@pytest.fixture(scope="module")
def golden_results(shared_data: Path) -> tuple[Annotations, list[Entry]]:
    folder = shared_data / "coco-golden"
    annotations = read_annotations(folder / "instances_val2014_100.json")
    name = "instances_val2014_fakebbox100_results.json"
    return annotations, read_results(folder / name, annotations).entries


def test_ap_of_a_class_is_that_of_a_run_on_it_alone(golden_results) -> None:
    annotations, entries = golden_results
    scores = score(annotations, entries)
    known = [one.ap for one in scores.classes if one.ap is not None]
    # the metric's mean is taken over the same numbers, of the classes with ground truth
    assert scores.metrics["AP"] == pytest.approx(np.mean(known), abs=1e-12)
    by_name = {one.name: one for one in scores.classes}
    for category in annotations.categories[::9]:
        boxes, own = (
            [one for one in every if one["category_id"] == category["id"]]
            for every in (annotations.boxes, entries)
        )
        alone = score(replace(annotations, categories=(category,), boxes=tuple(boxes)), own).metrics
        both = by_name[str(category["name"])]
        assert (both.aps["AP"], both.aps["AP50"]) == (alone["AP"], alone["AP50"])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9])
def test_counts_are_those_of_a_run_on_what_is_above(golden_results, threshold: float) -> None:
    """Matching goes by descending score, so what is left out takes no part in it."""
    annotations, entries = golden_results
    above = [one for one in entries if np.float32(one["score"]) > np.float32(threshold)]
    classes = len(annotations.categories)
    expected = score(annotations, above).operating_point([-1.0] * classes)
    point = score(annotations, entries).operating_point([threshold] * classes)
    assert [counts(one) for one in point["classes"]] == [counts(c) for c in expected["classes"]]
    # 839 annotated, 9 of them crowds
    assert point["true_positives"] + point["missed"] == 830
