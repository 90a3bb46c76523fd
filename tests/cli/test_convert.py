"""convert: what a user types and reads, and files that the other commands take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from voc_folder import VocFolder, xml  # noqa: E402

#: (x, y, width, height) of two pictures of 320 x 256, whose sides are powers of two
#: or so divided that six decimals of a fraction hold them
TRUTH = {"a": [(10, 16, 80, 64), (160, 128, 40, 32)], "b": [(0, 0, 320, 256)]}
WIDTH, HEIGHT = 320, 256


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of the pictures of TRUTH."""
    folder = tmp_path / "data" / "images"
    folder.mkdir(parents=True)
    for name in TRUTH:
        image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        assert cv2.imwrite(str(folder / f"{name}.jpg"), image)
    return folder


def voc(folder: Path) -> Path:
    for name, boxes in TRUTH.items():
        objects = [("cat", (x + 1, y + 1, x + w, y + h)) for x, y, w, h in boxes]
        text = xml(objects, (WIDTH, HEIGHT)).replace("x.jpg", f"{name}.jpg")
        (folder / "annots").mkdir(exist_ok=True)
        (folder / "annots" / f"{name}.xml").write_text(text)
    return folder


def yolo(folder: Path) -> Path:
    for name, boxes in TRUTH.items():
        lines = [
            f"0 {(x + w / 2) / WIDTH:.6f} {(y + h / 2) / HEIGHT:.6f} {w / WIDTH:.6f} "
            f"{h / HEIGHT:.6f}\n"
            for x, y, w, h in boxes
        ]
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{name}.txt").write_text("".join(lines))
    path = folder / "data.yaml"
    path.write_text("train: images\nval: images\nnc: 1\nnames: [cat]\n")
    return path


def csv(folder: Path) -> Path:
    lines = [
        f"images/{name}.jpg,{x},{y},{x + w},{y + h},cat\n"
        for name, boxes in TRUTH.items()
        for x, y, w, h in boxes
    ]
    path = folder / "boxes.csv"
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("write", [voc, yolo, csv], ids=lambda one: one.__name__)
def test_what_is_converted_comes_back_and_trains(call: Any, pictures: Path, write: Any) -> None:
    pytest.importorskip("torch")
    from ssd_small.training.dataset import DetectionDataset

    source, output = write(pictures.parent), pictures.parent / "out.json"
    done = call("convert", "--from", write.__name__, source, "-o", output, "--json").fits()
    report = done.json
    assert (report["images"], report["objects"], report["labels"]) == (2, 3, ["cat"])
    assert report["notes"] == []
    assert done.err == ""
    content = json.loads(output.read_text())
    names = {one["id"]: Path(one["file_name"]).stem for one in content["images"]}
    found = [(names[one["image_id"]], one["bbox"]) for one in content["annotations"]]
    expected = [(name, list(box)) for name, boxes in TRUTH.items() for box in boxes]
    assert [one[0] for one in found] == [one[0] for one in expected]
    # six decimals: 5e-7 of centre and of half the size, of 320 pixels
    difference = np.subtract([one[1] for one in found], [one[1] for one in expected])
    assert np.abs(difference).max() <= 1.5 * 5e-7 * WIDTH + 1e-9
    data = DetectionDataset.from_coco(output, report["images_folder"])
    assert [len(data[i].labels) for i in range(2)] == [2, 1]
    assert data.report.notes() == []
    text = call("convert", "--from", write.__name__, source, "-o", output).fits().out
    assert text.endswith(f"pass it with --images {report['images_folder']}\n")


def test_convert_voc_is_the_same(call: Any, tmp_path: Path) -> None:
    folder = VocFolder(tmp_path / "voc")
    folder.add("a", xml([("cat", (5, 5, 30, 30))]))
    outputs = tmp_path / "old.json", tmp_path / "new.json"
    old = call("convert-voc", "--folder", folder.path, "-o", outputs[0]).fits()
    new = call("convert", "--from", "voc", folder.path, "-o", outputs[1]).fits()
    assert old.out.replace("old.json", "new.json") == new.out
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_notes_are_said_and_in_json(call: Any, pictures: Path) -> None:
    yolo(pictures.parent)
    (pictures.parent / "labels" / "b.txt").unlink()
    done = call("convert", "--from", "yolo", pictures.parent, "-o", pictures / "o.json", "--json")
    assert done.fits().json["notes"] == ["1 of 2 pictures have no label file: no objects"]
    assert done.err == "note: 1 of 2 pictures have no label file: no objects\n"


def test_what_lies_outside_is_left_out_and_said(call: Any, pictures: Path) -> None:
    path = csv(pictures.parent)
    path.write_text(path.read_text() + "images/a.jpg,100000,200000,300000,400000,cat\n")
    done = call("convert", "--from", "csv", path, "-o", pictures / "o.json", "--json")
    assert done.fits().json["notes"] == ["1 objects wholly outside of their picture were left out"]


@pytest.mark.parametrize("number", ["1_0", "\uff11", "\u0661"])
def test_numbers_of_python_alone_are_none(call: Any, pictures: Path, number: str) -> None:
    path = pictures.parent / "boxes.csv"
    path.write_text(f"images/a.jpg,1,2,30,{number},cat\n", encoding="utf-8")
    call("convert", "--from", "csv", path, "-o", pictures / "o.json").fails(4, "boxes.csv")


def test_a_file_beside_a_csv_may_be_written_where_pictures_lie_elsewhere(
    call: Any, pictures: Path
) -> None:
    path = csv(pictures.parent)
    output = pictures.parent / "outfile"
    output.touch()
    call("convert", "--from", "csv", path, "-o", output).fails(2, "would overwrite")
    path.write_text(path.read_text().replace("images/", ""))
    call("convert", "--from", "csv", path, "--images", pictures, "-o", output).fits()


def test_a_file_that_is_refused_leaves_no_output(call: Any, pictures: Path) -> None:
    output = pictures / "o.json"
    source = csv(pictures.parent)
    source.write_text(f"{source.read_text()}images/a.jpg,1,2,x,4,cat\n")
    arguments = ("convert", "--from", "csv", source, "-o", output, "--json")
    call(*arguments).fails(4, "boxes.csv, line 4: x2 is 'x'")
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "csv", "--split", "train"), ("--split", "leave it out")),
        (("--from", "yolo", "--zero-based"), ("--zero-based", "voc")),
        (("--from", "csv", "--keep-difficult"), ("--keep-difficult", "voc")),
        (("--from", "coco"), ("'coco'",)),
        ((), ("--from",)),
    ],
)
def test_options_that_do_not_go_together(
    call: Any, pictures: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    output = pictures / "o.json"
    call("convert", *arguments, csv(pictures.parent), "-o", output).fails(2, *words)
    assert not output.exists()


def test_the_source_is_not_overwritten(call: Any, pictures: Path) -> None:
    source = csv(pictures.parent)
    call("convert", "--from", "csv", source, "-o", source).fails(2, "would overwrite")
    assert source.read_text().startswith("images/a.jpg,10,")
