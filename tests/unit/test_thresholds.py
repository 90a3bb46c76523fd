"""Score thresholds by number and by name: exact filters, and what cannot be had is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from detection_doubles import CLASSES, SCORES, description, detector, picture

from ssd_small import Detections, PostprocessParams
from ssd_small.detection.detector import Detector
from ssd_small.detection.thresholds import ScoreThreshold, score_filter, thresholds_by_class
from ssd_small.errors import UsageError
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.runtimes.base import BatchingRuntime, FloatArray, HeadOutputs


def kept(threshold: ScoreThreshold | None, own: float = 0.25) -> list[tuple[int, float]]:
    """Label and score of what a detector with the threshold ``own`` inside gives."""
    found = detector(own)(picture(1), score_threshold=threshold)[0]
    return [(one.label, round(one.score, 4)) for one in found]


def above(cat: float, dog: float) -> list[tuple[int, float]]:
    """The same by hand."""
    limit = {1: cat, 2: dog}
    return [(k, s) for k, s in zip(CLASSES, SCORES, strict=True) if s > limit[k]]


@pytest.mark.parametrize("threshold", [0.25, 0.3, 0.55, 0.7, 0.9, 1, 2, np.float64(0.7), 3.4e38])
def test_a_number_is_a_filter_of_every_class(threshold: float) -> None:
    assert kept(threshold) == above(threshold, threshold)
    assert kept({None: threshold}) == above(threshold, threshold)


def test_a_score_of_exactly_the_threshold_is_not_kept() -> None:
    # 0.55 and the score next to it are one number in single precision
    assert 0.55 not in [score for _, score in kept(0.55)]
    assert (1, 0.55) in kept(float(np.nextafter(np.float32(0.55), np.float32(0))))


def test_the_default_is_the_larger_of_a_half_and_the_engine_s_own() -> None:
    assert kept(None) == kept({}) == kept({None: None}) == above(0.5, 0.5)
    assert kept(None, own=0.7) == above(0.7, 0.7)


def test_named_classes_are_set_and_the_others_keep_the_default() -> None:
    assert kept({"dog": 0.7}) == above(0.5, 0.7)
    assert kept({"dog": 0.26}) == above(0.5, 0.26)
    assert kept({"dog": 0.26}, own=0.26) == above(0.5, 0.26)
    assert kept({"cat": 0.8, None: 0.26}) == above(0.8, 0.26)
    assert kept({"cat": 0.8, "dog": Fraction(1, 3)}) == above(0.8, 1 / 3)  # type: ignore[dict-item]


@pytest.mark.parametrize("name", ["bird", "", "Cat", 1, 0, ("cat",), b"cat"])
def test_an_unknown_class_is_refused_with_the_known_ones(name: Any) -> None:
    with pytest.raises(UsageError, match="does not have; its classes are cat, dog") as caught:
        kept({name: 0.7})
    assert repr(name) in str(caught.value)


def test_of_many_classes_the_first_are_listed() -> None:
    many = replace(description(), num_classes=81, labels=tuple(f"class {i}" for i in range(80)))
    with pytest.raises(UsageError, match=r"class 0, .*class 19, \.\.\.$"):
        score_filter({"bird": 0.7}, many, 0.1, is_bound=True)


def test_a_class_is_named_in_any_form_of_unicode() -> None:
    forms = ("caf\u00e9", "cafe\u0301")
    for known, typed in (forms, forms[::-1]):
        asked = {typed: 0.25, None: 0.75}
        assert thresholds_by_class(asked, ["cat", known], 0.0, holder="gt.json") == [0.75, 0.25]


def test_two_classes_of_one_name_are_both_set() -> None:
    twins = replace(description(), num_classes=4, labels=("cell", "other", "cell"))
    keep = score_filter({"cell": 0.8}, twins, 0.1, is_bound=True)
    assert keep.by_label[1:].tolist() == np.float32([0.8, 0.5, 0.8]).tolist()


def test_labels_count_from_the_background_or_from_zero_where_there_is_none() -> None:
    params = replace(description().postprocess, background_label=-1)
    bare = replace(description(params), num_classes=2)
    keep = score_filter({"cat": 0.8}, bare, 0.1, is_bound=True)
    assert keep.by_label.tolist() == np.float32([0.8, 0.5]).tolist()
    last = replace(description(replace(params, background_label=2)))
    assert last.labels_named("dog") == [1]


@pytest.mark.parametrize(
    "number",
    [math.nan, math.inf, -math.inf, 1e39, 10**400, True, "0.5", None, [0.5], 1j, np.array([0.5])],
)
def test_what_is_no_finite_number_is_refused(number: Any) -> None:
    with pytest.raises(UsageError, match=r"^score_threshold of dog: got "):
        kept({"dog": number})
    if number is not None:
        with pytest.raises(UsageError, match=r"^score_threshold: got .*, expected a "):
            kept(number)


@pytest.mark.parametrize("own", [0.6, 0.25])
def test_less_than_the_engine_s_own_is_refused_with_the_reason(own: float) -> None:
    asked = float(np.nextafter(np.float32(own), np.float32(0)))
    for threshold in (asked, {"dog": asked}, {None: asked}, -1):
        with pytest.raises(UsageError, match=f"is below {own}, with which decode") as caught:
            kept(threshold, own)  # type: ignore[arg-type]
        assert f"ask for {own} or more" in str(caught.value)
    assert kept(own, own) == above(own, own)


class _Heads(BatchingRuntime):
    """Small priors in two corners and the middle of the picture hold cats of these scores."""

    name, precision, max_batch = "heads", "fp32", 4
    scores = (0.55, 0.7, 0.95)

    def __init__(self, own: float) -> None:
        small = description(PostprocessParams(score_threshold=own), inside=False)
        # of the size that the prior boxes are meant for
        self.description = replace(small, preprocessing=Preprocessing())
        widths = self.description.priors[:, 2]
        smallest = np.flatnonzero(widths == widths.min())
        self._holders = smallest[[0, len(smallest) // 2, -1]]

    def infer_batch(self, images: FloatArray) -> HeadOutputs:
        count = len(self.description.priors)
        conf = np.zeros((len(images), count, 3), np.float32)
        conf[:, :, 1:] = -100
        # the softmax of (0, x, -100) is s where x is the logit of s
        conf[:, self._holders, 1] = [math.log(s / (1 - s)) for s in self.scores]
        return HeadOutputs(np.zeros((len(images), count, 4), np.float32), conf)


def test_outside_of_the_engine_a_lower_threshold_is_free_and_gives_more() -> None:
    found = Detector(_Heads(own=0.8))
    asked = {None: 1, 0.9: 1, 0.6: 2, 0.5: 3, 0.01: 3}
    for threshold, number in asked.items():
        given = found(picture(1), score_threshold=threshold)[0].scores.tolist()
        assert given == pytest.approx([0.95, 0.7, 0.55][:number], rel=1e-5), threshold
    assert len(found(picture(1), score_threshold={"cat": 0.6})[0]) == 2
    assert len(found(picture(1), score_threshold={"dog": 0.6})[0]) == 1
    assert found.params.score_threshold == 0.8


def test_a_lower_threshold_is_that_of_decode_nms_itself() -> None:
    lowered = Detector(_Heads(own=0.8))(picture(1), score_threshold=0.6)[0]
    exported = Detector(_Heads(own=0.6))(picture(1), score_threshold=0.6)[0]
    assert len(lowered) == 2
    assert np.array_equal(lowered.boxes, exported.boxes)
    assert np.array_equal(lowered.prior_indices, exported.prior_indices)


def test_a_filter_keeps_the_order_and_every_column() -> None:
    given = Detections(
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.float32([0.9, 0.8, 0.7]),
        np.int32([1, 1, 2]),
        np.arange(3, dtype=np.int32),
    )
    keep = score_filter({"cat": 0.8, "dog": 0.6}, description(), 0.1, is_bound=True)
    found = keep(given)
    assert keep.lowest == np.float32(0.6)
    assert (found.labels.tolist(), found.prior_indices.tolist()) == ([1, 2], [0, 2])
    assert found.boxes.tolist() == given.boxes[[0, 2]].tolist()
