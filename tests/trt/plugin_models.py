"""Graphs of one DecodeNms node, and what plain_build.py says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ssd_small.postprocess import PostprocessParams

HERE = Path(__file__).parent
NUM_PRIORS, NUM_CLASSES = 40, 6
INT32, FLOAT = "DataType.INT32", "DataType.FLOAT"
OUTPUTS = ["num_detections", "boxes", "scores", "labels", "prior_indices"]


@dataclass(frozen=True)
class Result:
    """What plain_build.py said."""

    status: int
    parsed: bool
    fields: list[str] | None
    fields_of_2: list[str] | None
    outputs: list[list[Any]]
    log: str
    plan: bytes


def plain_build(
    plugin: Path, model: bytes, folder: Path, environment: dict[str, str], max_batch: int = 8
) -> Result:
    """Run the third party's script on a model."""
    (folder / "x.onnx").write_bytes(model)
    plan = folder / "x.plan"
    plan.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, HERE / "plain_build.py", plugin, "x.onnx", plan, str(max_batch)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    return Result(
        done.returncode,
        report["parsed"],
        report["fields"],
        report["fields_of_2"],
        report["outputs"],
        "\n".join(report["log"]),
        plan.read_bytes() if plan.exists() else b"",
    )


def node_attributes(params: PostprocessParams, **others: Any) -> dict[str, Any]:
    values = params.to_dict()
    if params.clip_boxes:
        values |= {"clip_boxes": 1, "plugin_version": "2"}
    return values | others


def model_bytes(
    attributes: dict[str, Any],
    *,
    heads: str = "FLOAT",
    num_priors: int | str = NUM_PRIORS,
    num_classes: int = NUM_CLASSES,
    domain: str = "ssd_small",
    priors_given: bool = True,
) -> bytes:
    """A graph of inputs, two trivial layers and the node. ``priors_given``: as initializer."""
    helper, types = onnx.helper, onnx.TensorProto
    kind = getattr(types, heads)
    inputs = [
        helper.make_tensor_value_info("loc_in", kind, ["N", num_priors, 4]),
        helper.make_tensor_value_info("conf_in", kind, ["N", num_priors, num_classes]),
    ]
    constants = []
    if priors_given:
        priors = np.random.default_rng(0).uniform(0.1, 0.9, (NUM_PRIORS, 4)).astype(np.float32)
        constants.append(onnx.numpy_helper.from_array(priors, "priors"))
    else:
        inputs.append(helper.make_tensor_value_info("priors", types.FLOAT, [num_priors, 4]))
    nodes = [
        helper.make_node("Relu", ["loc_in"], ["loc"]),
        helper.make_node("Relu", ["conf_in"], ["conf"]),
        helper.make_node(
            "DecodeNms", ["loc", "conf", "priors"], OUTPUTS, domain=domain, **attributes
        ),
    ]
    outputs = [
        helper.make_tensor_value_info(name, types.INT32 if is_int else types.FLOAT, None)
        for name, is_int in zip(OUTPUTS, (True, False, False, True, True), strict=True)
    ]
    graph = helper.make_graph(nodes, "heads", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def expected_outputs(rows: int) -> list[list[Any]]:
    shapes = [[-1], [-1, rows, 4], *[[-1, rows]] * 3]
    kinds = [INT32, FLOAT, FLOAT, INT32, INT32]
    return [list(row) for row in zip(OUTPUTS, shapes, kinds, strict=True)]
