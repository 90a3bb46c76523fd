"""Boxes and scores of rows as the network gives them, for COCO results that score as ``eval`` does.

Rows are for people: clipped to the picture and rounded. AP of either differs, so what decode + NMS
gave is kept beside them, in a file of numpy's.
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
    """``[D, 5]``: x1, y1, x2, y2 in the unit square of the picture, not clipped; and the score."""
    return np.hstack([detections.boxes, detections.scores[:, None]]).astype(np.float32)


def bytes_from_exact(exact: Exact) -> bytes:
    """A file of what :func:`exact_from_detections` gives, the same bytes everywhere."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(exact, "<f4"), (1, 0), allow_pickle=False)
    return out.getvalue()


def exact_from_file(path: Path, rows: int) -> Exact:
    """The array ``[rows, 5]`` of a file, which is read when it is looked at.

    Raises:
        BadFile: it cannot be read, or is none of so many rows.
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
