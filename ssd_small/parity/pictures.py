"""The pictures on which two sides are compared, with or without annotations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadFile, UsageError
from ..evaluation.evaluate import annotated_pictures
from ..pictures.listing import list_images
from ..pictures.pixels import pixels_from_picture

if TYPE_CHECKING:
    from ..datasets.coco import Annotations


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures in order.

    Attributes:
        given: the pictures as a detector takes them.
        names: their file names.
        annotations: annotations of the same pictures in the same order; None without any.
        notes: a line for each thing a user should know about their files.
    """

    given: Sequence[Any]
    names: Sequence[str]
    annotations: Annotations | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.given)

    def readable(self, most: int) -> list[Any]:
        """The first ``most`` pictures that can be read, as they were given."""
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
        BadFile: none of them is there, or their names are ambiguous.
    """
    notes: list[str] = []
    given = annotated_pictures(annotations, folder, some=True, say=notes.append)
    names = [str(image["file_name"]) for image in annotations.images]
    return Pictures(given, names, annotations, tuple(notes))


def pictures_of_folder(folder: Path) -> Pictures:
    """All pictures of a folder, or a single picture file.

    Raises:
        BadFile: there is none.
    """
    listing = list_images(folder)
    passed = listing.note()
    names = [path.name for path in listing.files]
    return Pictures(listing.files, names, None, () if passed is None else (passed,))
