"""Swap an engine's stages one by one into its reference, picture by picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations
from ..errors import UsageError
from ..evaluation.limits import HEAD_LIMITS
from ..pictures.reading import Image
from ..postprocess import Detections
from .changed_detections import same
from .head_differences import scale_of
from .head_stages import HEAD_STAGES, HeadStages, detections_from_heads
from .naming import Naming, namings, with_background
from .picture_stages import (
    PICTURE_STAGES,
    Reader,
    network_input,
    picture_reasons,
    taken_together,
)
from .side import Side
from .side_stages import SideStages, head_reasons, permutation, side_stages
from .stage_cost import ApWithoutSwap, StageCost, Swap

#: all stages, in the order in which a picture passes them
STAGES = (*PICTURE_STAGES, "network", *HEAD_STAGES)
#: pixel differences above this are reported: resizing in floats and in integers may differ by one
GREY_LEVELS = 1.0

FloatArray = npt.NDArray[np.float32]
#: network input ``[3, height, width]``, and by stage the input with it swapped, if different
Prepared = tuple[FloatArray, dict[str, FloatArray]]


class Swaps:
    """Accumulates the results of every swap, picture by picture."""

    def __init__(
        self,
        base: SideStages,
        other: SideStages,
        names: tuple[Naming, Naming],
        readers: tuple[Reader | None, Reader | None],
        *,
        turned: bool,
        head_limit: float,
    ) -> None:
        self._turned = turned
        self._head_limit, self._head_error = head_limit, 0.0
        self._base, self._other, self._names = base, other, names
        self._sees = (base.pictures(readers[0]), other.pictures(readers[1]))
        self._together = taken_together(*self._sees)
        self._ends: tuple[HeadStages, HeadStages] | None = None
        self._levels = {"decode_file": 0.0, "resize": 0.0}
        own = names[0]
        self._found: list[Detections] = []
        self._swaps = {
            stage: Swap((own, names[1] if stage == "labels" else own), self._found, [])
            for stage in STAGES
        }
        if other.heads is None:
            # such an engine's network can only be swapped with all that follows it
            self._swaps["network"] = Swap((own, own), [], [])

    @classmethod
    def between(
        cls,
        reference: Side,
        engine: Side,
        annotations: Annotations | None,
        threads: int,
        readers: tuple[Reader | None, Reader | None],
    ) -> Swaps:
        """Swaps for two sides: the base is the reference, or the engine if only that has heads."""
        a = side_stages(reference, reference.description.postprocess, threads)
        b = side_stages(engine, engine.params, threads)
        _check_alike(a, b)
        turned = a.heads is None
        if turned:
            a, b, readers = b, a, readers[::-1]
        if a.heads is None:
            raise UsageError(
                "attribution: neither side gives loc and conf; expected a checkpoint, an engine of "
                "ONNX Runtime or one built with --heads to compare with"
            )
        first, second = (
            with_background(one.description, one.params.background_label)
            for one in ((b, a) if turned else (a, b))
        )
        limit = max(HEAD_LIMITS[one.precision] for one in (reference, engine))
        names = namings(first, second, annotations)
        names = names[::-1] if turned else names
        return cls(a, b, names, readers, turned=turned, head_limit=limit)

    def add(self, pictures: Sequence[Prepared]) -> None:
        """Run some pictures (see :meth:`prepared`) with every stage swapped."""
        base, other = self._base, self._other
        assert base.heads is not None
        inputs, swapped = zip(*pictures, strict=True)
        loc, conf = base.heads(np.stack(inputs))
        theirs = None if other.heads is None else other.heads(np.stack(inputs))
        ends = self._ends_seen(loc, conf, theirs)
        own = dict.fromkeys(HEAD_STAGES, ends[0])
        found = [detections_from_heads(*heads, own) for heads in zip(loc, conf, strict=True)]
        self._found += found
        for stage in PICTURE_STAGES:
            self._add(stage, found, self._seen(swapped, stage, found, own))
        if theirs is None:
            self._add_bound(np.stack(inputs), loc, conf, ends[1])
        else:
            moved = theirs[1] if ends[1].columns is None else _unmoved(theirs[1], ends[1].columns)
            self._head_error = max(self._head_error, _error(loc, theirs[0]), _error(conf, moved))
            heads = zip(theirs[0], moved, strict=True)
            self._add("network", found, [detections_from_heads(*one, own) for one in heads])
        differing = {*head_reasons(*ends)}
        if any(end.has_own_nms for end in ends):
            differing.add("nms")
        for stage in HEAD_STAGES:
            mixed = own | {stage: ends[1]}
            heads = zip(loc, conf, strict=True)
            other_found = (
                [detections_from_heads(*one, mixed) for one in heads]
                if stage in differing
                else found
            )
            self._add(stage, found, other_found)

    def decoded(self, picture: Any) -> tuple[Image, Image]:
        """The pixels of a picture as each side decodes it; the same array if they decode alike.

        Raises:
            BadFile, UsageError: it cannot be read.
        """
        mine, theirs = self._sees
        pixels = mine.read(picture)
        return pixels, pixels if theirs.read is mine.read else theirs.read(picture)

    def prepared(self, pixels: Image, other_pixels: Image) -> Prepared:
        """Network input of a picture, and by stage its input with that swapped, if different."""
        mine, theirs = self._sees
        own = dict.fromkeys(PICTURE_STAGES, mine)
        levels = mine.levels(pixels)
        usual = network_input(levels, own)
        found: dict[str, FloatArray] = {}
        changed_levels = {
            "decode_file": levels if other_pixels is pixels else mine.levels(other_pixels),
            "resize": theirs.levels(pixels),
        }
        for stage, other in changed_levels.items():
            self._levels[stage] = max(self._levels[stage], float(np.abs(other - levels).max()))
        for stage in PICTURE_STAGES:
            mixed = own | {one: theirs for one in self._together[stage] if one != "resize"}
            other = network_input(changed_levels.get(stage, levels), mixed)
            if not np.array_equal(other, usual):
                found[stage] = other
        return usual, found

    def _seen(
        self,
        swapped: Sequence[Mapping[str, FloatArray]],
        stage: str,
        found: Sequence[Detections],
        own: Mapping[str, HeadStages],
    ) -> list[Detections]:
        """Detections with one stage before the network swapped."""
        places = [i for i, inputs in enumerate(swapped) if stage in inputs]
        result = list(found)
        if places and self._base.heads is not None:
            loc, conf = self._base.heads(np.stack([swapped[i][stage] for i in places]))
            for i, *heads in zip(places, loc, conf, strict=True):
                result[i] = detections_from_heads(heads[0], heads[1], own)
        return result

    def _add_bound(
        self, inputs: FloatArray, loc: FloatArray, conf: FloatArray, end: HeadStages
    ) -> None:
        """Swap the network, with all that follows it, of an engine that gives only detections."""
        all_theirs = dict.fromkeys(HEAD_STAGES, end)
        swap = self._swaps["network"]
        heads = zip(loc, conf, strict=True)
        without = [detections_from_heads(*one, all_theirs) for one in heads]
        swap.without.extend(without)
        self._add("network", without, self._other.detect(inputs))

    def _add(
        self, stage: str, without: Sequence[Detections], swapped: Sequence[Detections]
    ) -> None:
        pairs = zip(without, swapped, strict=True)
        self._swaps[stage].swapped.extend(a if same(a, b) else b for a, b in pairs)

    def _ends_seen(
        self,
        loc: FloatArray,
        conf: FloatArray,
        theirs: tuple[FloatArray, FloatArray] | None,
    ) -> tuple[HeadStages, HeadStages]:
        """What each side does with heads, determined from the first picture."""
        if self._ends is None:
            columns = None if theirs is None else permutation(theirs[1], conf)
            self._ends = self._base.ends(conf[0], None), self._other.ends(conf[0], columns)
        return self._ends

    def costs(self, annotations: Annotations | None) -> list[StageCost]:
        """The cost of each stage, in the order of :data:`STAGES`."""
        step = -1 if self._turned else 1  # the reference first, whichever side is the base
        reasons = picture_reasons(*self._sees[::step])
        # for a network that resizes by itself any difference is reported: one grey level in one
        # place exceeds a network's rounding, and there is no other reason to give
        inside = any(one.description.pictures is not None for one in (self._base, self._other))
        for stage, most in self._levels.items():
            if most > (0.0 if inside else GREY_LEVELS):
                told = f"{reasons[stage]}: " if stage in reasons else ""
                unit = "grey level" if most == 1 else "grey levels"
                reasons[stage] = f"{told}pixels differ by up to {most:g} {unit}"
        if self._ends is not None:
            reasons |= head_reasons(*self._ends[::step])
        if self._names[0].ids != self._names[1].ids:
            reasons.setdefault("labels", "other names, or in another order")
        before = ApWithoutSwap()
        found = [
            swap.cost(stage, annotations, reasons.get(stage), before).times(step)
            for stage, swap in self._swaps.items()
        ]
        return [self._with_moved_heads(one) if one.stage == "network" else one for one in found]

    def _with_moved_heads(self, cost: StageCost) -> StageCost:
        """The network's cost, with a reason if the heads differ but no detection shows it."""
        if cost.map_cost or cost.detections_changed or self._head_error <= self._head_limit:
            return cost
        told = f"loc or conf differ by up to {self._head_error:.2g} of the largest"
        return replace(cost, reason=told)


def _error(own: FloatArray, other: FloatArray) -> float:
    """Largest difference of two outputs relative to the largest value; infinite for NaN."""
    with np.errstate(invalid="ignore"):
        found = float(np.abs(own - other).max()) / scale_of(own)
    return found if math.isfinite(found) else math.inf


def _unmoved(conf: FloatArray, columns: npt.NDArray[np.intp]) -> FloatArray:
    """Put columns back into the order of the other side."""
    return np.ascontiguousarray(conf[:, :, np.argsort(columns)])


def _check_alike(first: SideStages, second: SideStages) -> None:
    """Refuse two networks whose stages cannot replace each other.

    Raises:
        UsageError: priors, classes or input sizes differ.
    """
    for name, own, other in (
        ("priors", len(first.description.priors), len(second.description.priors)),
        ("classes", first.description.num_classes, second.description.num_classes),
        ("input size", *(_size(one) for one in (first, second))),
    ):
        if own != other:
            raise UsageError(
                f"attribution: the reference has {name} {own}, the engine {other}; expected two of "
                "the same network"
            )


def _size(side: SideStages) -> str:
    size = side.description.preprocessing
    return f"{size.width}x{size.height}"
