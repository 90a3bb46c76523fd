"""Boxes in CSV files as people's tools write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from three_boxes import DATA, assert_the_same, picture

from ssd_small.datasets.csv_boxes import coco_from_csv
from ssd_small.errors import BadFile


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
        # as SKU-110K is published
        (
            "",
            lambda n, w, h, label, *corners: usual(n, w, h, label, *corners) + f",{w},{h}",
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
