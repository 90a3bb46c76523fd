"""Wrap an engine of ours as a detection model of sahi, for benchmarks/bench_tiles.py.

This package does not require sahi: the benchmark needs an environment that has both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sahi.models.base import DetectionModel
from sahi.postprocess.backends import set_postprocess_backend
from sahi.predict import get_sliced_prediction
from sahi.prediction import ObjectPrediction
from sahi.slicing import get_slice_bboxes

from ssd_small.detection.detector import Detector
from ssd_small.pictures.tiles import Tiling


class EngineModel(DetectionModel):
    """Runs each batch of slices that sahi hands over as one batch of a detector.

    Attributes:
        seconds: spent in the detector: preprocessing, network, decode + NMS of the slices.
    """

    seconds: float = 0.0

    def set_model(self, model: Detector, **kwargs: Any) -> None:
        """Take the detector."""
        self.model = model

    def perform_inference(self, image: np.ndarray) -> None:
        """A slice by itself."""
        self.perform_batch_inference([image])

    def perform_batch_inference(self, images: list[np.ndarray]) -> None:
        """A batch of slices ``[H, W, 3]``, with NMS of each."""
        started = time.perf_counter()
        found = [outcome.detections for outcome, _ in self.model.outcomes(images)]
        self.seconds += time.perf_counter() - started
        shapes = [image.shape[:2] for image in images]
        self._original_predictions = list(zip(found, shapes, strict=True))

    def _create_object_prediction_list_from_original_predictions(
        self,
        shift_amount_list: Sequence[Any] | None = None,
        full_shape_list: Sequence[Any] | None = None,
    ) -> None:
        description = self.model.description
        shifts = shift_amount_list or [[0, 0]]
        shapes = full_shape_list or [None] * len(shifts)
        self._object_prediction_list_per_image = []
        for (found, (height, width)), shift, full in zip(
            self._original_predictions, shifts, shapes, strict=True
        ):
            boxes = (found.boxes * [width, height, width, height]).clip(
                0, [width, height, width, height]
            )
            labels, scores = found.labels.tolist(), found.scores.tolist()
            self._object_prediction_list_per_image.append(
                [
                    ObjectPrediction(
                        bbox=box,
                        category_id=label,
                        category_name=description.label_name(label),
                        score=score,
                        shift_amount=shift,
                        full_shape=full,
                    )
                    for box, label, score in zip(boxes.tolist(), labels, scores, strict=True)
                    if box[0] < box[2] and box[1] < box[3]
                ]
            )


class Slicer:
    """sahi's sliced prediction with the tiles, the batch and the NMS that ours has."""

    def __init__(self, detector: Detector, tiling: Tiling, backend: str) -> None:
        params = detector.params
        self._tiling, self._iou = tiling, params.iou_threshold
        self._backend = backend
        self._model = EngineModel(
            model=detector, confidence_threshold=params.score_threshold, device="cpu"
        )
        self._batch = detector.max_batch
        #: seconds of the last picture by stage
        self.spent: dict[str, float] = {}

    def check_tiles(self, height: int, width: int) -> int:
        """How many tiles there are; refuses others than ours."""
        one = self._tiling
        slices = get_slice_bboxes(height, width, one.height, one.width, False, *[one.overlap] * 2)
        ours = [[w.x, w.y, w.x + w.width, w.y + w.height] for w in one.windows(height, width)]
        if sorted(slices) != sorted(ours):
            raise SystemExit(f"other tiles: {slices[:9]}, not {ours[:9]}")
        return len(ours)

    def __call__(self, picture: np.ndarray) -> list[ObjectPrediction]:
        """Objects of a picture ``[H, W, 3]`` uint8 in the channel order of the detector."""
        one = self._tiling
        self._model.seconds = 0.0
        set_postprocess_backend(self._backend)
        started = time.perf_counter()
        found = get_sliced_prediction(
            picture,
            self._model,
            slice_height=one.height,
            slice_width=one.width,
            overlap_height_ratio=one.overlap,
            overlap_width_ratio=one.overlap,
            perform_standard_pred=False,
            postprocess_type="NMS",
            postprocess_match_metric="IOU",
            postprocess_match_threshold=self._iou,
            force_postprocess_type=True,
            batch_size=self._batch,
            verbose=0,
        )
        total = time.perf_counter() - started
        told = found.durations_in_seconds
        postprocess = float(told.get("postprocess", 0.0))
        self.spent = {
            "total": total,
            "detector": self._model.seconds,
            "nms": postprocess,
            "objects and slices": total - self._model.seconds - postprocess,
        }
        return list(found.object_prediction_list)
