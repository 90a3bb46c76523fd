"""Scoring a network on pictures held in memory, with a network whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("hotcoco", reason="needs hotcoco")
pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.datasets.coco import Annotations  # noqa: E402
from ssd_small.models.network import SsdNetwork, create_model  # noqa: E402
from ssd_small.training.evaluation import evaluate_network  # noqa: E402


def _network_that_finds(prior: int, label: int) -> SsdNetwork:
    """Whatever it sees, it reports prior number ``prior`` unmoved, as ``label``."""
    net = create_model("mobilenet_v1", num_classes=3, width=0.25)
    conf = torch.zeros(1, len(net.priors), 3)
    conf[..., 0] = 20.0
    conf[0, prior] = torch.tensor([20.0 if c == label else 0.0 for c in range(3)])
    net.forward = lambda images: (torch.zeros(1, len(net.priors), 4), conf)  # type: ignore[method-assign]
    return net


def _truth(net: SsdNetwork, prior: int, category: int) -> Annotations:
    """One picture of 600 x 450 with one object exactly where ``prior`` is."""
    cx, cy, w, h = net.priors[prior].tolist()
    box = [(cx - w / 2) * 600, (cy - h / 2) * 450, w * 600, h * 450]
    entry = {"id": 1, "image_id": 7, "category_id": category, "bbox": box, "iscrowd": 0}
    return Annotations(
        Path("truth"),
        ({"id": 7, "file_name": "a.png", "width": 600, "height": 450},),
        ({"id": 10, "name": "first"}, {"id": 20, "name": "second"}),
        (entry | {"area": box[2] * box[3]},),
        0,
    )


@pytest.mark.parametrize(("category", "expected"), [(20, 1.0), (10, 0.0)])
def test_a_perfect_find_scores_one_and_a_wrong_class_nothing(
    category: int, expected: float
) -> None:
    net = _network_that_finds(prior=600, label=2)
    metrics = evaluate_network(
        net, _truth(net, 600, category), [np.zeros((450, 600, 3), np.uint8)], backend="numpy"
    )
    assert metrics["AP"] == pytest.approx(expected)


def test_the_mode_of_the_network_is_left_as_it_was() -> None:
    net = _network_that_finds(prior=600, label=1)
    truth = _truth(net, 600, 10)
    for training in (True, False):
        net.train(training)
        evaluate_network(net, truth, [np.zeros((450, 600, 3), np.uint8)], backend="numpy")
        assert net.training is training


def test_pictures_and_entries_must_be_equally_many() -> None:
    net = _network_that_finds(prior=600, label=1)
    with pytest.raises(ValueError, match="zip"):
        evaluate_network(net, _truth(net, 600, 10), [], backend="numpy")
