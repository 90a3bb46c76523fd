"""What can be a class name: one rule wherever names are read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.artefacts.labels import read_labels
from ssd_small.artefacts.record import NO_LINE
from ssd_small.configs.class_names import COCO_NAMES, VOC_NAMES, name_fault
from ssd_small.errors import BadFile, UsageError
from ssd_small.models.registry import get_spec

JOINED = "می\N{ZERO WIDTH NON-JOINER}خواهم"
FAMILY = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"
NO_BREAK = "stop\N{NO-BREAK SPACE}sign"
WIDE = "日\N{IDEOGRAPHIC SPACE}本"
GOOD = (JOINED, FAMILY, NO_BREAK, WIDE, "汽车", "a b", "soft\N{SOFT HYPHEN}hyphen")
ENDS = ("\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")


@pytest.mark.parametrize("name", GOOD)
def test_what_a_line_can_show_is_a_name_from_labels_to_artefacts(tmp_path: Path, name: str) -> None:
    assert name_fault(name) is None
    (tmp_path / "labels.txt").write_text(f"{name}\r\nother\n", encoding="utf-8", newline="")
    labels = read_labels(tmp_path / "labels.txt")
    assert labels == (name, "other")
    described = description_from_spec(get_spec("vgg16"), 3, 1.0, labels=labels)
    assert Description.from_dict(described.to_dict(), "x.onnx").labels == labels


@pytest.mark.parametrize("sign", [*ENDS[2:], "\0", "\x1b", "\x7f"])
def test_control_characters_and_ends_of_lines_are_refused(tmp_path: Path, sign: str) -> None:
    """None makes two names of one, as str.splitlines would."""
    (tmp_path / "labels.txt").write_text(f"cat\nd{sign}og\n", encoding="utf-8")
    with pytest.raises(BadFile, match=r"class name 'd.*og' of line 2 is not printable"):
        read_labels(tmp_path / "labels.txt")
    with pytest.raises(UsageError, match="is not printable"):
        description_from_spec(get_spec("vgg16"), 3, 1.0, labels=("cat", f"d{sign}og"))


@pytest.mark.parametrize("name", ["", " ", "\N{NO-BREAK SPACE}", "\N{ZERO WIDTH JOINER}"])
def test_a_name_that_shows_nothing_is_none(name: str) -> None:
    assert name_fault(name) == "is empty"


@pytest.mark.slow
def test_the_rule_refuses_what_is_never_printed_in_a_line() -> None:
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        refused = name_fault(f"a{sign}") is not None
        assert refused == bool(NO_LINE.search(sign)), hex(code)


def test_published_names_are_names() -> None:
    assert not any(map(name_fault, (*VOC_NAMES, *COCO_NAMES)))


@pytest.mark.parametrize("content", ["", "\n", "cat\n\ndog\n", "cat\n \ndog\n"])
def test_an_empty_line_is_no_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.txt").write_text(content)
    with pytest.raises(BadFile, match="on every line"):
        read_labels(tmp_path / "labels.txt")
