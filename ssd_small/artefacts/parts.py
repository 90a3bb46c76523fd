"""The parts of a description, read strictly: preprocessing, post-processing, prior levels."""

from __future__ import annotations

from ..models.spec import Level
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import MAX_PRIORS, PostprocessParams
from .record import Fields

#: sides of a network's input in pixels: what a description may ask a picture to be resized to
MOST_SIDE = 1 << 13
#: side of a prior box, step or input, in pixels, that anybody means
_MOST_PIXELS = 1e6

Levels = tuple[tuple[Level, tuple[int, int]], ...]


def preprocessing_from_fields(fields: Fields) -> Preprocessing:
    """How a picture becomes network input; ValueError for what cannot be meant."""
    return Preprocessing(
        height=fields.integer("height", 1, MOST_SIDE),
        width=fields.integer("width", 1, MOST_SIDE),
        color_order=fields.text("color_order"),  # type: ignore[arg-type]
        mean=fields.numbers("mean"),  # type: ignore[arg-type]
        std=fields.numbers("std"),  # type: ignore[arg-type]
        interpolation=fields.text("interpolation"),  # type: ignore[arg-type]
    )


def postprocess_from_fields(fields: Fields) -> PostprocessParams:
    """Parameters of decode + NMS; ValueError for what cannot be meant."""
    whole = (-1, (1 << 31) - 1)
    return PostprocessParams(
        score_threshold=fields.number("score_threshold"),
        iou_threshold=fields.number("iou_threshold"),
        variances=fields.numbers("variances"),  # type: ignore[arg-type]
        activation=fields.text("activation"),  # type: ignore[arg-type]
        background_label=fields.integer("background_label", *whole),
        pre_nms_topk=fields.integer("pre_nms_topk", *whole),
        keep_topk_per_class=fields.integer("keep_topk_per_class", *whole),
        keep_topk=fields.integer("keep_topk", *whole),
        pixel_offset=fields.number("pixel_offset"),
    )


def levels_from_fields(records: list[Fields]) -> Levels:
    """Prior boxes per feature map; ValueError for what cannot be meant."""
    levels = tuple(_level(fields) for fields in records)
    if not levels:
        raise ValueError("levels: got none, expected at least one")
    count = sum(rows * columns * level.num_anchors for level, (rows, columns) in levels)
    if not 1 <= count <= MAX_PRIORS:
        raise ValueError(f"levels: got {count} prior boxes, expected 1 to {MAX_PRIORS}")
    return levels


def _level(fields: Fields) -> tuple[Level, tuple[int, int]]:
    feature_map = fields.integers("map", 1, MOST_SIDE)
    if len(feature_map) != 2:
        raise ValueError(f"map: got {list(feature_map)}, expected rows and columns")
    sizes, ratios = fields.numbers("sizes", 0), fields.numbers("aspect_ratios", 0)
    if not sizes or len(sizes) + 2 * len(ratios) > MAX_PRIORS:
        raise ValueError(f"sizes: got {len(sizes)}, expected at least one")
    if not all(0 < value <= _MOST_PIXELS for value in (*sizes, *ratios)):
        raise ValueError("sizes, aspect_ratios: expected numbers above 0 and below a million")
    level = Level(fields.number("step", 0, _MOST_PIXELS), sizes, ratios)
    return level, (feature_map[0], feature_map[1])


def levels_to_list(levels: Levels) -> list[dict[str, object]]:
    """JSON-ready form."""
    return [
        {
            "map": list(feature_map),
            "step": level.step,
            "sizes": list(level.sizes),
            "aspect_ratios": list(level.aspect_ratios),
        }
        for level, feature_map in levels
    ]
