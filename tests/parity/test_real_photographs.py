"""Shipped detectors on photographs they have not seen: the scores listed, and the engine's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

for module in ("torch", "cv2", "hotcoco", "onnxruntime"):
    pytest.importorskip(module, reason=f"needs {module}")

from click.testing import CliRunner  # noqa: E402

from ssd_small.cli import cli  # noqa: E402
from ssd_small.evaluation.limits import MAP_LIMIT  # noqa: E402
from ssd_small.models.shipped import ShippedCheckpoint, shipped_checkpoints  # noqa: E402

pytestmark = pytest.mark.slow

CELLS = {one.name: one for one in shipped_checkpoints() if one.name.startswith("bccd/")}
Scores = dict[str, float]


def _run(*arguments: object) -> str:
    outcome = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


@pytest.fixture
def scored(shared_data: Path) -> Callable[..., Scores]:
    """Function: options naming a network or an engine -> its scores on the val split."""
    data = shared_data / "bccd-mosaic"
    where = ("--annotations", data / "val.json", "--images", data / "images")

    def run(*subject: object) -> Scores:
        report = _run("eval", *subject, *where, "--protocol", "coco", "--json")
        return dict(json.loads(report)["metrics"])

    return run


def test_there_are_detectors_of_cells() -> None:
    assert len(CELLS) >= 2


@pytest.mark.parametrize("one", CELLS.values(), ids=CELLS)
def test_the_scores_listed_are_those_of_pytorch_and_of_the_engine(
    one: ShippedCheckpoint, scored: Callable[..., Scores], tmp_path: Path
) -> None:
    network = scored("--weights", one.name)
    for name, listed in one.metrics.items():
        # another processor sums in another order, which may move a detection or two of hundreds
        assert network[name] == pytest.approx(listed, abs=0.005), name
    onnx, engine = tmp_path / "x.onnx", tmp_path / "x.engine"
    _run("export", "--weights", one.name, "--preset", "coco", "--output", onnx)
    _run("build-engine", onnx, "--output", engine, "--target", "onnxruntime")
    compiled = scored("--engine", engine)
    for name in one.metrics:
        assert compiled[name] == pytest.approx(network[name], abs=MAP_LIMIT), name
