"""torchvision's SSDLite on MobileNetV3 (0.29.1, ``models/detection/ssdlite.py``; read and run)."""

from __future__ import annotations

from ..models.layers import Chain, ConvBn, LayerActivation, SqueezeExcitation
from ..models.spec import Extra, Head, ModelSpec
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import PostprocessParams
from .boxes import levels_from_sizes, with_input_size
from .family import Asked, Family, Renames
from .places import renames_of_chain

#: for all batch norms
_EPS = 0.001
_SIDE = 320
#: kernel, expanded channels (None: not expanded), out, squeezed (0: none), activation, stride
_Block = tuple[int, int | None, int, int, LayerActivation, int]
_BLOCKS: tuple[_Block, ...] = (
    (3, None, 16, 0, "relu", 1),
    (3, 64, 24, 0, "relu", 2),
    (3, 72, 24, 0, "relu", 1),
    (5, 72, 40, 24, "relu", 2),
    (5, 120, 40, 32, "relu", 1),
    (5, 120, 40, 32, "relu", 1),
    (3, 240, 80, 0, "hardswish", 2),
    (3, 200, 80, 0, "hardswish", 1),
    (3, 184, 80, 0, "hardswish", 1),
    (3, 184, 80, 0, "hardswish", 1),
    (3, 480, 112, 120, "hardswish", 1),
    (3, 672, 112, 168, "hardswish", 1),
)
#: the block that is tapped after its expansion, and therefore split in two
_TAPPED = 13
_SQUEEZED_TAPPED = 168
#: key whose first dimension tells the two widths of what follows
_TAIL = "backbone.features.1.0.3.0.weight"
_REDUCED, _FULL = 80, 160
_EXTRAS = (512, 256, 256, 128)
#: fractions of the input's side
_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
_MAPS = (20, 10, 5, 3, 2, 1)


def _conv(
    out: int | None, kernel: int = 1, activation: LayerActivation = "none", stride: int = 1
) -> ConvBn:
    return ConvBn(out, kernel, stride, activation=activation, eps=_EPS)


def _block(
    kernel: int, inner: int | None, out: int, squeezed: int, act: LayerActivation, stride: int
) -> Chain:
    """An inverted residual of MobileNetV3 (Howard et al. 2019)."""
    steps = (
        *(() if inner is None else (_conv(inner, activation=act),)),
        _conv(None, kernel, act, stride),
        *((SqueezeExcitation(squeezed),) if squeezed else ()),
        _conv(out),
    )
    return Chain(steps, residual=True)


def _squeezed(inner: int) -> int:
    """A quarter, rounded to a multiple of 8 that is at least nine tenths of it."""
    rounded = max(8, int(inner / 4 + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * inner / 4 else rounded


def _backbone(tail: int) -> tuple[Chain, ...]:
    tapped = _block(5, 672, tail, _SQUEEZED_TAPPED, "hardswish", 2)
    inner = tail * 6
    last = _block(5, inner, tail, _squeezed(inner), "hardswish", 1)
    return (
        Chain((_conv(16, 3, "hardswish", 2),)),
        *(_block(*block) for block in _BLOCKS),
        Chain(tapped.steps[:1]),
        Chain(tapped.steps[1:]),
        last,
        last,
        Chain((_conv(inner, activation="hardswish"),)),
    )


def _extra(out: int) -> Extra:
    inner = out // 2
    steps = (
        _conv(inner, activation="relu6"),
        _conv(None, 3, "relu6", 2),
        _conv(out, activation="relu6"),
    )
    return Extra((Chain(steps, named=False),))


def _spec(asked: Asked) -> ModelSpec:
    tail = asked.shapes.get(_TAIL, (_REDUCED,))[0]
    spec = ModelSpec(
        name=SSDLITE320.name,
        title="SSDLite320 MobileNetV3-Large",
        backbone=_backbone(_FULL if tail == _FULL else _REDUCED),
        taps=(_TAPPED, 17),
        levels=levels_from_sizes(
            tuple(_SIDE * scale for scale in _SCALES),
            tuple(_SIDE / cells for cells in _MAPS),
            ((2, 3),) * 6,
        ),
        extras=tuple(_extra(out) for out in _EXTRAS),
        heads=(Head((_conv(None, 3, "relu6"),), kernel=1),) * 6,
        clip="size",
        preprocessing=Preprocessing(
            *(_SIDE, _SIDE, "RGB"),
            mean=(127.5, 127.5, 127.5),
            std=(127.5, 127.5, 127.5),
            resize="float32",
        ),
        postprocess=PostprocessParams(
            score_threshold=0.001,
            iou_threshold=0.55,
            pre_nms_topk=300,
            keep_topk_per_class=0,
            keep_topk=300,
            clip_boxes=True,
        ),
        written=True,
    )
    return with_input_size(spec, asked.input_size, stretched=True, steps="map")


def _renames(spec: ModelSpec) -> Renames:
    found: dict[str, str] = {}
    whole = {
        **{i: f"backbone.features.0.{i}.block." for i in range(1, _TAPPED)},
        **{i: f"backbone.features.1.{i - 14}.block." for i in (15, 16)},
    }
    # in a chain of one block, torchvision leaves the number of the block out
    single = {0: "0.0", _TAPPED: "0.13", 17: "1.3"}
    for index, layer in enumerate(spec.backbone):
        assert isinstance(layer, Chain)
        ours = f"base.{index}.conv."
        if index in single:
            theirs = f"backbone.features.{single[index]}."
            found |= {f"{theirs}{i}.": f"{ours}{i}." for i in (0, 1)}
        elif index == _TAPPED + 1:
            found |= renames_of_chain(layer, "backbone.features.1.0.", ours, first=1)
        else:
            found |= renames_of_chain(layer, whole[index], ours)
    for index, extra in enumerate(spec.extras):
        (chain,) = extra.layers
        assert isinstance(chain, Chain)
        found |= renames_of_chain(chain, f"backbone.extra.{index}.", f"extras.{index}.")
    for theirs, part in (("classification", "conf"), ("regression", "loc")):
        for level in range(6):
            begin = f"head.{theirs}_head.module_list.{level}."
            found |= {f"{begin}0.{i}.": f"{part}.{level}.{i}." for i in (0, 1)}
            found[f"{begin}1."] = f"{part}.{level}.3."
    return found


SSDLITE320: Family = Family(
    project="torchvision",
    model="ssdlite320_mobilenet_v3_large",
    present=("backbone.features.0.0.0.", "backbone.features.1.0.", "head.classification_head."),
    head="head.classification_head.module_list.0.1.",
    anchors=6,
    spec=_spec,
    renames=_renames,
)
FAMILIES = (SSDLITE320,)
