"""Find picture files by the names that annotations give them.

Tools write names as on another system (``images\\a.jpg``, ``C:\\Users\\x\\a.jpg``), as on a server
(``http://host/a%20b.jpg``), or in another Unicode form. A name is first taken literally, then as
anything it could mean; an ambiguous name is refused, and only a literal one leads out of the
folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from ..configs.class_names import composed
from ..errors import BadFile, quoted
from .coco import Annotations

#: start of a name from another machine: a root, a drive, a home or an address
_ELSEWHERE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]+://")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: fields of an entry that hold the address of its picture
_ADDRESSES = ("coco_url", "absolute_url")
#: how Label Studio names a file from its local storage
_LOCAL_FILE = re.compile(r".*/local-files/\?d=([^&#]*)", re.DOTALL)
#: how Label Studio names an uploaded file, with a prefix before its own name
_UPLOADED = re.compile(r".*/data/upload/.*?([0-9a-f]{8}-)[^/]+", re.DOTALL)
#: for advice about missing pictures: most names tried and most folders shown
_TRIED, _ADVISED = 50, 3

_Parts = tuple[str, ...]


class _Place(NamedTuple):
    """A file that a name means, and ``how`` it was found; empty for the literal name."""

    path: Path
    how: str


#: values of ``_Place.how``, worded for notes
_SPELLING = "are spelled otherwise in the folder"
_INSIDE = "begin with the folder itself"
_END = "lead to another machine or folder and were found by their ends"


class PictureFolder:
    """A folder of pictures; each sub-folder is listed at most once, and only if needed."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._above = tuple(map(composed, self.folder.resolve().parts))
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def path(self, file_name: str) -> Path | None:
        """The file that a name means, or None if there is none.

        Raises:
            BadFile: it could be two files; names both.
        """
        found = self.place(file_name)
        return None if found is None else found.path

    def place(self, file_name: str) -> _Place | None:
        """As :meth:`path`, but also says how the file was found."""
        literal = self.folder / file_name
        if _is_file(literal):
            return _Place(literal, "")
        near, far = _readings(file_name)
        for how, groups in (
            (_SPELLING, [near]),
            (_INSIDE, [[parts for one in near for parts in self._inside(one)]]),
            # for names from elsewhere, the longest trailing part that exists here
            (_END, _ends(far)),
            (_END, _ends(_as_uploaded(file_name))),
        ):
            for group in groups:
                if path := self._only([p for one in group for p in self._files(one)], file_name):
                    return _Place(path, how)
        return None

    def place_of(self, image: Mapping[str, Any]) -> _Place | None:
        """The file of an image entry: by its name, or by its address if that ends in the name."""
        name = image["file_name"]
        if found := self.place(name):
            return found
        for key in _ADDRESSES:
            address = image.get(key)
            if isinstance(address, str) and unquote(address).endswith(f"/{unquote(name)}"):
                return self.place(address)
        return None

    def _inside(self, parts: _Parts) -> Iterator[_Parts]:
        """The rest of a name that begins with (the end of) this folder's own path."""
        for count in range(1, len(parts)):
            if tuple(map(composed, parts[:count])) == self._above[-count:]:
                yield parts[count:]

    def _only(self, paths: Sequence[Path], file_name: str) -> Path | None:
        found = list(dict.fromkeys(paths))
        if len(found) > 1 and not all(one.samefile(found[0]) for one in found[1:]):
            raise BadFile(
                f"file_name {quoted(file_name)} could be {found[0]} or {found[1]}; correct the "
                "name, or rename one of the files"
            )
        return found[0] if found else None

    def _files(self, parts: _Parts) -> list[Path]:
        """Files with a name below the folder: exact, else in another Unicode form or ending."""
        direct = self.folder.joinpath(*parts)
        if _is_file(direct):
            return [direct]
        places = [self.folder]
        for part in parts[:-1]:
            places = [below for place in places for below in self._entries(place, part)]
            places = [place for place in places if place.is_dir()]
        found = [path for place in places for path in self._entries(place, parts[-1])]
        return [path for path in found if _is_file(path)]

    def _entries(self, place: Path, name: str) -> list[Path]:
        """Entries of a folder that match a name; several only if none matches exactly."""
        if place not in self._listed:
            listed: dict[str, list[str]] = {}
            try:
                for entry in sorted(path.name for path in place.iterdir()):
                    listed.setdefault(_key(entry), []).append(entry)
            except OSError:  # not a folder, or not readable
                pass
            self._listed[place] = listed
        names = self._listed[place].get(_key(name), [])
        return [place / one for one in ([name] if name in names else names)]


def picture_path(folder: str | Path, file_name: str) -> Path | None:
    """The file in a folder that a name means, or None if there is none.

    For many names, use :class:`PictureFolder`, which lists the folder only once.

    Raises:
        BadFile: it could be two files; names both.
    """
    return PictureFolder(folder).path(file_name)


def image_paths(
    annotations: Annotations,
    folder: str | Path,
    option: str = "--images",
    *,
    some: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """The image files of a data set; all of them exist, or with ``some`` at least one.

    Args:
        annotations: annotations that name the files.
        folder: what the names are relative to.
        option: the option that gave the folder, for messages.
        some: accept missing pictures, and return for them the path that the literal name gives.
        say: called with a line about names that were not taken literally, or are missing.

    Raises:
        BadFile: images are missing, or two names mean one file; says which.
    """
    pictures = PictureFolder(folder)
    names = [image["file_name"] for image in annotations.images]
    found = [pictures.place_of(image) for image in annotations.images]
    missing = [name for name, one in zip(names, found, strict=True) if one is None]
    if missing and not (some and len(missing) < len(names)):
        raise BadFile(
            f"{len(missing)} of {len(names)} images of {annotations.path} are not in {folder}, the "
            f"first is {quoted(missing[0])} (tried {pictures.folder / missing[0]} and other "
            f"spellings); pass the right {option}{_advice(pictures.folder, missing[:_TRIED])}"
        )
    if missing and (advice := _advice(pictures.folder, missing[:_TRIED])):
        say(
            f"{len(missing)} of {len(names)} images of {annotations.path} are not in {folder}, the "
            f"first is {quoted(missing[0])}{advice}"
        )
    places = [
        _Place(pictures.folder / name, "") if one is None else one
        for name, one in zip(names, found, strict=True)
    ]
    _refuse_collisions(annotations, names, places, option)
    for how in (_SPELLING, _INSIDE, _END):
        of_kind = [(n, one.path) for n, one in zip(names, places, strict=True) if one.how == how]
        if of_kind:
            say(
                f"{len(of_kind)} file names of {annotations.path} {how}: {quoted(of_kind[0][0])} "
                f"is {of_kind[0][1]}"
            )
    return [one.path for one in places]


def _refuse_collisions(
    annotations: Annotations, names: Sequence[str], places: Sequence[_Place], option: str
) -> None:
    """Refuse two names for one file: one of the pictures is missing, and no one would notice."""
    if not any(one.how for one in places):
        return
    first: dict[Path, str] = {}
    for name, one in zip(names, places, strict=True):
        other = first.setdefault(one.path, name)
        if other != name:
            raise BadFile(
                f"{quoted(other)} and {quoted(name)} of {annotations.path} would both be "
                f"{one.path}; pass the {option} in which they differ"
            )


def _advice(folder: Path, missing: Sequence[str]) -> str:
    """Suggest folders above or in this one that hold what is missing, else shorter names."""
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        below = []
    # the current folder ("." or "") has no name, so its parents need the resolved path
    above = [*(folder if folder.name else folder.resolve()).parents][:3]
    fitting = []
    for place in (*above, *below):
        pictures = PictureFolder(place)
        try:
            if all(pictures.place(name) for name in missing):
                fitting.append(str(place))
        except BadFile:
            continue
    if fitting:
        return f" ({' or '.join(fitting[:_ADVISED])} would fit)"
    pictures = PictureFolder(folder)
    try:
        ends = [pictures.place(re.split(r"[/\\]+", name)[-1]) for name in missing]
    except BadFile:
        return ""
    if not ends or ends[0] is None or None in ends:
        return ""
    return (
        f" (by the last part of the names they are here, such as {ends[0].path}: cut the rest off)"
    )


def _readings(file_name: str) -> tuple[list[_Parts], list[_Parts]]:
    """What a name can mean as a path below the folder, and as a path from elsewhere.

    No part is ``..``: everything up to the last one is cut off, and the rest is from elsewhere.
    """
    text = file_name.strip()
    elsewhere = _ELSEWHERE.match(text) is not None
    if local := _LOCAL_FILE.match(text):
        texts, elsewhere = [unquote(local[1])], True
    elif address := _ADDRESS.match(text):
        rest = text[address.end() :]
        texts = [rest, re.split(r"[?#]", rest, maxsplit=1)[0]]
    else:
        texts = [text]
    texts += [unquote(one) for one in texts]
    near: list[_Parts] = []
    far: list[_Parts] = []
    for one in dict.fromkeys(texts):
        parts = [part for part in re.split(r"[/\\]+", one) if part not in ("", ".")]
        last = max((i for i, part in enumerate(parts) if part == ".."), default=-1)
        kept = tuple(parts[last + 1 :])
        if kept:
            (far if elsewhere or last >= 0 else near).append(kept)
    # files saved under percent-encoded names
    for group in (near, far):
        group += [tuple(quote(part, safe="") for part in parts) for parts in group]
    return list(dict.fromkeys(near)), list(dict.fromkeys(far))


def _as_uploaded(file_name: str) -> list[_Parts]:
    """Readings of the name that a file had before it was uploaded to Label Studio."""
    found = _UPLOADED.fullmatch(file_name)
    if found is None:
        return []
    return _readings(file_name[: found.start(1)] + file_name[found.end(1) :])[1]


def _ends(readings: Sequence[_Parts]) -> Iterator[list[_Parts]]:
    """Trailing parts of paths, grouped by length, from the longest to the bare file name."""
    for length in range(max(map(len, readings), default=0), 0, -1):
        yield [parts[-length:] for parts in readings if len(parts) >= length]


def _key(name: str) -> str:
    """A canonical spelling of a file's name: composed, with its ending in lower case."""
    stem, dot, ending = composed(name).rpartition(".")
    return f"{stem}{dot}{ending.lower()}" if dot else ending


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError as error:
        raise BadFile(f"{path}: {error.strerror}; its folder may not be looked into") from error
    except (OSError, ValueError):  # a name that is too long or has a forbidden character
        return False
