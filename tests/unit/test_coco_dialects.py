"""COCO annotations as tools write them: each dialect gives what its author meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_as_written import Write, box, picture, read, writer

from ssd_small.datasets.coco import coco_from_annotations, read_annotations
from ssd_small.errors import BadFile


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path / "gt.json")


def test_the_plain_file_has_nothing_to_find(write: Write) -> None:
    path = write()
    truth = read(path)
    assert (truth.findings.problems, truth.findings.notes) == ([], [])
    assert coco_from_annotations(truth) == json.loads(path.read_text())


def test_via_2_repeats_categories_and_has_ids_as_text(write: Write) -> None:
    cat, dog = {"id": 3, "name": "cat"}, {"id": 4, "name": "dog", "supercategory": "type"}
    path = write(
        info={"year": 2024, "url": ""},
        annotations=[box("1", "1", 3), box("2", "2", 4)],
        categories=[cat, dog, cat, {**cat, "supercategory": "type"}],
        licenses=[{"id": 1, "name": "Unknown License", "url": ""}],
    )
    truth = read(path, repeated_category=2, id_as_text=4)
    assert truth.findings.problems[0]["examples"][0].startswith("categories[2] (id 3): ")
    assert truth.results_as_in_file([{"image_id": 2, "category_id": 3}])[0]["image_id"] == 2
    assert (truth.image_id("2"), truth.image_id(2.0), truth.image_id(7)) == (2, 2, None)


def test_cvat_has_zeros_and_empty_texts_for_what_nobody_knows(write: Write) -> None:
    more = {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
    path = write(
        licenses=[{"name": "", "id": 0, "url": ""}],
        info={"contributor": "", "date_created": "", "version": "", "year": ""},
        images=[picture(1, **more), picture(2, **more)],
        annotations=[
            box(1, 1, 3, segmentation=[], attributes={"occluded": False, "rotation": 0.0}),
            box(2, 2, 4, segmentation=[], attributes={"occluded": True}),
        ],
    )
    truth = read(path)
    fixed = coco_from_annotations(truth)
    assert fixed["annotations"][0]["attributes"] == {"occluded": False, "rotation": 0.0}
    assert fixed["licenses"][0]["id"] == fixed["images"][0]["license"] == 0


def test_label_studio_counts_from_zero_and_keeps_its_backslashes(write: Write) -> None:
    names = [f"images\\{i}.jpg" for i in range(2)]
    path = write(
        images=[{"width": 64, "height": 48, "id": i, "file_name": names[i]} for i in range(2)],
        categories=[{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        annotations=[box(i, i, i, segmentation=[], ignore=0) for i in range(2)],
        info={"year": 2024, "version": "1.0", "contributor": "Label Studio"},
    )
    truth = read_annotations(path)
    assert [image["file_name"] for image in truth.images] == names
    assert [b["id"] for b in truth.boxes] == [1, 2]  # pycocotools takes 0 for "not matched"
    assert truth.findings.problems == []
    assert truth.findings.counts("note") == {"annotation_id_zero": 1}


def test_roboflow_has_a_root_category_that_no_box_is_of(write: Write) -> None:
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 3, "name": "cat", "supercategory": "animals"},
        {"id": 4, "name": "dog", "supercategory": "animals"},
    ]
    truth = read_annotations(write(categories=categories))
    assert [category["name"] for category in truth.categories] == ["animals", "cat", "dog"]
    assert truth.findings.problems == []
    assert truth.findings.counts("note") == {"root_category": 1}
    assert truth.root_categories == {0}


def test_a_supercategory_with_boxes_is_a_class_like_any_other(write: Write) -> None:
    categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog", "supercategory": "cat"}]
    truth = read(write(categories=categories))
    assert truth.root_categories == set()


def test_lvis_has_addresses_for_file_names_and_no_iscrowd(write: Write) -> None:
    host = "http://images.cocodataset.org"
    images = [
        {"id": i, "width": 64, "height": 48, "coco_url": f"{host}/{folder}/{i:012d}.jpg"}
        | {"neg_category_ids": [3], "not_exhaustive_category_ids": []}
        for i, folder in ((1, "train2017"), (2, "val2017"))
    ]
    annotations = [box(1, 1, 3), box(2, 2, 4)]
    for one in annotations:
        del one["iscrowd"]
    truth = read_annotations(write(images=images, annotations=annotations))
    names = [image["file_name"] for image in truth.images]
    assert names == ["train2017/000000000001.jpg", "val2017/000000000002.jpg"]
    assert [b["iscrowd"] for b in truth.boxes] == [0, 0]
    assert truth.findings.problems == []
    assert truth.findings.counts("note") == {"file_name_from_url": 2}
    assert truth.images[0]["neg_category_ids"] == [3]


def test_azure_has_sizes_as_floats_and_may_lack_the_file_name(write: Write) -> None:
    images = [
        {"id": 1, "width": 64.0, "height": 48.0, "file_name": "1.jpg"},
        {"id": 2, "width": 64.0, "height": 48.0, "file_name": "2.jpg"},
    ]
    truth = read(write(images=images))
    assert [(type(i["width"]), i["width"]) for i in truth.images] == [(int, 64)] * 2
    images[0] |= {"file_name": "", "coco_url": "AmlDatastore://image_data/a.jpg"}
    images[1] |= {"file_name": None, "absolute_url": "https://x.blob.net/c/d/b.jpg?sv=1"}
    names = [image["file_name"] for image in read_annotations(write(images=images)).images]
    assert names == ["image_data/a.jpg", "d/b.jpg"]
    images[0]["coco_url"] = "AmlDatastore://a.jpg"
    assert read_annotations(write(images=images)).images[0]["file_name"] == "a.jpg"
    images[0]["coco_url"] = "https://example.com"
    with pytest.raises(BadFile, match="file_name is ''; expected text"):
        read_annotations(write(images=images))


def test_kwcoco_may_leave_out_category_and_box(write: Write) -> None:
    path = write(
        videos=[{"id": 1, "name": "v"}],
        images=[picture(1, name="one", video_id=1, frame_index=0), picture(2, auxiliary=[])],
        annotations=[
            box(1, 1, 3),
            box(2, 2, 4),
            box(3, 1, None),
            box(4, 1, 3, bbox=None),
            {"id": 5, "image_id": 2, "category_id": 3, "keypoints": [1, 2, 2]},
            {"id": 6, "image_id": 2, "bbox": [1, 2, 3, 4]},
        ],
    )
    truth = read(path, null_category=2, null_box=2)
    assert coco_from_annotations(truth)["videos"] == [{"id": 1, "name": "v"}]
    assert truth.dropped == 0


def test_fiftyone_has_null_for_what_is_not_known(write: Write) -> None:
    images = [picture(i, license=None, coco_url=None) for i in (1, 2)]
    categories = [{"id": i, "name": n, "supercategory": None} for i, n in ((3, "cat"), (4, "dog"))]
    read(write(images=images, categories=categories))


def test_a_test_set_has_pictures_and_no_annotations(write: Write) -> None:
    for path in (write(annotations=None), write(annotations=None, info={"description": "test"})):
        truth = read_annotations(path)
        assert (len(truth.images), truth.boxes, truth.annotated) == (2, (), False)
        assert truth.findings.problems == []
        assert "annotations" not in coco_from_annotations(truth)
    path.write_text(path.read_text().replace('"categories"', '"annotations": null, "categories"'))
    assert not read_annotations(path).annotated
    assert read_annotations(write()).annotated
    assert read_annotations(write(annotations=[])).annotated
