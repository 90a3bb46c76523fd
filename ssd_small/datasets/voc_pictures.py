"""Find the pictures of Pascal VOC annotations by the names they give and by location."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ..configs.class_names import composed
from ..errors import BadFile
from ..pictures.listing import is_image_name
from .source_files import files_below
from .voc_folder import VocFolder, bare_name
from .voc_xml import VocPicture


class VocPictures:
    """The image files of a folder.

    An annotation's picture is the file that its ``<filename>`` names, in the annotation's own
    sub-folder or relative to the images folder; else the file with the annotation's own name. If
    neither is in its place, files of these names anywhere below are considered, nearest first.
    """

    def __init__(self, folder: VocFolder) -> None:
        self._folder = folder
        self._files: dict[str, list[Path]] = defaultdict(list)
        self._stems: dict[str, list[Path]] = defaultdict(list)
        self._last: dict[str, list[Path]] = defaultdict(list)
        self._last_stems: dict[str, list[Path]] = defaultdict(list)
        self._all: list[Path] = []
        if folder.images.is_dir():
            self._all = files_below(folder.images, is_image_name)
        for path in self._all:
            inside = path.relative_to(folder.images)
            stem = bare_name(inside)
            self._files[_key(inside.as_posix())].append(path)
            self._stems[stem].append(path)
            self._last[_key(path.name)].append(path)
            self._last_stems[stem.rpartition("/")[2]].append(path)

    def files_of(self, names: Sequence[str], pictures: Sequence[VocPicture]) -> list[Path]:
        """The image file of each annotation.

        Raises:
            BadFile: some have none, one could have two, or two share one; says which.
        """
        found = [self._file(name, one) for name, one in zip(names, pictures, strict=True)]
        missing = [name for name, file in zip(names, found, strict=True) if file is None]
        if missing:
            raise BadFile(
                f"{len(missing)} of {len(names)} images are not in {self._folder.images}, the "
                f"first is {missing[0]}; expected a picture of each annotation's name (pass "
                "--images if they lie elsewhere)"
            )
        files = [file for file in found if file is not None]
        first: dict[Path, Path] = {}
        for one, file in zip(pictures, files, strict=True):
            other = first.setdefault(file, one.path)
            if other != one.path:
                raise BadFile(
                    f"{other} and {one.path} would both be of {file}; name the picture of each in "
                    "<filename>, or remove one"
                )
        return files

    def takes_own_name(self, name: str, picture: VocPicture) -> bool:
        """Whether the file that the annotation names belongs to another annotation."""
        named = self._named(name, picture)
        if named is None or not self._stems.get(name):
            return False
        other = bare_name(named.relative_to(self._folder.images))
        return _last(other) != _last(name) and other in self._folder.files

    def without_annotation(self, taken: Iterable[Path]) -> list[Path]:
        """Pictures without an annotation, except masks and thumbnails, which share a taken name."""
        stems = {bare_name(path.relative_to(self._folder.images)) for path in taken}
        inside = ((path, path.relative_to(self._folder.images)) for path in self._all)
        return [path for path, one in inside if bare_name(one) not in stems]

    def _file(self, name: str, picture: VocPicture) -> Path | None:
        """The file that an annotation names; else the one with the annotation's own name."""
        named = self._named(name, picture)
        if named is not None and not self.takes_own_name(name, picture):
            return named
        place, _, last = name.rpartition("/")
        far = self._last[_key(_last(picture.file_name))] if named is None else []
        if own := self._stems.get(name, []):
            return self._only(own, picture)
        # <filename> may lack its ending, or have one that the picture used to have
        said = PurePosixPath(picture.file_name.replace("\\", "/"))
        stem = _last(bare_name(said)) if said.name else ""
        for found in (far, self._last_stems.get(last, []), self._last_stems.get(stem, [])):
            free = [path for path in found if not self._is_of_another(path, name)]
            if free:
                return self._only(_nearest(free, place, self._folder.images), picture)
        return None

    def _is_of_another(self, path: Path, name: str) -> bool:
        """Whether a file has the name, including folders, of another annotation."""
        stem = bare_name(path.relative_to(self._folder.images))
        return stem != name and stem in self._folder.files

    def _named(self, name: str, picture: VocPicture) -> Path | None:
        """The file of a ``<filename>``, beside the annotation or below the images folder."""
        file_name = picture.file_name.replace("\\", "/")
        last = _last(file_name)
        place = name.rpartition("/")[0]
        for one in (f"{place}/{last}" if place else last, file_name):
            candidates = self._files.get(_key(one), [])
            exact = [path for path in candidates if path.as_posix().endswith(one)]
            if exact or candidates:
                return self._only(exact or candidates, picture)
        return None

    def _only(self, candidates: Sequence[Path], picture: VocPicture) -> Path:
        if len(candidates) > 1:
            raise BadFile(
                f"{picture.path} could be of {candidates[0]} or {candidates[1]}; name the picture "
                "in <filename>, or move the other one elsewhere"
            )
        return candidates[0]


def _nearest(paths: Sequence[Path], place: str, root: Path) -> list[Path]:
    """The files that share the most folders, from the top, with an annotation's place."""
    wanted = PurePosixPath(place).parts

    def shared(path: Path) -> int:
        parts = path.relative_to(root).parts[:-1]
        pairs = zip(map(composed, parts), wanted, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(parts), len(wanted)))

    most = max(map(shared, paths), default=0)
    return [path for path in paths if shared(path) == most]


def _last(file_name: str) -> str:
    return file_name.replace("\\", "/").rpartition("/")[2]


def _key(file_name: str) -> str:
    """A canonical spelling of a file's name: composed, with its ending in lower case."""
    stem, dot, ending = composed(file_name).rpartition(".")
    return f"{stem}{dot}{ending.lower()}" if dot else ending
