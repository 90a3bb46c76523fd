"""Networks of pictures find what those of preprocessed float32 find, on photographs and without."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

for module in ("torch", "cv2", "onnxscript", "onnxruntime", "pycocotools"):
    pytest.importorskip(module, reason=f"needs {module}")

import ssd_small  # noqa: E402
from ssd_small.datasets.digits import make_digits  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DIGITS, CELLS = "digits/mobilenet_v1_s1l0", "bccd/mobilenet_v1_s1l0"
#: of what is promised where pictures are resized: share, its limit and the median's; and of AP
SHARE, NEAR, MEDIAN, AP = 0.95, 0.02, 0.005, 0.002
#: where nothing is resized
SAME = 0.001
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("traced_once")]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = ROOT / "benchmarks" / "bench_picture_input.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check(row: dict[str, object]) -> None:
    assert row["within_0.02"] >= SHARE, row  # type: ignore[operator]
    assert row["median"] <= MEDIAN, row  # type: ignore[operator]
    usual, own = row["AP"]  # type: ignore[misc]
    assert abs(own - usual) <= AP, row
    assert row["scores"] > 1000  # type: ignore[operator]


def test_digits_are_found_alike(benchmark: ModuleType, tmp_path: Path) -> None:
    made = make_digits(tmp_path, train_images=0, val_images=12)
    _check(benchmark.measure(DIGITS, made.val_annotations, made.val_images, say=lambda line: None))


@pytest.mark.parametrize("folder", ["bccd", "bccd-mosaic"])
def test_cells_are_found_alike(benchmark: ModuleType, shared_data: Path, folder: str) -> None:
    data = shared_data / folder
    _check(benchmark.measure(CELLS, data / "val.json", data / "images", say=lambda line: None))


def test_where_nothing_is_resized_scores_are_the_same(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (4, 15, 15, 3)).astype(np.uint8)
    pictures = list(coarse.repeat(20, axis=1).repeat(20, axis=2))
    plain, other = (ssd_small.load(path) for path in benchmark.export_both(DIGITS, tmp_path))
    with plain, other:
        differences = benchmark.score_differences(plain, other, pictures, threshold=0.0)
    assert differences.max() <= SAME
