"""Inputs for timing: head outputs and pictures that cost as much as real ones.

The cost of NMS depends on the number of candidates, so neither zeros nor noise will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..artefacts.description import Description
    from ..runtimes.base import Images

FloatArray = npt.NDArray[np.float32]


def detector_heads(
    priors: FloatArray, num_classes: int, batch: int = 1, objects: int = 24, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Make head outputs like those of a trained detector in a busy scene.

    Background dominates every prior, except that around each of ``objects`` random priors, 8 to 39
    neighbours agree on one box and one class.

    Args:
        priors: ``[P, 4]`` (cx, cy, w, h), unit square.
        num_classes: classes including background, which is class 0.
        batch: number of images N.
        objects: objects per image.
        seed: seed of the random numbers.

    Returns:
        ``loc [N, P, 4]`` and ``conf [N, P, C]`` logits, float32.
    """
    rng = np.random.default_rng(seed)
    shape = (batch, len(priors))
    loc = rng.normal(0, 0.5, (*shape, 4)).astype(np.float32)
    conf = rng.normal(0, 1, (*shape, num_classes)).astype(np.float32)
    conf[:, :, 0] += 8
    for image in range(batch):
        for centre in rng.integers(len(priors), size=objects):
            distance = np.abs(priors - priors[centre]).sum(axis=1)
            near = np.argsort(distance, kind="stable")[: rng.integers(8, 40)]
            target = priors[centre] + rng.normal(0, 0.002, (len(near), 4))
            own = priors[near]
            loc[image, near, :2] = (target[:, :2] - own[:, :2]) / (0.1 * own[:, 2:])
            loc[image, near, 2:] = np.log(np.maximum(target[:, 2:], 1e-3) / own[:, 2:]) / 0.2
            conf[image, near, rng.integers(1, num_classes)] += rng.uniform(6, 11, len(near))
    return loc, conf


def network_input(description: Description, batch: int, seed: int = 0) -> Images:
    """Make input for a network, preprocessed or as pictures; see :func:`picture_input`.

    If the network takes pictures of any size, they have the size of its preprocessed input.
    """
    size, pictures = description.preprocessing, description.pictures
    height, width = (pictures and pictures.size) or (size.height, size.width)
    images = picture_input(batch, height, width, seed)
    if pictures is None:
        return images
    # from -110..130 to pixel values
    return np.ascontiguousarray((images + 110).astype(np.uint8).transpose(0, 2, 3, 1))


def picture_input(batch: int, height: int, width: int, seed: int = 0) -> FloatArray:
    """Make random network input ``[N, 3, H, W]`` float32 in the range of mean-subtracted pixels.

    It is enlarged coarse noise, so neighbouring pixels are alike, as in photographs.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-110, 130, (batch, 3, -(-height // 10), -(-width // 10)))
    fine = coarse.repeat(10, axis=2).repeat(10, axis=3)[:, :, :height, :width]
    return np.ascontiguousarray(fine, np.float32)
