"""Loading checkpoints with the published keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ssd_small
from ssd_small.errors import BadFile
from ssd_small.models.checkpoint import model_from_checkpoint
from ssd_small.models.fit import family_from_keys
from ssd_small.models.network import SsdNetwork
from ssd_small.models.registry import get_spec, known_models

SMALL = {"num_classes": 4, "width": 0.1}


def randomized(name: str = "mobilenet_v1") -> torch.nn.Module:
    torch.manual_seed(3)
    net = ssd_small.create_model(name, **SMALL)
    for value in net.state_dict().values():
        if value.dtype.is_floating_point:
            value.copy_(torch.rand_like(value))
    return net


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_published_forms_load(tmp_path: Path, prefix: str, counters: bool, wrapped: bool) -> None:
    source = randomized()
    state = {
        prefix + key: value
        for key, value in source.state_dict().items()
        if counters or not key.endswith("num_batches_tracked")
    }
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "c.pth")
    net = ssd_small.create_model("mobilenet_v1", **SMALL)
    assert not same(net, source)
    ssd_small.load_checkpoint(net, tmp_path / "c.pth")
    assert same(net, source)


def test_classes_and_width_are_read_off_the_weights(tmp_path: Path) -> None:
    for name, width in (("vgg16", 0.125), ("mobilenet_v1_s1l0_dual", 0.25)):
        source = ssd_small.create_model(name, 7, width)
        torch.save(source.state_dict(), tmp_path / "c.pth")
        net = model_from_checkpoint(name, tmp_path / "c.pth")
        assert (net.num_classes, net.width) == (7, width)
        assert same(net, source)


@pytest.mark.slow
def test_every_key_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    state = randomized().state_dict()
    del state["norm.weight"]
    state["surplus"] = torch.zeros(1)
    state["loc.0.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "c.pth")
    net = ssd_small.create_model("mobilenet_v1", **SMALL)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(BadFile) as caught:
        ssd_small.load_checkpoint(net, tmp_path / "c.pth")
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        "  missing: norm.weight",
        "  unexpected: surplus",
        "  shape of loc.0.bias: received [5], expected [24]",
    ]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes", "hint"),
    [
        ("mobilenet_v1", {"num_classes": 9, "width": 0.1}, "pass --num-classes 4"),
        ("mobilenet_v1", {"num_classes": 4, "width": 0.5}, "pass --width 0.1"),
        (
            "mobilenet_v1_s1l0",
            {"num_classes": 4, "width": 0.1},
            "its tensors are those of mobilenet_v1: pass that --model",
        ),
    ],
)
def test_a_misfit_says_what_to_change(tmp_path: Path, name: str, sizes: dict, hint: str) -> None:
    torch.save(randomized().state_dict(), tmp_path / "c.pth")
    with pytest.raises(BadFile, match="does not fit") as caught:
        ssd_small.load_checkpoint(ssd_small.create_model(name, **sizes), tmp_path / "c.pth")
    assert hint in caught.value.command_line.splitlines()[0]


def test_siblings_share_keys_and_shapes(tmp_path: Path) -> None:
    """Nothing in the weights tells vgg16 from its stride-removed siblings."""
    source = ssd_small.create_model("vgg16", 3, 0.0625)
    torch.save(source.state_dict(), tmp_path / "c.pth")
    for name in ("vgg16_s1l2", "vgg16_s1l2_dual"):
        net = ssd_small.create_model(name, 3, 0.0625)
        ssd_small.load_checkpoint(net, tmp_path / "c.pth")
        assert same(net, source)


class Malice:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_code_in_a_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"norm.weight": Malice()}, tmp_path / "c.pth")
    net = ssd_small.create_model("mobilenet_v1", **SMALL)
    with pytest.raises(BadFile, match="more than tensors"):
        ssd_small.load_checkpoint(net, tmp_path / "c.pth")
    assert not Path("touched-by-a-pickle").exists()


def _without(key: str) -> dict[str, torch.Tensor]:
    return {k: v for k, v in randomized().state_dict().items() if k != key}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "hint"),
    [
        (lambda: _without("norm.weight"), "it has 219 of the 220 tensors of a mobilenet_v1"),
        (
            lambda: randomized().state_dict() | {"criterion.weight": torch.ones(1)},
            "it has all tensors of a mobilenet_v1 and others besides",
        ),
        (
            lambda: ssd_small.create_model("vgg16", 4, 0.1).state_dict(),
            "its tensors are those of vgg16 or vgg16_s1l2 or vgg16_s1l2_dual: pass that --model",
        ),
        (
            lambda: {"foo.weight": torch.ones(1)},
            "of no network known here (keys such as foo.weight)",
        ),
        (
            lambda: {
                key.replace("0.weight", "0.weight_orig"): value
                for key, value in randomized().state_dict().items()
            },
            "it is pruned: call torch.nn.utils.prune.remove before it is saved",
        ),
    ],
)
def test_a_misfit_with_the_right_model_is_not_blamed_on_the_model(
    tmp_path: Path, state: Callable[[], dict[str, torch.Tensor]], hint: str
) -> None:
    torch.save(state(), tmp_path / "c.pth")
    with pytest.raises(BadFile, match="does not fit") as caught:
        ssd_small.load_checkpoint(
            ssd_small.create_model("mobilenet_v1", **SMALL), tmp_path / "c.pth"
        )
    assert hint in caught.value.command_line.splitlines()[0]
    assert "trained as" not in caught.value.command_line


#: some of the keys by which the checkpoints of a project are known
FOREIGN = {
    "torchvision's ssd300_vgg16": (
        "backbone.scale_weight",
        "backbone.features.0.weight",
        "head.classification_head.module_list.0.weight",
    ),
    "torchvision's ssdlite320_mobilenet_v3_large": (
        "backbone.features.0.0.0.weight",
        "head.classification_head.module_list.0.0.0.weight",
    ),
    "ssd.pytorch of amdegroot": ("vgg.0.weight", "L2Norm.weight", "loc.0.weight", "conf.0.weight"),
    "pytorch-ssd of qfgaohao": ("base_net.0.0.weight", "classification_headers.0.weight"),
    "NVIDIA's SSD300 (DeepLearningExamples)": (
        "module.1.feature_extractor.feature_extractor.0.weight",
        "module.1.additional_blocks.0.0.weight",
        "module.1.loc.0.weight",
        "module.1.conf.0.weight",
    ),
    "mmdetection": ("backbone.features.0.weight", "bbox_head.cls_convs.0.0.weight"),
    "lufficc's SSD": ("backbone.vgg.0.weight", "box_head.predictor.cls_headers.0.weight"),
}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("family", FOREIGN)
def test_checkpoints_of_other_projects_are_named(tmp_path: Path, family: str, prefix: str) -> None:
    state = {prefix + key: torch.ones(1) for key in FOREIGN[family]}
    torch.save({"model": state, "epoch": 1}, tmp_path / "c.pth")
    with pytest.raises(BadFile, match="does not fit") as caught:
        ssd_small.load_checkpoint(ssd_small.create_model("vgg16", **SMALL), tmp_path / "c.pth")
    assert f"looks like a checkpoint of {family}, which is another network" in str(caught.value)


def test_no_network_of_ours_looks_like_one_of_another_project() -> None:
    for name in known_models():
        with torch.device("meta"):
            keys = SsdNetwork(get_spec(name), 4, 0.1).state_dict()
        assert family_from_keys(keys) is None
