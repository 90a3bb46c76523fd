"""Pictures so large that nothing is found: detect says so, without knowing what is in them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.artefacts.object_size import ObjectSize
from ssd_small.detection.shrinking import ShrunkPictures
from ssd_small.models.registry import get_spec
from ssd_small.pictures.tiles import Tiling


@pytest.fixture
def description() -> Description:
    """Objects of 40 px in pictures of 600 x 600, which are 20 at the input of 300 x 300."""
    own = description_from_spec(get_spec("mobilenet_v1_s1l0"), 4, 0.25)
    return replace(own, object_size=ObjectSize(40, 20))


def test_pictures_are_counted_in_which_objects_shrink(description: Description) -> None:
    shrunk = ShrunkPictures(description, None)
    # 40 px come to 8 in a picture of 1500 x 1500, and in 3000 x 750
    for size in ((600, 600), (1500, 1500), (750, 3000), (10, 10), (0, 0)):
        shrunk.add(*size)
    assert shrunk.line(5) is None
    shrunk.add(1500, 1501)
    shrunk.add(3000, 3000)
    line = shrunk.line(7)
    assert line is not None
    assert line.startswith("2 of 7 images are so large that objects of 40.0 px")
    assert "(4.0 px at 300x300, 20.0 px in training): pass --tiles auto" in line


def test_tiles_are_judged_by_themselves(description: Description) -> None:
    shrunk = ShrunkPictures(description, Tiling(600, 600))
    shrunk.add(9000, 9000)
    assert shrunk.line(1) is None
    shrunk = ShrunkPictures(description, Tiling(2000, 2000))
    shrunk.add(9000, 9000)
    shrunk.add(600, 600)
    assert str(shrunk.line(2)).startswith("1 of 2")


def test_a_network_that_has_learned_tiny_objects_is_not_blamed(description: Description) -> None:
    tiny = replace(description, object_size=ObjectSize(12, 6))
    shrunk = ShrunkPictures(tiny, None)
    shrunk.add(600, 600)  # as in training
    assert shrunk.line(1) is None
    shrunk.add(700, 700)
    assert shrunk.line(2) is not None


def test_where_nothing_is_recorded_nothing_is_said(description: Description) -> None:
    shrunk = ShrunkPictures(replace(description, object_size=None), None)
    shrunk.add(9000, 9000)
    assert shrunk.line(1) is None
