"""What a detector finds in whatever holds a picture, whichever file it was opened from."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch")
PilImage = pytest.importorskip("PIL.Image")
for module in ("onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason=f"needs {module}")

from detection_models import OWN, Models, noise  # noqa: E402

from ssd_small import PictureDetections, PostprocessParams  # noqa: E402
from ssd_small.datasets.coco import read_annotations  # noqa: E402
from ssd_small.errors import BadFile, UsageError  # noqa: E402
from ssd_small.evaluation.evaluate import evaluate  # noqa: E402


def assert_alike(first: PictureDetections, second: PictureDetections) -> None:
    """Equal but for rounding: scores and boxes, and a few suppressed at the edge of the IoU.

    Heads of order 10 that come out of sums of a thousand products differ by about 1e-5; a score
    by a quarter of that at most, a box by a tenth of its prior's side, here under 100 pixels.
    """
    rows = [{(d.label, d.prior_index): d for d in found} for found in (first, second)]
    common = rows[0].keys() & rows[1].keys()
    assert len(common) >= 0.9 * max(map(len, rows)) > 0
    for key in common:
        one, other = (row[key] for row in rows)
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.box == pytest.approx(other.box, abs=1e-3)
        assert one.name == other.name


@pytest.mark.parametrize("kind", ["onnx", "checkpoint", "heads", "heads_engine"])
def test_every_kind_of_file_finds_the_same(kind: str, models: Models) -> None:
    with models.open("engine") as engine, models.open(kind) as other:
        assert_alike(engine(noise())[0], other(noise())[0])


@pytest.mark.parametrize("kind", ["engine", "checkpoint"])
def test_any_number_of_pictures_is_batched_and_each_gets_its_own_result(
    kind: str, models: Models
) -> None:
    pictures = [noise(seed, 40 + seed, 50) for seed in range(5)]
    with models.open(kind, max_batch=2) as detector:
        together = detector(pictures)
        assert [(found.width, found.height) for found in together] == [
            (50, 40 + seed) for seed in range(5)
        ]
        for picture, found in zip(pictures, together, strict=True):
            assert_alike(found, detector(picture)[0])


def test_a_picture_is_the_same_in_whatever_form_it_is_given(models: Models, tmp_path: Path) -> None:
    pixels = noise()
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), pixels)
    rgb = np.ascontiguousarray(pixels[:, :, ::-1])
    tensor = torch.from_numpy(rgb.transpose(2, 0, 1).copy())
    given = [pixels, path, str(path), PilImage.fromarray(rgb), tensor, tensor.flip(1).flip(1)]
    with models.open("engine") as detector:
        # one by one, as a batch of one, and with the channels turned
        results = [detector(one) for one in (*given, pixels[None], tensor[None])]
        results += [detector(rgb, color="RGB"), *(detector(p, color="RGB") for p in given[1:])]
        mixed, turned = detector(given), detector(rgb)[0]
    expected = results[0][0].to_dict()
    assert {len(found) for found in results} == {1}
    assert all(one.to_dict()["detections"] == expected["detections"] for (one,) in results)
    assert turned.to_dict() != expected
    for found in mixed:
        assert_alike(found, results[0][0])
    assert [one.image for one in mixed] == [None, str(path), str(path), None, None, None]


def test_the_path_of_a_picture_is_told_as_it_was_given(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), noise())
    monkeypatch.chdir(tmp_path)
    with models.open("engine") as detector, os.scandir(".") as entries:
        for given, told in (("./a.png", "./a.png"), (Path("a.png"), "a.png")):
            assert detector(given)[0].to_dict()["image"] == told
        assert [found.image for found in detector(entries)] == ["./a.png"]


def test_nothing_gives_nothing(models: Models) -> None:
    with models.open("engine") as detector:
        for nothing in ([], (), iter(()), np.zeros((0, 5, 5, 3), np.uint8)):
            assert detector(nothing) == []


def test_a_missing_picture_and_a_list_in_a_list_are_refused(models: Models) -> None:
    with models.open("engine") as detector:
        with pytest.raises(BadFile, match=r"image no\.png does not exist"):
            detector("no.png")
        with pytest.raises(UsageError, match="picture: got list"):
            detector([[noise()]])


@pytest.mark.parametrize("kind", ["own", "own_engine"])
def test_a_threshold_inside_the_engine_is_a_floor(kind: str, models: Models) -> None:
    with models.open(kind) as own, models.open("onnx") as low:
        everything = low(noise(), score_threshold=0.01)[0]
        by_default = own(noise())[0]
        assert 0 < len(by_default) < len(everything)
        assert_alike(by_default, everything[everything.scores > OWN])
        higher = own(noise(), score_threshold=0.95)[0]
        passing = by_default[by_default.scores > np.float32(0.95)]
        assert higher.to_dict() == passing.to_dict()
        assert 0 < len(higher) < len(by_default)
        for lower in (0.3, {"dog": 0.3}):
            with pytest.raises(UsageError, match=r"0\.3 is below 0\.9"):
                own(noise(), score_threshold=lower)


@pytest.mark.parametrize("kind", ["heads", "heads_engine", "checkpoint"])
def test_a_threshold_outside_of_the_engine_is_free(kind: str, models: Models) -> None:
    with models.open(kind, params=PostprocessParams(score_threshold=OWN)) as detector:
        by_default = detector(noise())[0]
        more = detector(noise(), score_threshold=0.7)[0]
        assert len(more) > len(by_default) > 0
        assert more.scores.min() < OWN
        again = more[more.scores > np.float32(OWN)]
        # what scores more is neither suppressed nor cut off by what scores less
        assert again.to_dict() == by_default.to_dict()


@pytest.mark.parametrize("kind", ["engine", "onnx", "checkpoint"])
def test_what_is_closed_detects_no_more(kind: str, models: Models) -> None:
    detector = models.open(kind)
    detector.warmup()
    with detector as entered:
        assert entered is detector
        assert len(entered(noise())) == 1
        spent = detector.spent
    detector.close()
    for call in (lambda: detector(noise()), lambda: detector.stream([]), detector.warmup):
        with pytest.raises(UsageError, match="this detector has been closed; load it again"):
            call()
    with pytest.raises(UsageError, match="this engine has been closed; open it again"):
        detector.runtime.infer(np.zeros((1, 3, 300, 300), np.float32))
    assert detector.spent == spent
    assert spent["network"] > 0
    assert (spent["decode_nms"] > 0) == (kind == "checkpoint")


def test_two_detectors_in_two_threads_find_what_one_finds(models: Models) -> None:
    pictures = [noise(seed) for seed in range(4)]
    found: dict[str, Any] = {}

    def work(kind: str) -> None:
        with models.open(kind, threads=1, max_batch=2) as detector:
            found[kind] = detector(pictures)

    threads = [threading.Thread(target=work, args=(kind,)) for kind in ("engine", "onnx")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with models.open("engine") as detector:
        alone = detector(pictures)
    for results in (found["engine"], found["onnx"]):
        for first, second in zip(results, alone, strict=True):
            assert_alike(first, second)


def test_evaluation_scores_what_the_detector_finds(models: Models, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    images = [
        {"id": seed, "file_name": f"{seed}.png", "width": 80, "height": 60} for seed in (1, 2)
    ]
    for image in images:
        assert cv2.imwrite(str(tmp_path / str(image["file_name"])), noise(int(image["id"])))
    categories = [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}]
    truth = {"images": images, "categories": categories, "annotations": []}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    annotations = read_annotations(str(tmp_path / "truth.json"))
    with models.open("engine") as detector:
        found = detector([noise(1), noise(2)], score_threshold=0.01)
        for source in (str(tmp_path), tmp_path, [noise(1), noise(2)]):
            results = evaluate(detector, annotations, source).results
            assert results.scores.tolist() == [s for one in found for s in one.scores]
            assert results.category_ids.tolist() == [
                {"cat": 5, "dog": 9}[name] for one in found for name in one.names
            ]
