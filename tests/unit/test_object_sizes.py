"""Boxes that are no pixels, and objects that a network hardly sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssd_small.datasets.coco import Annotations
from ssd_small.datasets.object_sizes import (
    are_fractions,
    check_pixels,
    object_sides,
    tiles_for_objects,
    tiny_objects_line,
)
from ssd_small.errors import BadFile

IMAGES = ({"id": 1, "width": 600, "height": 300}, {"id": 2, "width": 300, "height": 150})


def boxes(*bboxes: list[float], image: int = 1, crowd: int = 0) -> list[dict[str, Any]]:
    return [{"image_id": image, "bbox": bbox, "iscrowd": crowd} for bbox in bboxes]


@pytest.mark.parametrize(
    ("bboxes", "fractions"),
    [
        ([[0.1, 0.2, 0.3, 0.4]], True),
        ([[0, 0, 1, 1], [0.9, 0.9, 0.4, 0.3], [-0.1, 0, 0.2, 0.2]], True),
        ([[0.1, 0.2, 0.3, 0.4], [5, 5, 0.5, 0.5]], False),  # a small box in pixels
        ([[0, 0, 2, 2]], False),
        ([[0.5, 0.5, 1.5, 0.5]], False),
        ([], False),
    ],
)
def test_fractions_are_boxes_none_of_which_reaches_a_pixel(
    bboxes: list[list[float]], fractions: bool
) -> None:
    listed = boxes(*bboxes)
    assert are_fractions(listed) is fractions
    truth = Annotations(Path("gt.json"), IMAGES, (), tuple(listed), 0)
    if fractions:
        with pytest.raises(BadFile, match=r"gt\.json: no box reaches a pixel .* fractions"):
            check_pixels(truth)
    else:
        check_pixels(truth)


def test_sides_are_those_at_the_networks_input() -> None:
    """600x300 at 300x300: widths are halved; 300x150: heights are doubled."""
    listed = [*boxes([10, 10, 32, 16]), *boxes([0, 0, 4, 8], image=2)]
    np.testing.assert_allclose(object_sides(IMAGES, listed, 300, 300), [16, 8])
    np.testing.assert_allclose(object_sides(IMAGES, listed, 300, 600), [32 / 2**0.5, 8 * 2**0.5])


def test_only_what_counts_and_is_inside_has_a_side() -> None:
    clipped, outside = boxes([592, 0, 100, 4], [700, 0, 10, 10])
    listed = [clipped, outside, *boxes([0, 0, 50, 50], crowd=1)]
    np.testing.assert_allclose(object_sides(IMAGES, listed, 300, 300), [4])
    assert object_sides(IMAGES, [], 300, 300).shape == (0,)


def test_tiny_objects_are_counted_with_the_median_of_all() -> None:
    line = tiny_objects_line(np.array([2.3, 1.0, 9.0]), 300, 512)
    assert line is not None
    assert line.startswith("2 of 3 objects shrink below 8 px")
    assert "median object 2.3 px at 512x300" in line
    assert tiny_objects_line(np.array([8.0, 9.0]), 300, 300) is None
    assert line.endswith("px at 512x300)")


def test_tiles_are_named_where_the_median_object_is_tiny() -> None:
    sides = np.array([2.0, 4.0, 90.0])
    # of tiles of 75 x 128, seen at 300 x 512, an object of 4 px comes to 16
    tiles = tiles_for_objects(sides, 300, 512)
    assert tiles == "--tiles 128x75"
    recorded = tiles_for_objects(sides, 300, 512, is_recorded=True)
    assert recorded == "--tiles auto --object-size 4.0"
    assert tiles_for_objects(np.zeros(0), 300, 512) is None
    tiny, seen = np.array([3.0, 7.9, 20.0]), np.array([3.0, 8.0, 20.0])
    assert str(tiny_objects_line(tiny, 300, 512, tiles)).endswith("); pass --tiles 128x75")
    assert str(tiny_objects_line(seen, 300, 512, tiles)).endswith("512x300)")


def test_nothing_is_tiny_where_nothing_is() -> None:
    assert tiny_objects_line(np.zeros(0), 300, 300) is None
