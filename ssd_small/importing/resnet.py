"""NVIDIA's SSD300 on ResNet (DeepLearningExamples 729963d, Apache-2.0; read and run)."""

from __future__ import annotations

from ..models.layers import BatchNorm, Bottleneck, Chain, Conv, ConvBn, Layer, MaxPool, Relu
from ..models.spec import Extra, Head, ModelSpec
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import PostprocessParams
from .boxes import RATIOS_300, SIZES_COCO, STEPS_300, levels_from_sizes, with_input_size
from .family import Asked, Family, Renames, Shapes

_TRUNK = "feature_extractor.feature_extractor."
#: indices of the three stages, and (channels, stride of the first block); the third keeps the map
_STAGES = ((4, 64, 1), (5, 128, 2), (6, 256, 1))
#: inner channels of the extras, with stride and padding of each
_EXTRAS = ((256, 2, 1), (256, 2, 1), (128, 2, 1), (128, 1, 0), (128, 1, 0))
#: (bottlenecks, blocks of each stage) -> number of layers of the classifier used as backbone
_DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2)): 18,
    (False, (3, 4, 6)): 34,
    (True, (3, 4, 6)): 50,
    (True, (3, 4, 23)): 101,
    (True, (3, 8, 36)): 152,
}
#: NVIDIA only keeps boxes that overlap by less than 0.5: the largest float32 below it
_BELOW_HALF = 0.4999999701976776


def _blocks(shapes: Shapes, stage: int) -> int:
    """How many blocks a stage has."""
    begin = f"{_TRUNK}{stage}."
    return len({key[len(begin) :].split(".")[0] for key in shapes if key.startswith(begin)})


def _is_wide(shapes: Shapes) -> bool:
    """Whether its blocks are bottlenecks."""
    return f"{_TRUNK}4.0.conv3.weight" in shapes


def _name(shapes: Shapes) -> str:
    """The network's name, with the depth of the backbone if it is a standard ResNet."""
    blocks = tuple(_blocks(shapes, place) for place, _, _ in _STAGES)
    depth = _DEPTHS.get((_is_wide(shapes), blocks), "")
    return f"{RESNET.project}_ssd300_resnet{depth}"


def _backbone(shapes: Shapes) -> tuple[Layer, ...]:
    layers: list[Layer] = [
        Conv(64, 7, 2, 3, bias=False),
        BatchNorm(),
        Relu(),
        MaxPool(3, 2, padding=1),
    ]
    wide = _is_wide(shapes)
    for place, channels, first_stride in _STAGES:
        for block in range(_blocks(shapes, place)):
            stride = 1 if block else first_stride
            out = channels * (4 if wide else 1)
            steps: tuple[ConvBn, ...] = (
                ConvBn(channels, stride=stride),
                ConvBn(out, activation="none"),
            )
            if wide:
                last = ConvBn(out, 1, activation="none")
                steps = (ConvBn(channels, 1), ConvBn(channels, stride=stride), last)
            has_shortcut = f"{_TRUNK}{place}.{block}.downsample.0.weight" in shapes
            shortcut = ConvBn(out, 1, stride, activation="none") if has_shortcut else None
            layers.append(Bottleneck(steps, shortcut))
    return tuple(layers)


def _extras(shapes: Shapes) -> tuple[Extra, ...]:
    usual = (512, 512, 256, 256, 256)
    found = []
    for index, ((inner, stride, padding), out) in enumerate(zip(_EXTRAS, usual, strict=True)):
        out = shapes.get(f"additional_blocks.{index}.3.weight", (out,))[0]
        steps = (ConvBn(inner, 1), ConvBn(out, 3, stride, padding))
        found.append(Extra((Chain(steps, named=False),)))
    return tuple(found)


def _spec(asked: Asked) -> ModelSpec:
    backbone = _backbone(asked.shapes)
    spec = ModelSpec(
        name=_name(asked.shapes),
        title="SSD300 ResNet",
        backbone=backbone,
        taps=(len(backbone) - 1,),
        levels=levels_from_sizes(SIZES_COCO, STEPS_300, RATIOS_300),
        extras=_extras(asked.shapes),
        heads=(Head(),) * 6,
        preprocessing=Preprocessing(
            color_order="RGB",
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
            antialias=True,  # as in its evaluation, which resizes with Pillow
        ),
        postprocess=PostprocessParams(
            score_threshold=0.05,
            iou_threshold=_BELOW_HALF,
            pre_nms_topk=200,
            keep_topk_per_class=0,
            keep_topk=200,
        ),
        written=True,
    )
    return with_input_size(spec, asked.input_size)


def _renames(spec: ModelSpec) -> Renames:
    found = {f"{_TRUNK}{i}.": f"base.{i}." for i in (0, 1)}
    index = 4
    blocks = [layer for layer in spec.backbone if isinstance(layer, Bottleneck)]
    # a stage begins at each shortcut; the first stage has none if it does not widen the map
    place, block = _STAGES[0][0] - 1, 0
    for number, layer in enumerate(blocks):
        begins = layer.shortcut is not None or number == 0
        place, block = (place + 1, 0) if begins else (place, block + 1)
        found[f"{_TRUNK}{place}.{block}."] = f"base.{index + number}."
    return (
        found
        | {f"{part}.": f"{part}." for part in ("loc", "conf")}
        | {"additional_blocks.": "extras."}
    )


RESNET: Family = Family(
    project="nvidia",
    model="ssd300_resnet50",
    present=("feature_extractor.feature_extractor.", "additional_blocks.", "conf.0."),
    head="conf.0.",
    anchors=4,
    spec=_spec,
    renames=_renames,
    class_major=True,
)
FAMILIES = (RESNET,)
