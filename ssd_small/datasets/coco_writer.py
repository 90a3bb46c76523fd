"""Gather a data set in COCO format, whatever format it is converted from.

The formats are read here and not by a library. Tried on the same files, globox 2.9 starts VOC's
boxes a pixel late, aborts on encodings other than UTF-8 and on outlines, does not read the names in
data.yaml, and does not read CSV; supervision 0.31 skips sub-folders, needs a data.yaml, takes
pixels for fractions and half an outline for a box, and does not read CSV either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..configs.class_names import composed, name_fault
from ..errors import BadFile, quoted
from .coco_fields import LARGEST_SIDE
from .source_files import inside


@dataclass(frozen=True, eq=False)
class Conversion:
    """A data set in COCO format.

    Attributes:
        content: COCO-format annotations. Image ids count from 1 in the order of the source,
            category ids in the order of the labels.
        images: folder that the file names are relative to.
        labels: class names.
        counts: numbers of objects by what was done to them: ``difficult`` (marked so),
            ``without_area`` (left out for a side of zero or less), ``outside`` (also left out),
            ``from_zero`` (a coordinate of 0, impossible where pixels count from 1), ``swapped``,
            ``unclear_flags``, ``outlines``, ``keypoints``; and numbers of pictures: ``renamed``,
            ``misdeclared``, ``cut_sizes``. Holds only what occurred.
        other: number of objects left out because their class is not among the labels, by class.
        notes: lines about pictures.
    """

    content: dict[str, Any]
    images: Path
    labels: tuple[str, ...]
    counts: Mapping[str, int]
    other: Mapping[str, int]
    notes: tuple[str, ...] = ()

    #: words that follow each count in :meth:`lines`
    FATES: ClassVar[Mapping[str, str]] = {
        "difficult": "objects marked difficult are iscrowd: not learned",
        "without_area": "objects without area were left out",
        "outside": "objects wholly outside of their picture were left out",
        "cut_sizes": "pictures have a part of a pixel in their annotated size: it was cut off",
        "from_zero": "objects start at 0; if the tool counts pixels from 0, pass --zero-based",
        "swapped": "objects had their corners swapped and were turned round",
        "unclear_flags": "objects have a difficult flag that says neither yes nor no: taken as no",
        "outlines": "objects are outlines, of which the box around was taken",
        "keypoints": "objects have key points, which were left out",
        "renamed": "annotations name the picture of another one; that of their own name was taken",
        "misdeclared": "annotations are in another encoding than they declare: read as UTF-8",
    }

    def lines(self, *, kept_difficult: bool = False) -> list[str]:
        """A line for each thing a user should know."""
        lines = [
            f"{self.counts[name]} {fate}"
            for name, fate in self.FATES.items()
            if name in self.counts and not (name == "difficult" and kept_difficult)
        ]
        if self.other:
            names = ", ".join(sorted(self.other))
            lines.append(f"{sum(self.other.values())} objects of other classes left out: {names}")
        return [*lines, *self.notes]


class CocoWriter:
    """COCO lists that are filled image by image, object by object."""

    def __init__(self, labels: Sequence[str], root: Path) -> None:
        """Raise BadFile if a label is not a valid class name or occurs twice."""
        self.labels, self.root = tuple(map(composed, labels)), root
        for name in self.labels:
            if fault := name_fault(name):
                raise BadFile(f"{root}: class name {quoted(name)} {fault}; correct it")
        if len(set(self.labels)) < len(self.labels):
            doubled = next(name for name in self.labels if self.labels.count(name) > 1)
            raise BadFile(
                f"{root}: class name {quoted(doubled)} occurs twice among the labels; names must "
                "differ"
            )
        self._ids = {name: i for i, name in enumerate(self.labels, 1)}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.other: Counter[str] = Counter()

    def add_image(self, file: Path, width: float, height: float) -> None:
        """Add the image that the following objects belong to.

        Raises:
            BadFile: its name cannot be written to JSON, or its size is impossible.
        """
        if not 1 <= min(width, height) <= max(width, height) < LARGEST_SIDE:
            raise BadFile(
                f"{file} is annotated as {width:g}x{height:g}; expected 1 to {LARGEST_SIDE - 1} "
                "pixels a side: correct it"
            )
        name = inside(file, self.root).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise BadFile(
                f"the name of picture {quoted(name)} is not UTF-8, and JSON holds no other; rename "
                "the file"
            ) from error
        self.counts["cut_sizes"] += (width, height) != (int(width), int(height))
        self.images.append(
            {
                "id": len(self.images) + 1,
                "file_name": name,
                "width": int(width),
                "height": int(height),
            }
        )

    def add_object(
        self,
        name: str,
        corners: tuple[float, float, float, float],
        where: object,
        *,
        crowd: bool = False,
        **flags: int,
    ) -> None:
        """Add an object given as x1, y1, x2, y2 (x2, y2 exclusive), unless it has no area.

        Objects outside the picture or of a class that is not a label are left out too.

        Raises:
            BadFile: its coordinates exceed those of any picture; ``where`` gives file and line.
        """
        x1, y1, x2, y2 = corners
        name = composed(name)
        if name not in self._ids:
            self.other[name] += 1
            return
        if max(map(abs, corners)) >= LARGEST_SIDE:
            raise BadFile(
                f"{where}: a box of {quoted(name)} has the coordinate "
                f"{max(corners, key=abs):g}; expected pixels of the picture"
            )
        # the product may underflow to zero although the sides are above it
        if x2 <= x1 or y2 <= y1 or (x2 - x1) * (y2 - y1) <= 0:
            self.counts["without_area"] += 1
            return
        image = self.images[-1]
        if x2 <= 0 or y2 <= 0 or x1 >= image["width"] or y1 >= image["height"]:
            self.counts["outside"] += 1
            return
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": len(self.images),
                "category_id": self._ids[name],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": int(crowd),
                **flags,
            }
        )

    def result(self, description: str, notes: Sequence[str] = ()) -> Conversion:
        """Return what was gathered; ``description`` says what it is."""
        content = {
            "info": {"description": description},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": i, "name": name} for name, i in self._ids.items()],
        }
        counts = {name: count for name, count in self.counts.items() if count}
        return Conversion(content, self.root, self.labels, counts, dict(self.other), tuple(notes))
