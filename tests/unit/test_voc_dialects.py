"""Pascal VOC as people's tools write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from three_boxes import DATA, assert_the_same, picture

from ssd_small.datasets.voc import coco_from_voc
from ssd_small.errors import BadFile


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


@pytest.mark.parametrize("file_name", ["", "/", "..", "."])
def test_a_picture_that_is_missing_and_not_named_is_said(tmp_path: Path, file_name: str) -> None:
    folder = voc(tmp_path / "voc", file_name=file_name)
    (folder / "JPEGImages" / "c.jpg").unlink()
    with pytest.raises(BadFile, match=r"1 of 2 images .* the first is c;"):
        coco_from_voc(folder)
