"""convert says yes to nothing that the other commands would not take as it is."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

pytest.importorskip("numpy")
pytest.importorskip("cv2", reason="needs OpenCV")

import cv2
import numpy as np
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_small.cli import cli
from ssd_small.datasets.coco import read_annotations
from ssd_small.datasets.coco_file import write_annotations
from ssd_small.datasets.findings import Findings
from ssd_small.datasets.object_sizes import check_pixels
from ssd_small.errors import BadFile, SsdSmallError
from ssd_small.json_files import json_text

WIDTH, HEIGHT = 64, 48
E_ACUTE, E_AND_ACCENT = "caf\u00e9", "cafe\u0301"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("picture") / "a.png"
    assert cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return path.read_bytes()


def voc_from(folder: Path, size: tuple[str, str], objects: list[tuple[str, ...]]) -> Path:
    rows = "".join(
        f"<object><name>{escape(name)}</name><bndbox>"
        + "".join(
            f"<{key}>{value}</{key}>"
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        )
        + "</bndbox></object>"
        for name, *corners in objects
    )
    (folder / "a.xml").write_text(
        f"<annotation><filename>a.png</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></size>{rows}</annotation>"
    )
    return folder


def csv_from(folder: Path, size: tuple[str, str], objects: list[tuple[str, ...]]) -> Path:
    with (folder / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"))
        writer.writerows(("a.png", *size, *one) for one in objects)
    return folder / "boxes.csv"


def yolo_from(folder: Path, size: tuple[str, str], objects: list[tuple[str, ...]]) -> Path:
    names = list(dict.fromkeys(name for name, *_ in objects)) or ["cat"]
    (folder / "data.yaml").write_text(f"train: .\nnames: {json.dumps(names)}\n")
    lines = (f"{names.index(name)} {' '.join(box)}\n" for name, *box in objects)
    (folder / "a.txt").write_text("".join(lines))
    return folder / "data.yaml"


WRITERS = {"voc": voc_from, "csv": csv_from, "yolo": yolo_from}


def convert(kind: str, source: Path, *more: str) -> tuple[int, BaseException | None, Path]:
    output = source.parent / f"{source.name}.json"
    done = CliRunner().invoke(
        cli, ["convert", "--from", kind, str(source), "-o", str(output), *more],
        standalone_mode=False,
    )  # fmt: skip
    return done.exit_code, done.exception, output


NUMBERS = st.one_of(
    st.integers(0, 70).map(str),
    st.integers(0, 48).map(str),
    st.integers(49, 64).map(str),
    st.floats(0, 1).map(str),
    st.sampled_from(
        ["0.5", "-1e308", "1e308", "1e-300", "1e-200", "5e-324", "nan", "inf", "-0", "1e400", "",
         "2147483647", "2147483648", "9" * 30, "1_0", "12.5", "0.49", "-3", "\u0663", "x"]
    ),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(
        ["cat", "dog", E_ACUTE, E_AND_ACCENT, "a\nb", "a\tb", "a\u2028b", "\u202egnp", "\u200b",
         "\u2067x\u2069", " cat ", "\xa0cat", "0", "null", "a" * 300]
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=6),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    kind=st.sampled_from(sorted(WRITERS)),
    size=st.one_of(st.just((str(WIDTH), str(HEIGHT))), st.tuples(NUMBERS, NUMBERS)),
    objects=st.lists(st.tuples(NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=4),
    zero_based=st.booleans(),
)
def test_any_source_is_refused_in_a_line_or_becomes_a_sound_file(
    kind: str,
    size: tuple[str, str],
    objects: list[tuple[str, ...]],
    zero_based: bool,
    picture: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("source") / "data"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture)
    more = ["--zero-based"] if zero_based and kind == "voc" else []
    code, error, output = convert(kind, WRITERS[kind](folder, size, objects), *more)
    if error is not None:
        assert isinstance(error, SsdSmallError), error
        assert (error.exit_code, len(error.command_line.splitlines())) == (4, 1)
        assert not output.exists()
        return
    assert code == 0
    json.loads(output.read_text(), parse_constant=pytest.fail)
    findings = Findings()
    truth = read_annotations(output, findings)
    check_pixels(truth)
    assert (findings.problems, truth.dropped) == ([], 0)


@pytest.mark.parametrize(
    ("kind", "objects", "words"),
    [
        ("voc", [("cat", "-1e308", "1", "9", "9")], ("a.xml", "-1e+308", "'cat'")),
        ("voc", [("cat", "-1e308", "1", "1e308", "9")], ("a.xml", "1e+308")),
        ("csv", [("cat", "1", "1", "9", "9"), ("cat", "1", "1", "1e200", "9")], ("line 3",)),
        ("voc", [("a\nb", "1", "1", "9", "9")], ("a.xml", "class name 'a\\nb'")),
        ("csv", [("a\tb", "1", "1", "9", "9")], ("line 2", "class name 'a\\tb'")),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_record(
    kind: str,
    objects: list[tuple[str, ...]],
    words: tuple[str, ...],
    picture: bytes,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture)
    source = WRITERS[kind](folder, (str(WIDTH), str(HEIGHT)), objects)
    _, error, output = convert(kind, source)
    assert isinstance(error, BadFile)
    for word in words:
        assert word in error.command_line
    assert not output.exists()


@pytest.mark.parametrize("kind", ["voc", "csv"])
def test_a_size_of_half_a_pixel_is_none(kind: str, picture: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture)
    source = WRITERS[kind](folder, ("0.5", "48"), [("cat", "1", "1", "9", "9")])
    _, error, output = convert(kind, source)
    assert error is None
    (image,) = read_annotations(output).images
    assert (image["width"], image["height"]) == (WIDTH, HEIGHT)


def test_two_spellings_of_a_letter_are_one_class(picture: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture)
    box = ("1", "1", "9", "9")
    _, error, output = convert(
        "voc", voc_from(folder, ("64", "48"), [(E_ACUTE, *box), (E_AND_ACCENT, *box)])
    )
    assert error is None
    truth = read_annotations(output)
    assert [one["name"] for one in truth.categories] == [E_ACUTE]
    assert len(truth.boxes) == 2


def content(**fields: Any) -> dict[str, Any]:
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, **fields}
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [entry],
        "categories": [{"id": 1, "name": "cat"}],
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bbox": [0, 0, 0.5, 0.5], "area": 0.25}, "no box reaches a pixel"),
        ({"image_id": 2}, "image_id 2"),
        ({"area": float("inf")}, "annotations[0].area is inf"),
        ({"bbox": [0, float("nan"), 1, 1]}, "annotations[0].bbox[1] is nan"),
    ],
)
def test_what_the_reader_refuses_is_not_written(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "truth.json"
    path.write_text("older")
    with pytest.raises(BadFile) as caught:
        write_annotations(path, content(**fields))
    assert words in str(caught.value)
    assert ".part" not in str(caught.value)
    assert path.read_text() == "older"
    assert [one.name for one in tmp_path.iterdir()] == ["truth.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_holds_no_number_that_is_none(value: float) -> None:
    with pytest.raises(BadFile, match=r"a\[1\]\.b is -?(nan|inf)"):
        json_text({"a": [1, {"b": value}]})
