"""A small engine for the runner over the doubles, and what it must give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sidecars import sidecar_for
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small import create_model
from ssd_small.artefacts.build_record import EngineFile
from ssd_small.artefacts.description import description_from_spec
from ssd_small.artefacts.sidecar import Sidecar
from ssd_small.files import sha256_of
from ssd_small.pictures.preprocessing import PictureInput
from ssd_small.postprocess.detections import detections_from_padded
from ssd_small.runtimes import HeadOutputs

CLASSES = 3


@dataclass(frozen=True)
class Stage:
    """An engine file of either kind with its sidecar."""

    path: Path
    sidecar: Sidecar


def make_stage(kind: str, folder: Path) -> Stage:
    """A mobilenet of 32 channels at most; the "plan" is its ONNX file.

    ``kind``: detections or heads; or pictures, of any size, with heads.
    """
    torch.manual_seed(0)
    net = create_model("mobilenet_v1", CLASSES, 0.03)
    description = description_from_spec(
        net.spec, CLASSES, net.width, has_decode_nms=kind == "detections"
    )
    if kind == "pictures":
        description = replace(description, pictures=PictureInput())
    path = folder / "x.engine"
    path.write_bytes(onnx_from_network(net, description).SerializeToString())
    sidecar = sidecar_for(
        description,
        engine=EngineFile(path.name, sha256_of(path), path.stat().st_size),
        compute_capabilities=("8.6",),
    )
    return Stage(path, sidecar)


def outputs_of(result: object) -> list[np.ndarray]:
    """Everything a runner returned, as arrays."""
    if isinstance(result, HeadOutputs):
        return [result.loc, result.conf]
    return [
        array
        for one in result  # type: ignore[attr-defined]
        for array in (one.boxes, one.scores, one.labels, one.prior_indices)
    ]


def reference(stage: Stage, images: np.ndarray) -> list[np.ndarray]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(stage.path, settings, ["CPUExecutionProvider"])
    parts = [session.run(None, {"images": images[i : i + 4]}) for i in range(0, len(images), 4)]
    joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    if stage.sidecar.description.has_decode_nms:
        return outputs_of(detections_from_padded(*joined))
    return joined
