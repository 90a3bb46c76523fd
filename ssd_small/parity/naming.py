"""Match the classes of two sides, and of each side to annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..artefacts.labels import default_labels
from ..datasets.classes import match_classes

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..datasets.coco import Annotations
    from ..postprocess import Detections


def ids_of_labels(
    annotations: Annotations | None, description: Description
) -> tuple[Sequence[int | None], Sequence[str]]:
    """The category id of each label, in label order, and notes for the user.

    Raises:
        BadFile: the categories do not match the labels.
    """
    if annotations is None:
        return (), ()
    match = match_classes(
        annotations, description.labels, "give annotations of the network's classes"
    )
    return match.ids, match.notes


def ids_of_both(
    annotations: Annotations | None, reference: Description, engine: Description
) -> tuple[tuple[Sequence[int | None], Sequence[int | None]], Sequence[str]]:
    """The category ids of both sides, see :func:`ids_of_labels`, and notes for the user.

    A reference that names no classes takes those of the annotations in order, as everywhere; if
    their number differs, it takes the engine's.
    """
    theirs, notes = ids_of_labels(annotations, engine)
    if (
        annotations is not None
        and names_no_classes(reference)
        and len(annotations.categories) != len(reference.labels) == len(engine.labels)
    ):
        line = "the reference names no classes, and was scored with the names of the engine"
        return (theirs, theirs), (*notes, line)
    ours, own_notes = ids_of_labels(annotations, reference)
    return (ours, theirs), tuple(dict.fromkeys((*own_notes, *notes)))


def names_no_classes(description: Description) -> bool:
    """Whether the class names are the defaults of a checkpoint that records none."""
    return description.labels == default_labels(len(description.labels))


def labels_of_reference(
    reference: Description, engine: Description
) -> tuple[Sequence[int], str | None]:
    """The reference's label for each column of the engine's conf, and a note if classes differ.

    Matched by name if both have the same set of names, else by order.
    """
    background = engine.postprocess.background_label
    own = list(range(reference.num_classes))
    if engine.num_classes != reference.num_classes:
        return own, (
            f"the engine has {engine.num_classes} classes, the reference {reference.num_classes}"
        )
    same = background == reference.postprocess.background_label
    if not same or len({*reference.labels}) < len(reference.labels):
        return own, None
    if names_no_classes(reference):
        return own, None
    places = _places_by_name(reference.labels, engine.labels)
    if places is None:
        first = next(
            pair for pair in zip(reference.labels, engine.labels, strict=True) if pair[0] != pair[1]
        )
        return own, (
            f"class names differ, the first: {first[0]!r} in the reference, {first[1]!r} in the "
            "engine; detections are compared by the order of the classes"
        )
    detectable = [label for label in own if label != background]
    mapped = list(own)
    for label, place in zip(detectable, places, strict=True):
        mapped[label] = detectable[place]
    line = None
    if mapped != own:
        moved = sum(a != b for a, b in zip(mapped, own, strict=True))
        line = f"{moved} classes stand in another order in the engine than in the reference"
    return mapped, line


def _places_by_name(reference: Sequence[str], engine: Sequence[str]) -> tuple[int, ...] | None:
    """Position of each engine name in the reference; None if the sets differ or a name repeats."""
    place = {name: i for i, name in enumerate(reference)}
    if not len(place) == len(reference) == len(engine) or {*place} != {*engine}:
        return None
    return tuple(place[name] for name in engine)


@dataclass(frozen=True, eq=False)
class Naming:
    """The meaning of the labels of a side.

    Attributes:
        description: provides the labels and the background.
        ids: category id of each detectable label in the annotations; without annotations, numbers
            that the two sides share for equal names.
    """

    description: Description
    ids: tuple[int | None, ...]

    def categories(self, found: Detections) -> npt.NDArray[np.int64]:
        """Category of each detection; -1 for none."""
        background = self.description.postprocess.background_label
        of_label = np.full(self.description.num_classes, -1, np.int64)
        detectable = [i for i in range(len(of_label)) if i != background]
        of_label[detectable] = [-1 if one is None else one for one in self.ids]
        known = (found.labels >= 0) & (found.labels < len(of_label))
        return np.where(known, of_label[np.where(known, found.labels, 0)], -1)


def namings(
    reference: Description, engine: Description, annotations: Annotations | None
) -> tuple[Naming, Naming]:
    """Namings of two sides; without annotations matched by name, or by order if names differ.

    Raises:
        BadFile: the categories of the annotations do not match the classes of a side.
    """
    if annotations is not None:
        (ours, theirs), _ = ids_of_both(annotations, reference, engine)
        return Naming(reference, tuple(ours)), Naming(engine, tuple(theirs))
    own = tuple(range(len(reference.labels)))
    places = _places_by_name(reference.labels, engine.labels)
    return Naming(reference, own), Naming(engine, own if places is None else places)


def with_background(description: Description, background_label: int) -> Description:
    """The same description with the background label that decode + NMS uses."""
    params = replace(description.postprocess, background_label=background_label)
    return replace(description, postprocess=params)
