"""A small untrained network in every form that a detector is opened from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from ssd_small.export.build_engine import build_engine
from ssd_small.export.decode_nms_node import append_decode_nms, strip_decode_nms
from ssd_small.export.onnx_file import set_description, write_onnx
from ssd_small.export.prepare import plugin_onnx
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.network import network_from_checkpoint
from ssd_small.artefacts.onnx_file import read_onnx
from ssd_small.detection.detector import Detector
from ssd_small.detection.load import load
from ssd_small.models.network import create_model

MODEL, CLASSES, WIDTH = "mobilenet_v1", 3, 0.1
LABELS = ("cat", "dog")
#: many of the network's scores for noise lie above it, and many below
OWN = 0.9


def noise(seed: int = 0, height: int = 60, width: int = 80) -> np.ndarray:
    """A picture ``[H, W, 3]`` uint8."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3)).astype(np.uint8)


def write_checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    torch.save(create_model(MODEL, num_classes=CLASSES, width=WIDTH).state_dict(), path)


def write_variant(source: Path, path: Path, own: float | None) -> None:
    """Another export of an ONNX file: with the threshold ``own`` inside, or without DecodeNms."""
    model, description = read_onnx(source)
    strip_decode_nms(model)
    params = description.postprocess
    params = params if own is None else replace(params, score_threshold=own)
    description = description.with_decode_nms(own is not None, params)
    if own is not None:
        append_decode_nms(model, params, description.priors)
    set_description(model, description)
    write_onnx(model, path)


def write_foreign(path: Path) -> None:
    """An ONNX file of another tool."""
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "graph", ends[:1], ends[1:]
    )
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), path)


class Models:
    """The network's files and the detectors they hold.

    Attributes:
        files: by kind: checkpoint, ONNX files and engines with DecodeNms (also with OWN) and
            without, an ONNX file for the plugin and one of another tool; do not write to them.
    """

    def __init__(self, folder: Path) -> None:
        """Write the files into ``folder``."""
        kinds = ("checkpoint.pth", "onnx.onnx", "own.onnx", "heads.onnx", "plugin.onnx")
        kinds += ("foreign.onnx", "engine.engine", "own_engine.engine", "heads_engine.engine")
        self.files = {name.partition(".")[0]: folder / name for name in kinds}
        self._write()

    def open(self, kind: str, **options: Any) -> Detector:
        """The detector that a file holds, with these options of ``load``."""
        if kind == "checkpoint":
            options = {"model": MODEL, "labels": LABELS} | options
        return load(self.files[kind], **options)

    def _write(self) -> None:
        files = self.files
        write_checkpoint(files["checkpoint"])
        net, description = network_from_checkpoint(files["checkpoint"], MODEL, labels=LABELS)
        write_onnx(onnx_from_network(net, description.with_decode_nms(True)), files["onnx"])
        write_variant(files["onnx"], files["own"], OWN)
        write_variant(files["onnx"], files["heads"], None)
        write_onnx(plugin_onnx(*read_onnx(files["onnx"])), files["plugin"])
        write_foreign(files["foreign"])
        options = BuildOptions("onnxruntime", max_batch=4)
        for source, engine in (
            ("onnx", "engine"),
            ("own", "own_engine"),
            ("heads", "heads_engine"),
        ):
            build_engine(files[source], files[engine], options)
