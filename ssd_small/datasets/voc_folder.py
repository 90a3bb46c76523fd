"""Read folders of Pascal VOC annotations as tools leave them: layouts and lists of splits.

Supported are the published layout (``Annotations``, ``JPEGImages``, ``ImageSets/Main``), the same
with other names (``annots``, ``images``) and with sub-folders, XML beside the pictures, and
folders of any of these.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from ..configs.class_names import composed
from ..errors import BadFile, quoted
from ..files import state_of
from ..pictures.listing import is_image_name
from .source_files import entry_in, files_below, read_text

_ANNOTATIONS = ("annotations", "annotation", "annots", "xml", "xmls")
_IMAGES = ("jpegimages", "images", "image", "imgs", "img", "pictures")
#: a name in quotation marks in a list, optionally followed by a number
_QUOTED = re.compile(r"""(["'])(.+)\1(?:\s+(-?\d+))?""")
_NUMBERED = re.compile(r"(.*\S)\s+(-?\d+)")
_FLAGS = ("-1", "0", "1")


@dataclass(frozen=True, eq=False)
class VocFolder:
    """Where annotations and pictures are.

    Attributes:
        root: the folder that was given.
        images: folder that picture names are relative to.
        files: XML files by name: the path within their folder, with slashes, without its ending,
            in composed Unicode.
    """

    root: Path
    images: Path
    files: Mapping[str, Path]


def voc_folder(root: Path, images: Path | None = None) -> VocFolder:
    """Find annotations and pictures in a folder.

    Args:
        root: such as ``VOCdevkit/VOC2007``.
        images: folder of the pictures, if they lie elsewhere.

    Raises:
        BadFile: it holds no annotations, or two of the same name.
    """
    if not root.is_dir():
        raise BadFile(
            f"{root} {state_of(root)}; expected a folder of VOC Annotations and their pictures"
        )
    below = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    annotations = next((below[name] for name in _ANNOTATIONS if name in below), None)
    if images is None:
        # without a folder of annotations, they may lie beside the pictures in the images folder
        known = () if annotations is None else _IMAGES
        images = next((below[name] for name in known if name in below), None)
    if images is None:
        beside = annotations is not None and files_below(annotations, is_image_name)
        images = annotations if annotations is not None and beside else root
    place = annotations or root
    files: dict[str, Path] = {}
    for path in files_below(place, lambda one: one.suffix.lower() == ".xml"):
        other = files.setdefault(bare_name(path.relative_to(place)), path)
        if other != path:
            raise BadFile(
                f"{other} and {path} are spelled alike; expected one annotation of a name: rename "
                "or remove one"
            )
    if not files:
        raise BadFile(
            f"{root} has no folder Annotations, nor XML files beside pictures; expected a VOC "
            "folder such as VOCdevkit/VOC2007"
            if annotations is None
            else f"{annotations} holds no XML file; expected VOC annotations"
        )
    return VocFolder(root, images, files)


def bare_name(path: PurePath) -> str:
    """A file's path with slashes, without its ending, in composed Unicode."""
    return composed(path.with_suffix("").as_posix())


def names_of_split(folder: VocFolder, split: str | None) -> list[str]:
    """Names of the annotations of a split, in its order; of all annotations if it is None.

    A split is a list ``ImageSets/Main/<split>.txt`` (some tools omit these folders or write them
    in lower case), or a sub-folder that holds annotations.

    Raises:
        BadFile: there is no such split, or it is damaged, or it lists what is not there.
    """
    if split is None:
        return list(folder.files)
    path = _list_file(folder.root, split)
    if path is None:
        inside = [name for name in folder.files if name.startswith(f"{split}/")]
        if inside:
            return inside
        known = sorted(other.stem for other in (folder.root / "ImageSets" / "Main").glob("*.txt"))
        known += sorted({name.split("/")[0] for name in folder.files if "/" in name})
        advice = f"choose from {', '.join(known[:20])}" if known else "leave out --split for all"
        raise BadFile(
            f"{folder.root} has no split {quoted(split)} (ImageSets/Main/{split}.txt); {advice}"
        )
    lines = read_text(path, "a list of image names").splitlines()
    known_ends = _by_ends(folder.files)
    listed = [_listed(line.strip(), folder, known_ends) for line in lines if line.strip()]
    names = [name for name, flag in listed if flag != "-1"]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if not names or doubled:
        fault = f"{doubled[0]} occurs twice" if doubled else "it lists no image"
        raise BadFile(f"{path}: {fault}; expected an image name per line, each once")
    missing = [name for name in names if name not in folder.files]
    if missing:
        raise BadFile(
            f"{path}: {len(missing)} of {len(names)} names have no annotation, the first is "
            f"{missing[0]} (no {missing[0]}.xml); expected names of XML files without their ending"
        )
    return names


def _list_file(root: Path, split: str) -> Path | None:
    """The list file of a split, or None if there is none."""
    for names in (("ImageSets", "Main"), ("ImageSets",), ()):
        path = root
        for name in (*names, f"{split}.txt"):
            path = entry_in(path, name)
        if path.is_file():
            return path
    return None


def _by_ends(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Names by their last part, for lists whose names are relative to another folder."""
    ends: dict[str, set[str]] = defaultdict(set)
    for name in files:
        ends[name.rpartition("/")[2]].add(name)
    return ends


def _listed(line: str, folder: VocFolder, ends: Mapping[str, set[str]]) -> tuple[str, str]:
    """Name and flag of a line: quoted, or bare with blanks inside, with or without an ending.

    Names may end in numbers, and one data set (of pets) has three flags per line; so the longest
    name that exists is taken.
    """
    if match := _QUOTED.fullmatch(line):
        return _known(match[2], folder, ends) or match[2], match[3] or ""
    if (name := _known(line, folder, ends)) is not None:
        return name, ""
    match = last = _NUMBERED.fullmatch(line)
    while match:
        name = _known(match[1], folder, ends)
        if name is not None and (match is not last or match[2] in _FLAGS):
            return name, match[2] if match is last else ""
        match = _NUMBERED.fullmatch(match[1])
    return (last[1], last[2]) if last and last[2] in _FLAGS else (line, "")


def _known(text: str, folder: VocFolder, ends: Mapping[str, set[str]]) -> str | None:
    """The name of the annotation that an entry of a list means; None if there is none."""
    text = composed(text.replace("\\", "/"))
    bare = text
    if text.lower().endswith(".xml") or is_image_name(Path(text)):
        bare = str(PurePosixPath(text).with_suffix(""))
    for one in (text, bare):
        if one in folder.files:
            return one
    parts = PurePosixPath(bare).parts
    found = ends.get(parts[-1] if parts else "", set())
    for length in range(len(parts), 0, -1):
        end = "/".join(parts[-length:])
        fitting = [name for name in found if name == end or name.endswith(f"/{end}")]
        if len(fitting) == 1:
            return fitting[0]
    return None
