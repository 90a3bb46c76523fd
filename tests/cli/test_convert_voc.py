"""convert-voc: from a VOC folder to a file the other commands take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from voc_folder import VocFolder, xml


@pytest.fixture
def voc(tmp_path: Path) -> VocFolder:
    folder = VocFolder(tmp_path / "VOC2007")
    folder.add("a", xml([("cat", (5, 5, 30, 30)), ("dog", (20, 20, 60, 50))]))
    folder.add("b", xml([("cat", (1, 1, 80, 60))]))
    folder.split("train", "a\n")
    return folder


def test_the_file_is_one_that_training_takes(call, voc, tmp_path):
    pytest.importorskip("torch")
    from ssd_small.training.dataset import DetectionDataset

    output = tmp_path / "new" / "train.json"
    outcome = call("convert-voc", "--folder", voc.path, "--split", "train", "-o", output).fits()
    assert f"1 images, 2 objects of 2 classes; pass it with --images {voc.path}" in outcome.out
    assert outcome.err == ""
    data = DetectionDataset.from_coco(output, voc.path / "JPEGImages")
    assert data[0].boxes_xyxy.tolist() == [[4, 4, 30, 30], [19, 19, 60, 50]]
    assert data[0].labels.tolist() == [1, 2]
    assert data.report.notes() == []


def test_json_and_notes(call, voc, tmp_path):
    voc.add(
        "c", xml([("cow", (0, 5, 9, 9)), ("cat", (5, 5, 2, 9))], more="<difficult>1</difficult>")
    )
    (tmp_path / "labels.txt").write_text("dog\ncat\ncow\n")
    output = tmp_path / "all.json"
    base = ("convert-voc", "--devkit", voc.path, "-o", output, "--json")
    outcome = call(*base, "--labels", tmp_path / "labels.txt").fits()
    report = json.loads(outcome.out)
    assert (report["images"], report["objects"], report["labels"]) == (3, 5, ["dog", "cat", "cow"])
    assert (report["difficult"], report["swapped"], report["from_zero"]) == (2, 1, 1)
    for words in ("2 objects marked difficult", "1 objects had their corners", "pass --zero-based"):
        assert words in outcome.err
    categories = json.loads(output.read_text())["categories"]
    assert categories[0] == {"id": 1, "name": "dog"}
    outcome = call(*base, "--zero-based", "--keep-difficult").fits()
    assert "difficult" not in outcome.err
    assert "--zero-based" not in outcome.err


def test_other_classes_are_named(call, voc, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\n")
    arguments = ("--folder", voc.path, "--labels", tmp_path / "labels.txt")
    outcome = call("convert-voc", *arguments, "-o", tmp_path / "o.json", "--json").fits()
    assert json.loads(outcome.out)["other_classes"] == {"dog": 1}
    assert "1 objects of other classes left out: dog" in outcome.err


def test_a_failure_leaves_an_older_file_whole(call, voc, tmp_path):
    output = tmp_path / "train.json"
    output.write_text("older")
    (voc.path / "Annotations" / "b.xml").write_text("<annotation>")
    call("convert-voc", "--folder", voc.path, "-o", output).fails(4, "b.xml", "is not XML")
    assert output.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["train.json"]


def test_faults_of_the_user(call, voc, tmp_path):
    output = tmp_path / "o.json"
    call("convert-voc", "-o", output).fails(2, "--folder")
    call("convert-voc", "--folder", voc.path).fails(2, "--output")
    call("convert-voc", "--folder", tmp_path / "none", "-o", output).fails(4, "Annotations")
    call("convert-voc", "--folder", voc.path, "--split", "val", "-o", output).fails(4, "'val'")
    call("convert-voc", "--folder", voc.path, "-o", tmp_path).fails(4, "it is a folder")
    labels = ("--labels", tmp_path / "no.txt")
    call("convert-voc", "--folder", voc.path, *labels, "-o", output).fails(4, "no.txt")
    assert not output.exists()
