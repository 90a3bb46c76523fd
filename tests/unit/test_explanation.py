"""Why an object was missed: each rule planted, and agreement with decode + NMS itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.evaluation.explanation import Explanation, explain_object
from ssd_small.models.registry import get_spec
from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.oracle import decode_nms_image

SIZE = (600, 900)
PARAMS = PostprocessParams(
    score_threshold=0.3, iou_threshold=0.5, pre_nms_topk=4, keep_topk_per_class=3, keep_topk=5
)


@pytest.fixture(scope="module")
def description() -> Description:
    return description_from_spec(get_spec("mobilenet_v1"), 3, 0.1, labels=("cat", "dog"))


class Scene:
    """Heads in which every prior is background, but for those that are given boxes."""

    def __init__(self, description: Description) -> None:
        self.description = description
        number = len(description.priors)
        self.loc = np.zeros((number, 4), np.float32)
        self.conf = np.zeros((number, 3), np.float32)
        self.conf[:, 0] = 12

    def put(self, prior: int, box: tuple[float, ...], label: int, score: float) -> None:
        """A box (x, y, w, h) in pixels with a score; nearly all of the rest is background's."""
        height, width = SIZE
        x, y, w, h = box
        cx, cy, pw, ph = self.description.priors[prior].astype(np.float64)
        w, h = w / width, h / height
        centre = (x / width + w / 2, y / height + h / 2)
        self.loc[prior] = [
            (centre[0] - cx) / (0.1 * pw),
            (centre[1] - cy) / (0.1 * ph),
            np.log(w / pw) / 0.2,
            np.log(h / ph) / 0.2,
        ]
        self.conf[prior] = np.log(0.01)
        self.conf[prior, 0] = np.log(0.99 - score)
        self.conf[prior, label] = np.log(score)

    def explain(self, box: tuple[float, ...], **changes: Any) -> Explanation:
        label = changes.pop("label", None)
        params = replace(PARAMS, **changes)
        return explain_object(self.loc, self.conf, self.description, params, box, SIZE, label=label)


@pytest.fixture
def scene(description: Description) -> Scene:
    return Scene(description)


BOX = (90.0, 60.0, 180.0, 120.0)


def shifted(share: float) -> tuple[float, ...]:
    """The box moved to the right by a share of its width."""
    return (BOX[0] + share * BOX[2], *BOX[1:])


def test_an_object_that_is_detected_is_found(scene: Scene) -> None:
    scene.put(100, BOX, 2, 0.9)
    told = scene.explain(BOX)
    assert (told.verdict, told.prior_index, told.name) == ("found", 100, "dog")
    assert told.iou == pytest.approx(1, abs=1e-4)
    assert told.score == pytest.approx(0.9, abs=1e-4)
    assert told.by == {}
    # of a class that was not found the box is not
    assert scene.explain(BOX, label=1).verdict == "below threshold"


def test_a_box_beyond_the_edge_is_found_where_it_is_shown(scene: Scene) -> None:
    """Half of it lies outside, where no annotated box reaches."""
    height = SIZE[0]
    scene.put(100, (90.0, height - 50.0, 180.0, 120.0), 2, 0.9)
    told = scene.explain((90.0, height - 50.0, 180.0, 50.0))
    assert (told.verdict, told.prior_index) == ("found", 100)
    assert told.iou == pytest.approx(1, abs=1e-4)


def test_a_low_score_is_told_with_the_threshold(scene: Scene) -> None:
    scene.put(100, BOX, 2, 0.28)
    told = scene.explain(BOX)
    assert told.verdict == "below threshold"
    assert told.prior_index == 100
    assert told.score == pytest.approx(0.28, abs=1e-4)
    assert told.by == {"rule": "score_threshold", "threshold": pytest.approx(0.3)}


def test_a_suppressed_box_names_the_box_that_did_it(scene: Scene) -> None:
    # 60 % of the width in common are an IoU of .25 with the object, of .54 with each other
    scene.put(100, shifted(0.3), 1, 0.6)
    scene.put(200, shifted(0.6), 1, 0.8)
    told = scene.explain(BOX)
    assert told.verdict == "suppressed"
    assert told.prior_index == 100
    assert told.by["rule"] == "nms"
    assert told.by["prior_index"] == 200
    assert told.by["score"] == pytest.approx(0.8, abs=1e-4)
    assert told.by["iou"] == pytest.approx(0.7 / 1.3, abs=1e-3)
    assert told.by["box"] == pytest.approx([198, 60, 378, 180], abs=0.05)


def test_an_overlap_is_that_of_boxes_as_nms_sees_them(scene: Scene) -> None:
    """Two boxes over the left edge: a fifth of all in common, all of what is in the picture."""
    scene.put(100, (-90.0, 60.0, 180.0, 120.0), 1, 0.6)
    scene.put(200, (-450.0, 60.0, 540.0, 120.0), 1, 0.8)
    inside = (0.0, 60.0, 90.0, 120.0)
    assert scene.explain(inside, keep_topk_per_class=0).verdict == "found"
    told = scene.explain((0.0, 60.0, 60.0, 120.0), clip_boxes=True, score_threshold=0.7)
    assert told.verdict == "found"
    scene.put(200, (-450.0, 60.0, 510.0, 120.0), 1, 0.8)  # two thirds of what is inside
    assert scene.explain(inside, clip_boxes=True, score_threshold=0.9).verdict == "below threshold"
    told = scene.explain((30.0, 60.0, 60.0, 120.0), clip_boxes=True)
    assert (told.verdict, told.prior_index) == ("suppressed", 100)
    assert told.by["iou"] == pytest.approx(2 / 3, abs=1e-3)
    assert told.by["box"] == pytest.approx([0, 60, 60, 180], abs=0.05)


def test_the_cut_before_nms_is_told_with_rank_and_limit(scene: Scene) -> None:
    scene.put(100, BOX, 1, 0.5)
    for place in range(4):
        scene.put(200 + place, (600 + 60.0 * place, 300, 30, 30), 1, 0.8)
    told = scene.explain(BOX)
    assert told.verdict == "cut"
    assert told.by == {"rule": "pre_nms_topk", "limit": 4, "rank": 5}
    assert scene.explain(BOX, pre_nms_topk=5).by["rule"] == "keep_topk_per_class"
    wide = {"pre_nms_topk": 0, "keep_topk_per_class": 0}
    assert scene.explain(BOX, **wide).verdict == "found"
    assert scene.explain(BOX, **wide, keep_topk=4).by == {"rule": "keep_topk", "limit": 4}


def test_without_any_box_on_it_the_closest_prior_is_told(scene: Scene) -> None:
    told = scene.explain((10, 10, 3, 2))
    assert told.verdict == "no prior"
    assert told.level == 0
    assert told.by == {"rule": "overlap", "least": 0.5}
    assert 0 <= told.prior_iou < 0.5
    # 3 of 900 pixels are one of 300 at the network's input
    assert told.object_px == pytest.approx((1.0, 1.0), abs=1e-4)
    rows, columns = scene.description.levels[0][1]
    assert told.object_cells == pytest.approx((columns / 300, rows / 300), abs=1e-4)


def test_levels_are_those_of_the_priors(scene: Scene) -> None:
    last = len(scene.description.priors) - 1
    scene.put(last, BOX, 1, 0.9)
    assert scene.explain(BOX).level == len(scene.description.levels) - 1


@pytest.mark.slow
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_found_is_what_decode_nms_keeps_and_missed_what_it_does_not(
    description: Description, seed: int, clip: bool
) -> None:
    rng = np.random.default_rng(seed)
    number = len(description.priors)
    loc = rng.normal(0, 1, (number, 4)).astype(np.float32)
    conf = rng.normal(0, 2, (number, 3)).astype(np.float32)
    params = replace(PARAMS, pre_nms_topk=60, keep_topk_per_class=20, keep_topk=30, clip_boxes=clip)
    kept = decode_nms_image(loc, conf, description.priors, params)
    scale = np.array([900, 600, 900, 600])
    verdicts = set()
    for box in rng.uniform(0, 0.8, (30, 2)):
        target = (*box * scale[:2], *rng.uniform(20, 120, 2))
        told = explain_object(loc, conf, description, params, target, SIZE)
        corners = np.array([*target[:2], target[0] + target[2], target[1] + target[3]]) / scale
        from ssd_small.postprocess.boxes import iou_one_to_many

        overlap = iou_one_to_many(corners.astype(np.float32), kept.boxes.clip(0, 1))
        assert (told.verdict == "found") == bool((overlap >= 0.5).any())
        verdicts.add(told.verdict)
        if told.verdict == "suppressed":
            assert told.by["iou"] > params.iou_threshold
            assert told.by["score"] >= told.score
    assert len(verdicts) > 1
