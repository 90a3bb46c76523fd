"""Sidecars of engines that nobody built."""

from __future__ import annotations

from typing import Any

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.build_record import BatchRange, EngineFile, Receipt, SourceFile
from ssd_small.artefacts.description import Description
from ssd_small.artefacts.sidecar import Sidecar


def sidecar_for(description: Description, **values: Any) -> Sidecar:
    """A tensorrt-rtx engine; ``values`` change its fields."""
    given: dict[str, Any] = {
        "target": "tensorrt-rtx",
        "target_version": "1.7.1.116",
        "precision": "fp32",
        "onnx": SourceFile("m.onnx", "0" * 64),
        "engine": EngineFile("m.engine", "0" * 64, 1),
        "batch": BatchRange(1, 4, 4),
        "receipt": Receipt({"FLOAT": 1}, 0.0, 1),
        "options": BuildOptions("tensorrt-rtx"),
        "seconds": 1.0,
    }
    return Sidecar(description=description, **(given | values))
