"""Files of pictures by the names that tools write."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_small.datasets.coco import Annotations
from ssd_small.datasets.picture_files import PictureFolder, image_paths, picture_path
from ssd_small.errors import BadFile

COMPOSED = unicodedata.normalize("NFC", "bücher/é.jpg")
DECOMPOSED = unicodedata.normalize("NFD", "bücher/é.jpg")


def filled(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def truth(*names: str) -> Annotations:
    images = tuple({"id": i, "file_name": name} for i, name in enumerate(names, 1))
    return Annotations(Path("gt.json"), images, (), (), 0)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("images/a.jpg", "images/a.jpg"),
        ("images/a.jpg", "images\\a.jpg"),
        ("images/a.jpg", "./images//a.jpg"),
        ("images/a.jpg", " images/a.jpg "),
        ("a b.jpg", "a%20b.jpg"),
        ("a%20b.jpg", "a%20b.jpg"),
        ("a%20b.jpg", "a b.jpg"),
        ("images/ä b.jpg", "images%5C%C3%A4%20b.jpg"),
        ("images/a.jpg", "/data/local-files/?d=images%5Ca.jpg"),
        ("a.jpg", "/data/local-files/?d=kitchen/images/a.jpg"),
        ("1/abcd-a.jpg", "/data/upload/1/abcd-a.jpg"),
        ("abcd-a.jpg", "/data/upload/1/abcd-a.jpg"),
        ("a b.jpg", "/data/upload/1/3f2a9c01-a%20b.jpg"),
        ("3f2a9c01-a.jpg", "/data/upload/1/3f2a9c01-a.jpg"),
        ("images/a.jpg", "C:\\Users\\me\\images\\a.jpg"),
        ("a.jpg", "C:/Users/me/images/a.jpg"),
        ("a.jpg", "\\\\server\\share\\a.jpg"),
        ("images/a.jpg", "/nowhere/x/images/a.jpg"),
        ("a.jpg", "../images/a.jpg"),
        ("a.jpg", "..\\images\\a.jpg"),
        ("a b.jpg", "http://host:80/images/a%20b.jpg?raw=1#top"),
        ("bucket/a.jpg", "s3://bucket/a.jpg"),
        ("a.jpg", "file:///home/me/a.jpg"),
        ("a.JPG", "a.jpg"),
        ("a.jpg", "a.JPG"),
        (DECOMPOSED, COMPOSED),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, "C:\\" + COMPOSED.replace("/", "\\")),
    ],
)
def test_a_name_is_found_however_it_is_spelled(tmp_path: Path, file: str, name: str) -> None:
    folder = filled(tmp_path / "data", file)
    path = picture_path(folder, name)
    assert path is not None
    assert path.resolve() == folder / file


@pytest.mark.parametrize(
    "name",
    [
        "other/a.jpg",  # a picture of another folder, not of this one
        "A.jpg",
        "3f2a9c01-a.jpg",
        "a.jpeg",
        "a",
        "",
        "a.jpg\0",
        "x" * 300 + ".jpg",
        "../secret.jpg".replace(".", "%2e", 2),
        "..\\secret.jpg",
        "http://host/%2e%2e/secret.jpg",
        "sub/..\\..\\secret.jpg",
    ],
)
def test_a_name_is_nothing_else_and_never_outside(tmp_path: Path, name: str) -> None:
    filled(tmp_path, "secret.jpg")
    assert picture_path(filled(tmp_path / "data", "a.jpg", "sub/b.jpg"), name) is None


def test_a_name_that_leads_outside_is_taken_literally_only(tmp_path: Path) -> None:
    filled(tmp_path, "secret.jpg")
    folder = filled(tmp_path / "data", "a.jpg")
    path = picture_path(folder, "../secret.jpg")
    assert path is not None
    assert path.resolve() == tmp_path / "secret.jpg"
    assert picture_path(folder, str(tmp_path / "secret.jpg")) == tmp_path / "secret.jpg"


def test_the_name_as_it_is_goes_before_what_it_could_mean(tmp_path: Path) -> None:
    folder = filled(tmp_path, "a%20b.jpg", "a b.jpg", "c.jpg", "c.JPG")
    assert picture_path(folder, "a%20b.jpg") == folder / "a%20b.jpg"
    assert picture_path(folder, "c.JPG") == folder / "c.JPG"


def test_the_longest_end_of_a_name_from_elsewhere_is_taken(tmp_path: Path) -> None:
    folder = filled(tmp_path, "cam1/a.jpg", "a.jpg")
    assert picture_path(folder, "/nowhere/x/cam1/a.jpg") == folder / "cam1/a.jpg"


@pytest.mark.parametrize(
    ("files", "name"),
    [(("c.JPG", "c.Jpg"), "c.jpg"), (("d/a b.jpg", "d/a%20b.jpg"), "d\\a%20b.jpg")],
)
def test_a_name_that_could_be_two_files_names_both(
    tmp_path: Path, files: tuple[str, str], name: str
) -> None:
    folder = filled(tmp_path, *files)
    with pytest.raises(BadFile) as refused:
        picture_path(folder, name)
    assert all(str(folder / file) in str(refused.value) for file in files)


def test_a_folder_that_the_names_begin_with_is_the_one_they_say(tmp_path: Path) -> None:
    folder = filled(tmp_path / "data/val", "1.jpg", "2.jpg")
    said: list[str] = []
    paths = image_paths(truth("val/1.jpg", "data\\val\\2.jpg"), folder, say=said.append)
    assert paths == [folder / "1.jpg", folder / "2.jpg"]
    assert len(said) == 1
    assert "2 file names of gt.json" in said[0]
    assert f"'val/1.jpg' is {folder / '1.jpg'}" in said[0]


def test_pictures_of_another_split_are_not_taken_for_those_of_the_folder(tmp_path: Path) -> None:
    filled(tmp_path / "data/val", "1.jpg")
    folder = filled(tmp_path / "data/train", "1.jpg")
    with pytest.raises(BadFile) as refused:
        image_paths(truth("val/1.jpg"), folder, "--val-images")
    message = refused.value.command_line
    assert "1 of 1 images of gt.json are not in" in message
    assert "'val/1.jpg'" in message
    assert str(folder / "val/1.jpg") in message
    assert f"pass the right --val-images ({tmp_path / 'data'} would fit)" in message


def test_a_folder_below_that_would_fit_is_named(tmp_path: Path) -> None:
    filled(tmp_path, "images/1.jpg", "masks/1.png")
    with pytest.raises(BadFile, match=f"images \\({tmp_path}/images would fit\\)"):
        image_paths(truth("1.jpg"), tmp_path)


def test_pictures_that_are_here_without_the_folder_of_their_names_are_said(
    tmp_path: Path,
) -> None:
    """No other --images would help."""
    folder = filled(tmp_path / "data", "1.jpg", "2.jpg")
    with pytest.raises(BadFile, match=rf"last part .* such as {folder}/1\.jpg: cut"):
        image_paths(truth("images/1.jpg", "images\\2.jpg"), folder)
    with pytest.raises(BadFile, match=r"the right images$"):
        image_paths(truth("images/1.jpg", "images/3.jpg"), folder)


def test_two_names_are_never_one_file(tmp_path: Path) -> None:
    folder = filled(tmp_path, "1.jpg")
    with pytest.raises(BadFile, match=r"'/x/train/1\.jpg' and '/x/val/1\.jpg' of gt\.json"):
        image_paths(truth("/x/train/1.jpg", "/x/val/1.jpg"), folder)


def test_names_as_they_are_need_no_word_and_may_repeat(tmp_path: Path) -> None:
    folder = filled(tmp_path, "1.jpg")
    said: list[str] = []
    assert len(image_paths(truth("1.jpg", "1.jpg"), folder, say=said.append)) == 2
    assert not said


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Path] = []
    real = Path.iterdir

    def counted(self: Path):  # type: ignore[no-untyped-def]
        listed.append(self)
        return real(self)

    pictures = PictureFolder(filled(tmp_path, *(f"{i}.JPG" for i in range(9))))
    monkeypatch.setattr(Path, "iterdir", counted)
    assert all(pictures.path(f"{i}.jpg") for i in range(9))
    assert not pictures.path("9.jpg")
    assert listed == [tmp_path]


def test_a_name_that_is_the_end_of_an_address_may_be_cut(tmp_path: Path) -> None:
    """As of LVIS and Azure, which have no file_name."""
    folder = filled(tmp_path / "pictures", "a 1.jpg")
    image = {"id": 1, "file_name": "val2017/a%201.jpg"}
    address = {"coco_url": "http://host/val2017/a%201.jpg"}
    with pytest.raises(BadFile, match="1 of 1 images"):
        image_paths(Annotations(Path("gt.json"), (image,), (), (), 0), folder)
    said: list[str] = []
    found = Annotations(Path("gt.json"), (image | address,), (), (), 0)
    assert image_paths(found, folder, say=said.append) == [folder / "a 1.jpg"]
    assert "found by their ends" in said[0]


def test_the_current_folder_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(filled(tmp_path / "val", "1.jpg", "sub/2.jpg"))
    assert image_paths(truth("val/1.jpg", "val/sub/2.jpg"), ".") == [
        Path("1.jpg"),
        Path("sub/2.jpg"),
    ]
    monkeypatch.chdir("sub")
    with pytest.raises(BadFile, match=f"\\({tmp_path / 'val'} or {tmp_path} would fit"):
        image_paths(truth("val/1.jpg"), ".")


def test_what_is_missing_may_be_left_to_the_reader(tmp_path: Path) -> None:
    folder = filled(tmp_path, "1.jpg")
    assert image_paths(truth("1.jpg", "x/2.jpg"), folder, some=True)[1] == folder / "x/2.jpg"
    with pytest.raises(BadFile, match="2 of 2 images"):
        image_paths(truth("3.jpg", "2.jpg"), folder, some=True)
    said: list[str] = []
    image_paths(truth("1.jpg", "4.jpg"), filled(folder, "sub/4.jpg"), some=True, say=said.append)
    assert len(said) == 1
    assert f"1 of 2 images of gt.json are not in {folder}" in said[0]
    assert f"({folder / 'sub'} would fit)" in said[0]


_PARTS = ("a.jpg", "A.JPG", "sub", "..", ".", "", "C:", "http:", "a%20b.jpg", "secret.jpg", "~")


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> PictureFolder:
    root = filled(tmp_path_factory.mktemp("nested"), "secret.jpg", "sub/secret.jpg")
    return PictureFolder(filled(root / "data", "a.jpg", "sub/a.jpg", "sub/a b.jpg"))


@given(
    parts=st.lists(st.sampled_from(_PARTS) | st.text(max_size=3), max_size=6),
    separators=st.lists(st.sampled_from(["/", "\\", "//", "%2F", "%5c", "?d=", "#"]), max_size=6),
)
def test_no_name_leads_outside_or_ends_in_another_error(
    nested: PictureFolder, parts: list[str], separators: list[str]
) -> None:
    pairs = zip(parts, [*separators, *["/"] * len(parts)], strict=False)
    name = "".join(part + separator for part, separator in pairs)[:-1]
    try:
        found = nested.place(name)
    except BadFile:
        return
    if found is not None and found.how:
        inside = found.path.resolve().relative_to(nested.folder.resolve())
        assert inside.name.lower() in ("a.jpg", "a b.jpg")
