"""Unrounded boxes and scores of rows, for COCO results with the same scores as ``eval``.

Rows are for people: clipped to the picture and rounded, either of which changes the AP. Hence the
output of decode + NMS is kept beside them, in a file in numpy's format.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import BadFile, reason_from_exception
from ...postprocess import Detections

Exact = npt.NDArray[np.float32]


def exact_from_detections(detections: Detections) -> Exact:
    """``[D, 5]``: x1, y1, x2, y2 in the unit square of the picture, unclipped, and the score."""
    return np.hstack([detections.boxes, detections.scores[:, None]]).astype(np.float32)


def bytes_from_exact(exact: Exact) -> bytes:
    """Encode the result of :func:`exact_from_detections` as a file, the same bytes everywhere."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(exact, "<f4"), (1, 0), allow_pickle=False)
    return out.getvalue()


def exact_from_file(path: Path, rows: int) -> Exact:
    """Memory-map the array ``[rows, 5]`` of a file.

    Raises:
        BadFile: the file cannot be read, or does not hold this many rows.
    """
    remedy = "remove it and --resume"
    try:
        exact: Exact = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        reason = error.strerror or reason_from_exception(error)
        raise BadFile(f"cannot read {path}: {reason}; {remedy}") from error
    except (ValueError, EOFError) as error:
        raise BadFile(f"{path} is damaged ({reason_from_exception(error)}); {remedy}") from error
    is_array = isinstance(exact, np.ndarray) and exact.dtype == np.dtype("<f4")
    if not is_array or exact.shape != (rows, 5):
        raise BadFile(f"{path} is damaged: expected {rows} rows of 5 float32; {remedy}")
    return exact
