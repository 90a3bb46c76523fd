"""Split what a side of a comparison does with a picture before the network into five stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..pictures.pixels import decoded_from_picture, pixels_from_picture
from ..pictures.placement import Fit
from ..pictures.preprocessing import (
    Preprocessing,
    input_from_image,
    input_from_levels,
    levels_from_image,
)
from ..pictures.reading import Image
from ..runtimes.cuts import Piece
from .engine_graph import EngineGraph

FloatArray = npt.NDArray[np.float32]
Reader = Callable[[Any], Image]

PICTURE_STAGES = ("decode_file", "resize", "colour_order", "mean", "scale")
#: tolerance, in grey levels, for rounding when mean and std are undone in single precision
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class PictureStages:
    """The stages from a picture to network input.

    Attributes:
        read: decodes to ``[H, W, 3]`` uint8 BGR.
        before: preprocessing before the engine's graph.
        done: all preprocessing as executed; its interpolation is that of ``before``.
        graph: what the engine's graph does before the network; None if nothing.
        takes_pixels: whether the graph does all the preprocessing.
    """

    read: Reader
    before: Preprocessing
    done: Preprocessing
    graph: Piece | None = None
    takes_pixels: bool = False

    def levels(self, pixels: Image) -> FloatArray:
        """The picture at the size of the input: ``[height, width, 3]`` grey levels, BGR."""
        if self.graph is None:
            return levels_from_image(pixels, self.before)
        network_input = _through(self.graph, pixels, self.before, takes_pixels=self.takes_pixels)
        mean, std = (np.asarray(v, np.float32) for v in (self.done.mean, self.done.std))
        levels = network_input.transpose(1, 2, 0) * std + mean
        if self.done.color_order == "RGB":
            levels = levels[:, :, ::-1]
        whole = np.round(levels)
        return np.asarray(np.where(np.abs(levels - whole) < _ROUNDING, whole, levels), np.float32)


def picture_stages(
    preprocessing: Preprocessing, graph: EngineGraph | None, read: Reader | None = None
) -> PictureStages:
    """The stages of a side, from its description and, if it does any of them, from its graph.

    Args:
        preprocessing: preprocessing in its description.
        graph: graph of an ONNX engine.
        read: function that decodes a picture; default: as a detector does.
    """
    reader = read or _reader_for(
        preprocessing.reduced_decoding and (*preprocessing.size, preprocessing.fit)
    )
    if graph is None or graph.pictures is None:
        return PictureStages(reader, preprocessing, preprocessing)
    done = _executed(preprocessing, graph.pictures, takes_pixels=graph.takes_pixels)
    return PictureStages(reader, preprocessing, done, graph.pictures, graph.takes_pixels)


@cache
def _reader_for(reduced: tuple[int, int, Fit] | Literal[False]) -> Reader:
    """A function that decodes as a detector does; one object for sides that decode alike.

    Args:
        reduced: input height, width and fit, if large files are decoded at a fraction of their
            size; else False.
    """
    if not reduced:
        return pixels_from_picture
    height, width, fit = reduced
    told = Preprocessing(height, width, fit=fit, reduced_decoding=True)
    return lambda picture: decoded_from_picture(picture, preprocessing=told).pixels


def _executed(told: Preprocessing, graph: Piece, *, takes_pixels: bool) -> Preprocessing:
    """Determine the executed colour order, mean and std from pictures of a single colour.

    Channel c of the input is ``(colour[order[c]] - mean[c]) / std[c]``.
    """

    def seen(*colour: int) -> FloatArray:
        picture = np.full((told.height, told.width, 3), colour, np.uint8)
        found = _through(graph, picture, told, takes_pixels=takes_pixels)
        return found[:, told.height // 2, told.width // 2]

    black = seen(0, 0, 0)
    # [channel of the picture, channel of the input]
    answers = np.stack([seen(255, 0, 0), seen(0, 255, 0), seen(0, 0, 255)]) - black
    order: Literal["BGR", "RGB"] = "RGB" if answers[2, 0] > answers[0, 0] else "BGR"
    std = 255 / np.maximum(answers.max(axis=0).astype(np.float64), 1e-3)
    mean = -black * std
    return replace(
        told,
        color_order=order,
        mean=_near(mean, told.mean),
        std=_near(std, told.std),
    )


def _near(
    found: npt.NDArray[np.float64], told: tuple[float, float, float]
) -> tuple[float, float, float]:
    """The described numbers where the measured ones equal them up to rounding.

    Other measured numbers keep six digits, which is what single precision leaves of them.
    """
    pairs = zip((float(f"{one:.6g}") + 0.0 for one in found), told, strict=True)
    near = [b if abs(a - b) <= _ROUNDING * max(1.0, abs(b) / 100) else a for a, b in pairs]
    return near[0], near[1], near[2]


def _through(
    graph: Piece, pixels: Image, before: Preprocessing, *, takes_pixels: bool
) -> FloatArray:
    given = pixels if takes_pixels else input_from_image(pixels, before)
    return np.asarray(graph(given[None])[0][0], np.float32)


def network_input(levels: FloatArray, chosen: Mapping[str, PictureStages]) -> FloatArray:
    """Network input ``[3, height, width]`` from grey levels, by the chosen sides' last stages."""
    mixed = replace(
        chosen["resize"].done,
        color_order=chosen["colour_order"].done.color_order,
        mean=chosen["mean"].done.mean,
        std=chosen["scale"].done.std,
    )
    return input_from_levels(levels, mixed)


def taken_together(base: PictureStages, other: PictureStages) -> Mapping[str, tuple[str, ...]]:
    """The stages that are swapped together with each stage, including itself.

    Mean and std are given in the order of the network's channels. If the colour orders of two
    sides differ and their means and stds differ only by that order, they are swapped with it.
    """
    own = {stage: (stage,) for stage in PICTURE_STAGES}
    a, b = base.done, other.done
    if a.color_order != b.color_order and (a.mean, a.std) == (b.mean[::-1], b.std[::-1]):
        with_order = ("colour_order", "mean", "scale")
        return own | {"colour_order": with_order, "mean": (), "scale": ()}
    return own


def picture_reasons(base: PictureStages, other: PictureStages) -> dict[str, str]:
    """How the two sides' parameters differ, by stage."""
    a, b = base.done, other.done
    reasons: dict[str, tuple[Any, ...]] = {
        "decode_file": (_decoding(a), _decoding(b)),
        "resize": tuple(
            ", ".join([one.interpolation, *(f"{k} {v}" for k, v in one.resizing.items())])
            for one in (a, b)
        ),
        "colour_order": (a.color_order, b.color_order),
        "mean": (a.mean, b.mean),
        "scale": (a.std, b.std),
    }
    together = taken_together(base, other)
    return {
        stage: f"{_shown(theirs)}, not {_shown(ours)}"
        for stage, (ours, theirs) in reasons.items()
        if ours != theirs and together[stage]
    }


def _decoding(told: Preprocessing) -> str:
    return "large JPEG at a fraction" if told.reduced_decoding else "in full"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(f"{one:g}" for one in value) + ")"
    return str(value)
