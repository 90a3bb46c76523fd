"""Training starts from a classifier's backbone, as torchvision saves one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_networks import randomised

from ssd_small.errors import BadFile
from ssd_small.importing.family import Asked
from ssd_small.importing.mobilenets import MB2_SSD_LITE
from ssd_small.models.classifier_backbones import backbone_from_classifier
from ssd_small.models.network import create_model
from ssd_small.training.initialise import initial_network
from ssd_small.training.recipe import Recipe


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(net: Any) -> Path:
        torch.save(net.state_dict(), tmp_path / "classifier.pth")
        return tmp_path / "classifier.pth"

    return write


def test_vgg16() -> None:
    """All of the backbone: fc6 and fc7 are thinned out of the classifier's large layers."""
    from torchvision.models import vgg16

    with torch.device("meta"):
        shapes = {key: value.shape for key, value in vgg16(weights=None).state_dict().items()}
    # memory that nobody touches costs nothing, and 500 MB of numbers take seconds
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    state["classifier.0.weight"][8, 5 * 49 + 3 * 7 + 6] = 7  # channel 5, row 3, column 6
    state["classifier.3.weight"][12, 20] = 6
    state["features.28.bias"] += 3
    net = create_model("vgg16", 5)
    found = backbone_from_classifier(state, net)
    assert found is not None
    assert found.keys() == {key for key in net.state_dict() if key.startswith("base.")}
    # every fourth channel, every third row and column
    assert found["base.31.weight"].shape == (1024, 512, 3, 3)
    assert float(found["base.31.weight"][2, 5, 1, 2]) == 7
    assert float(found["base.33.weight"][3, 5, 0, 0]) == 6
    assert found["base.28.bias"][0] == 3


def test_a_mobilenet_goes_into_an_imported_network_that_splits_a_block(
    save: Callable[[Any], Path],
) -> None:
    from torchvision.models import mobilenet_v2

    theirs = randomised(mobilenet_v2(weights=None), 1)
    spec = MB2_SSD_LITE.spec(Asked({}, 5))
    net = initial_network(spec, 5, 1.0, Recipe(), save(theirs), "base").eval()
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    y = x
    with torch.no_grad():
        for module in net.base:
            y = module(y)
        expected = theirs.features(x)
    # the trained one is laid out channels last, so sums are in another order
    assert float((y - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_a_classifier_of_another_backbone_is_told(save: Callable[[Any], Path]) -> None:
    from torchvision.models import mobilenet_v2

    path = save(mobilenet_v2(weights=None))
    with pytest.raises(BadFile, match="expected the classifier of that backbone"):
        initial_network("mobilenet_v1", 5, 1.0, Recipe(), path, "base")


def test_a_detectors_backbone_is_taken_whole_as_before(save: Callable[[Any], Path]) -> None:
    theirs = create_model("mobilenet_v1", 3, 0.1)
    net = initial_network("mobilenet_v1", 5, 0.1, Recipe(), save(theirs), "base")
    assert (net.base[3].conv[0].weight == theirs.base[3].conv[0].weight).all()
