"""What is inside an engine: its sidecar, inputs and outputs, layers and element types."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..artefacts.sidecar import Sidecar, read_sidecar
from ..artefacts.tensors import tensors_of
from ..errors import MissingRequirement
from ..runtimes.tensorrt_module import MODULES


def inspect_engine(path: str | Path) -> dict[str, Any]:
    """Everything that can be told of an engine on this machine.

    Returns:
        ``sidecar``; ``tensors`` (name, mode, type, shape) and ``layers`` (count per kind) as
        the runtime tells them, or None with the reason in ``unknown``.

    Raises:
        BadFile: the engine or its sidecar is absent or damaged.
    """
    path = Path(path)
    sidecar = read_sidecar(path)
    result: dict[str, Any] = {"engine": str(path), "sidecar": sidecar.to_dict()}
    try:
        if sidecar.target in MODULES:
            return result | _from_tensorrt(path, sidecar)
        return result | _from_onnx(path)
    except MissingRequirement as error:
        # the sidecar is known all the same
        return result | {"tensors": _from_sidecar(sidecar), "layers": None, "unknown": str(error)}


def _from_onnx(path: Path) -> dict[str, Any]:
    """The optimised ONNX model of an onnxruntime engine."""
    from ..requirements import require

    onnx = require("onnx", "reading the layers of this engine")
    model = onnx.load(path)
    kind = onnx.TensorProto.DataType.Name
    tensors = [
        {
            "name": value.name,
            "mode": mode,
            "type": kind(value.type.tensor_type.elem_type),
            "shape": [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
        }
        for mode, values in (("input", model.graph.input), ("output", model.graph.output))
        for value in values
    ]
    layers = Counter(node.op_type for node in model.graph.node)
    return {"tensors": tensors, "layers": dict(layers.most_common())}


def _from_tensorrt(path: Path, sidecar: Sidecar) -> dict[str, Any]:
    """What the engine inspector tells; needs the engine's GPU."""
    from ..runtimes.tensorrt import TensorRtRuntime

    with TensorRtRuntime(path, sidecar, cuda_graph=False) as runtime:
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


def _from_sidecar(sidecar: Sidecar) -> list[dict[str, Any]]:
    """Inputs and outputs as the tool built them."""
    batch = f"{sidecar.batch['min']}..{sidecar.batch['max']}"
    return [tensor.to_dict() for tensor in tensors_of(sidecar.description, batch)]
