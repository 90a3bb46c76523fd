"""Names of the tensors that an ONNX file or an engine takes and gives."""

from __future__ import annotations

from .description import Description

#: ``[N, 3, H, W]``
INPUT = "images"
#: ``[N, P, 4]`` and ``[N, P, C]``
HEADS = ("loc", "conf")
#: ``[N]``, then ``[N, K, 4]`` and three times ``[N, K]``: the outputs of the DecodeNms operator
DETECTIONS = ("num_detections", "boxes", "scores", "labels", "prior_indices")


def output_names(description: Description) -> tuple[str, ...]:
    """The outputs, in the order of the operator."""
    return DETECTIONS if description.has_decode_nms else HEADS
