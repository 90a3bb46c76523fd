"""The named protocols of decode + NMS, and how a set of parameters is called and told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import UsageError
from .params import PostprocessParams

#: for deployment, and the published one
PRESETS = {"deploy": PostprocessParams(), "coco": PostprocessParams.coco()}
#: what parameters are called that are those of no preset
OWN = "the file's own"
#: what belongs to the network and stays with it under every protocol
_OF_THE_NETWORK = ("variances", "activation", "background_label")


def params_from_preset(preset: str, own: PostprocessParams) -> PostprocessParams:
    """The thresholds and cuts of a preset, for a network whose parameters are ``own``.

    Boxes are clipped if the network's are: no preset says how it was made to decode them.

    Raises:
        UsageError: there is no such preset.
    """
    if preset not in PRESETS:
        raise UsageError(f"preset {preset!r}: expected {' or '.join(PRESETS)}")
    return replace(params_under_protocol(own, PRESETS[preset]), clip_boxes=own.clip_boxes)


def params_under_protocol(own: PostprocessParams, protocol: PostprocessParams) -> PostprocessParams:
    """The thresholds and cuts of ``protocol``, for a network whose parameters are ``own``.

    Whether boxes are clipped is the protocol's: another network is judged by the same rule.
    """
    return replace(protocol, **{name: getattr(own, name) for name in _OF_THE_NETWORK})


def protocol_name(params: PostprocessParams) -> str:
    """``deploy`` or ``coco`` where these are its thresholds and cuts, else ``the file's own``.

    The name follows from the numbers alone, not from how they were asked for: the same numbers have
    the same name wherever they came from.
    """
    for preset in PRESETS:
        if params == params_from_preset(preset, params):
            return preset
    return OWN


def protocol_from_params(params: PostprocessParams) -> dict[str, Any]:
    """Name and parameters, JSON-ready."""
    return {"name": protocol_name(params), **params.to_dict()}


def text_from_params(params: PostprocessParams) -> str:
    """The thresholds and cuts in a line for people."""
    offset = params.pixel_offset
    return (
        f"score > {params.score_threshold:g}, IoU > {params.iou_threshold:g}, pre-NMS top "
        f"{params.pre_nms_topk or 'all'}, {params.keep_topk_per_class or 'all'} per class, "
        f"{params.keep_topk or 'all'} per image, pixel offset "
        + (f"1/{1 / offset:g} of the side" if offset else "0")
        + (", boxes cut to the picture" if params.clip_boxes else "")
    )
