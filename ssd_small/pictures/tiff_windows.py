"""Windows of TIFF files too large to be decoded whole, read strip by strip or tile by tile.

The pixels are bit-identical to those of :func:`.reading.read_image` for every kind that is read
here. tifffile parses the file and imagecodecs decodes its segments (strips or tiles): they follow
only the file's first directory and open no other file. Of the alternatives, tried on files of
20000 x 20000, rasterio 1.4 is as fast but takes more memory, decodes JPEG to other pixels, and
looks for files beside; pyvips 3.2 takes four to ten times as long for strips.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import BadFile, UsageError, reason_from_exception
from ..files import open_file
from ..requirements import require
from .headers import declared_extent, fault_from_work
from .limits import check_pixels, most_pixels
from .reading import AbsentPicture, Image, check_full_range, is_absent
from .tiff import MARKS, extent_of_tiff
from .tiles import Window

#: pictures of fewer pixels are decoded whole, which is faster and takes a few dozen megabytes
WINDOWED_FROM = 1 << 24
#: most pixels of a picture: 131072 x 131072; a small file can declare more, and would take days
MOST_PIXELS = 1 << 34
#: bytes of decoded segments kept for the next windows; a segment that is larger is kept alone
KEPT_BYTES = 1 << 27
#: bytes of rows that are read together from an uncompressed strip
_BLOCK_BYTES = 1 << 20
#: bytes that compressed data may take beside its pixels
_SPARE = 1 << 16
_NONE, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _ZSTD = 1, 5, 7, 8, 32773, 32946, 50000
_COMPRESSIONS = (_NONE, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _ZSTD)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR = 0, 1, 2, 6
_UNASSOCIATED = 2
#: orientations in which stored rows run backwards, columns run backwards, and the two are swapped
_ROWS_BACK, _COLUMNS_BACK, _TRANSPOSED = (3, 4, 6, 7), (2, 3, 7, 8), (5, 6, 7, 8)

Segment = tuple[int, int]


class OddTiff(BadFile):
    """A TIFF file of a kind that cannot be read by windows."""


def large_tiff_extent(path: str | Path) -> tuple[int, int] | None:
    """Width and height of a TIFF file large enough for windows; None for other files and pipes."""
    if not os.path.isfile(path):
        return None
    with open_file(Path(path)) as file:
        if not file.read(4).startswith(MARKS):
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            extent = extent_of_tiff(content)
    if extent is None or extent[0] * extent[1] < WINDOWED_FROM:
        return None
    return extent[:2]


@contextmanager
def open_tiff(path: str | Path, max_pixels: int | None = None) -> Iterator[TiffWindows]:
    """Open a TIFF file to read windows; its range of values is checked when the block succeeds.

    Args:
        path: the file.
        max_pixels: most pixels decoded at once, in a segment or a window; default: see
            :mod:`.limits`.

    Raises:
        OddTiff: the file is of a kind that cannot be read by windows.
        BadFile: the file is damaged, cut off, too large, or has segments of too many pixels; or,
            at the end of the block, too few of its 16 bits are in use.
        MissingRequirement: tifffile or imagecodecs is not installed.
    """
    if is_absent(path):
        raise AbsentPicture(f"image {path} does not exist")
    tifffile = require("tifffile", "reading windows of a TIFF file")
    require("imagecodecs", "reading windows of a TIFF file")
    remarks = logging.getLogger("tifffile")
    if not remarks.handlers:  # its remarks on odd tags would go to standard error
        remarks.addHandler(logging.NullHandler())
    with open_file(Path(path)) as file:
        try:
            page = tifffile.TiffFile(file, name="picture").pages[0]
        except Exception as error:  # readers of damaged files may raise anything
            raise _damaged(path, error) from error
        windows = TiffWindows(Path(path), file, page, most_pixels(max_pixels))
        yield windows
        windows.check_range()


class TiffWindows:
    """The windows of an open TIFF file, which several threads may read at once.

    Attributes:
        size: height and width as people see it, turned by its orientation.
        stored_size: height and width as it is stored.
    """

    def __init__(self, path: Path, file: BinaryIO, page: Any, most: int) -> None:
        self._path, self._file, self._page, self._most = path, file, page, most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Segment, Image] = OrderedDict()
        self._kept_bytes = 0
        self._seen: set[Segment] = set()
        self._largest = 0
        try:
            self._read_layout()
            self._check_layout()
        except (BadFile, UsageError):
            raise
        except Exception as error:  # fields of any type and number
            raise _damaged(path, error) from error

    def _read_layout(self) -> None:
        page = self._page
        height, width = int(page.imagelength), int(page.imagewidth)
        self.stored_size = height, width
        tag = page.tags.valueof(274)
        self._orientation = tag if tag in range(1, 9) else 1
        self.size = (width, height) if self._orientation in _TRANSPOSED else (height, width)
        self._planes = int(page.shaped[0])
        self._samples = int(page.samplesperpixel)
        self._bits = page.bitspersample
        if page.is_tiled:
            self._strip, self._sides = 0, (int(page.tilelength), int(page.tilewidth))
        else:
            self._strip = min(int(page.rowsperstrip), height)
            self._sides = (self._strip, width)
        self._offsets, self._counts = page.dataoffsets, page.databytecounts

    def _check_layout(self) -> None:
        height, width = self.stored_size
        if (kind := self._odd_kind()) is not None:
            raise OddTiff(
                f"cannot read windows of image {self._path}: it is TIFF with {kind}; convert it to "
                "8-bit RGB, with LZW, Deflate or JPEG compression, in tiles"
            )
        if height * width > MOST_PIXELS:
            raise BadFile(
                f"cannot decode image {self._path}: it has too many pixels ({width}x{height}; at "
                f"most {MOST_PIXELS} are read by windows); cut it into parts"
            )
        rows, columns = self._grid(self._sides)
        segments = rows * columns * self._planes
        if min(height, width, *self._sides) < 1 or len(self._offsets) != segments:
            raise _damaged(self._path, f"{len(self._offsets)} strips or tiles of {segments}")
        offsets, counts = (np.array(v, np.int64) for v in (self._offsets, self._counts))
        self._file.seek(0, 2)
        if len(counts) != segments or (counts < 1).any() or (offsets < 8).any():
            raise _damaged(self._path, "strips or tiles that were never written")
        if (offsets + counts > self._file.tell()).any():
            raise BadFile(
                f"cannot decode image {self._path}: it is cut off before the picture ends; take a "
                "whole copy"
            )
        bytes_of_pixel = self._samples * self._bits // 8
        most_of_data = self._sides[0] * self._sides[1] * bytes_of_pixel
        if self._page.compression == _NONE and self._strip and self._planes == 1:
            self._split_strips(counts)
        check_pixels(self._path, self._sides[1], self._sides[0], self._most, bytes_of_pixel)
        if (counts > 2 * most_of_data + _SPARE).any():
            raise _damaged(self._path, "more data than it has pixels")

    def _odd_kind(self) -> str | None:
        """What makes the file unreadable by windows, in words; None if it can be read."""
        page = self._page
        photometric, compression = int(page.photometric), int(page.compression)
        kinds = {
            f"{self._bits}-bit samples": self._bits not in (8, 16),
            "samples that are no whole numbers": page.dtype is None or page.dtype.kind != "u",
            f"compression {compression}": compression not in _COMPRESSIONS,
            f"{self._samples} samples a pixel": not 1 <= self._samples <= 4,
            "depth": int(page.shaped[1]) != 1,
            f"colours of kind {photometric}": not (
                (photometric == _BLACK_IS_ZERO and self._samples < 3)
                or (photometric == _WHITE_IS_ZERO and (self._samples, self._bits) == (1, 8))
                or (photometric == _RGB and self._samples > 2)
                or (photometric == _YCBCR and self._samples == 3 and compression == _JPEG)
            ),
        }
        return next((kind for kind, is_so in kinds.items() if is_so), None)

    def _split_strips(self, counts: npt.NDArray[np.int64]) -> None:
        """Divide uncompressed strips into smaller blocks of rows, which can be read separately."""
        row = self.stored_size[1] * self._samples * self._bits // 8
        lines = np.minimum(self._strip, self.stored_size[0] - self._strip * np.arange(len(counts)))
        if int(self._page.predictor) != 1 or (counts < row * lines).any():
            return
        block = max(1, _BLOCK_BYTES // row)
        if block < self._strip:
            # blocks must not cross the end of a strip, unless there is only one
            while len(counts) > 1 and self._strip % block:
                block -= 1
            self._sides = (block, self.stored_size[1])

    def turned(self, as_shown: bool) -> None:
        """Choose windows of the picture as people see it (the default) or as it is stored."""
        if not as_shown:
            self._orientation, self.size = 1, self.stored_size

    def pixels(self, window: Window) -> Image:
        """Pixels ``[h, w, 3]`` uint8 BGR of a window, which must lie inside the picture.

        Raises:
            BadFile: this part cannot be decoded, or has too many pixels.
        """
        check_pixels(self._path, window.width, window.height, self._most)
        first, length = (window.y, window.x), (window.height, window.width)
        if self._orientation in _TRANSPOSED:
            first, length = first[::-1], length[::-1]
        backwards = self._orientation in _ROWS_BACK, self._orientation in _COLUMNS_BACK
        y, x = (
            side - start - count if is_backwards else start
            for side, start, count, is_backwards in zip(
                self.stored_size, first, length, backwards, strict=True
            )
        )
        image = self._stored(y, x, *length)
        image = image[:: -1 if backwards[0] else 1, :: -1 if backwards[1] else 1]
        if self._orientation in _TRANSPOSED:
            image = image.transpose(1, 0, 2)
        return np.ascontiguousarray(image)

    def check_range(self) -> None:
        """Refuse, with BadFile, a 16-bit picture that uses few bits; only if all of it was read."""
        rows, columns = self._grid(self._sides)
        if self._bits == 16 and len(self._seen) == rows * columns:
            try:
                check_full_range(self._largest)
            except UsageError as error:
                raise BadFile(f"image {self._path}: {error}") from error

    def _grid(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Number of rows and columns of segments."""
        rows, columns = (
            -(-whole // side) for whole, side in zip(self.stored_size, sides, strict=True)
        )
        return rows, columns

    def _stored(self, y: int, x: int, height: int, width: int) -> Image:
        """Pixels of a window of the picture as it is stored."""
        image = np.empty((height, width, 3), np.uint8)
        down, across = self._sides
        for row in range(y // down, (y + height - 1) // down + 1):
            for column in range(x // across, (x + width - 1) // across + 1):
                segment = self._segment((row, column))
                top, left = row * down, column * across
                rows = slice(max(y, top), min(y + height, top + segment.shape[0]))
                columns = slice(max(x, left), min(x + width, left + segment.shape[1]))
                image[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = (
                    segment[rows.start - top : rows.stop - top, columns.start - left :][
                        :, : columns.stop - columns.start
                    ]
                )
        return image

    def _segment(self, key: Segment) -> Image:
        """Pixels ``[h, w, 3]`` uint8 BGR of a segment, cut at the edges of the picture."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            try:
                samples = self._samples_of(key)
            except BadFile:
                raise
            except Exception as error:  # each codec has its own exceptions
                raise _damaged(self._path, error) from error
            if self._bits == 16:
                self._seen.add(key)
                self._largest = max(self._largest, int(samples[:, :, :3].max(initial=0)))
            image = self._kept[key] = self._bgr(samples)
            self._kept_bytes += image.nbytes
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
            return image

    def _samples_of(self, key: Segment) -> npt.NDArray[Any]:
        """Samples ``[h, w, samples]`` of a segment, uint8 or uint16."""
        down, across = self._sides
        height = min(down, self.stored_size[0] - key[0] * down)
        width = min(across, self.stored_size[1] - key[1] * across)
        if self._strip and down < self._strip:
            return self._rows(key[0] * down, height)
        rows, columns = self._grid(self._sides)
        number = key[0] * columns + key[1]
        planes = [self._decoded(number + plane * rows * columns) for plane in range(self._planes)]
        whole = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        if whole.shape[0] < height or whole.shape[1] < width:
            raise _damaged(self._path, f"a strip or tile of {whole.shape[1]}x{whole.shape[0]}")
        return whole[:height, :width]

    def _decoded(self, number: int) -> npt.NDArray[Any]:
        content = self._read(int(self._offsets[number]), int(self._counts[number]))
        if self._page.compression == _JPEG:
            # the JPEG's own header determines what is decoded
            declared = declared_extent(content)
            if declared is None or fault_from_work(content) is not None:
                raise _damaged(self._path, "a damaged JPEG inside")
            if declared[1] > self._sides[0] or declared[0] > self._sides[1]:
                raise _damaged(self._path, f"a JPEG of {declared[0]}x{declared[1]} inside")
        array, _, _ = self._page.decode(content, number, jpegtables=self._page.jpegtables)
        return np.asarray(array[0])

    def _rows(self, first: int, count: int) -> npt.NDArray[Any]:
        """Samples of rows from an uncompressed strip."""
        width = self.stored_size[1]
        row = width * self._samples * self._bits // 8
        strip, inside = divmod(first, self._strip)
        content = self._read(int(self._offsets[strip]) + inside * row, count * row)
        kind = f"{self._page.parent.byteorder}u{self._bits // 8}"
        return np.frombuffer(content, kind).reshape(count, width, self._samples)

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        content = self._file.read(count)
        if len(content) < count:
            raise BadFile(
                f"cannot decode image {self._path}: it became shorter while it was read; try again"
            )
        return content

    def _bgr(self, samples: npt.NDArray[Any]) -> Image:
        """Convert samples to pixels as OpenCV does; of 16 bits, the upper byte is kept."""
        if self._bits == 16:
            samples = samples >> 8
        if int(self._page.photometric) == _WHITE_IS_ZERO:
            samples = 255 - samples
        if self._samples < 3:
            return np.ascontiguousarray(samples[:, :, :1].repeat(3, axis=2), np.uint8)
        colors = samples[:, :, 2::-1]
        if self._samples == 4 and self._bits == 8 and _UNASSOCIATED in self._page.extrasamples:
            # libtiff's RGBA reader, which OpenCV uses for 8 bits, multiplies by alpha
            alpha = samples[:, :, 3:].astype(np.uint16)
            colors = (colors * alpha + np.uint16(127)) // 255
        return np.ascontiguousarray(colors, np.uint8)


def _damaged(path: str | Path, error: Exception | str) -> BadFile:
    reason = error if isinstance(error, str) else reason_from_exception(error)
    return BadFile(f"cannot decode image {path}: it is TIFF and damaged ({reason}); save it anew")
