"""Heads for the tests of the CUDA kernels, and the comparison with the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from kernel_library import KernelLibrary
from same_detections import assert_same

from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.postprocess.detections import Detections
from ssd_small.postprocess.params import WHOLE

FloatArray = npt.NDArray[np.float32]


def grid_priors(num: int, size: float = 0.2, seed: int = 0) -> FloatArray:
    """``[num, 4]`` random centres, sizes from half of ``size`` to ``size``."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.uniform(0, 1, (num, 2)), rng.uniform(size / 2, size, (num, 2))], axis=1
    ).astype(np.float32)


def random_heads(
    batch: int, num_priors: int, num_classes: int, spread: float = 2.0, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Heads with many candidates: ``loc [N, P, 4]``, ``conf [N, P, C]``, ``priors [P, 4]``."""
    rng = np.random.default_rng(seed)
    loc = rng.normal(0, 0.5, (batch, num_priors, 4)).astype(np.float32)
    conf = rng.normal(0, spread, (batch, num_priors, num_classes)).astype(np.float32)
    return loc, conf, grid_priors(num_priors, seed=seed)


def check(
    kernels: KernelLibrary,
    loc: npt.NDArray[Any],
    conf: npt.NDArray[Any],
    priors: FloatArray,
    params: PostprocessParams,
    seeds: tuple[int, ...] = (0, 1),
    edges: tuple[float, float] = WHOLE,
    **how: Any,
) -> list[Detections]:
    """Compare runs under several orders with the oracle, bit for bit; the expected detections."""
    expected = decode_nms(loc, conf, priors, params, edges=edges, backend="numpy")
    for seed in seeds:
        padded = kernels(loc, conf, priors, params, seed=seed, edges=edges, **how)
        assert_same(padded.detections(), expected)
    return expected
