"""Results in the forms of COCO and torchvision, and what is said where a package is absent.

The forms of packages that are not in this environment are tested in tests/handover.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from hand_made_results import (
    BOXES,
    CLASSES,
    HEIGHT,
    LABELS,
    SCORES,
    WIDTH,
    many_found,
    none_found,
    two_found,
)

from ssd_small.errors import MissingRequirement, UsageError

IDS = (7, 1, 90)


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make importing a package fail as if it was not installed."""

    class Hidden:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hidden, *sys.meta_path])


@pytest.mark.parametrize(
    ("method", "package", "line"),
    [
        ("to_torch", "torch", "run in a checkout: pip install '.[torch]'"),
        ("to_pandas", "pandas", "run: pip install pandas"),
        ("to_supervision", "supervision", "run: pip install supervision"),
        ("to_fiftyone", "fiftyone", "run: pip install fiftyone"),
    ],
)
@pytest.mark.parametrize("make", [two_found, none_found])
def test_an_absent_package_is_named_with_what_to_type(method, package, line, make, monkeypatch):
    hide(monkeypatch, package)
    with pytest.raises(MissingRequirement) as caught:
        getattr(make(), method)()
    said = str(caught.value)
    assert said == (
        f"{method}() needs {package}, but the Python package '{package}' is not installed; {line}"
    )
    assert caught.value.exit_code == 3


def test_coco_entries_need_no_package(monkeypatch):
    hide(monkeypatch, "pycocotools")
    assert len(two_found().to_coco(1, IDS)) == 2


@pytest.mark.parametrize("background", sorted(LABELS))
def test_coco_entries_have_the_ids_in_the_order_of_the_classes(background):
    assert two_found(background).to_coco("a.png", IDS) == [
        {
            "image_id": "a.png",
            "category_id": 90,
            "bbox": [10.0, 20.0, 50.0, 60.0],
            "score": float(np.float32(0.9)),
        },
        {
            "image_id": "a.png",
            "category_id": 7,
            "bbox": [150.5, 0.0, 49.5, 25.5],
            "score": 0.5,
        },
    ]


def test_coco_entries_of_nothing_are_an_empty_list():
    assert none_found().to_coco(1, IDS) == []


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_category_ids_is_refused(count):
    with pytest.raises(UsageError, match=rf"^{count} category_ids for 3 classes; expected "):
        two_found().to_coco(1, range(count))


def test_ids_of_numpy_and_torch_are_written_to_json():
    torch = pytest.importorskip("torch")
    plain = two_found().to_coco(5, IDS)
    assert json.loads(json.dumps(two_found().to_coco(np.int64(5), np.array(IDS)))) == plain
    assert json.loads(json.dumps(two_found().to_coco(torch.tensor(5), torch.tensor(IDS)))) == plain


@pytest.mark.parametrize(("ids", "expected"), [(IDS, 1.0), ((1, 90, 7), 0.0)])
def test_coco_entries_of_the_true_boxes_score_one(ids, expected, tmp_path):
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = many_found(12)
    truth = tmp_path / "truth.json"
    entries = found.to_coco(5, IDS)
    boxes = [
        {**entry, "id": i + 1, "iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3]}
        for i, entry in enumerate(entries)
    ]
    categories = [{"id": id, "name": name} for id, name in zip(IDS, CLASSES, strict=True)]
    image = {"id": 5, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}
    content = {"images": [image], "annotations": boxes, "categories": categories}
    truth.write_text(json.dumps(content))
    results = tmp_path / "results.json"
    results.write_text(json.dumps(found.to_coco(5, ids)))

    coco = COCO(str(truth))
    evaluation = COCOeval(coco, coco.loadRes(str(results)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    # a precision of tp / (tp + fp + 2^-52): each of the means of such numbers is within 2^-50 of 1
    assert evaluation.stats[0] == pytest.approx(expected, abs=2**-50)


@pytest.mark.parametrize("background", sorted(LABELS))
def test_tensors_hold_the_same_numbers(background):
    torch = pytest.importorskip("torch")
    tensors = two_found(background).to_torch()
    torch.testing.assert_close(
        tensors,
        {
            "boxes": torch.tensor(BOXES, dtype=torch.float32),
            "scores": torch.tensor(SCORES, dtype=torch.float32),
            "labels": torch.tensor([LABELS[background][2], LABELS[background][0]]),
        },
        rtol=0,
        atol=0,
    )
    assert tensors["labels"].dtype == torch.int64


def test_tensors_are_not_the_memory_of_the_result():
    pytest.importorskip("torch")
    found = two_found()
    tensors = found.to_torch()
    for tensor in tensors.values():
        tensor.zero_()
    assert found.to_coco(1, IDS) == two_found().to_coco(1, IDS)


def test_torchvision_takes_the_tensors():
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    from torchvision.utils import draw_bounding_boxes

    found = two_found()
    # the first again with an IoU of 50 / 55, and once more as another class
    again = replace(
        found,
        boxes=np.vstack([found.boxes[:1], found.boxes[:1] + np.float32([0, 0, 5, 0]), found.boxes]),
        scores=np.array([0.95, 0.9, 0.9, 0.5], np.float32),
        labels=np.array([3, 3, 1, 1], np.int32),
    )
    tensors = again.to_torch()
    kept = ops.batched_nms(tensors["boxes"], tensors["scores"], tensors["labels"], 0.5)
    assert kept.tolist() == [0, 2, 3]
    assert ops.nms(tensors["boxes"], tensors["scores"], 0.5).tolist() == [0, 3]

    picture = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    drawn = draw_bounding_boxes(picture, found.to_torch()["boxes"], found.names, colors="white")
    assert drawn[:, 20, 10].tolist() == [255, 255, 255]
    assert drawn[:, 50, 100].tolist() == [0, 0, 0]


def test_tensors_of_nothing_have_the_shapes_that_torchvision_takes():
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    tensors = none_found().to_torch()
    kinds = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    assert kinds == {
        "boxes": ((0, 4), torch.float32),
        "scores": ((0,), torch.float32),
        "labels": ((0,), torch.int64),
    }
    assert ops.batched_nms(*tensors.values(), 0.5).tolist() == []
