"""From a configuration to the spec of a network.

Networks that the published implementation can build but not run are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..configs.network import FeatureList, NetworkConfig
from ..errors import BadFile, quoted
from ..pictures.preprocessing import Preprocessing
from ..postprocess.params import MAX_PRIORS
from .backbones import BACKBONES, UNBUILT, Layers
from .families import FAMILIES, PYRAMID, Family
from .layers import Conv, L2NormLayer
from .prior_levels import levels_from_config
from .published import NAMED
from .receptive_fields import FIRST_TAP, FIRST_TAP_LITE, later_field
from .shapes import Shape, apply, feature_maps, small_map_fault, summarize
from .spec import Extra, Fusion, ModelSpec, TapNorm

T = TypeVar("T")

#: largest plausible side of an input
_MOST_SIDE = 8192
#: in fp32, the 2 GiB that an ONNX file can hold; a typo in a number of channels soon asks for more
#: memory than there is
_MOST_PARAMETERS = 1 << 29


def spec_from_config(config: NetworkConfig, source: str | Path = "the configuration") -> ModelSpec:
    """Make the spec of the network that a configuration describes.

    A configuration from the published table gives the network of that name; others are named after
    their family and backbone.

    Args:
        config: what to build.
        source: how messages refer to the configuration.

    Raises:
        BadFile: an unknown family, backbone or code, lists that do not fit together, channels that
            differ from the backbone's, an input so small that a feature map has no cell, or a
            network too large for an engine or an ONNX file.
    """
    try:
        spec = _spec(config)
    except ValueError as error:
        raise BadFile(f"{source}: {error}") from error
    return spec


def spec_from_network(network: NetworkConfig | ModelSpec) -> ModelSpec:
    """Make the spec of a network without a name from its configuration; return a spec unchanged.

    Raises:
        BadFile: as :func:`spec_from_config`.
    """
    return network if isinstance(network, ModelSpec) else spec_from_config(network)


def _spec(config: NetworkConfig) -> ModelSpec:
    named = next((one for one in NAMED if one.config == config), None)
    family = _known(FAMILIES, config.ssds, "SSDS")
    if config.nets in UNBUILT:
        raise ValueError(f"NETS {config.nets}: {UNBUILT[config.nets]}; expected another backbone")
    backbone = _known(BACKBONES, config.nets, "NETS")
    height, width = config.image_size
    if not all(1 <= side <= _MOST_SIDE for side in (height, width)):
        raise ValueError(f"IMAGE_SIZE [{height}, {width}]: expected sides of 1 to {_MOST_SIDE}")
    expected = 2 if family.fused else 1
    if len(config.feature_layer) != expected:
        raise ValueError(
            f"FEATURE_LAYER has {len(config.feature_layer)} pairs of entries and channels; "
            f"{config.ssds} takes {expected}"
        )
    taps, codes = _entries(config, family, backbone)
    spec = ModelSpec(
        name=named.name if named else f"{config.ssds}_{config.nets}".lower(),
        title=named.title if named else f"{config.ssds} {config.nets}",
        backbone=backbone,
        taps=taps,
        levels=(),
        norms=_norms(family, taps),
        norms_listed=family.norm == "fields",
        extras=tuple(Extra(family.codes[code](out)) for code, out in codes),
        extras_from=taps[-1] if family.from_tap else -1,
        fusion=_fusion(config.feature_layer) if family.fused else None,
        clip="all" if config.clip else "none",
        dual_split=family.split,
        preprocessing=Preprocessing(height=height, width=width),
        published=named.published if named else None,
        config=config,
    )
    fault = small_map_fault(spec)
    if fault:
        raise ValueError(f"{config.ssds} {config.nets} {fault}")
    maps = [(shape.height, shape.width) for shape in feature_maps(spec)[1]]
    spec = replace(spec, levels=levels_from_config(config, maps))
    _check_size(config, spec)
    return spec


def _check_size(config: NetworkConfig, spec: ModelSpec) -> None:
    """Refuse a network too large for an engine or an ONNX file, before it is built."""
    summary = summarize(spec)
    height, width = config.image_size
    for count, things, most, advice in (
        (summary.num_priors, "prior boxes", MAX_PRIORS, "a smaller input"),
        (summary.cost.parameters, "parameters", _MOST_PARAMETERS, "fewer channels"),
    ):
        if count > most:
            raise ValueError(
                f"{config.ssds} {config.nets} has {count} {things} at an input of "
                f"{height}x{width}; expected at most {most}: choose {advice}"
            )


def _known(table: Mapping[str, T], name: str, key: str) -> T:
    if name not in table:
        raise ValueError(f"{key} {quoted(name)} is not known; expected one of {', '.join(table)}")
    return table[name]


def _entries(
    config: NetworkConfig, family: Family, backbone: Layers
) -> tuple[tuple[int, ...], list[tuple[str, int]]]:
    """Return the taps, and the codes with their channels, of the first list in FEATURE_LAYER."""
    listed = _checked(config.feature_layer[0])
    taps = tuple(entry for entry in listed.entries if isinstance(entry, int))
    codes = [entry for entry in listed.entries if isinstance(entry, str)]
    if not taps or listed.entries != (*taps, *codes) or list(taps) != sorted(set(taps)):
        raise ValueError(
            f"FEATURE_LAYER {quoted(list(listed.entries))}: expected taps in ascending order, then "
            "codes"
        )
    if not 0 <= taps[0] <= taps[-1] < len(backbone):
        raise ValueError(
            f"FEATURE_LAYER taps {list(taps)[:20]}: {config.nets} has layers 0 to "
            f"{len(backbone) - 1}"
        )
    if config.ssds == "ssd_lite_dual" and len(taps) < 2:
        raise ValueError("FEATURE_LAYER has one tap; ssd_lite_dual takes two or more")
    for code in codes:
        if code not in family.codes:
            raise ValueError(
                f"FEATURE_LAYER code {quoted(code)} is none of {config.ssds}; expected one of "
                f"{', '.join(map(repr, family.codes))}"
            )
    _check_fields(config.ssds, family, codes)
    _check_channels(config, family, backbone, listed, taps)
    return taps, list(zip(codes, listed.channels[len(taps) :], strict=True))


def _checked(listed: FeatureList) -> FeatureList:
    if len(listed.entries) != len(listed.channels):
        raise ValueError(
            f"FEATURE_LAYER has {len(listed.entries)} entries and {len(listed.channels)} numbers "
            "of channels; expected as many"
        )
    if not all(2 <= channels <= 1 << 16 for channels in listed.channels):
        raise ValueError(
            f"FEATURE_LAYER channels {quoted(list(listed.channels))}: expected 2 to {1 << 16} each"
        )
    return listed


def _check_fields(ssds: str, family: Family, codes: Sequence[str]) -> None:
    """Check RBF codes: the published forward pass expects them first, and selects by parity."""
    count = codes.count("RBF")
    if list(codes[:count]) != ["RBF"] * count:
        raise ValueError(
            f"FEATURE_LAYER codes {quoted(list(codes))}: expected RBF before the others"
        )
    parity = {"even": 0, "odd": 1}.get(family.fields)
    if codes and parity is not None and count % 2 != parity:
        raise ValueError(
            f"FEATURE_LAYER has {count} RBF codes; {ssds} takes an {family.fields} number of them"
        )


def _check_channels(
    config: NetworkConfig,
    family: Family,
    backbone: Layers,
    listed: FeatureList,
    taps: tuple[int, ...],
) -> None:
    """Check that the channels listed for the taps are those of the backbone."""
    x, real = Shape(3, *config.image_size), []
    for layer in backbone:
        x, _ = apply(layer, x, 1.0)
        real.append(x.channels)
    for tap, named in zip(taps, listed.channels, strict=False):
        if named != real[tap]:
            raise ValueError(
                f"FEATURE_LAYER asks for {named} channels at layer {tap} of {config.nets}, "
                f"{real[tap]} come"
            )
    fed = real[taps[-1] if family.from_tap else -1]
    if len(listed.entries) > len(taps) and fed != real[taps[-1]]:
        raise ValueError(
            f"the extra levels of {config.ssds} begin at the last layer of {config.nets}, which "
            f"has {fed} channels; the last tap of FEATURE_LAYER has {real[taps[-1]]}"
        )
    if config.ssds == "rfb_lite" and "RBF" in listed.entries:
        _check_lite_fields(listed, len(taps))


def _check_lite_fields(listed: FeatureList, taps: int) -> None:
    """Check that the channels have the divisibility that the published block relies on."""
    pairs = zip(listed.channels[taps - 1 :], listed.channels[taps:], strict=False)
    for (before, out), code in zip(pairs, listed.entries[taps:], strict=False):
        if code == "RBF" and (before == out or before // 8 % 2):
            raise ValueError(
                f"FEATURE_LAYER leads an RBF of rfb_lite from {before} to {out} channels; expected "
                "another number, from an even eighth"
            )


def _norms(family: Family, taps: tuple[int, ...]) -> tuple[TapNorm, ...]:
    first, *later = taps
    if family.norm == "l2":
        return (TapNorm(first, L2NormLayer()),)
    if family.norm == "field":
        return (TapNorm(first, FIRST_TAP_LITE),)
    if family.norm == "fields":
        return (
            TapNorm(first, FIRST_TAP),
            *(TapNorm(tap, later_field(), feeds_on=True) for tap in later),
        )
    return ()


def _fusion(lists: tuple[FeatureList, ...]) -> Fusion:
    """Make the transforms of the first list's sources, and the pyramid of the second list."""
    sources, pyramid = lists[0], _checked(lists[1])
    width = sources.channels[-1] // 2
    layers = []
    for index, (code, out) in enumerate(zip(pyramid.entries, pyramid.channels, strict=True)):
        if code not in PYRAMID:
            raise ValueError(
                f"FEATURE_LAYER entry {quoted(code)} in the pyramid; expected one of "
                f"{', '.join(map(repr, PYRAMID))}"
            )
        stride, padding = PYRAMID[str(code)]
        # the first keeps the size of the fused map
        padding = 1 if index == 0 else padding
        layers.append(Conv(out, 3, stride, padding, activation="relu"))
    transform = Conv(width, 1, padding=0, activation="relu")
    return Fusion((transform,) * len(sources.entries), tuple(layers))
