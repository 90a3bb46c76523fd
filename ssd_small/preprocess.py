"""From image file to network input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import BadFile, UsageError
from .files import read_bytes
from .requirements import require

Image = npt.NDArray[np.uint8]

#: files taken from a folder
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

_INTERPOLATIONS = ("linear", "area", "cubic", "nearest", "lanczos4")


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes network input: resize (aspect not kept), subtract mean, divide by std.

    Attributes:
        height, width: input size in pixels.
        color_order: order of the channels the network was trained with.
        mean: subtracted per channel, in that order, on the 0..255 scale.
        std: divided by per channel.
        interpolation: OpenCV's method of resizing. The published evaluation drew it at random
            per image; linear is this project's choice.
    """

    height: int = 300
    width: int = 300
    color_order: Literal["BGR", "RGB"] = "BGR"
    mean: tuple[float, float, float] = (103.94, 116.78, 123.68)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["linear", "area", "cubic", "nearest", "lanczos4"] = "linear"

    def __post_init__(self) -> None:
        sizes_fit = all(isinstance(v, int) and v > 0 for v in (self.height, self.width))
        triples_fit = len(self.mean) == len(self.std) == 3 and all(self.std)
        known = self.color_order in ("BGR", "RGB") and self.interpolation in _INTERPOLATIONS
        if not (sizes_fit and triples_fit and known):
            raise UsageError(
                f"{self}: expected a positive height and width, color_order BGR or RGB, three "
                f"means and non-zero stds, and an interpolation of {', '.join(_INTERPOLATIONS)}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Rebuild from :meth:`to_dict`."""
        return cls(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True, eq=False)
class Batch:
    """Network input and where it came from.

    Attributes:
        images: ``[N, 3, H, W]`` float32.
        sizes: (height, width) of each original in pixels.
        indices: position of each image in the list the batch was made from.
        originals: the decoded images, where they were asked for.
    """

    images: npt.NDArray[np.float32]
    sizes: tuple[tuple[int, int], ...]
    indices: tuple[int, ...]
    originals: tuple[Image, ...] = ()


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


def input_from_image(image: Image, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """One image ``[H, W, 3]`` uint8 BGR as network input ``[3, height, width]`` float32."""
    cv2 = require("cv2", "preprocessing images")
    method = getattr(cv2, f"INTER_{preprocessing.interpolation.upper()}")
    size = (preprocessing.width, preprocessing.height)
    resized = cv2.resize(image, size, interpolation=method).astype(np.float32)
    if preprocessing.color_order == "RGB":
        resized = resized[:, :, ::-1]
    mean, std = (np.asarray(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
    return np.ascontiguousarray(((resized - mean) / std).transpose(2, 0, 1))


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


def load_batches(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    workers: int = 2,
    keep_originals: bool = False,
    unreadable: list[BadFile] | None = None,
) -> Iterator[Batch]:
    """Decode and preprocess images in threads, ahead of the consumer.

    Args:
        paths: image files.
        preprocessing: what the network expects.
        batch_size: images per batch; the last batch may be smaller.
        workers: decoding threads.
        keep_originals: also hand over the decoded images.
        unreadable: collects files that cannot be decoded, which are then left out; without it
            the first one ends the iteration.

    Raises:
        BadFile: an image cannot be decoded and ``unreadable`` is None.
    """

    def load(index: int) -> tuple[int, npt.NDArray[np.float32], tuple[int, int], Image | None]:
        image = read_image(paths[index])
        kept = image if keep_originals else None
        return index, input_from_image(image, preprocessing), image.shape[:2], kept

    ahead = max(2 * batch_size, 2 * workers)
    with ThreadPoolExecutor(workers, thread_name_prefix="preprocess") as pool:
        pending = deque(pool.submit(load, i) for i in range(min(ahead, len(paths))))
        submitted = len(pending)
        ready = []
        try:
            while pending:
                future = pending.popleft()
                if submitted < len(paths):
                    pending.append(pool.submit(load, submitted))
                    submitted += 1
                try:
                    ready.append(future.result())
                except BadFile as error:
                    if unreadable is None:
                        raise
                    unreadable.append(error)
                if ready and (len(ready) == batch_size or not pending):
                    indices, inputs, sizes, originals = zip(*ready, strict=True)
                    ready.clear()
                    yield Batch(
                        np.stack(inputs),
                        sizes,
                        indices,
                        tuple(image for image in originals if image is not None),
                    )
        finally:
            for future in pending:
                future.cancel()
