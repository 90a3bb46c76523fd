"""What check-data writes is clean, and clean is what training takes, whatever the file holds."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from damaged_coco import (
    DAMAGES,
    Content,
    check,
    copy_of,
    counts,
    fixed,
    problems,
    write,
    write_good_set,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_small.errors import BadFile, CheckFailed

pytest.importorskip("cv2")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write(write_good_set(folder, 20), folder / "truth.json")
    return folder


@settings(max_examples=25, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(sorted(DAMAGES)), unique=True, min_size=2, max_size=12),
    first=st.integers(0, 5),
)
def test_what_is_fixed_is_clean(
    chosen: list[str],
    first: int,
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content, folder = copy_of(pictures, tmp_path_factory.mktemp("some") / "pictures")
    for i, name in enumerate(chosen, first):
        DAMAGES[name].change(content, folder, i)
    assert set(problems(content, folder)) == {DAMAGES[name].kind for name in chosen}
    once = fixed(content, folder)
    assert problems(once, folder) == {}
    assert fixed(once, folder) == once


#: what stands where something else was expected
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([-1, 0, 0.5, 1e300, 2**70, float("nan"), float("inf"), "", "7", "x", " cat"]),
    st.sampled_from([[], {}, [1, 2, 3, 4], ["1", "2", "3", "4"], [0, 0, -5, 5], [1e9] * 4]),
)
_LISTS = ("images", "annotations", "categories")


def _odd_content(pictures: Path, changes: list[tuple[str, st.DataObject, Any]]) -> Content:
    """Eight pictures of the good file with odd values in some places."""
    content: Content = json.loads((pictures / "truth.json").read_text())
    content["images"], content["annotations"] = content["images"][:8], content["annotations"][:24]
    for name, data, odd in changes:
        entries = content[name]
        index = data.draw(st.integers(0, len(entries) - 1))
        if data.draw(st.integers(0, 20)) == 0:
            entries[index] = odd
        elif isinstance(entries[index], dict) and entries[index]:
            entries[index][data.draw(st.sampled_from(sorted(entries[index])))] = odd
    return content


_CHANGES = st.lists(st.tuples(st.sampled_from(_LISTS), st.data(), _ODD), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(changes=_CHANGES)
def test_odd_values_anywhere_are_fixed_or_nothing_is_left(
    changes: list[tuple[str, st.DataObject, Any]],
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = _odd_content(pictures, changes)
    folder = tmp_path_factory.mktemp("odd") / "pictures"
    folder.symlink_to(pictures)
    try:
        once = fixed(content, folder)
    except CheckFailed:
        return
    assert set(problems(once, folder)) <= {"no_objects"}
    assert fixed(once, folder) == once


@settings(max_examples=60, deadline=None)
@given(changes=_CHANGES)
def test_what_training_refuses_is_a_problem_and_what_is_clean_it_takes(
    changes: list[tuple[str, st.DataObject, Any]],
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pytest.importorskip("torch")
    from ssd_small.training.dataset import DetectionDataset

    content = _odd_content(pictures, changes)
    folder = tmp_path_factory.mktemp("odd") / "pictures"
    folder.symlink_to(pictures)
    found = check(content, folder)
    learned = None
    with contextlib.suppress(BadFile):
        data = DetectionDataset.from_coco(folder.parent / "pictures.json", folder)
        learned = sum(len(data[i].labels) for i in range(len(data)))
    kinds = counts(found.findings.problems)
    if learned is None:
        assert kinds
    else:
        assert found.findings.errors == []
        assert learned == len(found.object_sides) + kinds.get("duplicate_box", 0)
