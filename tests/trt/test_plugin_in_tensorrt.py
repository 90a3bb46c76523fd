"""NVIDIA's registry, ONNX parser and builder take the plugin; run on the CPU, by a child process.

The child has no part of ssd_small: tests/trt/plain_build.py is what a third party writes.
Execution of the engine needs a GPU and is not executed here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plugin_libraries
import pytest

pytest.importorskip("onnx")

import onnx
from plugin_models import (
    NUM_CLASSES,
    NUM_PRIORS,
    Result,
    expected_outputs,
    model_bytes,
    node_attributes,
    plain_build,
)

from ssd_small.postprocess import PostprocessParams

pytestmark = [
    pytest.mark.slow,
    pytest.mark.trt,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx_libs") is None,
        reason="the Python package tensorrt-rtx is not installed",
    ),
]

HERE = Path(__file__).parent


@pytest.fixture(scope="session", params=["host", "cuda"])
def plugin(request: pytest.FixtureRequest) -> Path:
    """Host: the plugin's source over the CPU executor. CUDA: the library that is shipped."""
    if request.param == "host":
        return plugin_libraries.host_library_path()
    return plugin_libraries.cuda_library_path()


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The ONNX parser opens ``libtensorrt_rtx.so`` by that name, which the wheel does not have.

    Where the name does not resolve the parser ends the process.
    """
    spec = importlib.util.find_spec("tensorrt_rtx_libs")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = tmp_path_factory.mktemp("tensorrt_rtx")
    library = Path(spec.submodule_search_locations[0]) / "libtensorrt_rtx.so.1"
    (folder / "libtensorrt_rtx.so").symlink_to(library)
    inherited = os.environ.get("LD_LIBRARY_PATH")
    path = os.pathsep.join([str(folder), inherited] if inherited else [str(folder)])
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"LD_LIBRARY_PATH": path}


@pytest.fixture
def build(plugin: Path, environment: dict[str, str], tmp_path: Path) -> Callable[..., Result]:
    return lambda model: plain_build(plugin, model, tmp_path, environment)


@pytest.mark.parametrize(("heads", "clip"), [("FLOAT", False), ("FLOAT16", False), ("FLOAT", True)])
def test_what_the_exporter_writes_is_what_the_creator_reads(
    build: Any, heads: str, clip: bool
) -> None:
    """The parser drops attributes that the creator does not announce, without a word."""
    from ssd_small.export import decode_nms_node as exporter

    from ssd_small.artefacts.decode_nms import find_decode_nms

    helper, kind = onnx.helper, getattr(onnx.TensorProto, heads)
    extents = {"loc": ["N", NUM_PRIORS, 4], "conf": ["N", NUM_PRIORS, NUM_CLASSES]}
    values = [
        [helper.make_tensor_value_info(name + suffix, kind, shape) for suffix in ("_in", "")]
        for name, shape in extents.items()
    ]
    nodes = [helper.make_node("Relu", [f"{name}_in"], [name]) for name in extents]
    graph = helper.make_graph(nodes, "heads", *zip(*values, strict=True))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    params = PostprocessParams(
        keep_topk=0, keep_topk_per_class=11, activation="sigmoid", clip_boxes=clip
    )
    priors = np.full((NUM_PRIORS, 4), 0.5, np.float32)
    exporter.append_decode_nms(model, params, priors)
    exporter.drop_function(model)
    result = build(model.SerializeToString())
    assert result.status == 0, result.log
    node = find_decode_nms(model)
    read = [*result.fields_of_2, "plugin_version"] if clip else result.fields
    assert [attribute.name for attribute in node.attribute] == sorted(read)
    assert result.outputs == expected_outputs((NUM_CLASSES - 1) * 11)
    assert b"sigmoid\0" in result.plan


def test_nvidia_s_classes_read_what_the_plugin_says(
    plugin: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The virtual functions are where NVIDIA's code calls them, down to the last of the table."""
    done = subprocess.run(
        [sys.executable, HERE / "plain_create.py", plugin],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    for phase in ("BUILD", "RUNTIME"):
        state = report[phase]
        assert state["interfaces"] == [
            ["PLUGIN CREATOR_V3ONE", 1, 0],
            ["PLUGIN", 1, 0],
            ["PLUGIN_V3ONE_CORE", 1, 0],
            ["PLUGIN_V3ONE_BUILD", 1, 0],
            ["PLUGIN_V3ONE_RUNTIME", 1, 0],
        ]
        assert state["language"] == "CPP"
        assert state["name"] == ["DecodeNms", "1", ""]
        assert state["outputs"] == 5
        assert state["format_limit"] == 100
        assert state["timing_id"] == state["metadata"]
        assert "activation=sigmoid" in state["timing_id"]
        assert "keep_topk=5 " in state["timing_id"]
    assert report["refused"]
    assert [line.partition(":")[0] for line in report["log"]] == ["Severity.ERROR DecodeNms"]
    assert 'field "keep_top" is unknown' in report["log"][0]


@pytest.mark.parametrize("heads", ["FLOAT", "FLOAT16"])
@pytest.mark.parametrize(
    "params",
    [PostprocessParams(), PostprocessParams.coco(), PostprocessParams(clip_boxes=True)],
)
def test_an_engine_with_the_plugin_inside_is_built(
    build: Any, heads: str, params: PostprocessParams
) -> None:
    result = build(model_bytes(node_attributes(params), heads=heads))
    assert result.status == 0, result.log
    assert result.fields == list(PostprocessParams().to_dict())
    assert result.fields_of_2 == [*result.fields, "clip_boxes", "clip_edges"]
    assert result.outputs == expected_outputs(params.max_detections(NUM_PRIORS, NUM_CLASSES))
    assert b"DecodeNms" in result.plan


def test_every_attribute_arrives_in_the_engine(build: Any) -> None:
    params = PostprocessParams(
        score_threshold=0.31,
        iou_threshold=0.47,
        variances=(0.21, 0.43),
        activation="sigmoid",
        background_label=-1,
        pre_nms_topk=7654321,
        keep_topk_per_class=17,
        keep_topk=0,
        pixel_offset=1 / 321,
    )
    result = build(model_bytes(node_attributes(params)))
    assert result.status == 0, result.log
    assert result.outputs == expected_outputs(NUM_CLASSES * 17)
    plan = result.plan
    for value in (params.score_threshold, params.iou_threshold, params.pixel_offset):
        assert np.float32(value).tobytes() in plan
    assert np.asarray(params.variances, np.float32).tobytes() in plan
    assert np.int32(params.pre_nms_topk).tobytes() in plan
    assert b"sigmoid\0" in plan


def test_an_engine_that_clips_boxes_says_so(build: Any) -> None:
    params = PostprocessParams(clip_boxes=True)
    result = build(model_bytes(node_attributes(params, clip_edges=[2.71, 0.83])))
    assert result.status == 0, result.log
    assert b"clip_boxes" in result.plan
    assert np.asarray([2.71, 0.83], np.float32).tobytes() in result.plan
    plain = build(model_bytes(node_attributes(PostprocessParams())))
    assert b"clip_boxes" not in plain.plan


def test_attributes_left_out_take_their_defaults(build: Any) -> None:
    result = build(model_bytes({}))
    assert result.status == 0, result.log
    rows = PostprocessParams().max_detections(NUM_PRIORS, NUM_CLASSES)
    assert result.outputs == expected_outputs(rows)


@pytest.mark.parametrize(
    ("domain", "attributes"),
    [
        ("ssd_small", {"plugin_version": "1"}),
        ("ssd_small", {"plugin_version": "1", "plugin_namespace": ""}),
        ("ssd_small", {"plugin_version": "2"}),
        ("", {}),
        ("somebody.else", {}),
    ],
)
def test_the_node_is_found_by_its_name(build: Any, domain: str, attributes: dict[str, str]) -> None:
    model = model_bytes(node_attributes(PostprocessParams(), **attributes), domain=domain)
    result = build(model)
    assert result.status == 0, result.log


@pytest.mark.parametrize(
    "attributes", [{"plugin_version": "3"}, {"plugin_namespace": "another"}], ids=str
)
def test_another_version_or_namespace_is_not_found(build: Any, attributes: dict[str, str]) -> None:
    result = build(model_bytes(node_attributes(PostprocessParams(), **attributes)))
    assert not result.parsed
    assert "Plugin not found" in result.log


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"iou_threshold": 1.5}, "field iou_threshold: got 1.5, expected a number from 0 to 1"),
        ({"iou_threshold": 1}, "field iou_threshold: got int x 1, expected float x 1"),
        ({"variances": [0.1]}, "field variances: got float x 1, expected float x 2"),
        ({"activation": "relu"}, 'field activation: got "relu", expected softmax, sigmoid or none'),
        ({"keep_topk": -1}, "field keep_topk: got -1, expected 0 (no cut)"),
        ({"clip_boxes": 2, "plugin_version": "2"}, "field clip_boxes: got 2, expected 0 (no) or 1"),
    ],
    ids=str,
)
def test_a_wrong_attribute_is_named_in_the_log_of_tensorrt(
    build: Any, attributes: dict[str, Any], message: str
) -> None:
    result = build(model_bytes(node_attributes(PostprocessParams()) | attributes))
    assert result.status == 1
    assert not result.parsed
    assert f"DecodeNms: {message}" in result.log


def test_priors_may_be_an_input_and_their_number_symbolic(build: Any) -> None:
    model = model_bytes(
        node_attributes(PostprocessParams.coco()), num_priors="P", priors_given=False
    )
    result = build(model)
    assert result.status == 0, result.log
    assert result.outputs == expected_outputs(-1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1025}, "num_classes: got 1025, expected 1 to 1024"),
        ({"num_priors": NUM_PRIORS + 1}, "do not fit together"),
    ],
    ids=str,
)
def test_heads_that_do_not_fit_stop_the_build(
    build: Any, changes: dict[str, int], message: str
) -> None:
    result = build(model_bytes(node_attributes(PostprocessParams()), **changes))
    assert result.status == 1
    assert result.plan == b""
    assert message in result.log


def test_priors_in_half_precision_are_refused(build: Any) -> None:
    model = onnx.load_from_string(model_bytes(node_attributes(PostprocessParams())))
    priors = onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float16)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(priors, "priors"))
    result = build(model.SerializeToString())
    assert result.status == 1
    assert "DecodeNms: priors have data type 1, expected float (0)" in result.log
