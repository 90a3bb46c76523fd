"""Cut a data set into tiles, so that training sees objects as large as tiled deployment does.

Tiles are in pixels of the pictures as they were annotated; if a picture was scaled since, the
corresponding part is cut out. An object cut by an edge belongs to a tile if enough of it is there;
a smaller remainder is written as ``iscrowd``, which training leaves out and evaluation ignores.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BadFile
from ..pictures.annotated import AnnotatedPicture
from ..pictures.reading import Image
from ..pictures.tiles import Tiling, Window
from ..pictures.windows import WindowSource, open_windows
from ..requirements import require
from .coco import Annotations
from .coco_file import write_annotations
from .object_sizes import check_pixels
from .tile_objects import USUAL_VISIBLE, TileObjects, check_visible, objects_of_tiles

ANNOTATIONS, IMAGES = "annotations.json", "images"
#: PNG compression level: a third of the default's time, and hardly larger files
_PNG_LEVEL = 2
_LONGEST_STEM = 100


@dataclass(frozen=True)
class TileRules:
    """How a data set is cut.

    Attributes:
        tiling: where tiles lie.
        min_visible: least visible share for an object cut by an edge to be kept.
        empty: number of tiles without objects to keep, as a share of those with objects.
        seed: seed for choosing them at random.
        jpeg: quality of JPEG files, 1 to 100; None for PNG, which is lossless.
    """

    tiling: Tiling
    min_visible: float = USUAL_VISIBLE
    empty: float = 0.1
    seed: int = 0
    jpeg: int | None = None

    def __post_init__(self) -> None:
        check_visible(self.min_visible)


@dataclass(frozen=True)
class TileReport:
    """Counts of what became of a data set.

    Attributes:
        pictures, objects: in the source; crowds do not count as objects.
        tiles: tiles written.
        with_objects: those of them that have objects.
        empty_left_out: tiles without objects that were not chosen.
        kept: objects in the tiles; one that lies in several counts in each.
        cut: those of them that an edge cuts.
        passed_over: crowds and remainders of objects that are too small, written as ``iscrowd``.
        nowhere: objects of the source that no tile shows enough of.
        scaled: pictures whose size differs from the annotated one.
    """

    pictures: int
    objects: int
    tiles: int
    with_objects: int
    empty_left_out: int
    kept: int
    cut: int
    passed_over: int
    nowhere: int
    scaled: int

    def notes(self, rules: TileRules) -> list[str]:
        """A line for each thing a user should know."""
        share = f"{rules.min_visible:g}"
        counts = (
            (
                self.cut,
                f"objects are cut by the edge of their tile, with {share} or more of each left",
            ),
            (
                self.passed_over,
                f"crowds and remainders of less than {share} of an object are iscrowd",
            ),
            (self.nowhere, f"of {self.objects} objects are in no tile to {share} of their area"),
            (self.empty_left_out, "tiles without objects were left out"),
            (self.scaled, "pictures are of another size than they were annotated with"),
        )
        return [f"{count} {fate}" for count, fate in counts if count]


def write_tile_set(
    truth: Annotations,
    paths: Sequence[Path],
    folder: Path,
    rules: TileRules,
    progress: Callable[[int], None] = lambda count: None,
) -> TileReport:
    """Cut a data set into tiles; one picture at a time is in memory, or part of a large TIFF.

    Args:
        truth: the data set.
        paths: its image files.
        folder: where to write :data:`ANNOTATIONS` and, in its folder :data:`IMAGES`, the tiles.
        rules: how it is cut.
        progress: called with the number of pictures just done.

    Raises:
        BadFile: an image is missing, damaged or not the annotated one; or there are no
            annotations, or no tile is kept.
        OSError: a file cannot be written.
        MissingRequirement: OpenCV, or what a large TIFF needs, is not installed.
    """
    require("cv2", "cutting pictures into tiles")
    check_pixels(truth)
    if not truth.annotated:
        raise BadFile(
            f"{truth.path} has no list annotations (a test set): there are no objects to cut by; "
            "detect --tiles needs no tiles on disk"
        )
    work = _Work(truth, folder, rules)
    (folder / IMAGES).mkdir()
    for index, path in enumerate(paths):
        work.add(index, path)
        progress(1)
    return work.finish()


class _Work:
    def __init__(self, truth: Annotations, folder: Path, rules: TileRules) -> None:
        self._truth, self._folder, self._rules = truth, folder, rules
        position = {image["id"]: i for i, image in enumerate(truth.images)}
        self._boxes: list[list[dict[str, Any]]] = [[] for _ in truth.images]
        for box in truth.boxes:
            self._boxes[position[box["image_id"]]].append(box)
        self._stems = _stems(truth)
        self._empty = _drawn_empty(self._plan(), rules)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._seen: set[int] = set()

    def _size(self, index: int) -> tuple[int, int]:
        image = self._truth.images[index]
        return max(1, int(image["height"])), max(1, int(image["width"]))

    def _tiles(self, index: int) -> Iterator[TileObjects]:
        xywh = np.array([box["bbox"] for box in self._boxes[index]], np.float64).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        rules = self._rules
        yield from objects_of_tiles(xyxy, self._size(index), rules.tiling, rules.min_visible)

    def _counted(self, index: int, tile: TileObjects) -> npt.NDArray[np.bool_]:
        """Which objects of a tile are kept as objects, not as crowds."""
        boxes = self._boxes[index]
        crowd = np.array([bool(boxes[row].get("iscrowd")) for row in tile.rows], np.bool_)
        return np.logical_and(tile.kept, ~crowd)

    def _plan(self) -> list[npt.NDArray[np.bool_]]:
        """Which tiles of each picture have objects."""
        return [
            np.array([self._counted(i, tile).any() for tile in self._tiles(i)], bool)
            for i in range(len(self._truth.images))
        ]

    def add(self, index: int, path: Path) -> None:
        """Write the tiles of a picture."""
        size = self._size(index)
        with open_windows(AnnotatedPicture(path, size)) as source:
            self._counts["scaled"] += source.size != size
            for number, tile in enumerate(self._tiles(index)):
                counted = self._counted(index, tile)
                if not counted.any() and number not in self._empty[index]:
                    self._counts["empty_left_out"] += 1
                    continue
                pixels = source.pixels(scaled_window(tile.window, size, source))
                self._add_tile(index, tile, counted, pixels)

    def _add_tile(
        self, index: int, tile: TileObjects, counted: npt.NDArray[np.bool_], pixels: Image
    ) -> None:
        image, window = self._truth.images[index], tile.window
        ending = "png" if self._rules.jpeg is None else "jpg"
        name = f"{self._stems[index]}_x{window.x}_y{window.y}.{ending}"
        self._write(self._folder / IMAGES / name, pixels)
        height, width = pixels.shape[:2]
        self._images.append(
            {
                "id": len(self._images) + 1,
                "file_name": name,
                "width": width,
                "height": height,
                "source": {"file_name": image["file_name"], "x": window.x, "y": window.y},
            }
        )
        self._counts["with_objects"] += bool(counted.any())
        scale = np.array([width / window.width, height / window.height] * 2)
        for row, box, visible, is_object in zip(
            tile.rows.tolist(), tile.boxes_xyxy * scale, tile.visible.tolist(), counted, strict=True
        ):
            source = self._boxes[index][row]
            self._add_object(source, box, visible, float(scale[0] * scale[1]), bool(is_object))

    def _add_object(
        self,
        source: dict[str, Any],
        box: npt.NDArray[np.float64],
        visible: float,
        scale: float,
        is_object: bool,
    ) -> None:
        x1, y1, x2, y2 = box.tolist()
        own = {name: source[name] for name in ("difficult",) if name in source}
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": len(self._images),
                "category_id": source["category_id"],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": source["area"] * visible * scale,
                "iscrowd": int(not is_object),
                "visible": round(visible, 4),
                **own,
            }
        )
        if is_object:
            self._seen.add(id(source))
        self._counts["kept" if is_object else "passed_over"] += 1
        self._counts["cut"] += is_object and visible < 1 - 1e-9

    def _write(self, path: Path, pixels: Image) -> None:
        cv2 = require("cv2", "writing tiles")
        quality = self._rules.jpeg
        options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
        if quality is not None:
            options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        encoded, data = cv2.imencode(path.suffix, pixels, options)
        if not encoded:
            raise BadFile(f"OpenCV cannot encode {path.name}; cut smaller tiles")
        path.write_bytes(data.tobytes())

    def finish(self) -> TileReport:
        """Write the annotations and return the counts."""
        objects = sum(not box.get("iscrowd") for box in self._truth.boxes)
        report = TileReport(
            pictures=len(self._truth.images),
            objects=objects,
            tiles=len(self._images),
            nowhere=objects - len(self._seen),
            **{
                name: self._counts[name]
                for name in (
                    "with_objects",
                    "empty_left_out",
                    "kept",
                    "cut",
                    "passed_over",
                    "scaled",
                )
            },
        )
        if not self._images:
            raise BadFile(
                f"{self._truth.path}: no tile has an object, and none without is kept; expected "
                "objects in its pictures, or --empty of more"
            )
        tiling = self._rules.tiling
        content = {
            "info": {
                "description": f"tiles of {self._truth.path.name}, {tiling.width}x{tiling.height}, "
                f"overlap {tiling.overlap:g}"
            },
            "images": self._images,
            "annotations": self._annotations,
            "categories": [dict(one) for one in self._truth.categories],
        }
        write_annotations(self._folder / ANNOTATIONS, content)
        return report


def scaled_window(window: Window, size: tuple[int, int], source: WindowSource) -> Window:
    """Convert a window of a picture annotated at (height, width) ``size`` to pixels of its file."""
    if source.size == size:
        return window
    down, across = (own / annotated for own, annotated in zip(source.size, size, strict=True))
    x1, x2 = (round(x * across) for x in (window.x, window.x + window.width))
    y1, y2 = (round(y * down) for y in (window.y, window.y + window.height))
    x1, y1 = min(x1, source.size[1] - 1), min(y1, source.size[0] - 1)
    return Window(x1, y1, max(x2 - x1, 1), max(y2 - y1, 1))


def _drawn_empty(plan: Sequence[npt.NDArray[np.bool_]], rules: TileRules) -> list[set[int]]:
    """Choose the tiles without objects to keep; a set of tile numbers per picture."""
    empty = [(i, int(n)) for i, full in enumerate(plan) for n in np.flatnonzero(~full)]
    count = min(len(empty), round(rules.empty * sum(int(full.sum()) for full in plan)))
    drawn = np.random.default_rng(rules.seed).choice(len(empty), count, replace=False)
    kept: list[set[int]] = [set() for _ in plan]
    for place in drawn.tolist():
        index, number = empty[place]
        kept[index].add(number)
    return kept


def _stems(truth: Annotations) -> list[str]:
    """A stem for the tile names of each picture; unique even where case does not count."""
    stems = []
    for image in truth.images:
        name = re.split(r"[/\\]+", image["file_name"])[-1]
        stem = re.sub(r"[^A-Za-z0-9.-]+", "_", name.rpartition(".")[0] or name)
        stems.append(stem.strip("._")[:_LONGEST_STEM] or "picture")
    if len({stem.lower() for stem in stems}) == len(stems):
        return stems
    return [f"{number}_{stem}" for number, stem in enumerate(stems, 1)]
