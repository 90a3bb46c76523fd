"""Tables for people: figures stand under each other, words begin at the left."""

from __future__ import annotations

import pytest

from ssd_small.cli.options import print_table


def test_columns_of_figures_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        ["a", "0.25", "1 234", "inside", "-", "7 x"],
        ["bcd", "-12.50", "17", "3.1", "99.5%", "8"],
    ]
    print_table(rows, ["name", "ms", "count", "nms", "share", "words"])
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("name")
    for name, cells in (("ms", ("0.25", "-12.50")), ("count", ("1 234", "17"))):
        end = head.index(name) + len(name)
        for line, cell in zip(lines, cells, strict=True):
            assert line[:end].endswith(cell)
    assert {line.index(cell) for line, cell in zip(lines, ("7 x", "8"), strict=True)} == {
        head.index("words")
    }


def test_columns_without_any_figure_stand_to_the_left(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([["-", "x"], ["-", ""]], ["published", "name"])
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in (head, *lines)] == ["p", "-", "-"]


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], ["name", "ms"])
    assert capsys.readouterr().out.split()[:2] == ["name", "ms"]


def test_sides_that_are_asked_for_stay(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([["1", "a"], ["10", "b"]], ["class", "is"], ["left", "left"])
    assert capsys.readouterr().out.splitlines()[2].startswith("1 ")
