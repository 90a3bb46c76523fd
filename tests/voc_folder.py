"""A Pascal VOC folder for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

Object = tuple[str, tuple[object, object, object, object]]


def xml(objects: Sequence[Object], size: tuple[int, int] | None = (80, 60), more: str = "") -> str:
    """An annotation; ``more`` goes into every object."""
    parts = [
        f"<object><name>{name}</name>{more}<bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
        f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b in objects
    ]
    shown = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return f"<annotation><filename>x.jpg</filename>{shown}{''.join(parts)}</annotation>"


class VocFolder:
    """The folder at ``path``, filled one picture at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (path / name).mkdir(parents=True)

    def add(self, name: str, annotation: str, suffix: str = ".jpg") -> None:
        """An annotation and its picture, 80 x 60."""
        import cv2

        (self.path / "Annotations" / f"{name}.xml").write_text(annotation)
        image = np.full((60, 80, 3), 90, np.uint8)
        assert cv2.imwrite(str(self.path / "JPEGImages" / f"{name}{suffix}"), image)

    def split(self, name: str, text: str) -> None:
        """A file in ImageSets/Main."""
        (self.path / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
