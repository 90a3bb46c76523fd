"""The network to serve from a model repository: an ONNX file, or an engine with its sidecar."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from ...artefacts.description import Description
from ...artefacts.sidecar import ENGINE_SUFFIXES, Sidecar, find_sidecar, read_engine
from ...errors import UsageError
from ...files import read_bytes
from ...requirements import require

#: pictures per call of a network that has no limit of its own
USUAL_BATCH = 8
#: platform and name of the model file for each backend, as Triton expects them
PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}


@dataclass(frozen=True)
class SourceChanges:
    """Changes to an ONNX file for an older server.

    Attributes:
        opset: operator set to convert to; None to keep it.
        ir_version: version of the file's format; None to keep it.
        inline: whether to replace the DecodeNms function by standard operators.
    """

    opset: int | None = None
    ir_version: int | None = None
    inline: bool = False

    @property
    def asked(self) -> str | None:
        """An option that requests a change; None if no change is requested."""
        given = {
            "--opset": self.opset is not None,
            "--ir-version": self.ir_version is not None,
            "--inline": self.inline,
        }
        return next((option for option, is_given in given.items() if is_given), None)


@dataclass(frozen=True, repr=False)
class ServedNetwork:
    """A network in the form in which a server executes it.

    Attributes:
        backend: Triton's name of the backend, ``onnxruntime`` or ``tensorrt``.
        content: content of the model file.
        description: the network's description of itself.
        max_batch: most pictures per call.
        opt_batch: batch size that it was tuned for; None if it was not tuned.
        picture_size: height and width for warming up a network that takes pictures of any size.
        facts: facts about how it was made, by name.
        needs_plugin: whether the plugin executes DecodeNms.
    """

    backend: Literal["onnxruntime", "tensorrt"]
    content: bytes
    description: Description
    max_batch: int
    opt_batch: int | None = None
    picture_size: tuple[int, int] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    needs_plugin: bool = False

    @property
    def file_name(self) -> str:
        """The name that Triton expects for the model file."""
        return FILES[self.backend]


def network_from_file(
    path: Path, changes: SourceChanges, max_batch: int | None = None
) -> ServedNetwork:
    """Read the network of an ONNX file or engine.

    Args:
        path: ONNX file from ``ssd-small export``, or engine with its sidecar beside it.
        changes: changes to make to an ONNX file.
        max_batch: most pictures per call; default: as many as an engine takes, 8 for an ONNX file.

    Raises:
        BadFile: the file is missing, damaged or not from this package.
        UsageError: Triton cannot serve it, or changes to an engine are requested.
        CheckFailed: after the changes the outputs differ.
    """
    if find_sidecar(path) is not None or path.suffix.lower() in ENGINE_SUFFIXES:
        return _network_from_engine(path, changes, max_batch)
    return _network_from_onnx(path, changes, max_batch or USUAL_BATCH)


def _network_from_engine(
    path: Path, changes: SourceChanges, max_batch: int | None
) -> ServedNetwork:
    sidecar, content = read_engine(path)
    if sidecar.target == "tensorrt-rtx":
        raise UsageError(
            f"{path} is a plan of TensorRT for RTX, which Triton cannot load: its backend links "
            "the full TensorRT; build one with 'build-engine --target tensorrt', or pass the ONNX "
            "file"
        )
    if sidecar.target == "openvino":
        raise UsageError(
            f"{path} is an engine of OpenVINO, for which no repository is written; pass the ONNX "
            "file, or build one with 'build-engine --target onnxruntime'"
        )
    if changes.asked:
        raise UsageError(
            f"{changes.asked} does not go with the engine {path}, which is made for one runtime; "
            "pass the ONNX file"
        )
    batch = sidecar.batch
    if batch.min > 1:
        raise UsageError(
            f"{path} takes batches of {batch.min} to {batch.max}, and Triton hands over single "
            "pictures too; build it with --min-batch 1"
        )
    if max_batch is not None and max_batch > batch.max:
        raise UsageError(
            f"--max-batch {max_batch}: {path} takes at most {batch.max}; build it with a larger "
            "--max-batch"
        )
    is_plan = sidecar.target == "tensorrt"
    most = max_batch or batch.max
    return ServedNetwork(
        backend="tensorrt" if is_plan else "onnxruntime",
        content=content,
        description=sidecar.description,
        max_batch=most,
        opt_batch=min(batch.opt, most) if is_plan else None,
        picture_size=sidecar.options.opt_picture,
        facts=_facts_from_sidecar(sidecar),
        needs_plugin=is_plan and sidecar.description.has_decode_nms,
    )


def _facts_from_sidecar(sidecar: Sidecar) -> dict[str, str]:
    facts = {
        "target": sidecar.target,
        "target_version": sidecar.target_version,
        "precision": sidecar.precision,
        "engine_sha256": sidecar.engine.sha256,
        "onnx_sha256": sidecar.onnx.sha256,
        "batch": f"{sidecar.batch.min} to {sidecar.batch.max}, tuned for {sidecar.batch.opt}",
        "compute_capabilities": ", ".join(sidecar.compute_capabilities),
        "plugin_sha256": sidecar.plugin.sha256 if sidecar.plugin else "",
    }
    return {name: value for name, value in facts.items() if value}


def _network_from_onnx(path: Path, changes: SourceChanges, max_batch: int) -> ServedNetwork:
    require("onnx", "reading an ONNX file")
    from ...artefacts.onnx_file import read_onnx
    from .older_onnx import changed_onnx, served_content

    model, description = read_onnx(path)
    original = read_bytes(path, "an ONNX file of 'ssd-small export'")
    if changes.asked:
        content = changed_onnx(model, description, changes, path)
    else:
        content = served_content(original, model)
    return ServedNetwork(
        backend="onnxruntime",
        content=content,
        description=description,
        max_batch=max_batch,
        facts={"onnx_sha256": sha256(original).hexdigest()},
    )
