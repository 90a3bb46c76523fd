"""Results as supervision's Detections."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import supervision
from hand_made_results import (
    BOXES,
    CLASSES,
    HEIGHT,
    INDICES,
    LABELS,
    NAMES,
    SCORES,
    WIDTH,
    many_found,
    none_found,
    two_found,
)
from PIL import Image
from supervision.metrics import MeanAveragePrecision


@pytest.mark.parametrize("background", sorted(LABELS))
def test_classes_are_positions_in_the_names_of_the_detector(background):
    given = two_found(background).to_supervision()
    assert given.xyxy.tolist() == [list(box) for box in BOXES]
    assert given.confidence.tolist() == [float(np.float32(score)) for score in SCORES]
    assert given.class_id.tolist() == list(INDICES)
    assert given["class_name"].tolist() == list(NAMES) == [CLASSES[i] for i in given.class_id]


def test_numbers_are_equal_to_the_bit_and_have_memory_of_their_own():
    found = many_found()
    given = found.to_supervision()
    assert given.xyxy.dtype == given.confidence.dtype == np.float32
    assert np.array_equal(given.xyxy, found.boxes)
    assert np.array_equal(given.confidence, found.scores)
    assert not np.shares_memory(given.xyxy, found.boxes)
    assert not np.shares_memory(given.confidence, found.scores)


def test_a_result_without_detections_is_empty():
    given = none_found().to_supervision()
    assert given.is_empty()
    assert given.xyxy.shape == (0, 4)
    assert given["class_name"].shape == given.class_id.shape == given.confidence.shape == (0,)
    assert np.issubdtype(given.class_id.dtype, np.integer)
    assert given["class_name"].dtype.kind == "U"


def test_results_are_filtered_and_merged():
    given = supervision.Detections.merge(
        [none_found().to_supervision(), two_found().to_supervision()]
    )
    assert given == two_found().to_supervision()
    assert given[given["class_name"] == "cell, red"].xyxy.tolist() == [list(BOXES[1])]


def test_names_are_written_at_the_boxes():
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    given = two_found().to_supervision()

    def drawn(labels: list[str] | None = None) -> np.ndarray:
        return supervision.LabelAnnotator().annotate(picture.copy(), given, labels)

    assert np.array_equal(drawn(), drawn(list(NAMES)))
    assert not np.array_equal(drawn(), drawn([str(i) for i in INDICES]))
    nothing = none_found().to_supervision()
    assert not supervision.BoxAnnotator().annotate(picture.copy(), nothing).any()
    assert not supervision.LabelAnnotator().annotate(picture.copy(), nothing).any()


def test_the_metric_of_true_boxes_is_one():
    given = many_found().to_supervision()
    truth = supervision.Detections(xyxy=given.xyxy, class_id=given.class_id)
    found = MeanAveragePrecision().update(given, truth).compute()
    # a mean of precisions tp / (tp + fp), each within a rounding or two of 1
    assert found.map50_95 == pytest.approx(1.0, abs=2**-40)
    shifted = supervision.Detections(xyxy=given.xyxy, class_id=given.class_id + 1)
    assert MeanAveragePrecision().update(given, shifted).compute().map50_95 < 0.5


def test_a_data_set_of_these_classes_names_them(tmp_path):
    path = str(tmp_path / "a.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    given = two_found().to_supervision()
    data = supervision.DetectionDataset(list(CLASSES), [path], {path: given})
    data.as_coco(annotations_path=str(tmp_path / "coco.json"))
    again = supervision.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "coco.json"))
    ((_, _, read),) = again
    assert [again.classes[i] for i in read.class_id] == list(NAMES)


def test_a_row_of_csv_holds_the_name(tmp_path):
    path = tmp_path / "found.csv"
    with supervision.CSVSink(str(path)) as sink:
        sink.append(two_found().to_supervision(), {})
    with path.open(newline="", encoding="utf-8") as file:
        assert [row["class_name"] for row in csv.DictReader(file)] == list(NAMES)
