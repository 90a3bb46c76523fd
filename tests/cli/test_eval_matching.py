"""eval and train beside annotations whose classes, pictures and boxes are not plainly theirs."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("hotcoco")

BOX = [5, 5, 20, 20]


@pytest.fixture
def evaluate(call, engine, pictures, truth, saved):
    """eval of the engine, whose classes are cat and dog, on what the annotations have become."""

    def run(*arguments, images=pictures):
        given = ("--annotations", saved(truth), "--images", images)
        return call("eval", "--engine", engine, *given, *arguments, "--json")

    return run


def test_a_class_that_is_spelled_otherwise_is_refused_with_its_near_match(evaluate, truth):
    truth["categories"][0]["name"] = "Cat"
    evaluate().fails(4, "category 'Cat' has 1 box and no label", "did you mean 'cat'?")


def test_a_split_that_lists_the_classes_it_has_is_scored(evaluate, truth):
    plain = evaluate().fits()
    assert plain.err == ""
    del truth["categories"][1]
    outcome = evaluate().fits()
    assert "has no category 'dog', which the network finds" in outcome.err
    left_out = outcome.json["detections_left_out"]
    assert left_out + outcome.json["detections"] == plain.json["detections"]
    assert left_out > 0
    assert f"{left_out} detections of classes that" in outcome.err
    assert outcome.json["metrics"]["AP"] == plain.json["metrics"]["AP"]
    assert outcome.json["classes_by_order"] == {}


def test_a_category_without_boxes_is_noted(evaluate, truth):
    plain = evaluate().json
    truth["categories"].append({"id": 1, "name": "cow"})
    outcome = evaluate().fits()
    assert "category 'cow' without boxes and without a label" in outcome.err
    assert outcome.json["metrics"] == plain["metrics"]


@pytest.mark.parametrize("annotations", [None, "absent"])
def test_a_test_set_gives_results_for_the_server(evaluate, truth, tmp_path, annotations):
    evaluate("--save-detections", tmp_path / "plain.json").fits()
    del truth["annotations"]
    if annotations is None:
        truth["annotations"] = None
    saved = tmp_path / "found.json"
    outcome = evaluate("--save-detections", saved).fits()
    assert saved.read_text() == (tmp_path / "plain.json").read_text()
    assert outcome.json["metrics"] is None
    assert outcome.json["operating_point"] is None
    assert outcome.json["classes"] == []
    assert outcome.json["detections"] == len(json.loads(saved.read_text()))
    assert "test set): nothing is scored" in outcome.err


def test_a_test_set_is_not_scored(evaluate, call, truth, saved, tmp_path):
    del truth["annotations"]
    evaluate().fails(4, "no list annotations", "--save-detections")
    save = ("--save-detections", tmp_path / "found.json")
    evaluate(*save, "--min-map", 0.5).fails(2, "--min-map")
    (tmp_path / "given.json").write_text("[]")
    given = ("--detections", tmp_path / "given.json", "--annotations", saved(truth))
    call("eval", *given).fails(4, "no list annotations")
    assert not (tmp_path / "found.json").exists()


def test_a_test_set_is_reported_to_people(call, engine, pictures, truth, saved, tmp_path):
    del truth["annotations"]
    given = ("--annotations", saved(truth), "--images", pictures)
    save = ("--save-detections", tmp_path / "found.json")
    outcome = call("eval", "--engine", engine, *given, *save).fits()
    assert outcome.out.splitlines()[-1] == "no ground truth: nothing is scored"


def test_boxes_that_are_fractions_are_refused(evaluate, call, truth, saved, tmp_path):
    truth["annotations"][0]["bbox"] = [0.1, 0.1, 0.25, 0.3]
    evaluate().fails(4, "no box reaches a pixel", "fractions", "check-data --fix")
    (tmp_path / "found.json").write_text("[]")
    given = ("--detections", tmp_path / "found.json", "--annotations", saved(truth))
    call("eval", *given).fails(4, "no box reaches a pixel")


def test_results_that_are_fractions_are_refused(call, truth, saved, tmp_path):
    found = tmp_path / "found.json"
    one = {"image_id": 1, "category_id": truth["categories"][0]["id"], "score": 0.5}
    found.write_text(json.dumps([{**one, "bbox": [0.1, 0.1, 0.25, 0.3]}]))
    given = ("--detections", found, "--annotations", saved(truth))
    call("eval", *given).fails(4, "found.json: no box reaches a pixel", "multiply")


def test_annotations_without_objects_are_said_to_give_no_metric(evaluate, truth):
    truth["annotations"] = []
    outcome = evaluate().fits()
    assert outcome.json["metrics"]["AP"] is None
    assert "no object that counts" in outcome.err


def test_objects_that_the_network_hardly_sees_are_noted(evaluate, truth):
    """2 x 1 px of 80 x 60 are 7.5 x 5 px of 300 x 300: a side of 6.1."""
    truth["annotations"][0]["bbox"] = [5, 5, 2, 1]
    assert (
        "note: 1 of 1 objects shrink below 8 px at the network's input (median object 6.1 px at "
        "300x300); pass --tiles 27x27\n"
    ) in evaluate().fits().err


def test_pictures_are_found_by_the_names_of_tools(evaluate, truth, pictures, tmp_path):
    plain = evaluate().json
    (tmp_path / "data" / "my images").mkdir(parents=True)
    for picture in pictures.iterdir():
        shutil.copy(picture, tmp_path / "data" / "my images")
    for names in (
        ("my images\\a.jpg", "my%20images/b.png"),
        ("/data/local-files/?d=my%20images%5Ca.jpg", "http://host/my%20images/b.png?x=1"),
        ("C:\\Users\\me\\data\\my images\\a.jpg", "my images/b.PNG"),
    ):
        for image, name in zip(truth["images"], names, strict=True):
            image["file_name"] = name
        outcome = evaluate(images=tmp_path / "data").fits()
        assert outcome.json["metrics"] == plain["metrics"]
        assert f"is {tmp_path / 'data' / 'my images' / 'a.jpg'}" in outcome.err
    inside = evaluate(images=tmp_path / "data" / "my images")
    assert inside.json["metrics"] == plain["metrics"]


def test_the_folder_that_would_fit_is_named(evaluate, truth, pictures):
    for image in truth["images"]:
        image["file_name"] = f"{pictures.name}/{image['file_name']}"
    (pictures / "empty").mkdir(exist_ok=True)
    evaluate(images=pictures / "empty").fails(
        4,
        f"the first is '{pictures.name}/a.jpg' (tried {pictures / 'empty' / pictures.name}/a.jpg",
        f"--images ({pictures} or {pictures.parent} would fit)",
    )
