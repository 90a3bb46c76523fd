"""Folders of Pascal VOC annotations as tools leave them: layouts, lists of a split, pictures.

Known are the published layout (``Annotations``, ``JPEGImages``, ``ImageSets/Main``), the same with
other names (``annots``, ``images``) and with sub-folders, and XML beside the pictures.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import BadFile
from ..files import read_bytes
from ..pictures.listing import is_image_name
from .voc_xml import VocPicture

_ANNOTATIONS = ("annotations", "annotation", "annots", "xml", "xmls")
_IMAGES = ("jpegimages", "images", "image", "imgs", "img", "pictures")
#: a name of a list in quotation marks, and a flag behind a name
_QUOTED = re.compile(r"""(["'])(.+)\1(?:\s+(-?\d+))?""")
_FLAGGED = re.compile(r"(.+?)\s+(-?[01])")


@dataclass(frozen=True, eq=False)
class VocFolder:
    """Where things are.

    Attributes:
        root: the folder that was named.
        images: what file names are relative to.
        files: XML files by name: the path in their folder with slashes, without its ending.
    """

    root: Path
    images: Path
    files: Mapping[str, Path]


def voc_folder(root: Path, images: Path | None = None) -> VocFolder:
    """Find annotations and pictures in a folder.

    Args:
        root: such as ``VOCdevkit/VOC2007``.
        images: folder of the pictures, where they lie elsewhere.

    Raises:
        BadFile: it holds no annotations.
    """
    if not root.is_dir():
        state = "is a file" if root.exists() else "is not there"
        raise BadFile(f"{root} {state}; expected a folder of VOC Annotations and their pictures")
    below = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    annotations = next((below[name] for name in _ANNOTATIONS if name in below), None)
    if images is None:
        images = next((below[name] for name in _IMAGES if name in below), annotations or root)
    place = annotations or root
    files = {_name(path.relative_to(place)): path for path in _visible(place, ".xml")}
    if not files:
        raise BadFile(
            f"{root} has no folder Annotations, nor XML files beside pictures; expected a VOC "
            "folder such as VOCdevkit/VOC2007"
            if annotations is None
            else f"{annotations} holds no XML file; expected VOC annotations"
        )
    return VocFolder(root, images, files)


def _visible(folder: Path, ending: str | None) -> Iterator[Path]:
    """Files of all folders below, in order; macOS leaves ``._a.xml`` and ``__MACOSX`` in archives.

    ``ending`` None stands for those of pictures.
    """
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        wanted = is_image_name(path) if ending is None else path.suffix.lower() == ending
        if wanted and path.is_file():
            yield path


def _name(path: Path) -> str:
    return path.with_suffix("").as_posix()


def names_of_split(folder: VocFolder, split: str | None) -> list[str]:
    """Names of the annotations of a split, in its order; of all where it is None.

    A split is a list ``ImageSets/Main/<split>.txt``, or a folder below that holds annotations.

    Raises:
        BadFile: there is no such split, or it is damaged, or lists what is not there.
    """
    if split is None:
        return list(folder.files)
    path = folder.root / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        inside = [name for name in folder.files if name.startswith(f"{split}/")]
        if inside:
            return inside
        known = sorted(other.stem for other in path.parent.glob("*.txt"))
        known += sorted({name.split("/")[0] for name in folder.files if "/" in name})
        advice = f"choose from {', '.join(known[:20])}" if known else "leave out --split for all"
        raise BadFile(
            f"{folder.root} has no split {split!r} (ImageSets/Main/{split}.txt); {advice}"
        )
    try:
        lines = read_bytes(path, "a list of image names").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text; expected an image name per line") from error
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


def _by_ends(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Names by their last part, for lists that name them from another folder."""
    ends: dict[str, set[str]] = defaultdict(set)
    for name in files:
        ends[name.rpartition("/")[2]].add(name)
    return ends


def _listed(line: str, folder: VocFolder, ends: Mapping[str, set[str]]) -> tuple[str, str]:
    """Name and flag of a line: quoted, or bare with blanks inside, with or without an ending."""
    if match := _QUOTED.fullmatch(line):
        return _known(match[2], folder, ends) or match[2], match[3] or ""
    if (name := _known(line, folder, ends)) is not None:
        return name, ""
    if match := _FLAGGED.fullmatch(line):
        return _known(match[1], folder, ends) or match[1], match[2]
    return line, ""


def _known(text: str, folder: VocFolder, ends: Mapping[str, set[str]]) -> str | None:
    """The annotation that a name of a list means."""
    text = text.replace("\\", "/")
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


class VocPictures:
    """The image files of a folder, by what annotations call them."""

    def __init__(self, folder: VocFolder) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._stems: dict[str, list[Path]] = defaultdict(list)
        self._anywhere: dict[str, list[Path]] = defaultdict(list)
        for path in _visible(folder.images, None) if folder.images.is_dir() else ():
            inside = path.relative_to(folder.images)
            self._files[inside.as_posix()] = path
            self._stems[_name(inside)].append(path)
            self._anywhere[inside.stem].append(path)

    def files_of(self, names: Sequence[str], pictures: Sequence[VocPicture]) -> list[Path]:
        """The image of each annotation.

        Raises:
            BadFile: some have none, or one has two; named.
        """
        found = [self._file(name, one) for name, one in zip(names, pictures, strict=True)]
        missing = [name for name, file in zip(names, found, strict=True) if file is None]
        if missing:
            raise BadFile(
                f"{len(missing)} of {len(names)} images are not in {self._folder.images}, the "
                f"first is {missing[0]}; expected a picture of each annotation's name (pass "
                "--images if they lie elsewhere)"
            )
        return [file for file in found if file is not None]

    def takes_own_name(self, name: str, picture: VocPicture) -> bool:
        """Whether the file that the annotation names belongs to another annotation."""
        named = self._named(name, picture.file_name)
        if named is None or named.stem == PurePosixPath(name).name or not self._stems.get(name):
            return False
        return _name(named.relative_to(self._folder.images)) in self._folder.files

    def _file(self, name: str, picture: VocPicture) -> Path | None:
        """The file that it names; else the one that is called as it is."""
        named = self._named(name, picture.file_name)
        if named is not None and not self.takes_own_name(name, picture):
            return named
        own = self._stems.get(name) or self._anywhere.get(PurePosixPath(name).name, [])
        if len(own) > 1:
            raise BadFile(
                f"{picture.path} could be of {own[0]} or {own[1]}; name the picture in <filename>, "
                "or move the other one elsewhere"
            )
        return own[0] if own else None

    def _named(self, name: str, file_name: str) -> Path | None:
        """The file of a ``<filename>``, beside the annotation's own place or from the root."""
        file_name = file_name.replace("\\", "/")
        last = file_name.rpartition("/")[2]
        place = name.rpartition("/")[0]
        for one in (f"{place}/{last}" if place else last, file_name):
            if one in self._files:
                return self._files[one]
        return None
