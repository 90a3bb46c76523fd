"""Training on tiles of large pictures, cut from the picture on every access."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..artefacts.network import open_checkpoint
from ..datasets.tile_objects import USUAL_VISIBLE, TileObjects, objects_of_tiles
from ..datasets.tile_set import scaled_window
from ..errors import BadFile
from ..pictures.annotated import AnnotatedPicture, read_annotated
from ..pictures.reading import Image
from ..pictures.tiles import USUAL_OVERLAP, Tiling, Window
from ..pictures.windows import PictureInMemory, open_windows
from .dataset import DetectionDataset, Objects
from .job import TrainingJob


class TiledDataset(DetectionDataset):
    """The tiles of a data set's pictures that contain objects; ``dataset[i]`` is a tile.

    Nothing could be learned from tiles without objects, since the number of negatives depends on
    that of positives. An object belongs to each tile in which enough of it is visible, see
    :data:`ssd_small.datasets.tile_objects.USUAL_VISIBLE`. ``paths`` holds the picture of each tile.

    Attributes:
        tiling: how pictures are cut, in pixels of the annotated pictures.
        pictures: number of pictures that were cut.
        empty: number of tiles without objects.
        cut: number of objects in tiles that are cut by an edge.
        rests: number of objects left out of a tile because too little of them is visible in it.
        nowhere: number of objects that are in no tile.
    """

    def __init__(self, data: DetectionDataset, tiling: Tiling) -> None:
        """Cut the pictures of ``data`` into tiles; raise BadFile if no tile has an object."""
        self.labels, self.category_ids, self.tiling = data.labels, data.category_ids, tiling
        self.pictures = len(data)
        tiles = list(self._tiles_of(data))
        if not tiles:
            raise BadFile(
                f"no tile of {tiling.width}x{tiling.height} has enough of any object to learn from "
                "it; pass larger --tiles"
            )
        self._picture_of = np.array([index for index, _ in tiles], np.int64)
        found = [one for _, one in tiles]
        self._windows = np.array(
            [(w.x, w.y, w.width, w.height) for w in (one.window for one in found)], np.int64
        )
        self._count(data, found)
        self.paths = [data.paths[index] for index in self._picture_of]
        self._picture_sizes = data.sizes
        self._sizes = self._windows[:, [3, 2]].astype(np.float64)
        self._cache = None if data.is_too_large_to_keep else {}

    def _tiles_of(self, data: DetectionDataset) -> Iterator[tuple[int, TileObjects]]:
        """Yield the tiles that have objects, each with the index of its picture."""
        self.empty = self.rests = 0
        self._first = data.objects.starts
        for index, (height, width) in enumerate(data.sizes.tolist()):
            first, last = self._first[index : index + 2]
            boxes = data.objects.boxes_xyxy[first:last]
            size = max(1, int(height)), max(1, int(width))
            for one in objects_of_tiles(boxes, size, self.tiling):
                self.rests += int((~one.kept).sum())
                if one.kept.any():
                    yield index, one
                else:
                    self.empty += 1

    def _count(self, data: DetectionDataset, tiles: list[TileObjects]) -> None:
        """Set the objects of the tiles, and the counts and report on them."""
        rows = [
            self._first[index] + one.rows[one.kept]
            for index, one in zip(self._picture_of, tiles, strict=True)
        ]
        all_rows = np.concatenate(rows)
        self._objects = Objects(
            np.concatenate([one.boxes_xyxy[one.kept] for one in tiles]),
            data.objects.labels[all_rows],
            np.concatenate([[0], np.cumsum([len(one) for one in rows])]),
        )
        self.cut = int(sum((one.visible[one.kept] < 1 - 1e-9).sum() for one in tiles))
        self.nowhere = data.report.boxes - len(np.unique(all_rows))
        known = set(self._objects.labels.tolist())
        self.report = replace(
            data.report,
            images=len(tiles),
            boxes=len(all_rows),
            images_without_objects=0,
            labels_without_objects=tuple(
                name for label, name in enumerate(self.labels, 1) if label not in known
            ),
        )

    def notes(self) -> list[str]:
        """Lines that tell the user about the tiles."""
        tiling = self.tiling
        lines = [
            f"{self.pictures} pictures are cut into tiles of {tiling.width}x{tiling.height} "
            f"(overlap {tiling.overlap:g}): {len(self)} with objects are learned from, "
            f"{self.empty} are without"
        ]
        counts = (
            (self.cut, "objects are cut by an edge of their tile"),
            (self.rests, f"remainders of less than {USUAL_VISIBLE:g} of an object are left out"),
            (self.nowhere, "objects are in no tile: none has enough of them"),
        )
        lines += [f"note: {count} {fate}" for count, fate in counts if count]
        if self._cache is None:
            lines.append(
                "note: pictures are read anew for each tile, as they are too large to be kept; "
                "'ssd-small tile' writes the tiles once, and training on these is faster"
            )
        return lines

    def _image(self, index: int) -> Image:
        """The tile, ``[H, W, 3]`` RGB; its picture comes from the cache if it was read before."""
        picture, window = int(self._picture_of[index]), Window(*self._windows[index].tolist())
        height, width = self._picture_sizes[picture].tolist()
        size = max(1, int(height)), max(1, int(width))
        if self._cache is None:
            with open_windows(AnnotatedPicture(self.paths[index], (height, width))) as source:
                tile = source.pixels(scaled_window(window, size, source))
        else:
            if picture not in self._cache:
                self._cache[picture] = read_annotated(self.paths[index], (height, width))
            kept = PictureInMemory(self._cache[picture])
            tile = kept.pixels(scaled_window(window, size, kept))
        return np.ascontiguousarray(tile[:, :, ::-1])


def tiling_from_job(job: TrainingJob, data: DetectionDataset) -> Tiling | None:
    """How the pictures of a run are cut into tiles; None if they are not.

    With ``auto``, the tile size makes the median object as large at the network's input as the
    median object that the initial checkpoint was trained on. Without a checkpoint, or if it does
    not record that size, tiles have the size of the input.

    Raises:
        BadFile: the checkpoint cannot be read.
        UsageError: the tiles have an invalid size or overlap.
    """
    if job.tiles is None:
        return None
    overlap = USUAL_OVERLAP if job.overlap is None else job.overlap
    if job.tiles != "auto":
        return Tiling(job.tiles[0], job.tiles[1], overlap)
    height, width = job.spec.input_size
    learned = None if job.weights is None else open_checkpoint(job.weights).object_size
    scale = 1.0
    if learned is not None:
        scale = data.object_size(height, width).picture / learned.network
    return Tiling(max(1, round(width * scale)), max(1, round(height * scale)), overlap)


def with_tiles(job: TrainingJob, tiling: Tiling | None) -> TrainingJob:
    """A job with this tiling written out, so that resuming it always cuts the same tiles."""
    if tiling is None:
        return job
    return replace(job, tiles=(tiling.width, tiling.height), overlap=tiling.overlap)
