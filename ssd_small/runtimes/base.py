"""The one seam between engines and everything after them."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..artifact import Description
from ..detections import Detections
from ..errors import UsageError

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HeadOutputs:
    """Raw outputs of a network.

    Attributes:
        loc: ``[N, P, 4]`` box offsets.
        conf: ``[N, P, C]`` logits.
    """

    loc: FloatArray
    conf: FloatArray


class Runtime(Protocol):
    """Something that executes a network.

    Attributes:
        name: e.g. ``"torch 2.14.1"``.
        description: the network inside.
        precision: ``fp32`` or ``fp16``.
        max_batch: largest batch of one call.
    """

    name: str
    description: Description
    precision: str
    max_batch: int

    def infer(self, images: FloatArray) -> HeadOutputs | list[Detections]:
        """Run ``images [N, 3, H, W]``.

        Returns:
            Head outputs, or one Detections per image where decode + NMS are inside.

        Raises:
            UsageError: wrong shape or type, or N over ``max_batch``.
        """

    def close(self) -> None:
        """Free the engine; calling twice is harmless."""

    def __enter__(self) -> Runtime: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ClosingRuntime:
    """Context management for runtimes: closes at the end of the block."""

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_images(images: FloatArray, description: Description, max_batch: int) -> None:
    """Refuse input that does not fit the network.

    Raises:
        UsageError: wrong shape or type, or too large a batch.
    """
    expected = (3, description.preprocessing.height, description.preprocessing.width)
    if images.ndim != 4 or images.shape[1:] != expected or images.dtype != np.float32:
        raise UsageError(
            f"images are {images.dtype} {list(images.shape)}; expected float32 "
            f"[N, {', '.join(map(str, expected))}]"
        )
    check_batch(len(images), max_batch)


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
