"""What is inside a file of ours (checkpoint, ONNX, engine, sidecar), in the same terms for all."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..artefacts.description import Description
from ..artefacts.sidecar import (
    ENGINE_SUFFIXES,
    Sidecar,
    check_against_engine,
    find_sidecar,
    read_engine,
    read_sidecar_file,
)
from ..artefacts.tensors import tensors_of
from ..errors import BadFile, MissingRequirement, reason_from_exception
from ..files import check_is_file
from ..models.shipped import advice_on_missing, find_shipped
from ..requirements import require
from ..runtimes.executed import Executed
from ..runtimes.tensorrt_module import MODULES

#: fields that a checkpoint without a record does not state
_UNSAID = (
    *("tool_version", "model", "width", "num_classes", "labels", "preprocessing", "postprocess"),
    *("levels", "clip", "has_decode_nms", "recipe", "training"),
)


def inspect_file(path: str | Path) -> dict[str, Any]:
    """Everything that this machine can tell about a file, JSON-ready.

    Returns:
        ``file``, ``kind`` (checkpoint, onnx, engine or sidecar), ``format`` and ``format_minor``,
        ``tool_version``, ``model``, ``width``, ``num_classes``, ``labels``, ``preprocessing``,
        ``postprocess``, ``levels``, ``clip``, ``has_decode_nms``, ``weights`` (hash) and
        ``tensors`` (name, mode, type, shape). Engines and sidecars also have ``target``,
        ``precision``, ``receipt`` and the other fields of :class:`Sidecar`; engines and ONNX files
        have ``layers`` (count per kind, or the runtime's list), or None with the reason in
        ``unknown`` if they cannot be read here. Engines for the CPU have ``executed``: how many
        layers this machine executes in which precision, or None with the reason in
        ``executed_unknown``. Checkpoints have ``recipe`` and ``training``. Fields that a
        checkpoint without a record does not state are None.

    Raises:
        BadFile: absent, damaged, or none of the four kinds.
        MissingRequirement: a package needed to read this kind of file is not installed.
    """
    path = Path(path)
    shipped = find_shipped(path)
    if shipped is not None:
        from ..artefacts.network import network_from_checkpoint

        # the package's index describes shipped checkpoints
        _, description = network_from_checkpoint(shipped.name)
        return _from_checkpoint(shipped.path) | _described(description) | {"format": 0}
    expected = "a checkpoint, ONNX file, engine or sidecar"
    check_is_file(path, expected, advice_on_missing(path, expected))
    suffix = path.suffix.lower()
    if find_sidecar(path) is not None or suffix in ENGINE_SUFFIXES:
        return _from_engine(path)
    if suffix == ".json":
        sidecar = read_sidecar_file(path)
        return _told("sidecar", path, _flat(sidecar))
    if suffix == ".onnx":
        return _from_onnx_file(path)
    return _from_checkpoint(path)


def _told(kind: str, path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values, with file and kind first; a file's own fields of these names are overridden."""
    return {"file": "", "kind": "", "format_minor": 0} | values | {"file": str(path), "kind": kind}


def _described(description: Description) -> dict[str, Any]:
    """The description's fields at the top level, with the tensors that follow from it."""
    values = description.to_dict()
    return values | {"tensors": [tensor.to_dict() for tensor in tensors_of(description)]}


def _flat(sidecar: Sidecar) -> dict[str, Any]:
    """A sidecar's fields and those of its description, at one level."""
    values = {"format_minor": 0} | sidecar.to_dict()
    del values["description"]
    batch = f"{sidecar.batch.min}..{sidecar.batch.max}"
    tensors = [tensor.to_dict() for tensor in tensors_of(sidecar.description, batch)]
    return _described(sidecar.description) | values | {"tensors": tensors, "layers": None}


def _from_engine(path: Path) -> dict[str, Any]:
    sidecar, content = read_engine(path)
    result = _told("engine", path, _flat(sidecar))
    try:
        if sidecar.target in MODULES:
            return result | _from_tensorrt(path, sidecar, content)
        onnx = require("onnx", "reading the layers of this engine")
        result |= _from_onnx_engine(onnx, path, sidecar, content)
    except MissingRequirement as error:
        # the sidecar is known all the same
        return result | {"unknown": error.command_line}
    try:
        return result | {"executed": _executed(path, sidecar, content).to_dict()}
    except (MissingRequirement, BadFile) as error:  # the layers are known even if it is damaged
        return result | {"executed": None, "executed_unknown": error.command_line}


def _executed(path: Path, sidecar: Sidecar, content: bytes) -> Executed:
    """What this machine executes of an engine for the CPU."""
    if sidecar.target == "openvino":
        from ..runtimes.openvino import OpenVinoRuntime

        runtime = OpenVinoRuntime.from_engine(path, sidecar, content)
        with runtime:
            return runtime.executed()
    from ..runtimes.onnxruntime_profile import executed_by_onnxruntime

    return executed_by_onnxruntime(content, sidecar.description, f"engine {path}")


def _from_onnx_engine(onnx: Any, path: Path, sidecar: Sidecar, content: bytes) -> dict[str, Any]:
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own exception types vary by version
        raise BadFile(
            f"engine {path} is no ONNX model, as its sidecar says "
            f"({reason_from_exception(error)}); build it again"
        ) from error
    if not model.HasField("graph"):
        raise BadFile(f"engine {path} holds no graph; build it again")
    check_against_engine(sidecar, {e.key: e.value for e in model.metadata_props}, path)
    return _from_model(onnx, model)


def _from_onnx_file(path: Path) -> dict[str, Any]:
    onnx = require("onnx", "inspecting an ONNX file")
    from ..artefacts.onnx_file import read_onnx

    model, description = read_onnx(path)
    return _told("onnx", path, _described(description)) | _from_model(onnx, model)


def _from_model(onnx: Any, model: Any) -> dict[str, Any]:
    """Inputs, outputs and node counts of an ONNX model."""
    tensors = [
        {
            "name": value.name,
            "mode": mode,
            "type": _type_name(onnx, value.type.tensor_type.elem_type),
            "shape": [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        }
        for mode, values in (("input", model.graph.input), ("output", model.graph.output))
        for value in values
    ]
    layers = Counter(node.op_type for node in model.graph.node)
    return {"tensors": tensors, "layers": dict(layers.most_common())}


def _type_name(onnx: Any, number: int) -> str:
    """Name of an element type; a file can hold any number."""
    try:
        return str(onnx.TensorProto.DataType.Name(number))
    except ValueError:
        return f"unknown ({number})"


def _from_checkpoint(path: Path) -> dict[str, Any]:
    require("torch", "inspecting a checkpoint")
    from ..artefacts.network import open_checkpoint

    opened = open_checkpoint(path)
    state, record = opened.state, opened.record
    weights = opened.weights_hash
    size = {"state_dict": len(state), "parameters": sum(v.numel() for v in state.values())}
    if record is None:
        plain = dict.fromkeys(_UNSAID) | {"weights": weights, "tensors": [], "format": 0}
        return _told("checkpoint", path, plain | size)
    said = {"format_minor": 0} | record.to_dict()
    del said["description"]
    own = _described(record.description)
    return _told(
        "checkpoint", path, own | said | {"tensors": own["tensors"], "weights": weights} | size
    )


def _from_tensorrt(path: Path, sidecar: Sidecar, content: bytes) -> dict[str, Any]:
    """Tensors and layers from TensorRT's engine inspector; needs the engine's GPU."""
    from ..runtimes.tensorrt import TensorRtRuntime

    with TensorRtRuntime(path, sidecar, cuda_graph=False, content=content) as runtime:
        trt, engine = importlib.import_module(MODULES[sidecar.target]), runtime.engine
        tensors = [
            {
                "name": name,
                "mode": engine.get_tensor_mode(name).name.lower(),
                "type": engine.get_tensor_dtype(name).name,
                "shape": list(engine.get_tensor_shape(name)),
            }
            for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors))
        ]
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return {"tensors": tensors, "layers": json.loads(text).get("Layers", [])}
