"""Letterbox and crop: all that is said of a picture is what is said of it framed or cut by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from detection_doubles import BOXES, MadeUpRuntime, picture

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.detection.detector import Detector
from ssd_small.detection.shrinking import ShrunkPictures
from ssd_small.detection.tiling import tiling_from_options
from ssd_small.errors import BadFile, UsageError
from ssd_small.evaluation.explanation import explain_object
from ssd_small.models.registry import get_spec
from ssd_small.pictures.placement import Fit, sizes_seen
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.postprocess import PostprocessParams

#: height and width of a picture, what becomes of it by hand at a square input, and its corner there
SIZE = (600, 900)
BY_HAND: dict[Fit, tuple[tuple[int, int], tuple[int, int]]] = {
    "letterbox": ((900, 900), (150, 0)),
    "crop": ((600, 600), (0, -150)),
}
#: x, y, width and height of an object in the picture
BOX = (400.0, 210.0, 120.0, 90.0)


def _description(fit: Fit) -> Description:
    described = description_from_spec(get_spec("mobilenet_v1"), 3, 0.1, labels=("cat", "dog"))
    return replace(described, preprocessing=replace(described.preprocessing, fit=fit))


def _moved(fit: Fit) -> tuple[float, ...]:
    _, (top, left) = BY_HAND[fit]
    return (BOX[0] + left, BOX[1] + top, *BOX[2:])


@pytest.mark.parametrize(
    ("fit", "rows"),
    [
        # 4 rows of the input's 8 are the picture, from the second on
        ("letterbox", lambda y: (8 * y - 2) / 4),
        ("stretch", lambda y: y),
    ],
)
def test_boxes_are_of_the_picture(fit: Fit, rows: Any) -> None:
    runtime = MadeUpRuntime()
    told = replace(runtime.description.preprocessing, fit=fit)
    runtime.description = replace(runtime.description, preprocessing=told)
    with Detector(runtime) as detector:
        ((outcome, found),) = detector.outcomes([picture(7, 4, 8)], score_threshold=0.25)
    expected = np.array([(x1, rows(y1), x2, rows(y2)) for x1, y1, x2, y2 in BOXES])
    np.testing.assert_allclose(outcome.detections.boxes, expected, rtol=1e-6, atol=1e-6)
    # what people are shown lies inside
    shown = (expected.clip(0, 1) * [8, 4, 8, 4])[: len(found.boxes)]
    np.testing.assert_allclose(found.boxes, shown, rtol=1e-6, atol=1e-6)


def test_a_picture_that_cannot_be_cropped_is_named_and_others_go_on() -> None:
    runtime = MadeUpRuntime()
    told = replace(runtime.description.preprocessing, fit="crop")
    runtime.description = replace(runtime.description, preprocessing=told)
    pictures = [picture(1), np.zeros((1, 9000, 3), np.uint8), picture(2)]
    with Detector(runtime) as detector:
        outcomes = [outcome for outcome, _ in detector.outcomes(pictures)]
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, (BadFile, UsageError))
    assert "cut it up first" in str(outcomes[1].error)


@pytest.mark.parametrize("fit", BY_HAND)
def test_an_object_is_explained_as_in_the_picture_by_hand(fit: Fit) -> None:
    described = _description(fit)
    by_hand, _ = BY_HAND[fit]
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(len(described.priors), 4)).astype(np.float32)
    conf = rng.normal(size=(len(described.priors), 3)).astype(np.float32)
    params = PostprocessParams(score_threshold=0.3)
    own = explain_object(loc, conf, described, params, BOX, SIZE)
    other = explain_object(loc, conf, _description("stretch"), params, _moved(fit), by_hand)
    assert (own.verdict, own.prior_index, own.label) == (
        other.verdict,
        other.prior_index,
        other.label,
    )
    # a frame of 50 and a cut of 75 pixels are whole ones at an input of 300
    for name in ("object_px", "object_cells", "prior_iou", "iou"):
        np.testing.assert_allclose(getattr(own, name), getattr(other, name), rtol=1e-4)


@pytest.mark.parametrize("fit", BY_HAND)
def test_levels_and_sizes_of_objects_are_those_of_the_picture_by_hand(fit: Fit) -> None:
    pytest.importorskip("hotcoco")
    from ssd_small.datasets.object_sizes import object_sides
    from ssd_small.evaluation.feature_levels import _unit_boxes

    by_hand, _ = BY_HAND[fit]
    own = _unit_boxes(np.array([BOX]), np.array([SIZE], float), (300, 300), fit)
    other = _unit_boxes(np.array([_moved(fit)]), np.array([by_hand], float), (300, 300), "stretch")
    np.testing.assert_allclose(own, other, rtol=1e-12)
    boxes = [{"image_id": 1, "bbox": list(BOX)}]
    images = [{"id": 1, "height": SIZE[0], "width": SIZE[1]}]
    (side,) = object_sides(images, boxes, 300, 300, fit=fit)
    np.testing.assert_allclose(side, np.sqrt(120 * 90) * 300 / by_hand[0], rtol=1e-12)


def test_an_object_shrinks_by_the_letterbox_too() -> None:
    from ssd_small.artefacts.object_size import ObjectSize

    learned = ObjectSize(picture=16.0, network=16.0)
    for fit, shrinks in (("letterbox", True), ("crop", False)):
        shrunk = ShrunkPictures(replace(_description(fit), object_size=learned), None)
        shrunk.add(300, 900)
        assert (shrunk.line(1) is not None) == shrinks
    seen = sizes_seen("letterbox", np.array([[300.0, 900.0]]), (300, 300))
    np.testing.assert_allclose(seen, [[900, 900]])


@pytest.mark.parametrize("fit", BY_HAND)
def test_training_is_shown_the_picture_by_hand(fit: Fit) -> None:
    pytest.importorskip("torchvision")
    from ssd_small.training.augment import Augmentation, example_from_sample
    from ssd_small.training.dataset import Sample

    (height, width), (top, left) = BY_HAND[fit]
    pixels = np.random.RandomState(0).randint(0, 256, (*SIZE, 3)).astype(np.uint8)
    whole = np.zeros((900, 1200, 3), np.uint8)
    whole[150:750, 150:1050] = pixels
    cut = whole[150 - top : 150 - top + height, 150 - left : 150 - left + width]
    boxes = np.array([[400, 210, 520, 300], [0, 0, 100, 50]], np.float32)
    labels = np.array([1, 2], np.int64)
    moved = boxes + np.float32([left, top, left, top])
    usual = Preprocessing(60, 60)
    for augmentation in (Augmentation.none(), Augmentation(False, False, 0.0, 1.0, 1.0, False, 0)):
        own, other = (
            example_from_sample(
                Sample(image, given, labels), np.random.default_rng(1), told, augmentation
            )
            for image, given, told in (
                (pixels, boxes, replace(usual, fit=fit)),
                (np.ascontiguousarray(cut), moved.clip(0), usual),
            )
        )
        kept = own.labels.tolist()
        # of the second one 100 columns of 150 are cut off
        assert kept == ([1, 2] if fit == "letterbox" else [1])
        np.testing.assert_allclose(own.boxes_xyxy, other.boxes_xyxy[: len(kept)], atol=1e-6)
        if fit == "crop":
            # a place at the edge is made of pixels beyond it
            inner = (slice(None), slice(1, -1), slice(1, -1))
            np.testing.assert_allclose(own.image[inner], other.image[inner], atol=1)


@pytest.mark.parametrize("fit", BY_HAND)
def test_tiles_are_refused_in_a_line(fit: Fit) -> None:
    with pytest.raises(UsageError, match=f"by {fit}; tiles are stretched") as caught:
        tiling_from_options((300, 300), None, False, None, _description(fit))
    assert "\n" not in str(caught.value)
