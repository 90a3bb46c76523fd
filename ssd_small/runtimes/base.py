"""The one seam between engines and everything after them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..artefacts.description import Description
from ..artefacts.tensors import input_of
from ..errors import UsageError
from ..postprocess.detections import Detections
from ..postprocess.head_types import float32_from_heads
from .device_events import DeviceTimes

FloatArray = npt.NDArray[np.float32]
#: what a network takes: ``[N, 3, H, W]`` float32, or pictures ``[N, H, W, 3]`` uint8
Images = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class HeadOutputs:
    """Raw outputs of a network.

    Attributes:
        loc: ``[N, P, 4]`` box offsets: float32, or the 16 bits that were computed in, see
            :mod:`~ssd_small.postprocess.head_types`.
        conf: ``[N, P, C]`` logits, of the same type.
    """

    loc: npt.NDArray[Any]
    conf: npt.NDArray[Any]

    def as_float32(self) -> HeadOutputs:
        """The same values for those who compute with them; decode + NMS takes them as they are."""
        return HeadOutputs(float32_from_heads(self.loc), float32_from_heads(self.conf))


class Runtime(Protocol):
    """Something that executes a network.

    Attributes:
        name: e.g. ``"torch 2.14.1"``.
        description: the network inside.
        precision: ``fp32``, ``fp16`` or ``bf16``.
        max_batch: largest batch that is executed at once.
        device: ``cpu`` or ``cuda:N``.
        instances: of the engine; so many threads may call it at once.
    """

    name: str
    description: Description
    precision: str
    max_batch: int
    device: str
    instances: int

    def infer(self, images: Images) -> HeadOutputs | list[Detections]:
        """Run ``images [N, 3, H, W]`` float32; N over ``max_batch`` is split.

        Where ``description.pictures`` says so, pictures ``[N, H, W, 3]`` uint8 BGR instead. A
        detector calls this from ``instances`` threads at a time, which are not always the same.

        Returns:
            Head outputs, or one Detections per image where decode + NMS are inside.

        Raises:
            UsageError: wrong shape or type, no image, or closed.
        """

    def check_picture(self, height: int, width: int) -> None:
        """Refuse a picture of a size that the network cannot be given.

        Raises:
            UsageError: says which it takes; never where pictures are resized before it.
        """

    def watched(self) -> AbstractContextManager[DeviceTimes | None]:
        """For the length of a block, what its batches take on a GPU; None where there is none."""
        ...

    def close(self) -> None:
        """Free the engine; calling twice is harmless."""

    def __enter__(self) -> Runtime: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BatchingRuntime:
    """What runtimes share: checking and splitting batches, closing at the end of a block.

    A runtime sets the attributes of :class:`Runtime` and executes one batch in
    :meth:`infer_batch`.
    """

    description: Description
    max_batch: int
    #: smallest batch that can be executed; a smaller rest is filled up
    min_batch: int = 1
    device: str = "cpu"
    instances: int = 1
    _closed: bool = False

    def infer(self, images: Images) -> HeadOutputs | list[Detections]:
        """See :class:`Runtime`."""
        self._check_open()
        check_images(images, self.description)
        if self.description.pictures is not None:
            self.check_picture(*images.shape[1:3])
        starts = range(0, len(images), self.max_batch)
        parts = [self._infer_part(images[i : i + self.max_batch]) for i in starts]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def watched(self) -> AbstractContextManager[DeviceTimes | None]:
        """See :class:`Runtime`."""
        return nullcontext()

    def check_picture(self, height: int, width: int) -> None:
        """See :class:`Runtime`."""
        if self.description.pictures is not None:
            self.description.pictures.check(height, width)

    def infer_batch(self, images: Images) -> HeadOutputs | list[Detections]:
        """Run what :meth:`infer` takes, ``min_batch <= n <= max_batch``."""
        raise NotImplementedError

    def _infer_part(self, images: Images) -> HeadOutputs | list[Detections]:
        number = len(images)
        if number >= self.min_batch:
            return self.infer_batch(images)
        filling = np.repeat(images[-1:], self.min_batch - number, axis=0)
        outputs = self.infer_batch(np.concatenate([images, filling]))
        if isinstance(outputs, HeadOutputs):
            return HeadOutputs(outputs.loc[:number], outputs.conf[:number])
        return outputs[:number]

    def close(self) -> None:
        """Take no more images; a runtime that has something to free does so as well."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this engine has been closed; open it again")

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _joined(parts: Sequence[HeadOutputs | list[Detections]]) -> HeadOutputs | list[Detections]:
    """The outputs of consecutive batches as those of one."""
    heads = [part for part in parts if isinstance(part, HeadOutputs)]
    if heads:
        return HeadOutputs(
            np.concatenate([part.loc for part in heads]),
            np.concatenate([part.conf for part in heads]),
        )
    return [one for part in parts if not isinstance(part, HeadOutputs) for one in part]


def check_images(images: Images, description: Description) -> None:
    """Refuse input that does not fit the network.

    Raises:
        UsageError: wrong shape or type, or no image.
    """
    expected = input_of(description, "N")
    dtype = np.uint8 if expected.type == "UINT8" else np.float32
    pairs = zip(images.shape[1:], expected.shape[1:], strict=False)
    fits = images.ndim == 4 and all(side in (own, str(side)) for own, side in pairs)
    if not fits or images.dtype != dtype:
        raise UsageError(
            f"images are {images.dtype} {list(images.shape)}; expected {np.dtype(dtype)} "
            f"[{', '.join(map(str, expected.shape))}]"
        )
    if not len(images):
        raise UsageError("a batch of 0 images; expected at least one")


def check_batch(count: int, max_batch: int) -> None:
    """Refuse a number of images that an engine does not take in one call.

    Raises:
        UsageError: fewer than 1 or more than ``max_batch``.
    """
    if not 1 <= count <= max_batch:
        raise UsageError(
            f"a batch of {count} images; this engine takes 1 to {max_batch}: use a smaller "
            "batch or build with a larger --max-batch"
        )


def empty_input(description: Description, batch: int) -> Images:
    """Black pictures as a network takes them; where any size goes, of the one it works in."""
    size, pictures = description.preprocessing, description.pictures
    if pictures is None:
        return np.zeros((batch, 3, size.height, size.width), np.float32)
    height, width = pictures.size or (size.height, size.width)
    return np.zeros((batch, height, width, 3), np.uint8)
