"""VOC, YOLO and CSV as people's tools write them, all of the same three boxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.datasets.coco import read_annotations  # noqa: E402
from ssd_small.datasets.coco_writer import Conversion  # noqa: E402
from ssd_small.datasets.csv_boxes import coco_from_csv  # noqa: E402
from ssd_small.datasets.picture_files import image_paths  # noqa: E402
from ssd_small.datasets.voc import coco_from_voc  # noqa: E402
from ssd_small.datasets.yolo import coco_from_yolo  # noqa: E402
from ssd_small.errors import BadFile  # noqa: E402

#: width, height and objects (x1, y1, x2, y2 in pixels from 0) by picture; one name has a blank
DATA: dict[str, tuple[int, int, list[tuple[str, int, int, int, int]]]] = {
    "a b": (120, 90, [("cat", 10, 20, 50, 60), ("dog", 0, 0, 30, 40)]),
    "c": (80, 100, [("cat", 5, 5, 70, 90)]),
}
NAMES = ("cat", "dog")


def picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def assert_the_same(made: Conversion, folder: Path, *, more: int = 0) -> None:
    """The boxes of DATA, in a file that the other commands take."""
    path = folder / "converted.json"
    path.write_text(json.dumps(made.content))
    truth = read_annotations(path)
    assert truth.findings.problems == []
    files = image_paths(truth, made.images)
    names = {image["id"]: file.stem for image, file in zip(truth.images, files, strict=True)}
    sizes = {names[one["id"]]: (one["width"], one["height"]) for one in truth.images}
    assert {name: sizes[name] for name in DATA} == {name: one[:2] for name, one in DATA.items()}
    assert len(sizes) == len(DATA) + more
    classes = {one["id"]: one["name"] for one in truth.categories}
    found = sorted(
        (names[one["image_id"]], classes[one["category_id"]], *one["bbox"]) for one in truth.boxes
    )
    expected = sorted(
        (name, label, x1, y1, x2 - x1, y2 - y1)
        for name, (_, _, objects) in DATA.items()
        for label, x1, y1, x2, y2 in objects
    )
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    # six decimals of a fraction: 5e-7 of centre and size, of 120 pixels
    numbers = ([one[2:] for one in found], [one[2:] for one in expected])
    assert np.abs(np.subtract(*numbers)).max() <= 2 * 5e-7 * 120 + 1e-9


# ---- Pascal VOC


def voc(
    folder: Path,
    annotations: str = "Annotations",
    images: str = "JPEGImages",
    *,
    below: str = "",
    encoding: str = "utf-8",
    declaration: str = '<?xml version="1.0" encoding="utf-8"?>',
    more: str = "",
    flag: str = "0",
    size: bool = True,
    file_name: str | None = None,
) -> Path:
    """DATA as XML; the words are what tools differ in."""
    for name, (width, height, objects) in DATA.items():
        picture(folder / images / below / f"{name}.jpg", width, height)
        parts = [
            f"<object><name>{label}</name><difficult>{flag}</difficult><bndbox><xmin>{x1 + 1}"
            f"</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for label, x1, y1, x2, y2 in objects
        ]
        shown = f"<size><width>{width}</width><height>{height}</height></size>" if size else ""
        named = f"{name}.jpg" if file_name is None else file_name
        text = (
            f"{declaration}<annotation>{more}<filename>{named}</filename>{shown}{''.join(parts)}"
            "</annotation>"
        )
        path = folder / annotations / below / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(encoding))
    return folder


def declared(encoding: str) -> dict[str, str]:
    return {
        "encoding": encoding,
        "declaration": f'<?xml version="1.0" encoding="{encoding}"?>',
    }


@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"annotations": "", "images": ""},
        {"annotations": "annots", "images": "images"},
        {"annotations": "annotations", "images": "images"},
        {"annotations": "ANNOTATIONS", "images": "Images"},
        {"below": "cam1/left"},
        {"flag": "Unspecified"},
        {"flag": "False"},
        {"flag": " "},
        {**declared("gb2312"), "more": "<folder>图片</folder>"},
        {**declared("cp1252"), "more": "<folder>é</folder>"},
        {**declared("utf-16"), "more": "<folder>図</folder>"},
        {"declaration": "", "encoding": "utf-8-sig"},
        {"declaration": ""},
        {"size": False},
        {"file_name": "elsewhere.png"},
        {"file_name": ""},
        {"more": "<path>C:\\Users\\x\\a.jpg</path>"},
    ],
    ids=str,
)
def test_voc_of_a_tool(tmp_path: Path, tool: dict[str, Any]) -> None:
    made = coco_from_voc(voc(tmp_path / "voc", **tool))
    assert_the_same(made, tmp_path)
    assert made.counts == ({"unclear_flags": 3} if tool.get("flag") == "Unspecified" else {})


def test_what_macos_leaves_in_an_archive_is_nothing(tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc")
    for name in ("Annotations/._c.xml", "JPEGImages/._c.jpg", "__MACOSX/Annotations/._c.xml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    assert_the_same(coco_from_voc(folder), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "a b\nc\n",
        '"a b"\r\n"c"\r\n',
        "a b.jpg\nc.xml\n",
        "a b  1\nc  0\n",
        "JPEGImages/a b.jpg\n/home/x/VOC2007/JPEGImages/c.jpg\n",
        "'a b' 1\nc\n",
    ],
)
def test_names_in_a_list(tmp_path: Path, text: str) -> None:
    folder = voc(tmp_path / "voc")
    path = folder / "ImageSets" / "Main" / "train.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode())
    assert_the_same(coco_from_voc(folder, "train"), tmp_path)


def test_a_split_may_be_a_folder(tmp_path: Path) -> None:
    """As Roboflow exports it: train/ and valid/, XML beside the pictures."""
    folder = tmp_path / "voc"
    voc(folder / "train", "", "")
    voc(folder / "valid", "", "")
    made = coco_from_voc(folder, "train")
    assert {one["file_name"] for one in made.content["images"]} == {"train/a b.jpg", "train/c.jpg"}
    assert_the_same(made, tmp_path)
    with pytest.raises(BadFile, match="choose from train, valid"):
        coco_from_voc(folder, "test")


def test_a_picture_that_is_named_goes_before_one_of_the_same_name(tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc")
    picture(folder / "JPEGImages" / "c.bmp", 40, 50)
    assert_the_same(coco_from_voc(folder), tmp_path)
    unnamed = voc(tmp_path / "unnamed", file_name="")
    picture(unnamed / "JPEGImages" / "c.bmp", 40, 50)
    with pytest.raises(BadFile, match=r"c\.xml could be of .*c\.bmp or .*c\.jpg"):
        coco_from_voc(unnamed)


def test_a_stale_name_of_another_annotation_is_not_followed(tmp_path: Path) -> None:
    """LabelImg keeps <filename> when files are renamed."""
    folder = voc(tmp_path / "voc")
    path = folder / "Annotations" / "c.xml"
    path.write_text(path.read_text().replace("c.jpg", "a b.jpg"))
    made = coco_from_voc(folder)
    assert_the_same(made, tmp_path)
    assert made.counts == {"renamed": 1}


def test_pictures_may_lie_elsewhere(tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc")
    (folder / "JPEGImages").rename(tmp_path / "pictures")
    with pytest.raises(BadFile, match=r"2 of 2 images are not in .*pass images"):
        coco_from_voc(folder)
    assert_the_same(coco_from_voc(folder, images=tmp_path / "pictures"), tmp_path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("utf-8", "nonsense-8"), "'nonsense-8', which Python does not know"),
        (("bndbox", "robndbox"), "rotated box"),
    ],
)
def test_xml_that_cannot_be_taken_is_named(
    tmp_path: Path, change: tuple[str, str], word: str
) -> None:
    folder = voc(tmp_path / "voc")
    path = folder / "Annotations" / "c.xml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(BadFile, match=rf"c\.xml .*{word}"):
        coco_from_voc(folder)


def test_another_encoding_than_declared_is_said(tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc")
    (folder / "Annotations" / "c.xml").write_bytes(b'<?xml version="1.0"?><annotation>\xe9')
    with pytest.raises(BadFile, match=r"c\.xml is not text in utf-8, .*save it as UTF-8"):
        coco_from_voc(folder)


# ---- YOLO


def yolo(
    folder: Path,
    images: str = "images",
    labels: str = "labels",
    *,
    config: str | None = "path: .\ntrain: images\nval: images\nnc: 2\nnames: ['cat', 'dog']\n",
    outline: bool = False,
) -> Path:
    """DATA as text labels, six decimals."""
    for name, (width, height, objects) in DATA.items():
        picture(folder / images / f"{name}.jpg", width, height)
        lines = []
        for label, x1, y1, x2, y2 in objects:
            x = [x1 / width, x2 / width]
            y = [y1 / height, y2 / height]
            values = (
                [x[0], y[0], x[1], y[0], x[1], y[1], x[0], y[1]]
                if outline
                else [sum(x) / 2, sum(y) / 2, x[1] - x[0], y[1] - y[0]]
            )
            lines.append(" ".join([str(NAMES.index(label)), *(f"{one:.6f}" for one in values)]))
        path = folder / labels / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    if config is not None:
        (folder / "data.yaml").write_text(config)
    return folder


def test_yolo_by_its_folder_and_by_its_data_yaml(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo")
    assert_the_same(coco_from_yolo(folder), tmp_path)
    assert_the_same(coco_from_yolo(folder / "data.yaml", "train"), tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        "train: ./images\nnames:\n  1: dog\n  0: cat\n",
        "path: /datasets/elsewhere\ntrain: images\nnames: [cat, dog]\n",
        "train: ../images\nval: ../valid/images\ntest: ../test/images\nnames: ['cat', 'dog']\n",
        "train: /home/x/data/images\nnames: ['cat', 'dog']\n",
        "train: [images]\nval: []\nnames: ['cat', 'dog']\n",
        "names: ['cat', 'dog']\n",
    ],
)
def test_paths_of_a_data_yaml_are_often_of_where_it_once_lay(tmp_path: Path, config: str) -> None:
    assert_the_same(coco_from_yolo(yolo(tmp_path / "yolo", config=config)), tmp_path)


@pytest.mark.parametrize("names", ["classes.txt", "obj.names"])
def test_labels_beside_the_pictures(tmp_path: Path, names: str) -> None:
    folder = yolo(tmp_path / "yolo", "", "", config=None)
    with pytest.raises(BadFile, match=r"does not name its classes .*pass labels FILE"):
        coco_from_yolo(folder)
    assert_the_same(coco_from_yolo(folder, labels=NAMES), tmp_path)
    (folder / names).write_text("cat\r\ndog\r\n")
    assert_the_same(coco_from_yolo(folder), tmp_path)


def test_splits_of_folders(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", "images/train", "labels/train", config="names: [cat, dog]\n")
    assert_the_same(coco_from_yolo(folder, "train"), tmp_path)
    with pytest.raises(BadFile, match="has no split 'val'"):
        coco_from_yolo(folder, "val")


def test_a_list_of_pictures(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", config="train: train.txt\nnames: [cat, dog]\n")
    (folder / "train.txt").write_text("./images/a b.jpg\nimages/c.jpg\n")
    assert_the_same(coco_from_yolo(folder, "train"), tmp_path)
    (folder / "train.txt").write_text("./images/no.jpg\n")
    with pytest.raises(BadFile, match=r"picture './images/no\.jpg' is not there"):
        coco_from_yolo(folder, "train")


def test_outlines_and_pictures_without_labels_are_counted(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", outline=True)
    picture(folder / "images" / "d.jpg", 30, 20)
    (folder / "labels" / "e.txt").write_text("\n")
    picture(folder / "images" / "e.jpg", 30, 20)
    made = coco_from_yolo(folder)
    assert_the_same(made, tmp_path, more=2)
    assert made.counts == {"outlines": 3}
    assert made.lines()[-1] == "1 of 4 pictures have no label file: no objects"


def test_a_picture_on_its_side_is_labelled_as_people_see_it(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="needs Pillow")
    exif = pil.Exif()
    exif[0x0112] = 6
    folder = yolo(tmp_path / "yolo")
    pil.new("RGB", (60, 40)).save(folder / "images" / "c.jpg", exif=exif)
    (folder / "labels" / "c.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    content = coco_from_yolo(folder).content
    (image,) = [one for one in content["images"] if one["file_name"] == "images/c.jpg"]
    assert (image["width"], image["height"]) == (40, 60)
    (box,) = [one["bbox"] for one in content["annotations"] if one["image_id"] == image["id"]]
    assert box == [10, 15, 20, 30]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("7 0.5 0.5 0.1 0.1", "class 7 is not one of the 2 classes, 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1 is not"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is not"),
        ("0 40 50 60 70", "70 is no fraction of the picture"),
        ("0 0.5 0.5 0.1", r"4 numbers \(too few\)"),
        ("0 0.5 0.5 0.1 0.1 0.9", "a detection with its score"),
        ("cat 0.5 0.5 0.1 0.1", "is not a label"),
        ("0 nan 0.5 0.1 0.1", "not finite"),
        ("nan 0.5 0.5 0.1 0.1", "is not a label"),
    ],
)
def test_a_line_that_is_no_label_is_named(tmp_path: Path, line: str, word: str) -> None:
    folder = yolo(tmp_path / "yolo")
    (folder / "labels" / "c.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(BadFile, match=rf"c\.txt, line 2: .*{word}"):
        coco_from_yolo(folder)


@pytest.mark.parametrize("names", ["names: 5\n", "names: {0: cat, 2: dog}\n", "nc: 2\n"])
def test_a_data_yaml_without_names_is_refused(tmp_path: Path, names: str) -> None:
    folder = yolo(tmp_path / "yolo", config=f"train: images\n{names}")
    with pytest.raises(BadFile, match="names"):
        coco_from_yolo(folder)


# ---- CSV


def csv_file(
    folder: Path,
    header: str,
    line: Callable[..., str],
    *,
    encoding: str = "utf-8",
    more: str = "",
) -> Path:
    """A line per object of DATA, made of name, width, height, label, x1, y1, x2, y2."""
    lines = [header] if header else []
    for name, (width, height, objects) in DATA.items():
        picture(folder / f"{name}.jpg", width, height)
        lines += [line(f"{name}.jpg", width, height, *one) for one in objects]
    path = folder / "boxes.csv"
    path.write_bytes(("\n".join(lines) + "\n" + more).encode(encoding))
    return path


def usual(name: str, _w: int, _h: int, label: str, *corners: int) -> str:
    return ",".join(map(str, (name, *corners, label)))


HEADER = "image,x1,y1,x2,y2,label"


@pytest.mark.parametrize(
    ("header", "line", "encoding"),
    [
        (HEADER, usual, "utf-8"),
        ("", usual, "utf-8"),
        (HEADER, usual, "utf-8-sig"),
        (HEADER, usual, "utf-16"),
        (HEADER.replace(",", ";"), lambda *a: usual(*a).replace(",", ";"), "utf-8"),
        (HEADER.replace(",", "\t"), lambda *a: usual(*a).replace(",", "\t"), "utf-8"),
        (
            "filename,width,height,class,xmin,ymin,xmax,ymax",
            lambda *a: ",".join(map(str, a)),
            "utf-8",
        ),
        ("", lambda *a: ",".join(map(str, a)), "utf-8"),
        (
            '"Image Path","X Min","Y Min","X-Max","Y_Max","Class Name"',
            lambda *a: ",".join(f'"{one}"' for one in usual(*a).split(",")),
            "utf-8",
        ),
        (
            "label,image,x,y,width,height",
            lambda n, w, h, label, a, b, c, d: f"{label},{n},{a}.0,{b},{c - a},{d - b}",
            "utf-8",
        ),
        # corners the other way round
        (
            "image,x2,y2,x1,y1,label",
            usual,
            "utf-8",
        ),
    ],
)
def test_csv_of_a_tool(
    tmp_path: Path, header: str, line: Callable[..., str], encoding: str
) -> None:
    made = coco_from_csv(csv_file(tmp_path / "csv", header, line, encoding=encoding))
    assert_the_same(made, tmp_path)
    assert made.counts == ({"swapped": 3} if header.startswith("image,x2") else {})


def test_a_name_alone_is_a_picture_without_objects(tmp_path: Path) -> None:
    picture(tmp_path / "csv" / "d.jpg", 30, 20)
    path = csv_file(tmp_path / "csv", "", usual, more="d.jpg,,,,,\n")
    assert_the_same(coco_from_csv(path), tmp_path, more=1)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ("c.jpg,1,2,x,4,cat\n", "line 5: x2 is 'x', expected a number"),
        ("c.jpg,1,2,inf,4,cat\n", "line 5: x2 is 'inf'"),
        ("c.jpg,1,2,3\n", "line 5: 4 columns, expected 6"),
        ("c.jpg,1,2,3,4,\n", "line 5: a box without label"),
        (",1,2,3,4,cat\n", "line 5: no name of a picture"),
        ("no.jpg,1,2,3,4,cat\n", r"line 5: picture 'no\.jpg' is not in .*pass the folder"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, more: str, word: str) -> None:
    path = csv_file(tmp_path / "csv", HEADER, usual, more=more)
    with pytest.raises(BadFile, match=rf"boxes\.csv, {word}"):
        coco_from_csv(path)


def test_files_that_are_no_boxes_are_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "csv", "", lambda *a: "")
    with pytest.raises(BadFile, match="holds no box"):
        coco_from_csv(path)
    path.write_text("image,label\nc.jpg,cat\n")
    with pytest.raises(BadFile, match="2 columns without x1, y1, x2, y2"):
        coco_from_csv(path)
    path.write_text(f"{HEADER}\nc.jpg,0.1,0.2,0.5,1,cat\n")
    with pytest.raises(BadFile, match="look like fractions"):
        coco_from_csv(path)
    path.write_bytes(b"\xff\xff\xe9")
    with pytest.raises(BadFile, match="not UTF-8"):
        coco_from_csv(path)
