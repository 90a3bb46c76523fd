"""The detections in one picture, in its pixels and with class names: the public result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..artefacts.outputs import check_outputs
from ..artefacts.record import NO_LINE
from ..errors import UsageError
from ..pictures.pixels import (
    ColorOrder,
    color_of,
    is_path,
    like_picture,
    pixels_from_picture,
    rgb_or_bgr,
)
from ..postprocess import Detections
from . import handover

if TYPE_CHECKING:
    from ..pictures.reading import Image

_REPR_WIDTH = 100


@dataclass(frozen=True, eq=False)
class Detection:
    """One object.

    Attributes:
        box: ``[4]`` float32 (x1, y1, x2, y2) in pixels of the picture.
        score: after the activation.
        label: class index, the column of conf.
        name: name of the class.
        prior_index: index of the prior box it comes from.
        track: number of the object in a video, see :meth:`.Detector.stream`; None without tracks.
    """

    box: npt.NDArray[np.float32]
    score: float
    label: int
    name: str
    prior_index: int
    track: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class PictureDetections:
    """Detections of one picture: by score descending, then label, then prior ascending.

    Boxes are in pixels of the picture, unlike those of :class:`ssd_small.Detections`, which are in
    the unit square. No pixels are kept: pass the picture again to :meth:`draw`, :meth:`crops` and
    :meth:`save`.

    Indexing with a mask, a slice or an array of positions selects detections
    (``found[found.scores > 0.9]``); a single position, or iterating, gives :class:`Detection`.

    Attributes:
        boxes: ``[D, 4]`` float32 (x1, y1, x2, y2) in pixels, clipped to the picture.
        scores: ``[D]`` float32, after the activation.
        labels: ``[D]`` int32, the class index, a column of conf (background included).
        prior_indices: ``[D]`` int32, index of the prior box each detection comes from.
        width, height: size of the picture in pixels.
        image: path of the picture; None if it was not a file.
        classes: names of all classes the detector knows, without the background.
        background_label: class index of the background; -1 for none.
        tiles: number of tiles the picture was cut into; 1 if it was not cut.
        frame: index of the frame in its video, from 0; None for a picture.
        time: time of the frame in its video, in seconds; None for a picture.
        tracks: ``[D]`` int64, the number that an object keeps from frame to frame; None without
            tracks.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    prior_indices: npt.NDArray[np.int32]
    width: int
    height: int
    image: str | None
    classes: tuple[str, ...]
    background_label: int = 0
    tiles: int = 1
    frame: int | None = None
    time: float | None = None
    tracks: npt.NDArray[np.int64] | None = None

    @property
    def class_indices(self) -> npt.NDArray[np.int64]:
        """``[D]`` int64, positions in ``classes``."""
        labels = self.labels.astype(np.int64)
        background = self.background_label
        return labels - ((background >= 0) & (labels > background))

    @property
    def names(self) -> list[str]:
        """Class name of each detection."""
        return [self.classes[i] for i in self.class_indices.tolist()]

    def __len__(self) -> int:
        return len(self.scores)

    def __eq__(self, other: object) -> bool:
        """Whether these are bit-identical detections in the same picture."""
        if not isinstance(other, PictureDetections):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Detection]:
        columns = (self.boxes, self.scores.tolist(), self.labels.tolist(), self.names)
        tracks = [None] * len(self) if self.tracks is None else self.tracks.tolist()
        rows = zip(*columns, self.prior_indices.tolist(), tracks, strict=True)
        return (Detection(*row) for row in rows)

    @overload
    def __getitem__(self, index: int) -> Detection: ...

    @overload
    def __getitem__(
        self, index: slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]
    ) -> PictureDetections: ...

    def __getitem__(self, index: Any) -> Detection | PictureDetections:
        """A selection, or the one detection at a position."""
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            if not -len(self) <= index < len(self):
                raise IndexError(f"position {index}: there are {len(self)} detections")
            position = index % len(self)
            return next(iter(self[position : position + 1]))
        if not isinstance(index, slice):
            index = np.asarray(index)
            if not index.size and index.dtype.kind != "b":  # numpy makes an empty list float64
                index = index.astype(np.intp)
            if index.ndim != 1 or index.dtype.kind not in "biu":
                raise UsageError(
                    f"index of type {index.dtype}, shape {list(index.shape)}: expected a position, "
                    "a slice, a mask or a list of positions"
                )
        arrays = ["boxes", "scores", "labels", "prior_indices"]
        arrays += [] if self.tracks is None else ["tracks"]
        return replace(self, **{name: getattr(self, name)[index] for name in arrays})

    def __repr__(self) -> str:
        """Picture, size, number per class and best score, on one line."""
        counts = dict.fromkeys(self.names, 0)
        for name in self.names:
            counts[name] += 1
        best = f", best {self.scores.max():.2f}" if len(self) else ""
        where = f"{Path(self.image).name[-40:]} " if self.image else ""
        head = f"PictureDetections({where}{self.width}x{self.height}: {len(self)}"
        kinds = ", ".join(f"{count} {name}" for name, count in counts.items())
        room = _REPR_WIDTH - len(head) - len(best) - 4
        if len(kinds) > room:
            kinds = f"{kinds[: max(room - 3, 0)]}..."
        line = f"{head}{f' ({kinds})' if kinds else ''}{best})"
        # names of files and classes may hold line ends
        return NO_LINE.sub("?", line)

    def to_dict(self) -> dict[str, Any]:
        """The JSON-ready entry that ``ssd-small detect --json`` prints for a picture or a frame."""
        columns = (self.boxes.tolist(), self.labels.tolist(), self.names, self.scores.tolist())
        entry: dict[str, Any] = {"image": self.image}
        if self.frame is not None and self.time is not None:
            entry = {"frame": self.frame, "time": round(self.time, 6)}
        entry |= {"width": self.width, "height": self.height, "tiles": self.tiles}
        entry["detections"] = found = [
            {
                "box": [round(v, 4) for v in box],
                "label": label,
                "name": name,
                "score": round(score, 6),
            }
            for box, label, name, score in zip(*columns, strict=True)
        ]
        if self.tracks is not None:
            for one, track in zip(found, self.tracks.tolist(), strict=True):
                one["track"] = track
        return entry

    def draw(self, picture: Any, *, color: ColorOrder = "BGR") -> Any:
        """A new picture of the same size with boxes, names and scores drawn into it.

        Args:
            picture: the picture again, in any form that the detector accepts.
            color: channel order of numpy arrays, given and returned.

        Returns:
            A PIL image if one was given, a tensor ``[3, H, W]`` RGB if one was given, else a numpy
            array ``[H, W, 3]`` uint8.

        Raises:
            UsageError: the picture has another size.
            MissingRequirement: PIL is not installed.
        """
        from .draw import drawn

        return like_picture(drawn(self._pixels(picture, color), self), picture, color)

    def crops(self, picture: Any, *, color: ColorOrder = "BGR") -> list[npt.NDArray[np.uint8]]:
        """One array ``[h, w, 3]`` uint8 per detection, at least a pixel wide and high.

        Args:
            picture: the picture again, in any form that the detector accepts.
            color: channel order of numpy arrays, and of the crops from an array or a file; crops
                from PIL images and tensors are RGB.
        """
        pixels = self._pixels(picture, color)
        limit = np.array([self.width, self.height])
        low = np.clip(np.floor(self.boxes[:, :2]).astype(int), 0, limit - 1)
        high = np.clip(np.ceil(self.boxes[:, 2:]).astype(int), low + 1, limit)
        order = color_of(picture, color)
        return [
            rgb_or_bgr(pixels[y1:y2, x1:x2], order)
            for (x1, y1), (x2, y2) in zip(low.tolist(), high.tolist(), strict=True)
        ]

    def save(
        self, picture: Any, path: str | Path, *, color: ColorOrder = "BGR", enlarge: bool = False
    ) -> None:
        """Write the picture of :meth:`draw`, whole or not at all; the suffix sets the format.

        Args:
            picture: the picture again, in any form that the detector accepts.
            path: the file to write, such as ``found.png`` or ``found.jpg``.
            color: channel order of numpy arrays.
            enlarge: draw a small picture at a multiple of its size, so that names are legible.

        Raises:
            UsageError: no format has this suffix, or ``path`` is the picture's own file.
            OutputError: the file cannot be written.
        """
        from .draw import save_drawn

        path = Path(path)
        own = [Path(one) for one in (picture, self.image) if is_path(one)]
        check_outputs([path], own, "path")
        save_drawn(self._pixels(picture, color), self, path, enlarge=enlarge)

    def _pixels(self, picture: Any, color: ColorOrder) -> Image:
        pixels = pixels_from_picture(picture, color)
        if pixels.shape[:2] != (self.height, self.width):
            raise UsageError(
                f"picture of {pixels.shape[1]}x{pixels.shape[0]} pixels: these are detections in "
                f"one of {self.width}x{self.height}; pass the picture they were found in"
            )
        return pixels

    def to_coco(
        self, image_id: Any, category_ids: Sequence[int] | Mapping[str, int]
    ) -> list[dict[str, Any]]:
        """COCO result entries, ready for json; bbox is (x, y, w, h) in pixels.

        Args:
            image_id: id of the picture.
            category_ids: an id per class, in the order of ``detector.labels``; or ids by class
                name.

        Raises:
            UsageError: the number of ids differs from that of classes, or a class has no id.
        """
        return handover.coco_entries(self, image_id, category_ids)

    def to_torch(self) -> dict[str, Any]:
        """Tensors ``boxes [D, 4]``, ``scores [D]``, ``labels [D]`` (int64), as in torchvision.

        Labels are those of :attr:`labels`: a background is counted, as in torchvision.

        Raises:
            MissingRequirement: torch is not installed.
        """
        return handover.torch_dict(self)

    def to_pandas(self) -> Any:
        """A DataFrame with the columns name, label, score, x1, y1, x2, y2; a row per detection.

        Names are strings, labels int32 (:attr:`labels`), the others float32, even if it is empty.

        Raises:
            MissingRequirement: pandas is not installed.
        """
        return handover.pandas_frame(self)

    def to_supervision(self) -> Any:
        """``supervision.Detections`` with the names in ``data["class_name"]``.

        ``class_id`` is the position in ``detector.labels`` (:attr:`class_indices`), without the
        background, as in the class lists of supervision's data sets and metrics.

        Raises:
            MissingRequirement: supervision is not installed.
        """
        return handover.supervision_detections(self)

    def to_fiftyone(self) -> Any:
        """``fiftyone.Detections``; boxes are (x, y, w, h) relative to the picture.

        Creating labels starts no process and opens no connection; only a fiftyone data set needs
        the database, a MongoDB that fiftyone's installation downloads or that
        ``FIFTYONE_DATABASE_URI`` names. ``FIFTYONE_DO_NOT_TRACK=true`` switches off the usage
        tracking of its app.

        Raises:
            MissingRequirement: fiftyone is not installed.
        """
        return handover.fiftyone_detections(self)


def picture_detections(
    detections: Detections,
    size: tuple[int, int],
    image: str | None,
    description: Description,
    *,
    tiles: int = 1,
) -> PictureDetections:
    """Convert detections in the unit square to those of a picture of ``size`` (height, width)."""
    height, width = size
    scale = np.array([width, height, width, height], np.float32)
    return PictureDetections(
        # a network's boxes may reach beyond the picture; the user's do not
        detections.boxes.clip(0, 1) * scale,
        detections.scores,
        detections.labels,
        detections.prior_indices,
        width,
        height,
        image,
        description.labels,
        description.postprocess.background_label,
        tiles,
    )
