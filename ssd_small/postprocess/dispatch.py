"""Decode + NMS: checks the heads and calls the native library or the oracle."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from . import native
from .detections import Detections
from .head_types import float32_from_heads, head_values
from .oracle import decode_nms_image
from .params import MAX_CLASSES, MAX_PRIORS, WHOLE, PostprocessParams

FloatArray = npt.NDArray[np.float32]
Backend = Literal["auto", "native", "numpy"]


def decode_nms(
    loc: npt.NDArray[Any],
    conf: npt.NDArray[Any],
    priors: npt.NDArray[np.floating],
    params: PostprocessParams | None = None,
    *,
    edges: tuple[float, float] = WHOLE,
    backend: Backend = "auto",
    num_threads: int = 0,
) -> list[Detections]:
    """Decode head outputs and suppress duplicates, one result per image.

    Args:
        loc: ``[N, P, 4]`` box offsets: float32, float16 or bfloat16, as an array (bfloat16: of
            ``ml_dtypes``) or a torch tensor on the CPU. 16-bit values are converted exactly, on the
            fly; the native library makes no copy of arrays that are aligned, contiguous and of the
            same type in ``loc`` and ``conf``.
        conf: ``[N, P, C]`` logits, or scores with ``activation="none"``; types as for ``loc``.
        priors: ``[P, 4]`` (cx, cy, w, h), unit square.
        params: parameters of decode + NMS; default: ``PostprocessParams()``.
        edges: right and bottom edge of the picture in the unit of the priors, which is not the
            unit square for tiles; ``clip_boxes`` clips boxes there.
        backend: ``"native"`` (the C++ library), ``"numpy"`` (the oracle), or ``"auto"``: native
            if it is built, else numpy after one warning.
        num_threads: threads of the native library; 0 for the environment variable
            ``SSD_SMALL_NUM_THREADS``, else one per processor.

    Returns:
        One :class:`Detections` per image, identical for every backend.

    Raises:
        UsageError: the shapes do not fit together, the heads have another type, or ``edges`` are
            not two positive numbers.
        MissingRequirement: ``backend="native"`` and the library is absent.
    """
    params = params or PostprocessParams()
    loc, conf = head_values(loc, "loc"), head_values(conf, "conf")
    priors = np.asarray(priors, np.float32)
    _check_shapes(loc, conf, priors)
    if len(edges) != 2 or not all(0 < np.float32(edge) < np.inf for edge in edges):
        raise UsageError(f"edges: got {edges!r}, expected two positive numbers")
    if backend not in ("auto", "native", "numpy"):
        raise UsageError(f"backend {backend!r}: expected auto, native or numpy")
    if backend == "native" or (backend == "auto" and native.is_available()):
        return native.decode_nms(loc, conf, priors, params, edges=edges, num_threads=num_threads)
    if backend == "auto":
        _warn_once()
    return [
        decode_nms_image(
            float32_from_heads(loc[i]), float32_from_heads(conf[i]), priors, params, edges
        )
        for i in range(len(loc))
    ]


def _check_shapes(loc: npt.NDArray[Any], conf: npt.NDArray[Any], priors: FloatArray) -> None:
    if loc.ndim != 3 or loc.shape[-1] != 4:
        raise UsageError(f"loc has shape {loc.shape}; expected [N, P, 4]")
    if conf.ndim != 3 or conf.shape[:2] != loc.shape[:2] or conf.shape[2] < 1:
        raise UsageError(
            f"conf has shape {conf.shape}; expected [{loc.shape[0]}, {loc.shape[1]}, C] "
            f"to go with loc {loc.shape}"
        )
    if priors.shape != (loc.shape[1], 4):
        raise UsageError(f"priors have shape {priors.shape}; expected ({loc.shape[1]}, 4)")
    if conf.shape[2] > MAX_CLASSES or loc.shape[1] > MAX_PRIORS:
        raise UsageError(
            f"heads of {loc.shape[1]} priors x {conf.shape[2]} classes; "
            f"the limit is {MAX_PRIORS} x {MAX_CLASSES}"
        )


_warned = False


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "the native decode+NMS library is not built; using the numpy oracle, which gives "
            "the same results slowly (reinstall with a C++ compiler present to build it)",
            RuntimeWarning,
            stacklevel=3,
        )
