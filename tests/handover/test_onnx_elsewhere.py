"""Exported files in OpenVINO, and through the tools that people put ONNX files through.

The files are those that ``make test-handover`` exports, of the shipped network.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon
import onnxruntime
import onnxslim
import openvino
import pytest
from case_scripts import project_after_demo, run_script

from ssd_small.artefacts.onnx_file import read_onnx
from ssd_small.errors import BadFile
from ssd_small.evaluation.limits import HEAD_LIMITS, SCORE_ROUNDING

FOLDER = Path(os.environ.get("SSD_SMALL_ONNX", "build/handover"))
PLAIN, INLINE = FOLDER / "plain.onnx", FOLDER / "inline.onnx"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-100, 100, (2, 3, 300, 300)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(images: np.ndarray) -> list[np.ndarray]:
    """What ONNX Runtime makes of the file with the DecodeNms node."""
    return from_onnxruntime(onnx.load(PLAIN), images)


def from_onnxruntime(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"images": images})


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Equal sets of detections; scores within what the heads of two runtimes may differ by."""
    np.testing.assert_array_equal(found[0], expected[0])
    for image in range(len(found[0])):
        order = [np.lexsort((one[4][image], one[3][image])) for one in (found, expected)]
        for position in (3, 4):
            np.testing.assert_array_equal(
                found[position][image][order[0]], expected[position][image][order[1]]
            )
        np.testing.assert_allclose(
            found[2][image][order[0]],
            expected[2][image][order[1]],
            rtol=2 * HEAD_LIMITS["fp32"] + SCORE_ROUNDING,
            atol=0,
        )


def test_openvino_runs_an_inlined_file(images: np.ndarray, expected: list[np.ndarray]) -> None:
    # OpenVINO chooses half precision by itself where the processor has it
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.Core().compile_model(str(INLINE), "CPU", exact)([images])
    assert expected[0].sum() > 20
    assert_same([found[position] for position in range(5)], expected)


@pytest.mark.parametrize("source", [PLAIN, INLINE], ids=["plain", "inline"])
def test_onnxslim_leaves_what_runs(
    source: Path, images: np.ndarray, expected: list[np.ndarray], tmp_path: Path
) -> None:
    onnx.save(onnxslim.slim(str(source)), tmp_path / "slim.onnx")
    model, _ = read_onnx(tmp_path / "slim.onnx")
    assert_same(from_onnxruntime(model, images), expected)


def test_graph_surgeon_drops_the_description_alone(
    images: np.ndarray, expected: list[np.ndarray], tmp_path: Path
) -> None:
    _, description = read_onnx(PLAIN)
    path = tmp_path / "surgeon.onnx"
    graph = onnx_graphsurgeon.import_onnx(onnx.load(PLAIN))
    onnx.save(onnx_graphsurgeon.export_onnx(graph.cleanup()), path)
    with pytest.raises(BadFile, match="as graph-surgeon does"):
        read_onnx(path)
    model, _ = read_onnx(path, description)
    assert_same(from_onnxruntime(model, images), expected)


def test_polygraphy_sanitize_leaves_what_runs(
    images: np.ndarray, expected: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "sanitized.onnx"
    tool = Path(sys.executable).with_name("polygraphy")
    command = [tool, "surgeon", "sanitize", PLAIN, "--fold-constants", "-o", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    model, _ = read_onnx(path, read_onnx(PLAIN)[1])
    assert_same(from_onnxruntime(model, images), expected)


def test_script_of_the_shared_case(
    shared_cases: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """OpenVINO takes no model-local function, so the file as it is fails there, and only there."""
    project = project_after_demo(tmp_path_factory.mktemp("project"))
    done = run_script(shared_cases / "export" / "any-onnx-runtime", project, TOOLS=Path(sys.prefix))
    for runtime in ("openvino, inlined", "onnx reference"):
        assert f"{runtime} labels equal True" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("FAILS") == 1
    assert "openvino FAILS" in done.stdout
