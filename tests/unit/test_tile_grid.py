"""Tiles inside a network: their geometry, and descriptions that have them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ssd_small.artefacts.description import METADATA_KEY, Description, description_from_spec
from ssd_small.artefacts.sidecar import check_against_engine
from ssd_small.artefacts.tiled import tiled_description
from ssd_small.errors import BadFile, UsageError
from ssd_small.models.priors import priors_from_shifts
from ssd_small.models.registry import get_spec
from ssd_small.pictures.tile_grid import TileGrid
from ssd_small.postprocess import PostprocessParams

PLAIN = description_from_spec(get_spec("mobilenet_v1"), 3, 1.0)


def tiled(columns: int = 3, rows: int = 2, overlap: float = 0.2, **more: Any) -> Description:
    return tiled_description(PLAIN, columns, rows, overlap, **more)


@pytest.mark.parametrize(
    ("columns", "rows", "overlap", "size"),
    [(3, 2, 0.2, (540, 780)), (1, 2, 0.5, (450, 300)), (2, 1, 0.0, (300, 600))],
)
def test_the_picture_is_a_tile_and_as_many_strides_as_follow(
    columns: int, rows: int, overlap: float, size: tuple[int, int]
) -> None:
    description = tiled(columns, rows, overlap)
    assert description.tiles is not None
    assert description.tiles.size == size
    assert (description.preprocessing.height, description.preprocessing.width) == size
    windows = description.tiles.windows
    assert len(windows) == columns * rows
    assert {(one.width, one.height) for one in windows} == {(300, 300)}
    assert (windows[-1].x + 300, windows[-1].y + 300) == size[::-1]


def test_pixels_of_tiles_are_those_of_their_windows() -> None:
    tiles = TileGrid(3, 2, 30, 20, 0.3)
    picture = np.arange(np.prod(tiles.size)).reshape(tiles.size)
    rows, columns = tiles.indices
    for number, one in enumerate(tiles.windows):
        cut = picture[one.y : one.y + one.height, one.x : one.x + one.width]
        row, column = divmod(number, 3)
        np.testing.assert_array_equal(picture[rows[row]][:, columns[column]], cut)


def test_priors_are_those_of_each_tile_shifted() -> None:
    own, priors = PLAIN.priors, tiled().priors
    assert priors.shape == (6 * len(own), 4)
    parts = priors.reshape(6, -1, 4)
    np.testing.assert_array_equal(parts[0], own)
    # the sides keep their bits; the second tile of the second row lies 240 of 300 away both ways
    np.testing.assert_array_equal(parts[4][:, 2:], own[:, 2:])
    np.testing.assert_array_equal(parts[4][:, :2], own[:, :2] + np.float32(0.8))
    np.testing.assert_array_equal(priors_from_shifts(own, np.zeros((1, 2), np.float32)), own)


def test_boxes_come_to_the_unit_square_of_the_picture() -> None:
    tiles = tiled().tiles
    assert tiles is not None
    # the last tile whole, in the unit of a tile
    corner = tiles.shifts[-1]
    box = np.concatenate([corner, corner + 1]) * tiles.box_scale
    np.testing.assert_allclose(box * np.array([780, 540] * 2), [480, 240, 780, 540], rtol=1e-6)


def test_one_tile_is_the_network_as_it_is() -> None:
    assert tiled(1, 1) == PLAIN


def test_cuts_are_of_the_picture_unless_they_are_set() -> None:
    params = tiled(kept=["keep_topk"]).postprocess
    own = PostprocessParams()
    assert params.pre_nms_topk == 6 * own.pre_nms_topk
    assert params.keep_topk_per_class == 6 * own.keep_topk_per_class
    assert params.keep_topk == own.keep_topk
    assert replace(own, keep_topk=0).of_views(6).keep_topk == 0
    assert replace(own, keep_topk=2**30).of_views(6).keep_topk == 2**31 - 1


def test_a_description_with_tiles_is_read_as_it_was_written() -> None:
    description = tiled()
    told = description.to_dict()
    assert told["format"] == 4
    assert told["tiles"] == {"columns": 3, "rows": 2, "width": 300, "height": 300, "overlap": 0.2}
    assert Description.from_dict(told, "x") == description


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("columns", 2, "tiles: of (540, 540) pixels, the input has (540, 780)"),
        ("columns", 0, "tiles.columns"),
        ("rows", 2.0, "tiles.rows"),
        ("width", 299, "tiles: of"),
        ("height", True, "tiles.height"),
        ("overlap", 0.21, "tiles: of"),
        ("overlap", 1, "overlap 1: expected a share from 0 to under 1"),
        ("overlap", -0.1, "tiles.overlap"),
        ("overlap", 0.999, "leaves no step"),
        ("overlap", None, "tiles.overlap"),
    ],
)
def test_a_damaged_grid_is_refused(field: str, value: object, reason: str) -> None:
    told = tiled().to_dict()
    told["tiles"][field] = value
    with pytest.raises(BadFile) as error:
        Description.from_dict(told, "x")
    assert reason in str(error.value)


def test_a_grid_in_an_older_format_is_refused() -> None:
    told = tiled().to_dict() | {"format": 3}
    with pytest.raises(BadFile, match="format: got 3, expected 4"):
        Description.from_dict(told, "x")
    told["tiles"] |= {"columns": 1, "rows": 1}
    with pytest.raises(BadFile, match="a grid of 1x1 tiles: expected at least two"):
        Description.from_dict(told, "x")


@pytest.mark.parametrize(
    ("columns", "rows", "overlap", "reason"),
    [
        (40, 1, 0.2, "40x1 tiles of 300x300 are a picture of 9660x300 pixels; a network takes"),
        (33, 44, 0.4, "33x44 tiles have"),
        (2, 2, 0.999, "leaves no step from one to the next"),
    ],
)
def test_a_grid_beyond_a_limit_is_refused(
    columns: int, rows: int, overlap: float, reason: str
) -> None:
    with pytest.raises(UsageError) as error:
        tiled(columns, rows, overlap)
    assert reason in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("columns", "rows", "overlap"), [(2, 3, 0.2), (3, 2, 0.3), (1, 1, 0.2)])
def test_a_sidecar_of_another_grid_is_refused(columns: int, rows: int, overlap: float) -> None:
    inside = {METADATA_KEY: json.dumps(tiled().with_decode_nms(False).to_dict())}
    told = tiled(columns, rows, overlap).with_decode_nms(False)
    check_against_engine(SimpleNamespace(description=tiled()), inside, Path("x"))
    with pytest.raises(BadFile, match="tells of another grid of tiles than the engine was built"):
        check_against_engine(SimpleNamespace(description=told), inside, Path("x"))
