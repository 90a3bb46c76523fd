"""Equality of detections to the last bit, as between backends of the same arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssd_small.postprocess.detections import Detections, detections_from_padded


def assert_same(found: Sequence[Detections], expected: Sequence[Detections]) -> None:
    """The same images, and of each the same arrays: types, shapes and bits."""
    assert len(found) == len(expected)
    for image, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert len(a) == len(b), f"image {image}: {len(a)} detections, expected {len(b)}"
        for name in ("prior_indices", "labels", "scores", "boxes"):
            x, y = getattr(a, name), getattr(b, name)
            assert (x.dtype, x.shape) == (y.dtype, y.shape), f"image {image}: {name}"
            assert x.tobytes() == y.tobytes(), f"image {image}: {name} differ\n{x}\n{y}"


def checked_detections(
    num_detections: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    prior_indices: np.ndarray,
) -> list[Detections]:
    """The detections in the outputs of DecodeNms, whose rows past the last one must be zero.

    Of ``prior_indices`` they must be -1.
    """
    for i, count in enumerate(num_detections):
        assert 0 <= count <= scores.shape[1]
        for padded in (boxes, scores, labels):
            assert not padded[i, count:].any()
        assert (prior_indices[i, count:] == -1).all()
    return detections_from_padded(num_detections, boxes, scores, labels, prior_indices)
