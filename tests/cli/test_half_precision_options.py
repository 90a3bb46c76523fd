"""``build-engine --keep-fp`` and ``--check-images``: a user has something to say of fp16."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

HALF = ("--target", "onnxruntime", "--precision", "fp16")


def convolutions(path: Path) -> list[str]:
    return [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]


@pytest.fixture(scope="module")
def underflowing(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The network with one convolution whose weights are lost in half, and the name of that.

    Its norm makes everything 1e-9 times as large and the next convolution 1e9 times, so that in
    float32 nothing changes but for roundings.
    """
    model = onnx.load(onnx_file)
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    layers = [node for node in model.graph.node if node.op_type == "Conv"]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, factor in (
        (norms[3].input[1], 1e-9),
        (norms[3].input[2], 1e-9),
        (layers[4].input[1], 1e9),
    ):
        values = onnx.numpy_helper.to_array(weights[name]) * np.float32(factor)
        weights[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
    path = tmp_path_factory.mktemp("underflow") / "u.onnx"
    onnx.save(model, path)
    return path, layers[3].name


@pytest.mark.slow
def test_named_nodes_stay_in_single_precision_and_are_recorded(call, onnx_file, tmp_path):
    first, second = convolutions(onnx_file)[2], convolutions(onnx_file)[7]
    engine = tmp_path / "x.engine"
    asked = ("--keep-fp", first, "--keep-fp", second, "--keep-fp", first)
    built = call("build-engine", onnx_file, *HALF, *asked, "-o", engine, "--json").fits().json
    assert built["options"]["keep_fp"] == [first, second]
    assert {first, second} <= set(built["checks"]["fp16_against_fp32"]["kept_fp32"])
    sidecar = json.loads(engine.with_name("x.engine.json").read_text())
    assert sidecar["options"]["keep_fp"] == [first, second]
    model = onnx.load(engine)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    own = {
        node.name: types.get(node.input[1])
        for node in model.graph.node
        if node.op_type in ("Conv", "FusedConv")
    }
    assert {own[first], own[second]} == {onnx.TensorProto.FLOAT}
    # what else is single: the layers that read the kept ones
    assert list(own.values()).count(onnx.TensorProto.FLOAT) <= 4
    plain = call("build-engine", onnx_file, *HALF, "-o", tmp_path / "p.engine", "--json").fits()
    assert plain.json["receipt"]["half_share"] > built["receipt"]["half_share"]
    assert "keep_fp" not in plain.json["options"]


def test_a_norm_that_is_folded_stands_for_its_convolution(call, onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    norm = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    layer = next(node for node in model.graph.node if node.output[0] == norm.input[0])
    options = ("--keep-fp", norm.name, "-o", tmp_path / "x.engine", "--json")
    built = call("build-engine", onnx_file, *HALF, *options).fits().json
    assert layer.name in built["checks"]["fp16_against_fp32"]["kept_fp32"]


def test_a_node_that_is_not_there_is_refused_with_one_that_is(call, onnx_file, tmp_path):
    name = convolutions(onnx_file)[3]
    output = tmp_path / "x.engine"
    line = call("build-engine", onnx_file, *HALF, "--keep-fp", f"{name}x", "-o", output).fails(2)
    assert f"{name}x" in line
    assert "did you mean" in line
    assert not output.exists()


@pytest.mark.parametrize("option", ["--keep-fp", "--check-images"])
def test_what_is_for_half_precision_is_refused_in_single(option, call, onnx_file, pictures):
    value = {"--keep-fp": convolutions(onnx_file)[0], "--check-images": pictures}[option]
    build = ("build-engine", onnx_file, "--target", "onnxruntime", option, value)
    call(*build).fails(2, option, "fp32")


@pytest.mark.slow
def test_the_users_pictures_take_the_place_of_the_synthetic_ones(
    call, onnx_file, pictures, tmp_path
):
    options = ("--check-images", pictures, "-o", tmp_path / "x.engine")
    built = call("build-engine", onnx_file, *HALF, *options, "--json").fits().json
    check = built["checks"]["fp16_against_fp32"]
    assert (check["pictures"], check["images"], check["verdict"]) == (2, "given", "equal")
    assert built["options"]["check_images"] == pictures.name
    told = call("build-engine", onnx_file, *HALF, *options).fits().out
    assert "fp16 against fp32 on 2 given pictures" in told
    plain = call("build-engine", onnx_file, *HALF, "-o", tmp_path / "y.engine", "--json").fits()
    assert plain.json["checks"]["fp16_against_fp32"]["images"] == "synthetic"


def test_half_precision_that_is_wrong_on_the_pictures_is_refused_and_one_layer_mends_it(
    underflowing, call, pictures, tmp_path
):
    path, layer = underflowing
    output = tmp_path / "x.engine"
    build = ("build-engine", path, *HALF, "--check-images", pictures, "-o", output)
    line = call(*build).fails(1, "different", "--keep-fp", "nothing was written")
    assert str(pictures) in line
    assert not output.exists()
    built = call(*build, "--keep-fp", layer, "--json").fits().json
    assert built["checks"]["fp16_against_fp32"]["verdict"] == "equal"


@pytest.mark.slow
def test_the_layer_that_is_wrong_is_found_by_the_name_that_keeps_it(
    underflowing, onnx_file, call, pictures, tmp_path
):
    import ssd_small
    from ssd_small.parity.heads_graphs import search_from_detectors

    path, layer = underflowing
    shown = [pictures / name for name in ("a.jpg", "b.png")]
    for keep, expected in (((), layer), (("--keep-fp", layer), None)):
        engine = tmp_path / f"{len(keep)}.engine"
        call("build-engine", path, *HALF, *keep, "-o", engine).fits()
        with ssd_small.load(onnx_file) as reference, ssd_small.load(engine) as own:
            found = search_from_detectors(reference, onnx_file, own, engine, shown)
        assert found is not None
        assert (found.first and found.first.name) == expected


def test_pictures_that_are_checked_on_are_not_written_over(call, onnx_file, pictures):
    build = ("build-engine", onnx_file, *HALF, "--check-images", pictures)
    call(*build, "-o", pictures / "a.jpg").fails(2, "a.jpg")


def test_pictures_that_are_none_are_named(call, onnx_file, tmp_path):
    build = ("build-engine", onnx_file, *HALF, "-o", tmp_path / "x.engine", "--check-images")
    call(*build, tmp_path).fails(4, "holds no image")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    call(*build, tmp_path).fails(4, "broken.png")
    assert not (tmp_path / "x.engine").exists()
