"""``enqueue`` of the plugin's host build on numpy arrays, its memory watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from plugin_driver import FLOAT, HALF, Plugin, extents_of
from same_detections import checked_detections

from ssd_small.postprocess.detections import Detections


def run(
    plugin: Plugin,
    loc: np.ndarray,
    conf: np.ndarray,
    priors: np.ndarray,
    rows: int,
    max_batch: int | None = None,
) -> list[Detections]:
    """``enqueue`` in memory that holds no zero beforehand, with fences around the workspace."""
    batch, num_priors, num_classes = conf.shape
    types = [HALF if loc.dtype == np.float16 else FLOAT] * 2 + [FLOAT]
    extents = extents_of(batch, num_priors, num_classes)
    size = plugin.workspace_bytes(extents_of(max_batch or batch, num_priors, num_classes), types)
    assert plugin.library.take_messages() == []
    outputs = [
        np.full(shape, fill, dtype)
        for shape, fill, dtype in (
            ((batch,), -77, np.int32),
            ((batch, rows, 4), np.nan, np.float32),
            ((batch, rows), np.nan, np.float32),
            ((batch, rows), -77, np.int32),
            ((batch, rows), -77, np.int32),
        )
    ]
    with _fenced(size) as workspace:
        assert plugin.on_shape_change(extents, types) == 0, plugin.library.take_messages()
        status = plugin.enqueue(
            types,
            extents,
            [array.ctypes.data for array in (loc, conf, priors)],
            [array.ctypes.data for array in outputs],
            workspace,
        )
        assert status == 0, plugin.library.take_messages()
    return checked_detections(*outputs)


@contextmanager
def _fenced(size: int) -> Iterator[int]:
    fence, alignment = 256, 256
    block = np.full(size + 2 * fence + alignment, 0xA5, np.uint8)
    start = -block.ctypes.data % alignment + fence
    yield block.ctypes.data + start
    assert (block[start - fence : start] == 0xA5).all(), "written before the workspace"
    assert (block[start + size : start + size + fence] == 0xA5).all(), "written after the workspace"
