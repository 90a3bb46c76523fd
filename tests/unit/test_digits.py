"""The digits data set: the same bytes each time, honest splits, boxes that fit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ssd_small.datasets import digits
from ssd_small.datasets.digits import DigitsDataset, coco_from_scenes, make_digits
from ssd_small.datasets.digits_scenes import (
    DRAWN,
    PHOTOS,
    PICTURE_SIZES,
    Material,
    Scene,
    _stretch,
    draw_scene,
    load_material,
)
from ssd_small.errors import OutputError, UsageError

pytest.importorskip("sklearn", reason="needs scikit-learn")
pytest.importorskip("skimage", reason="needs scikit-image")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DigitsDataset:
    return make_digits(tmp_path_factory.mktemp("digits") / "set", train_images=24, val_images=16)


@pytest.fixture(scope="module")
def train_material() -> Material:
    return load_material("train")


@pytest.fixture(scope="module")
def flat_scenes(train_material: Material) -> list[Scene]:
    """Scenes on a photograph of one grey, so that whatever differs from it is ink."""
    grey = np.full((400, 400, 3), 128, np.uint8)
    flat = Material(train_material.glyphs, train_material.names, train_material.samples, (grey,))
    return [draw_scene(flat, np.random.default_rng(i)) for i in range(12)]


def _content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_digits(tmp_path / name, train_images=4, val_images=3, seed=5)
    first = _content(tmp_path / "one")
    assert len(first) == 4 + 3 + 2
    assert first == _content(tmp_path / "two")


def test_a_larger_set_begins_with_the_smaller(tmp_path: Path, dataset: DigitsDataset) -> None:
    small = make_digits(tmp_path / "small", train_images=2, val_images=0)
    assert (small.train_images / "000002.png").read_bytes() == (
        dataset.train_images / "000002.png"
    ).read_bytes()


def test_another_seed_gives_other_pictures(tmp_path: Path, dataset: DigitsDataset) -> None:
    other = make_digits(tmp_path / "other", train_images=1, val_images=1, seed=1)
    assert (other.val_images / "000001.png").read_bytes() != (
        dataset.val_images / "000001.png"
    ).read_bytes()


def test_train_and_val_share_no_digit_and_no_photograph(dataset: DigitsDataset) -> None:
    used = [
        {annotation["sample"] for annotation in json.loads(path.read_text())["annotations"]}
        for path in (dataset.train_annotations, dataset.val_annotations)
    ]
    assert len(used[0]) > 100
    assert len(used[1]) > 100
    assert not used[0] & used[1]
    assert not set(PHOTOS["train"]) & set(PHOTOS["val"])
    materials = [load_material(split) for split in ("train", "val")]
    assert not set(materials[0].samples) & set(materials[1].samples)
    assert sum(len(material.samples) for material in materials) == 1797


def test_annotations_are_those_of_scikit_learn(dataset: DigitsDataset) -> None:
    from sklearn.datasets import load_digits

    target = load_digits().target
    for path in (dataset.train_annotations, dataset.val_annotations):
        for annotation in json.loads(path.read_text())["annotations"]:
            assert annotation["category_id"] == target[annotation["sample"]] + 1


def test_pycocotools_reads_it_and_every_picture_is_there(dataset: DigitsDataset) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    coco = coco_module.COCO(str(dataset.val_annotations))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list("0123456789")
    assert coco.getCatIds() == list(range(1, 11))
    for image in coco.loadImgs(coco.getImgIds()):
        pixels = cv2.imread(str(dataset.val_images / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
        assert (image["width"], image["height"]) in PICTURE_SIZES


def test_all_sizes_and_all_digits_occur_and_most_are_small(dataset: DigitsDataset) -> None:
    sizes: Counter[str] = Counter()
    names: Counter[int] = Counter()
    for path in (dataset.train_annotations, dataset.val_annotations):
        for annotation in json.loads(path.read_text())["annotations"]:
            side = annotation["area"] ** 0.5
            sizes["small" if side < 32 else "medium" if side < 96 else "large"] += 1
            names[annotation["category_id"]] += 1
    assert sizes["small"] > sum(sizes.values()) / 2
    assert sizes["medium"] >= 40
    assert sizes["large"] >= 8
    assert set(names) == set(range(1, 11))


def test_boxes_lie_inside_and_do_not_overlap(dataset: DigitsDataset) -> None:
    content = json.loads(dataset.train_annotations.read_text())
    size_of = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    taken = {i: np.zeros(size[::-1], bool) for i, size in size_of.items()}
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        width, height = size_of[annotation["image_id"]]
        assert w > 0
        assert h >= 6
        assert annotation["area"] == w * h
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        place = taken[annotation["image_id"]][y : y + h, x : x + w]
        assert not place.any()
        place[:] = True


def test_boxes_are_tight_round_the_ink(flat_scenes: list[Scene]) -> None:
    for scene in flat_scenes:
        difference = np.abs(scene.image.astype(float) - _ground(scene)).sum(axis=2)
        for x1, y1, x2, y2 in scene.boxes_xyxy:
            ink = difference[y1:y2, x1:x2]
            # soft edges: a pixel counts as ink from DRAWN on, and rounding moves it by less
            # than a tenth; strokes of a pixel or less do not reach the full colour
            least = 0.75 * DRAWN * ink.max()
            for border in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
                assert border.max() > least
            around = difference[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1].copy()
            around[min(y1, 1) : min(y1, 1) + y2 - y1, min(x1, 1) : min(x1, 1) + x2 - x1] = 0
            assert around.max() <= 1.25 * DRAWN * ink.max()


def test_the_tight_box_of_a_glyph_touches_ink_on_all_sides(train_material: Material) -> None:
    for index in range(0, len(train_material.glyphs), 40):
        for height in (8.0, 20.0, 120.0):
            rng = np.random.default_rng(index)
            ink, (x1, y1, x2, y2) = _stretch(train_material.glyphs[index], rng, height)
            assert ink.min() >= 0
            assert ink.max() <= 1
            inside = np.zeros(ink.shape, bool)
            inside[y1:y2, x1:x2] = True
            assert (ink[~inside] <= DRAWN).all()
            part = ink[y1:y2, x1:x2] > DRAWN
            assert all(e.any() for e in (part[0], part[-1], part[:, 0], part[:, -1]))
            assert 0.6 * height <= y2 - y1 <= 1.4 * height + 2


def test_ink_stands_out_from_the_ground(flat_scenes: list[Scene]) -> None:
    luminance = np.array([0.114, 0.587, 0.299])
    for scene in flat_scenes:
        contrast = np.abs((scene.image - _ground(scene)) @ luminance)
        for x1, y1, x2, y2 in scene.boxes_xyxy:
            # at least 60 by construction, printed with an opacity of 0.88 or more; the
            # smallest digits have thin strokes that reach two thirds of that
            assert contrast[y1:y2, x1:x2].max() > 60 * 0.88 * 0.66


def _ground(scene: Scene) -> np.ndarray:
    """The one colour of a flat picture: that of most pixels."""
    return np.median(scene.image.reshape(-1, 3), axis=0)


def test_the_same_arguments_find_what_was_written(dataset: DigitsDataset) -> None:
    directory = dataset.train_annotations.parent
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    assert make_digits(directory, train_images=24, val_images=16) == dataset
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


def test_nothing_foreign_is_overwritten(dataset: DigitsDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        make_digits(dataset.train_annotations.parent, train_images=25, val_images=16)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        make_digits(tmp_path, train_images=1, val_images=1)
    with pytest.raises(OutputError, match="is a file"):
        make_digits(tmp_path / "mine.txt", train_images=1, val_images=1)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert make_digits(tmp_path / "set", train_images=0, val_images=1).val_annotations.exists()


def test_arguments_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train_images -1"):
        make_digits(tmp_path / "set", train_images=-1)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        make_digits(tmp_path / "file" / "set", train_images=1, val_images=1)


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def interrupted(material: Material, rng: np.random.Generator) -> Scene:
        nonlocal drawn
        drawn += 1
        if drawn == 3:
            raise KeyboardInterrupt
        return draw_scene(material, rng)

    monkeypatch.setattr(digits, "draw_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_digits(tmp_path / "set", train_images=4, val_images=1)
    assert drawn == 3
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        make_digits(tmp_path / "set", train_images=1, val_images=1)
    assert not list(tmp_path.iterdir())


def test_coco_of_a_hand_made_scene() -> None:
    scene = Scene(
        np.zeros((50, 60, 3), np.uint8),
        np.array([[1, 2, 11, 22]]),
        np.array([7]),
        np.array([1500]),
    )
    coco = coco_from_scenes([("a.png", scene)], "one")
    assert coco["images"] == [{"id": 1, "file_name": "a.png", "width": 60, "height": 50}]
    (annotation,) = coco["annotations"]
    assert annotation["bbox"] == [1, 2, 10, 20]
    assert annotation["area"] == 200
    assert annotation["category_id"] == 8
