"""NVIDIA's builder takes what is imported; the plans were not executed: that takes a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from engine_builds import build

if TYPE_CHECKING:
    from command_line import Outcome

for package in ("onnx", "onnxruntime", "onnxscript", "torch", "torchvision"):
    pytest.importorskip(package)
pytestmark = [pytest.mark.trt, pytest.mark.slow, pytest.mark.usefixtures("needs_rtx")]

import foreign_networks as foreign  # noqa: E402
import torch  # noqa: E402

from ssd_small.artefacts.description import Description  # noqa: E402


@pytest.mark.parametrize(
    ("name", "precision", "priors"),
    [
        ("ssd300_vgg16", "fp32", 8732),
        ("ssdlite320_mobilenet_v3_large", "fp16", 3234),
    ],
)
def test_torchvisions_detectors_become_engines(
    name: str,
    precision: str,
    priors: int,
    call: Callable[..., Outcome],
    with_plugin: Path,
    tmp_path: Path,
) -> None:
    torch.save(foreign.torchvision_network(name, 4, 1).state_dict(), tmp_path / "theirs.pth")
    call("import", tmp_path / "theirs.pth", "-o", tmp_path / "x.pth").fits()
    call("export", "--weights", tmp_path / "x.pth", "-o", tmp_path / "x.onnx").fits()
    output = tmp_path / "x.engine"
    built = build(call, tmp_path / "x.onnx", output, "--precision", precision, "--max-batch", "2")
    sidecar = built.fits().json
    described = sidecar["description"]
    assert described["model"] == f"torchvision_{name}"
    # their boxes are clipped, which the first version of the plugin does not do
    assert described["postprocess"]["clip_boxes"]
    assert sidecar["plugin"]["version"] == "2"
    assert b"DecodeNms" in output.read_bytes()
    assert (sidecar["receipt"]["half_share"] > 0.3) == (precision == "fp16")
    assert len(Description.from_dict(described, output).priors) == priors
