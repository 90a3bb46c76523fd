"""Data sets in COCO format: what is learned from, what is left out, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.training.dataset import DetectionDataset  # noqa: E402
from ssd_small.training.sampling import repeat_factors  # noqa: E402

CATEGORIES = [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}]


def picture(seed: int = 0, width: int = 80, height: int = 60) -> np.ndarray:
    """BGR, smooth enough to survive JPEG."""
    small = np.random.default_rng(seed).integers(0, 255, (3, 4, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


class Folder:
    """A data set of 80 x 60 pictures being made."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self.path = path
        self.content: dict[str, Any] = {
            "images": [
                {"id": 10 + i, "file_name": name, "width": 80, "height": 60}
                for i, name in enumerate(names)
            ],
            "categories": CATEGORIES,
            "annotations": [],
        }
        for i, name in enumerate(names):
            assert cv2.imwrite(str(path / name), picture(i))

    def add(self, image: int, category: int, *bbox: float, **more: object) -> None:
        boxes = self.content["annotations"]
        boxes.append(
            {"id": len(boxes), "image_id": image, "category_id": category, "bbox": list(bbox)}
            | more
        )

    def open(self, **options: Any) -> DetectionDataset:
        file = self.path / "gt.json"
        file.write_text(json.dumps(self.content))
        return DetectionDataset.from_coco(file, self.path, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, ("a.png", "b.png", "c.png"))


def test_samples_by_hand(folder: Folder) -> None:
    folder.add(12, 4, 5, 6, 10, 20)
    folder.add(10, 9, 1, 2, 3, 4)
    folder.add(12, 9, 0, 0, 80, 60)
    data = folder.open()
    assert (data.labels, data.category_ids, data.num_classes) == (("cat", "dog"), (4, 9), 3)
    assert len(data) == 3
    first, second, third = (data[i] for i in range(3))
    assert first.boxes_xyxy.tolist() == [[1, 2, 4, 6]]
    assert first.labels.tolist() == [2]
    assert second.boxes_xyxy.shape == (0, 4)
    assert second.labels.shape == (0,)
    assert third.boxes_xyxy.tolist() == [[5, 6, 15, 26], [0, 0, 80, 60]]
    assert third.labels.tolist() == [1, 2] == data.labels_of(2).tolist()
    assert (first.boxes_xyxy.dtype, first.labels.dtype) == (np.float32, np.int64)
    assert (first.image == picture(0)[:, :, ::-1]).all()
    assert (data[-1].image == third.image).all()
    with pytest.raises(IndexError):
        data[3]
    report = data.report
    assert (report.images, report.boxes, report.images_without_objects) == (3, 3, 1)
    assert report.notes() == ["1 of 3 images have no objects"]


def test_every_box_is_learned_clipped_or_counted_as_left_out(folder: Folder) -> None:
    folder.add(10, 4, 10, 10, 20, 20)  # plain
    folder.add(10, 4, -5, 50, 20, 20)  # clipped to 0, 50, 15, 60
    folder.add(10, 4, 70.002, 10, 10, 10)  # over by rounding only
    folder.add(10, 4, 10, 10, 0, 20)  # no area
    folder.add(10, 4, 10, 10, 5, 0.001)  # as good as none
    folder.add(10, 4, 80, 10, 20, 20)  # begins where the picture ends
    folder.add(10, 4, -30, 10, 20, 20)  # left of it
    folder.add(10, 4, 10, 10, 40, 40, iscrowd=1)
    data = folder.open()
    report = data.report
    assert (report.boxes, report.clipped) == (3, 1)
    assert (report.without_area, report.outside, report.crowd) == (2, 2, 1)
    left_out = report.without_area + report.outside + report.crowd + report.other_category
    assert report.boxes + left_out == len(folder.content["annotations"])
    boxes = data[0].boxes_xyxy
    assert boxes[1].tolist() == [0, 50, 15, 60]
    assert boxes[2, 2] == 80
    notes = " / ".join(report.notes())
    for words in ("1 boxes reached", "2 boxes without area", "2 boxes outside", "1 boxes marked"):
        assert words in notes
    assert "class dog" in notes
    assert report.labels_without_objects == ("dog",)
    assert json.loads(json.dumps(report.to_dict()))["clipped"] == 1


def test_the_median_side_of_the_objects_by_hand(folder: Folder) -> None:
    """Pictures are 80 x 60, the second one is annotated at twice that."""
    folder.content["images"][1] |= {"width": 160, "height": 120}
    folder.add(10, 4, 0, 0, 8, 6)  # 30 x 30 of 300 x 300
    folder.add(11, 4, 0, 0, 16, 12)  # the same
    folder.add(11, 9, 0, 0, 160, 120)  # all of it
    folder.add(12, 9, 5, 5, 2, 6)  # 7.5 x 30: a side of 15
    folder.add(12, 9, 70, 0, 20, 60)  # clipped to 10 x 60: 37.5 x 300
    assert folder.open().object_size(300, 300).network == pytest.approx(30)
    del folder.content["annotations"][:2]
    # the median of 15, 106.07 and 300; twice as large in pictures of twice the size
    assert folder.open().object_size(300, 300).network == pytest.approx((37.5 * 300) ** 0.5)
    assert folder.open().object_size(600, 600).network == pytest.approx(2 * (37.5 * 300) ** 0.5)
    # in the pictures as they are annotated: 160 x 120, 2 x 6 and 10 x 60
    assert folder.open().object_size(300, 300).picture == pytest.approx(600**0.5)


def test_labels_choose_and_order_the_classes(folder: Folder) -> None:
    folder.add(10, 4, 1, 1, 9, 9)
    folder.add(11, 9, 1, 1, 9, 9)
    data = folder.open(labels=["dog", "cat"])
    assert (data.labels, data.category_ids) == (("dog", "cat"), (9, 4))
    assert [data[i].labels.tolist() for i in range(2)] == [[2], [1]]
    data = folder.open(labels=["dog"])
    assert (data.num_classes, data.report.other_category) == (2, 1)
    assert [data[i].labels.tolist() for i in range(2)] == [[], [1]]


@pytest.mark.parametrize("labels", [["dog", "bird"], ["dog", "dog"], []])
def test_labels_that_do_not_fit_are_refused(folder: Folder, labels: list[str]) -> None:
    folder.add(10, 4, 1, 1, 9, 9)
    with pytest.raises(BadFile, match="expected names among cat, dog"):
        folder.open(labels=labels)


def test_categories_of_one_name_are_refused(folder: Folder) -> None:
    folder.content["categories"] = [{"id": 4, "name": "cat"}, {"id": 9, "name": "cat"}]
    with pytest.raises(BadFile, match="'cat' occurs twice"):
        folder.open()


@pytest.mark.parametrize("box", [None, (10, 4, 1, 1, 0, 5), (10, 4, 90, 1, 5, 5)])
def test_nothing_to_learn_from_is_refused(folder: Folder, box: tuple | None) -> None:
    if box:
        folder.add(*box)
    with pytest.raises(BadFile, match="no object to learn from"):
        folder.open()


@pytest.mark.slow
def test_a_missing_image_among_thousands_is_named(folder: Folder) -> None:
    entry = folder.content["images"][0]
    many = [entry | {"id": 100 + i, "file_name": f"many{i}.png"} for i in range(3000)]
    for other in many:
        (folder.path / other["file_name"]).touch()
    folder.content["images"] += many
    folder.add(10, 4, 1, 1, 9, 9)
    (folder.path / "many1234.png").unlink()
    with pytest.raises(BadFile, match=r"1 of 3003 images .*many1234\.png"):
        folder.open()


def test_a_damaged_image_is_named_when_it_is_read(folder: Folder) -> None:
    folder.add(10, 4, 1, 1, 9, 9)
    (folder.path / "b.png").write_bytes(b"no picture")
    data = folder.open()
    data[0]
    with pytest.raises(BadFile, match=r"b\.png"):
        data[1]


def test_a_picture_of_another_scale_scales_its_boxes(folder: Folder) -> None:
    folder.add(10, 4, 8, 6, 16, 12)
    assert cv2.imwrite(str(folder.path / "a.png"), picture(0, 40, 30))
    assert folder.open()[0].boxes_xyxy.tolist() == [[4, 3, 12, 9]]


def test_a_picture_of_another_shape_is_refused(folder: Folder) -> None:
    folder.add(10, 4, 8, 6, 16, 12)
    assert cv2.imwrite(str(folder.path / "a.png"), picture(0, 60, 80))
    data = folder.open()
    with pytest.raises(BadFile, match=r"a\.png is 60x80 but annotated as 80x60"):
        data[0]


@pytest.mark.parametrize("annotated", ["as stored", "as shown"])
def test_the_orientation_that_was_annotated_is_the_one_that_is_read(
    folder: Folder, annotated: str
) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="writes EXIF")
    stored = image_module.fromarray(picture(5)[:, :, ::-1].copy())
    exif = stored.getexif()
    exif[0x0112] = 6  # shown after a quarter turn
    stored.save(folder.path / "a.jpg", exif=exif, quality=95)
    sizes = {"as stored": (80, 60), "as shown": (60, 80)}
    width, height = sizes[annotated]
    folder.content["images"][0] |= {"file_name": "a.jpg", "width": width, "height": height}
    folder.add(10, 4, 8, 6, 16, 12)
    assert folder.open()[0].image.shape == (height, width, 3)


def test_pictures_are_kept_only_where_all_of_them_fit(folder: Folder) -> None:
    folder.add(10, 4, 8, 6, 16, 12)
    size = 3 * 80 * 60 * 3
    kept = folder.open(cache_bytes=size)
    assert kept[0].image is kept[0].image
    forgotten = folder.open(cache_bytes=size - 1)
    assert forgotten[0].image is not forgotten[0].image
    # a worker that does not inherit memory is not sent the pictures
    assert len(pickle.dumps(kept)) < 10_000
    assert (pickle.loads(pickle.dumps(kept))[0].image == kept[0].image).all()


@pytest.mark.slow
def test_real_data_is_read_whole(shared_data: Path) -> None:
    folder = shared_data / "bccd-mosaic"
    data = DetectionDataset.from_coco(folder / "train.json", folder / "images")
    assert (len(data), data.report.boxes) == (153, 8369)
    assert data.labels == ("Platelets", "RBC", "WBC")
    assert data.report.notes() == []
    assert sum(len(data.labels_of(i)) for i in range(len(data))) == 8369


@pytest.mark.parametrize("ids", [(0, 0, 0), (5, 6, 5)])
def test_ids_of_annotations_do_not_change_what_is_learned(
    folder: Folder, ids: tuple[int, ...]
) -> None:
    folder.add(10, 4, 1, 1, 9, 9)
    folder.add(10, 9, 2, 2, 9, 9)
    folder.add(11, 9, 3, 3, 9, 9)
    before = folder.open()
    for box, number in zip(folder.content["annotations"], ids, strict=True):
        box["id"] = number
    after = folder.open()
    assert after.report == before.report
    for one, other in zip((before[i] for i in range(3)), (after[i] for i in range(3)), strict=True):
        assert one.boxes_xyxy.tolist() == other.boxes_xyxy.tolist()
        assert one.labels.tolist() == other.labels.tolist()


def test_a_category_that_only_heads_others_is_not_learned(folder: Folder) -> None:
    """As Roboflow writes it; asked for by name, it is a class without objects."""
    folder.content["categories"] = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        *({**one, "supercategory": "pets"} for one in CATEGORIES),
    ]
    folder.add(10, 4, 1, 1, 9, 9)
    assert folder.open().labels == ("cat", "dog")
    data = folder.open(labels=["pets", "cat"])
    assert data.report.labels_without_objects == ("pets",)
    folder.add(10, 0, 1, 1, 9, 9)
    assert folder.open().labels == ("pets", "cat", "dog")


def test_a_test_set_holds_nothing_to_learn(folder: Folder) -> None:
    del folder.content["annotations"]
    with pytest.raises(BadFile, match="no list annotations"):
        folder.open()


def test_repeat_factors_come_from_the_annotations_of_lvis(folder: Folder) -> None:
    """No field of its own is needed: sqrt(threshold / frequency) of the rarest class, at least 1.

    dog is in one of three pictures, cat in all: sqrt(0.75 / (1 / 3)) = 1.5 where dog is.
    """
    for image in folder.content["images"]:
        image |= {"neg_category_ids": [9], "not_exhaustive_category_ids": [4], "license": 1}
        image["coco_url"] = f"http://host/train2017/{image.pop('file_name')}"
    folder.content["categories"] = [
        {**one, "frequency": "f", "synset": f"{one['name']}.n.01", "synonyms": [one["name"]]}
        for one in folder.content["categories"]
    ]
    for image, category in ((10, 4), (10, 9), (11, 4), (12, 4)):
        folder.add(image, category, 5, 5, 20, 20, area=400, segmentation=[[5, 5, 25, 5, 25, 25]])
    data = folder.open()
    factors = repeat_factors((data.labels_of(i) for i in range(3)), 0.75)
    assert data.labels == ("cat", "dog")
    np.testing.assert_allclose(factors, [1.5, 1, 1])


def test_boxes_that_are_fractions_are_not_learned(folder: Folder) -> None:
    folder.add(10, 4, 0.1, 0.1, 0.2, 0.3)
    with pytest.raises(BadFile, match="no box reaches a pixel"):
        folder.open()


def test_a_label_that_is_nearly_a_category_is_refused_with_it(folder: Folder) -> None:
    folder.add(10, 4, 1, 1, 9, 9)
    with pytest.raises(BadFile, match=r"label 'Cat' is not a category \(did you mean 'cat'\?\)"):
        folder.open(labels=["Cat", "dog"])
