"""Find identical pictures within and between data sets, and classes that one of two sets lacks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from .check import DataCheck
from .classes import NearNames
from .findings import Findings
from .near_duplicates import copies_between, copies_within
from .picture_facts import PictureFacts


def note_copies(check: DataCheck, findings: Findings) -> None:
    """Note the pictures of a set that are copies of an earlier one in another file."""
    facts, images = check.facts, check.annotations.images
    same: dict[int, tuple[int, str]] = {}
    first_of: dict[bytes, int] = {}
    for i, one in enumerate(facts):
        if one.digest is None:
            continue
        first = first_of.setdefault(one.digest, i)
        if _file(facts[first]) != _file(one):
            same[i] = (first, "the same bytes")
    # an entry that names the same file again is not a copy
    alone = [
        one.looks if first_of.get(one.digest or b"") == i else None for i, one in enumerate(facts)
    ]
    found = {i: (first, "looks the same") for i, first in copies_within(alone).items()}
    for i, (first, how) in sorted((found | same).items()):
        findings.note(
            "near_duplicate",
            f"{images[i]['file_name']} is {images[first]['file_name']} again ({how})",
        )


def _file(facts: PictureFacts) -> Path | None:
    return facts.path.resolve() if facts.path else None


def find_in_both(train: DataCheck, val: DataCheck, findings: Findings) -> None:
    """Report validation pictures that are also training pictures, judged by content."""
    position = {one.digest: i for i, one in enumerate(train.facts) if one.digest is not None}
    looks = copies_between([f.looks for f in train.facts], [f.looks for f in val.facts])
    for i, one in enumerate(val.facts):
        if one.digest in position:
            first, how = position[one.digest], "the same bytes"
        elif i in looks:
            first, how = looks[i], "looks the same"
        else:
            continue
        findings.lasting(
            "picture_in_both",
            f"{val.annotations.images[i]['file_name']} of {val.annotations.path.name} is "
            f"{train.annotations.images[first]['file_name']} of {train.annotations.path.name} "
            f"({how})",
        )


def find_missing_classes(train: DataCheck, val: DataCheck, findings: Findings) -> None:
    """Report the classes that one of two sets lacks."""
    names = (train.annotations.path.name, val.annotations.path.name)
    learned = {str(category["name"]) for category in train.categories}
    scored = {str(category["name"]) for category in val.categories}
    ids = {category["id"]: str(category["name"]) for category in val.categories}
    counts = Counter(ids[box["category_id"]] for box in val.boxes)
    unscored = NearNames(learned - scored)
    for name in sorted(scored - learned):
        line = f"category {name!r} of {names[1]} is not in {names[0]}"
        if near := unscored.near(name):
            line += f" (did you mean {near!r}?)"
        if counts[name]:
            findings.lasting("class_not_learned", f"{line}; {counts[name]} boxes are of it")
        else:
            findings.note("class_not_learned", f"{line}; no box is of it")
    for name in sorted(learned - scored):
        findings.note(
            "class_not_evaluated",
            f"category {name!r} of {names[0]} is not in {names[1]}",
        )
