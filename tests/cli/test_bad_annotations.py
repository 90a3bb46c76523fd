"""eval with annotation and result files that are not what they should be."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("hotcoco")

NAN, INFINITE = float("nan"), float("inf")
BOX = [5, 5, 20, 20]


@pytest.fixture
def evaluate(call, engine, pictures):
    """eval of the engine on annotations and pictures."""

    def run(annotations, images=pictures, *extra):
        return call(
            *("eval", "--engine", engine, "--annotations", annotations, "--images", images),
            *extra,
        )

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b"\xff\x00\x12", "not JSON"),
        (b"[1]", "expected lists"),
        (b"{}", "expected lists"),
        (b'{"images": 1, "annotations": [], "categories": []}', "expected lists"),
    ],
)
def test_file_that_is_not_coco(content, word, evaluate, tmp_path):
    (tmp_path / "gt.json").write_bytes(content)
    evaluate(tmp_path / "gt.json").fails(4, "gt.json", word)


CHANGES = [
    ("annotations", {"image_id": 77}, "image_id 77"),
    ("annotations", {"category_id": 8}, "category_id 8"),
    ("annotations", {"image_id": [1]}, "image_id [1]"),
    ("annotations", {"image_id": 1.5}, "image_id 1.5"),
    ("annotations", {"image_id": True}, "image_id true"),
    ("annotations", {"image_id": None}, "image_id null"),
    ("annotations", {"bbox": [1, 2, 3]}, "bbox [1, 2, 3]"),
    ("annotations", {"bbox": "abcd"}, "bbox"),
    ("annotations", {"bbox": "1234"}, "is not a list"),
    ("annotations", {"bbox": [1, 2, True, 4]}, "not a number"),
    ("annotations", {"bbox": [1, 2, 3, 10**400]}, "a number that can be used"),
    ("annotations", {"bbox": {"left": 1, "right": 2}}, "bbox {'left': 1"),
    ("images", {"width": 10**400}, "width is a huge number"),
    ("categories", {"name": "two\nlines"}, "not printable"),
    ("categories", {"name": "a\u2028b"}, "not printable"),
    ("categories", {"name": "\ud800"}, "not printable"),
    ("categories", {"name": " "}, "is empty"),
    ("categories", {"name": "\u200d"}, "is empty"),
    ("categories", {"name": None}, "name is null"),
    ("annotations", {"area": "x"}, "not a number"),
    ("annotations", {"area": True}, "area true is not a number"),
    ("annotations", {"iscrowd": "x"}, "'x'"),
    ("annotations", {"iscrowd": 2}, "iscrowd is 2"),
    ("images", {"file_name": None}, "file_name is null"),
    ("images", {"file_name": 5}, "file_name"),
    ("images", {"file_name": "a\0.jpg"}, "cannot be the name of a file"),
    ("images", {"width": 0}, "has no size"),
    ("images", {"width": -3}, "has no size"),
    ("images", {"width": NAN}, "has no size"),
    ("images", {"height": None}, "height is null"),
    ("images", {"width": "wide"}, "width is 'wide'"),
    ("images", {"id": True}, "id is true"),
    ("images", {"id": 10**400}, "a huge number"),
    ("images", {"id": 2}, "occurs twice"),
    ("categories", {"id": None}, "id is null"),
    ("categories", {"id": 9}, "occurs twice"),
]


@pytest.mark.parametrize(("part", "change", "word"), CHANGES)
def test_entry_that_is_wrong(part, change, word, evaluate, truth, saved):
    truth[part][0].update(change)
    evaluate(saved(truth)).fails(4, word)


@pytest.mark.parametrize(
    ("part", "key"), [("images", "file_name"), ("images", "width"), ("categories", "name")]
)
def test_entry_without_a_field(part, key, evaluate, truth, saved):
    del truth[part][0][key]
    evaluate(saved(truth)).fails(4, f"{part}[0]", f"{key} is absent")


@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_entry_that_is_no_object(part, evaluate, truth, saved):
    truth[part].append(3)
    evaluate(saved(truth)).fails(4, f"{part}[{len(truth[part]) - 1}] is 3; expected an object")


@pytest.mark.parametrize(
    "box", [[5, 5, 0, 5], [5, 5, -3, 5], [NAN, 1, 5, 5], [1, 1, INFINITE, 5], [1, 1, 1e308, 1e308]]
)
def test_box_without_area_is_left_out_and_said_so(box, evaluate, truth, saved):
    truth["annotations"].append({**truth["annotations"][0], "id": 2, "bbox": box})
    outcome = evaluate(saved(truth)).fits()
    assert "1 boxes without area" in outcome.err


def test_no_images_or_categories(evaluate, truth, saved):
    evaluate(saved({**truth, "images": [], "annotations": []})).fails(4, "no images")
    evaluate(saved({**truth, "categories": [], "annotations": []})).fails(4, "no categories")


def test_no_annotations_give_no_scores(call, truth, saved, tmp_path):
    (tmp_path / "found.json").write_text("[]")
    outcome = call(
        *("eval", "--detections", tmp_path / "found.json", "--json"),
        *("--annotations", saved({**truth, "annotations": []})),
    ).fits()
    assert set(json.loads(outcome.out)["metrics"].values()) == {None}


def test_categories_that_do_not_fit_the_network(evaluate, truth, saved):
    truth["categories"] = [{"id": i, "name": f"other {i}"} for i in (7, 8, 9)]
    evaluate(saved(truth)).fails(4, "3 categories", "2 classes", "--labels")


def test_one_image_that_is_not_there_is_named_with_the_path_tried(evaluate, truth, saved, pictures):
    truth["images"][0]["file_name"] = "x/nope.jpg"
    outcome = evaluate(saved(truth))
    outcome.fails(4, "1 of 2 images could not be read")
    assert str(pictures / "x/nope.jpg") in outcome.err


def test_images_that_are_not_there(evaluate, truth, saved, tmp_path):
    (tmp_path / "empty").mkdir()
    gt = saved(truth)
    for folder in (tmp_path / "empty", tmp_path / "none", gt):
        evaluate(gt, folder).fails(4, "2 of 2 images", "a.jpg", "--images")
    evaluate(tmp_path / "no.json").fails(4, "no.json")
    evaluate(tmp_path).fails(4, "Is a directory")


def test_image_that_cannot_be_decoded(evaluate, truth, saved, tmp_path):
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_text("no picture")
    evaluate(saved(truth), tmp_path).fails(4, "a.jpg")


@pytest.mark.parametrize("content", ["", "x", "{}", "null", "[[1]]", "[3]"])
def test_result_file_that_is_none(content, call, truth, saved, tmp_path):
    (tmp_path / "found.json").write_text(content)
    call("eval", "--detections", tmp_path / "found.json", "--annotations", saved(truth)).fails(
        4, "found.json"
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image_id": 77}, "image_id 77"),
        ({"image_id": [1]}, "image_id [1]"),
        ({"image_id": None}, "image_id null"),
        ({"image_id": "a.jpg"}, "image_id 'a.jpg'"),
        ({"category_id": None}, "category_id null"),
        ({"category_id": [8]}, "category_id [8]"),
        ({"bbox": [1, 2, 3]}, "four numbers"),
        ({"bbox": None}, "bbox"),
        ({"bbox": [1, 2, NAN, 3]}, "not finite"),
        ({"bbox": ["1", "2", "3", "4"]}, "not a number"),
        ({"score": None}, "not a number"),
        ({"score": NAN}, "not finite"),
        ({"score": "0.5"}, "not a number"),
        ({"score": True}, "not a number"),
    ],
)
def test_result_that_is_wrong(change, word, call, truth, saved, tmp_path):
    entry = {"image_id": 1, "category_id": 7, "bbox": BOX, "score": 0.9}
    (tmp_path / "found.json").write_text(json.dumps([entry, {**entry, **change}]))
    call("eval", "--detections", tmp_path / "found.json", "--annotations", saved(truth)).fails(
        4, "found.json: entry [1]", word
    )


@pytest.mark.parametrize("key", ["image_id", "category_id", "bbox", "score"])
def test_a_result_that_lacks_a_field_is_named(key, call, truth, saved, tmp_path):
    entry = {"image_id": 1, "category_id": 7, "bbox": BOX, "score": 0.9}
    lacking = {name: value for name, value in entry.items() if name != key}
    (tmp_path / "found.json").write_text(json.dumps([entry, entry, lacking]))
    call("eval", "--detections", tmp_path / "found.json", "--annotations", saved(truth)).fails(
        4, f"entry [2] has no {key};"
    )


def test_results_of_categories_that_are_not_there_are_left_out(call, truth, saved, tmp_path):
    """As pycocotools does: no score changes by them, but it is said."""
    entry = {"image_id": 1, "category_id": 7, "bbox": BOX, "score": 0.9}
    others = [{**entry, "category_id": key, "score": 1} for key in (8, 8, "x")]
    (tmp_path / "found.json").write_text(json.dumps([others[0], entry, *others[1:]]))
    outcome = call(
        *("eval", "--detections", tmp_path / "found.json", "--annotations", saved(truth)), "--json"
    ).fits()
    assert outcome.json["metrics"]["AP"] == pytest.approx(1)
    assert (outcome.json["detections"], outcome.json["detections_left_out"]) == (1, 3)
    assert "3 detections of categories" in outcome.err
    assert "(8, 'x')" in outcome.err


@pytest.mark.parametrize(("image", "category"), [("1", "7"), (1.0, 7.0), ("1.0", " 7")])
def test_ids_of_results_may_be_texts_and_floats(image, category, call, truth, saved, tmp_path):
    entry = {"image_id": image, "category_id": category, "bbox": BOX, "score": 0.9}
    (tmp_path / "found.json").write_text(json.dumps([{**entry, "segmentation": None}]))
    outcome = call(
        *("eval", "--detections", tmp_path / "found.json", "--annotations", saved(truth)), "--json"
    ).fits()
    assert outcome.json["metrics"]["AP"] == pytest.approx(1)


def test_sources_that_contradict_each_other_and_the_check(call, engine, truth, saved, tmp_path):
    gt, found = saved(truth), tmp_path / "found.json"
    found.write_text("[]")
    base = ("eval", "--annotations", gt)
    call(*base).fails(2, "--engine", "--detections")
    call(*base, "--detections", found, "--engine", engine).fails(2, "one of")
    call(*base, "--engine", engine).fails(2, "--images")
    call(*base, "--detections", found, "--min-map", "nan").fails(2, "--min-map")
    call(*base, "--detections", found, "--min-map", "0.5").fails(1, "below --min-map 0.5")


def test_what_was_put_right_is_said_and_gives_the_scores_of_a_good_file(
    call, truth, saved, tmp_path
):
    found = [{"image_id": 1, "category_id": 7, "bbox": [6, 5, 20, 20], "score": 0.9}]
    (tmp_path / "found.json").write_text(json.dumps(found))
    arguments = ("eval", "--detections", tmp_path / "found.json", "--json", "--annotations")
    good = json.loads(call(*arguments, saved(truth)).fits().out)
    truth["annotations"][0] |= {"image_id": "1", "iscrowd": None}
    truth["categories"].append(truth["categories"][0])
    outcome = call(*arguments, saved(truth)).fits()
    assert json.loads(outcome.out)["metrics"] == good["metrics"]
    assert "1 repeated_category, 1 id_as_text, 1 null_field" in outcome.err
