"""Any value anywhere in a COCO file: a finding or one line, never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_small.datasets.coco import Annotations, annotations_from_content, coco_from_annotations
from ssd_small.datasets.findings import Findings
from ssd_small.errors import BadFile

GOOD: dict[str, Any] = {
    "info": {"year": 2024},
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48, "coco_url": "http://x/y/a.jpg"},
        {"id": 2, "file_name": "b.jpg", "width": 64, "height": 48},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [4, 5, 10, 20], "area": 200}
        | {"iscrowd": 0, "difficult": 0, "category_name": "cat", "segmentation": []},
        {"id": 2, "image_id": 2, "category_id": 4, "bbox": [4, 5, 10, 20]},
    ],
    "categories": [{"id": 3, "name": "cat", "supercategory": "pet"}, {"id": 4, "name": "dog"}],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside."""
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


SINGLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 2**64, -(2**70), 10**39, 10**400])
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["1", "3", " 2.0", "nan", "1e999", "cat", "[1, 2, 3, 4]", "\ud800", "a\nb"])
)
VALUES = st.recursive(
    SINGLE,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["x", "y", "width", "height", "id", "name"]), inner)
    ),
    max_leaves=6,
)
ABSENT = object()
DAMAGE = st.lists(
    st.tuples(st.sampled_from(list(places(GOOD))), VALUES | st.just(ABSENT)), min_size=1, max_size=3
)


def damaged(changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """The good file with values in the place of others, or entries gone."""
    whole = {"file": copy.deepcopy(GOOD)}
    for path, value in changes:
        holder: Any = whole
        *way, last = ("file", *path)
        try:
            for step in way:
                holder = holder[step]
            if value is not ABSENT:
                holder[last] = value
            elif path:
                del holder[last]
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
    return whole["file"]


def outcome(content: Any, findings: Findings | None = None) -> Annotations | str:
    """What was read, or the message."""
    try:
        return annotations_from_content(content, Path("gt.json"), findings)
    except BadFile as error:
        return str(error)


@given(DAMAGE)
def test_damage_is_found_or_refused_in_one_line(changes: list[Any]) -> None:
    content = damaged(changes)
    given_before = repr(content)
    strict, collected = outcome(content), outcome(content, Findings())
    if isinstance(strict, str):
        assert len(strict.splitlines()) == 1
        assert strict.startswith("gt.json")
    else:
        assert strict.findings.errors == []
    if isinstance(collected, str):
        assert isinstance(strict, str)
        assert "is not a COCO annotation file" in collected
        return
    assert isinstance(strict, str) == bool(collected.findings.errors)
    for kind in (*collected.findings.problems, *collected.findings.notes):
        assert kind["count"] >= 1
        assert all(len(where.splitlines()) == 1 for where in kind["examples"])
    assert repr(content) == given_before


@given(DAMAGE)
def test_a_repaired_file_has_nothing_to_repair(changes: list[Any]) -> None:
    truth = outcome(damaged(changes), Findings())
    if isinstance(truth, str):
        return
    fixed = json.loads(json.dumps(coco_from_annotations(truth)))
    again = annotations_from_content(fixed, Path("gt.json"), Findings())
    # nothing can be made of a file that has no picture or class left
    empty = {"no_images", "no_categories"}
    assert again.findings.counts("error", "repaired", "fixable").keys() <= empty
    assert {type(one["id"]) for one in (*again.images, *again.categories, *again.boxes)} <= {int}
    assert len({one["id"] for one in again.boxes}) == len(again.boxes)
    assert len(again.boxes) == sum(
        one["width"] > 0 and one["height"] > 0
        for box in truth.boxes
        for one in truth.images
        if one["id"] == box["image_id"]
    )


@given(DAMAGE)
@settings(deadline=None)
def test_what_was_read_can_be_scored_and_learned(changes: list[Any]) -> None:
    """Without warnings too, of overflow above all."""
    pytest.importorskip("hotcoco")
    pytest.importorskip("torch")
    from ssd_small.evaluation.score import score
    from ssd_small.evaluation.voc_score import voc_score
    from ssd_small.training.dataset import DetectionDataset

    truth = outcome(damaged(changes))
    if isinstance(truth, str):
        return
    result = {
        "image_id": truth.images[0]["id"],
        "category_id": truth.categories[0]["id"],
        "bbox": [4, 5, 10, 20],
        "score": 0.5,
    }
    assert len(score(truth, [result]).classes) == len(truth.categories)
    assert len(voc_score(truth, [result], interpolation="voc07").classes) == len(truth.categories)
    paths = [Path(image["file_name"]) for image in truth.images]
    try:
        data = DetectionDataset(truth, paths)
    except BadFile as error:
        assert str(error).startswith("gt.json")  # noqa: PT017
    else:
        assert data.report.boxes > 0
