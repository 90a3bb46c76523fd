"""Find pictures that show the same: copies of one file, resized or re-encoded.

Two pictures are copies if two measures agree: the perceptual hash of the package ImageHash, which
sees the coarse structure, and 32 x 32 thumbnails, which distinguish what a fixed camera sees at two
times. The limits were measured on 766 pictures (photographs of blood cells, mosaics of them, digits
on photographs) and on copies of half of them: at half, quarter and double size, at 300 x 300, with
several scaling methods, and as JPEG of quality 90 to 30. Copies are at most 14 bits and 23 grey
levels apart. Among pairs of different pictures, two of one specimen, refocused, are 26 bits apart,
all others 76 or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import MissingRequirement
from ..pictures.reading import Image
from ..requirements import require

#: side of the hash: 256 bits
_HASH_SIDE = 16
_BITS = _HASH_SIDE * _HASH_SIDE
#: most bits in which hashes of copies differ; between 14 and 26, see above
HASH_LIMIT = 20
_THUMBNAIL_SIDE = 32
#: most grey levels by which a thumbnail pixel of copies differs; an object of 16 pixels that
#: disappears from a photograph of 300 x 300 changes one by about 50
THUMBNAIL_LIMIT = 32
#: pictures are first shrunk to this side, which costs less than the hash's own shrinking
_BASIS_SIDE = 128
#: a thumbnail with a smaller standard deviation, in grey levels, shows nothing to compare
_LEAST_DEVIATION = 2.0
#: number of hashes compared at a time
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Looks:
    """What a picture looks like, in a kilobyte.

    Attributes:
        bits: ``[256]`` bool, the perceptual hash.
        thumbnail: ``[32, 32]`` uint8, grey.
    """

    bits: npt.NDArray[np.bool_]
    thumbnail: npt.NDArray[np.uint8]


def can_compare() -> bool:
    """Whether the packages that :func:`looks_from_image` needs are installed."""
    try:
        for module in ("PIL", "imagehash", "scipy.fftpack"):
            require(module, "comparing pictures")
    except MissingRequirement:
        return False
    return True


def looks_from_image(image: Image) -> Looks | None:
    """What a picture ``[H, W, 3]`` uint8 BGR looks like; None if it is almost uniform.

    Raises:
        MissingRequirement: see :func:`can_compare`.
    """
    cv2 = require("cv2", "reading images")
    pillow = require("PIL.Image", "comparing pictures")
    imagehash = require("imagehash", "comparing pictures")
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    basis = cv2.resize(grey, (_BASIS_SIDE, _BASIS_SIDE), interpolation=cv2.INTER_AREA)
    side = (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
    thumbnail = np.asarray(cv2.resize(basis, side, interpolation=cv2.INTER_AREA), np.uint8)
    if thumbnail.std() < _LEAST_DEVIATION:
        return None
    found = imagehash.phash(pillow.fromarray(basis), hash_size=_HASH_SIDE)
    return Looks(np.asarray(found.hash, bool).reshape(_BITS), thumbnail)


def copies_between(first: Sequence[Looks | None], second: Sequence[Looks | None]) -> dict[int, int]:
    """Position in ``second`` -> position in ``first``, for each copy of a picture in ``first``."""
    return dict(_copies(first, second, within=False))


def copies_within(pictures: Sequence[Looks | None]) -> dict[int, int]:
    """Position -> position of the earlier picture, for each picture that is a copy of one."""
    return dict(_copies(pictures, pictures, within=True))


def _copies(
    first: Sequence[Looks | None], second: Sequence[Looks | None], *, within: bool
) -> Iterator[tuple[int, int]]:
    """Yield (position in ``second``, position of its best match in ``first``), once per copy."""
    columns, rows = _positions(first), _positions(second)
    if not len(columns) or not len(rows):
        return
    signs, thumbnails = _arrays(first, columns)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        own_signs, own_thumbnails = _arrays(second, part)
        # number of differing bits, exact: products of signs are whole numbers below 2^24
        distance = (_BITS - own_signs @ signs.T) / 2
        near = distance <= HASH_LIMIT
        if within:
            near &= columns[None, :] < part[:, None]
        for row in np.flatnonzero(near.any(axis=1)).tolist():
            among = np.flatnonzero(near[row])
            apart = np.abs(thumbnails[among] - own_thumbnails[row]).max(axis=1)
            best = int(apart.argmin())
            if apart[best] <= THUMBNAIL_LIMIT:
                yield int(part[row]), int(columns[among[best]])


def _positions(pictures: Sequence[Looks | None]) -> npt.NDArray[np.int64]:
    """Positions of the pictures that can be compared."""
    return np.array([i for i, looks in enumerate(pictures) if looks is not None], np.int64)


def _arrays(
    pictures: Sequence[Looks | None], positions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """Hashes ``[N, 256]`` as signs and thumbnails ``[N, 1024]`` of the chosen pictures."""
    chosen = [looks for looks in (pictures[i] for i in positions.tolist()) if looks is not None]
    bits = np.stack([looks.bits for looks in chosen])
    thumbnails = np.stack([looks.thumbnail for looks in chosen]).reshape(len(chosen), -1)
    return np.where(bits, np.float32(1), np.float32(-1)), thumbnails.astype(np.int16)
