"""``detect --runtime onnxruntime``: weights by an engine that is kept, and what that may change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Outcome

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "cv2"):
    pytest.importorskip(package)

Call = Callable[..., Outcome]
NAME = "digits/mobilenet_v1_s1l0"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ssd-small"


@pytest.fixture(scope="module")
def picture() -> Path:
    return Path(__file__).resolve().parents[2] / "benchmarks/results/cells.jpg"


def _found(told: Outcome) -> list[dict[str, object]]:
    return list(told.fits().json["detections"])


@pytest.mark.slow
def test_an_engine_is_built_once_and_finds_what_pytorch_finds(
    call: Call, spawn: Call, cache: Path, picture: Path
) -> None:
    command = ("detect", "--weights", "bccd/mobilenet_v1_s1l0", picture, "--json")
    in_torch = _found(call(*command))
    assert not cache.exists()
    first = call(*command, "--runtime", "onnxruntime")
    assert "note: building an engine of bccd/mobilenet_v1_s1l0 for ONNX Runtime" in first.err
    (entry,) = cache.iterdir()
    assert sorted(one.name for one in entry.iterdir()) == ["network.engine", "network.engine.json"]
    # neither of what building needs is loaded by what only opens
    blocked = {"PYTHONPATH": str(cache.parent / "blocked")}
    for package in ("torch", "onnx", "onnxscript"):
        (cache.parent / "blocked" / package).mkdir(parents=True)
        (cache.parent / "blocked" / package / "__init__.py").write_text("raise SystemExit(70)\n")
    second = spawn(*command, "--runtime", "onnxruntime", env=blocked)
    assert second.err == ""
    assert _found(second) == _found(first)
    assert len(in_torch) > 5
    for ours, theirs in zip(_found(first), in_torch, strict=True):
        assert ours["name"] == theirs["name"]
        np.testing.assert_allclose(ours["box"], theirs["box"], rtol=0, atol=0.01)
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("traced_once")
def test_entries_are_of_one_file_and_damaged_ones_are_built_anew(
    call: Call, cache: Path, checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    command = ("detect", "--model", "mobilenet_v1", "--runtime", "onnxruntime", "--weights")
    rest = (pictures / "a.jpg", "--json", "--threads", 1)
    found = _found(call(*command, checkpoint, *rest))
    (entry,) = cache.iterdir()
    (entry / "network.engine").write_bytes(b"damaged")
    again = call(*command, checkpoint, *rest)
    assert "building" in again.err
    assert _found(again) == found
    # other names are another engine, of which nothing is kept if so asked
    (tmp_path / "labels.txt").write_text("cow\nape\n")
    named = call(*command, checkpoint, *rest, "--labels", tmp_path / "labels.txt", "--no-cache")
    assert "building" in named.err
    assert [one.name for one in cache.iterdir()] == [entry.name]
    sidecar = json.loads((entry / "network.engine.json").read_text())
    assert sidecar["description"]["weights"].startswith("sha256:")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--weights", NAME, "--no-cache"), "--no-cache goes with --runtime onnxruntime"),
        (("--engine", "x.engine", "--runtime", "onnxruntime"), "does not go with --engine"),
        (("--model", "mobilenet_v1", "--runtime", "onnxruntime"), "is for --weights FILE"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(
    more: tuple[str, ...], reason: str, call: Call, cache: Path, picture: Path
) -> None:
    call("detect", *more, picture).fails(2, reason)
    assert not cache.exists()
