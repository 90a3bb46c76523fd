"""Deployment toolkit for the small-object SSD networks of Mudassar & Mukhopadhyay (BMVC 2019).

Importing this package is instant: torch and the engines are loaded on first use of a name that
needs them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .detection.detector import Detector
    from .detection.load import load
    from .detection.picture_detections import PictureDetections
    from .models.checkpoint import load_checkpoint
    from .models.network import create_model
    from .models.registry import list_models
    from .postprocess import Detections, PostprocessParams, decode_nms

# Two packages report their use unless told not to before they initialise. torch.onnx and onnxscript
# import ONNX Runtime themselves, so this is set here, where each of our processes passes first.
for _switch in ("ORT_DISABLE_TELEMETRY", "FIFTYONE_DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")

_HOME_OF = {
    "Detections": "postprocess",
    "Detector": "detection.detector",
    "PictureDetections": "detection.picture_detections",
    "PostprocessParams": "postprocess",
    "create_model": "models.network",
    "decode_nms": "postprocess",
    "list_models": "models.registry",
    "load": "detection.load",
    "load_checkpoint": "models.checkpoint",
}

__all__ = [
    "Detections",
    "Detector",
    "PictureDetections",
    "PostprocessParams",
    "__version__",
    "create_model",
    "decode_nms",
    "list_models",
    "load",
    "load_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
