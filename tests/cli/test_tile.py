"""``ssd-small tile``: what is written, what becomes of objects at edges, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

#: tiles of 40 x 40 with a step of 32 of pictures of 90 x 60: starts 0, 32, 50 by 0, 20
WIDTH, HEIGHT = 90, 60
TILES = ("--tiles", "40x40", "--overlap", "0.2")
XS, YS = (0, 32, 50), (0, 20)


def box(key: int, image: int, *bbox: float, **more: object) -> dict[str, object]:
    area = bbox[2] * bbox[3]
    own = {"id": key, "image_id": image, "category_id": 7, "bbox": list(bbox), "area": area}
    return own | {"iscrowd": 0} | more


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A data set of three pictures, two of one name in different folders."""
    folder = tmp_path / "large"
    content = {
        "images": [],
        "categories": [
            {"id": 7, "name": "cell", "supercategory": "body"},
            {"id": 9, "name": "dot"},
        ],
        "annotations": [
            box(1, 1, 2, 2, 8, 8),  # in the first tile alone
            box(2, 1, 30, 5, 12, 10),  # 10 of 12 columns in tile 0, all from x = 32 but 2
            box(3, 1, 0, 0, 90, 60, iscrowd=1),
            box(4, 2, 60, 30, 10, 20, area=150.0, difficult=1),
        ],
    }
    for number, name in enumerate(("a/p q.png", "b/p q.png", "empty.png"), 1):
        picture = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        file = folder / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), picture)
        size = {"width": WIDTH, "height": HEIGHT}
        content["images"].append({"id": number, "file_name": name, **size})
    (folder / "gt.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def tile(call, large, tmp_path):
    def run(*arguments, out=tmp_path / "out", size=TILES):
        where = ("--images", large / "images", "-o", out)
        return call("tile", large / "gt.json", *where, *size, *arguments)

    return run


def read(out: Path) -> dict:
    return json.loads((out / "annotations.json").read_text())


def test_tiles_are_parts_of_their_pictures_and_say_which(tile, large, tmp_path):
    tile("--empty", 100).fits()
    content = read(tmp_path / "out")
    # every tile of every picture
    assert len(content["images"]) == 3 * len(XS) * len(YS)
    places = set()
    for image in content["images"]:
        source = image["source"]
        picture = cv2.imread(str(large / "images" / source["file_name"]))
        x, y = source["x"], source["y"]
        written = cv2.imread(str(tmp_path / "out" / "images" / image["file_name"]))
        assert np.array_equal(written, picture[y : y + 40, x : x + 40])
        assert (image["width"], image["height"]) == (40, 40)
        assert image["file_name"].endswith(f"_x{x}_y{y}.png")
        places.add((source["file_name"], x, y))
    assert len(places) == len(content["images"])
    assert {(x, y) for _, x, y in places} == {(x, y) for x in XS for y in YS}
    files = {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert files == {image["file_name"] for image in content["images"]}
    assert content["categories"] == json.loads((large / "gt.json").read_text())["categories"]


def test_objects_go_by_their_visible_share(tile, tmp_path):
    report = tile("--empty", 0, "--json").fits().json
    content = read(tmp_path / "out")
    by_place = {
        (one["source"]["file_name"], one["source"]["x"], one["source"]["y"]): one["id"]
        for one in content["images"]
    }
    found = {}
    for one in content["annotations"]:
        found.setdefault(one["image_id"], []).append((one["bbox"], one["area"], one["iscrowd"]))
    crowd = ([0, 0, 40, 40], 1600.0, 1)
    first = found[by_place["a/p q.png", 0, 0]]
    assert first == [([2, 2, 8, 8], 64.0, 0), ([30, 5, 10, 10], 100.0, 0), crowd]
    assert found[by_place["a/p q.png", 32, 0]] == [([0, 5, 10, 10], 100.0, 0), crowd]
    # an area that is none of the box is cut in proportion
    assert found[by_place["b/p q.png", 50, 20]] == [([10, 10, 10, 20], 150.0, 0)]
    # in the upper row, half of it: a rest, and no tile is kept for it
    assert by_place.keys() == {
        *(("a/p q.png", x, 0) for x in (0, 32)),
        *(("b/p q.png", x, 20) for x in (32, 50)),
    }
    assert found[by_place["b/p q.png", 32, 20]] == [([28, 10, 10, 20], 150.0, 0)]
    counts = ("pictures", "objects", "tiles", "with_objects", "empty_left_out", "kept", "cut")
    assert [report[name] for name in counts] == [3, 3, 4, 4, 14, 5, 2]
    assert (report["passed_over"], report["nowhere"]) == (2, 0)
    assert report["rules"]["tiling"]["width"] == 40
    assert Path(report["annotations"]) == tmp_path / "out" / "annotations.json"


def test_what_no_tile_has_enough_of_is_counted(tile, tmp_path):
    outcome = tile("--min-visible", 1, "--empty", 0, "--tiles", "11x11", size=("--overlap", 0))
    outcome.fits()
    assert "of 3 objects are in no tile to 1 of their area" in outcome.err
    assert {one["iscrowd"] for one in read(tmp_path / "out")["annotations"]} == {0, 1}


def test_tiles_without_objects_are_drawn_by_a_seed(tile, tmp_path):
    drawn = {}
    for name, seed in (("one", 0), ("again", 0), ("other", 5)):
        tile("--empty", 1, "--seed", seed, out=tmp_path / name).fits()
        drawn[name] = [one["file_name"] for one in read(tmp_path / name)["images"]]
        assert len(drawn[name]) == 8
    assert drawn["one"] == drawn["again"] != drawn["other"]


def test_a_picture_that_was_scaled_is_cut_at_the_same_places(tile, large, tmp_path):
    file = large / "images" / "a" / "p q.png"
    small = cv2.imread(str(file))
    assert cv2.imwrite(str(file), cv2.resize(small, (2 * WIDTH, 2 * HEIGHT)))
    assert "1 pictures are of another size" in tile("--empty", 0).fits().err
    content = read(tmp_path / "out")
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (80, 80)
    assert content["annotations"][0]["bbox"] == [4, 4, 16, 16]
    assert content["annotations"][0]["area"] == 256


def test_other_commands_take_it(tile, call, tmp_path):
    tile("--jpeg", 95).fits()
    out = tmp_path / "out"
    assert {path.suffix for path in (out / "images").iterdir()} == {".jpg"}
    where = ("--images", out / "images")
    call("check-data", out / "annotations.json", *where).fits()
    pytest.importorskip("torch")
    from ssd_small.training.dataset import DetectionDataset

    data = DetectionDataset.from_coco(out / "annotations.json", out / "images")
    assert data.report.boxes == 5
    assert data.report.crowd == 2


def test_the_folder_is_whole_or_not_there(tile, large, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    (large / "images" / "empty.png").write_bytes(b"no picture")
    tile("--empty", 100).fails(4, "empty.png", "not an image")
    (large / "images" / "empty.png").unlink()
    tile().fails(4, "1 of 3 images", "empty.png")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_what_is_there_is_not_added_to(tile, large, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    tile().fits()  # an empty folder is fine
    tile().fails(2, "is not empty")
    tile(out=large / "images").fails(2, "is not empty")
    tile(out=large / "gt.json").fails(4, "it is a file")
    assert json.loads((large / "gt.json").read_text())["images"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tiles", "40"), "such as 1920x1080"),
        (("--tiles", "0x40"), "such as 1920x1080"),
        (("--tiles", "2x2", "--overlap", "0.9"), "leaves no step"),
        ((*TILES, "--overlap", "1"), "--overlap"),
        ((*TILES, "--min-visible", "0"), "--min-visible"),
        ((*TILES, "--empty", "-1"), "--empty"),
        ((*TILES, "--jpeg", "0"), "--jpeg"),
        ((), "--tiles"),
    ],
)
def test_options_that_cannot_be_are_refused(tile, arguments, said, tmp_path):
    tile(size=arguments).fails(2, said)
    assert not (tmp_path / "out").exists()


def test_a_set_without_objects_or_annotations_is_refused(tile, large, tmp_path):
    content = json.loads((large / "gt.json").read_text())
    content["annotations"] = []
    (large / "gt.json").write_text(json.dumps(content))
    tile().fails(4, "no tile has an object")
    del content["annotations"]
    (large / "gt.json").write_text(json.dumps(content))
    tile().fails(4, "a test set")
    assert not (tmp_path / "out").exists()


def test_images_or_sets_are_needed(call, large, tmp_path):
    call("tile", large / "gt.json", "-o", tmp_path / "out", *TILES).fails(2, "--images DIR")
