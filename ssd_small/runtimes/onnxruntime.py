"""Engines of ONNX Runtime, the embedded default where there is no NVIDIA GPU."""

from __future__ import annotations

from pathlib import Path

from ..artefacts.sidecar import Sidecar
from ..artefacts.tensors import INPUT, output_names
from ..errors import BadFile
from ..postprocess.detections import Detections, detections_from_padded
from ..requirements import require
from .base import BatchingRuntime, FloatArray, HeadOutputs


class OnnxRuntimeRuntime(BatchingRuntime):
    """Runs an engine that ``build-engine --target onnxruntime`` wrote."""

    def __init__(self, path: Path, sidecar: Sidecar, threads: int = 0) -> None:
        ort = require("onnxruntime", "running this engine")
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exception types are not public
            reason = str(error).strip().splitlines()[0]
            raise BadFile(
                f"ONNX Runtime {ort.__version__} cannot load engine {path} (built with "
                f"{sidecar.target_version}): {reason}; build it again"
            ) from error
        self._check_ends(path, sidecar)
        self.sidecar = sidecar
        self.description = sidecar.description
        self.precision = sidecar.precision
        self.max_batch = sidecar.batch["max"]
        self.name = f"onnxruntime {ort.__version__}"

    def _check_ends(self, path: Path, sidecar: Sidecar) -> None:
        """Refuse an engine whose input and outputs are not those its sidecar describes."""
        description = sidecar.description
        size = [3, description.preprocessing.height, description.preprocessing.width]
        inputs = [i.shape[1:] for i in self._session.get_inputs()]
        outputs, described = len(self._session.get_outputs()), len(output_names(description))
        if inputs != [size] or outputs != described:
            raise BadFile(
                f"engine {path} has inputs {inputs} and {outputs} outputs; its sidecar describes "
                f"one of {size} and {described}: build it again"
            )

    def infer_batch(self, images: FloatArray) -> HeadOutputs | list[Detections]:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        outputs = self._session.run(None, {INPUT: images})
        if self.description.has_decode_nms:
            return detections_from_padded(*outputs)
        return HeadOutputs(*outputs)
