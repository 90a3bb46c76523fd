"""``ssd-small explain``: an object followed through decode + NMS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")

Call = Callable[..., Outcome]
KEYS = {"verdict", "prior_index", "level", "iou", "score", "by"}


@pytest.fixture(scope="module")
def picture(pictures: Path) -> Path:
    return min(pictures.iterdir())


@pytest.fixture
def found(call: Call, engine: Path, picture: Path) -> dict[str, Any]:
    """The best detection of random weights, as eval's threshold shows them."""
    report = call("detect", picture, "--engine", engine, "--score-threshold", "0.01", "--json")
    best: dict[str, Any] = report.fits().json["detections"][0]
    return best


def box_of(found: dict[str, Any]) -> str:
    x1, y1, x2, y2 = found["box"]
    return f"{x1},{y1},{x2 - x1},{y2 - y1}"


def test_what_detect_shows_is_found_and_names_its_prior(
    call: Call, engine: Path, picture: Path, found: dict[str, Any]
) -> None:
    run = ("explain", picture, "--engine", engine, "--box", box_of(found))
    told = call(*run, "--score-threshold", "0.01", "--json").fits().json
    assert set(told) >= KEYS
    assert told["verdict"] == "found"
    assert told["iou"] > 0.5
    assert told["name"] in ("cat", "dog")
    text = call(*run, "--score-threshold", "0.01").fits().out
    assert text.startswith("found: as ")
    assert f"prior {told['prior_index']} of level {told['level']}" in text


def test_a_checkpoint_tells_the_same_as_the_engine_made_from_it(
    call: Call, engine: Path, checkpoint: Path, picture: Path, found: dict[str, Any]
) -> None:
    given = ("--box", box_of(found), "--score-threshold", "0.01", "--json")
    own = call("explain", picture, "--engine", engine, *given).fits().json
    weights = ("--model", "mobilenet_v1", "--weights", checkpoint)
    other = call("explain", picture, *weights, *given).fits().json
    # the names of the classes are in the engine alone
    for key in ("verdict", "prior_index", "level", "label"):
        assert own[key] == other[key]
    assert own["score"] == pytest.approx(other["score"], abs=1e-5)


def test_the_threshold_is_that_of_detect(
    call: Call, engine: Path, picture: Path, found: dict[str, Any]
) -> None:
    run = ("explain", picture, "--engine", engine, "--box", box_of(found), "--json")
    told = call(*run, "--score-threshold", "1").fits().json
    assert told["verdict"] == "below threshold"
    assert told["by"] == {"rule": "score_threshold", "threshold": 1.0}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--box", "1,2,3"), 2, "expected x,y,width,height"),
        (("--box", "1,2,3,nan"), 2, "expected x,y,width,height"),
        (("--box", "5,5,0,4"), 2, "expected x,y,width,height in pixels of a picture of"),
        (("--box", "9000,5,4,4"), 2, "with some of it inside"),
        (("--box", "5,5,4,4", "--label", "cow"), 2, "its classes are cat, dog"),
        (("--box", "5,5,4,4", "--weights", "x.pth"), 2, "one of --engine and --weights"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    call: Call, engine: Path, picture: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    call("explain", picture, "--engine", engine, *arguments).fails(code, words)


def test_there_must_be_a_picture_and_a_network(
    call: Call, engine: Path, picture: Path, tmp_path: Path
) -> None:
    box = ("--box", "5,5,4,4")
    call("explain", picture, *box).fails(2, "pass --engine FILE or --weights FILE")
    call("explain", tmp_path / "x.png", "--engine", engine, *box).fails(4, "does not exist")
