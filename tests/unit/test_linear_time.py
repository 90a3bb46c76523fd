"""Lists of many names and files take time in proportion to their length."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ssd_small.errors import BadFile

pytestmark = pytest.mark.slow

#: a list that is four times as long takes four times as long, sixteen times where pairs are
#: compared; a factor of two is left for the machine
MOST_RATIO = 8
SHORT = 10_000


def _names(count: int) -> list[str]:
    return [f"name {i}" for i in range(count)]


def _labels(count: int, path: Path) -> Callable[[], object]:
    from ssd_small.artefacts.labels import read_labels

    path.write_text("\n".join([*_names(count), "name 0"]))
    return lambda: read_labels(path)


def _yolo_names(count: int, path: Path) -> Callable[[], object]:
    from ssd_small.datasets.yolo_config import _checked

    return lambda: _checked(_names(count), path)


def _near(count: int, path: Path) -> Callable[[], object]:
    from ssd_small.datasets.classes import NearNames

    near = NearNames([f"other {i}" for i in range(count)])
    return lambda: [near.near(name) for name in _names(count)]


KINDS = {
    "class names of a file": _labels,
    "class names of a data set": _yolo_names,
    "names that resemble others": _near,
}


def _seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        with suppress(BadFile):
            work()
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_four_times_as_long_takes_about_four_times_as_long(tmp_path, kind):
    short, long = (_seconds(KINDS[kind](n, tmp_path / str(n))) for n in (SHORT, 4 * SHORT))
    assert long < MOST_RATIO * max(short, 0.01), (short, long)


def test_a_record_with_many_fields_is_read_in_time(tmp_path):
    from ssd_small.artefacts.strict_json import record_from_json

    def work(count: int) -> Callable[[], object]:
        names = [*_names(count), f"name {count - 1}"]
        pairs = ", ".join(f"{json.dumps(name)}: 1" for name in names)

        def read() -> None:
            with pytest.raises(ValueError, match="stands in it twice"):
                record_from_json(f"{{{pairs}}}")

        return read

    short, long = (_seconds(work(n)) for n in (SHORT, 4 * SHORT))
    assert long < MOST_RATIO * max(short, 0.01), (short, long)


def test_a_folder_of_many_files_is_listed_in_time(tmp_path):
    pytest.importorskip("cv2")
    from ssd_small.pictures.listing import list_images

    def work(count: int) -> Callable[[], object]:
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count // 10):
            (folder / f"{number}.jpg").touch()
            (folder / f"{number}.txt").touch()
        return lambda: list_images(folder)

    short, long = (_seconds(work(n)) for n in (SHORT, 4 * SHORT))
    assert long < MOST_RATIO * max(short, 0.01), (short, long)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-7"])
@pytest.mark.parametrize("declaration", ['<!ENTITY a "aaaa">', '<!ENTITY % a SYSTEM "http://a/b">'])
def test_entities_are_refused_in_every_encoding(tmp_path, encoding, declaration):
    from ssd_small.datasets.voc_xml import read_voc

    path = tmp_path / "a.xml"
    head = f"<?xml version='1.0' encoding='{encoding}'?>"
    text = f"{head}<!DOCTYPE annotation [{declaration}]><annotation>x</annotation>"
    path.write_bytes(head.encode() + text[len(head):].encode(encoding)
                     if encoding == "utf-7" else text.encode(encoding))  # fmt: skip
    with pytest.raises(BadFile, match="declares entities"):
        read_voc(path)
