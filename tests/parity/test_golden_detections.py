"""From picture file to detections by the commands: what other projects found with seeded weights.

The golden files say which of their detections no rounding decides (``safe_above``): these must be
found to the last one, of all 99 in a hundred. Boxes of projects that do not cut them to the picture
are cut here, as all that is shown of a picture is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_import as golden
import numpy as np
import numpy.typing as npt
import pytest
import torch

import ssd_small
from ssd_small.pictures.preprocessing import input_from_image

pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]
#: the files allow heads that are 1e-2 apart: two logits move a score by a quarter of their sum at
#: most, and the numbers of a centre and a side a corner by 0.1 and a half of 0.2 of that, of a
#: prior as wide as the widest picture
SCORES, PIXELS = 2e-2 / 4, (0.1 + 0.2 / 2) * 1e-2 * 451
#: of networks that are less deep or of larger weights, what is asked of a port: 1e-3 pixels of a
#: picture of 300 (of 451 across here) and 1e-5 of a score
EXACT = ("torchvision_ssd300_vgg16", "qfgaohao_mb1-ssd")
#: of 0 to 255, four operations of float32; pixels that are resized as uint8 are the same
LEVELS = 255 * 4 * 2**-23

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=golden.SEEDED)
def reference(request: Any) -> golden.Reference:
    return golden.reference(request.param)


@pytest.fixture
def weights(reference: golden.Reference, call: Callable[..., Any], tmp_path: Path) -> Path:
    torch.save(reference.state, tmp_path / "theirs.pth")
    call("import", tmp_path / "theirs.pth", "-o", tmp_path / "x.pth").fits()
    return tmp_path / "x.pth"


def _pictures(reference: golden.Reference, folder: Path) -> list[Path]:
    from PIL import Image

    paths = [folder / f"{name}.png" for name in reference.pictures]
    for path in paths:
        Image.fromarray(reference.picture(path.stem)).save(path)
    return paths


def _lines(call: Callable[..., Any], *words: object) -> list[dict[str, Any]]:
    done = call("detect", *words, "--json", "--threads", 1).fits()
    return [json.loads(line) for line in done.out.splitlines()]


def _unmatched(reference: golden.Reference, line: dict[str, Any]) -> tuple[list[float], int]:
    """Scores of their detections that have none of ours for themselves, and how many ours are."""
    exact = reference.said["name"] in EXACT
    score_off, pixels = (1e-5, 1e-3 * line["width"] / 300) if exact else (SCORES, PIXELS)
    picture = Path(line["image"]).stem
    limit = np.array([line["width"], line["height"]] * 2, np.float32)
    left, lost = list(line["detections"]), []
    boxes, scores, labels = (reference.of(picture, k) for k in ("boxes", "scores", "labels"))
    for box, score, label in zip(boxes.clip(0, limit), scores, labels, strict=True):
        fits = [
            one
            for one in left
            if one["label"] == label
            and abs(one["score"] - score) <= score_off
            and np.abs(np.array(one["box"]) - box).max() <= pixels
        ]
        if fits:
            left.remove(min(fits, key=lambda one: float(np.abs(np.array(one["box"]) - box).max())))
        else:
            lost.append(float(score))
    return lost, len(left)


def _check(reference: golden.Reference, lines: list[dict[str, Any]]) -> None:
    assert [Path(line["image"]).stem for line in lines] == reference.pictures
    for line in lines:
        margins = reference.said["margins"][Path(line["image"]).stem]
        lost, ours_alone = _unmatched(reference, line)
        assert margins["safe_detections"] > 30
        assert [score for score in lost if score > margins["safe_above"]] == []
        count = len(line["detections"])
        assert count >= 200
        assert max(len(lost), ours_alone) <= 0.01 * count


def test_what_their_projects_find(
    reference: golden.Reference, weights: Path, call: Callable[..., Any], tmp_path: Path
) -> None:
    """By the checkpoint, and by ONNX Runtime with the parameters that ``export`` takes over."""
    paths = _pictures(reference, tmp_path)
    post = reference.said["post"]
    shown = ("--score-threshold", post["score_threshold"])
    lines = _lines(call, "--weights", weights, *paths, *shown)
    _check(reference, lines)
    for line in lines:  # the comparison can fail
        moved = [one | {"box": [v + 2 for v in one["box"]]} for one in line["detections"]]
        assert len(_unmatched(reference, line | {"detections": moved})[0]) > 100
    call("export", "--weights", weights, "-o", tmp_path / "x.onnx").fits()
    _check(reference, _lines(call, "--engine", tmp_path / "x.onnx", *paths, *shown))


def test_the_network_is_given_what_theirs_is(reference: golden.Reference, weights: Path) -> None:
    with ssd_small.load(weights, threads=1) as detector:
        given = detector.description.preprocessing
        post, own = reference.said["post"], detector.params
    assert (own.score_threshold, own.iou_threshold) == (
        post["score_threshold"], post["iou_threshold"],
    )  # fmt: skip
    assert (own.pre_nms_topk, own.keep_topk) == (post["pre_nms_topk"], post["keep_topk"])
    assert (own.clip_boxes, own.variances) == (post["clip_before_nms"], tuple(post["variances"]))
    for name in reference.pictures:
        image = np.ascontiguousarray(reference.picture(name)[..., ::-1])
        ours = input_from_image(image, given).reshape(3, -1)
        theirs = reference.of(name, "input")
        ours = ours[:, reference.of(name, "input_index")]
        apart = np.abs(ours - theirs) * np.reshape(given.std, (-1, 1))
        assert apart.max() <= LEVELS
