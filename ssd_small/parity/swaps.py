"""An engine's stages put one by one into its reference, picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..datasets.coco import Annotations
from ..errors import UsageError
from ..pictures.reading import Image
from ..postprocess import Detections
from .changed_detections import Naming, changed, mean_ap, namings, same, with_background
from .head_stages import HEAD_STAGES, HeadStages, detections_from_heads
from .picture_stages import (
    PICTURE_STAGES,
    Reader,
    network_input,
    picture_reasons,
    taken_together,
)
from .side import Side
from .side_stages import SideStages, head_reasons, permutation, side_stages

#: in the order in which a picture passes them
STAGES = (*PICTURE_STAGES, "network", *HEAD_STAGES)
#: difference of pixels that is worth a word: resizing in floats and in whole numbers leaves one
GREY_LEVELS = 1.0

FloatArray = npt.NDArray[np.float32]
#: network input ``[3, height, width]``, and with a stage swapped, by stage, where it is another
Prepared = tuple[FloatArray, dict[str, FloatArray]]


@dataclass(frozen=True)
class StageCost:
    """What one stage of the engine's does to the reference's result.

    Attributes:
        stage: one of :data:`STAGES`.
        map_change: COCO's AP with the engine's stage, less that without it; None without
            annotations.
        detections_changed: how many detections it changes, see
            :func:`~ssd_small.parity.changed_detections.changed`.
        reason: what the engine does otherwise, where that can be said in a line.
    """

    stage: str
    map_change: float | None = None
    detections_changed: int = 0
    reason: str | None = None

    @property
    def map_cost(self) -> float | None:
        """How far AP moves, up or down."""
        return None if self.map_change is None else abs(self.map_change)

    def times(self, sign: int) -> StageCost:
        """The same, or with AP counted the other way round."""
        change = None if self.map_change is None else sign * self.map_change
        return replace(self, map_change=change)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "stage": self.stage,
            "map_cost": self.map_cost,
            "detections_changed": self.detections_changed,
            "map_change": self.map_change,
            "reason": self.reason,
        }


class _Before:
    """AP without a swap, which most stages share, computed once."""

    def __init__(self) -> None:
        self._known: dict[int, float | None] = {}

    def __call__(
        self, found: list[Detections], naming: Naming, annotations: Annotations
    ) -> float | None:
        if id(found) not in self._known:
            self._known[id(found)] = mean_ap(found, naming, annotations)
        return self._known[id(found)]


@dataclass(eq=False)
class _Swap:
    """Results with one stage swapped, beside those without.

    Attributes:
        names: of the result without and of that with it.
        without: one per picture.
        swapped: one per picture; the same object as in ``without`` where nothing changed.
    """

    names: tuple[Naming, Naming]
    without: list[Detections]
    swapped: list[Detections]

    def cost(
        self, stage: str, annotations: Annotations | None, reason: str | None, before: _Before
    ) -> StageCost:
        """What the stage costs."""
        renamed = self.names[0] is not self.names[1]
        pairs = list(zip(self.without, self.swapped, strict=True))
        if not renamed and all(a is b for a, b in pairs):
            return StageCost(stage, None if annotations is None else 0.0, 0, reason)
        number = sum(changed(a, b, self.names) for a, b in pairs)
        if annotations is None:
            return StageCost(stage, None, number, reason)
        without = before(self.without, self.names[0], annotations)
        after = mean_ap(self.swapped, self.names[1], annotations)
        change = None if without is None or after is None else after - without
        return StageCost(stage, change, number, reason)


class Swaps:
    """Every stage swapped, picture by picture."""

    def __init__(
        self,
        base: SideStages,
        other: SideStages,
        names: tuple[Naming, Naming],
        readers: tuple[Reader | None, Reader | None],
        *,
        turned: bool,
    ) -> None:
        self._turned = turned
        self._base, self._other, self._names = base, other, names
        self._sees = (base.pictures(readers[0]), other.pictures(readers[1]))
        self._together = taken_together(*self._sees)
        self._ends: tuple[HeadStages, HeadStages] | None = None
        self._levels = {"decode_file": 0.0, "resize": 0.0}
        own = names[0]
        self._found: list[Detections] = []
        self._swaps = {
            stage: _Swap((own, names[1] if stage == "labels" else own), self._found, [])
            for stage in STAGES
        }
        if other.heads is None:
            # of such an engine the network comes with all that follows it
            self._swaps["network"] = _Swap((own, own), [], [])

    @classmethod
    def between(
        cls,
        reference: Side,
        engine: Side,
        annotations: Annotations | None,
        threads: int,
        readers: tuple[Reader | None, Reader | None],
    ) -> Swaps:
        """Of two sides; the reference is kept, or the engine where only that gives heads."""
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
            with_background(one.description, one.params.background_label) for one in (a, b)
        )
        return cls(a, b, namings(first, second, annotations), readers, turned=turned)

    def add(self, pictures: Sequence[Prepared]) -> None:
        """Take some pictures, see :meth:`prepared`, through everything."""
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
        """The pixels of a picture as either side decodes it; one array where they do it alike.

        Raises:
            BadFile, UsageError: it cannot be read.
        """
        mine, theirs = self._sees
        pixels = mine.read(picture)
        return pixels, pixels if theirs.read is mine.read else theirs.read(picture)

    def prepared(self, pixels: Image, other_pixels: Image) -> Prepared:
        """Network input of a picture, and what it is with one stage swapped, where it differs."""
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
        """Detections of the pictures with one stage before the network swapped."""
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
        """The network of an engine that gives detections only, with all that follows it."""
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
        """What either side does with heads, seen by the first ones."""
        if self._ends is None:
            columns = None if theirs is None else permutation(theirs[1], conf)
            self._ends = self._base.ends(conf[0], None), self._other.ends(conf[0], columns)
        return self._ends

    def costs(self, annotations: Annotations | None) -> list[StageCost]:
        """What each stage costs, in their order."""
        step = -1 if self._turned else 1  # the reference first, whichever side was run
        reasons = picture_reasons(*self._sees[::step])
        for stage, most in self._levels.items():
            if most > GREY_LEVELS:
                told = f"{reasons[stage]}: " if stage in reasons else ""
                reasons[stage] = f"{told}pixels differ by up to {most:g} grey levels"
        if self._ends is not None:
            reasons |= head_reasons(*self._ends[::step])
        if self._names[0].ids != self._names[1].ids:
            reasons.setdefault("labels", "other names, or in another order")
        before = _Before()
        return [
            swap.cost(stage, annotations, reasons.get(stage), before).times(step)
            for stage, swap in self._swaps.items()
        ]


def _unmoved(conf: FloatArray, columns: npt.NDArray[np.intp]) -> FloatArray:
    """Columns back in the order of the other side."""
    return np.ascontiguousarray(conf[:, :, np.argsort(columns)])


def _check_alike(first: SideStages, second: SideStages) -> None:
    """Refuse two networks of which no stage can stand in for the other's.

    Raises:
        UsageError: other priors, classes or input sizes.
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
