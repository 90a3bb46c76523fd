"""SSD300 on VGG16 by torchvision, amdegroot and qfgaohao, which share layers but not the rest.

Sources, read and run: torchvision 0.29.1 ``models/detection/ssd.py``; amdegroot/ssd.pytorch
5b0b77f; qfgaohao/pytorch-ssd 7a839cb (MIT).
"""

from __future__ import annotations

from dataclasses import replace

from ..models.backbones import BACKBONES
from ..models.layers import BatchNorm, Conv, L2NormLayer
from ..models.spec import Extra, Head, ModelSpec, TapNorm
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import PostprocessParams
from .boxes import RATIOS_300, SIZES_COCO, SIZES_VOC, STEPS_300, levels_from_sizes, with_input_size
from .family import Asked, Family, Renames

#: convolutions of VGG16 before fc6, by their indices in the module list
_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
_LATER = (24, 26, 28, 31, 33)


def _extra(inner: int, out: int, stride: int, padding: int) -> Extra:
    return Extra(
        (
            Conv(inner, 1, padding=0, activation="relu"),
            Conv(out, 3, stride, padding, activation="relu"),
        )
    )


_BASE = ModelSpec(
    name="",
    title="SSD300 VGG16",
    backbone=BACKBONES["vgg16"],
    taps=(22, 34),
    levels=levels_from_sizes(SIZES_COCO, STEPS_300, RATIOS_300),
    norms=(TapNorm(22, L2NormLayer()),),
    extras=(
        _extra(256, 512, 2, 1),
        _extra(128, 256, 2, 1),
        _extra(128, 256, 1, 0),
        _extra(128, 256, 1, 0),
    ),
    heads=(Head(),) * 6,
    preprocessing=Preprocessing(color_order="RGB", mean=(123.0, 117.0, 104.0)),
    written=True,
)
_AMDEGROOT_POST = PostprocessParams(
    iou_threshold=0.45, pre_nms_topk=200, keep_topk_per_class=0, keep_topk=0
)


def _torchvision(asked: Asked) -> ModelSpec:
    spec = replace(
        _BASE,
        name=TORCHVISION.name,
        clip="size",
        preprocessing=replace(
            _BASE.preprocessing,
            # 0..1 in the source, as are its pictures
            mean=(0.48235 * 255, 0.45882 * 255, 0.40784 * 255),
            # it resizes after that, so pixels are not whole numbers
            resize="float32",
        ),
        postprocess=PostprocessParams(
            iou_threshold=0.45,
            pre_nms_topk=400,
            keep_topk_per_class=0,
            keep_topk=200,
            clip_boxes=True,
        ),
    )
    # its DefaultBoxGenerator has steps in pixels, which stay those of 300 at any input size
    return with_input_size(spec, asked.input_size, stretched=True, steps="pixels")


def _amdegroot(asked: Asked) -> ModelSpec:
    table = asked.priors or ("voc" if asked.num_classes == 21 else "coco")
    sizes = SIZES_VOC if table == "voc" else SIZES_COCO
    spec = replace(
        _BASE,
        name=AMDEGROOT.name,
        levels=levels_from_sizes(sizes, STEPS_300, RATIOS_300),
        postprocess=_AMDEGROOT_POST,
    )
    return with_input_size(spec, asked.input_size)


def _qfgaohao(asked: Asked) -> ModelSpec:
    spec = replace(
        _BASE,
        name=QFGAOHAO.name,
        levels=levels_from_sizes(SIZES_VOC, STEPS_300, RATIOS_300),
        norms=(TapNorm(22, BatchNorm()),),
        postprocess=_AMDEGROOT_POST,
    )
    return with_input_size(spec, asked.input_size)


def _torchvision_renames(spec: ModelSpec) -> Renames:
    later = ("0.1", "0.3", "0.5", "0.7.1", "0.7.3")
    pairs = [(level, place) for level in range(4) for place in (0, 2)]
    return {
        "backbone.scale_weight": "norm.weight",
        **{f"backbone.features.{i}.": f"base.{i}." for i in _CONVOLUTIONS},
        **{f"backbone.extra.{n}.": f"base.{i}." for n, i in zip(later, _LATER, strict=True)},
        **{
            f"backbone.extra.{level + 1}.{place}.": f"extras.{2 * level + place // 2}."
            for level, place in pairs
        },
        "head.regression_head.module_list.": "loc.",
        "head.classification_head.module_list.": "conf.",
    }


def _qfgaohao_renames(spec: ModelSpec) -> Renames:
    pairs = [(level, place) for level in range(4) for place in (0, 2)]
    return {
        "base_net.": "base.",
        "source_layer_add_ons.0.": "norm.",
        **{f"extras.{i}.{place}.": f"extras.{2 * i + place // 2}." for i, place in pairs},
        "regression_headers.": "loc.",
        "classification_headers.": "conf.",
    }


TORCHVISION: Family = Family(
    project="torchvision",
    model="ssd300_vgg16",
    present=("backbone.scale_weight", "head.classification_head."),
    head="head.classification_head.module_list.0.",
    anchors=4,
    spec=_torchvision,
    renames=_torchvision_renames,
    size_note="its DefaultBoxGenerator, whose steps stay 8 to 300 pixels at any input",
)
AMDEGROOT: Family = Family(
    project="amdegroot",
    model="ssd300",
    present=("vgg.0.", "L2Norm.", "loc.0.", "conf.0."),
    head="conf.0.",
    anchors=4,
    spec=_amdegroot,
    renames=lambda spec: {
        "vgg.": "base.",
        "L2Norm.": "norm.",
        **{f"{part}.": f"{part}." for part in ("extras", "loc", "conf")},
    },
    prior_tables=True,
)
QFGAOHAO: Family = Family(
    project="qfgaohao",
    model="vgg16-ssd",
    present=("base_net.0.weight", "source_layer_add_ons.0.", "classification_headers."),
    head="classification_headers.0.",
    anchors=4,
    spec=_qfgaohao,
    renames=_qfgaohao_renames,
)
FAMILIES = (TORCHVISION, AMDEGROOT, QFGAOHAO)
