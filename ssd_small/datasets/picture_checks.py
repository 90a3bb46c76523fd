"""Check image entries against their files: which are correct, which can be repaired."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import quoted
from ..pictures.listing import is_image_name
from .coco import Annotations
from .findings import Findings
from .object_sizes import are_fractions
from .picture_facts import PictureFacts, Size
from .picture_sizes import sizes_from_boxes


def checked_images(
    annotations: Annotations,
    facts: Sequence[PictureFacts],
    findings: Findings,
) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Return the usable image entries, with corrected sizes, and report faults in the others.

    Returns:
        The entries, and a map from each former id to the id that its boxes now belong to, without
        the ids of entries left out.
    """
    boxes_of = defaultdict(list)
    for box in annotations.boxes:
        boxes_of[box["image_id"]].append(box)
    groups = [boxes_of[image["id"]] for image in annotations.images]
    fractions = are_fractions(annotations.boxes)
    sizes = sizes_from_boxes(annotations.images, facts, groups, fractions=fractions)
    images: list[dict[str, Any]] = []
    kept_id: dict[int, int] = {}
    named = _names_by_file(annotations.images, facts)
    first_of: dict[Path, dict[str, Any]] = {}
    places = annotations.image_places()
    for i, (image, one) in enumerate(zip(annotations.images, facts, strict=True)):
        where = places[i]
        size = sizes.get(i, (image["height"], image["width"]))
        _find(where, image, one, size, findings)
        if one.path is None or one.state == "unreadable" or size is None:
            continue
        if one.respelled:
            if len(names := named[one.path.resolve()]) > 1:
                findings.error(
                    "names_of_one_file",
                    f"{where}: {' and '.join(map(quoted, names))} would both be {one.path}",
                )
                continue
            findings.note("respelled_name", f"{where}: {quoted(image['file_name'])} is {one.path}")
        first = first_of.setdefault(one.path.resolve(), image)
        kept_id[image["id"]] = first["id"]
        if first is not image:
            findings.fixable(
                "duplicate_picture_entry",
                f"{where}: {image['file_name']} is the picture of image {first['id']} too",
            )
            continue
        images.append({**image, "height": size[0], "width": size[1]})
    _note_frames(annotations.images, facts, findings)
    return images, kept_id


def _note_frames(
    images: Sequence[dict[str, Any]], facts: Sequence[PictureFacts], findings: Findings
) -> None:
    """Note pictures read as EXIF turns them, unless others of the set confirm that it is right."""
    stored = sum(one.frame == "stored" for one in facts)
    if not stored and any(one.frame == "shown" for one in facts):
        return
    others = f"{stored} others are annotated as stored" if stored else "no other picture tells"
    for i, (image, one) in enumerate(zip(images, facts, strict=True)):
        if one.frame == "untold":
            findings.note(
                "untold_orientation",
                f"images[{i}] (id {image['id']}): {one.path} is read as its EXIF orientation turns "
                f"it, for its size fits both frames; {others}",
            )


def _names_by_file(
    images: Sequence[dict[str, Any]], facts: Sequence[PictureFacts]
) -> dict[Path, list[str]]:
    """File -> the different names that entries give it."""
    names: dict[Path, dict[str, None]] = defaultdict(dict)
    for image, one in zip(images, facts, strict=True):
        if one.path is not None:
            names[one.path.resolve()][image["file_name"]] = None
    return {path: list(found) for path, found in names.items()}


def _find(
    where: str,
    image: dict[str, Any],
    one: PictureFacts,
    size: Size | None,
    findings: Findings,
) -> None:
    """Report what is wrong with a picture, or worth knowing."""
    said = f"{image['width']}x{image['height']}"
    if one.state == "missing":
        findings.error("missing_picture", f"{where}: {one.message}")
    elif one.state == "unreadable":
        findings.error("unreadable_picture", f"{where}: {one.message}")
    elif one.state == "mismatch":
        if size is None:
            outcome = "whether its boxes fit the file cannot be told: a repaired file leaves it out"
        else:
            outcome = f"its boxes fit {size[1]}x{size[0]}"
        findings.error(
            "size_mismatch",
            f"{where}: {one.path} is {_text(one.sizes)} but annotated as {said}; {outcome}",
        )
    elif one.state == "scaled":
        findings.note(
            "scaled_picture", f"{where}: {one.path} is {_text(one.sizes)}, annotated as {said}"
        )


def _text(sizes: Sequence[Size]) -> str:
    """``640x480``, or both sizes of a picture whose EXIF orientation turns it."""
    return " or turned ".join(dict.fromkeys(f"{width}x{height}" for height, width in sizes))


def note_unlisted(
    folder: Path, facts: Sequence[PictureFacts], others: Sequence[PictureFacts], findings: Findings
) -> None:
    """Note picture files that no entry names, in and below the folder that holds the named ones.

    Args:
        folder: what file names are relative to; nothing outside it is looked for.
        facts: facts of the pictures of this set.
        others: facts of the pictures of another set, which may lie in the same folder.
        findings: collects the notes.
    """
    inside = [one.path for one in facts if one.path is not None and _is_below(one.path, folder)]
    if not inside:
        return
    listed = {one.path.resolve() for one in (*facts, *others) if one.path is not None}
    # if the folder holds several sets, look only where this one lies
    top = os.path.commonpath([path.parent for path in inside])
    # os.walk skips folders that cannot be read or that vanish
    for place, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(place, name) for name in sorted(names)):
            if is_image_name(path) and path.resolve() not in listed:
                findings.note("unlisted_picture", str(path))


def _is_below(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder and not, by ``..``, out of it again."""
    return path.is_relative_to(folder) and ".." not in path.relative_to(folder).parts
