"""COCO annotations, results and scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssd_small.artefacts.description import description_from_spec
from ssd_small.datasets.classes import match_classes
from ssd_small.datasets.coco import read_annotations
from ssd_small.errors import BadFile
from ssd_small.evaluation.coco_results import (
    columns_from_detections,
    read_results,
    results_from_detections,
)
from ssd_small.evaluation.columns import joined_columns, results_from_columns
from ssd_small.evaluation.score import score
from ssd_small.models.registry import get_spec
from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.detections import Detections

# published with the data: AP, AP50, AP75, S, M, L, AR 1, 10, 100, S, M, L
GOLDEN = (0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564)


def test_golden_detections_give_the_twelve_published_numbers(shared_data: Path) -> None:
    folder = shared_data / "coco-golden"
    truth = read_annotations(folder / "instances_val2014_100.json")
    results = read_results(folder / "instances_val2014_fakebbox100_results.json", truth).entries
    assert (len(truth.images), len(truth.boxes), len(results)) == (100, 839, 734)
    metrics = score(truth, results).metrics
    assert [round(value, 3) for value in metrics.values()] == list(GOLDEN)


def write(path: Path, boxes: list[dict], names: tuple[str, ...] = ("cat", "dog")) -> Path:
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 200, "height": 100},
            {"id": 9, "file_name": "b.png", "width": 50, "height": 50},
        ],
        "categories": [{"id": 10 * (i + 1), "name": n} for i, n in enumerate(names)],
        "annotations": boxes,
    }
    path.write_text(json.dumps(content))
    return path


def box(image: int = 7, category: int = 10, bbox: tuple = (10, 20, 30, 40), **more) -> dict:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "id": 0, **more}


def detections(boxes: list, labels: list[int]) -> Detections:
    n = len(labels)
    scores = np.linspace(0.9, 0.5, n, dtype=np.float32)
    return Detections(
        np.float32(boxes).reshape(n, 4), scores, np.int32(labels), np.arange(n, dtype=np.int32)
    )


def test_perfect_detections_score_one_even_if_an_annotation_has_id_zero(tmp_path: Path) -> None:
    truth = read_annotations(write(tmp_path / "gt.json", [box(), box(9, 20, (5, 5, 40, 40))]))
    description = description_from_spec(get_spec("vgg16"), 3, 1.0)
    ids = match_classes(truth, description.labels).ids
    assert ids == (10, 20)
    results = results_from_detections(
        detections([[0.05, 0.2, 0.2, 0.6]], [1]), truth.images[0], description, ids
    )
    np.testing.assert_allclose(results[0]["bbox"], [10, 20, 30, 40], atol=1e-4)
    results += results_from_detections(
        detections([[0.1, 0.1, 0.9, 0.9]], [2]), truth.images[1], description, ids
    )
    metrics = score(truth, results).metrics
    assert metrics["AP"] == pytest.approx(1)
    assert metrics["AP_small"] is None  # there is no small object


def test_inclusive_boxes_are_a_pixel_wider(tmp_path: Path) -> None:
    truth = read_annotations(write(tmp_path / "gt.json", [box()]))
    description = description_from_spec(get_spec("vgg16"), 3, 1.0)
    found = detections([[0.05, 0.2, 0.2, 0.6]], [1])
    args = (found, truth.images[0], description, [10, 20])
    wide = results_from_detections(*args, inclusive=True)[0]["bbox"]
    plain = results_from_detections(*args)[0]["bbox"]
    np.testing.assert_allclose(np.subtract(wide, plain), [0, 0, 1, 1], atol=1e-9)


@pytest.mark.parametrize("background", [0, 2, -1])
@pytest.mark.parametrize("inclusive", [False, True])
def test_columns_have_the_bits_of_plain_arithmetic(background: int, inclusive: bool) -> None:
    """Doubles, a multiplication and a subtraction; classes that the annotations lack left out."""
    params = PostprocessParams(background_label=background)
    description = description_from_spec(get_spec("vgg16"), 4, 1.0, params=params)
    ids = [7, None, 2**53 + 1] if background >= 0 else [7, None, 2**53 + 1, 0]
    image = {"id": 2**60 + 3, "width": 641, "height": 479.5}
    rng = np.random.default_rng(0)
    labels = [label for label in rng.integers(0, 4, 60).tolist() if label != background]
    boxes = rng.uniform(-0.2, 1.3, (len(labels), 4)).astype(np.float32)
    boxes[3, 2] = np.inf
    found = detections(boxes, labels)
    expected = []
    for (x1, y1, x2, y2), score_, label in zip(
        boxes.tolist(), found.scores.tolist(), labels, strict=True
    ):
        category = ids[label - (0 <= background < label)]
        if category is not None:
            x, y = x1 * 641, y1 * 479.5
            bbox = [x, y, x2 * 641 - x + inclusive, y2 * 479.5 - y + inclusive]
            key = {"image_id": image["id"], "category_id": category}
            expected.append({**key, "bbox": bbox, "score": score_})
    made = results_from_detections(found, image, description, ids, inclusive=inclusive)
    assert len(expected) < len(labels)
    assert made == expected
    columns = columns_from_detections(found, image, description, ids, inclusive=inclusive)
    both = joined_columns([columns, columns])
    assert list(results_from_columns(both)) == [*expected, *expected]
    assert len(joined_columns([])) == 0


def test_no_detection_scores_zero(tmp_path: Path) -> None:
    truth = read_annotations(write(tmp_path / "gt.json", [box()]))
    assert score(truth, []).metrics["AP"] == 0


def test_boxes_without_area_are_left_out_and_counted(tmp_path: Path) -> None:
    boxes = [box(), box(bbox=(1, 1, 0, 5)), box(bbox=(1, 1, 5, -1)), box(bbox=(1, "nan", 5, 5))]
    truth = read_annotations(write(tmp_path / "gt.json", boxes))
    assert (len(truth.boxes), truth.dropped) == (1, 3)


@pytest.mark.parametrize(
    ("fault", "named"),
    [({"image": 8}, "image_id 8"), ({"category": 11}, "category_id 11")],
)
def test_references_to_nothing_are_named(tmp_path: Path, fault: dict, named: str) -> None:
    with pytest.raises(BadFile, match=named):
        read_annotations(write(tmp_path / "gt.json", [box(), box(**fault)]))


@pytest.mark.parametrize(
    "entry",
    [
        {"image_id": 8, "category_id": 10, "bbox": [1, 2, 3, 4], "score": 1},
        {"image_id": 7, "category_id": 10, "bbox": [1, 2, 3], "score": 1},
        {"image_id": 7, "category_id": 10, "bbox": [1, 2, 3, 4], "score": "nan"},
        {"image_id": 7, "category_id": 10, "bbox": [1, 2, 3, 4]},
        [],
    ],
)
def test_damaged_result_files_are_refused(tmp_path: Path, entry) -> None:
    truth = read_annotations(write(tmp_path / "gt.json", [box()]))
    (tmp_path / "dt.json").write_text(json.dumps([entry]))
    with pytest.raises(BadFile, match=r"dt\.json"):
        read_results(tmp_path / "dt.json", truth)


@pytest.mark.parametrize("ids", [(0, 0, 0), (5, 6, 5), (0, 1, 2), (None, 7, 7), ("a", "b", "a")])
def test_ids_of_annotations_do_not_change_a_score(tmp_path: Path, ids: tuple) -> None:
    """Plain pycocotools drops boxes whose id another one has, and takes 0 for "not matched"."""
    boxes = [box(), box(9, 20, (5, 5, 40, 40)), box(9, 10, (0, 0, 8, 8))]
    found = [
        {"image_id": b["image_id"], "category_id": b["category_id"], "score": 0.9 - 0.1 * i}
        | {"bbox": [b["bbox"][0] + 1, *b["bbox"][1:]]}
        for i, b in enumerate(boxes)
    ]
    scores = []
    for given in ((1, 2, 3), ids):
        numbered = [b | {"id": one} for b, one in zip(boxes, given, strict=True)]
        truth = read_annotations(write(tmp_path / "gt.json", numbered))
        assert len({b["id"] for b in truth.boxes}) == 3
        assert min(b["id"] for b in truth.boxes) > 0
        scores.append(score(truth, found).metrics)
    assert scores[0] == scores[1]
    assert scores[0]["AP50"] == pytest.approx(1)


def test_ids_of_annotations_are_kept_where_they_are_different(tmp_path: Path) -> None:
    numbered = [box() | {"id": 17}, box(9) | {"id": 4}]
    truth = read_annotations(write(tmp_path / "gt.json", numbered))
    assert [b["id"] for b in truth.boxes] == [17, 4]
    assert truth.findings.problems == []
