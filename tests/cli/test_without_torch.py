"""The networks in the package where PyTorch is not installed: their ONNX files, in ONNX Runtime."""

from __future__ import annotations

import json

import pytest

from ssd_small.models.shipped import shipped_checkpoints

for module in ("cv2", "onnxruntime"):
    pytest.importorskip(module, reason=f"needs {module}")

TORCH = ("torch", "torchvision", "onnxscript")
DIGITS = next(one for one in shipped_checkpoints() if one.name == "digits/mobilenet_v1_s1l0")
PICTURE = DIGITS.path.with_name("picture.jpg")


@pytest.mark.slow
def test_a_shipped_name_is_its_onnx_file(without):
    found = {}
    for options in (("--weights", DIGITS.name), ("--engine", DIGITS.onnx_path)):
        said = without(TORCH, "detect", *options, PICTURE, "--json").fits()
        found[options[0]] = json.loads(said.out)
    assert found["--weights"] == found["--engine"]
    assert len(found["--weights"]["detections"]) >= 3


def test_labels_of_one_s_own_go_with_it(without, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("".join(f"digit {number}\n" for number in range(10)))
    said = without(TORCH, "detect", "--weights", DIGITS.name, "--labels", names, PICTURE).fits()
    assert "digit 7" in said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--weights", DIGITS.path, "--model", DIGITS.model),
        ("--weights", DIGITS.name, "--width", "0.25"),
    ],
)
def test_what_only_a_checkpoint_can_do_needs_torch(arguments, without):
    refused = without(TORCH, "detect", *arguments, PICTURE)
    refused.fails(3, "'torch' is not installed", ".[torch]")


def test_without_onnx_runtime_the_line_to_type_is_told(without):
    hidden = (*TORCH, "onnxruntime")
    refused = without(hidden, "detect", "--weights", DIGITS.name, PICTURE)
    refused.fails(3, "'onnxruntime' is not installed", ".[onnxruntime]")


def test_a_job_of_a_shipped_name_is_another_one_without_torch(monkeypatch):
    """Its last bits are ONNX Runtime's, and a job is resumed with the same bits only."""
    from ssd_small.serving.jobs.job import files_of_engine

    assert files_of_engine(DIGITS.name) == [DIGITS.path, DIGITS.labels_path]
    monkeypatch.setattr("ssd_small.detection.load.is_installed", lambda module: module != "torch")
    assert files_of_engine(DIGITS.name) == [DIGITS.onnx_path]
