"""Lists the image files among the files and folders that a user names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import BadFile
from ..requirements import require

#: suffixes of formats of 8 and 16 bits, by the suffix that OpenCV knows and whose reader decodes
#: them
_ENDINGS = {
    ".jpg": (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    ".png": (".png", ".apng"),
    ".bmp": (".bmp", ".dib"),
    ".tif": (".tif", ".tiff"),
    ".webp": (".webp",),
    ".gif": (".gif",),
    ".jp2": (".jp2", ".j2k", ".j2c", ".jpc"),
    ".avif": (".avif",),
    ".ppm": (".ppm", ".pgm", ".pbm", ".pnm"),
    ".pam": (".pam",),
    ".ras": (".ras", ".sr"),
}
#: most kinds of skipped files that a message names
_NAMED = 6


@cache
def image_suffixes() -> tuple[str, ...]:
    """Suffixes of the files to take from a folder: those that the installed OpenCV reads."""
    cv2 = require("cv2", "reading images")
    # without a file, OpenCV can only be asked what it writes; it also reads that
    known = (end for end in _ENDINGS if cv2.haveImageWriter(f"picture{end}"))
    return tuple(ending for end in known for ending in _ENDINGS[end])


def is_image_name(path: Path) -> bool:
    """Whether a file is named like a picture; hidden ones (macOS's ``._a.jpg``) do not count."""
    return path.suffix.lower() in image_suffixes() and not path.name.startswith(".")


@dataclass(frozen=True)
class Listing:
    """Image files, and the other contents of their folders.

    Attributes:
        files: image files; those of a folder in order of name.
        passed_over: number of skipped files by suffix, and of skipped folders (``folder``); hidden
            ones are not counted.
    """

    files: tuple[Path, ...]
    passed_over: Mapping[str, int]

    def note(self) -> str | None:
        """A line on what was skipped; None if nothing was."""
        if not self.passed_over:
            return None
        kinds = sorted(self.passed_over.items(), key=lambda one: (-one[1], one[0]))
        shown = [f"{count} {kind}" for kind, count in kinds[:_NAMED]]
        shown += ["..."] if len(kinds) > _NAMED else []
        return f"passed over what is no picture by its name: {', '.join(shown)}"


def list_images(paths: str | Path | Sequence[str | Path]) -> Listing:
    """The image files among ``paths`` (files and folders); folders are listed in order of name.

    Raises:
        BadFile: a folder holds no image.
    """
    files: list[Path] = []
    passed_over: Counter[str] = Counter()
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        if not os.path.isdir(path):
            # a missing file is reported when it is read, after those before it
            files.append(path)
            continue
        inside = sorted(one for one in path.iterdir() if not one.name.startswith("."))
        found = [one for one in inside if is_image_name(one) and one.is_file()]
        taken = set(found)
        others = Counter(_kind(one) for one in inside if one not in taken)
        if not found:
            there = ", ".join(f"{count} {kind}" for kind, count in others.most_common(_NAMED))
            raise BadFile(
                f"folder {path} holds no image ({', '.join(image_suffixes())}); there is "
                f"{there or 'nothing'} in it: name a folder of pictures"
            )
        files += found
        passed_over += others
    return Listing(tuple(files), dict(passed_over))


def _kind(path: Path) -> str:
    if path.is_dir():
        return "folder"
    if path.exists() and not path.is_file():
        return "device or pipe"
    return path.suffix.lower() or "without ending"
