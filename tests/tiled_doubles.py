"""A made-up network that sees the bright spots of a tile, and ends in its heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from detection_doubles import description

from ssd_small.detection.detector import Detector
from ssd_small.models.spec import ListedLevel
from ssd_small.pictures.preprocessing import PictureInput, input_from_image
from ssd_small.postprocess import PostprocessParams
from ssd_small.runtimes.base import BatchingRuntime, HeadOutputs, Images

#: side of the input in pixels
SIDE = 8


class SpottingRuntime(BatchingRuntime):
    """A prior of 2 x 2 pixels round each pixel of an 8 x 8 input scores by how bright that is.

    What it says of a pixel depends on nothing else: the same of an object in every tile.

    Attributes:
        batches: number of tiles of each call so far.
        at: called with the number of the call, before it answers.
    """

    name, precision = "spotting", "fp32"

    def __init__(
        self,
        params: PostprocessParams | None = None,
        max_batch: int = 4,
        priors: int = 1,
        pictures: PictureInput | None = None,
    ) -> None:
        """Make it up.

        Args:
            params: of decode + NMS.
            max_batch: largest batch.
            priors: of each pixel, of which the first one scores.
            pictures: what it takes, where it takes pictures as they are.
        """
        own = params or PostprocessParams(0.25, 0.3)
        level = ListedLevel((1.0, 1.0), ((2.0, 2.0),) * priors)
        levels = ((level, (SIDE, SIDE)),)
        self.description = replace(description(own, inside=False), levels=levels, pictures=pictures)
        self.max_batch = max_batch
        self.batches: list[int] = []
        self.at: Callable[[int], None] = lambda number: None
        self._of_pixel = priors

    def infer_batch(self, images: Images) -> HeadOutputs:
        self.at(len(self.batches))
        self.batches.append(len(images))
        if images.dtype == np.uint8:
            preprocessing = self.description.preprocessing
            images = np.stack([input_from_image(one, preprocessing) for one in images])
        count = SIDE * SIDE * self._of_pixel
        loc = np.zeros((len(images), count, 4), np.float32)
        conf = np.zeros((len(images), count, 3), np.float32)
        conf[:, :, 0] = 20
        # a pixel as bright as 255 has a logit of 25
        grey = images.mean(axis=1).reshape(len(images), -1)
        conf[:, :: self._of_pixel, 1] = grey * np.float32(25 / 255)
        return HeadOutputs(loc, conf)


def detector(
    params: PostprocessParams | None = None, max_batch: int = 4, workers: int = 2, **options: bool
) -> Detector:
    """A detector with the spotting network."""
    return Detector(SpottingRuntime(params, max_batch), workers=workers, **options)


def spots(*places: tuple[int, int, int], height: int = 24, width: int = 40) -> np.ndarray:
    """A dark picture with a bright pixel at each (x, y, brightness)."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, brightness in places:
        image[y, x] = brightness
    return image
