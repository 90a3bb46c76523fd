"""Which category of an annotation file each class of a network is: by name.

One function for evaluation, for the pictures to evaluate on during training, and for the check of
two data sets.
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

#: what to do about a network's names on the command line
_ADVICE = "name the network's classes with --labels"
#: letters of names that are compared for a hint, and of one such name
_MOST_LETTERS, _LONGEST = 4_000_000, 200
#: names that a message lists
_SHOWN = 5


@dataclass(frozen=True)
class ClassMatch:
    """Labels of a network beside the categories of an annotation file.

    Attributes:
        ids: the category id of each label, in the order of the labels; None: the file has no such
            category, and detections of the label cannot be scored.
        by_order: label -> category name, where no name matched and the order decided; else empty.
            Right for published networks, whose classes have no names, and for nobody else without
            a look at it.
        notes: a line for each thing a user should know.
    """

    ids: tuple[int | None, ...]
    by_order: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def category_ids_by_name(annotations: Annotations, asked: Collection[str] = ()) -> dict[str, int]:
    """The id of each category that is a class, by name, in the order of the ids.

    Without those that only head others, unless they are ``asked`` for. Of two categories of one
    name the only one that has boxes counts.

    Raises:
        BadFile: categories of one name cannot be told apart; names their ids.
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
    """The category of each label: by name; by ascending id only where no name matches.

    Where some match, a label without a category is noted, and so is a category without a label
    that no box is of: a split may list fewer classes than the network knows, or more.

    Args:
        annotations: whose categories are asked for.
        labels: names of the network's classes, background left out.
        advice: what to do, beside renaming the categories.

    Raises:
        BadFile: a category that has boxes is no label, names match but for case and blanks, or
            nothing matches and the numbers differ; names both sides.
    """
    by_name = category_ids_by_name(annotations, labels)
    ids = {composed(name): key for name, key in by_name.items()}
    lacking = [name for name in labels if composed(name) not in ids]
    if len(lacking) == len(labels):
        if len(by_name) != len(labels):  # a network that learned those that only head others too
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
    """Which of some names was most likely meant by another, asked any number of times.

    Names are compared letter by letter until that has cost as much as it may; from then on, only
    those count that are equal but for case, blanks, ``_`` and ``-``.
    """

    def __init__(self, others: Collection[str]) -> None:
        self._only = next(iter(others)) if len(others) == 1 else None
        self._loose = {loose_name(other): other for other in others}
        self._left = _MOST_LETTERS
        self._letters = sum(map(len, self._loose))

    def near(self, name: str) -> str | None:
        """Equal but for case, blanks, ``_`` and ``-``; else alike.

        The only one there is, however it is spelled; None where nothing is near.
        """
        loose = loose_name(name)
        if self._only is not None or loose in self._loose:
            return self._only if self._only is not None else self._loose[loose]
        # a comparison takes at least the letters of both, at most their product
        self._left -= self._letters + len(loose) * len(self._loose)
        if self._left < 0 or len(loose) > _LONGEST:
            return None
        short = [other for other in self._loose if len(other) <= _LONGEST]
        alike = difflib.get_close_matches(loose, short, n=1)
        return self._loose[alike[0]] if alike else None


def near_match(name: str, others: Collection[str]) -> str | None:
    """See :meth:`NearNames.near`; for one question."""
    return NearNames(others).near(name)


def _fault(
    annotations: Annotations,
    strangers: Sequence[str],
    boxes: int,
    lacking: Sequence[str],
    advice: str,
) -> str:
    """Categories with boxes that are no labels, while other names match."""
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
    """Where no name matches: the i-th label is the i-th category, unless names are nearly equal."""
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
    """A name without what people write in one way and another: case, blanks, ``_`` and ``-``."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(sign for sign in plain if not sign.isspace() and sign not in "_-")


def _listed(one: str, many: str, names: Sequence[str]) -> str:
    shown = ", ".join(quoted(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{one if len(names) == 1 else many} {shown}{more}"


def _counts(annotations: Annotations) -> Counter[Any]:
    """Boxes of each category id."""
    return Counter(box["category_id"] for box in annotations.boxes)
