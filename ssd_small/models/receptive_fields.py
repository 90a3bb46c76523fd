"""The receptive-field blocks of RFB Net (Liu et al. 2018), as tables.

``Share(n)`` is one n-th of the channels of the block's input. The last convolution of a branch has
the dilation that gives the block its receptive field, and no activation.
"""

from __future__ import annotations

from .layers import ConvBn, ReceptiveField, Share

_ACROSS, _DOWN = (1, 3), (3, 1)


def _last(out: Share, dilation: int) -> ConvBn:
    return ConvBn(out, dilation=dilation, activation="none")


def _plain(out: int | Share, stride: int = 1) -> ConvBn:
    return ConvBn(out, 1, stride, activation="none")


_FIRST_TAP_BRANCHES = (
    (ConvBn(Share(4), 1), _last(Share(4), 1)),
    (ConvBn(Share(4), 1), ConvBn(Share(4), _DOWN), _last(Share(4), 3)),
    (ConvBn(Share(4), 1), ConvBn(Share(4), _ACROSS), _last(Share(4), 3)),
    (
        ConvBn(Share(8), 1),
        ConvBn(Share(16, 3), _ACROSS),
        ConvBn(Share(4), _DOWN),
        _last(Share(4), 5),
    ),
)

#: at the first tap of ``rfb``: four branches, a convolution as shortcut
FIRST_TAP = ReceptiveField(_FIRST_TAP_BRANCHES, _plain(Share()), _plain(Share()))
#: at the first tap of ``rfb_lite``: the input itself is added
FIRST_TAP_LITE = ReceptiveField(_FIRST_TAP_BRANCHES, _plain(Share()))


def later_field(out: int | Share = Share(), stride: int = 1) -> ReceptiveField:  # noqa: B008
    """The block at the later taps of ``rfb`` (same channels) and in its extras (stride 2)."""
    branches = (
        (ConvBn(Share(8), 1), ConvBn(Share(8, 2), stride=stride), _last(Share(8, 2), 3)),
        (
            ConvBn(Share(8), 1),
            ConvBn(Share(16, 3)),
            ConvBn(Share(8, 2), stride=stride),
            _last(Share(8, 2), 5),
        ),
    )
    return ReceptiveField(branches, _plain(out), _plain(out, stride))


def lite_field(out: int) -> ReceptiveField:
    """The extra level of ``rfb_lite``, with stride 2; its branches are numbered from 1."""
    inner = Share(16, 3)
    branches = (
        (
            ConvBn(Share(8), 1),
            ConvBn(inner, _ACROSS),
            ConvBn(inner, _DOWN, stride=2),
            _last(inner, 3),
        ),
        (ConvBn(Share(8), 1), ConvBn(inner), ConvBn(inner, stride=2), _last(inner, 5)),
    )
    return ReceptiveField(branches, _plain(out), _plain(out, 2), first=1)
