"""``build-engine --precision int8``: what is quantised, what is told of it, and what is refused."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

INT8 = ("--target", "onnxruntime", "--precision", "int8", "--calibration")


def nodes(path: Path, kind: str) -> list[Any]:
    return [node for node in onnx.load(path).graph.node if node.op_type == kind]


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def built(request, onnx_file: Path, pictures: Path, tmp_path_factory: Any) -> Path:
    if find_spec(request.param) is None:  # importing OpenVINO itself would report it
        pytest.skip(f"could not import '{request.param}'")
    from ssd_small.export.build_engine import build_engine

    from ssd_small.artefacts.build_options import BuildOptions
    from ssd_small.artefacts.int8_options import Int8Options

    path = tmp_path_factory.mktemp("int8") / "m.int8.engine"
    options = BuildOptions(request.param, "int8", int8=Int8Options(pictures))
    build_engine(onnx_file, path, options)
    return path


def test_every_convolution_is_behind_q_dq_and_counted(built, onnx_file, pictures):
    sidecar = json.loads(built.with_name("m.int8.engine.json").read_text())
    receipt, count = sidecar["receipt"], len(nodes(onnx_file, "Conv"))
    assert sidecar["precision"] == "int8"
    assert (receipt["quantised"], receipt["kept"], receipt["kept_layers"]) == (count, 0, {})
    assert receipt["types"] == {"INT8": count, "UINT8": count}
    # counted here in the engine itself
    dequantised = {node.output[0] for node in nodes(built, "DequantizeLinear")}
    convolutions = nodes(built, "Conv")
    assert len(convolutions) == count
    assert all(set(node.input[:2]) <= dequantised for node in convolutions)
    content = b"".join((pictures / name).read_bytes() for name in ("a.jpg", "b.png"))
    assert sidecar["calibration"] == {
        "digest": hashlib.sha256(content).hexdigest(),
        "count": 2,
        "method": "percentile",
        "map": {},
    }


@pytest.mark.slow
def test_the_engine_runs_and_its_sidecar_is_read_as_it_was_written(built, pictures, call):
    from ssd_small.artefacts.sidecar import Sidecar, read_sidecar
    from ssd_small.errors import BadFile

    assert call("detect", "--engine", built, pictures / "a.jpg", "--json").fits().json
    sidecar = read_sidecar(built)
    assert Sidecar.from_dict(sidecar.to_dict(), built) == sidecar
    told = call("inspect", built, "--json").fits().json
    count, lines = sidecar.receipt.int8.quantised, call("inspect", built).fits().out
    assert f"{count} of {count + sidecar.receipt.int8.kept} convolutions (" in lines
    assert f"by percentile, sha256 {sidecar.calibration.digest}" in lines
    assert told["layers"]["QuantizeLinear"] > 0
    values = sidecar.to_dict()
    values["receipt"]["kept"] += 1
    with pytest.raises(BadFile, match="kept"):
        Sidecar.from_dict(values, built)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_an_int8_network_is_built_again_in_no_other_precision(
    precision, built, pictures, call, tmp_path
):
    """It would be executed in INT8, and called what was asked for."""
    target = "openvino" if precision == "bf16" else "onnxruntime"
    if find_spec(target) is None:
        pytest.skip(f"could not import '{target}'")
    more = ("--calibration", pictures) if precision == "int8" else ()
    output = tmp_path / "again.engine"
    asked = ("--target", target, "--precision", precision, *more, "-o", output)
    call("build-engine", built, *asked).fails(2, built.name, "in INT8 already", "float32")
    assert not output.exists()


def test_a_network_that_was_quantised_elsewhere_is_taken_as_it_is(
    built, onnx_file, pictures, call, tmp_path
):
    from ssd_small.artefacts.sidecar import read_sidecar

    output = tmp_path / "again.engine"
    asked = ("--target", "onnxruntime", "--precision", "int8", "-o", output)
    call("build-engine", onnx_file, *asked).fails(2, "needs --calibration FOLDER")
    call("build-engine", built, *asked, "--keep-fp", "x").fails(2, "leave --keep-fp out")
    call("build-engine", built, *asked).fits()
    own, source = read_sidecar(output), read_sidecar(built)
    assert own.precision == "int8"
    assert own.calibration is None
    assert (own.receipt.int8.quantised, own.receipt.int8.types) == (
        source.receipt.int8.quantised,
        source.receipt.int8.types,
    )
    if source.target == "onnxruntime":
        found = [
            call("detect", "--engine", one, pictures / "a.jpg", "--json").fits().json
            for one in (built, output)
        ]
        assert found[0]["detections"] == found[1]["detections"]


@pytest.mark.slow
def test_parity_says_what_each_convolution_costs(built, checkpoint, pictures, call):
    found = call(
        *("parity", built, "--against", checkpoint, "--images", pictures, "--json"),
    )
    assert found.code in (0, 1)
    layers = found.json["quantised_layers"]
    assert len(layers) == len(nodes(built, "Conv"))
    errors = [one["error"] for one in layers]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[0] < 1


def test_what_is_named_stays_in_floating_point(call, onnx_file, pictures, tmp_path):
    convolutions = nodes(onnx_file, "Conv")
    norm = nodes(onnx_file, "BatchNormalization")[3]
    before = next(one for one in convolutions if one.output[0] == norm.input[0])
    engine = tmp_path / "x.engine"
    kept = ("--keep-fp", convolutions[0].name, "--keep-fp", norm.name)
    asked = (*INT8, pictures, "--method", "minmax", "--calibration-count", 1)
    made = call("build-engine", onnx_file, *asked, *kept, "-o", engine, "--json").fits().json
    receipt = made["receipt"]
    assert (receipt["quantised"], receipt["kept"]) == (len(convolutions) - 2, 2)
    assert receipt["kept_layers"] == dict.fromkeys(
        (convolutions[0].name, before.name), "asked for by --keep-fp"
    )
    assert receipt["types"]["FLOAT"] >= 2
    assert (made["calibration"]["count"], made["calibration"]["method"]) == (1, "minmax")
    other = next(node for node in onnx.load(onnx_file).graph.node if node.op_type == "Concat")
    line = call(
        *("build-engine", onnx_file, *INT8, pictures, "--keep-fp", other.name, "-o", engine)
    ).fails(2)
    assert "Concat" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--precision", "int8"), ("--calibration",)),
        (("--calibration", "{pictures}"), ("--precision int8", "fp32")),
        (("--precision", "int8", "--method", "minmax"), ("--method", "--calibration")),
        ((*INT8[2:], "{pictures}", "--max-drop", "0.01"), ("--max-drop", "--annotations")),
        ((*INT8[2:], "{pictures}", "--annotations", "x.json"), ("--annotations", "--max-drop")),
        ((*INT8[2:], "{pictures}", "--check-images", "{pictures}"), ("--check-images", "parity")),
    ],
)
def test_options_that_do_not_go_together(options, words, call, onnx_file, pictures, tmp_path):
    given = [one.format(pictures=pictures) for one in options]
    output = tmp_path / "x.engine"
    build = ("build-engine", onnx_file, "--target", "onnxruntime", *given, "-o", output)
    call(*build).fails(2, *words)
    assert not output.exists()


def test_pictures_that_cannot_be_calibrated_on(call, onnx_file, pictures, tmp_path):
    output = tmp_path / "x.engine"
    call("build-engine", onnx_file, *INT8, tmp_path, "-o", output).fails(4, "holds no image")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    call("build-engine", onnx_file, *INT8, tmp_path, "-o", output).fails(4, "broken.png")
    assert not output.exists()
    call("build-engine", onnx_file, *INT8, pictures, "-o", pictures / "a.jpg").fails(2, "a.jpg")


@pytest.mark.parametrize("method", ["percentile", "minmax"])
def test_values_that_are_not_finite_are_told(method, call, onnx_file, pictures, tmp_path):
    model = onnx.load(onnx_file)
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    values = onnx.numpy_helper.to_array(weight) * float("nan")
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "nan.onnx")
    asked = (*INT8, pictures, "--method", method, "-o", tmp_path / "x.engine")
    call("build-engine", tmp_path / "nan.onnx", *asked).fails(1, "finite", "--precision fp32")
    assert not (tmp_path / "x.engine").exists()


@pytest.mark.slow
def test_weights_of_constant_nodes_are_constant(call, onnx_file, pictures, tmp_path):
    model = onnx.load(onnx_file)
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [weight.name], value=weight))
    model.graph.initializer.remove(weight)
    onnx.save(model, tmp_path / "constant.onnx")
    asked = (*INT8, pictures, "-o", tmp_path / "x.engine", "--json")
    made = call("build-engine", tmp_path / "constant.onnx", *asked).fits().json
    assert made["receipt"]["kept_layers"] == {}


@pytest.mark.slow
def test_networks_of_pictures_and_of_tiles_too(call, checkpoint, pictures, tmp_path):
    named = ("export", "--model", "mobilenet_v1", "--weights", checkpoint)
    for number, more in enumerate((("--input", "uint8"), ("--tiles", "2x1"))):
        source = tmp_path / f"{number}.onnx"
        call(*named, *more, "-o", source).fits()
        engine = source.with_suffix(".engine")
        made = call("build-engine", source, *INT8, pictures, "-o", engine, "--json").fits().json
        assert made["receipt"]["kept"] == 0
        assert made["receipt"]["quantised"] == len(nodes(source, "Conv"))
        call("detect", "--engine", engine, pictures / "a.jpg", "--json").fits()


@pytest.mark.slow
def test_a_promise_of_map_is_kept_or_nothing_is_built(call, tmp_path):
    data, source = tmp_path / "d", tmp_path / "x.onnx"
    call("digits", data, "--train-images", 0, "--val-images", 4).fits()
    call("export", "--weights", "digits/mobilenet_v1", "-o", source).fits()
    engine = tmp_path / "x.engine"
    asked = (*INT8, data / "val", "--annotations", data / "val.json")
    build = ("build-engine", source, *asked, "-o", engine, "--max-drop")
    made = call(*build, 0.01, "--json").fits().json
    scores = made["calibration"]["map"]
    assert scores["int8"] >= scores["fp32"] - 0.01
    kept = made["receipt"]["kept_layers"]
    assert all("mAP" in why for why in kept.values())
    (data / "val.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    engine.unlink()
    call(*build, 0.01).fails(4)
    absent = [{"id": 1, "file_name": "none.png", "width": 9, "height": 9}]
    truth = {"images": absent, "annotations": [], "categories": [{"id": 1, "name": "0"}]}
    (data / "val.json").write_text(json.dumps(truth))
    call(*build, 0.01).fails(4, "none.png", "--calibration")
    assert not engine.exists()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_a_promise_is_kept_of_networks_of_pictures_too(target, call, tmp_path):
    """What is scored begins behind the preprocessing, which such a network has inside."""
    if find_spec(target) is None:
        pytest.skip(f"could not import '{target}'")
    data, source = tmp_path / "d", tmp_path / "x.onnx"
    call("digits", data, "--train-images", 0, "--val-images", 2).fits()
    call("export", "--weights", "digits/mobilenet_v1", "--input", "uint8", "-o", source).fits()
    asked = ("--precision", "int8", "--calibration", data / "val", "--annotations")
    promise = (data / "val.json", "--max-drop", 1, "-o", tmp_path / "x.engine", "--json")
    made = call("build-engine", source, "--target", target, *asked, *promise).fits().json
    assert sorted(made["calibration"]["map"]) == ["fp32", "int8"]
