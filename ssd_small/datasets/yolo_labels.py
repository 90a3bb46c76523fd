"""Read YOLO's label files: find the one of a picture, and parse its lines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..configs.class_names import composed
from ..errors import BadFile, quoted
from .source_files import entry_in, files_below, finite_number, inside, read_text

_LABELS = "a file of YOLO labels"
_EXPECTED = "expected class number, centre x, y, width and height"
#: a larger coordinate is in pixels; up to this it is rounding, or an object that overhangs
_MOST_FRACTION = 2.0
#: points of an outline do not overhang, whereas the visibility flags of key points go up to 2
_MOST_OF_OUTLINE = 1.1

Corners = tuple[float, float, float, float]


class LabelFiles:
    """The label files of a data set; each belongs to one picture."""

    def __init__(self, folder: Path, images: Path, *, elsewhere: bool) -> None:
        """``folder`` holds the labels, ``images`` the pictures; ``elsewhere``: they lie apart."""
        self._folder, self._images, self._elsewhere = folder, images, elsewhere
        self._listed: dict[Path, dict[str, Path]] = {}
        self._inside: dict[Path, Path] = {}
        self._taken: dict[Path, Path] = {}
        self._far: dict[str, list[Path]] | None = None

    def of(self, picture: Path) -> Path | None:
        """The label file of a picture; None if it has none.

        Raises:
            BadFile: it already belongs to another picture.
        """
        found = next((one for one in map(self._file, self._places(picture)) if one), None)
        if found is None and self._elsewhere:
            far = [one for one in self._below(picture) if one not in self._taken]
            found = far[0] if len(far) == 1 else None
        if found is None:
            return None
        other = self._taken.setdefault(found, picture)
        if other != picture:
            raise BadFile(
                f"{found} could be of {other} or {picture}; expected one picture of a name: move "
                "the other one elsewhere"
            )
        return found

    def without_picture(self) -> list[Path]:
        """Label files that belong to no picture, in the folders of those that do."""
        places = {path.parent for path in self._taken}
        files = [one for place in sorted(places) for one in self._entries(place).values()]
        return [one for one in files if one not in self._taken and _begins_with_label(one)]

    def _places(self, picture: Path) -> Iterator[Path]:
        """Where the labels of a picture may lie, usual places first; endings do not matter."""
        parts = [part.lower() for part in picture.parts]
        if "images" in parts:
            last = len(parts) - 1 - parts[::-1].index("images")
            above = Path(*picture.parts[:last])
            yield self._labels_in(above).joinpath(*picture.parts[last + 1 :])
        below = inside(picture, self._images)
        labels = self._labels_in(self._folder)
        yield from (picture, labels / below, self._folder / below)
        yield from (labels / below.name, self._folder / below.name)

    def _labels_in(self, folder: Path) -> Path:
        """The folder of labels in another one, cached, since that may hold all the pictures."""
        if folder not in self._inside:
            self._inside[folder] = entry_in(folder, "labels")
        return self._inside[folder]

    def _file(self, place: Path) -> Path | None:
        return self._entries(place.parent).get(composed(place.stem))

    def _entries(self, place: Path) -> dict[str, Path]:
        """Text files of a folder by name without ending; each folder is listed once."""
        if place not in self._listed:
            files = sorted(place.iterdir()) if place.is_dir() else []
            self._listed[place] = {
                composed(one.stem): one
                for one in files
                if one.suffix.lower() == ".txt" and not one.name.startswith(".") and one.is_file()
            }
        return self._listed[place]

    def _below(self, picture: Path) -> Sequence[Path]:
        """Files with the picture's name anywhere below the folder."""
        if self._far is None:
            self._far = defaultdict(list)
            for path in files_below(self._folder, lambda one: one.suffix.lower() == ".txt"):
                self._far[composed(path.stem)].append(path)
        return self._far.get(composed(picture.stem), ())


def _begins_with_label(path: Path) -> bool:
    """Whether the first line is a label, which it is not in a list of names or a read-me."""
    try:
        words = next(iter(read_text(path, _LABELS).split("\n")), "").split()
    except BadFile:
        return False
    return len(words) >= 5 and None not in map(finite_number, words)


def objects_from_labels(
    path: Path, classes: int, keypoints: int, counts: Counter[str]
) -> Iterator[tuple[Corners, int]]:
    """Corners (x1, y1, x2, y2 as fractions of the picture) and class number of each line.

    Args:
        path: the label file.
        classes: number of classes.
        keypoints: how many numbers for key points follow each box; 0: longer lines are outlines.
        counts: updated with ``outlines`` and ``keypoints``.

    Raises:
        BadFile: a line is not a label; names file and line.
    """
    for number, line in enumerate(read_text(path, _LABELS).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        numbers = [value for word in words if (value := finite_number(word)) is not None]
        if len(numbers) < len(words):
            raise BadFile(f"{where}: {quoted(line)} is not a label; {_EXPECTED}")
        label, *values = numbers
        if label != int(label) or not 0 <= label < classes:
            raise BadFile(
                f"{where}: class {words[0]} is not one of the {classes} classes, 0 to "
                f"{classes - 1}; correct it, or name all classes"
            )
        yield _corners(values, where, keypoints, counts), int(label)


def _corners(values: Sequence[float], where: str, keypoints: int, counts: Counter[str]) -> Corners:
    """x1, y1, x2, y2 as fractions; for an outline, those of the box around it."""
    count = len(values)
    is_outline = not keypoints and count >= 6 and count % 2 == 0
    if not is_outline and count not in (4, 4 + keypoints):
        what = "too few" if count < 4 else "no box, and no outline of x, y, x, y, ..."
        if count == 5:
            what = "a detection with its score?"
        raise BadFile(f"{where}: {count + 1} numbers ({what}); {_EXPECTED}")
    most = _MOST_OF_OUTLINE if is_outline else _MOST_FRACTION
    if any(abs(one) > most for one in (values if is_outline else values[:4])):
        what = "be of key points: say kpt_shape in data.yaml"
        if any(abs(one) > _MOST_FRACTION for one in values):
            what = "be in pixels: divide by its width and height"
        raise BadFile(
            f"{where}: {max(values, key=abs):g} is no fraction of the picture; the labels seem to "
            f"{what}"
        )
    if is_outline:
        counts["outlines"] += 1
        x, y = values[::2], values[1::2]
        return min(x), min(y), max(x), max(y)
    counts["keypoints"] += count > 4
    x_centre, y_centre, width, height = values[:4]
    return (
        x_centre - width / 2,
        y_centre - height / 2,
        x_centre + width / 2,
        y_centre + height / 2,
    )
