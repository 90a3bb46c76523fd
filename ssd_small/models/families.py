"""The families of detectors by their SSDS name, as tables.

A family defines which layers each FEATURE_LAYER code stands for, what lies between taps and heads,
and where the extra levels begin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .backbones import Layers
from .layers import Chain, Conv, ConvBn, Unit
from .receptive_fields import later_field, lite_field

#: makes the layers of an extra level with the given number of channels
_Code = Callable[[int], Layers]


def _plain(stride: int, padding: int, activation: Literal["relu", "none"]) -> _Code:
    """The plain extra: 1x1 to half the channels, then 3x3."""
    return lambda out: (
        Conv(out // 2, 1, padding=0, activation=activation),
        Conv(out, 3, stride, padding, activation=activation),
    )


def _separable(stride: int, padding: int, activation: Literal["relu", "none"]) -> _Code:
    """The "lite" extra: 1x1, depthwise 3x3, 1x1, in one slot of the module list."""
    return lambda out: (
        Chain(
            (
                ConvBn(out, 1, activation="relu6"),
                ConvBn(None, 3, stride, padding, activation="relu6"),
                ConvBn(out, 1, activation="none"),
            ),
            named=False,
            activation=activation,
        ),
    )


def _units(stride: int, padding: int) -> _Code:
    """The plain extra with batch norms."""
    return lambda out: (Unit(ConvBn(out // 2, 1)), Unit(ConvBn(out, 3, stride, padding)))


@dataclass(frozen=True)
class Family:
    """The definition of a family.

    Attributes:
        codes: layers of an extra level, by code.
        norm: what lies between taps and heads.
        split: backbone index after which the dual path begins; None without dual path.
        from_tap: whether the extras begin at the last tap rather than at the last layer.
        fields: parity of the number of RBF codes that the published forward pass requires.
        fused: whether feature fusion makes the levels from all sources.
    """

    codes: dict[str, _Code]
    norm: Literal["l2", "fields", "field", "none"] = "l2"
    split: int | None = None
    from_tap: bool = False
    fields: Literal["even", "odd", ""] = ""
    fused: bool = False


_SSD = {"S": _plain(2, 1, "relu"), "": _plain(1, 0, "relu")}
_LITE = {
    "S": _separable(2, 1, "relu"),
    "": _separable(1, 0, "relu"),
    "P": _separable(2, 0, "relu"),
}
_RFB = {"S": _units(2, 1), "": _units(1, 0)}
#: stride and padding for each code of a fusion's pyramid
PYRAMID = {"S": (2, 1), "": (1, 0)}

FAMILIES = {
    "ssd": Family(_SSD),
    "ssd_lite": Family(_LITE),
    "ssd_dual": Family(_SSD, split=4),
    "ssd_lite_dual": Family({**_LITE, "E": _LITE["S"]}, split=0, from_tap=True),
    "rfb": Family(
        {**_RFB, "RBF": lambda out: (later_field(out, 2),)},
        norm="fields",
        from_tap=True,
        fields="even",
    ),
    "rfb_lite": Family({**_RFB, "RBF": lambda out: (lite_field(out),)}, norm="field", fields="odd"),
    "fssd": Family({"S": _plain(2, 1, "none"), "": _plain(1, 0, "none")}, norm="none", fused=True),
    "fssd_lite": Family(
        {"S": _separable(2, 1, "none"), "": _separable(1, 0, "none")}, norm="none", fused=True
    ),
}
