"""Reading image files: which there are, and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import BadFile
from ..files import read_bytes
from ..requirements import require

Image = npt.NDArray[np.uint8]


#: files taken from a folder
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def read_image(path: Path, *, apply_orientation: bool = True) -> Image:
    """Decode an image file to ``[H, W, 3]`` uint8 BGR.

    Grayscale is repeated, alpha dropped, CMYK converted, 16 bits scaled to 8, and the EXIF
    orientation applied unless told otherwise: what ``cv2.imread`` does.

    Raises:
        BadFile: absent, empty or not an image.
    """
    cv2 = require("cv2", "reading images")
    encoded = np.frombuffer(read_bytes(path, "an image file"), np.uint8)
    flags = cv2.IMREAD_COLOR | (0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
    # OpenCV's remarks go to standard error past Python; what matters is in the exception
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(encoded, flags) if encoded.size else None
    except cv2.error as error:
        large = "IMAGE_PIXELS" in str(error) or "memory" in str(error).lower()
        state = "it has too many pixels" if large else "OpenCV cannot decode it"
        raise BadFile(
            f"cannot decode image {path}: {state}; scale it down or convert it"
        ) from error
    if image is None:
        state = "not an image, or damaged" if encoded.size else "it is empty"
        raise BadFile(f"cannot decode image {path}: {state}; expected JPEG, PNG, BMP, TIFF or WebP")
    return np.asarray(image, np.uint8)


def list_images(paths: Sequence[Path]) -> list[Path]:
    """The image files that ``paths`` (files and folders) name; folders are listed in name order.

    Raises:
        BadFile: a path does not exist or a folder holds no image.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise BadFile(f"folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise BadFile(f"image {path} does not exist")
    return files
