"""Prior boxes of configurations: the published formula, and its short form where that is one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.configs.network import FeatureList, NetworkConfig
from ssd_small.errors import BadFile
from ssd_small.models.from_config import spec_from_config
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.shapes import summarize
from ssd_small.models.spec import Level, ListedLevel, ModelSpec

PAIRS = ((2.0, 1.0), (0.5, 1.5))
THREE = ((1, 2), (2, 3), (3, 1))
PIXELS = ((20, 24), (60, 50), (100, 90), (140, 160))


def config(**values: object) -> NetworkConfig:
    """Three levels of 38, 19 and 10 cells a side at 300 x 300."""
    layers = (FeatureList((11, 13, "S"), (512, 1024, 64)),)
    known = {"feature_layer": layers, "aspect_ratios": THREE} | values
    return NetworkConfig("ssd_lite", "mobilenet_v1_S1L0", **known)  # type: ignore[arg-type]


CASES = {
    "defaults": config(),
    "pixels": config(sizes=PIXELS, steps=((8, 8), (16, 16), (32, 32))),
    "pixels, steps of the maps": config(sizes=PIXELS),
    "pairs": config(aspect_ratios=(PAIRS, PAIRS[:1], PAIRS), sizes=PIXELS),
    "steps that differ": config(steps=((8, 9), (16, 17), (32, 30)), sizes=PIXELS),
    "not square": config(image_size=(240, 320), sizes=PIXELS),
    "not square, two scales": config(image_size=(320, 240)),
    "not square, steps": config(image_size=(240, 320), steps=((8, 9), (16, 17), (32, 30))),
    "1 in the middle": config(aspect_ratios=((2, 1), (1, 1), (3, 1, 2))),
    "not clipped": config(clip=False, sizes=PIXELS),
}


def published(one: NetworkConfig, spec: ModelSpec) -> Iterator[tuple[float, ...]]:
    """The published loops, in the unit square, before rounding."""
    height, width = one.image_size
    levels = len(one.aspect_ratios)
    if isinstance(one.sizes[0], tuple):
        scales = [min(high / height, wide / width) for high, wide in one.sizes]  # type: ignore[misc]
    else:
        least, most = one.sizes
        scales = [least + (most - least) * k / (levels - 1) for k in range(levels)] + [1.0]  # type: ignore[operator]
    for k, (ratios, shape) in enumerate(
        zip(one.aspect_ratios, summarize(spec).levels, strict=True)
    ):
        if one.steps:
            down, across = one.steps[k][0] / height, one.steps[k][1] / width
        else:
            down, across = 1 / shape.height, 1 / shape.width
        scale, mean = scales[k], math.sqrt(scales[k] * scales[k + 1])
        for i in range(shape.height):
            for j in range(shape.width):
                centre = ((j + 0.5) * across, (i + 0.5) * down)
                for ratio in ratios:
                    if isinstance(ratio, tuple):
                        yield *centre, scale * ratio[0], scale * ratio[1]
                    elif ratio == 1:
                        yield *centre, scale, scale
                        yield *centre, mean, mean
                    else:
                        root = math.sqrt(ratio)
                        yield *centre, scale * root, scale / root
                        yield *centre, scale / root, scale * root


@pytest.mark.parametrize("name", CASES)
def test_priors_are_those_of_the_published_loops(name: str) -> None:
    spec = spec_from_config(CASES[name])
    expected = np.array(list(published(CASES[name], spec)))
    if CASES[name].clip:
        expected = expected.clip(0, 1)
    # one rounding to float32, of at most 2**-24 of values below 2; float64's are far below
    np.testing.assert_allclose(priors_from_spec(spec), expected, rtol=0, atol=2 * 2**-24)


def test_only_squares_and_ratios_of_one_step_have_the_short_form() -> None:
    short = {
        name: [isinstance(level, Level) for level in spec_from_config(one).levels]
        for name, one in CASES.items()
    }
    # the first list begins with 1, the second lacks it, in the third it does not stand first
    assert short["defaults"] == short["pixels"] == [True, False, False]
    for name in ("pairs", "steps that differ", "not square", "1 in the middle"):
        assert not any(short[name]), name


def test_listed_boxes_make_a_description_that_older_versions_refuse() -> None:
    listed = description_from_spec(spec_from_config(CASES["not square"]), 4, 0.25)
    assert listed.to_dict()["format"] == 2
    again = Description.from_dict(listed.to_dict(), "x")
    assert again == listed
    np.testing.assert_array_equal(again.priors, listed.priors)
    assert all(isinstance(level, ListedLevel) for level, _ in again.levels)


def test_squares_and_ratios_stay_readable_for_older_versions() -> None:
    ordinary = config(aspect_ratios=((1, 2),) * 3, sizes=PIXELS)
    described = description_from_spec(spec_from_config(ordinary), 4, 0.25)
    assert described.to_dict()["format"] == 1
    assert described.network == ordinary


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (0.2, 0.95), "aspect_ratios": ((1,),)}, "ASPECT_RATIOS has 1 entries"),
        ({"steps": ((8, 0), (8, 8), (8, 8))}, "STEPS holds 0"),
        ({"sizes": ((1e9, 1e9),) * 4}, "SIZES holds 1e"),
        ({"aspect_ratios": ((1, 2), (), (1, 2))}, r"ASPECT_RATIOS \[\]"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadFile, match=message):
        spec_from_config(config(**change))
