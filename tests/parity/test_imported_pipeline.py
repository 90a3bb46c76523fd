"""From picture file to detections: torchvision's own detectors, and what is imported of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import foreign_networks as foreign
import numpy as np
import pytest
import torch

import ssd_small
from ssd_small.importing.checkpoint import imported_from_file
from ssd_small.postprocess import native

#: pixels of a picture of some 300, and scores; the network is torch's in both, so what differs is
#: the input to the last bit, decoding from corners (torchvision) or centres, and the softmax
PIXELS, SCORES = 1e-3, 1e-5
NAMES = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")

pytestmark = pytest.mark.slow


class Detected:
    """Detections of a network of torchvision, and the files that are imported of it."""

    def __init__(self, name: str, seed: int, folder: Path) -> None:
        net = foreign.torchvision_network(name, 4, seed)
        torch.save(net.state_dict(), folder / "theirs.pth")
        self.weights = folder / "ours.pth"
        imported_from_file(folder / "theirs.pth").write(self.weights)
        self.picture = folder / "picture.png"
        from PIL import Image

        Image.fromarray(foreign.made_picture()).save(self.picture)
        levels = foreign.tensor_from_picture(foreign.made_picture())
        with torch.no_grad():
            self.found = {key: value.numpy() for key, value in net([levels])[0].items()}

    def unmatched(self, found: Any) -> list[str]:
        """Detections of torchvision that have no equal one here, or not one each."""
        return foreign.unmatched(self.found, found, PIXELS, SCORES)


@pytest.fixture(scope="module")
def detections(tmp_path_factory: Any) -> Callable[[str, int], Detected]:
    """Each network once: making and running those of VGG16 takes most of the time here."""
    return functools.cache(
        lambda name, seed: Detected(name, seed, tmp_path_factory.mktemp("imported"))
    )


@pytest.fixture(params=[(NAMES[0], 1), (NAMES[1], 1), (NAMES[1], 2)], ids=str)
def detected(request: Any, detections: Callable[[str, int], Detected]) -> Detected:
    return detections(*request.param)


def _detect(path: Path, picture: Path) -> Any:
    with ssd_small.load(path, threads=1) as detector:
        (found,) = detector(picture, score_threshold=detector.params.score_threshold)
    return found


def test_pytorch_finds_what_torchvision_finds(detected: Detected) -> None:
    assert len(detected.found["scores"]) >= 200
    assert len(np.unique(np.round(detected.found["scores"], 3))) > 20
    found = _detect(detected.weights, detected.picture)
    assert detected.unmatched(found) == []
    # and the comparison can fail
    moved = replace(found, boxes=found.boxes + np.float32(0.01))
    assert len(detected.unmatched(moved)) > 100


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_finds_what_torchvision_finds(
    name: str,
    call: Callable[..., Any],
    detections: Callable[[str, int], Detected],
    tmp_path: Path,
) -> None:
    """With decode + NMS as the function in the file, and by the native library after it."""
    pytest.importorskip("onnxruntime")
    assert native.is_available()
    detected = detections(name, 1)
    call("export", "--weights", detected.weights, "-o", tmp_path / "x.onnx").fits()
    call("build-engine", tmp_path / "x.onnx", "--target", "onnxruntime", "--heads",
         "-o", tmp_path / "x.engine").fits()  # fmt: skip
    for file in ("x.onnx", "x.engine"):
        found = _detect(tmp_path / file, detected.picture)
        assert detected.unmatched(found) == [], file
