"""The named protocols of decode + NMS, and the name and description of a set of parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import UsageError
from .params import PostprocessParams

#: the preset for deployment, and the published protocol
PRESETS = {"deploy": PostprocessParams(), "coco": PostprocessParams.coco()}
#: name of parameters that match no preset
OWN = "the file's own"
#: parameters that belong to the network and stay the same under every protocol
_OF_THE_NETWORK = ("variances", "activation", "background_label")


def params_from_preset(preset: str, own: PostprocessParams) -> PostprocessParams:
    """The thresholds and cuts of a preset, for a network whose parameters are ``own``.

    ``clip_boxes`` is kept from the network: presets do not say how it was made to decode boxes.

    Raises:
        UsageError: there is no such preset.
    """
    if preset not in PRESETS:
        raise UsageError(f"preset {preset!r}: expected {' or '.join(PRESETS)}")
    return replace(params_under_protocol(own, PRESETS[preset]), clip_boxes=own.clip_boxes)


def params_under_protocol(own: PostprocessParams, protocol: PostprocessParams) -> PostprocessParams:
    """The thresholds and cuts of ``protocol``, for a network whose parameters are ``own``.

    ``clip_boxes`` comes from the protocol, so that all networks are judged by the same rule.
    """
    return replace(protocol, **{name: getattr(own, name) for name in _OF_THE_NETWORK})


def protocol_name(params: PostprocessParams) -> str:
    """``deploy`` or ``coco`` if thresholds and cuts are that preset's, else ``the file's own``.

    The name depends only on the numbers, not on where they came from.
    """
    for preset in PRESETS:
        if params == params_from_preset(preset, params):
            return preset
    return OWN


def protocol_from_params(params: PostprocessParams) -> dict[str, Any]:
    """Name and parameters, JSON-ready."""
    return {"name": protocol_name(params), **params.to_dict()}


def text_from_params(params: PostprocessParams) -> str:
    """The thresholds and cuts as one line of text."""
    offset = params.pixel_offset
    return (
        f"score > {params.score_threshold:g}, IoU > {params.iou_threshold:g}, pre-NMS top "
        f"{params.pre_nms_topk or 'all'}, {params.keep_topk_per_class or 'all'} per class, "
        f"{params.keep_topk or 'all'} per image, pixel offset "
        + (f"1/{1 / offset:g} of the side" if offset else "0")
        + (", boxes cut to the picture" if params.clip_boxes else "")
    )
