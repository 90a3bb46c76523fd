"""The native CPU library (kernels/capi) through ctypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .detections import Detections
from .errors import MissingRequirement

if TYPE_CHECKING:
    from .postprocess import PostprocessParams


def is_available() -> bool:
    """Whether the library was found and loads."""
    return False


def decode_nms(
    loc: npt.NDArray[Any],
    conf: npt.NDArray[Any],
    priors: npt.NDArray[np.float32],
    params: PostprocessParams,
) -> list[Detections]:
    """See :func:`ssd_small.postprocess.decode_nms`, whose checks have been done."""
    raise MissingRequirement("the native decode+NMS library is not built")
