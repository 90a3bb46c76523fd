"""Prior boxes, in inputs that are square and in inputs that are not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.errors import UsageError
from ssd_small.evaluation.coco_results import results_from_detections
from ssd_small.models.network import create_model
from ssd_small.models.priors import priors_from_levels, priors_from_spec
from ssd_small.models.registry import get_spec, list_models
from ssd_small.models.shapes import summarize
from ssd_small.models.spec import Level, ModelSpec
from ssd_small.pictures.preprocessing import Preprocessing
from ssd_small.postprocess import PostprocessParams, decode_nms

HEIGHT, WIDTH = 240, 320


def wide_spec(name: str = "mobilenet_v1_s1l0_dual") -> ModelSpec:
    """A network whose input is wider than high."""
    return replace(get_spec(name), preprocessing=Preprocessing(height=HEIGHT, width=WIDTH))


def test_priors_of_an_input_of_240_by_320_by_hand() -> None:
    # a map of 3 rows and 4 columns; squares of 48 and 60 pixels; 96 x 24 and 24 x 96
    level = Level(80, (48.0, 60.0), (4.0,))
    priors = priors_from_levels([(level, (3, 4))], (HEIGHT, WIDTH), "none")
    sides = [(0.15, 0.2), (0.1875, 0.25), (0.3, 0.1), (0.075, 0.4)]
    assert priors.shape == (3 * 4 * 4, 4)
    for first, centre in (
        (0, (0.125, 1 / 6)),  # pixel (40, 40)
        (4, (0.375, 1 / 6)),  # the next column: pixel (120, 40)
        (16, (0.125, 0.5)),  # the next row: pixel (40, 120)
        (44, (0.875, 5 / 6)),  # the last cell: pixel (280, 200)
    ):
        expected = [(*centre, *size) for size in sides]
        # a float32 near 1 is within 3e-8 of the number that it stands for
        np.testing.assert_allclose(priors[first : first + 4], expected, rtol=0, atol=6e-8)


def test_what_reaches_beyond_an_input_that_is_not_square_is_clamped_where_it_does() -> None:
    level = Level(300, (270.0,))
    (prior,) = priors_from_levels([(level, (1, 1))], (HEIGHT, WIDTH), "all")
    # 270 pixels are more than the input's height, not more than its width
    np.testing.assert_allclose(prior, (150 / 320, 150 / 240, 270 / 320, 1), rtol=0, atol=6e-8)
    (prior,) = priors_from_levels([(level, (1, 1))], (WIDTH, HEIGHT), "all")
    np.testing.assert_allclose(prior, (150 / 240, 150 / 320, 1, 270 / 320), rtol=0, atol=6e-8)


@pytest.mark.parametrize("name", list_models())
def test_priors_measure_the_same_pixels_whatever_the_input(name: str) -> None:
    spec = get_spec(name)
    maps = [(2, 3)] * len(spec.levels)
    levels = list(zip(spec.levels, maps, strict=True))
    square = priors_from_levels(levels, (300, 300), "none").astype(np.float64) * 300
    wide = priors_from_levels(levels, (HEIGHT, WIDTH), "none") * np.float64([WIDTH, HEIGHT] * 2)
    # two float32 roundings, each of at most 2**-24 of its value
    np.testing.assert_allclose(wide, square, rtol=2 * 2**-24)


@pytest.mark.parametrize("name", list_models())
def test_priors_of_the_published_networks_are_the_published_formula_to_the_bit(name: str) -> None:
    spec, rows = get_spec(name), []
    for level, shape in zip(spec.levels, summarize(spec).levels, strict=True):
        for i in range(shape.height):
            for j in range(shape.width):
                cx, cy = (j + 0.5) * level.step / 300, (i + 0.5) * level.step / 300
                rows += [(cx, cy, size / 300, size / 300) for size in level.sizes]
                side = level.sizes[0] / 300
                for ratio in level.aspect_ratios:
                    long, short = side * math.sqrt(ratio), side / math.sqrt(ratio)
                    rows += [(cx, cy, long, short), (cx, cy, short, long)]
    expected = np.array(rows).clip(0, 1).astype(np.float32)
    assert priors_from_spec(spec).tobytes() == expected.tobytes()


def test_a_description_gives_the_priors_of_the_network_it_describes() -> None:
    spec = wide_spec()
    description = description_from_spec(spec, 4, 0.25)
    assert [m for _, m in description.levels][:3] == [(30, 40), (15, 20), (4, 5)]
    np.testing.assert_array_equal(description.priors, priors_from_spec(spec))
    again = Description.from_dict(description.to_dict(), "x")
    np.testing.assert_array_equal(again.priors, description.priors)


def test_a_planted_box_decodes_to_its_pixels() -> None:
    """Row 7, column 20 of the first map: a square of 10 pixels about pixel (164, 60)."""
    description = description_from_spec(wide_spec(), 3, 0.25)
    prior = (7 * 40 + 20) * 6
    loc = np.zeros((1, len(description.priors), 4), np.float32)
    conf = np.zeros((1, len(description.priors), 3), np.float32)
    conf[..., 0], conf[0, prior, 2] = 20, 30
    # 5 pixels to the right and 3 up, twice as wide, half as high again
    loc[0, prior] = (5 / 10 / 0.1, -3 / 10 / 0.1, math.log(2) / 0.2, math.log(1.5) / 0.2)
    (found,) = decode_nms(loc, conf, description.priors, PostprocessParams())
    image = {"id": 1, "width": WIDTH, "height": HEIGHT}
    (entry,) = results_from_detections(found, image, description, (7, 8))
    assert entry["category_id"] == 8
    # x, y, w, h: centre (169, 57), 20 x 15; coordinates below 320 with a few roundings of 2**-24
    assert entry["bbox"] == pytest.approx([159, 49.5, 20, 15], abs=1e-4)


def test_an_input_too_small_for_a_network_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"vgg16 has .* 2x3, 0x1 cells .* 240x320; expected a cell"
    ):
        create_model(wide_spec("vgg16"))
    # the arithmetic answers all the same: a map without a cell has no priors
    assert priors_from_spec(wide_spec("vgg16")).shape[1] == 4
