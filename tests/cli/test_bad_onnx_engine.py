"""build-engine, detect and bench with files that are not what they should be."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from ssd_small.errors import MissingRequirement

onnx = pytest.importorskip("onnx")


def _described(model, **changes) -> None:
    entry = next(p for p in model.metadata_props if p.key == "ssd_small")
    entry.value = json.dumps({**json.loads(entry.value), **changes})


def _operator_version(model) -> None:
    next(o for o in model.opset_import if o.domain == "ssd_small").version = 2


def _node(model):
    return next(n for n in model.graph.node if n.op_type == "DecodeNms")


def _unknown_attribute(model) -> None:
    _node(model).attribute.append(onnx.helper.make_attribute("foo", 1.0))


def _other_threshold(model) -> None:
    next(a for a in _node(model).attribute if a.name == "score_threshold").f = 0.77


def _not_ours(model) -> None:
    del model.metadata_props[:]


def _damaged(model) -> None:
    next(p for p in model.metadata_props if p.key == "ssd_small").value = '{"a'


def _a_list(model) -> None:
    next(p for p in model.metadata_props if p.key == "ssd_small").value = "[1]"


CHANGES = {
    "foreign": (_not_ours, "not written by 'ssd-small export'"),
    "operator version": (_operator_version, "version 2"),
    "unknown attribute": (_unknown_attribute, "foo"),
    "other attribute value": (_other_threshold, "not the parameters"),
    "damaged description": (_damaged, "damaged description"),
    "list as description": (_a_list, "damaged description"),
    "format": (lambda m: _described(m, format=9), "format 9"),
    "classes": (lambda m: _described(m, num_classes=9), "labels for 9 classes"),
    "no levels": (lambda m: _described(m, levels=[]), "incompletely"),
    "width": (lambda m: _described(m, width="x"), "incompletely"),
    "preprocessing": (lambda m: _described(m, preprocessing={}), "incompletely"),
    "heads": (
        lambda m: _described(m, has_decode_nms=False),
        "DecodeNms node that it does not describe",
    ),
    "operator": (lambda m: setattr(m.graph.node[3], "op_type", "Frob"), "Frob"),
    "ir version": (lambda m: setattr(m, "ir_version", 99), "ir_version 99"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_onnx(kind, call, onnx_file, tmp_path):
    change, word = CHANGES[kind]
    model = onnx.load(onnx_file)
    change(model)
    onnx.save(model, tmp_path / "x.onnx")
    call("build-engine", tmp_path / "x.onnx").fails(4, "x.onnx", word)
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


@pytest.mark.parametrize("length", [0, 10, 300000])
def test_truncated_onnx(length, call, onnx_file, tmp_path):
    (tmp_path / "x.onnx").write_bytes(onnx_file.read_bytes()[:length])
    call("build-engine", tmp_path / "x.onnx").fails(4, "x.onnx", "not a valid ONNX file")
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


def test_missing_onnx_folder_and_text(call, tmp_path):
    (tmp_path / "t.onnx").write_text("hello")
    call("build-engine", tmp_path / "none.onnx").fails(4, "none.onnx", "ssd-small export")
    call("build-engine", tmp_path, "-o", tmp_path / "e").fails(4, "Is a directory")
    call("build-engine", tmp_path / "t.onnx").fails(4, "t.onnx")


def test_an_engine_never_overwrites_its_onnx_file(call, onnx_file):
    before = onnx_file.read_bytes()
    call("build-engine", onnx_file, "-o", onnx_file).fails(2, "would overwrite")
    assert onnx_file.read_bytes() == before


@pytest.mark.parametrize("option", ["--min-batch", "--opt-batch", "--max-batch"])
def test_a_batch_beyond_every_engine_is_a_usage_error(option, call, onnx_file, tmp_path):
    build = ("build-engine", onnx_file, "-o", tmp_path / "e")
    call(*build, option, 99999999999).fails(2, option, "99999999999 is not in the range")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def sidecar(own_engine: Path):
    """Change a value of the sidecar: path of keys, new value."""
    file = own_engine.with_name("m.engine.json")

    def change(*keys: str, to: object) -> None:
        values = json.loads(file.read_text())
        inner = values
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        file.write_text(json.dumps(values))

    return change


SIDECARS = [
    (("format",), 0, "format"),
    (("format",), 3, "newer ssd-small"),
    (("format_minor",), -1, "format"),
    (("target",), "foo", "foo"),
    (("batch",), None, "damaged"),
    (("batch", "max"), "x", "damaged"),
    (("batch", "max"), 0, "damaged"),
    (("batch", "opt"), 9, "batch"),
    (("engine",), None, "damaged"),
    (("engine", "bytes"), None, "engine"),
    (("precision",), "fp8", "precision"),
    (("onnx",), {}, "onnx"),
    (("onnx", "file"), None, "onnx"),
    (("receipt",), None, "receipt"),
    (("receipt", "half_share"), "all", "receipt"),
    (("plugin",), {}, "plugin"),
    (("compute_capabilities",), [8.6], "compute_capabilities"),
    (("engine", "sha256"), "00", "SHA-256"),
    (("description",), None, "description"),
    (("description",), [], "description"),
    (("description", "format"), 0, "format 0"),
    (("description", "labels"), ["a"], "1 labels for 3 classes"),
    (("description", "num_classes"), 7, "2 labels for 7 classes"),
    (("description", "levels"), [], "incompletely"),
    (("description", "has_decode_nms"), False, "another has_decode_nms"),
    (("description", "preprocessing", "height"), 200, "input size"),
    (("description", "preprocessing", "height"), "200", "height"),
    (("description", "preprocessing", "interpolation"), "foo", "interpolation"),
    (("description", "preprocessing", "color_order"), "XYZ", "color_order"),
    (("description", "preprocessing", "mean"), [1, 2], "preprocessing.mean"),
    (("description", "preprocessing", "std"), [0, 0, 0], "preprocessing.std"),
    (("description", "postprocess", "iou_threshold"), 7, "iou_threshold"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("keys", "value", "word"), SIDECARS)
def test_changed_sidecar(keys, value, word, call, own_engine, sidecar, pictures):
    sidecar(*keys, to=value)
    call("detect", "--engine", own_engine, pictures).fails(4, "m.engine", word)
    call("doctor", own_engine).fails(4, "m.engine", word)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _foreign_operator(content: bytes) -> bytes:
    model = onnx.load_from_string(content)
    model.graph.node[3].op_type = "Frob"
    return model.SerializeToString()


def _output_missing(content: bytes) -> bytes:
    model = onnx.load_from_string(content)
    del model.graph.output[-1]
    return model.SerializeToString()


@pytest.mark.parametrize("change", [_cut, _foreign_operator, _output_missing])
def test_doctor_says_no_to_what_detect_refuses(change, call, own_engine, sidecar, pictures):
    """The sidecar fits these bytes; only opening them tells."""
    content = change(own_engine.read_bytes())
    own_engine.write_bytes(content)
    sidecar("engine", "bytes", to=len(content))
    sidecar("engine", "sha256", to=sha256(content).hexdigest())
    refused = call("detect", "--engine", own_engine, pictures).fails(4, "m.engine")
    assert call("doctor", own_engine).fails(4) == refused


def test_doctor_runs_what_it_says_yes_to(call, engine, monkeypatch):
    shown = call("doctor", engine, "--json").fits().json
    assert shown["runs_here"]
    assert "runs it on an empty picture" in shown["engine"][-1]["state"]

    def refuse(*arguments: object) -> None:
        raise MissingRequirement("no memory; use a larger machine")

    monkeypatch.setattr("ssd_small.detection.detector.Detector.__call__", refuse)
    shown = call("doctor", engine, "--json")
    assert (shown.code, shown.json["runs_here"]) == (3, False)
    last = shown.json["engine"][-1]
    assert (last["fine"], last["remedy"]) == (False, "use a larger machine")


def test_a_field_that_a_newer_minor_version_added_is_ignored(call, own_engine, sidecar, pictures):
    sidecar("format_minor", to=3)
    sidecar("novelty", to={"a": [1]})
    sidecar("description", "preprocessing", "novelty", to=None)
    call("detect", "--engine", own_engine, pictures).fits()


@pytest.mark.parametrize("command", ["inspect", "doctor"])
@pytest.mark.parametrize(
    ("key", "value"), [("target", None), ("onnx", {}), ("receipt", []), ("plugin", "x")]
)
def test_changed_sidecar_is_not_described(command, key, value, call, own_engine, sidecar):
    sidecar(key, to=value)
    call(command, own_engine).fails(4, "m.engine.json", key)


@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b"null", b"\xff\xfe\x00", b"[" * 99999])
def test_sidecar_that_is_none(content, call, own_engine, pictures):
    own_engine.with_name("m.engine.json").write_bytes(content)
    call("detect", "--engine", own_engine, pictures).fails(4, "m.engine.json")


def test_engine_alone_absent_or_swapped(call, own_engine, pictures, tmp_path, onnx_file):
    detect = ("detect", pictures, "--engine")
    call(*detect, tmp_path / "none").fails(4, "does not exist", "build-engine")
    call(*detect, tmp_path).fails(4, "is a folder")
    call(*detect, onnx_file).fits()
    own_engine.write_bytes(onnx_file.read_bytes())
    call(*detect, own_engine).fails(4, "SHA-256")
    own_engine.with_name("m.engine.json").unlink()
    call(*detect, own_engine).fails(4, "no sidecar", "m.engine.json")
    call("bench", "--engine", own_engine).fails(4, "no sidecar")


def test_options_that_do_not_go_with_the_engine(call, engine, pictures):
    detect = ("detect", "--engine", engine, pictures)
    call(*detect, "--model", "vgg16").fails(2, "--engine", "--model")
    call(*detect, "--width", "0.5").fails(2, "--width")
    call(*detect, "--batch", "0").fails(2, "--batch")
    call(*detect, "--threads", "-1").fails(2, "--threads")
    call(*detect, "--threads", "100000").fails(2, "--threads")
    call(*detect, "--score-threshold", "nan").fails(2, "--score-threshold")
    call("detect", pictures).fails(2, "--engine")
    call("bench", "--engine", engine, "--batch", "9", "--seconds", "0").fails(2, "takes 1 to 8")
    call("bench", "--engine", engine, "--seconds", "nan").fails(2, "--seconds")
    call("bench", "--model", "nope").fails(2, "nope")


def test_a_batch_larger_than_the_engine_takes_is_cut(call, engine, pictures):
    call("detect", "--engine", engine, pictures, "--batch", "1000", "--json").fits()


def test_a_graph_that_would_take_gigabytes_is_neither_built_nor_run(
    call, onnx_file, pictures, tmp_path
):
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(onnx_file)
    shape = numpy_helper.from_array(np.array([32768, 32768]), "huge_shape")
    model.graph.initializer.append(shape)
    huge = helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"])
    least = helper.make_node("ReduceMax", ["huge"], ["huge_max"], keepdims=0)
    scaled = helper.make_node("Add", ["images", "huge_max"], ["huge_images"])
    for node in model.graph.node:
        node.input[:] = ["huge_images" if name == "images" else name for name in node.input]
    nodes = [huge, least, scaled, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path = tmp_path / "huge.onnx"
    onnx.save(model, path)
    build = ("build-engine", path, "--target", "onnxruntime", "-o", tmp_path / "x.engine")
    words = ("would have 42", "bytes in use at its ConstantOfShape node")
    for command in (build, ("detect", "--engine", path, pictures), ("inspect", path)):
        call(*command).fails(4, *words)
    assert not (tmp_path / "x.engine").exists()
