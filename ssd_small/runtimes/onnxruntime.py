"""ONNX Runtime for engines and ONNX files: the default where there is no NVIDIA GPU."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..artefacts.description import Description
from ..artefacts.sidecar import Sidecar, check_against_engine
from ..artefacts.tensors import INPUT, input_of, output_names
from ..errors import BadFile
from ..postprocess.detections import Detections, detections_from_padded
from ..requirements import require
from ..terminal import one_line
from .base import BatchingRuntime, HeadOutputs, Images, empty_input

#: ``[ONNXRuntimeError] : 1 : FAIL : ``
_NUMBER = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
#: ``/somewhere/graph/model.cc:180 onnxruntime::Model::Model(...) ``, or without the arguments
_SOURCE = re.compile(
    r"[\w./-]*\.(?:cc|cpp|h):\d+ (?:(?:[\w<>&*:]+ )*?[\w<>:]*::~?\w+\([^()]*\)(?: const)?|\w+) "
)
#: ONNX Runtime's names for ONNX's types
_KINDS = {"FLOAT": "tensor(float)", "UINT8": "tensor(uint8)"}
_OPSET = re.compile(r"ONNX Runtime only \*guarantees\*.*Opset (\d+) is under.* till opset (\d+).*")


class OnnxRuntimeRuntime(BatchingRuntime):
    """Runs a network on the CPU; made by :meth:`from_engine` or :meth:`from_onnx`.

    Attributes:
        path: path of the opened file; None for a model in memory.
    """

    def __init__(
        self,
        session: Any,
        description: Description,
        *,
        precision: str,
        max_batch: int,
        source: str,
        teller: str,
        path: Path | None = None,
    ) -> None:
        self._session = session
        self.path = path
        self.description = description
        self.precision = precision
        self.max_batch = max_batch
        self.name = f"onnxruntime {require('onnxruntime', 'running this network').__version__}"
        self._source = source
        self._check_ends(source, teller)

    @classmethod
    def from_engine(
        cls, path: Path, sidecar: Sidecar, threads: int = 0, content: bytes | None = None
    ) -> OnnxRuntimeRuntime:
        """Open an engine written by ``build-engine --target onnxruntime``.

        Args:
            path, sidecar: the engine.
            threads: CPU threads; 0 for one per core.
            content: content of the engine, if it was read together with its sidecar.

        Raises:
            BadFile: ONNX Runtime cannot load it, or it is not what its sidecar describes.
            MissingRequirement: ONNX Runtime is not installed.
        """
        built = f"engine {path} (built with {sidecar.target_version})"
        session = _session(path if content is None else content, threads, built, "build it again")
        check_against_engine(sidecar, session.get_modelmeta().custom_metadata_map, path)
        return cls(
            session,
            sidecar.description,
            precision=sidecar.precision,
            max_batch=sidecar.batch.max,
            source=f"engine {path}",
            teller="its sidecar describes",
            path=path,
        )

    @classmethod
    def from_built(cls, path: Path, description: Description, source: Path) -> OnnxRuntimeRuntime:
        """Open an engine just built from the ONNX file ``source``, still without a sidecar.

        Raises:
            BadFile: ONNX Runtime cannot load it, or it is not what the ONNX file describes.
        """
        return cls(
            _session(path, 0, f"what it has built of {source}", "export it again"),
            description,
            precision="fp32",
            max_batch=1,
            source=str(source),
            teller="its metadata describe",
        )

    @classmethod
    def from_model(
        cls,
        content: bytes,
        description: Description,
        *,
        precision: str,
        max_batch: int,
        source: str,
        threads: int = 0,
        left_out: Sequence[str] = (),
    ) -> OnnxRuntimeRuntime:
        """Open a model in memory, such as a part of another model.

        Args:
            content: the serialised model.
            description: description of the model, including what it ends in.
            precision, max_batch: attributes of the runtime.
            source: how messages refer to the model.
            threads: CPU threads; 0 for one per core.
            left_out: ONNX Runtime's names of optimisations to disable.

        Raises:
            BadFile: ONNX Runtime cannot load it, or it does not match the description.
        """
        session = _session(content, threads, source, "export it again", left_out)
        return cls(
            session,
            description,
            precision=precision,
            max_batch=max_batch,
            source=source,
            teller="expected",
        )

    def try_once(self) -> None:
        """Run a black picture and close, as a graph that can be loaded may still fail to run.

        Raises:
            BadFile: the graph cannot be run.
        """
        with self:
            self.infer(empty_input(self.description, 1))

    @classmethod
    def from_onnx(cls, path: Path, threads: int = 0, max_batch: int = 8) -> OnnxRuntimeRuntime:
        """Open an ONNX file written by ``ssd-small export``.

        Raises:
            BadFile: the file is absent, not ONNX, or has no description of itself or a wrong one.
            MissingRequirement: ONNX Runtime or onnx is not installed.
        """
        onnx = require("onnx", "running an ONNX file")
        from ..artefacts.onnx_file import read_onnx

        # ONNX Runtime does not expose the operator's attributes, which must match the description
        model, description = read_onnx(path)
        half, tensors = onnx.TensorProto.FLOAT16, model.graph.initializer
        content = model.SerializeToString()
        session = _session(content, threads, f"ONNX file {path}", "export it again")
        return cls(
            session,
            description,
            precision="fp16" if any(t.data_type == half for t in tensors) else "fp32",
            max_batch=max_batch,
            source=f"ONNX file {path}",
            teller="its metadata describe",
            path=path,
        )

    def _check_ends(self, source: str, teller: str) -> None:
        """Refuse a file whose input and outputs do not match its description."""
        description = self.description
        images = input_of(description)
        size = [_KINDS[images.type], *(s if isinstance(s, int) else None for s in images.shape[1:])]
        inputs = [
            [i.type, *(side if isinstance(side, int) else None for side in i.shape[1:])]
            for i in self._session.get_inputs()
        ]
        outputs, expected = len(self._session.get_outputs()), len(output_names(description))
        if inputs != [size] or outputs != expected:
            raise BadFile(
                f"{source} has inputs {inputs} and {outputs} outputs; {teller} one of {size} and "
                f"{expected}: build it again"
            )

    def infer_batch(self, images: Images) -> HeadOutputs | list[Detections]:
        """See :class:`~ssd_small.runtimes.base.BatchingRuntime`."""
        try:
            outputs = self._session.run(None, {INPUT: images})
        except Exception as error:  # ONNX Runtime's exception types are not public
            raise BadFile(
                f"{self.name} cannot run {self._source}: {reason_from_error(error)}"
            ) from error
        if self.description.has_decode_nms:
            return detections_from_padded(*outputs)
        return HeadOutputs(*outputs)

    def close(self) -> None:
        """Free the session; a second call has no effect."""
        super().close()
        self._session = None


def advice_from_reason(reason: str, otherwise: str) -> str:
    """Say what to do about a file that ONNX Runtime cannot load."""
    if any(word in reason.lower() for word in ("opset", "ir version")):
        return "update onnxruntime, or export it again for an older one: --opset 19"
    return otherwise


def reason_from_error(error: Exception) -> str:
    """Return ONNX Runtime's message in one line, without error numbers and its source files."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    told = _SOURCE.sub(" ", _NUMBER.sub("", lines[0]))
    told = _OPSET.sub(r"it reads operator sets up to opset \2, and this is in opset \1", told)
    return one_line(" ".join(told.split()))


def _session(
    source: str | Path | bytes,
    threads: int,
    what: str,
    advice: str,
    left_out: Sequence[str] = (),
) -> Any:
    ort = require("onnxruntime", "running this network")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 4  # the exception reports failures
    # with AVX2 but no VNNI, 8-bit products are added in pairs, and their sums must not overflow
    settings.add_session_config_entry("session.x64quantprecision", "1")
    try:
        if isinstance(source, Path):
            source = str(source) if is_text(source) else source.read_bytes()
        return ort.InferenceSession(
            source, settings, ["CPUExecutionProvider"], disabled_optimizers=list(left_out)
        )
    except Exception as error:  # ONNX Runtime's exception types are not public
        reason = reason_from_error(error)
        raise BadFile(
            f"ONNX Runtime {ort.__version__} cannot load {what}: {reason}; "
            + advice_from_reason(reason, advice)
        ) from error


def is_text(path: Path) -> bool:
    """Whether a file's name is text, as ONNX Runtime requires; a name may be arbitrary bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
