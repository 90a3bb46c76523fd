"""Engines of ONNX Runtime with one fault: in what they say of themselves, or in what they do.

Each fault takes a working engine and writes a copy that only differs by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto
from ssd_small.export.build_engine import build_engine
from ssd_small.export.decode_nms_node import append_decode_nms, strip_decode_nms
from ssd_small.export.onnx_file import set_description, write_onnx
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.network import network_from_checkpoint
from ssd_small.artefacts.onnx_file import read_onnx
from ssd_small.artefacts.sidecar import sidecar_path
from ssd_small.postprocess import PostprocessParams

Record = Callable[[dict[str, Any]], None]
Graph = Callable[[ModelProto], None]


def write_source(weights: str, path: Path) -> Path:
    """Export a shipped network, with decode + NMS inside."""
    net, description = network_from_checkpoint(Path(weights))
    write_onnx(onnx_from_network(net, description.with_decode_nms(True)), path)
    return path


def write_engine(
    source: Path, engine: Path, params: PostprocessParams | None = None, **options: Any
) -> Path:
    """Build an engine of ONNX Runtime of an export, with other parameters where they are given."""
    if params is not None:
        model, description = read_onnx(source)
        strip_decode_nms(model)
        append_decode_nms(model, params, description.priors)
        set_description(model, replace(description, postprocess=params))
        source = engine.with_suffix(".onnx")
        write_onnx(model, source)
    build_engine(source, engine, BuildOptions("onnxruntime", **options))
    return engine


def plant(source: Path, target: Path, *, record: Record | None, graph: Graph | None) -> Path:
    """A copy of an engine with its description, its graph or both changed.

    Args:
        source: the engine, its sidecar beside it.
        target: where the copy goes, with a sidecar that fits it.
        record: changes the description, as JSON has it.
        graph: changes the graph.
    """
    sidecar = json.loads(sidecar_path(source).read_text())
    content = source.read_bytes()
    if graph is not None:
        model = onnx.load_model_from_string(content)
        graph(model)
        content = model.SerializeToString()
    if record is not None:
        record(sidecar["description"])
    sidecar["engine"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    target.write_bytes(content)
    sidecar_path(target).write_text(json.dumps(sidecar))
    return target
