"""Match a network's classes to the categories of an annotation file by name.

Evaluation, validation during training, and the check of two data sets share this code.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..configs.class_names import composed
from ..errors import BadFile, quoted
from .coco import Annotations

#: advice on the command line for names that do not match
_ADVICE = "name the network's classes with --labels"
#: most letters compared to find a hint, in all and in one name
_MOST_LETTERS, _LONGEST = 4_000_000, 200
#: most names that a message lists
_SHOWN = 5


@dataclass(frozen=True)
class ClassMatch:
    """The categories of an annotation file that match a network's labels.

    Attributes:
        ids: the category id of each label, in label order; None where the file has no such
            category, so that detections of the label cannot be scored.
        by_order: label -> category name where no name matched and the order decided; else empty.
            Correct for published networks, whose classes have no names; for any other, the user
            has to look at it.
        notes: a line for each thing a user should know.
    """

    ids: tuple[int | None, ...]
    by_order: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def category_ids_by_name(annotations: Annotations, asked: Collection[str] = ()) -> dict[str, int]:
    """The id of each category that is a class, by name, in ascending order of id.

    Categories that only group others are left out, unless ``asked`` names them. Of two categories
    with the same name, the one that has boxes counts.

    Raises:
        BadFile: both or neither of two categories with the same name have boxes; gives their ids.
    """
    counts = _counts(annotations)
    found: dict[str, int] = {}
    for category in annotations.categories:
        name, key = str(category["name"]), int(category["id"])
        if key in annotations.root_categories and name not in asked:
            continue
        other = found.setdefault(name, key)
        if other == key:
            continue
        if bool(counts[other]) == bool(counts[key]):
            raise BadFile(
                f"{annotations.path}: category name {quoted(name)} occurs twice (ids {other} and "
                f"{key}); rename one, or merge the two ('ssd-small check-data --fix' merges)"
            )
        if counts[key]:
            found[name] = key
    return found


def match_classes(
    annotations: Annotations, labels: Sequence[str], advice: str = _ADVICE
) -> ClassMatch:
    """Find the category of each label by name, or by ascending id if no name matches at all.

    Where some names match, a label without a category is noted, as is a category without a label
    and without boxes: a split may list fewer or more classes than the network knows.

    Args:
        annotations: annotations that hold the categories.
        labels: names of the network's classes, without background.
        advice: for messages, what to do other than rename the categories.

    Raises:
        BadFile: a category that has boxes is not a label; or no name matches, and either the
            numbers of classes differ or names differ only in case, blanks, ``_`` and ``-``. The
            message names both sides.
    """
    by_name = category_ids_by_name(annotations, labels)
    ids = {composed(name): key for name, key in by_name.items()}
    lacking = [name for name in labels if composed(name) not in ids]
    if len(lacking) == len(labels):
        if len(by_name) != len(labels):  # the network may have learned grouping categories too
            every = [str(category["name"]) for category in annotations.categories]
            by_name = category_ids_by_name(annotations, every)
        return _by_order(annotations, by_name, labels, advice)
    counts, known = _counts(annotations), set(map(composed, labels))
    unlabelled = [name for name in by_name if composed(name) not in known]
    with_boxes = [name for name in unlabelled if counts[by_name[name]]]
    if with_boxes:
        boxes = counts[by_name[with_boxes[0]]]
        raise BadFile(_fault(annotations, with_boxes, boxes, lacking, advice))
    notes = []
    if unlabelled:
        notes.append(
            f"{annotations.path}: {_listed('category', 'categories', unlabelled)} without boxes "
            "and without a label of the network"
        )
    if lacking:
        notes.append(
            f"{annotations.path} has no {_listed('category', 'categories', lacking)}, which the "
            f"network finds; the other {len(labels) - len(lacking)} classes are scored"
        )
    return ClassMatch(tuple(ids.get(composed(name)) for name in labels), notes=tuple(notes))


class NearNames:
    """Find which of some names another name most likely meant, for any number of names.

    Names are compared letter by letter until a budget is spent; from then on, only names that
    differ in nothing but case, blanks, ``_`` and ``-`` match.
    """

    def __init__(self, others: Collection[str]) -> None:
        self._only = next(iter(others)) if len(others) == 1 else None
        self._loose = {loose_name(other): other for other in others}
        self._left = _MOST_LETTERS
        self._letters = sum(map(len, self._loose))

    def near(self, name: str) -> str | None:
        """The name that equals this one but for case, blanks, ``_`` and ``-``; else a similar one.

        If there is only one name, it is returned whatever its spelling. None if nothing is near.
        """
        loose = loose_name(name)
        if self._only is not None or loose in self._loose:
            return self._only if self._only is not None else self._loose[loose]
        # a comparison costs at least the letters of both, at most their product
        self._left -= self._letters + len(loose) * len(self._loose)
        if self._left < 0 or len(loose) > _LONGEST:
            return None
        short = [other for other in self._loose if len(other) <= _LONGEST]
        alike = difflib.get_close_matches(loose, short, n=1)
        return self._loose[alike[0]] if alike else None


def near_match(name: str, others: Collection[str]) -> str | None:
    """As :meth:`NearNames.near`, for a single name."""
    return NearNames(others).near(name)


def _fault(
    annotations: Annotations,
    strangers: Sequence[str],
    boxes: int,
    lacking: Sequence[str],
    advice: str,
) -> str:
    """The message about categories that have boxes but no label, while other names match."""
    name = strangers[0]
    more = f" and {len(strangers) - 1} more such categories" if len(strangers) > 1 else ""
    head = (
        f"{annotations.path}: category {quoted(name)} has {boxes} box{'es' * (boxes != 1)} and no "
        f"label of the network{more}"
    )
    near = near_match(name, lacking)
    to_do = f"rename the category, or {advice}"
    if near is not None:
        to_do = f"did you mean {quoted(near)}? Rename the category, or {advice}"
    elif not lacking:
        to_do = (
            "all labels of the network are other categories: leave out its boxes, or use the "
            "annotations the network was trained for"
        )
    listed = _listed("label", "labels", lacking)
    return f"{head}; {f'without a category: {listed}; ' if lacking else ''}{to_do}"


def _by_order(
    annotations: Annotations, by_name: dict[str, int], labels: Sequence[str], advice: str
) -> ClassMatch:
    """Match the i-th label to the i-th category, unless some names are nearly equal."""
    loose = {loose_name(name): name for name in by_name}
    for label in labels:
        if loose_name(label) in loose:
            name = loose[loose_name(label)]
            raise BadFile(
                f"{annotations.path}: no label of the network is a category, but label "
                f"{quoted(label)} is category {quoted(name)} but for case, blanks, _ and -; rename "
                f"the categories, or {advice}"
            )
    if len(labels) != len(by_name):
        first = next(iter(by_name), "")
        raise BadFile(
            f"{annotations.path} has {len(by_name)} categories, the network {len(labels)} classes, "
            f"and the names differ (e.g. {quoted(labels[0])} and {quoted(first)}); use the "
            f"annotations the network was trained for, or {advice}"
        )
    by_order = dict(zip(labels, by_name, strict=True))
    note = (
        "no class of the network is a category by name; they are scored in the order of the "
        f"categories' ids ({quoted(labels[0])} as {quoted(by_order[labels[0]])}, and so on)"
    )
    return ClassMatch(tuple(by_name.values()), by_order, (note,))


def loose_name(name: str) -> str:
    """A name without what people vary in spelling: case, blanks, ``_`` and ``-``."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(sign for sign in plain if not sign.isspace() and sign not in "_-")


def _listed(one: str, many: str, names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{one if len(names) == 1 else many} {shown}{more}"


def _counts(annotations: Annotations) -> Counter[Any]:
    """Number of boxes by category id."""
    return Counter(box["category_id"] for box in annotations.boxes)
