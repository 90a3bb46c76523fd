"""Sets of a devkit from the command line: learned from, gone on with, and scored three ways."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from devkit_folder import write_coco_set, write_devkit

SETS = ("--sets", "2007:trainval,2012:trainval")
VAL = ("--val-sets", "2007:test")
TEST = ("--sets", "2007:test")


@pytest.fixture(scope="module")
def devkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "kit"
    write_devkit(folder)
    return folder


def short_run(devkit: Path, output: Path, *more: object) -> tuple[object, ...]:
    """Two updates of a small network on all sets."""
    return (
        *("train", "--model", "mobilenet_v1", "--annotations", devkit, "--output", output),
        *("--width", 0.1, "--batch", 2, "--lr", 0.01, "--iterations", 2, "--workers", 0),
        *("--threads", 1, "--device", "cpu", "--log-every", 1, *SETS, *more),
    )


def report_of(outcome) -> dict[str, Any]:
    return json.loads(outcome.fits().out)


@pytest.fixture
def scored(call, devkit, tmp_path):
    """eval of a list of (image, category, box, score) on the sets given."""

    def run(entries, *arguments):
        path = tmp_path / "found.json"
        keys = ("image_id", "category_id", "bbox", "score")
        path.write_text(json.dumps([dict(zip(keys, one, strict=True)) for one in entries]))
        return call("eval", "--detections", path, "--annotations", devkit, *arguments)

    return run


CAT, DOG = 8, 12


def test_three_metrics_of_the_same_detections(scored) -> None:
    """2007's trainval: a cat, a dog, and a dog that is difficult, in pictures 1, 1 and 2."""
    entries = [
        (1, CAT, [4, 4, 26, 26], 0.9),
        (2, DOG, [10, 10, 30, 40], 0.8),  # the difficult one, twice
        (2, DOG, [10, 10, 30, 39], 0.7),
        (2, DOG, [60, 40, 10, 10], 0.6),  # wrong
        (1, DOG, [39, 19, 31, 31], 0.5),
    ]
    sets = ("--sets", "2007:trainval")
    for metric in ("voc07", "voc12"):
        report = report_of(
            scored(entries, *sets, "--metric", metric, "--score-threshold", 0.5, "--json")
        )
        assert (report["metric"], report["sets"]) == (metric, ["2007:trainval"])
        # the cat 1; the dog: wrong, then right
        assert report["metrics"] == {"AP": pytest.approx(0.75, abs=1e-15)}
        by_name = {one["name"]: one for one in report["classes"]}
        assert len(by_name) == 20
        assert by_name["dog"] == {
            "name": "dog",
            "AP": 0.5,
            "ap": 0.5,
            "ap50": 0.5,
            "boxes": 1,
            "detections": 4,
        }
        assert by_name["person"]["AP"] is None
        assert (report["boxes"], report["difficult"]) == (3, 1)
        point = report["operating_point"]
        assert (point["true_positives"], point["false_positives"]) == (1, 1)
    coco = report_of(scored(entries, *sets, "--json"))
    assert coco["metric"] == "coco"
    # COCO passes over it too: five detections, of which two count neither way
    assert coco["metrics"]["AP50"] == pytest.approx(0.75)
    assert len(coco["metrics"]) == 12


def test_the_text_names_the_metric_and_what_does_not_count(scored) -> None:
    entries = [(1, CAT, [4, 4, 26, 26], 0.9)]
    shown = scored(entries, "--sets", "2007:trainval", "--metric", "voc07").fits().out
    assert "Pascal VOC metric, AP at IoU 0.5 by 11 points (2007), from 0 to 1" in shown
    assert ", 2007:trainval: 2 images, 2 boxes and 1 difficult objects, which do not count" in shown
    columns = next(line for line in shown.splitlines() if line.startswith("class"))
    assert "AP50" not in columns
    assert "AR_1" not in shown
    cat = next(line for line in shown.splitlines() if line.startswith("cat"))
    assert cat.split()[:4] == ["cat", "1", "1", "1.000"]
    shown = scored(entries, "--sets", "2007:trainval", "--metric", "voc12").fits().out
    assert "by area (2012)" in shown


def test_min_map_is_held_against_the_metric_asked_for(scored) -> None:
    # IoU 0.65: right at 0.5, not from 0.7 on
    entries = [(1, CAT, [4, 4, 26, 17], 0.9), (1, DOG, [39, 19, 31, 31], 0.5)]
    least = ("--sets", "2007:trainval", "--min-map", 0.9)
    scored(entries, *least, "--metric", "voc12").fits()
    scored(entries, *least, "--metric", "coco").fails(1, "is below --min-map 0.9")
    scored(entries[:1], *least, "--metric", "voc12").fails(1, "AP 0.5000 is below --min-map 0.9")


def test_coco_json_with_difficult_and_crowds_by_the_rule_of_voc(call, tmp_path) -> None:
    content = write_coco_set(tmp_path, "val2017", [1, 2, 3])
    content["annotations"][1]["difficult"] = 1
    content["annotations"][2]["iscrowd"] = 1
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(json.dumps(content))
    boxes = content["annotations"]
    found.write_text(json.dumps([
        {"image_id": b["image_id"], "category_id": 4, "bbox": b["bbox"], "score": b["id"] / 9}
        for b in boxes
    ]))  # fmt: skip
    base = ("eval", "--detections", found, "--annotations", truth, "--json", "--metric")
    report = report_of(call(*base, "voc07"))
    assert report["metrics"] == {"AP": 1.0}
    assert (report["classes"][0]["boxes"], report["boxes"]) == (1, 3)
    # to COCO a difficult object is one like any other
    assert report_of(call(*base, "coco"))["classes"][0]["boxes"] == 2


def test_faults_of_the_user(call, devkit, scored, tmp_path) -> None:
    for text in ("2007", "2007:../test", "2007:test,2007:test", ""):
        scored([], "--sets", text).fails(2, "YEAR:SPLIT")
    scored([], "--sets", "2009:test").fails(4, "no set 2009:test", "there is 2007:test")
    scored([]).fails(4, "is a folder of sets", "--sets YEAR:SPLIT", "2007:trainval")
    scored([], *TEST, "--metric", "voc10").fails(2, "--metric")
    scored([], *TEST, "--images", devkit).fails(2, "--images does not go with --sets")
    run = tmp_path / "run"
    call(*short_run(devkit, run, "--images", devkit)).fails(2, "--images does not go with --sets")
    call(*short_run(devkit, run, *VAL)).fails(2, "--val-sets goes with --val-annotations")
    call(*short_run(tmp_path / "none", run)).fails(4, "none is not there", "2007:trainval")
    val = ("--val-annotations", devkit, "--val-sets", "2007:val")
    call(*short_run(devkit, run, *val)).fails(4, "no set 2007:val")
    assert not run.exists() or not list(run.iterdir())


@pytest.fixture(scope="module")
def trained(devkit, tmp_path_factory) -> Path:
    """A run of two updates on both years, scored on the test set."""
    pytest.importorskip("torchvision", reason="needs torchvision")
    pytest.importorskip("hotcoco", reason="needs hotcoco")
    from ssd_small.cli import main

    output = tmp_path_factory.mktemp("sets-run") / "run"
    arguments = short_run(devkit, output, "--val-annotations", devkit, *VAL)
    main([str(one) for one in arguments])
    return output


def test_a_run_remembers_its_sets(trained, devkit) -> None:
    record = json.loads((trained / "run.json").read_text())
    data = record["data"]
    assert data["annotations"]["sets"] == "2007:trainval,2012:trainval"
    assert data["val_annotations"]["sets"] == "2007:test"
    assert data["annotations"]["path"] == data["val_annotations"]["path"] == str(devkit)
    assert data["annotations"]["sha256"] != data["val_annotations"]["sha256"]
    assert data["images"] is None
    assert len(record["labels"]) == 20
    log = (trained / "train.log").read_text()
    # the difficult dog is learned too
    assert "4 images, 5 boxes" in log
    assert "iscrowd" not in log


def test_a_checkpoint_of_sets_is_scored_by_each_metric(call, trained, devkit) -> None:
    pytest.importorskip("torchvision", reason="needs torchvision")
    base = ("eval", "--weights", trained / "last.pth", "--annotations", devkit, *TEST, "--json")
    reports = {m: report_of(call(*base, "--metric", m)) for m in ("coco", "voc07", "voc12")}
    for metric, report in reports.items():
        assert (report["metric"], report["images"], report["boxes"]) == (metric, 2, 2)
        assert report["protocol"]["name"] == "deploy"
        assert 0 <= report["metrics"]["AP"] <= 1
        assert report["detections"] == reports["coco"]["detections"] > 0


def test_a_run_on_sets_goes_on_where_they_lie_now(call, trained, devkit, tmp_path) -> None:
    from ssd_small.training.options import job_from_options

    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(trained, run)
    shutil.copytree(devkit, moved)
    job = job_from_options(run, {}, resume=True)
    assert (job.annotations, job.images, job.images_root) == (devkit, None, devkit)
    assert job.sets == (("2007", "trainval"), ("2012", "trainval"))
    again = ("train", "--output", run, "--resume")
    places = ("--annotations", moved, "--val-annotations", moved)
    call(*again, *places).fits()
    assert json.loads((run / "run.json").read_text())["data"]["annotations"]["path"] == str(moved)
    call(*again, "--sets", "2007:trainval").fails(2, "annotations")
    call(*again, "--images", moved).fails(2, "--images does not go with --sets")
    xml = moved / "VOC2012" / "Annotations" / "e.xml"
    xml.write_text(xml.read_text().replace("<xmax>45<", "<xmax>46<"))
    call(*again).fails(2, "annotations")


def test_a_record_whose_sets_are_damaged(call, trained, tmp_path) -> None:
    for value in ("2007", "../x:y", 5, "2007:trainval,2007:trainval"):
        run = tmp_path / "run"
        shutil.copytree(trained, run, dirs_exist_ok=True)
        record = json.loads((run / "run.json").read_text())
        record["data"]["annotations"]["sets"] = value
        (run / "run.json").write_text(json.dumps(record))
        call("train", "--output", run, "--resume").fails(4, "run.json is incomplete or damaged")
