"""qfgaohao's SSDs on MobileNetV1 and V2 (pytorch-ssd 7a839cb, MIT; read and run)."""

from __future__ import annotations

from dataclasses import replace

from ..models.backbones import BACKBONES
from ..models.layers import Chain, Conv, ConvBn, LayerActivation
from ..models.spec import Extra, Head, ModelSpec
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import PostprocessParams
from .boxes import levels_from_sizes, with_input_size
from .family import Asked, Family, Renames, Shapes

#: for both MobileNets: two ratios at all levels, including the last
_LEVELS = levels_from_sizes(
    (60, 105, 150, 195, 240, 285, 330), (16, 32, 64, 100, 150, 300), ((2, 3),) * 6
)
_PREPROCESSING = Preprocessing(
    color_order="RGB", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
)
_POST = PostprocessParams(iou_threshold=0.45, pre_nms_topk=200, keep_topk_per_class=0, keep_topk=0)
#: for V1, (inner, out) channels of the extras
_EXTRAS_V1 = ((256, 512), (128, 256), (128, 256), (128, 256))
#: for V2; the expansion is 0.2, 0.25, 0.5, 0.25 of the incoming channels
_EXTRAS_V2 = ((256, 512), (128, 256), (128, 256), (64, 64))
#: for V2 after its stem, (blocks, channels, stride of the first); narrower ones follow from weights
_BLOCKS_V2 = (
    *((1, 16, 1), (2, 24, 2), (3, 32, 2), (4, 64, 2)),
    *((3, 96, 1), (3, 160, 2), (1, 320, 1)),
)
_EXPANSION_V2 = 6
#: V2's block whose expanded map, before its stride, is the first level
_TAPPED_V2 = 14

_DEPTHWISE = Conv(None, activation="relu")
_LITE_V1 = Head((_DEPTHWISE,), kernel=1)
_LITE_V2 = Head((ConvBn(None, activation="relu6", bias=True),), kernel=1)

_BASE_V1 = ModelSpec(
    name="",
    title="SSD MobileNetV1",
    backbone=BACKBONES["mobilenet_v1"],
    taps=(11, 13),
    levels=_LEVELS,
    extras=tuple(
        Extra(
            (
                Conv(inner, 1, padding=0, activation="relu"),
                Conv(out, 3, 2, activation="relu"),
            )
        )
        for inner, out in _EXTRAS_V1
    ),
    heads=(Head(),) * 6,
    preprocessing=_PREPROCESSING,
    postprocess=_POST,
    written=True,
)


def _ssd_v1(asked: Asked) -> ModelSpec:
    return with_input_size(replace(_BASE_V1, name=MB1_SSD.name), asked.input_size)


def _lite_v1(asked: Asked) -> ModelSpec:
    spec = replace(
        _BASE_V1,
        name=MB1_SSD_LITE.name,
        title="SSDLite MobileNetV1",
        extras=tuple(
            Extra(
                (
                    Conv(inner, 1, padding=0, activation="relu"),
                    Chain((replace(_DEPTHWISE, stride=2), Conv(out, 1, padding=0)), named=False),
                )
            )
            for inner, out in _EXTRAS_V1
        ),
        heads=(*[_LITE_V1] * 5, Head(kernel=1)),
    )
    return with_input_size(spec, asked.input_size)


def _block(
    inner: int | None, out: int, stride: int, activation: LayerActivation, residual: bool = True
) -> Chain:
    """An inverted residual; ``inner`` is None if there is no expansion."""
    expanded = () if inner is None else (ConvBn(inner, 1, activation=activation),)
    last = ConvBn(out, 1, activation="none")
    steps = (*expanded, ConvBn(None, stride=stride, activation=activation), last)
    return Chain(steps, residual=residual)


def _backbone_v2(shapes: Shapes, activation: LayerActivation) -> tuple[Chain, ...]:
    """Twenty layers; the block that is tapped inside is split into two."""

    def channels(key: str, usual: int) -> int:
        return shapes.get(key, (usual,))[0]

    layers = [Chain((ConvBn(channels("base_net.0.0.weight", 32), 3, 2, activation=activation),))]
    number, before = 0, 32
    for repeats, out, first_stride in _BLOCKS_V2:
        for repeat in range(repeats):
            number += 1
            stride = 1 if repeat else first_stride
            begin = f"base_net.{number}.conv."
            last = 3 if number == 1 else 6
            inner = channels(f"{begin}0.weight", _EXPANSION_V2 * before)
            block = _block(
                *(None if number == 1 else inner, channels(f"{begin}{last}.weight", out)),
                *(stride, activation),
            )
            before = out
            if number == _TAPPED_V2:
                layers += [Chain(block.steps[:1]), Chain(block.steps[1:])]
            else:
                layers.append(block)
    layers.append(
        Chain((ConvBn(channels("base_net.18.0.weight", 1280), 1, activation=activation),))
    )
    return tuple(layers)


def _v2(asked: Asked, family: Family, activation: LayerActivation) -> ModelSpec:
    spec = replace(
        _BASE_V1,
        name=family.name,
        title="SSDLite MobileNetV2",
        backbone=_backbone_v2(asked.shapes, activation),
        taps=(_TAPPED_V2, 19),
        extras=tuple(Extra((_block(*one, 2, "relu6", residual=False),)) for one in _EXTRAS_V2),
        heads=(*[_LITE_V2] * 5, Head(kernel=1)),
    )
    return with_input_size(spec, asked.input_size)


_HEADS = {"regression_headers.": "loc.", "classification_headers.": "conf."}


def _renames_v1(spec: ModelSpec) -> Renames:
    return {
        **{f"base_net.{i}.": f"base.{i}.conv." for i in range(len(spec.backbone))},
        **{
            f"extras.{i}.{place}.": f"extras.{2 * i + place // 2}."
            for i in range(4)
            for place in (0, 2)
        },
        **_HEADS,
    }


def _renames_v2(spec: ModelSpec) -> Renames:
    later = range(_TAPPED_V2 + 1, 18)
    return {
        "base_net.0.": "base.0.conv.",
        **{f"base_net.{i}.": f"base.{i}." for i in range(1, _TAPPED_V2)},
        **{f"base_net.{_TAPPED_V2}.conv.{i}.": f"base.{_TAPPED_V2}.conv.{i}." for i in (0, 1)},
        **{
            f"base_net.{_TAPPED_V2}.conv.{i}.": f"base.{_TAPPED_V2 + 1}.conv.{i - 3}."
            for i in (3, 4, 6, 7)
        },
        **{f"base_net.{i}.": f"base.{i + 1}." for i in later},
        "base_net.18.": "base.19.conv.",
        "extras.": "extras.",
        **_HEADS,
    }


MB1_SSD: Family = Family(
    project="qfgaohao",
    model="mb1-ssd",
    present=("base_net.13.0.", "classification_headers.0.weight"),
    head="classification_headers.0.",
    anchors=6,
    spec=_ssd_v1,
    renames=_renames_v1,
)
MB1_SSD_LITE: Family = Family(
    project="qfgaohao",
    model="mb1-ssd-lite",
    present=("base_net.13.0.", "classification_headers.0.0."),
    head="classification_headers.0.2.",
    anchors=6,
    spec=_lite_v1,
    renames=_renames_v1,
)
MB2_SSD_LITE: Family = Family(
    project="qfgaohao",
    model="mb2-ssd-lite",
    present=("base_net.17.conv.", "classification_headers.0.0."),
    head="classification_headers.0.3.",
    anchors=6,
    spec=lambda asked: _v2(asked, MB2_SSD_LITE, "relu6"),
    renames=_renames_v2,
    notes=(
        "ReLU6 in its base, as the published one; with onnx_compatible it is ReLU, which is "
        "--model mb2-ssd-lite-relu",
    ),
)
MB2_SSD_LITE_RELU: Family = replace(
    MB2_SSD_LITE,
    model="mb2-ssd-lite-relu",
    spec=lambda asked: _v2(asked, MB2_SSD_LITE_RELU, "relu"),
    notes=(),
)
FAMILIES = (MB1_SSD, MB1_SSD_LITE, MB2_SSD_LITE, MB2_SSD_LITE_RELU)
