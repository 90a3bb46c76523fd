"""``ssd-small parity`` where one side is a network of pictures (``export --input uint8``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Outcome

cv2 = pytest.importorskip("cv2")
for module in ("torch", "onnx", "onnxscript", "onnxruntime", "pycocotools"):
    pytest.importorskip(module, reason=f"needs {module}")

Call = Callable[..., Outcome]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("traced_once")]
#: of preprocessed pictures, and of pictures as they are
KINDS = ("float32", "uint8")


@pytest.fixture
def networks(call: Call, tmp_path: Path) -> dict[str, Path]:
    """ONNX files of a trained network by their input."""
    files = {kind: tmp_path / f"{kind}.onnx" for kind in KINDS}
    for kind, file in files.items():
        given = ("--weights", "digits/mobilenet_v1_s1l0", "--input", kind, "-o", file)
        call("export", *given).fits()
    return files


@pytest.mark.parametrize("judged", KINDS)
def test_a_grey_level_that_moves_detections_is_named(
    judged: str, networks: dict[str, Path], call: Call, tmp_path: Path
) -> None:
    """Noise: a value in 1000 of it is resized to another grey level; either way round."""
    folder = tmp_path / "noise"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(2):
        noise = random.integers(0, 256, (480, 640, 3)).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), noise)
    (against,) = (file for kind, file in networks.items() if kind != judged)
    where = ("--against", against, "--images", folder, "--threads", 1)
    found = call("parity", networks[judged], *where)
    assert found.code == 1, found.err
    assert len([line for line in found.err.splitlines() if "error" in line]) == 1
    assert re.search(r"^resize .*  pixels differ by up to 1 grey level$", found.out, re.M)
    # the layers were compared, from the input of the network on
    assert "each within rounding of the reference" in found.out
