"""The fast readers beside the readers of all files: the same boxes, and the same refusals."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("msgspec", reason="needs msgspec")

from test_coco_damage import DAMAGE, GOOD, damaged

from ssd_small.datasets import coco
from ssd_small.datasets.coco import Annotations, read_annotations, read_boxes_alone
from ssd_small.errors import BadFile
from ssd_small.evaluation import coco_results
from ssd_small.evaluation.coco_results import read_columns, read_results
from ssd_small.evaluation.columns import columns_from_results, results_from_columns

FIELDS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "difficult")
RESULTS: list[Any] = [
    {"image_id": 1, "category_id": 3, "bbox": [4, 5, 10.5, 20], "score": 0.5, "id": 1},
    {"image_id": 2, "category_id": 4, "bbox": [0.1, 1e-7, 3, 4], "score": 1, "area": 12}
    | {"segmentation": {"counts": "a\\b\u00e9", "size": [3, 4]}},
]


def outcome(read: Callable[[], Any]) -> Any:
    """What was read, or the message."""
    try:
        return read()
    except BadFile as error:
        return str(error)


def told(truth: Annotations | str) -> Any:
    """All that a metric, a message or a note can tell of what was read."""
    if isinstance(truth, str):
        return truth
    fates = ("lasting", "error", "repaired", "fixable", "note")
    boxes = [{key: box[key] for key in FIELDS if key in box} for box in truth.boxes]
    return repr(
        (
            *(truth.path, truth.images, truth.categories, boxes, truth.dropped, truth.annotated),
            *(truth.positions, truth.image_spelling, truth.category_spelling),
            *([truth.findings.of(fate) for fate in fates], truth.box_places()),
        )
    )


def check(path: Path) -> None:
    """One file of ground truth by both readers."""
    assert told(outcome(lambda: read_boxes_alone(path))) == told(
        outcome(lambda: read_annotations(path))
    )


def check_results(path: Path, truth: Annotations) -> None:
    """One file of results by both readers."""
    typed = outcome(lambda: read_columns(path, truth))
    whole = outcome(lambda: read_results(path, truth))
    if isinstance(typed, str) or isinstance(whole, str):
        assert typed == whole
        return
    assert typed.left_out == whole.left_out
    expected, got = columns_from_results(whole.entries), typed.columns
    for name in ("image_ids", "category_ids", "boxes_xywh", "scores"):
        first, second = getattr(expected, name), getattr(got, name)
        assert np.array_equal(first, second)
        assert first.dtype == second.dtype
    if all(type(v) is int for one in whole.entries for v in (one["image_id"], one["category_id"])):
        keys = ("image_id", "category_id", "bbox", "score")
        assert results_from_columns(got) == [
            {key: one[key] for key in keys} for one in whole.entries
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("typed")


@pytest.fixture(scope="module")
def truth(folder: Path) -> Annotations:
    path = folder / "good.json"
    path.write_text(json.dumps(GOOD))
    return read_annotations(path)


@pytest.mark.slow
@given(changes=DAMAGE)
@settings(deadline=None, max_examples=300)
def test_damage_is_read_or_refused_alike(folder: Path, changes: list[Any]) -> None:
    path = folder / "damaged.json"
    path.write_text(json.dumps(damaged(changes)))
    check(path)


PLACES = st.tuples(
    st.integers(0, 1), st.sampled_from(["image_id", "category_id", "bbox", "score", "other", 0, 3])
)
VALUES = st.sampled_from(
    [None, True, 1, 2.0, "1", "x", [], {}, -1, 2**63, 10**400, 1e308, float("nan"), float("inf")]
)


@pytest.mark.slow
@given(changes=st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=2))
@settings(deadline=None, max_examples=300)
def test_damaged_results_are_read_or_refused_alike(
    folder: Path, truth: Annotations, changes: list[Any]
) -> None:
    content = json.loads(json.dumps(RESULTS))
    for (entry, key), value in changes:
        if isinstance(key, int):
            if isinstance(content[entry]["bbox"], list) and len(content[entry]["bbox"]) > key:
                content[entry]["bbox"][key] = value
        else:
            content[entry][key] = value
    path = folder / "results.json"
    path.write_text(json.dumps(content))
    check_results(path, truth)


#: of JSON, of what is nearly JSON, and of no text at all
_BYTES = b'0123456789eE+-.,:[]{}"\\ntfu\x00\x1f\x7f\x80\xc3\xff '


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_changed_bytes_are_read_or_refused_alike(
    folder: Path, truth: Annotations, seed: int
) -> None:
    """What is passed over is JSON all the same, or the file is refused."""
    rng = random.Random(seed)
    outlines = [[1.5, 2, 3, -4e2, 5, 6]]
    good = damaged([(("annotations", 0, "segmentation"), outlines)])
    for _ in range(500):
        for value, name in ((good, "truth"), (RESULTS, "found")):
            content = bytearray(json.dumps(value, ensure_ascii=rng.random() < 0.5).encode())
            for _ in range(rng.choice([1, 1, 2])):
                place = rng.randrange(len(content))
                kind = rng.random()
                if kind < 0.6:
                    content[place] = rng.choice(_BYTES)
                elif kind < 0.8:
                    del content[place]
                else:
                    content.insert(place, rng.choice(_BYTES))
            path = folder / f"{name}.json"
            path.write_bytes(content)
            check(path) if name == "truth" else check_results(path, truth)


ODD: dict[str, bytes] = {
    "not UTF-8": b'"a\xffb"',
    "a number of 5000 digits": b"1" * 5000,
    "5000 digits in a text": b'"' + b"1" * 5000 + b'"',
    "infinity": b"Infinity",
    "no number": b"NaN",
    "beyond the floats": b"1e999",
    "half a character": b'"\\ud800"',
    "a control character": b'"\x01"',
    "nested deep": b"[" * 100_000 + b"]" * 100_000,
    "nested": b"[" * 300 + b"]" * 300,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("blocks", [0, 1])
def test_odd_json_where_it_is_passed_over(
    folder: Path, truth: Annotations, name: str, blocks: int
) -> None:
    """In the first megabyte, and across the end of it."""
    space = b" " * ((1 << 20) - 2200) * blocks
    none, odd = b'"segmentation": []', b'"segmentation": ' + space + ODD[name]
    path = folder / "odd.json"
    content = json.dumps(GOOD).encode()
    assert none in content
    path.write_bytes(content.replace(none, odd))
    check(path)
    path.write_bytes(b'[{"image_id":1,"category_id":3,"bbox":[1,2,3,4],"score":1,%b}]' % odd)
    check_results(path, truth)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(GOOD).encode("utf-8-sig"),
        json.dumps(GOOD).encode("utf-16"),
        json.dumps(GOOD).encode("utf-32-le"),
        b"",
        b"null",
        b"[]",
        b"{}",
        json.dumps(GOOD).encode() + b" 1",
        json.dumps(GOOD).encode()[:-1] + b', "annotations": []}',
        json.dumps(GOOD).replace('"id": 1, "image_id"', '"id": 2, "id": 1, "image_id"').encode(),
        json.dumps(GOOD | {"annotations": []}).encode(),
        json.dumps({k: v for k, v in GOOD.items() if k != "annotations"}).encode(),
        json.dumps(GOOD | {"images": []}).encode(),
        json.dumps(RESULTS).encode(),
    ],
    ids=lambda content: content[:12].hex(),
)
def test_other_files_are_read_or_refused_alike(
    folder: Path, truth: Annotations, content: bytes
) -> None:
    path = folder / "other.json"
    path.write_bytes(content)
    check(path)
    check_results(path, truth)


def test_files_of_people_are_read_alike(shared_data: Path, shared_cases: Path) -> None:
    files = sorted((*shared_data.rglob("*.json"), *shared_cases.rglob("*.json")))
    assert files
    for path in files:
        check(path)
    folder = shared_data / "coco-golden"
    truth = read_annotations(folder / "instances_val2014_100.json")
    check_results(folder / "instances_val2014_fakebbox100_results.json", truth)


def test_a_plain_file_is_read_by_the_fast_reader(
    folder: Path, truth: Annotations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the tests above would compare a reader with itself."""
    path = folder / "plain.json"
    path.write_text(json.dumps(GOOD))
    found = folder / "found.json"
    found.write_text(json.dumps(RESULTS))

    def forbidden(*_: object) -> None:
        raise AssertionError("the reader of all files was called")

    monkeypatch.setattr(coco, "read_boxes", forbidden)
    monkeypatch.setattr(coco_results, "_results_from_content", forbidden)
    boxes = read_boxes_alone(path).boxes
    assert [set(box) for box in boxes] == [set(FIELDS), set(FIELDS[:-1])]
    assert len(read_columns(found, truth).columns) == 2
