"""Strict readers for the parts of a description: preprocessing, decode + NMS, priors, network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..configs.network import (
    NETWORK_KEYS,
    NetworkConfig,
    network_config_from_dict,
    network_config_to_dict,
)
from ..models.registry import known_models
from ..models.spec import AnyLevel, Level, ListedLevel, NetworkLayers
from ..pictures.placement import FITS
from ..pictures.preprocessing import (
    COLOR_ORDERS,
    INTERPOLATIONS,
    MOST_INPUT_SIDE,
    RESIZES,
    PictureInput,
    Preprocessing,
)
from ..pictures.tile_grid import TileGrid
from ..postprocess.params import ACTIVATIONS, MAX_PRIORS, PostprocessParams
from .record import Fields
from .written_layers import layers_from_fields

#: longest side of a network's input in pixels, which limits what pictures are resized to
MOST_SIDE = 1 << 13
#: range of mean, std, prior box sides, steps and aspect ratios: wider than anybody needs, and what
#: is computed from them fits float32
_LEAST, _MOST = 1e-6, 1e6

Levels = tuple[tuple[AnyLevel, tuple[int, int]], ...]


def preprocessing_from_fields(fields: Fields) -> Preprocessing:
    """How a picture becomes network input; ValueError if a value makes no sense."""
    return Preprocessing(
        height=fields.integer("height", 1, MOST_SIDE),
        width=fields.integer("width", 1, MOST_SIDE),
        color_order=fields.text("color_order", COLOR_ORDERS),  # type: ignore[arg-type]
        mean=fields.numbers("mean", -_MOST, _MOST, 3),  # type: ignore[arg-type]
        std=fields.numbers("std", _LEAST, _MOST, 3),  # type: ignore[arg-type]
        interpolation=fields.text("interpolation", INTERPOLATIONS),  # type: ignore[arg-type]
        **_resizing_from_fields(fields),
        reduced_decoding="reduced_decoding" in fields and fields.flag("reduced_decoding"),
    )


def _resizing_from_fields(fields: Fields) -> dict[str, Any]:
    """The ways of resizing, which are written only if they are not the usual ones."""
    found: dict[str, Any] = {}
    for name, known in (("resize", RESIZES), ("fit", FITS)):
        if name in fields:
            found[name] = fields.text(name, known)
    if "antialias" in fields:
        found["antialias"] = fields.flag("antialias")
    if "pad" in fields:
        found["pad"] = fields.integers("pad", 0, 255, count=3)
    return found


def pictures_from_fields(fields: Fields) -> PictureInput:
    """An input that takes pictures as they are; ValueError if a value makes no sense."""
    for name, value in PictureInput().to_dict().items():
        if value is not None:
            fields.text(name, (value,))
    sides = {
        name: fields.integer(name, 1, MOST_INPUT_SIDE)
        for name in ("height", "width")
        if name in fields
    }
    if len(sides) == 1:
        raise ValueError(f"{next(iter(sides))}: got one without the other, expected both or none")
    return PictureInput(**sides)


def tiles_from_fields(fields: Fields) -> TileGrid:
    """Tiles that are cut inside; ValueError if a value makes no sense."""
    sides = {name: fields.integer(name, 1, MOST_SIDE) for name in ("width", "height")}
    counts = {name: fields.integer(name, 1, MOST_SIDE) for name in ("columns", "rows")}
    return TileGrid(**counts, **sides, overlap=fields.number("overlap", 0, 1))


def postprocess_from_fields(fields: Fields) -> PostprocessParams:
    """Parameters of decode + NMS; ValueError if a value makes no sense."""
    whole = (-1, (1 << 31) - 1)
    return PostprocessParams(
        score_threshold=fields.number("score_threshold"),
        iou_threshold=fields.number("iou_threshold"),
        variances=fields.numbers("variances", count=2),  # type: ignore[arg-type]
        activation=fields.text("activation", ACTIVATIONS),  # type: ignore[arg-type]
        background_label=fields.integer("background_label", *whole),
        pre_nms_topk=fields.integer("pre_nms_topk", *whole),
        keep_topk_per_class=fields.integer("keep_topk_per_class", *whole),
        keep_topk=fields.integer("keep_topk", *whole),
        pixel_offset=fields.number("pixel_offset"),
        clip_boxes="clip_boxes" in fields and fields.flag("clip_boxes"),
    )


def levels_from_fields(records: list[Fields], expected: bool = True) -> Levels:
    """Prior boxes per feature map; ValueError if a value makes no sense.

    ``expected``: whether there must be levels, because the prior boxes are not stored as data.
    """
    levels = tuple(_level(fields) for fields in records)
    if not levels and not expected:
        return ()
    if not levels:
        raise ValueError("levels: got none, expected at least one")
    count = boxes_of_levels(levels)
    if not 1 <= count <= MAX_PRIORS:
        raise ValueError(f"levels: got {count} prior boxes, expected 1 to {MAX_PRIORS}")
    return levels


def boxes_of_levels(levels: Levels) -> int:
    """Number of prior boxes of all feature maps together."""
    return sum(rows * columns * level.num_anchors for level, (rows, columns) in levels)


def _level(fields: Fields) -> tuple[AnyLevel, tuple[int, int]]:
    rows, columns = fields.integers("map", 1, MOST_SIDE, count=2)
    if "boxes" in fields:
        down, across = fields.numbers("steps", _LEAST, _MOST, count=2)
        boxes = fields.pairs("boxes", _LEAST, _MOST)
        if not boxes:
            raise ValueError("boxes: got none, expected at least one")
        return ListedLevel((down, across), boxes), (rows, columns)
    sizes, ratios = (fields.numbers(n, _LEAST, _MOST) for n in ("sizes", "aspect_ratios"))
    if not sizes:
        raise ValueError("sizes: got none, expected at least one")
    return Level(fields.number("step", _LEAST, _MOST), sizes, ratios), (rows, columns)


def levels_to_list(levels: Levels) -> list[dict[str, object]]:
    """JSON-ready form."""
    return [{"map": list(feature_map), **_level_to_dict(level)} for level, feature_map in levels]


def _level_to_dict(level: AnyLevel) -> dict[str, object]:
    if isinstance(level, ListedLevel):
        return {
            "steps": [float(step) for step in level.steps],
            "boxes": [[float(side) for side in box] for box in level.boxes],
        }
    return {
        "step": float(level.step),
        "sizes": [float(size) for size in level.sizes],
        "aspect_ratios": [float(ratio) for ratio in level.aspect_ratios],
    }


def network_from_fields(fields: Fields, source: str | Path) -> NetworkConfig | NetworkLayers | None:
    """The network of a description without a name for it; ValueError if a value makes no sense."""
    if "network_layers" in fields:
        if "network" in fields:
            raise ValueError("network_layers: got them and network, expected one of the two")
        if fields.text("model") in known_models():
            raise ValueError(
                f"network_layers: got those of {fields.text('model')}, which has a name"
            )
        return layers_from_fields(fields.fields("network_layers"))
    if "network" not in fields:
        return None
    values = fields.mapping("network")
    known = {key: value for key, value in values.items() if key in NETWORK_KEYS}
    missing = [key for key in NETWORK_KEYS if key not in known]
    if missing:
        raise ValueError(f"network.{missing[0]} is missing")
    config = network_config_from_dict(known, source, "network")
    # a file written by people may say "1" for 1, a record may not
    if network_config_to_dict(config) != known:
        raise ValueError("network: got a value of another type, expected what was written")
    return config
