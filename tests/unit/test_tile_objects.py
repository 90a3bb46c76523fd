"""Objects in tiles: where they are, how much of them, and that none is lost that a tile holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_small.datasets.tile_objects import TileObjects, objects_of_tiles
from ssd_small.pictures.tiles import Tiling, Window


def tiles(
    boxes: list[tuple[float, ...]], size: tuple[int, int], tiling: Tiling, visible: float = 0.6
) -> list[TileObjects]:
    return list(objects_of_tiles(np.array(boxes, np.float64), size, tiling, visible))


def test_objects_by_hand() -> None:
    """A picture of 160 x 100, in tiles of 100 x 100 that start at 0 and 60."""
    boxes = [
        (10, 10, 30, 20),  # in the first alone
        (70, 0, 90, 50),  # in both
        (50, 0, 110, 10),  # five sixths in both
        (30, 0, 130, 10),  # 0.7 in both
        (0, 40, 150, 60),  # two thirds in the first, 0.6 in the second
        (95, 90, 145, 100),  # a tenth in the first, all of it in the second
        (-10, 50, 10, 60),  # half of it is in the picture, and that is all there is of it
        (200, 0, 210, 10),  # outside
    ]
    first, second = tiles(boxes, (100, 160), Tiling(100, 100, 0.4))
    assert (first.window, second.window) == (Window(0, 0, 100, 100), Window(60, 0, 100, 100))
    assert first.rows.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert first.visible == pytest.approx([1, 1, 5 / 6, 0.7, 2 / 3, 0.1, 1])
    assert first.kept.tolist() == [True, True, True, True, True, False, True]
    assert first.boxes_xyxy[[2, 6]].tolist() == [[50, 0, 100, 10], [0, 50, 10, 60]]
    assert second.rows.tolist() == [1, 2, 3, 4, 5]
    # exactly the least share is enough
    assert second.visible == pytest.approx([1, 5 / 6, 0.7, 0.6, 1])
    assert second.kept.all()
    assert second.boxes_xyxy[[0, 3]].tolist() == [[10, 0, 30, 50], [0, 40, 90, 60]]


def test_the_whole_picture_as_a_view_is_no_tile() -> None:
    found = tiles([(0, 0, 5, 5)], (100, 160), Tiling(100, 100, 0.4, whole=True))
    assert [one.window.width for one in found] == [100, 100]


def test_a_picture_smaller_than_a_tile_is_one() -> None:
    (only,) = tiles([(0, 0, 5, 5), (30, 0, 40, 50)], (50, 40), Tiling(100, 100))
    assert only.window == Window(0, 0, 40, 50)
    assert only.kept.all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_object_no_larger_than_the_overlap_lies_whole_in_a_tile(data: st.DataObject) -> None:
    width, height = data.draw(st.tuples(st.integers(1, 400), st.integers(1, 400)), "picture")
    tiling = Tiling(data.draw(st.integers(20, 90)), data.draw(st.integers(20, 90)), 0.25)
    overlap = (tiling.width - tiling.stride[0], tiling.height - tiling.stride[1])
    w = data.draw(st.floats(1, max(1, min(overlap[0], width))), "w")
    h = data.draw(st.floats(1, max(1, min(overlap[1], height))), "h")
    x, y = data.draw(st.floats(0, width - w), "x"), data.draw(st.floats(0, height - h), "y")
    found = tiles([(x, y, x + w, y + h)], (height, width), tiling, 1.0)
    assert any(one.kept.any() for one in found)
    for one in found:
        inside = one.boxes_xyxy + np.array([one.window.x, one.window.y] * 2)
        assert (inside[:, :2] >= [x - 1e-9, y - 1e-9]).all()
        assert (inside[:, 2:] <= [x + w + 1e-9, y + h + 1e-9]).all()
