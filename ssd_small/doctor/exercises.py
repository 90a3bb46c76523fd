"""Minimal exercises that a package must pass before doctor reports that it works.

Each function raises whatever goes wrong, including a failing import.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable

import numpy as np

from ..postprocess import decode_nms
from ..requirements import require

#: ONNX, IR version 8 and opset 13: y = x + x, two numbers of float32
_TWICE = (
    b"\x08\x08:5\n\x0e\n\x01x\n\x01x\x12\x01y\x22\x03Add\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01"
    b"\x12\x04\n\x02\x08\x02b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x02B\x04\n\x00\x10\r"
)


class Wrong(Exception):
    """A package gave a wrong result."""


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise Wrong(f"gave {found}, expected {expected}")


def _torch() -> None:
    torch = importlib.import_module("torch")
    found = torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
    _expect(float(found), 9.0)


def _safetensors() -> None:
    library = importlib.import_module("safetensors.numpy")
    _expect(library.load(library.save({"x": np.ones(2, np.float32)}))["x"].tolist(), [1.0, 1.0])


def _onnx() -> None:
    onnx = importlib.import_module("onnx")
    model = onnx.load_from_string(_TWICE)
    onnx.checker.check_model(model)
    _expect(model.graph.node[0].op_type, "Add")


def _onnxruntime() -> None:
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(_TWICE, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.array([1, 2], np.float32)})
    _expect(found.tolist(), [2.0, 4.0])


def _openvino() -> None:
    core = require("openvino", "this").Core()
    compiled = core.compile_model(core.read_model(io.BytesIO(_TWICE)), "CPU")
    (found,) = compiled([np.array([1, 2], np.float32)]).values()
    _expect(found.tolist(), [2.0, 4.0])


def _opencv() -> None:
    cv2 = importlib.import_module("cv2")
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    _, encoded = cv2.imencode(".png", picture)
    _expect(cv2.imdecode(encoded, cv2.IMREAD_COLOR).tolist(), picture.tolist())


def _hotcoco() -> None:
    hotcoco = importlib.import_module("hotcoco")
    picture, kind = {"id": 1, "file_name": "", "width": 9, "height": 9}, {"id": 1, "name": "a"}
    boxes = hotcoco.COCO.from_arrays([picture], [kind], [1], [1], np.array([[0, 0, 2.0, 3]]))
    _expect(boxes.load_res(np.array([[1, 0, 0, 2.0, 3, 0.5, 1]])).load_anns([1])[0]["area"], 6.0)


def _msgspec() -> None:
    _expect(importlib.import_module("msgspec.json").decode(b"[1, 2.5]", type=list[float]), [1, 2.5])


def _tensorrt(module: str) -> Callable[[], None]:
    def exercise() -> None:
        library = importlib.import_module(module)
        library.Logger(library.Logger.ERROR)
        library.get_plugin_registry()

    return exercise


def _cuda_bindings() -> None:
    runtime = importlib.import_module("cuda.bindings.runtime")
    status, _ = runtime.cudaRuntimeGetVersion()
    _expect(int(status), 0)


def _pycuda() -> None:
    importlib.import_module("pycuda.driver").get_version()


#: by distribution
EXERCISES: dict[str, Callable[[], None]] = {
    "torch": _torch,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt("tensorrt"),
    "tensorrt-rtx": _tensorrt("tensorrt_rtx"),
    "cuda-bindings": _cuda_bindings,
    "pycuda": _pycuda,
    "opencv-python-headless": _opencv,
    "hotcoco": _hotcoco,
    "msgspec": _msgspec,
}


def exercise_native_library() -> None:
    """Compare the native library with the oracle on two boxes of one prior each."""
    loc = np.zeros((1, 2, 4), np.float32)
    conf = np.array([[[0, 3], [0, 2]]], np.float32)
    priors = np.array([[0.25, 0.25, 0.2, 0.2], [0.75, 0.75, 0.2, 0.2]], np.float32)
    native, oracle = (
        decode_nms(loc, conf, priors, backend=backend)[0] for backend in ("native", "numpy")
    )
    _expect(len(native.scores), 2)
    _expect(native.boxes.tolist(), oracle.boxes.tolist())
    _expect(native.scores.tolist(), oracle.scores.tolist())
