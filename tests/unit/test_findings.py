"""Findings of a data set, collected by kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssd_small.datasets.findings import Findings, FirstError
from ssd_small.errors import BadFile


def test_all_are_counted_and_the_first_five_are_shown() -> None:
    findings = Findings()
    for i in range(7):
        findings.repaired("id_as_text", f"images[{i}]")
    findings.note("crowd", "annotations[0]", 3)
    findings.note("crowd", "annotations[1]")
    assert findings.problems == [
        {"kind": "id_as_text", "count": 7, "examples": [f"images[{i}]" for i in range(5)]}
    ]
    assert findings.notes == [
        {"kind": "crowd", "count": 4, "examples": ["annotations[0]", "annotations[1]"]}
    ]
    assert findings.errors == []
    assert json.loads(json.dumps(findings.problems)) == findings.problems


def test_problems_are_what_a_repaired_file_has_otherwise_with_errors_first() -> None:
    findings = Findings()
    findings.fixable("duplicate_box", "a")
    findings.repaired("repeated_image_id", "b")
    findings.error("repeated_image_id", "c")
    findings.note("tiny_objects", "d")
    assert findings.problems == [
        {"kind": "repeated_image_id", "count": 2, "examples": ["c", "b"]},
        {"kind": "duplicate_box", "count": 1, "examples": ["a"]},
    ]
    assert findings.counts("error") == {"repeated_image_id": 1}
    assert findings.counts("error", "note") == {"repeated_image_id": 1, "tiny_objects": 1}


def test_findings_of_several_files_say_which() -> None:
    both = Findings()
    for name in ("a", "b"):
        one = Findings()
        for i in range(4):
            one.note("crowd", f"annotations[{i}]")
        both.update(one, f"{name}.json: ")
    (crowd,) = both.notes
    assert crowd["count"] == 8
    assert crowd["examples"][3:] == ["a.json: annotations[3]", "b.json: annotations[0]"]


def test_the_first_error_of_a_file_that_has_to_be_right_ends_it() -> None:
    findings = FirstError(Path("gt.json"))
    findings.repaired("id_as_text", "images[0]")
    with pytest.raises(
        BadFile, match=r"^gt\.json: images\[1\]: id is null; correct it, or .*check-data'$"
    ):
        findings.error("bad_id", "images[1]: id is null")
