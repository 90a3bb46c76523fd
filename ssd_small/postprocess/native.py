"""The native CPU library (kernels/capi) through ctypes.

The library is the one packaged in ``ssd_small/_native``, or the file that the environment
variable ``SSD_SMALL_LIBRARY`` names. A checkout without a built library (imported because Python
searches the current folder first) uses that of an installed ssd-small of the same version.
Contiguous inputs are passed without a copy.

A loaded library must stay loaded until the process ends, since its idle threads sleep in its code.
ctypes never unloads one, and nothing here may.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._version import __version__
from ..errors import MissingRequirement, SsdSmallError, UsageError
from .detections import Detections
from .head_types import BFLOAT16, float32_from_heads
from .params import WHOLE

if TYPE_CHECKING:
    from .params import PostprocessParams

#: SSD_SMALL_ABI_VERSION of kernels/capi/ssd_small.h
_ABI_VERSION = 3
_BAD_PARAMETER, _BAD_SHAPE = 1, 2
_HEAD_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, BFLOAT16: 2}
_ACTIVATIONS = {"softmax": 0, "sigmoid": 1, "none": 2}
_MESSAGE_BYTES = 256


class Params(ctypes.Structure):
    """``ssd_small_params`` of kernels/capi/ssd_small.h."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("score_threshold", ctypes.c_float),
        ("iou_threshold", ctypes.c_float),
        ("variances", ctypes.c_float * 2),
        ("activation", ctypes.c_int32),
        ("background_label", ctypes.c_int32),
        ("pre_nms_topk", ctypes.c_int32),
        ("keep_topk_per_class", ctypes.c_int32),
        ("keep_topk", ctypes.c_int32),
        ("pixel_offset", ctypes.c_float),
        ("clip_boxes", ctypes.c_int32),
        ("clip_edges", ctypes.c_float * 2),
    )


class Heads(ctypes.Structure):
    """``ssd_small_heads`` of kernels/capi/ssd_small.h."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("head_type", ctypes.c_int32),
        ("batch", ctypes.c_int32),
        ("num_priors", ctypes.c_int32),
        ("num_classes", ctypes.c_int32),
        ("num_threads", ctypes.c_int32),
        ("loc", ctypes.c_void_p),
        ("conf", ctypes.c_void_p),
        ("priors", ctypes.c_void_p),
    )


def library_path() -> Path:
    """Path at which the library is expected; the file need not exist."""
    named = os.environ.get("SSD_SMALL_LIBRARY")
    if named:
        return Path(named)
    return _packaged_library()


@lru_cache(maxsize=1)
def _packaged_library() -> Path:
    """The library in this package, else an installed one; cached, since resolving paths is slow."""
    name = {"win32": "ssd_small.dll", "darwin": "libssd_small.dylib"}.get(
        sys.platform, "libssd_small.so"
    )
    packaged = Path(__file__).resolve().parents[1] / "_native" / name
    return packaged if packaged.exists() else _installed_library(name) or packaged


@lru_cache(maxsize=1)
def _installed_library(name: str) -> Path | None:
    """The library of an installed ssd-small of this version, if there is one."""
    from importlib import metadata  # slow to import, and seldom needed

    for found in metadata.distributions(name="ssd-small"):
        path = Path(str(found.locate_file(f"ssd_small/_native/{name}")))
        if found.version == __version__ and path.is_file():
            return path
    return None


def is_available() -> bool:
    """Whether the library was found and loads.

    Raises:
        MissingRequirement: ``SSD_SMALL_LIBRARY`` names a file that does not load.
    """
    if os.environ.get("SSD_SMALL_LIBRARY"):
        _load(str(library_path()))
        return True
    try:
        _load(str(library_path()))
    except MissingRequirement:
        return False
    return True


def decode_nms(
    loc: npt.NDArray[Any],
    conf: npt.NDArray[Any],
    priors: npt.NDArray[np.float32],
    params: PostprocessParams,
    *,
    edges: tuple[float, float] = WHOLE,
    num_threads: int = 0,
) -> list[Detections]:
    """Run :func:`ssd_small.postprocess.decode_nms` natively; its checks must have been done.

    Args:
        loc: ``[N, P, 4]`` float32, float16 or :data:`~.head_types.BFLOAT16`.
        conf: ``[N, P, C]``; if its type differs from that of ``loc``, both become float32.
        priors: ``[P, 4]`` float32.
        params: parameters of decode + NMS.
        edges: right and bottom edge of the picture in the unit of the priors.
        num_threads: 0 for the environment variable ``SSD_SMALL_NUM_THREADS``, else one per
            processor. Small inputs use fewer; the result does not depend on it.
    """
    library = _load(str(library_path()))
    if loc.dtype != conf.dtype:
        loc, conf = float32_from_heads(loc), float32_from_heads(conf)
    loc, conf, priors = _as_library_reads(loc), _as_library_reads(conf), _as_library_reads(priors)
    handle = ctypes.c_void_p()
    message = ctypes.create_string_buffer(_MESSAGE_BYTES)
    status = library.ssd_small_decode_nms(
        ctypes.byref(heads_from(loc, conf, priors, num_threads)),
        ctypes.byref(params_from(params, edges)),
        ctypes.byref(handle),
        message,
        _MESSAGE_BYTES,
    )
    if status != 0:
        kind = UsageError if status in (_BAD_PARAMETER, _BAD_SHAPE) else SsdSmallError
        raise kind(f"native decode+NMS: {message.value.decode(errors='replace')}")
    try:
        return _detections_from(library, handle, len(conf))
    finally:
        library.ssd_small_result_free(handle)


def _as_library_reads(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An aligned, C-contiguous array, copied only if necessary."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, None, ["A", "C"])


def heads_from(
    loc: npt.NDArray[Any],
    conf: npt.NDArray[Any],
    priors: npt.NDArray[np.float32],
    num_threads: int = 0,
) -> Heads:
    """The C structure for arrays that :func:`decode_nms` passes; it does not keep them alive."""
    batch, num_priors, num_classes = conf.shape
    return Heads(
        ctypes.sizeof(Heads),
        _HEAD_TYPES[conf.dtype],
        batch,
        num_priors,
        num_classes,
        num_threads,
        loc.ctypes.data,
        conf.ctypes.data,
        priors.ctypes.data,
    )


def params_from(params: PostprocessParams, edges: tuple[float, float] = WHOLE) -> Params:
    """The C structure for parameters."""
    return Params(
        ctypes.sizeof(Params),
        params.score_threshold,
        params.iou_threshold,
        (ctypes.c_float * 2)(*params.variances),
        _ACTIVATIONS[params.activation],
        params.background_label,
        params.pre_nms_topk,
        params.keep_topk_per_class,
        params.keep_topk,
        params.pixel_offset,
        params.clip_boxes,
        (ctypes.c_float * 2)(*edges),
    )


def _detections_from(library: ctypes.CDLL, handle: ctypes.c_void_p, batch: int) -> list[Detections]:
    counts = np.zeros(batch, np.int64)
    total = library.ssd_small_result_counts(handle, counts.ctypes.data)
    boxes = np.empty((total, 4), np.float32)
    scores = np.empty(total, np.float32)
    labels = np.empty(total, np.int32)
    priors = np.empty(total, np.int32)
    library.ssd_small_result_copy(
        handle, boxes.ctypes.data, scores.ctypes.data, labels.ctypes.data, priors.ctypes.data
    )
    ends = np.cumsum(counts)
    return [
        Detections(*(array[end - count : end] for array in (boxes, scores, labels, priors)))
        for count, end in zip(counts.tolist(), ends.tolist(), strict=True)
    ]


@lru_cache(maxsize=4)
def _load(path: str) -> ctypes.CDLL:
    """The library with its signatures declared.

    Raises:
        MissingRequirement: it is absent, cannot be loaded, or has another interface version.
    """
    hint = "reinstall ssd-small with a C++ compiler present, or set SSD_SMALL_LIBRARY"
    try:
        library = ctypes.CDLL(path)
        version = library.ssd_small_abi_version()
    except (OSError, AttributeError) as error:
        raise MissingRequirement(f"native library: {error}; {hint}") from error
    if version != _ABI_VERSION:
        raise MissingRequirement(
            f"native library {path}: interface version {version}, expected {_ABI_VERSION}; {hint}"
        )
    pointer = ctypes.c_void_p
    library.ssd_small_decode_nms.argtypes = [pointer, pointer, pointer, pointer, ctypes.c_size_t]
    library.ssd_small_decode_nms.restype = ctypes.c_int32
    library.ssd_small_result_counts.argtypes = [pointer, pointer]
    library.ssd_small_result_counts.restype = ctypes.c_int64
    library.ssd_small_result_copy.argtypes = [pointer] * 5
    library.ssd_small_result_copy.restype = None
    library.ssd_small_result_free.argtypes = [pointer]
    library.ssd_small_result_free.restype = None
    return library
