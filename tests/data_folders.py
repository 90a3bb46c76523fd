"""Pictures and texts of data sets that tests convert, and what the conversion gives."""

from __future__ import annotations

from pathlib import Path

from ssd_small.datasets.coco import annotations_from_content
from ssd_small.datasets.coco_writer import Conversion
from ssd_small.datasets.picture_files import image_paths


def write_picture(path: Path, size: tuple[int, int] = (80, 60)) -> None:
    """A grey picture of (width, height), in the format of its ending."""
    import cv2
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(path.suffix, np.full((size[1], size[0], 3), 90, np.uint8))
    assert ok
    path.write_bytes(data.tobytes())


def write_turned_picture(path: Path, size: tuple[int, int] = (80, 60), turn: int = 6) -> None:
    """A JPEG of (width, height) as stored, which its EXIF orientation turns by a quarter."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size)
    exif = image.getexif()
    exif[0x0112] = turn
    image.save(path, exif=exif)


def write_text(path: Path, content: str | bytes) -> Path:
    """A file and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def file_names(made: Conversion) -> list[str]:
    """File names, which must be there for all that takes the conversion."""
    truth = annotations_from_content(made.content, Path("made"))
    image_paths(truth, made.images)
    assert dict(truth.findings.counts("error", "repaired", "fixable")) == {}
    return [image["file_name"] for image in made.content["images"]]


def boxes(made: Conversion) -> list[list[float]]:
    return [entry["bbox"] for entry in made.content["annotations"]]
