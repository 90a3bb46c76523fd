"""The networks at other input sizes: maps, prior boxes, and that records say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssd_small.artefacts.described_spec import spec_from_description
from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.configs.network import network_config_from_dict, network_config_to_dict
from ssd_small.errors import UsageError
from ssd_small.models.input_size import name_at_published_size, spec_for_input
from ssd_small.models.priors import priors_from_spec
from ssd_small.models.registry import get_spec, known_models, list_models
from ssd_small.models.shapes import levels_from_spec
from ssd_small.models.spec import Level
from ssd_small.training.options import job_from_options
from ssd_small.training.recipe import published_recipe

SIZES = ((512, 512), (320, 480), (640, 400))


def test_at_the_published_size_nothing_changes() -> None:
    for name in known_models():
        assert spec_for_input(get_spec(name), (300, 300)) is get_spec(name)
        assert name_at_published_size(get_spec(name).config) == name


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", list_models())
def test_boxes_keep_their_share_and_their_shape_in_pixels(name: str, size: tuple[int, int]) -> None:
    published, spec = get_spec(name), spec_for_input(get_spec(name), size)
    assert spec.input_size == size
    assert spec.published is None
    height, width = size
    scale = min(size) / 300
    priors = priors_from_spec(spec).astype(np.float64)
    first = 0
    for level, (before, of) in enumerate(
        zip(published.levels, levels_from_spec(spec), strict=True)
    ):
        own, (rows, columns) = of
        assert isinstance(before, Level)
        roots = np.sqrt(before.aspect_ratios)
        w = [*before.sizes, *(before.sizes[0] * r for root in roots for r in (root, 1 / root))]
        h = [*before.sizes, *(before.sizes[0] * r for root in roots for r in (1 / root, root))]
        assert own.num_anchors == len(w)
        cells = priors[first : first + rows * columns * len(w)].reshape(rows, columns, len(w), 4)
        first += rows * columns * len(w)
        # clipped to the unit square at last; float32 of shares of up to 1
        sides = np.stack([np.array(w) * scale / width, np.array(h) * scale / height], 1).clip(0, 1)
        np.testing.assert_allclose(cells[..., 2:], np.broadcast_to(sides, cells[..., 2:].shape),
                                   rtol=0, atol=2**-23)  # fmt: skip
        stride = before.step if np.log2(before.step).is_integer() else None
        across, down = (stride or width / columns), (stride or height / rows)
        centres = ((np.arange(columns) + 0.5) * across / width).clip(0, 1)
        np.testing.assert_allclose(cells[0, :, 0, 0], centres, rtol=0, atol=2**-23)
        centres = ((np.arange(rows) + 0.5) * down / height).clip(0, 1)
        np.testing.assert_allclose(cells[:, 0, 0, 1], centres, rtol=0, atol=2**-23)
        assert level < 6
    assert first == len(priors)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_description_says_the_size_and_gives_the_network_again(size: tuple[int, int]) -> None:
    for name in known_models():
        spec = spec_for_input(get_spec(name), size)
        assert spec.config is not None
        told = json.loads(json.dumps(network_config_to_dict(spec.config)))
        assert network_config_from_dict(told, "a test") == spec.config
        assert name_at_published_size(spec.config) == name
        described = description_from_spec(spec, 3, 1.0, labels=("cat", "dog"))
        read = Description.from_dict(json.loads(json.dumps(described.to_dict())), "a test")
        assert read == described
        assert spec_from_description(read) == spec
        assert np.array_equal(read.priors, priors_from_spec(spec))


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("vgg16", (240, 320), "0x1 cells"),
        ("mobilenet_v1", (9000, 300), "sides of 1 to 8192"),
        ("vgg16_s1l2", (4000, 4000), "prior boxes"),
    ],
)
def test_a_size_that_no_such_network_has_is_refused_in_a_line(
    name: str, size: tuple[int, int], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        spec_for_input(get_spec(name), size)
    assert "\n" not in str(caught.value)


def test_a_run_at_another_size_has_the_published_recipe(tmp_path: Path) -> None:
    options = {"annotations": tmp_path / "a.json", "images": tmp_path, "input_size": (512, 512)}
    job = job_from_options(tmp_path / "run", {**options, "model": "vgg16"})
    assert job.spec == spec_for_input(get_spec("vgg16"), (512, 512))
    assert job.recipe == published_recipe("vgg16")
    # the size that it has anyway
    usual = job_from_options(
        tmp_path / "run", {**options, "model": "vgg16", "input_size": (300, 300)}
    )
    assert (usual.model, usual.network) == ("vgg16", None)
    with pytest.raises(UsageError, match="no network: pass model"):
        job_from_options(tmp_path / "run", options)
