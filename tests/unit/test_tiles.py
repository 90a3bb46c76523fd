"""Tiles cover a picture, full and in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_small.errors import UsageError
from ssd_small.pictures.tiles import Tiling, Window


def test_the_last_of_a_row_and_of_a_column_moves_inwards() -> None:
    # 300 + 240 = 540: 18 pixels more take a third column, which begins where it ends with them
    windows = list(Tiling(300, 300, 0.2).windows(300, 558))
    assert windows == [Window(0, 0, 300, 300), Window(240, 0, 300, 300), Window(258, 0, 300, 300)]
    assert Tiling(300, 300, 0.2).grid(558, 300) == (1, 3)


@pytest.mark.parametrize(("length", "count"), [(1, 1), (300, 1), (301, 2), (540, 2), (541, 3)])
def test_tiles_along_a_side(length: int, count: int) -> None:
    assert Tiling(300, 300, 0.2).grid(length, 300) == (1, count)
    assert Tiling(300, 300, 0.2).grid(300, length) == (count, 1)


def test_a_picture_smaller_than_a_tile_is_one_tile() -> None:
    for whole in (False, True):
        tiling = Tiling(300, 300, whole=whole)
        assert list(tiling.windows(200, 100)) == [Window(0, 0, 100, 200)]


def test_one_side_may_be_smaller_than_a_tile() -> None:
    assert list(Tiling(300, 300, 0).windows(100, 600)) == [
        Window(0, 0, 300, 100),
        Window(300, 0, 300, 100),
    ]


def test_the_whole_comes_last() -> None:
    windows = list(Tiling(200, 100, 0.5, whole=True).windows(150, 300))
    assert windows[-1] == Window(0, 0, 300, 150)
    assert [(w.x, w.y) for w in windows[:-1]] == [(0, 0), (100, 0), (0, 50), (100, 50)]


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    overlap=st.sampled_from([0, 0.1, 0.2, 0.25, 0.5]),
)
def test_every_pixel_is_covered_and_no_tile_is_needless(
    size: tuple[int, int], tile: tuple[int, int], overlap: float
) -> None:
    tiling = Tiling(*tile, overlap)
    covered = np.zeros(size, int)
    windows = list(tiling.windows(*size))
    for window in windows:
        assert window.x >= 0
        assert window.y >= 0
        part = covered[window.y : window.y + window.height, window.x : window.x + window.width]
        assert part.shape == (window.height, window.width)
        assert part.shape == (min(tile[1], size[0]), min(tile[0], size[1]))
        part += 1
    assert covered.all()
    assert len({(w.x, w.y) for w in windows}) == len(windows)
    assert len(windows) == np.prod(tiling.grid(*size))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 300), "tiles of 0x300: expected a width and a height of at least 1 pixel"),
        ((300, 300, 1.0), "overlap 1: expected a share from 0 to under 1"),
        ((300, 300, -0.1), "overlap -0.1: expected"),
        ((300, 300, float("nan")), "overlap nan: expected"),
        ((300, 1, 0.9), "overlap 0.9 of tiles of 300x1 leaves no step"),
    ],
)
def test_what_cuts_nothing_is_refused(values: tuple[int, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Tiling(*values)
