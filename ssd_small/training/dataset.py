"""A COCO-format data set as a torch ``Dataset``, checked for faults before training starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from ..artefacts.object_size import ObjectSize
from ..datasets.classes import category_ids_by_name, near_match
from ..datasets.coco import Annotations, read_annotations
from ..datasets.object_sizes import ROUNDING, check_pixels, sides_at_input
from ..datasets.picture_files import image_paths
from ..errors import BadFile, quoted
from ..pictures.annotated import read_annotated
from ..pictures.placement import Fit, sizes_seen
from ..pictures.reading import Image


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture and the objects in it.

    Attributes:
        image: ``[H, W, 3]`` uint8 RGB; do not modify it, it may be cached for the next epoch.
        boxes_xyxy: ``[G, 4]`` float32 in pixels of ``image``, inside it, with positive sides.
        labels: ``[G]`` int64, 1 and up; 0 is the background.
    """

    image: Image
    boxes_xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class DatasetReport:
    """Counts of what an annotation file contains and what of it is left out of training.

    Attributes:
        images, boxes: number of images and boxes trained on.
        images_without_objects: how many of these images contain only background.
        labels_without_objects: classes without any object, which cannot be learned.
        clipped: boxes that extended beyond their image and were clipped to it.
        without_area, outside: boxes left out: a side of 0, or entirely outside the image.
        crowd: boxes left out: marked ``iscrowd``, one box around many objects.
        other_category: boxes left out: of a category that is not among the requested labels.
    """

    images: int
    boxes: int
    images_without_objects: int
    labels_without_objects: tuple[str, ...]
    clipped: int
    without_area: int
    outside: int
    crowd: int
    other_category: int

    def notes(self) -> list[str]:
        """One line for each thing the user should know; empty if there is none."""
        counts = (
            (self.clipped, "reached beyond the image and were clipped"),
            (self.without_area, "without area were left out"),
            (self.outside, "outside of the image were left out"),
            (self.crowd, "marked iscrowd were left out"),
            (self.other_category, "of other categories were left out"),
        )
        lines = [f"{count} boxes {fate}" for count, fate in counts if count]
        if self.images_without_objects:
            lines.append(f"{self.images_without_objects} of {self.images} images have no objects")
        if self.labels_without_objects:
            shown = ", ".join(self.labels_without_objects[:5])
            more = len(self.labels_without_objects) - 5
            lines.append(
                f"no objects of class {shown}{f' and {more} more' if more > 0 else ''}: "
                "nothing can be learned of it"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self) | {"labels_without_objects": list(self.labels_without_objects)}


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of all images; those of image ``i`` are rows ``starts[i]:starts[i + 1]``.

    They are arrays, not lists, so that worker processes can share their memory, which nobody
    writes to.
    """

    boxes_xyxy: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]


class DetectionDataset(Dataset[Sample]):
    """Pictures with their objects; ``dataset[i]`` is a :class:`Sample`.

    Attributes:
        labels: class names in the order of the network's classes, without background.
        category_ids: the annotation file's id of each label.
        paths: image files.
        report: counts of what the annotations contain.
    """

    def __init__(
        self,
        truth: Annotations,
        paths: Sequence[Path],
        labels: Sequence[str] | None = None,
        *,
        cache_bytes: int = 256 << 20,
    ) -> None:
        """See :meth:`from_coco`, which reads ``truth`` and finds its images, ``paths``."""
        check_pixels(truth)
        self.category_ids = _category_ids(truth, labels)
        names = {int(c["id"]): str(c["name"]) for c in truth.categories}
        self.labels = tuple(names[key] for key in self.category_ids)
        self.paths = list(paths)
        self._sizes = np.array([(i["height"], i["width"]) for i in truth.images], np.float64)
        self._objects, self.report = _gather(truth, self._sizes, self.category_ids, self.labels)
        fits = 3 * self._sizes.prod(axis=1).sum() <= cache_bytes
        self._cache: dict[int, Image] | None = {} if fits else None

    @property
    def sizes(self) -> npt.NDArray[np.float64]:
        """``[N, 2]`` annotated height and width of the pictures."""
        return self._sizes

    @property
    def objects(self) -> Objects:
        """The objects of all pictures that are trained on."""
        return self._objects

    @property
    def is_too_large_to_keep(self) -> bool:
        """Whether pictures are too large to be cached, and are decoded on every access."""
        return self._cache is None

    @classmethod
    def from_coco(
        cls,
        annotations: str | Path,
        images: str | Path,
        *,
        labels: Sequence[str] | None = None,
        cache_bytes: int = 256 << 20,
    ) -> DetectionDataset:
        """Read an annotation file and check that its images exist.

        Args:
            annotations: COCO-format JSON with any categories.
            images: folder that the file names are relative to.
            labels: names of the categories to learn, in this order; default: all, ordered by id,
                except those that are only a supercategory of others.
            cache_bytes: decoded pictures are kept in memory if all of them together take no
                more than this; each worker process keeps its own.

        Raises:
            BadFile: the file is not COCO, an image is missing, a label is not a category, two
                categories share a name, or no object is left to learn from.
        """
        truth = read_annotations(annotations)
        return cls(truth, image_paths(truth, images), labels, cache_bytes=cache_bytes)

    @property
    def num_classes(self) -> int:
        """Number of classes, including background."""
        return len(self.labels) + 1

    def __len__(self) -> int:
        return len(self.paths)

    def labels_of(self, index: int) -> npt.NDArray[np.int64]:
        """Labels ``[G]`` of the objects of an image, without decoding it."""
        first, last = self._objects.starts[index : index + 2]
        return self._objects.labels[first:last]

    def object_sides(
        self, height: int, width: int, fit: Fit = "stretch"
    ) -> npt.NDArray[np.float64]:
        """Sides of the objects in pixels, once pictures are resized to ``height`` x ``width``.

        The side of a box is the square root of its area.
        """
        sizes = self._sizes.repeat(np.diff(self._objects.starts), axis=0)
        seen = sizes_seen(fit, sizes, (height, width))
        return sides_at_input(self._objects.boxes_xyxy, seen, height, width)

    def picture_sides(self) -> npt.NDArray[np.float64]:
        """Sides of the objects in pixels of the pictures as annotated."""
        boxes = self._objects.boxes_xyxy
        sides: npt.NDArray[np.float64] = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
        return sides

    def object_size(self, height: int, width: int, fit: Fit = "stretch") -> ObjectSize:
        """Medians of :meth:`picture_sides` and :meth:`object_sides`."""
        return ObjectSize(
            picture=float(np.median(self.picture_sides())),
            network=float(np.median(self.object_sides(height, width, fit))),
        )

    def __getitem__(self, index: int) -> Sample:
        """Decode an image.

        Raises:
            BadFile: it is missing or damaged, or is not the picture that was annotated.
        """
        index = range(len(self))[index]
        image = self._image(index)
        first, last = self._objects.starts[index : index + 2]
        annotated_height, annotated_width = self._sizes[index]
        height, width = image.shape[:2]
        scale = np.array([width / annotated_width, height / annotated_height] * 2)
        boxes = (self._objects.boxes_xyxy[first:last] * scale).astype(np.float32)
        return Sample(image, boxes, self._objects.labels[first:last])

    def _image(self, index: int) -> Image:
        """The picture, ``[H, W, 3]`` RGB, from the cache if it was read before."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        height, width = self._sizes[index].tolist()
        image = np.ascontiguousarray(read_annotated(self.paths[index], (height, width))[:, :, ::-1])
        if self._cache is not None:
            self._cache[index] = image
        return image

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes that do not inherit memory start with an empty cache."""
        return self.__dict__ | {"_cache": None if self._cache is None else {}}


def _category_ids(truth: Annotations, labels: Sequence[str] | None) -> tuple[int, ...]:
    """The category id of each label."""
    by_name = category_ids_by_name(truth, labels or ())
    if labels is None:
        return tuple(by_name.values())
    unknown = [name for name in labels if name not in by_name]
    if unknown or len(set(labels)) != len(labels) or not labels:
        fault = "labels must differ"
        if unknown:
            near = near_match(unknown[0], by_name)
            guess = "" if near is None else f" (did you mean {quoted(near)}?)"
            fault = f"label {quoted(unknown[0])} is not a category{guess}"
        raise BadFile(
            f"{truth.path}: {fault}; expected names among {', '.join(list(by_name)[:20])}"
        )
    return tuple(by_name[name] for name in labels)


def _gather(
    truth: Annotations,
    sizes: npt.NDArray[np.float64],
    category_ids: Sequence[int],
    labels: Sequence[str],
) -> tuple[Objects, DatasetReport]:
    """The objects to learn from, clipped to their images, and a report on the others."""
    position = {image["id"]: i for i, image in enumerate(truth.images)}
    label_of = {key: i for i, key in enumerate(category_ids, 1)}
    image_of = np.array([position[box["image_id"]] for box in truth.boxes], np.int64)
    label = np.array([label_of.get(box["category_id"], 0) for box in truth.boxes], np.int64)
    crowd = np.array([bool(box["iscrowd"]) for box in truth.boxes], bool)
    xywh = np.array([box["bbox"] for box in truth.boxes], np.float64).reshape(-1, 4)
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    limit = sizes[image_of][:, [1, 0, 1, 0]]
    clipped = xyxy.clip(0, limit)
    flat = (xywh[:, 2:] < ROUNDING).any(axis=1)
    gone = (clipped[:, 2:] - clipped[:, :2] < ROUNDING).any(axis=1) & ~flat
    overhangs = (np.abs(xyxy - clipped) > ROUNDING).any(axis=1)
    other = label == 0
    kept = ~(other | crowd | flat | gone)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(image_of[rows], kind="stable")]
    if not truth.annotated:
        raise BadFile(
            f"{truth.path} has no list annotations (a test set): there is nothing to learn from"
        )
    if not len(rows):
        raise BadFile(
            f"{truth.path} holds no object to learn from ({len(truth.boxes) + truth.dropped} "
            "annotations, none of them a box inside its image of an asked category); check the file"
        )
    per_image = np.bincount(image_of[rows], minlength=len(sizes))
    per_label = np.bincount(label[rows], minlength=len(labels) + 1)[1:]
    starts = np.concatenate([[0], per_image.cumsum()])
    report = DatasetReport(
        images=len(sizes),
        boxes=len(rows),
        images_without_objects=int((per_image == 0).sum()),
        labels_without_objects=tuple(
            name for name, count in zip(labels, per_label.tolist(), strict=True) if not count
        ),
        clipped=int((overhangs & kept).sum()),
        without_area=int((flat & ~other & ~crowd).sum()) + truth.dropped,
        outside=int((gone & ~other & ~crowd).sum()),
        crowd=int((crowd & ~other).sum()),
        other_category=int(other.sum()),
    )
    return Objects(clipped[rows], label[rows], starts), report
