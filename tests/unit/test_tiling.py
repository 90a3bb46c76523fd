"""What a program may give as the size of a tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssd_small.detection.tiling import tiling_from_options
from ssd_small.errors import UsageError
from ssd_small.pictures.preprocessing import Preprocessing


class _Plain:
    tiles = None
    preprocessing = Preprocessing()


def tiling_of(tiles: Any) -> Any:
    return tiling_from_options(tiles, None, False, None, _Plain())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "tiles",
    [(True, True), (300, np.True_), b"ab", bytearray(b"ab"), np.array(300), (300.0, 300), {1, 2}],
    ids=repr,
)
def test_what_is_no_pair_of_whole_numbers_is_refused_in_a_line(tiles: Any) -> None:
    with pytest.raises(UsageError, match=r"^tiles .*: expected width and height in pixels"):
        tiling_of(tiles)


@pytest.mark.parametrize("tiles", [(300, 200), [300, 200], np.array([300, 200], np.uint16)])
def test_pairs_of_whole_numbers_are_width_and_height(tiles: Any) -> None:
    found = tiling_of(tiles)
    assert (found.width, found.height) == (300, 200)


@pytest.mark.parametrize("whole", ["yes", 1, None])
def test_whole_is_said_by_a_truth_value(whole: Any) -> None:
    with pytest.raises(UsageError, match=r"^whole .*: expected True or False$"):
        tiling_from_options((300, 200), None, whole, None, _Plain())  # type: ignore[arg-type]
