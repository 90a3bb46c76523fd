"""Pascal VOC's metric: worked by hand, by the kit's own formula, and beside pycocotools."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_small.datasets.coco import Annotations
from ssd_small.errors import UsageError
from ssd_small.evaluation.evaluate import scorer_from_metric
from ssd_small.evaluation.operating_point import Matches
from ssd_small.evaluation.voc_score import average_precision, voc_score

CAT, DOG = 10, 20
A, B, FAR = [10.0, 10.0, 20.0, 20.0], [50.0, 50.0, 20.0, 20.0], [80.0, 5.0, 10.0, 10.0]

Entry = dict[str, Any]


def truth(*boxes: tuple[int, list[float]], images: int = 1, **flags: int) -> Annotations:
    """Boxes (category, [x, y, w, h]) one per picture in turn; ``flags`` go into the last one."""
    entries = [
        {"id": i + 1, "image_id": i % images, "category_id": category, "bbox": bbox, "iscrowd": 0}
        for i, (category, bbox) in enumerate(boxes)
    ]
    entries[-1] |= flags
    return Annotations(
        Path("truth"),
        tuple({"id": i, "file_name": f"{i}", "width": 100, "height": 100} for i in range(images)),
        ({"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}),
        tuple(entries),
        0,
    )


def found(bbox: list[float], score: float, image: int = 0, category: int = CAT) -> Entry:
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


def both(annotations: Annotations, *entries: Entry) -> tuple[float | None, float | None]:
    """AP of the class cat by both rules."""
    scores = (voc_score(annotations, entries, rule) for rule in ("voc07", "voc12"))
    by_points, by_area = (one.classes[0].ap for one in scores)
    return by_points, by_area


def matches(pattern: str, boxes: int) -> Matches:
    """From ``+`` right, ``-`` wrong and ``o`` neither, by descending score."""
    flags = [np.array([c == one for c in pattern], bool) for one in "+-"]
    return Matches(np.linspace(1, 0, len(pattern)).astype(np.float32), *flags, boxes)


@pytest.mark.parametrize(
    ("pattern", "boxes", "by_points", "by_area"),
    [
        # precision 1 up to recall 1/2: the points 0, .1, ..., .5
        ("+", 2, 6 / 11, 1 / 2),
        # precisions 1, 1/2, 2/3 at recalls 1/2, 1/2, 1: six points of 1, five of 2/3
        ("+-+", 2, (6 + 5 * 2 / 3) / 11, 1 / 2 + 1 / 2 * 2 / 3),
        # 0, 1/2, 2/3: the curve is lifted to 2/3 from the start
        ("-++", 2, 2 / 3, 2 / 3),
        # recalls 1/4, 1/2, 3/4 at precisions 1/2 -> 3/5, 2/4 -> 3/5, 3/5; points up to .7
        ("-+-++", 4, 8 * 3 / 5 / 11, 3 / 4 * 3 / 5),
        # recalls .1 to .3 are reached exactly: four points, three tenths
        ("+++", 10, 4 / 11, 3 / 10),
        # neither true nor false: as if it were not there
        ("o+o-o+o", 2, (6 + 5 * 2 / 3) / 11, 1 / 2 + 1 / 2 * 2 / 3),
        ("ooo", 1, 0.0, 0.0),
        ("--", 3, 0.0, 0.0),
        ("", 3, 0.0, 0.0),
        ("+" * 7, 7, 1.0, 1.0),
    ],
)
def test_average_precision_by_hand(pattern, boxes, by_points, by_area) -> None:
    given = matches(pattern, boxes)
    # sums of at most 11 numbers up to 1, each rounded: 11 * 2**-53
    assert average_precision(given, "voc07") == pytest.approx(by_points, abs=2e-15)
    assert average_precision(given, "voc12") == pytest.approx(by_area, abs=2e-15)


@pytest.mark.parametrize("boxes", range(1, 61))
def test_a_recall_that_is_a_tenth_is_reached(boxes: int) -> None:
    """In floating point 3 / 10 is less than 3 * 0.1, and the point would be lost."""
    for right in range(boxes + 1):
        points = sum(10 * right >= k * boxes for k in range(11)) if right else 0
        value = average_precision(matches("+" * right, boxes), "voc07")
        assert value == pytest.approx(points / 11, abs=2e-15)


def test_nothing_to_find_is_no_score() -> None:
    assert average_precision(matches("--", 0), "voc07") is None
    scores = voc_score(truth((CAT, A)), [found(A, 0.9, category=DOG)], "voc12")
    cat, dog = scores.classes
    assert (cat.ap, dog.ap, dog.boxes, dog.detections) == (0.0, None, 0, 1)
    # the mean is of the classes with ground truth
    assert scores.metrics == {"AP": 0.0}
    assert voc_score(truth((CAT, A), difficult=1), [], "voc12").metrics == {"AP": None}
    assert scores.classes[0].to_dict() == {
        "name": "cat",
        **dict.fromkeys(("AP", "ap", "ap50"), 0.0),
        "boxes": 1,
        "detections": 0,
    }


def test_a_box_is_found_once_by_the_higher_score() -> None:
    shifted = [12.0, 10.0, 20.0, 20.0]  # IoU 18 / 22
    annotations = truth((CAT, A), (CAT, B))
    # right, wrong, right
    entries = [found(A, 0.8), found(shifted, 0.9), found(B, 0.7)]
    hand = ((6 + 5 * 2 / 3) / 11, 1 / 2 + 1 / 2 * 2 / 3)
    assert both(annotations, *entries) == pytest.approx(hand, abs=2e-15)
    cat = voc_score(annotations, entries, "voc12").operating_point([0.75, 0.5])["classes"][0]
    assert (cat["true_positives"], cat["false_positives"], cat["missed"]) == (1, 1, 1)


def test_the_box_overlapped_most_is_the_one_even_if_it_is_taken() -> None:
    """Not as in COCO, where a detection takes the next best box that is free."""
    beside = [10.0, 10.0, 20.0, 26.0]  # IoU with A 20 / 26, with the detection 22 / 26
    between = [10.0, 10.0, 20.0, 22.0]  # with A 20 / 22
    annotations = truth((CAT, A), (CAT, beside))
    assert both(annotations, found(A, 0.9), found(between, 0.8)) == (6 / 11, 0.5)


def test_of_boxes_overlapped_alike_the_first_is_meant() -> None:
    beside, between = [14.0, 10.0, 20.0, 20.0], [12.0, 10.0, 20.0, 20.0]  # IoU 18 / 22 with both
    entries = [found(between, 0.9), found(A, 0.8)]
    assert both(truth((CAT, A), (CAT, beside)), *entries) == (6 / 11, 0.5)
    assert both(truth((CAT, beside), (CAT, A)), *entries) == (1.0, 1.0)


@pytest.mark.parametrize("flag", ["difficult", "iscrowd"])
def test_what_is_difficult_is_neither_found_nor_missed(flag: str) -> None:
    annotations = truth((CAT, A), (CAT, B), **{flag: 1})
    scores = voc_score(annotations, [], "voc07")
    assert scores.classes[0].boxes == 1
    # however often it is found, and before all others
    hard = [found(B, 0.99), found(B, 0.98)]
    assert both(annotations, *hard, found(A, 0.5)) == (1.0, 1.0)
    # a detection that overlaps it less than a half is wrong
    assert both(annotations, found([60.0, 60.0, 20.0, 20.0], 0.99), found(A, 0.5)) == (0.5, 0.5)


@pytest.mark.parametrize(("height", "ap"), [(10.0, 1.0), (9.99, 0.0)])
def test_boxes_match_from_an_iou_of_a_half(height: float, ap: float) -> None:
    assert both(truth((CAT, A)), found([10.0, 10.0, 20.0, height], 0.9)) == (ap, ap)


def test_picture_and_class_must_be_right() -> None:
    annotations = truth((CAT, A), (DOG, A), images=2)
    assert both(annotations, found(A, 0.9, image=1)) == (0.0, 0.0)
    assert both(annotations, found(A, 0.9, category=DOG)) == (0.0, 0.0)
    assert both(annotations, found(A, 0.9)) == (1.0, 1.0)


def test_equal_scores_go_by_picture_and_then_as_listed() -> None:
    annotations = truth((CAT, A), (CAT, A), images=2)
    entries = [found(FAR, 0.5, 1), found(A, 0.5, 1), found(A, 0.5, 0), found(FAR, 0.5, 0)]
    # of picture 0 right, wrong; of picture 1 wrong, right
    expected = average_precision(matches("+--+", 2), "voc12")
    assert both(annotations, *entries)[1] == expected
    pairs = (entries[2:], entries[:2])
    assert both(annotations, *pairs[0], *pairs[1])[1] == expected


def test_there_is_no_cut_at_a_hundred_detections() -> None:
    entries = [found(FAR, 0.6 + i / 1000) for i in range(150)]
    scores = voc_score(truth((CAT, A)), [*entries, found(A, 0.55)], "voc12")
    assert (scores.surplus, scores.classes[0].ap) == (0, pytest.approx(1 / 151, abs=2e-15))


def kit_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """The development kit's own: pixels xmin, ymin, xmax, ymax, the last ones included."""
    width = min(first[2], second[2]) - max(first[0], second[0]) + 1
    height = min(first[3], second[3]) - max(first[1], second[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (first, second)]
    return width * height / (areas[0] + areas[1] - width * height)


def test_the_iou_is_that_of_whole_pixels() -> None:
    """4 of 8 pixels are a half; without the kit's +1 they would be 3 * 0 of 7 * 0."""
    draw = random.Random(3)
    cases = [([1, 1, 8, 1], [1, 1, 4, 1])]
    for _ in range(300):
        x, y = draw.randint(1, 9), draw.randint(1, 9)
        box = [x, y, x + draw.randint(0, 6), y + draw.randint(0, 6)]
        cases.append((box, [c + draw.randint(-2, 2) for c in box[:2]] + box[2:]))
    outcomes = set()
    for pixels, other in cases:
        if other[0] > other[2] or other[1] > other[3]:
            continue
        first, second = (
            [b[0] - 1.0, b[1] - 1.0, b[2] - b[0] + 1.0, b[3] - b[1] + 1.0] for b in (pixels, other)
        )
        expected = float(kit_iou(pixels, other) >= 0.5)
        assert both(truth((CAT, first)), found(second, 0.9)) == (expected, expected)
        outcomes.add(expected)
    assert outcomes == {0.0, 1.0}


def drawn(seed: int) -> tuple[Annotations, list[Entry]]:
    """Boxes of which no two overlap, so that all rules of matching agree; distinct scores."""
    draw = random.Random(seed)
    images, entries = 6, []
    boxes = [
        (draw.choice((CAT, DOG)), [30.0 * draw.randint(0, 2), 30.0 * row, 20.0, 25.0])
        for row in range(3)
        for _ in range(images)
    ]
    annotations = truth(*boxes, images=images)
    scores = draw.sample(range(1, 1000), 90)
    for score in scores:
        box = draw.choice(annotations.boxes)
        place = [c + draw.uniform(-7, 7) for c in box["bbox"][:2]]
        size = [c * draw.uniform(0.8, 1.2) for c in box["bbox"][2:]]
        category = draw.choice((CAT, DOG))
        entries.append(found([*place, *size], score / 1000, box["image_id"], category))
    return annotations, entries


@pytest.mark.parametrize("seed", range(5))
def test_pycocotools_reads_the_same_curve(seed: int) -> None:
    """Its precision at recalls of our choice is VOC's, where matching and limits agree.

    It takes the first detection whose recall is at least the asked one, which floating point may
    miss by 2**-53: the asked ones are a little less. The area is that of 20000 strips: a right
    detection moves the recall by 1/18 or more, and each of at most 18 steps is off by one strip.
    """
    pytest.importorskip("pycocotools", reason="needs pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, entries = drawn(seed)
    data, results = COCO(), COCO()
    data.dataset = {
        "images": list(annotations.images),
        "categories": list(annotations.categories),
        "annotations": [box | {"area": 500.0} for box in annotations.boxes],
    }
    results.dataset = data.dataset | {
        "annotations": [
            e | {"id": i, "iscrowd": 0, "area": 500.0} for i, e in enumerate(entries, 1)
        ]
    }
    strips = 20000
    points = {"voc07": np.arange(11) / 10 - 1e-9, "voc12": (np.arange(strips) + 0.5) / strips}
    with contextlib.redirect_stdout(io.StringIO()):
        for one in (data, results):
            one.createIndex()
        for rule, recalls in points.items():
            evaluation = COCOeval(data, results, "bbox")
            evaluation.params.iouThrs = np.array([0.5])
            evaluation.params.recThrs = recalls
            evaluation.params.maxDets = [1000]
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
            evaluation.evaluate()
            evaluation.accumulate()
            theirs = evaluation.eval["precision"][0, :, :, 0, 0].mean(axis=0)
            ours = [one.ap for one in voc_score(annotations, entries, rule).classes]
            tolerance = 1e-12 if rule == "voc07" else 18 / strips
            assert ours == pytest.approx(theirs.tolist(), abs=tolerance)
            assert all(0.05 < ap < 0.95 for ap in ours if ap is not None)


def test_metrics_have_names() -> None:
    annotations, entries = drawn(0)
    for metric in ("voc07", "voc12"):
        scores = scorer_from_metric(metric)(annotations, entries)
        assert scores.metrics == voc_score(annotations, entries, metric).metrics
    with pytest.raises(UsageError, match="'voc10': expected one of coco, voc07, voc12"):
        scorer_from_metric("voc10")
