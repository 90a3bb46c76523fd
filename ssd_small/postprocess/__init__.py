"""Decode + NMS: parameters, the numpy oracle, and the native library with bit-equal results."""

from __future__ import annotations

from .detections import Detections
from .dispatch import decode_nms
from .params import PostprocessParams

__all__ = ["Detections", "PostprocessParams", "decode_nms"]
