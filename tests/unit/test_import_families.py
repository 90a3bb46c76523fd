"""Networks of other projects, brought in, give the heads that they give there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_networks as foreign
import golden_import as golden
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssd_small.artefacts.network import network_from_checkpoint
from ssd_small.errors import BadFile, UsageError
from ssd_small.importing.checkpoint import imported_from_file

#: the same operations on the same machine: what rounding leaves differs by the order of sums alone.
#: float32 has 24 bits; a sum of 9 * 1024 products is off by 2**-24 * sqrt(9216) = 6e-6 of its
#: terms' size, and some twenty layers add up to less than 1e-4 of the largest number
RELATIVE = 1e-4
State = dict[str, Tensor]
Save = Callable[[Any], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(content: Any) -> Path:
        path = tmp_path / "foreign.pth"
        torch.save(content, path)
        return path

    return write


def _ours(path: Path, tmp_path: Path, **options: Any) -> tuple[Any, Any]:
    """The network of the checkpoint that import writes, and its description."""
    out = tmp_path / "x.pth"
    imported_from_file(path, **options).write(out)
    return network_from_checkpoint(out)


def _same_heads(net: Any, heads: foreign.Heads, size: tuple[int, int] | None = None) -> None:
    x = torch.randn(
        2, 3, *(size or net.spec.input_size), generator=torch.Generator().manual_seed(5)
    )
    with torch.no_grad():
        for ours, theirs in zip(net.eval()(x), heads(x), strict=True):
            assert ours.shape == theirs.shape
            assert float(theirs.abs().max()) > 0.1
            assert float((ours - theirs).abs().max()) <= RELATIVE * float(theirs.abs().max())


def _priors_in_pixels(net: Any) -> np.ndarray:
    """torchvision's prior boxes (cx, cy, w, h) in the unit square."""
    from torchvision.models.detection.image_list import ImageList

    height, width = net.transform.fixed_size[::-1]
    x = torch.zeros(1, 3, height, width)
    maps = list(net.backbone(x).values())
    corners = net.anchor_generator(ImageList(x, [(height, width)]), maps)[0].numpy()
    corners = corners / np.asarray([width, height] * 2, np.float32)
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], 1)


class TestTorchvision:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "classes", "seed", "more"),
        [
            ("ssd300_vgg16", 4, 1, {}),
            ("ssdlite320_mobilenet_v3_large", 3, 1, {}),
            ("ssdlite320_mobilenet_v3_large", 3, 2, {}),
            ("ssdlite320_mobilenet_v3_large", 91, 1, {"full_tail": True}),
            ("ssdlite320_mobilenet_v3_large", 91, 2, {"full_tail": True}),
        ],
    )
    def test_heads_and_priors(
        self, save: Save, tmp_path: Path, name: str, classes: int, seed: int, more: Any
    ) -> None:
        theirs = foreign.torchvision_network(name, classes, seed, **more)
        net, description = _ours(save(theirs.state_dict()), tmp_path)
        assert description.model == f"torchvision_{name}"
        assert description.num_classes == classes
        _same_heads(net, foreign.torchvision_heads(theirs))
        # corners in pixels and back: two roundings of numbers up to 320
        assert np.abs(description.priors - _priors_in_pixels(theirs)).max() < 2e-7 * 4

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [(512, 512), (320, 480)], ids=str)
    def test_priors_at_another_size_are_those_of_its_own_generator(
        self, save: Save, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        theirs = foreign.torchvision_network("ssdlite320_mobilenet_v3_large", 3, 1)
        theirs.transform.fixed_size = size[::-1]
        net, description = _ours(save(theirs.state_dict()), tmp_path, input_size=size)
        assert net.spec.input_size == size
        assert np.abs(description.priors - _priors_in_pixels(theirs)).max() < 2e-6

    @pytest.mark.slow
    def test_steps_of_vgg_are_of_300_pixels_at_any_size(self, save: Save, tmp_path: Path) -> None:
        theirs = foreign.torchvision_network("ssd300_vgg16", 3, 1)
        path = save(theirs.state_dict())
        for size in ((512, 512), (320, 480)):
            theirs.transform.fixed_size = size[::-1]
            own = imported_from_file(path, input_size=size)
            assert "whose steps stay 8 to 300 pixels" in own.lines[-1]
            # corners of boxes that reach 2.5 sides to the right, in pixels and back
            found = own.record.description.priors
            assert np.abs(found - _priors_in_pixels(theirs)).max() < 2e-6
        assert not any("stay" in one for one in imported_from_file(path).lines)

    def test_the_post_processing_is_that_of_the_network(self, save: Save, tmp_path: Path) -> None:
        theirs = foreign.torchvision_network("ssdlite320_mobilenet_v3_large", 3, 1)
        own = _ours(save(theirs.state_dict()), tmp_path)[1].postprocess
        assert (own.score_threshold, own.iou_threshold) == (theirs.score_thresh, theirs.nms_thresh)
        assert (own.pre_nms_topk, own.keep_topk) == (theirs.topk_candidates, 300)
        assert theirs.detections_per_img == 300
        assert own.keep_topk_per_class == 0

    @pytest.mark.slow
    def test_labels_of_91_classes_are_cocos_by_category_id(
        self, save: Save, tmp_path: Path
    ) -> None:
        theirs = foreign.torchvision_network("ssdlite320_mobilenet_v3_large", 91, 1)
        description = _ours(save(theirs.state_dict()), tmp_path)[1]
        from torchvision.models.detection import SSDLite320_MobileNet_V3_Large_Weights as Weights

        named = Weights.COCO_V1.meta["categories"]
        ours = ["__background__", *description.labels]
        assert len(set(ours)) == 91
        assert [n if n != "N/A" else f"N/A {i}" for i, n in enumerate(named)] == ours


@pytest.fixture(scope="module")
def vgg() -> Any:
    return foreign.torchvision_network("ssd300_vgg16", 21, 3)


def _amdegroot_state(net: Any) -> State:
    """torchvision's tensors under amdegroot's names: the modules are the same, in one order."""
    state = net.state_dict()
    places = {
        f"extra.0.{n}": i for n, i in (("1", 24), ("3", 26), ("5", 28), ("7.1", 31), ("7.3", 33))
    }
    renamed = {}
    for key, value in state.items():
        part, _, end = key.rpartition(".")
        name = part.removeprefix("backbone.")
        if key == "backbone.scale_weight":
            renamed["L2Norm.weight"] = value
        elif name.startswith("features."):
            renamed[f"vgg.{name[9:]}.{end}"] = value
        elif name in places:
            renamed[f"vgg.{places[name]}.{end}"] = value
        elif name.startswith("extra."):
            level, place = map(int, name[6:].split("."))
            renamed[f"extras.{2 * (level - 1) + place // 2}.{end}"] = value
        else:
            head = "loc" if "regression" in part else "conf"
            renamed[f"{head}.{part.rpartition('.')[2]}.{end}"] = value
    return renamed


class TestAmdegroot:
    @pytest.mark.slow
    def test_heads(self, vgg: Any, save: Save, tmp_path: Path) -> None:
        net, description = _ours(save(_amdegroot_state(vgg)), tmp_path)
        assert description.model == "amdegroot_ssd300"
        assert description.labels[:2] == ("aeroplane", "bicycle")
        _same_heads(net, foreign.torchvision_heads(vgg))

    @pytest.mark.slow
    def test_priors_are_those_of_voc_for_21_classes_unless_told_otherwise(
        self, vgg: Any, save: Save, tmp_path: Path
    ) -> None:
        path = save(_amdegroot_state(vgg))
        by_count, told, coco = (
            _ours(path, tmp_path, priors=table)[1].priors for table in (None, "voc", "coco")
        )
        assert (by_count == told).all()
        assert by_count[0].tolist() == pytest.approx([4 / 300, 4 / 300, 0.1, 0.1])
        assert coco[0].tolist() == pytest.approx([4 / 300, 4 / 300, 0.07, 0.07])

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: {"model": state, "epoch": 3},
            lambda state: {f"module.{key}": value for key, value in state.items()},
            lambda state: {"state_dict": {f"model.{key}": v for key, v in state.items()}},
        ],
        ids=["in a trainer's dictionary", "DDP", "Lightning"],
    )
    def test_wrapped(self, vgg: Any, save: Save, wrap: Any) -> None:
        found = imported_from_file(save(wrap(_amdegroot_state(vgg))))
        assert (found.project, found.record.description.num_classes) == ("amdegroot", 21)

    def test_half_precision_is_taken_exactly(self, vgg: Any, save: Save) -> None:
        state = {key: value.half() for key, value in _amdegroot_state(vgg).items()}
        taken = imported_from_file(save(state)).state
        assert taken["base.0.weight"].dtype == torch.float32
        assert (taken["base.0.weight"] == state["vgg.0.weight"].float()).all()

    def test_what_is_missing_is_told_in_its_own_words(self, vgg: Any, save: Save) -> None:
        state = _amdegroot_state(vgg)
        del state["vgg.21.weight"]
        state["vgg.19.bias"] = state["vgg.19.bias"][:4]
        with pytest.raises(BadFile, match="amdegroot's ssd300 of 21 classes") as caught:
            imported_from_file(save(state))
        assert caught.value.details == (
            "  missing: vgg.21.weight",
            "  shape of vgg.19.bias: received [4], expected [512]",
        )

    def test_another_family_than_asked_for_is_told(self, vgg: Any, save: Save) -> None:
        path = save(_amdegroot_state(vgg))
        with pytest.raises(BadFile, match="is of amdegroot's ssd300, not of a network of nvidia"):
            imported_from_file(path, project="nvidia")
        with pytest.raises(UsageError, match="model mb1-ssd: amdegroot has none of that name"):
            imported_from_file(path, project="amdegroot", model="mb1-ssd")

    def test_heads_of_no_number_of_classes_are_told(self, vgg: Any, save: Save) -> None:
        state = _amdegroot_state(vgg)
        state["conf.0.weight"] = state["conf.0.weight"][:-1]
        with pytest.raises(BadFile, match=r"conf\.0\.weight: got 83 channels, expected 4 priors"):
            imported_from_file(save(state))


@pytest.mark.slow
def test_qfgaohaos_vgg_has_a_batch_norm_where_others_have_a_norm(
    vgg: Any, save: Save, tmp_path: Path
) -> None:
    state = {}
    for key, value in _amdegroot_state(vgg).items():
        root, _, rest = key.partition(".")
        if root == "L2Norm":
            continue
        name = {"vgg": "base_net", "loc": "regression_headers", "conf": "classification_headers"}
        if root == "extras":
            level, _, end = rest.partition(".")
            rest = f"{int(level) // 2}.{int(level) % 2 * 2}.{end}"
        state[f"{name.get(root, root)}.{rest}"] = value
    norm = foreign.randomised(nn.Sequential(nn.BatchNorm2d(512)), 7)[0]
    state |= {f"source_layer_add_ons.0.{key}": value for key, value in norm.state_dict().items()}
    net, description = _ours(save(state), tmp_path)
    assert description.model == "qfgaohao_vgg16-ssd"

    def heads(x: Tensor) -> tuple[Tensor, Tensor]:
        backbone = vgg.backbone
        fine = backbone.features(x)
        maps, y = [norm(fine)], fine
        for block in backbone.extra:
            y = block(y)
            maps.append(y)
        found = vgg.head(maps)
        return found["bbox_regression"], found["cls_logits"]

    _same_heads(net, heads)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module.1."])
def test_nvidias_heads_are_ordered_by_number_and_prior(
    save: Save, tmp_path: Path, prefix: str
) -> None:
    theirs, heads = foreign.nvidia_network(3, 4)
    content = {f"{prefix}{key}": value for key, value in theirs.state_dict().items()}
    net, description = _ours(save({"epoch": 3, "model": content}), tmp_path)
    assert description.model == "nvidia_ssd300_resnet50"
    assert np.float32(description.postprocess.iou_threshold) == np.nextafter(
        np.float32(0.5), np.float32(0)
    )
    if not prefix:
        _same_heads(net, heads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "channels"),
    [(18, (256, 512, 512, 256, 256, 128)), (34, (256, 512, 512, 256, 256, 256))],
)
def test_nvidias_network_is_named_by_its_layers(
    depth: int, channels: tuple[int, ...], save: Save, tmp_path: Path
) -> None:
    theirs, heads = foreign.nvidia_network(3, 4, depth, channels)
    net, description = _ours(save(theirs.state_dict()), tmp_path)
    assert description.model == f"nvidia_ssd300_resnet{depth}"
    _same_heads(net, heads)


def test_blocks_that_do_not_follow_each_other_are_told(save: Save) -> None:
    state = foreign.nvidia_network(3, 4)[0].state_dict()
    part = dict(list(state.items())[len(state) // 2 :])
    with pytest.raises(BadFile, match="its tensors make no whole ssd300_resnet50 of nvidia"):
        imported_from_file(save(part))


@pytest.mark.parametrize("name", ["RFB", "slim"])
def test_the_face_detectors_see_pictures_that_are_not_square(
    save: Save, tmp_path: Path, name: str
) -> None:
    theirs, heads = foreign.face_network(2, name == "RFB")
    net, description = _ours(save(theirs.state_dict()), tmp_path)
    assert (description.model, description.labels) == (f"ultralight_{name}", ("face",))
    assert net.spec.input_size == (240, 320)
    _same_heads(net, heads)
    priors = description.priors
    assert len(priors) == 4420
    # 10 pixels across and down, centres 8 apart; the last of the first level and of all
    assert priors[0].tolist() == pytest.approx([4 / 320, 4 / 240, 10 / 320, 10 / 240])
    assert priors[3 * 1200 - 1].tolist() == pytest.approx([316 / 320, 236 / 240, 24 / 320, 0.1])
    assert priors[-1].tolist() == pytest.approx([0.9, 0.875, 0.8, 1.0])


@pytest.mark.slow
@pytest.mark.parametrize("name", golden.SEEDED)
def test_seeded_networks_give_the_heads_of_the_golden_files(
    save: Save, tmp_path: Path, name: str
) -> None:
    reference = golden.reference(name)
    net, description = _ours(save(reference.state), tmp_path)
    for picture in reference.pictures:
        loc, conf = reference.heads(net, picture)
        # as the README of the files says: random weights magnify what inputs differ by
        assert np.abs(loc - reference.of(picture, "loc")).max() < 1e-2
        assert np.abs(conf - reference.of(picture, "conf")).max() < 1e-2
        rows = reference.of(picture, "rows")
        assert np.abs(description.priors[rows] - reference.of(picture, "priors")).max() < 1e-6
