"""Ultra-Light-Fast-Generic-Face-Detector-1MB (dffddda, MIT; read and run): RFB and slim."""

from __future__ import annotations

from dataclasses import replace

from ..models.layers import Chain, Conv, ConvBn, Layer, ReceptiveField
from ..models.shapes import feature_maps
from ..models.spec import Extra, Head, ListedLevel, ModelSpec
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import PostprocessParams
from .family import Asked, Family, Renames, Shapes

_SIZE = (240, 320)
#: (channels, stride) of the thirteen blocks
_BLOCKS = (
    *((16, 2), (32, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1)),
    *((128, 2), (128, 1), (128, 1), (256, 2), (256, 1)),
)
_FIELD = 7
#: squares in pixels, whatever the input size
_SQUARES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))


def _plain(out: int, kernel: int = 3, dilation: int = 1) -> ConvBn:
    return ConvBn(out, kernel, dilation=dilation, activation="none")


_RECEPTIVE_FIELD = ReceptiveField(
    (
        (_plain(8, 1), ConvBn(16), _plain(16, dilation=2)),
        (_plain(8, 1), ConvBn(16), _plain(16, dilation=3)),
        (_plain(8, 1), ConvBn(12), ConvBn(16), _plain(16, dilation=5)),
    ),
    _plain(64, 1),
    _plain(64, 1),
)
_DEPTHWISE = Conv(None, activation="relu")
_HEADS = (*[Head((_DEPTHWISE,), kernel=1)] * 3, Head())


def _backbone(receptive_field: bool) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for index, (out, stride) in enumerate(_BLOCKS):
        separable = (ConvBn(None, stride=stride), ConvBn(out, 1))
        layers.append(Chain(separable if index else (ConvBn(out, stride=stride),)))
    if receptive_field:
        layers[_FIELD] = _RECEPTIVE_FIELD
    return tuple(layers)


def _spec(asked: Asked, family: Family, receptive_field: bool) -> ModelSpec:
    height, width = asked.input_size or _SIZE
    last = Chain(
        (replace(_DEPTHWISE, stride=2), Conv(256, 1, padding=0, activation="relu")), named=False
    )
    spec = ModelSpec(
        name=family.name,
        title=f"Ultra-Light face {family.model}",
        backbone=_backbone(receptive_field),
        taps=(7, 10, 12),
        levels=(),
        extras=(Extra((Conv(64, 1, padding=0, activation="relu"), last)),),
        heads=_HEADS,
        preprocessing=Preprocessing(
            height, width, "RGB", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
        ),
        postprocess=PostprocessParams(
            iou_threshold=0.3,
            pre_nms_topk=200,
            keep_topk_per_class=0,
            keep_topk=0,
        ),
        written=True,
    )
    maps = [(max(one.height, 1), max(one.width, 1)) for one in feature_maps(spec)[1]]
    levels = tuple(
        ListedLevel((height / rows, width / columns), tuple((float(s), float(s)) for s in squares))
        for (rows, columns), squares in zip(maps, _SQUARES, strict=True)
    )
    return replace(spec, levels=levels)


def _renames(spec: ModelSpec) -> Renames:
    return {
        **{
            f"base_net.{i}.": f"base.{i}."
            if isinstance(layer, ReceptiveField)
            else f"base.{i}.conv."
            for i, layer in enumerate(spec.backbone)
        },
        "extras.0.0.": "extras.0.",
        "extras.0.2.": "extras.1.",
        "regression_headers.": "loc.",
        "classification_headers.": "conf.",
    }


def _is_narrow(shapes: Shapes) -> bool:
    return shapes.get("base_net.0.0.weight", (0,))[0] == _BLOCKS[0][0]


RFB: Family = Family(
    project="ultralight",
    model="RFB",
    present=("base_net.7.branch0.", "classification_headers."),
    head="classification_headers.0.2.",
    anchors=3,
    spec=lambda asked: _spec(asked, RFB, receptive_field=True),
    renames=_renames,
)
SLIM: Family = Family(
    project="ultralight",
    model="slim",
    present=("base_net.12.", "classification_headers.0.0."),
    absent=("base_net.13.", "base_net.7.branch0.", "base_net.1.conv."),
    head="classification_headers.0.2.",
    anchors=3,
    spec=lambda asked: _spec(asked, SLIM, receptive_field=False),
    renames=_renames,
    fits=_is_narrow,
)
FAMILIES = (RFB, SLIM)
