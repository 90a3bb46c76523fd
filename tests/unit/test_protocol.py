"""What post-processing is called and told as."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssd_small.errors import UsageError
from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.protocol import (
    params_from_preset,
    protocol_from_params,
    protocol_name,
    text_from_params,
)

#: a network of another family
OTHER = PostprocessParams(variances=(0.3, 0.4), activation="sigmoid", background_label=-1)


@pytest.mark.parametrize("preset", ["deploy", "coco"])
def test_a_preset_has_its_name_whatever_the_network(preset: str) -> None:
    for own in (PostprocessParams(), OTHER):
        assert protocol_name(params_from_preset(preset, own)) == preset


@pytest.mark.parametrize(
    "change",
    [
        {"score_threshold": 0.02},
        {"iou_threshold": 0.5},
        {"pre_nms_topk": 401},
        {"keep_topk_per_class": 0},
        {"keep_topk": 100},
        {"pixel_offset": 1 / 300},
    ],
)
def test_other_thresholds_or_cuts_are_of_no_preset(change: dict[str, float]) -> None:
    assert protocol_name(replace(PostprocessParams(), **change)) == "the file's own"


def test_a_preset_leaves_what_belongs_to_the_network() -> None:
    params = params_from_preset("coco", OTHER)
    assert (params.variances, params.activation, params.background_label) == (
        *((0.3, 0.4), "sigmoid", -1),
    )
    assert (params.pre_nms_topk, params.keep_topk, params.pixel_offset) == (0, 0, 1 / 300)


def test_there_are_two_presets() -> None:
    with pytest.raises(UsageError, match="'voc': expected deploy or coco"):
        params_from_preset("voc", PostprocessParams())


def test_the_json_form_has_the_name_and_every_parameter() -> None:
    told = protocol_from_params(OTHER)
    assert told.pop("name") == "deploy"
    assert PostprocessParams.from_dict(told) == OTHER


def test_the_text_says_thresholds_cuts_and_units() -> None:
    assert text_from_params(PostprocessParams()) == (
        "score > 0.01, IoU > 0.6, pre-NMS top 400, 100 per class, 200 per image, pixel offset 0"
    )
    assert text_from_params(PostprocessParams.coco()) == (
        "score > 0.01, IoU > 0.6, pre-NMS top all, 100 per class, all per image, "
        "pixel offset 1/300 of the side"
    )
