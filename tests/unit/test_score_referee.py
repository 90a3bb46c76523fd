"""Every number of the metric beside pycocotools, to the last bit, on built cases."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="needs pycocotools")
pytest.importorskip("hotcoco", reason="needs hotcoco")
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ssd_small.datasets.coco import Annotations, read_annotations
from ssd_small.evaluation.coco_results import read_results
from ssd_small.evaluation.columns import columns_from_results
from ssd_small.evaluation.score import METRICS, score

Entry = dict[str, Any]
INPUT = (300, 512)
#: one above the other: a size ends just below the square of its edge
SIDES = [0, 8, 16, 32, 64, 96]
RANGES = [
    [float(low**2), float(np.nextafter(high**2, 0)) if high else np.inf]
    for low, high in zip(SIDES, [*SIDES[1:], 0], strict=True)
]


def referee(truth: Annotations, results: list[Entry], factors: dict[int, float] | None = None):
    """pycocotools' evaluation; areas times ``factors`` of their images, ranges by size."""

    def indexed(boxes: list[Entry]) -> Any:
        data = COCO()
        images, categories = list(truth.images), list(truth.categories)
        data.dataset = {"images": images, "categories": categories, "annotations": boxes}
        data.createIndex()
        return data

    factor = factors or {image["id"]: 1.0 for image in truth.images}
    boxes = [{**box, "area": box["area"] * factor[box["image_id"]]} for box in truth.boxes]
    found = []
    for number, one in enumerate(results, 1):
        area = one["bbox"][2] * one["bbox"][3] * factor[one["image_id"]]
        found.append({**one, "id": number, "iscrowd": 0, "area": area})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(indexed(boxes), indexed(found), "bbox")
        if factors is not None:
            evaluation.params.areaRng = RANGES
            evaluation.params.areaRngLbl = [str(side) for side in SIDES]
        evaluation.evaluate()
        evaluation.accumulate()
        if factors is None:
            evaluation.summarize()
    return evaluation


def mean(values: np.ndarray) -> float | None:
    return float(np.mean(values[values > -1])) if (values > -1).any() else None


def built(seed: int) -> tuple[Annotations, list[Entry]]:
    """Tied scores, equal boxes, crowds, sides at the edges, ids out of order, empty everything."""
    rng = np.random.default_rng(seed)
    images = [
        {
            "id": int(i),
            "file_name": f"{i}.png",
            "width": int(rng.choice([512, 640, 100])),
            "height": int(rng.choice([300, 480])),
        }
        # beyond 2**53 a float does not hold every id
        for i in (rng.permutation(9000)[: rng.integers(1, 8)] + (2**60 if seed % 2 else 1))
    ]
    categories = [
        {"id": int(c), "name": f"c{c}"} for c in rng.permutation(90)[: rng.integers(1, 5)] + 1
    ]
    boxes: list[Entry] = []
    results: list[Entry] = []

    def one_of(entries: list[Entry]) -> int:
        return int(entries[rng.integers(len(entries))]["id"])

    for _ in range(0 if seed % 11 == 0 else int(rng.integers(1, 60))):
        sides = rng.choice([4, 8, 15.5, 16, 32, 40, 64, 96, 120], 2).tolist()
        bbox = [*rng.integers(0, 60, 2).astype(float).tolist(), *sides]
        area = sides[0] * sides[1] * float(rng.choice([1, 1, 0.7]))
        key = {"image_id": one_of(images), "category_id": one_of(categories)}
        boxes.append({**key, "bbox": bbox, "area": area, "iscrowd": int(rng.random() < 0.2)})
        for _ in range(rng.integers(0, 5)):
            moved = (np.array(bbox) + rng.integers(-2, 3, 4)).clip(0).tolist()
            results.append({**key, "bbox": moved, "score": float(np.round(rng.random(), 1))})
    for _ in range(0 if seed % 7 == 0 else int(rng.choice([3, 400]))):
        key = {"image_id": one_of(images), "category_id": one_of(categories)}
        bbox = rng.integers(0, 100, 4).astype(float).tolist()
        results.append({**key, "bbox": bbox, "score": float(np.round(rng.random(), 2))})
    for box, number in zip(boxes, rng.permutation(5000), strict=False):
        box["id"] = int(number) + 1
    ordered = tuple(sorted(categories, key=lambda one: one["id"]))
    return Annotations(Path("truth"), tuple(images), ordered, tuple(boxes), 0), results


def check(truth: Annotations, results: list[Entry]) -> None:
    """Compare all that :func:`score` gives."""
    scores = score(truth, columns_from_results(results), INPUT)
    whole = referee(truth, results)
    expected = [None if value < 0 else value for value in whole.stats.tolist()]
    assert scores.metrics == dict(zip(METRICS, expected, strict=True))
    precision = whole.eval["precision"]
    for k, one in enumerate(scores.classes):
        assert one.aps["AP"] == mean(precision[:, :, k, 0, 2])
        assert one.aps["AP50"] == mean(precision[0, :, k, 0, 2])
    check_matches(scores.classes, whole, len(truth.images))
    sizes = {one["id"]: (one["height"], one["width"]) for one in truth.images}
    at_input = {key: (INPUT[0] / h) * (INPUT[1] / w) for key, (h, w) in sizes.items()}
    for at, factors in (("picture", dict.fromkeys(sizes, 1.0)), ("network", at_input)):
        by_size = referee(truth, results, factors)
        rows = [row for row in scores.by_size if row.at == at]
        for a, (row, (low, high)) in enumerate(zip(rows, RANGES, strict=True)):
            assert row.ap == mean(by_size.eval["precision"][:, :, :, a, 2])
            assert row.recall == mean(by_size.eval["recall"][:, :, a, 2])
            areas = [b["area"] * factors[b["image_id"]] for b in truth.boxes if not b["iscrowd"]]
            assert row.boxes == sum(low <= area <= high for area in areas)


def check_matches(classes: Any, whole: Any, images: int) -> None:
    """The sets of scores that are right and wrong at IoU 0.5, and the objects that count."""
    for k, one in enumerate(classes):
        entries = [e for e in whole.evalImgs[k * 4 * images : (k * 4 + 1) * images] if e]
        for flags, of in ((one.matches.right, True), (one.matches.wrong, False)):
            expected = [
                np.array(e["dtScores"], np.float32)[
                    ((e["dtMatches"][0] > 0) == of) & (e["dtIgnore"][0] == 0)
                ]
                for e in entries
            ]
            got = np.sort(one.matches.scores[flags])
            assert np.array_equal(got, np.sort(np.concatenate([*expected, np.zeros(0)])))
        assert one.matches.boxes == sum(int((e["gtIgnore"] == 0).sum()) for e in entries)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 60, 20))
def test_every_number_is_pycocotools(start: int) -> None:
    for seed in range(start, start + 20):
        check(*built(seed))


@pytest.mark.slow
def test_every_number_of_the_published_example_is_pycocotools(shared_data: Path) -> None:
    folder = shared_data / "coco-golden"
    truth = read_annotations(folder / "instances_val2014_100.json")
    name = "instances_val2014_fakebbox100_results.json"
    check(truth, read_results(folder / name, truth).entries)


def test_objects_of_a_class_are_matched_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of pictures so full that all pairs at once would not fit."""
    from ssd_small.evaluation import matching

    monkeypatch.setattr(matching, "_PAIRS", 7)
    for seed in range(1, 6):
        truth, results = built(seed)
        check_matches(score(truth, results).classes, referee(truth, results), len(truth.images))
