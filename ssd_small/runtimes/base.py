"""The interface between engines and everything that uses their outputs."""

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
#: input of a network: ``[N, 3, H, W]`` float32, or pictures ``[N, H, W, 3]`` uint8
Images = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class HeadOutputs:
    """Raw outputs of a network.

    Attributes:
        loc: ``[N, P, 4]`` box offsets: float32, or the 16-bit type of the computation (see
            :mod:`~ssd_small.postprocess.head_types`).
        conf: ``[N, P, C]`` logits, of the same type.
    """

    loc: npt.NDArray[Any]
    conf: npt.NDArray[Any]

    def as_float32(self) -> HeadOutputs:
        """Return the same values as float32; decode + NMS does not need this conversion."""
        return HeadOutputs(float32_from_heads(self.loc), float32_from_heads(self.conf))


class Runtime(Protocol):
    """Something that executes a network.

    Attributes:
        name: for example ``"torch 2.14.1"``.
        description: description of the network inside.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        max_batch: largest batch that is executed at once.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        instances: number of instances of the engine, and of threads that may call it at once.
    """

    name: str
    description: Description
    precision: str
    max_batch: int
    device: str
    instances: int

    def infer(self, images: Images) -> HeadOutputs | list[Detections]:
        """Run ``images [N, 3, H, W]`` float32; an N above ``max_batch`` is split.

        If ``description.pictures`` is set, the images are pictures ``[N, H, W, 3]`` uint8 BGR. A
        detector calls this from up to ``instances`` threads at a time, not always the same ones.

        Returns:
            Head outputs, or one Detections per image if decode + NMS are inside the engine.

        Raises:
            UsageError: wrong shape or type, no image, or the runtime is closed.
        """

    def check_picture(self, height: int, width: int) -> None:
        """Refuse a picture whose size the network does not accept.

        Raises:
            UsageError: the message says which sizes it accepts; never raised if pictures are
                resized before the network.
        """

    def watched(self) -> AbstractContextManager[DeviceTimes | None]:
        """Time the batches of a block on the GPU; gives None for a runtime on the CPU."""
        ...

    def close(self) -> None:
        """Free the engine; a second call has no effect."""

    def __enter__(self) -> Runtime: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BatchingRuntime:
    """Shared by runtimes: checking and splitting batches, and closing at the end of a block.

    A runtime sets the attributes of :class:`Runtime` and executes one batch in
    :meth:`infer_batch`.
    """

    description: Description
    max_batch: int
    #: smallest batch that can be executed; a smaller remainder is padded
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
        """Run one batch of :meth:`infer`'s images, ``min_batch <= n <= max_batch``."""
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
        """Accept no more images; runtimes that hold resources also free them."""
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
    """Join the outputs of consecutive batches."""
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
    """Refuse a number of images that an engine does not accept in one call.

    Raises:
        UsageError: fewer than 1 or more than ``max_batch``.
    """
    if not 1 <= count <= max_batch:
        raise UsageError(
            f"a batch of {count} images; this engine takes 1 to {max_batch}: use a smaller "
            "batch or build with a larger --max-batch"
        )


def empty_input(description: Description, batch: int) -> Images:
    """Make a batch of black pictures; a network for any picture size gets its own input size."""
    size, pictures = description.preprocessing, description.pictures
    if pictures is None:
        return np.zeros((batch, 3, size.height, size.width), np.float32)
    height, width = pictures.size or (size.height, size.width)
    return np.zeros((batch, height, width, 3), np.uint8)
