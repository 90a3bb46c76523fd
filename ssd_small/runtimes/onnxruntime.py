"""ONNX Runtime, the embedded default where there is no NVIDIA GPU: engines and ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..artefacts.description import METADATA_KEY, Description
from ..artefacts.sidecar import Sidecar
from ..artefacts.tensors import INPUT, output_names
from ..errors import BadFile
from ..files import read_bytes
from ..postprocess.detections import Detections, detections_from_padded
from ..requirements import require
from .base import BatchingRuntime, FloatArray, HeadOutputs


class OnnxRuntimeRuntime(BatchingRuntime):
    """Runs a network on the CPU; made by :meth:`from_engine` or :meth:`from_onnx`."""

    def __init__(
        self,
        session: Any,
        description: Description,
        *,
        precision: str,
        max_batch: int,
        source: str,
        teller: str,
    ) -> None:
        self._session = session
        self.description = description
        self.precision = precision
        self.max_batch = max_batch
        self.name = f"onnxruntime {require('onnxruntime', 'running this network').__version__}"
        self._check_ends(source, teller)

    @classmethod
    def from_engine(cls, path: Path, sidecar: Sidecar, threads: int = 0) -> OnnxRuntimeRuntime:
        """Open what ``build-engine --target onnxruntime`` wrote.

        Raises:
            BadFile: ONNX Runtime cannot load it, or it is not what its sidecar describes.
            MissingRequirement: ONNX Runtime is not installed.
        """
        built = f"engine {path} (built with {sidecar.target_version})"
        session = _session(path, threads, built, "build it again")
        _check_description(session, path, sidecar)
        return cls(
            session,
            sidecar.description,
            precision=sidecar.precision,
            max_batch=sidecar.batch.max,
            source=f"engine {path}",
            teller="its sidecar describes",
        )

    @classmethod
    def from_onnx(cls, path: Path, threads: int = 0, max_batch: int = 8) -> OnnxRuntimeRuntime:
        """Open an ONNX file of ``ssd-small export``.

        Raises:
            BadFile: absent, not ONNX, or without a description of itself.
            MissingRequirement: ONNX Runtime is not installed.
        """
        read_bytes(path, "an ONNX file written by 'ssd-small export'")
        advice = "export it again (with the function body of DecodeNms, if it was left out)"
        session = _session(path, threads, f"ONNX file {path}", advice)
        metadata = session.get_modelmeta().custom_metadata_map
        description = Description.from_metadata(metadata, path)
        return cls(
            session,
            description,
            precision="fp32",
            max_batch=max_batch,
            source=f"ONNX file {path}",
            teller="its metadata describe",
        )

    def _check_ends(self, source: str, teller: str) -> None:
        """Refuse a file whose input and outputs are not those it describes."""
        description = self.description
        size = [3, description.preprocessing.height, description.preprocessing.width]
        inputs = [i.shape[1:] for i in self._session.get_inputs()]
        outputs, expected = len(self._session.get_outputs()), len(output_names(description))
        if inputs != [size] or outputs != expected:
            raise BadFile(
                f"{source} has inputs {inputs} and {outputs} outputs; {teller} one of {size} and "
                f"{expected}: build it again"
            )

    def infer_batch(self, images: FloatArray) -> HeadOutputs | list[Detections]:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        outputs = self._session.run(None, {INPUT: images})
        if self.description.has_decode_nms:
            return detections_from_padded(*outputs)
        return HeadOutputs(*outputs)

    def close(self) -> None:
        """Free the session; calling twice is harmless."""
        super().close()
        self._session = None


def _check_description(session: Any, path: Path, sidecar: Sidecar) -> None:
    """Refuse a sidecar that tells of another network than the engine does.

    Class names and the making of the input may be changed by hand; what is built in may not.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        return
    own, told = Description.from_metadata(metadata, path), sidecar.description
    names = ["num_classes", "has_decode_nms", "levels", "clip"]
    if own.has_decode_nms:
        names.append("postprocess")
    for name in names:
        if getattr(own, name) != getattr(told, name):
            raise BadFile(
                f"the sidecar of engine {path} tells of another {name} than the engine was built "
                "with; build it again"
            )


def _session(path: Path, threads: int, what: str, advice: str) -> Any:
    ort = require("onnxruntime", "running this network")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception types are not public
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadFile(
            f"ONNX Runtime {ort.__version__} cannot load {what}: {reason}; {advice}"
        ) from error
