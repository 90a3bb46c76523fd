"""Commands on a base install: exit 3 and the line to type."""

from __future__ import annotations

import os
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("torch", "torch", ("export", "--model", "vgg16", "--random-weights", "-o", "{new}")),
        ("onnxscript", "onnx", ("export", "--model", "vgg16", "--random-weights", "-o", "{new}")),
        ("onnx", "onnx", ("build-engine", "{onnx}", "-o", "{new}")),
        ("onnxruntime", "onnxruntime", ("build-engine", "{onnx}", "-o", "{new}")),
        ("onnxruntime", "onnxruntime", ("detect", "--engine", "{engine}", "{pictures}")),
        (
            *("openvino", "openvino"),
            ("build-engine", "{onnx}", "--target", "openvino", "-o", "{new}"),
        ),
        ("cv2", "images", ("detect", "--engine", "{engine}", "{pictures}")),
        (
            *("cv2", "images"),
            ("tile", "x.json", "--images", "{pictures}", "-o", "{new}", "--tiles", "9x9"),
        ),
        ("PIL", "images", ("detect", "--engine", "{engine}", "{pictures}", "-o", "{new}")),
        ("pyarrow", "batch", ("batch", "{engine}", "{pictures}", "-o", "{new}")),
        ("fsspec", "batch", ("batch", "{engine}", "memory://a.png", "-o", "{new}")),
        ("ray", "ray", ("batch", "{engine}", "{pictures}", "-o", "{new}", "--ray")),
        ("torch", "torch", ("bench",)),
        ("torch", "torch", ("doctor", "--self-test")),
        ("onnxscript", "onnx", ("doctor", "--self-test")),
        ("onnx", "onnx", ("doctor", "--self-test")),
        ("onnxruntime", "onnxruntime", ("doctor", "--self-test")),
        ("jinja2", "report", ("bench", "--engine", "{engine}", "--report", "{new}")),
        ("matplotlib", "report", ("bench", "--engine", "{engine}", "--report", "{new}")),
        ("uvicorn", "serve", ("serve", "{engine}")),
        ("python_multipart", "serve", ("serve", "{engine}")),
        ("prometheus_client", "serve", ("serve", "{engine}")),
        ("sklearn", "demo", ("demo", "-o", "{new}")),
        ("skimage", "demo", ("digits", "{new}")),
    ],
)
def test_missing_extra(module, extra, arguments, without, onnx_file, engine, pictures, tmp_path):
    places = {"onnx": onnx_file, "engine": engine, "pictures": pictures, "new": tmp_path / "new"}
    outcome = without([module], *(argument.format(**places) for argument in arguments))
    outcome.fails(3, f"'{module}' is not installed", f"pip install '.[{extra}]'")
    assert not (tmp_path / "new").exists()


def test_missing_hotcoco(without, engine, pictures, truth, saved):
    arguments = ("--annotations", saved(truth), "--images", pictures)
    without(["hotcoco"], "eval", "--engine", engine, *arguments).fails(3, ".[eval]")


def test_ctrl_c_while_an_extension_module_loads_is_no_missing_package(monkeypatch, tmp_path):
    """pybind11 makes an ImportError of it, as this module does."""
    from ssd_small.requirements import require

    (tmp_path / "onnxruntime.py").write_text(
        "raise ImportError('initialization failed') from KeyboardInterrupt()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    with pytest.raises(KeyboardInterrupt):
        require("onnxruntime", "this")


def test_base_install_lists_models_and_helps_at_once(without, spawn):
    heavy = ["torch", "onnx", "onnxruntime", "cv2", "PIL", "hotcoco", "sklearn", "skimage"]
    assert "mobilenet_v1_s1l0" in without(heavy, "models").fits().out
    times = []
    for _ in range(3):
        # of the processor: what else the machine does is nothing of ours
        before = os.times()
        spawn("--help").fits()
        after = os.times()
        times.append(sum(after[2:4]) - sum(before[2:4]))
    assert min(times) < 0.5
