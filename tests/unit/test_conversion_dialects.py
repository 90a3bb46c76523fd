"""VOC, YOLO and CSV: what a picture is when several could be meant, frames, and other outlines."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs OpenCV")

from data_folders import boxes, file_names, write_picture, write_text, write_turned_picture
from voc_folder import VocFolder, xml

from ssd_small.datasets.csv_boxes import coco_from_csv
from ssd_small.datasets.voc import coco_from_voc
from ssd_small.datasets.yolo import coco_from_yolo
from ssd_small.errors import BadFile
from ssd_small.pictures.listing import image_suffixes
from ssd_small.pictures.reading import read_image
from ssd_small.pictures.sizes import shown_size

BOX = (5, 5, 10, 10)
SOUND = xml([("cat", BOX)])


@pytest.fixture
def voc(tmp_path: Path) -> VocFolder:
    return VocFolder(tmp_path / "VOC2007")


def named(file_name: str) -> str:
    return SOUND.replace("x.jpg", file_name)


# --- Pascal VOC


def test_pictures_may_lie_beside_the_folder_of_annotations(tmp_path: Path) -> None:
    write_text(tmp_path / "Annotations" / "a.xml", SOUND)
    write_picture(tmp_path / "a.jpg")
    made = coco_from_voc(tmp_path)
    assert (file_names(made), made.images) == (["a.jpg"], tmp_path)
    # or in it, which goes before
    write_picture(tmp_path / "Annotations" / "a.jpg")
    made = coco_from_voc(tmp_path)
    assert (file_names(made), made.images) == (["a.jpg"], tmp_path / "Annotations")


@pytest.mark.parametrize("name", ["b", "b.bmp", "C:\\Users\\me\\b", "/home/me/b.tiff"])
def test_a_named_picture_may_have_another_ending_now(voc: VocFolder, name: str) -> None:
    voc.add("a", named(name))
    (voc.path / "JPEGImages" / "a.jpg").rename(voc.path / "JPEGImages" / "b.jpg")
    assert file_names(coco_from_voc(voc.path)) == ["b.jpg"]
    # but not that of another annotation
    write_text(voc.path / "Annotations" / "b.xml", SOUND)
    voc.split("one", "a\n")
    with pytest.raises(BadFile, match=r"1 of 1 images are not in .* the first is a;"):
        coco_from_voc(voc.path, "one")


def test_the_picture_of_another_folders_annotation_is_not_taken(tmp_path: Path) -> None:
    for place in ("cam1", "cam2"):
        write_text(tmp_path / "Annotations" / place / "a.xml", named("a.jpg"))
    write_picture(tmp_path / "JPEGImages" / "cam2" / "a.jpg")
    write_text(tmp_path / "ImageSets" / "Main" / "one.txt", "cam1/a\n")
    for split in ("one", None):
        with pytest.raises(BadFile, match=r"images are not in .* the first is cam1/a;"):
            coco_from_voc(tmp_path, split)


def test_a_split_of_pictures_without_objects(voc: VocFolder) -> None:
    voc.add("a", SOUND)
    voc.add("b", xml([]))
    voc.split("empty", "b\n")
    made = coco_from_voc(voc.path, "empty")
    assert (file_names(made), made.labels, boxes(made)) == (["b.jpg"], ("cat",), [])
    (voc.path / "Annotations" / "a.xml").unlink()
    with pytest.raises(BadFile, match=r"no object of the labels \(none\)"):
        coco_from_voc(voc.path)


@pytest.mark.parametrize("line", ["a 1 2 3", "a  -1 1", '"a" 1'])
def test_numbers_behind_a_name(voc: VocFolder, line: str) -> None:
    """As in the lists of the pets' data set: class, species, breed."""
    voc.add("a", SOUND)
    voc.split("trainval", f"{line}\n")
    assert file_names(coco_from_voc(voc.path, "trainval")) == ["a.jpg"]
    for name in ("a 7", "a 8"):
        voc.add(name, SOUND)
    voc.split("trainval", f"{line}\na 7 1\na 8  -1\nb -1\n")
    assert file_names(coco_from_voc(voc.path, "trainval")) == ["a.jpg", "a 7.jpg"]
    voc.split("trainval", "a 37\n")
    with pytest.raises(BadFile, match=r"first is a 37 \(no a 37\.xml\)"):
        coco_from_voc(voc.path, "trainval")


@pytest.mark.parametrize(
    "polygon",
    [
        "<x1>7</x1><y1>5</y1><x2>10</x2><y2>8</y2><x3>5</x3><y3>10</y3>",
        "<pt><x>5</x><y>5</y></pt><pt><x>10.0</x><y>10</y></pt>",
    ],
)
def test_an_outline_gives_the_box_around_it(voc: VocFolder, polygon: str) -> None:
    box = SOUND[SOUND.index("<bndbox>") : SOUND.index("</object>")]
    voc.add("a", SOUND.replace(box, f"<polygon>{polygon}</polygon>"))
    made = coco_from_voc(voc.path)
    assert boxes(made) == [[4, 4, 6, 6]]
    assert made.counts == {"outlines": 1}
    # beside a box it says no more
    voc.add("a", SOUND.replace(box, f"{box}<polygon>{polygon}</polygon>"))
    assert coco_from_voc(voc.path).counts == {}
    voc.add("a", SOUND.replace(box, "<polygon><x1>5</x1></polygon>"))
    with pytest.raises(BadFile, match=r"a\.xml .*<polygon> of 1 x and 0 y"):
        coco_from_voc(voc.path)


# --- pictures that lie on their side: 80 x 60 as stored, 60 x 80 as people see them


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_boxes_in_pixels_tell_the_frame_of_a_turned_picture(tmp_path: Path, turn: int) -> None:
    """A box that ends at 75 across is of the stored one; one that fits both, of the shown one."""
    pytest.importorskip("PIL", reason="needs Pillow")
    ends = {"a": (75, 50), "b": (50, 75), "c": (50, 50)}
    sizes = [(80, 60), (60, 80), (60, 80)]
    rows = "".join(f"{name}.jpg,0,0,{x},{y},cat\n" for name, (x, y) in ends.items())
    table = write_text(tmp_path / "csv" / "boxes.csv", rows)
    folder = VocFolder(tmp_path / "voc")
    for name, (x, y) in ends.items():
        write_turned_picture(tmp_path / "csv" / f"{name}.jpg", turn=turn)
        folder.add(name, xml([("cat", (1, 1, x, y))], size=None))
        write_turned_picture(folder.path / "JPEGImages" / f"{name}.jpg", turn=turn)
    for made in (coco_from_csv(table), coco_from_voc(folder.path)):
        assert [(one["width"], one["height"]) for one in made.content["images"]] == sizes
        assert boxes(made) == [[0, 0, x, y] for x, y in ends.values()]


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_the_size_of_a_turned_picture_is_that_of_the_reader(tmp_path: Path, ending: str) -> None:
    """Which does not turn every format."""
    features = pytest.importorskip("PIL.features", reason="needs Pillow")
    if ending not in image_suffixes() or (ending == ".avif" and not features.check("avif")):
        pytest.skip(f"Pillow or OpenCV was built without {ending}")
    path = tmp_path / f"a{ending}"
    write_turned_picture(path)
    assert shown_size(path) == read_image(path).shape[:2]


# --- YOLO


def test_key_points_that_nothing_announces_are_no_outline(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.jpg")
    write_text(tmp_path / "labels" / "a.txt", "0 .5 .5 .25 .5  .1 .1 2  .9 .9 2\n")
    write_text(tmp_path / "data.yaml", "names: [cat]\n")
    with pytest.raises(BadFile, match=r"a\.txt, line 1: 2 is no fraction .*say kpt_shape"):
        coco_from_yolo(tmp_path)
    write_text(tmp_path / "data.yaml", "names: [cat]\nkpt_shape: [2, 3]\n")
    made = coco_from_yolo(tmp_path)
    assert (boxes(made), made.counts) == ([[30, 15, 20, 30]], {"keypoints": 1})


# --- CSV


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nimage;x1;y1;x2;y2;label\na.jpg;10,5;20,0;30;50,5;cat\n",
        "image;x1;y1;x2;y2;label\na.jpg;10,5;20,0;30;50,5;cat\n",
        "sep=,\nimage,x1,y1,x2,y2,label\na.jpg,10.5,20,30,50.5,cat\n",
        "cat,10.5,20,19.5,30.5,a.jpg,80,60\n",
    ],
)
def test_tables_of_spreadsheets_and_makesense(tmp_path: Path, text: str) -> None:
    write_picture(tmp_path / "a.jpg")
    made = coco_from_csv(write_text(tmp_path / "boxes.csv", text))
    assert (file_names(made), boxes(made)) == (["a.jpg"], [[10.5, 20, 19.5, 30.5]])
