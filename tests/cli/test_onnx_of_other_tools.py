"""ONNX files that went through other tools: what these drop or move is made good, or named.

The tools themselves are not needed: what each does to a file is done here by hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BUILD = ("--target", "onnxruntime")


@pytest.fixture
def described(call, onnx_file, tmp_path) -> Path:
    """What ``inspect --json`` prints of the file as it was exported."""
    path = tmp_path / "described.json"
    path.write_text(call("inspect", onnx_file, "--json").fits().out)
    return path


def _without_metadata(source: Path, folder: Path) -> Path:
    """As onnx-graphsurgeon writes it, and polygraphy with it."""
    model = onnx.load(source)
    del model.metadata_props[:]
    model.producer_name = ""
    return _saved(model, folder / "surgeon.onnx")


def _saved(model, path: Path) -> Path:
    onnx.save(model, path)
    return path


def _detections(call, engine: Path, pictures: Path) -> list:
    lines = call("detect", pictures, "--engine", engine, "--score-threshold", 0.3, "--json").fits()
    found = [json.loads(line)["detections"] for line in lines.out.splitlines()]
    assert sum(map(len, found)) > 10
    return found


def test_the_body_that_the_version_converter_drops_is_written_anew(
    call, onnx_file, engine, pictures, tmp_path
):
    converted = onnx.version_converter.convert_version(onnx.load(onnx_file), 21)
    assert not converted.functions
    path = _saved(converted, tmp_path / "converted.onnx")
    call("build-engine", path, *BUILD, "-o", tmp_path / "x.engine").fits()
    expected = _detections(call, engine, pictures)
    # the networks use no operator that these two sets define differently
    assert _detections(call, tmp_path / "x.engine", pictures) == expected
    assert _detections(call, path, pictures) == expected


def test_a_description_brings_back_what_graph_surgeon_drops(
    call, onnx_file, engine, described, pictures, tmp_path
):
    bare = _without_metadata(onnx_file, tmp_path)
    built = tmp_path / "x.engine"
    call("build-engine", bare, *BUILD, "-o", built).fails(4, "graph-surgeon", "--description")
    assert not built.exists()
    call("build-engine", bare, *BUILD, "-o", built, "--description", described).fits()
    assert _detections(call, built, pictures) == _detections(call, engine, pictures)
    for source in (built, built.with_name("x.engine.json")):
        said = call("inspect", source, "--json").fits().json
        assert said["labels"] == ["cat", "dog"]
    # a sidecar, or what is printed of an engine, says the same
    again = tmp_path / "again.json"
    again.write_text(call("inspect", engine, "--json").fits().out)
    for told in (again, engine.with_name("m.engine.json")):
        call("build-engine", bare, *BUILD, "-o", built, "--description", told).fits()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_classes": 4, "labels": ["a", "b", "c"]}, "classes"),
        ({"clip": "none"}, "other prior boxes"),
        ({"levels": None}, "levels"),
        ({"model": None}, "describes no network"),
    ],
)
def test_the_description_of_another_network_is_refused(
    change, words, call, onnx_file, described, tmp_path
):
    values = json.loads(described.read_text()) | change
    other = tmp_path / "other.json"
    other.write_text(json.dumps(values))
    bare = _without_metadata(onnx_file, tmp_path)
    line = call("build-engine", bare, *BUILD, "--description", other).fails(4, "other.json")
    assert words in line


def test_a_description_that_is_none_is_refused(call, onnx_file, tmp_path):
    told = tmp_path / "told.json"
    for content in ("[1]", '"x"', "{}", "not json"):
        told.write_text(content)
        call("build-engine", onnx_file, *BUILD, "--description", told).fails(4, "told.json")


def test_weights_beside_the_model_are_read_or_missed_by_name(
    call, onnx_file, engine, pictures, tmp_path
):
    path = tmp_path / "outside.onnx"
    outside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(onnx.load(onnx_file), path, **outside)
    call("build-engine", path, *BUILD, "-o", tmp_path / "x.engine").fits()
    expected = _detections(call, engine, pictures)
    assert _detections(call, tmp_path / "x.engine", pictures) == expected
    assert _detections(call, path, pictures) == expected
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere.bin")
    for command in (("build-engine", path), ("inspect", path)):
        call(*command).fails(4, str(tmp_path / "weights.bin"), "does not exist")


@pytest.mark.slow
def test_constants_in_place_of_initializers_are_found(call, onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    priors = next(one for one in model.graph.initializer if one.name == "priors")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["priors"], value=priors))
    model.graph.initializer.remove(priors)
    path = _saved(model, tmp_path / "constants.onnx")
    for options in ((), ("--heads",), ("--precision", "fp16")):
        call("build-engine", path, *BUILD, *options, "-o", tmp_path / "x.engine").fits()


# --- export --inline


@pytest.fixture(scope="module")
def inline(onnx_file, tmp_path_factory) -> Path:
    """As ``export --inline`` writes it."""
    from ssd_small.export.decode_nms_node import inlined
    from ssd_small.export.onnx_file import write_onnx

    path = tmp_path_factory.mktemp("inline") / "inline.onnx"
    write_onnx(inlined(onnx.load(onnx_file)), path)
    return path


def test_an_inlined_file_has_standard_operators_and_its_description(call, inline, onnx_file):
    model = onnx.load(inline)
    assert not model.functions
    assert {entry.domain for entry in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    own, told = (call("inspect", path, "--json").fits().json for path in (onnx_file, inline))
    for name in ("labels", "postprocess", "preprocessing", "tensors", "has_decode_nms"):
        assert told[name] == own[name]


@pytest.mark.slow
def test_an_inlined_file_runs_and_builds_for_every_target(call, inline, engine, pictures, tmp_path):
    expected = _detections(call, engine, pictures)
    assert _detections(call, inline, pictures) == expected
    for options in ((), ("--heads",)):
        call("build-engine", inline, *BUILD, *options, "-o", tmp_path / "x.engine").fits()
        found = _detections(call, tmp_path / "x.engine", pictures)
        # heads are followed by the native library, whose scores may differ in rounding
        for one, other in zip(found, expected, strict=True):
            assert [box["name"] for box in one] == [box["name"] for box in other]
            scores = [[box["score"] for box in boxes] for boxes in (one, other)]
            np.testing.assert_allclose(*scores, rtol=1e-5)
    built = call("build-engine", inline, *BUILD, "--precision", "fp16", "--json").fits().json
    assert built["checks"]["fp16_against_fp32"]["detections"]["unexplained"] == 0


def test_an_inlined_file_without_the_names_of_its_heads_is_for_onnx_runtimes(
    call, inline, pictures, engine, tmp_path
):
    model = onnx.load(inline)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["renamed" if name == "conf" else name for name in names]
    del model.graph.value_info[:]
    path = _saved(model, tmp_path / "slim.onnx")
    assert _detections(call, path, pictures) == _detections(call, engine, pictures)
    call("build-engine", path, *BUILD, "--heads").fails(4, "--inline", "another tool")


@pytest.mark.parametrize("field", ["score_threshold", "iou_threshold", "keep_topk_per_class"])
def test_a_description_of_other_suppression_than_an_inlined_file_has_is_refused(
    field, call, inline, described, tmp_path
):
    bare = _without_metadata(inline, tmp_path)
    call("build-engine", bare, *BUILD, "--description", described).fits()
    told = json.loads(described.read_text())
    told["postprocess"][field] = {"keep_topk_per_class": 7}.get(field, 0.45)
    described.write_text(json.dumps(told))
    line = call("build-engine", bare, *BUILD, "--description", described).fails(4, field)
    assert "described.json" in str(line)


def test_a_renamed_input_is_named(call, onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    for node in model.graph.node:
        node.input[:] = ["input" if name == "images" else name for name in node.input]
    model.graph.input[0].name = "input"
    path = _saved(model, tmp_path / "renamed.onnx")
    call("inspect", path).fails(4, "has inputs ['input']", "expected ['images']")


def test_weights_behind_a_symbolic_link_are_refused_as_that(call, onnx_file, tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(
        onnx.load(onnx_file), path, save_as_external_data=True, location="w", size_threshold=0
    )
    (tmp_path / "w").rename(tmp_path / "blob")
    (tmp_path / "w").symlink_to("blob")
    call("inspect", path).fails(4, "symbolic link", "copy the file itself")


def test_weights_that_may_not_be_read_are_not_called_a_wrong_file(onnx_file, tmp_path, monkeypatch):
    from ssd_small.artefacts.onnx_file import read_onnx
    from ssd_small.errors import BadFile

    path, opened = tmp_path / "m.onnx", Path.open
    onnx.save(onnx.load(onnx_file), path, save_as_external_data=True, location="w")

    def refused(self, *words, **more):
        if self.name == "w":
            raise PermissionError(13, "Permission denied")
        return opened(self, *words, **more)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(BadFile, match=r"cannot read .*w: Permission denied; make it readable"):
        read_onnx(path)


def test_weights_of_another_shape_than_their_layer_takes_end_in_a_line(
    call, onnx_file, pictures, tmp_path
):
    model = onnx.load(onnx_file)
    # the first convolution gets a channel more than the picture has
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    values = onnx.numpy_helper.to_array(weight)
    values = np.concatenate((values, values[:, :1]), axis=1)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    path = _saved(model, tmp_path / "torn.onnx")
    call("build-engine", path, *BUILD).fails(4, "torn.onnx contradicts itself")
    call("detect", pictures, "--engine", path).fails(4, "cannot run ONNX file", "torn.onnx")
    call("doctor", path).fails(4, "cannot run ONNX file", "torn.onnx")


def test_doctor_says_whether_an_onnx_file_runs_here(call, onnx_file, tmp_path):
    said = call("doctor", onnx_file, "--json").fits().json
    assert said["runs_here"]
    assert [one["subject"] for one in said["engine"]] == ["ONNX file", "onnxruntime", "opening"]
    call("doctor", _without_metadata(onnx_file, tmp_path)).fails(4, "graph-surgeon")


def test_kinds_of_export_exclude_each_other(call, tmp_path):
    for pair in (("--inline", "--heads"), ("--inline", "--plugin-only")):
        line = call("export", "--model", "vgg16", *pair, "-o", tmp_path / "x.onnx").fails(2, *pair)
        assert "exclude each other" in line
