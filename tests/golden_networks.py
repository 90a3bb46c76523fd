"""The published implementation's outputs, and the inputs they were computed from.

The outputs are files (golden/data/README.md says what they hold). The inputs are random numbers
in the order in which they were drawn then, so that the outputs stay comparable: nothing in here
can change without new files.
"""

from __future__ import annotations

import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NETWORKS = ("vgg16", "mobilenet_v1_s1l0_dual")
NUM_CLASSES = 81
_DATA = Path(__file__).with_name("golden") / "data"


@cache
def golden_outputs(name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the network ``name``."""
    with np.load(_DATA / f"{name}.npz") as file:
        return dict(file)


@cache
def golden_heads(name: str) -> tuple[Floats, Floats]:
    """Made-up loc ``[P, 4]`` and scores ``[P, 81]``, what the golden detections are kept of.

    A dominant background and a tail of low scores; round each of the objects, 8 to 39 priors
    agree on one box and one class. Do not write to the arrays.
    """
    priors = golden_outputs(name)["priors"]
    with np.load(_DATA / "neighbours.npz") as file:
        neighbours = file[name]
    random = np.random.default_rng(3)
    loc = random.normal(0, 0.5, priors.shape).astype(np.float32)
    logits = random.normal(0, 1, (len(priors), NUM_CLASSES)).astype(np.float32)
    logits[:, 0] += 8
    for nearest in neighbours:
        centre = priors[random.integers(len(priors))]
        near = nearest[: random.integers(8, 40)]
        label = random.integers(1, NUM_CLASSES)
        logits[near, label] += random.uniform(6, 11, len(near)).astype(np.float32)
        target = centre + random.normal(0, 0.002, (len(near), 4)).astype(np.float32)
        size = priors[near, 2:]
        loc[near, :2] = (target[:, :2] - priors[near, :2]) / (0.1 * size)
        loc[near, 2:] = np.log(np.maximum(target[:, 2:], 1e-3) / size) / 0.2
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return loc, scores


def golden_images() -> Floats:
    """The input ``[2, 3, 300, 300]``: noise on the scale of mean-subtracted pixels."""
    noise = np.random.default_rng(7).uniform(-120, 135, (2, 3, 300, 300))
    return noise.astype(np.float32)


def golden_parameter(key: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The value of the state-dict entry ``key``; weights have the deviation of He et al. 2015."""
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    random = np.random.default_rng(zlib.crc32(key.encode()))
    normal = random.standard_normal(shape).astype(np.float32)
    tenth = np.float32(0.1) * normal
    if len(shape) > 1:
        return normal * np.float32(math.sqrt(2 / math.prod(shape[1:])))
    if key == "norm.weight":  # the scale of the L2 norm of VGG16's first feature map
        return 20 + normal
    if kind == "running_var":
        return 1 + abs(tenth)
    return 1 + tenth if kind == "weight" else tenth
