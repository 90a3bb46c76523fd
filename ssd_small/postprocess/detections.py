"""The result of post-processing one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections of one image, ordered by score descending, then label, then prior ascending.

    Attributes:
        boxes: ``[D, 4]`` float32 (x1, y1, x2, y2), unit square, not clipped to the image.
        scores: ``[D]`` float32, after the activation.
        labels: ``[D]`` int32, the class index, a column of conf (background included).
        prior_indices: ``[D]`` int32, index of the prior box each detection comes from.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    prior_indices: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: slice | npt.NDArray[np.generic]) -> Detections:
        """The detections that ``index`` selects, in the same order."""
        return Detections(
            self.boxes[index], self.scores[index], self.labels[index], self.prior_indices[index]
        )

    @property
    def keys(self) -> set[tuple[int, int]]:
        """(label, prior) of each: identifies the same detection in two results of a network."""
        return set(zip(self.labels.tolist(), self.prior_indices.tolist(), strict=True))

    @staticmethod
    def empty() -> Detections:
        """A result without detections."""
        return Detections(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros(0, np.int32),
        )


def detections_from_padded(
    num_detections: npt.NDArray[np.int32],
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    prior_indices: npt.NDArray[np.int32],
) -> list[Detections]:
    """Split the five outputs of the DecodeNms operator into one Detections per image.

    Args:
        num_detections: ``[N]``, the number of valid rows per image.
        boxes: ``[N, K, 4]``.
        scores, labels, prior_indices: ``[N, K]``.
    """
    return [
        Detections(
            np.array(boxes[i, :n], np.float32),
            np.array(scores[i, :n], np.float32),
            np.array(labels[i, :n], np.int32),
            np.array(prior_indices[i, :n], np.int32),
        )
        for i, n in enumerate(int(n) for n in np.ravel(num_detections))
    ]
