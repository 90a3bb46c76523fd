"""The pictures on which two are compared, with their annotations or without."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artefacts.labels import default_labels
from ..datasets.classes import match_classes
from ..errors import BadFile, UsageError
from ..evaluation.evaluate import annotated_pictures
from ..pictures.listing import list_images
from ..pictures.pixels import pixels_from_picture

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..datasets.coco import Annotations


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures in their order.

    Attributes:
        given: as a detector takes them.
        names: a file name each.
        annotations: of the same pictures in the same order; None without any.
        notes: a line for each thing a user should know of their files.
    """

    given: Sequence[Any]
    names: Sequence[str]
    annotations: Annotations | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.given)

    def readable(self, most: int) -> list[Any]:
        """The first pictures that can be read, as they were given."""
        found: list[Any] = []
        for picture in self.given:
            if len(found) == most:
                break
            with suppress(BadFile, UsageError):
                pixels_from_picture(picture)
                found.append(picture)
        return found

    def size(self, place: int, decoded: tuple[int, int]) -> tuple[float, float]:
        """Height and width in pixels: as annotated, else as decoded."""
        if self.annotations is None:
            return float(decoded[0]), float(decoded[1])
        image = self.annotations.images[place]
        return float(image["height"]), float(image["width"])


def pictures_of_annotations(annotations: Annotations, folder: Path) -> Pictures:
    """The annotated pictures of a folder.

    Raises:
        BadFile: none of them is there, or two cannot be told apart.
    """
    notes: list[str] = []
    given = annotated_pictures(annotations, folder, some=True, say=notes.append)
    names = [str(image["file_name"]) for image in annotations.images]
    return Pictures(given, names, annotations, tuple(notes))


def pictures_of_folder(folder: Path) -> Pictures:
    """All pictures of a folder, or the one that a file is.

    Raises:
        BadFile: there is none.
    """
    listing = list_images(folder)
    passed = listing.note()
    names = [path.name for path in listing.files]
    return Pictures(listing.files, names, None, () if passed is None else (passed,))


def ids_of_labels(
    annotations: Annotations | None, description: Description
) -> tuple[Sequence[int | None], Sequence[str]]:
    """The category id of each label in the order of the labels, and what is to be said of it.

    Raises:
        BadFile: the categories do not fit.
    """
    if annotations is None:
        return (), ()
    match = match_classes(annotations, description.labels)
    return match.ids, match.notes


def ids_of_both(
    annotations: Annotations | None, reference: Description, engine: Description
) -> tuple[tuple[Sequence[int | None], Sequence[int | None]], Sequence[str]]:
    """The category ids of both, see :func:`ids_of_labels`, and what is to be said of them.

    A reference that names no classes has those of the annotations in their order, as everywhere;
    where these are more or fewer, it has the engine's.
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
    """Whether the class names are those that a checkpoint without a record is given."""
    return description.labels == default_labels(len(description.labels))


def labels_of_reference(
    reference: Description, engine: Description
) -> tuple[Sequence[int], str | None]:
    """The reference's label for each column of the engine's conf, and a line if names differ.

    By name where the two have the same names, else by order.
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
    if {*reference.labels} != {*engine.labels}:
        first = next(
            pair for pair in zip(reference.labels, engine.labels, strict=True) if pair[0] != pair[1]
        )
        return own, (
            f"class names differ, the first: {first[0]!r} in the reference, {first[1]!r} in the "
            "engine; detections are compared by the order of the classes"
        )
    mapped = [
        label if label == background else reference.labels_named(engine.label_name(label))[0]
        for label in range(engine.num_classes)
    ]
    line = None
    if mapped != own:
        moved = sum(a != b for a, b in zip(mapped, own, strict=True))
        line = f"{moved} classes stand in another order in the engine than in the reference"
    return mapped, line
