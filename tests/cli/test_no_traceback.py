"""Files that parse and make no sense: exit 4 and one line, whoever stumbles on them."""

from __future__ import annotations

import json
import os
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
# each test after the first builds or runs a small network: seconds
pytestmark = pytest.mark.slow


@pytest.fixture
def refitted(own_engine: Path):
    """The engine with other content, which its sidecar fits."""
    file = own_engine.with_name("m.engine.json")

    def write(content: bytes) -> Path:
        own_engine.write_bytes(content)
        values = json.loads(file.read_text())
        values["engine"] |= {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        file.write_text(json.dumps(values))
        return own_engine

    return write


@pytest.mark.parametrize("content", [b"", b"\x01", b"\0", b"hello", b"\x08\x07"])
def test_an_engine_of_a_few_bytes_is_refused_by_all(content, call, refitted, pictures):
    engine = refitted(content)
    for command in (("inspect",), ("doctor",), ("detect", pictures, "--engine")):
        call(*command, engine).fails(4, "m.engine")


def test_an_engine_whose_weights_lie_elsewhere(call, refitted, engine, pictures, tmp_path):
    model = onnx.load(engine)
    onnx.save(model, tmp_path / "x", save_as_external_data=True, location="w", size_threshold=0)
    (tmp_path / "w").unlink()
    content = (tmp_path / "x").read_bytes()
    call("inspect", refitted(content)).fits()  # its layers are there
    call("doctor", refitted(content)).fails(4, "m.engine")
    call("detect", pictures, "--engine", refitted(content)).fails(4, "m.engine")


@pytest.mark.parametrize("number", [99, -1])
def test_an_unknown_type_of_elements_is_shown_as_such(number, call, refitted, engine):
    model = onnx.load(engine)
    model.graph.input[0].type.tensor_type.elem_type = number
    shown = call("inspect", refitted(model.SerializeToString()), "--json").fits().json
    assert shown["tensors"][0]["type"] == f"unknown ({number})"


def _first(model):
    return model.graph.initializer[0]


def _node(model, kind: str):
    return next(node for node in model.graph.node if node.op_type == kind)


def _depthwise(model):
    return next(
        node
        for node in model.graph.node
        if any(entry.name == "group" and entry.i > 1 for entry in node.attribute)
    )


DAMAGES = {
    "other dims": lambda model: _first(model).dims.__setitem__(0, 7),
    "negative dims": lambda model: _first(model).dims.__setitem__(0, -7),
    "huge dims": lambda model: _first(model).dims.append(2**40),
    "type 99": lambda model: setattr(_first(model), "data_type", 99),
    "float8": lambda model: setattr(_first(model), "data_type", 17),
    "text": lambda model: setattr(_first(model), "data_type", 8),
    "Concat without attributes": lambda model: _node(model, "Concat").ClearField("attribute"),
    "depthwise Conv without attributes": lambda model: _depthwise(model).ClearField("attribute"),
    "Transpose without attributes": lambda model: _node(model, "Transpose").ClearField("attribute"),
    "DecodeNms without attributes": lambda model: _node(model, "DecodeNms").ClearField("attribute"),
    "DecodeNms without inputs": lambda model: _node(model, "DecodeNms").ClearField("input"),
    "DecodeNms without outputs": lambda model: _node(model, "DecodeNms").ClearField("output"),
    "no operator sets": lambda model: model.ClearField("opset_import"),
    "no weights": lambda model: model.graph.ClearField("initializer"),
    "no nodes": lambda model: model.graph.ClearField("node"),
    "no graph": lambda model: model.ClearField("graph"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_graph_that_makes_no_sense_is_not_built(damage, call, onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    DAMAGES[damage](model)
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString())
    call("build-engine", path, "--target", "onnxruntime").fails(4, "x.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["x.onnx"]


def test_names_in_a_graph_are_not_obeyed_by_a_terminal(call, onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    _node(model, "Conv").op_type = "Fr\x1b[31mob\n\u202e"
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString())
    outcome = call("build-engine", path, "--target", "onnxruntime")
    outcome.fails(4, "x.onnx")
    assert not set("\x1b\u202e") & set(outcome.err)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("kind", ["float8", "quantised", "nested", "jagged", "sparse", "meta"])
def test_weights_of_unusual_tensors(kind, call, checkpoint, tmp_path):
    torch = pytest.importorskip("torch")
    state = torch.load(checkpoint)
    key = next(key for key, value in state.items() if value.dim() == 4)
    value = state[key]
    rows = [value[0].flatten(), value[0, :1].flatten()]
    state[key] = {
        "float8": lambda: value.to(torch.float8_e4m3fn),
        "quantised": lambda: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "nested": lambda: torch.nested.nested_tensor(rows),
        "jagged": lambda: torch.nested.nested_tensor(rows, layout=torch.jagged),
        "sparse": lambda: value.to_sparse(),
        "meta": lambda: value.to("meta"),
    }[kind]()
    torch.save(state, tmp_path / "x.pth")
    call(
        *("export", "--model", "mobilenet_v1", "--weights", tmp_path / "x.pth"),
        *("--output", tmp_path / "x.onnx"),
    ).fails(4, "x.pth", key)


def test_a_key_that_a_terminal_would_obey(call, checkpoint, tmp_path):
    torch = pytest.importorskip("torch")
    state = torch.load(checkpoint) | {"a\x1b[31m\nb" + "k" * 10**5: torch.zeros(1)}
    torch.save(state, tmp_path / "x.pth")
    outcome = call(
        *("export", "--model", "mobilenet_v1", "--weights", tmp_path / "x.pth"),
        *("--output", tmp_path / "x.onnx"),
    )
    outcome.fails(4, "1 keys differ")
    assert "\x1b" not in outcome.err
    assert len(outcome.err.splitlines()) == 2
    assert len(outcome.err) < 1000


def test_a_long_class_name_is_drawn_cut():
    pytest.importorskip("PIL")
    from ssd_small.detection.draw import _drawn_name

    assert _drawn_name("cat") == "cat"
    assert len(_drawn_name("a" * 10**6)) == 60
    assert _drawn_name("a\nb") == r"a\nb"


def test_a_list_of_pictures_with_a_nul_is_no_text(tmp_path):
    from ssd_small.datasets.source_files import read_text
    from ssd_small.errors import BadFile

    (tmp_path / "train.txt").write_bytes(b"a\0b\n")
    with pytest.raises(BadFile, match=r"train\.txt is not text .*NUL"):
        read_text(tmp_path / "train.txt", "a list of image names")


def test_no_temporary_folder_is_said_before_the_work(call, checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "gettempdir", none)
        outcome = call(
            *("export", "--model", "mobilenet_v1", "--weights", checkpoint),
            *("--output", tmp_path / "x.onnx"),
        )
    outcome.fails(4, "temporary folder", "TMPDIR")
    assert not list(tmp_path.iterdir())


def test_detections_go_into_a_folder_whose_name_is_no_text(call, engine, pictures, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x9b"))
    outcome = call("detect", pictures, "--engine", engine, "--output", folder).fits()
    assert "\x9b" not in outcome.out
    assert sorted(one.name for one in folder.iterdir()) == ["a.jpg", "b.png"]
    found = call("detect", pictures, "--engine", engine, "--output", folder, "--json").fits()
    assert Path(json.loads(found.out.splitlines()[0])["picture"]).parent == folder


def test_decoders_say_nothing_of_their_own(call, engine, tmp_path):
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    content = bytearray(cv2.imencode(".png", pixels)[1].tobytes())
    content[60] ^= 0xFF
    (tmp_path / "x.png").write_bytes(content)
    outcome = call("detect", tmp_path / "x.png", "--engine", engine)
    assert outcome.fails(4, "x.png") == outcome.err.rstrip("\n")
