"""A network of layers that are written out, as imported ones are: an example of each kind."""

from __future__ import annotations

from ssd_small.models.layers import (
    Chain,
    Conv,
    ConvBn,
    L2NormLayer,
    ReceptiveField,
    SqueezeExcitation,
)
from ssd_small.models.spec import Extra, Head, Level, ListedLevel, ModelSpec, TapNorm
from ssd_small.pictures.preprocessing import Preprocessing

LAYERS = ModelSpec(
    name="layers",
    title="of layers",
    backbone=(
        Chain((ConvBn(8, stride=2),)),
        Chain((ConvBn(None, stride=2), ConvBn(16, 1, activation="relu6"))),
        Chain(
            (
                ConvBn(24, 1, activation="hardswish", eps=0.001),
                ConvBn(None, 5, 2, activation="hardswish", eps=0.001),
                SqueezeExcitation(8),
                ConvBn(16, 1, activation="none", eps=0.001),
            )
        ),
        Chain((ConvBn(24, 1), ConvBn(None), ConvBn(16, 1, activation="none")), residual=True),
        ReceptiveField(
            (
                (ConvBn(4, 1), ConvBn(8, dilation=2, activation="none")),
                (ConvBn(4, 1), ConvBn(8, dilation=3, activation="none")),
            ),
            ConvBn(16, 1, activation="none"),
            ConvBn(16, 1, activation="none"),
        ),
        Chain((ConvBn(32, 1),)),
        Chain((ConvBn(None, stride=2), ConvBn(32, 1))),
    ),
    taps=(5, 6),
    norms=(TapNorm(5, L2NormLayer()),),
    extras=(
        Extra((Conv(16, 1, padding=0, activation="relu"), Conv(32, stride=2, activation="relu"))),
        Extra((Chain((ConvBn(16, 1), ConvBn(None, stride=2), ConvBn(32, 1)), named=False),)),
        Extra((Conv(16, 1, padding=0, activation="relu"), Conv(32, padding=0, activation="relu"))),
        Extra((Conv(16, 1, padding=0, activation="relu"), Conv(32, padding=0, activation="relu"))),
    ),
    heads=(
        *[Head((Conv(None, activation="relu"),), kernel=1)] * 3,
        Head((ConvBn(None, activation="relu6"),), kernel=1),
        Head(),
        Head(kernel=1),
    ),
    levels=(
        Level(8.0, (20.0, 30.0), (2.0,)),
        Level(16.0, (45.0, 66.0), (2.0, 3.0)),
        Level(32.0, (99.0, 123.0), (2.0, 3.0)),
        ListedLevel((64.0, 60.0), ((153.0, 178.0), (120.0, 90.0))),
        Level(100.0, (207.0,), (2.0,)),
        Level(300.0, (261.0, 287.0), (2.0,)),
    ),
    clip="size",
    preprocessing=Preprocessing(color_order="RGB", mean=(127.0,) * 3, std=(128.0,) * 3),
    written=True,
)
