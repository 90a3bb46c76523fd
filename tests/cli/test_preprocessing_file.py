"""``export --preprocessing FILE.json``: the file's fields are kept, and every command has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
for module in ("onnx", "onnxscript", "onnxruntime", "PIL"):
    pytest.importorskip(module, reason=f"needs {module}")

import ssd_small  # noqa: E402
from ssd_small.artefacts.preprocessing_file import read_preprocessing  # noqa: E402
from ssd_small.errors import BadFile, UsageError  # noqa: E402
from ssd_small.pictures.preprocessing import Preprocessing  # noqa: E402

Call = Callable[..., Outcome]
LETTERBOX = {"fit": "letterbox", "pad": [1, 2, 3], "resize": "float32"}
pytestmark = pytest.mark.usefixtures("traced_once")


@pytest.fixture
def told(tmp_path: Path) -> Callable[[object], Path]:
    """Function: a file with some fields."""

    def write(fields: object) -> Path:
        path = tmp_path / "told.json"
        path.write_text(json.dumps(fields))
        return path

    return write


def test_fields_that_are_not_in_the_file_stay(told: Callable[[object], Path]) -> None:
    own = Preprocessing(mean=(1.0, 2.0, 3.0))
    assert read_preprocessing(told({}), own) == own
    found = read_preprocessing(told(LETTERBOX | {"std": [4, 5, 6]}), own)
    assert found == Preprocessing(
        mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), resize="float32", fit="letterbox", pad=(1, 2, 3)
    )
    # a sidecar holds it deeper, and is written so
    for holder in ({"preprocessing": LETTERBOX}, {"description": {"preprocessing": LETTERBOX}}):
        assert read_preprocessing(told(holder), own).fit == "letterbox"
    assert read_preprocessing(told(found.to_dict()), Preprocessing()) == found


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([1], "expected the fields of preprocessing"),
        ({"letterbox": True}, "'letterbox' is no field of preprocessing"),
        ({"fit": "pad"}, "fit"),
        ({"fit": "letterbox", "pad": [0, 0, 256]}, "pad"),
        ({"fit": "letterbox", "pad": [0, 0]}, "pad"),
        ({"pad": [1, 1, 1]}, "letterbox"),
        ({"antialias": "yes"}, "antialias"),
        ({"resize": "float32", "interpolation": "area"}, "linear"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(
    told: Callable[[object], Path], fields: object, says: str
) -> None:
    with pytest.raises(BadFile, match=says) as caught:
        read_preprocessing(told(fields), Preprocessing())
    assert "told.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_input_size_is_not_made_by_it(told: Callable[[object], Path]) -> None:
    with pytest.raises(UsageError, match="of an input of 300x512 pixels, the network's is 300x300"):
        read_preprocessing(told({"height": 512}), Preprocessing())


@pytest.mark.slow
def test_a_letterbox_goes_from_export_to_detections(
    call: Call,
    checkpoint: Path,
    tmp_path: Path,
    told: Callable[[object], Path],
    truth: Any,
    saved: Callable[[object], Path],
) -> None:
    """Detections are those of a picture framed by hand, brought back to the one without."""
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    base = ("export", "--model", "mobilenet_v1", "--weights", checkpoint, "--labels", labels)
    own, plain = tmp_path / "own.onnx", tmp_path / "plain.onnx"
    call(*base, "-o", own, "--preprocessing", told(LETTERBOX)).fits()
    call(*base, "-o", plain, "--preprocessing", told({"resize": "float32"})).fits()
    shown = call("inspect", own, "--json").fits().json
    assert shown["preprocessing"]["fit"] == "letterbox"
    words = "300x300 pixels (linear, float32, letterbox on (1, 2, 3)), BGR"
    assert words in call("inspect", own).fits().out

    coarse = np.random.default_rng(0).integers(0, 256, (10, 30, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (600, 200))
    framed = np.empty((600, 600, 3), np.uint8)
    # 200 rows of the frame are 100 at the input, whole ones; BGR as the network
    framed[:] = (1, 2, 3)
    framed[200:400] = picture
    with ssd_small.load(own, threads=1) as detector:
        (found,) = detector(picture, score_threshold=0.01)
    with ssd_small.load(plain, threads=1) as detector:
        (by_hand,) = detector(framed, score_threshold=0.01)
    assert len(found.scores) == len(by_hand.scores) > 0
    # half a row of the frame's edge is a mean of the two in the picture framed by hand
    moved = by_hand.boxes - np.float32([0, 200, 0, 200])
    inside = moved.clip(0, np.float32([600, 200, 600, 200]))
    np.testing.assert_allclose(found.scores, by_hand.scores, atol=0.02)
    same = found.prior_indices == by_hand.prior_indices
    np.testing.assert_allclose(found.boxes[same], inside[same], atol=6)
    assert same.mean() > 0.5

    engine = tmp_path / "own.engine"
    call("build-engine", own, "--target", "onnxruntime", "-o", engine).fits()
    path = tmp_path / "p.png"
    assert cv2.imwrite(str(path), picture)
    compared = call("parity", engine, "--against", own, "--images", path, "--json")
    assert compared.code == 0, compared.json
    call("explain", path, "--engine", own, "--box", "10,10,90,90").fits()
    refused = call("detect", "--engine", own, path, "--tiles", "300x300")
    refused.fails(2, "by letterbox; tiles are stretched")
    refused = call(*base, "-o", own, "--preprocessing", told(LETTERBOX), "--input", "uint8")
    refused.fails(2, "not done inside a network")
    call("doctor", engine).fits()


@pytest.mark.slow
def test_reduced_decoding_goes_from_export_to_scores(
    call: Call, checkpoint: Path, tmp_path: Path, told: Callable[[object], Path]
) -> None:
    """What is found is what the picture decoded at a quarter has, in pixels of the whole."""
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    base = ("export", "--model", "mobilenet_v1", "--weights", checkpoint, "--labels", labels)
    fields = told({"reduced_decoding": True})
    files = {"plain": tmp_path / "plain.onnx", "own": tmp_path / "own.onnx"}
    files["pictures"] = tmp_path / "pictures.onnx"
    call(*base, "--heads", "-o", files["plain"]).fits()
    call(*base, "--heads", "-o", files["own"], "--preprocessing", fields).fits()
    call(*base, "-o", files["pictures"], "--preprocessing", fields, "--input", "uint8").fits()
    engine = tmp_path / "own.engine"
    call("build-engine", files["own"], "-o", engine, "--target", "onnxruntime").fits()
    for file in (files["own"], engine, files["pictures"]):
        shown = call("inspect", file, "--json").fits().json
        assert shown["preprocessing"]["reduced_decoding"] is True
        assert "large JPEG decoded at a fraction" in call("inspect", file).fits().out
    plain = call("inspect", files["plain"], "--json").fits().json
    assert "reduced_decoding" not in plain["preprocessing"]

    coarse = np.random.default_rng(0).integers(0, 256, (10, 12, 3)).astype(np.uint8)
    large, quarter = tmp_path / "large.jpg", tmp_path / "quarter.png"
    cv2.imwrite(str(large), cv2.resize(coarse, (3200, 2400)))
    cv2.imwrite(str(quarter), cv2.imread(str(large), cv2.IMREAD_REDUCED_COLOR_4))
    wanted = ("--score-threshold", 0.05, "--threads", 1, "--json")
    expected = call("detect", "--engine", files["plain"], quarter, *wanted).fits().json
    assert (expected["width"], expected["height"]) == (800, 600)
    assert expected["detections"]
    drawn = ("-o", tmp_path / "drawn")
    for more in (("--engine", files["own"]), ("--engine", engine, *drawn)):
        found = call("detect", *more, large, *wanted).fits().json
        assert (found["width"], found["height"]) == (3200, 2400)
        for own, other in zip(found["detections"], expected["detections"], strict=True):
            assert (own["name"], own["score"]) == (other["name"], other["score"])
            np.testing.assert_allclose(own["box"], np.multiply(4, other["box"]), atol=0.05)
    assert cv2.imread(str(tmp_path / "drawn" / "large.jpg")).shape == (2400, 3200, 3)
    inside = call("detect", "--engine", files["pictures"], large, *wanted).fits().json
    assert (inside["width"], inside["height"]) == (3200, 2400)
    assert inside["detections"]
