"""An ONNX file whose parts say different things of decode + NMS is refused wherever it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from ssd_small.artefacts.decode_nms_body import check_body, check_inlined  # noqa: E402
from ssd_small.artefacts.decode_nms_function import make_function, node_attributes  # noqa: E402
from ssd_small.artefacts.description import METADATA_KEY, description_from_spec  # noqa: E402
from ssd_small.artefacts.onnx_file import read_onnx  # noqa: E402
from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402
from ssd_small.postprocess import PostprocessParams  # noqa: E402

BUILD = ("--target", "onnxruntime")
OPSET = 19
DESCRIPTION = description_from_spec(get_spec("mobilenet_v1"), 3, 0.25)
PRESETS = [
    PostprocessParams(),
    PostprocessParams.coco(),
    PostprocessParams(activation="sigmoid", background_label=-1, score_threshold=0.3),
    PostprocessParams(activation="none", keep_topk=20, pre_nms_topk=50),
    PostprocessParams(clip_boxes=True),
]


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def with_metadata(model: onnx.ModelProto, **changed: object) -> None:
    """Change parameters in what the file says of itself."""
    (entry,) = (one for one in model.metadata_props if one.key == METADATA_KEY)
    values = json.loads(entry.value)
    values["postprocess"].update(changed)
    entry.value = json.dumps(values)


def with_attribute(model: onnx.ModelProto, name: str, value: object) -> None:
    (node,) = (one for one in model.graph.node if one.op_type == "DecodeNms")
    (attribute,) = (one for one in node.attribute if one.name == name)
    attribute.CopyFrom(onnx.helper.make_attribute(name, value))


def fixed_body(params: PostprocessParams, opset: int = OPSET) -> onnx.FunctionProto:
    """A body that takes nothing from its node, as if another tool had put the numbers in."""
    size = len(DESCRIPTION.priors), DESCRIPTION.num_classes
    body = make_function(params, *size, opset)
    values = node_attributes(params)
    for node in body.node:
        for one in node.attribute:
            if one.ref_attr_name:
                one.CopyFrom(onnx.helper.make_attribute(one.name, values[one.ref_attr_name]))
    return body


def others(params: PostprocessParams) -> dict[str, object]:
    """For each parameter a value that is another one."""
    return {
        "score_threshold": params.score_threshold * 1.1,
        "iou_threshold": params.iou_threshold - 0.02,
        "variances": (0.1, 0.1),
        "activation": "softmax" if params.activation == "sigmoid" else "sigmoid",
        "background_label": 1,
        "pre_nms_topk": params.pre_nms_topk - 2 if params.pre_nms_topk else 300,
        "keep_topk_per_class": 17,
        "keep_topk": params.keep_topk - 1 if params.keep_topk else 150,
        "pixel_offset": 0.0 if params.pixel_offset else 1 / 300,
        "clip_boxes": not params.clip_boxes,
    }


@pytest.mark.parametrize("name", list(others(PRESETS[0])))
def test_a_body_of_another_parameter_is_refused(name: str) -> None:
    params = PRESETS[0]
    wrong = fixed_body(replace(params, **{name: others(params)[name]}))
    with pytest.raises(BadFile, match=r"^x\.onnx contradicts itself: the function body .*again$"):
        check_body(wrong, DESCRIPTION, Path("x.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("params", PRESETS[1:], ids=["coco", "sigmoid", "none", "clipped"])
def test_a_body_of_another_parameter_is_refused_in_other_protocols(
    params: PostprocessParams,
) -> None:
    described = replace(DESCRIPTION, postprocess=params)
    for name, value in others(params).items():
        wrong = fixed_body(replace(params, **{name: value}))
        with pytest.raises(BadFile, match="contradicts itself"):
            check_body(wrong, described, Path(name))


@pytest.mark.parametrize("params", PRESETS, ids=["default", "coco", "sigmoid", "none", "clipped"])
def test_a_body_in_other_words_is_taken(params: PostprocessParams) -> None:
    described = replace(DESCRIPTION, postprocess=params)
    for opset in (18, 21):
        check_body(fixed_body(params, opset), described, Path("x.onnx"))


@pytest.mark.parametrize("threshold", [0.01, 1e-8])
def test_a_body_with_the_sigmoid_of_older_files_is_taken(threshold: float) -> None:
    params = replace(PRESETS[0], activation="sigmoid", score_threshold=threshold)
    described = replace(DESCRIPTION, postprocess=params)
    size = len(DESCRIPTION.priors), DESCRIPTION.num_classes
    older = make_function(params, *size, 19, one_sigmoid=True)
    assert "Sigmoid" in {node.op_type for node in older.node}
    check_body(older, described, Path("x.onnx"))
    older.node[0].doc_string = "rewritten"
    check_body(older, described, Path("x.onnx"))


def test_a_body_that_takes_too_much_memory_is_not_executed() -> None:
    body = fixed_body(PRESETS[0])
    big = onnx.numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64))
    body.node.insert(0, onnx.helper.make_node("Constant", [], ["large"], value=big))
    body.node.insert(1, onnx.helper.make_node("ConstantOfShape", ["large"], ["huge"]))
    with pytest.raises(BadFile, match="bytes in use"):
        check_body(body, DESCRIPTION, Path("x.onnx"))


def test_a_changed_activation_is_refused_wherever_the_file_is_opened(
    call: Callable, onnx_file: Path, pictures: Path, tmp_path: Path
) -> None:
    """Node and metadata agree; the body is left behind."""
    model = onnx.load(onnx_file)
    with_attribute(model, "activation", "sigmoid")
    with_metadata(model, activation="sigmoid")
    path = saved(model, tmp_path / "x.onnx")
    output = tmp_path / "x.engine"
    words = ("x.onnx contradicts itself", "softmax", "sigmoid")
    for more in ((), ("--heads",), ("--precision", "fp16")):
        call("build-engine", path, *BUILD, *more, "-o", output).fails(4, *words)
    call("build-engine", path, "--target", "tensorrt-rtx", "-o", output).fails(4, *words)
    assert not output.exists()
    call("detect", pictures, "--engine", path).fails(4, *words)
    call("inspect", path).fails(4, *words)


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
def test_attributes_that_are_not_the_metadata_are_refused(
    name: str, call: Callable, onnx_file: Path, tmp_path: Path
) -> None:
    model = onnx.load(onnx_file)
    with_attribute(model, name, 0.37)
    path = saved(model, tmp_path / "x.onnx")
    call("build-engine", path, *BUILD).fails(4, "x.onnx", "attributes")


def test_numbers_that_attributes_and_metadata_change_together_are_a_file_of_its_own(
    call: Callable, onnx_file: Path, tmp_path: Path
) -> None:
    """The body takes them from the node."""
    model = onnx.load(onnx_file)
    with_attribute(model, "iou_threshold", 0.5)
    with_metadata(model, iou_threshold=0.5)
    path = saved(model, tmp_path / "x.onnx")
    built = call("build-engine", path, *BUILD, "-o", tmp_path / "x.engine", "--json").fits().json
    assert built["description"]["postprocess"]["iou_threshold"] == 0.5


@pytest.fixture(scope="module")
def clipping() -> onnx.ModelProto:
    """A network that ends in a node of version 2."""
    from ssd_small.export.to_onnx import onnx_from_network

    from ssd_small.models.network import create_model

    net = create_model("mobilenet_v1", 3, 0.05).eval()
    params = PostprocessParams(clip_boxes=True)
    return onnx_from_network(
        net, description_from_spec(net.spec, 3, net.width, params=params, has_decode_nms=True)
    )


def test_what_clips_boxes_is_read_as_what_it_is(clipping: onnx.ModelProto, tmp_path: Path) -> None:
    path = saved(clipping, tmp_path / "x.onnx")
    _, described = read_onnx(path)
    assert described.postprocess == PostprocessParams(clip_boxes=True)


def without_attribute(model: onnx.ModelProto, name: str) -> None:
    (node,) = (one for one in model.graph.node if one.op_type == "DecodeNms")
    kept = [one for one in node.attribute if one.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda model: with_metadata(model, clip_boxes=False), "format"),
        (lambda model: with_metadata(model, clip_boxes=1), "clip_boxes"),
        (lambda model: with_attribute(model, "clip_boxes", 0), "clip_boxes 0"),
        (lambda model: with_attribute(model, "clip_boxes", 7), "clip_boxes 7"),
        (lambda model: with_attribute(model, "clip_edges", [0.5, 1.0]), r"cuts boxes at \(0.5"),
        (lambda model: with_attribute(model, "clip_edges", [1.0]), "1 clip_edges"),
        (lambda model: with_attribute(model, "plugin_version", "1"), "plugin_version '1'"),
        (lambda model: without_attribute(model, "plugin_version"), "plugin_version ''"),
        (lambda model: without_attribute(model, "clip_edges"), "0 clip_edges"),
        (lambda model: without_attribute(model, "clip_boxes"), "attributes"),
        (lambda model: with_version(model, 1), "version 1, but its parameters are those of"),
        (lambda model: with_version(model, 3), "newer ssd-small: it uses DecodeNms version 3"),
        (lambda model: with_version(model, 0), "version 0; this tool knows version 1 to 2"),
    ],
)
def test_a_node_of_version_2_that_contradicts_itself_is_refused(
    spoil: Callable, words: str, clipping: onnx.ModelProto, tmp_path: Path
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(clipping)
    spoil(model)
    with pytest.raises(BadFile, match=words):
        read_onnx(saved(model, tmp_path / "x.onnx"))


def with_version(model: onnx.ModelProto, version: int) -> None:
    (entry,) = (one for one in model.opset_import if one.domain == "ssd_small")
    entry.version = version


def test_standard_operators_that_do_not_clip_are_refused_where_clipping_is_described(
    clipping: onnx.ModelProto, tmp_path: Path
) -> None:
    from ssd_small.export.decode_nms_node import inlined

    flat = inlined(clipping)
    check_inlined(*read_onnx(saved(flat, tmp_path / "x.onnx")), tmp_path / "x.onnx")
    (edges,) = (
        one
        for one in flat.graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT and list(one.dims) == [2]
        if onnx.numpy_helper.to_array(one).tolist() == [1.0, 1.0]
    )
    edges.CopyFrom(onnx.numpy_helper.from_array(np.float32([9, 9]), edges.name))
    path = saved(flat, tmp_path / "y.onnx")
    with pytest.raises(BadFile, match=r"y\.onnx contradicts itself"):
        check_inlined(*read_onnx(path), path)


@pytest.fixture(scope="module")
def inline(onnx_file: Path) -> onnx.ModelProto:
    from ssd_small.export.decode_nms_node import inlined

    return inlined(onnx.load(onnx_file))


@pytest.mark.parametrize(
    "changed", [{"activation": "sigmoid"}, {"variances": [0.2, 0.2]}, {"keep_topk": 150}], ids=str
)
def test_operators_that_do_not_do_what_is_described_are_refused(
    changed: dict, call: Callable, inline: onnx.ModelProto, tmp_path: Path
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(inline)
    with_metadata(model, **changed)
    path = saved(model, tmp_path / "x.onnx")
    call("build-engine", path, *BUILD, "-o", tmp_path / "x.engine").fails(4, "x.onnx")


def test_inlined_operators_that_do_what_is_described_are_taken(
    inline: onnx.ModelProto, tmp_path: Path
) -> None:
    path = saved(inline, tmp_path / "x.onnx")
    check_inlined(*read_onnx(path), path)
