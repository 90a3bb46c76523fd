"""Which category each class of a network is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssd_small.datasets.classes import category_ids_by_name, match_classes, near_match
from ssd_small.datasets.coco import Annotations
from ssd_small.errors import BadFile


def truth(categories: dict[int, str], boxes: tuple[int, ...] = ()) -> Annotations:
    """Annotations with a box of each of the category ids ``boxes``."""
    entries = tuple({"id": key, "name": name} for key, name in categories.items())
    listed = tuple({"id": i, "category_id": key} for i, key in enumerate(boxes, 1))
    return Annotations(Path("gt.json"), (), entries, listed, 0)


def test_names_decide_and_not_the_order() -> None:
    found = match_classes(truth({10: "dog", 20: "cat", 30: "cow"}, (10, 20)), ("cat", "dog", "cow"))
    assert found.ids == (20, 10, 30)
    assert (found.by_order, found.notes) == ({}, ())


def test_order_decides_only_where_no_name_matches_and_is_said() -> None:
    found = match_classes(truth({10: "dog", 20: "cat"}, (10,)), ("class 1", "class 2"))
    assert found.ids == (10, 20)
    assert found.by_order == {"class 1": "dog", "class 2": "cat"}
    assert "in the order of the categories' ids ('class 1' as 'dog', and so on)" in found.notes[0]


def test_other_names_of_another_number_are_refused() -> None:
    with pytest.raises(BadFile, match=r"has 3 categories, the network 2 classes, .* with labels"):
        match_classes(truth({1: "a", 2: "b", 3: "c"}), ("x", "y"))


@pytest.mark.parametrize(
    ("name", "labels", "near"),
    [
        ("three", ("1", "2", "3"), "3"),  # the only label that is left
        ("Traffic_light", ("1", "traffic light", "stop sign"), "traffic light"),
        (" Car", ("1", "car", "bus"), "car"),
        ("aeroplane", ("1", "bus", "airplane"), "airplane"),
    ],
)
def test_a_category_with_boxes_and_no_label_names_both_sides(
    name: str, labels: tuple[str, ...], near: str
) -> None:
    known = {1: "1", 5: name} if near != "3" else {1: "1", 2: "2", 5: name}
    with pytest.raises(BadFile) as refused:
        match_classes(truth(known, (1, 5, 5)), labels)
    message = refused.value.command_line
    assert f"category {name!r} has 2 boxes and no label" in message
    assert f"did you mean {near!r}?" in message
    assert "--labels" in message
    assert all(repr(label) in message for label in labels[2:])


def test_categories_that_the_network_does_not_know_are_refused_if_they_have_boxes() -> None:
    with pytest.raises(BadFile) as refused:
        match_classes(truth({1: "cat", 2: "cow", 3: "pig"}, (1, 2, 3)), ("cat",))
    message = str(refused.value)
    assert "category 'cow' has 1 box and no label of the network and 1 more" in message
    assert "leave out its boxes" in message


def test_a_split_may_list_fewer_classes_or_more_without_boxes() -> None:
    fewer = match_classes(truth({7: "dog"}, (7,)), ("cat", "dog", "cow"))
    assert fewer.ids == (None, 7, None)
    assert fewer.notes == (
        "gt.json has no categories 'cat', 'cow', which the network finds; the other 1 classes are "
        "scored",
    )
    more = match_classes(truth({7: "dog", 8: "unused"}, (7,)), ("dog",))
    assert more.ids == (7,)
    assert more.notes == (
        "gt.json: category 'unused' without boxes and without a label of the network",
    )


@pytest.mark.parametrize("label", ["Dog", "d og", "DOG", "d_o-g"])
def test_names_that_differ_by_case_and_blanks_alone_never_go_by_order(label: str) -> None:
    with pytest.raises(BadFile, match=rf"label '{label}' is category 'dog' but for case"):
        match_classes(truth({1: "cat", 2: "dog"}), (label, "CAT"))


def test_composed_and_decomposed_letters_are_one_name() -> None:
    found = match_classes(
        truth({1: "cow", 2: "b\u00e9b\u00e9"}, (1, 2)), ("be\u0301be\u0301", "cow")
    )
    assert found.ids == (2, 1)
    assert found.notes == ()


def test_categories_of_one_name_are_refused_with_both_ids() -> None:
    for boxes in ((), (3, 5)):
        with pytest.raises(BadFile, match=r"'cat' occurs twice \(ids 3 and 5\)"):
            match_classes(truth({3: "cat", 5: "cat"}, boxes), ("cat",))


def test_of_two_categories_of_one_name_the_only_one_with_boxes_is_the_class() -> None:
    """Roboflow's root category often has the name of the only class."""
    assert category_ids_by_name(truth({0: "cat", 1: "cat"}, (1, 1))) == {"cat": 1}
    assert category_ids_by_name(truth({0: "cat", 1: "cat"}, (0,))) == {"cat": 0}


def test_a_root_category_is_no_class() -> None:
    entries = (
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
        {"id": 2, "name": "dog", "supercategory": "pets"},
    )
    roboflow = Annotations(Path("gt.json"), (), entries, ({"id": 1, "category_id": 1},), 0)
    assert match_classes(roboflow, ("dog", "cat")) == match_classes(
        truth({1: "cat", 2: "dog"}, (1,)), ("dog", "cat")
    )
    assert match_classes(roboflow, ("one", "two")).ids == (1, 2)


def test_near_matches_are_by_case_then_by_likeness() -> None:
    assert near_match("CAT", ("dog", "cat", "cats")) == "cat"
    assert near_match("zebra", ("dog", "cat")) is None
