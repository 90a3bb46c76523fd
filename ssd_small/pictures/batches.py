"""Batches of network input, decoded ahead of their consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import BadFile
from .preprocessing import Preprocessing, input_from_image
from .reading import Image, read_image


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
