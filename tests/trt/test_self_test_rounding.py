"""The self-test over the doubles: what the rounding of another kernel may do, and what it may not.

A builder chooses kernels by their time, for each engine anew. So the engine with decode + NMS
inside has heads of its own, which nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import plugin_double
from tensorrt_double import TensorRt

from ssd_small.doctor.environment import Finding
from ssd_small.doctor.self_test import self_test
from ssd_small.postprocess.detections import Detections

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("traced_once")]

PASSED = {"tensorrt-rtx heads": True, "tensorrt-rtx detections": True}
WRONG_DETECTIONS = {"tensorrt-rtx heads": True, "tensorrt-rtx detections": False}
Forgery = Callable[[Detections], Detections]


def fine(findings: list[Finding]) -> dict[str, bool]:
    return {finding.subject: finding.fine for finding in findings}


def rounding(level: float, seed: int) -> Callable[..., list[np.ndarray]]:
    """Heads off by up to this share of the largest value, differently at each run."""
    rng = np.random.default_rng(seed)

    def distort(*heads: np.ndarray) -> list[np.ndarray]:
        return [
            (one + level * np.abs(one).max() * rng.uniform(-1, 1, one.shape)).astype(np.float32)
            for one in heads
        ]

    return distort


@pytest.mark.parametrize("level", [1e-6, 1e-5])
def test_two_engines_that_differ_by_rounding_pass(
    level: float, gpu_machine: TensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = set()
    decode_nms = plugin_double.decode_nms

    def recorded(*arguments: Any, **edges: Any) -> list[Detections]:
        found = decode_nms(*arguments, **edges)
        if len(found) == 2:  # of batches of two and one
            kept.add(b"".join(np.stack([d.labels, d.prior_indices]).tobytes() for d in found))
        return found

    monkeypatch.setattr(plugin_double, "decode_nms", recorded)
    for seed in range(5):
        gpu_machine.distort = rounding(level, seed)
        findings = self_test()
        assert fine(findings) == PASSED, findings
    assert len(kept) > 1, "the rounding changed no detection: nothing was tested"


def without_one(found: Detections) -> Detections:
    return found[np.arange(len(found)) != len(found) // 2]


def with_a_label_off_by_one(found: Detections) -> Detections:
    labels = found.labels.copy()
    labels[len(found) // 2] += 1 if labels[len(found) // 2] < 3 else -1
    return replace(found, labels=labels)


def with_a_box_moved_by_a_pixel(found: Detections) -> Detections:
    boxes = found.boxes.copy()
    boxes[len(found) // 2, [0, 2]] += np.float32(1 / 300)
    return replace(found, boxes=boxes)


def with_scores_off_by_a_thousandth(found: Detections) -> Detections:
    return replace(found, scores=found.scores + np.float32(1e-3))


FORGERIES: list[tuple[Forgery, str]] = [
    (without_one, "missing, and nothing suppresses it"),
    (with_a_label_off_by_one, "outside"),
    (with_a_box_moved_by_a_pixel, "is not that of the prior"),
    (with_scores_off_by_a_thousandth, "outside"),
]


@pytest.mark.parametrize(("forge", "said"), FORGERIES)
def test_a_result_that_rounding_cannot_give_fails(
    forge: Forgery, said: str, gpu_machine: TensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one image of three, beside the rounding of another kernel."""
    decode_nms = plugin_double.decode_nms

    def forged(*arguments: Any, **edges: Any) -> list[Detections]:
        found = decode_nms(*arguments, **edges)
        # batches of two and one
        return found if len(found) == 2 else [forge(found[0])]

    monkeypatch.setattr(plugin_double, "decode_nms", forged)
    gpu_machine.distort = rounding(1e-5, 0)
    findings = self_test()
    assert fine(findings) == WRONG_DETECTIONS
    assert findings[-1].state.startswith("2 of 3 images")
    assert "image 2: class " in findings[-1].state
    assert said in findings[-1].state


def test_heads_that_are_not_numbers_fail(gpu_machine: TensorRt) -> None:
    gpu_machine.distort = lambda loc, conf: (loc, np.full_like(conf, np.nan))
    assert fine(self_test())["tensorrt-rtx heads"] is False


def test_heads_beyond_the_limit_fail(gpu_machine: TensorRt) -> None:
    gpu_machine.distort = rounding(2e-4, 0)
    assert fine(self_test())["tensorrt-rtx heads"] is False
