"""Networks whose layers are written out: back as they were, and refused where they are damaged."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.errors import BadFile
from ssd_small.importing.family import Asked, Family
from ssd_small.importing.recognition import FAMILIES
from ssd_small.models.shapes import summarize
from ssd_small.models.spec import ModelSpec

#: what stands for a value: of another type, out of range, or of a network that does not fit
ODD: tuple[Any, ...] = (None, "odd", [], True, 0, 7, 0.5, 10**9)
_TRUNK = "feature_extractor.feature_extractor."
#: shapes of a ResNet-50's blocks, as far as its spec is read off them
RESNET = {
    **{
        f"{_TRUNK}{stage}.{block}.conv3.weight": (channels, 1, 1, 1)
        for stage, count, channels in ((4, 3, 256), (5, 4, 512), (6, 6, 1024))
        for block in range(count)
    },
    **{f"{_TRUNK}{stage}.0.downsample.0.weight": (1, 1, 1, 1) for stage in (4, 5, 6)},
}


def _spec(family: Family) -> ModelSpec:
    return family.spec(Asked(RESNET, 21))


def _written(family: Family) -> dict[str, Any]:
    record = description_from_spec(_spec(family), 21, 1.0).to_dict()
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_what_was_written_is_read_again(family: Family) -> None:
    spec = _spec(family)
    description = description_from_spec(spec, 21, 1.0)
    record = _written(family)
    assert record["format"] == 5
    read = Description.from_dict(record, "x")
    assert read == description
    assert summarize(spec, 21).num_priors == len(read.priors)
    from ssd_small.artefacts.described_spec import spec_from_description

    assert spec_from_description(read) == spec


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field, but of a list the first entries and the last alone."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*at, name)
            yield from _places(inner, (*at, name))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1} & set(range(len(value)))):
            yield (*at, index)
            yield from _places(value[index], (*at, index))


def _changed(record: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    inner: Any = changed
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ultralight_RFB", "nvidia_ssd300_resnet50"])
def test_every_damage_is_refused_or_gives_a_network_that_can_be_built(name: str) -> None:
    torch = pytest.importorskip("torch")
    from ssd_small.artefacts.described_spec import spec_from_description
    from ssd_small.models.network import SsdNetwork

    (family,) = (one for one in FAMILIES if one.name == name)
    record, refused, built = _written(family), [], 0
    for place in _places(record["network_layers"], ("network_layers",)):
        for value in ODD:
            damaged = _changed(record, place, value)
            if damaged == record and type(value) is not bool:
                continue
            try:
                spec = spec_from_description(Description.from_dict(damaged, "x"))
            except BadFile as error:
                refused.append(str(error))
                continue
            if built % 20 == 0:
                with torch.device("meta"):
                    net = SsdNetwork(spec, 21).eval()
                    heads = net(torch.zeros(1, 3, *spec.input_size))
                assert heads[0].shape[1] == len(net.priors)
            built += 1
    assert len(refused) > 500
    assert built > 10
    assert not any("\n" in said for said in refused)


def test_a_description_has_one_network_only() -> None:
    record = _written(FAMILIES[0])
    with pytest.raises(BadFile, match=r"network_layers: got those of vgg16, which has a name"):
        Description.from_dict(record | {"model": "vgg16"}, "x")
    with pytest.raises(BadFile, match=r"format: got 4, expected 5"):
        Description.from_dict(record | {"format": 4}, "x")
