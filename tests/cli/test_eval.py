"""What ``ssd-small eval`` says: protocol, classes, precision and recall at a threshold."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise

import pytest

pytest.importorskip("hotcoco")

BOX = [5, 5, 20, 20]
MODEL = ("--model", "mobilenet_v1")
DEPLOY = "score > 0.01, IoU > 0.6, pre-NMS top 400, 100 per class, 200 per image, pixel offset 0"


@pytest.fixture
def evaluate(call, pictures, truth, saved):
    """eval of what the arguments name on the pictures."""

    def run(*arguments):
        where = ("--annotations", saved(truth), "--images", pictures)
        return call("eval", *arguments, *where)

    return run


@pytest.fixture
def score_file(call, truth, saved, tmp_path):
    """eval of a list of (image, category, box, score)."""

    def run(entries, *arguments):
        path = tmp_path / "found.json"
        keys = ("image_id", "category_id", "bbox", "score")
        path.write_text(json.dumps([dict(zip(keys, one, strict=True)) for one in entries]))
        return call("eval", "--detections", path, "--annotations", saved(truth), *arguments)

    return run


def test_a_checkpoint_and_its_engine_have_one_default(evaluate, checkpoint, engine, onnx_file):
    sources = [(*MODEL, "--weights", checkpoint), ("--engine", engine), ("--engine", onnx_file)]
    reports = [json.loads(evaluate(*one, "--json").fits().out) for one in sources]
    for report in reports:
        assert report["protocol"] == {"name": "deploy", **report["postprocess"]}
        assert report["protocol"] == reports[0]["protocol"]
    shown = evaluate("--engine", engine).fits().out
    assert f"protocol deploy: {DEPLOY}; box convention exclusive" in shown
    assert "s, decode+NMS inside)" in shown


def test_classes_that_are_scored_by_order_are_said(evaluate, engine, onnx_file, tmp_path):
    """Published networks have no names, so this is possible; but never silent."""
    by_name = evaluate("--engine", engine, "--json").fits()
    assert (by_name.json["classes_by_order"], "in the order" in by_name.err) == ({}, False)
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    by_order = evaluate("--engine", engine, "--labels", labels, "--json").fits()
    assert by_order.json["classes_by_order"] == {"one": "cat", "two": "dog"}
    assert "the order of the categories' ids ('one' as 'cat', and so on)" in by_order.err


def test_the_published_protocol_is_asked_for(evaluate, checkpoint, engine):
    network = (*MODEL, "--weights", checkpoint, "--protocol", "coco")
    report = json.loads(evaluate(*network, "--json").fits().out)
    assert report["protocol"]["name"] == "coco"
    assert (report["protocol"]["keep_topk"], report["protocol"]["pixel_offset"]) == (0, 1 / 300)
    shown = evaluate(*network, "--box-convention", "inclusive").fits().out
    assert "protocol coco: score > 0.01, IoU > 0.6, pre-NMS top all, 100 per class" in shown
    assert "box convention inclusive" in shown
    # decode + NMS inside have the other one
    line = evaluate("--engine", engine, "--protocol", "coco").fails(
        2, "pre_nms_topk 400, not 0", "pixel_offset 0, not 0.00333333"
    )
    assert "{" not in line
    assert "PostprocessParams" not in line
    evaluate("--engine", engine, "--protocol", "deploy").fits()


@pytest.mark.usefixtures("traced_once")
def test_an_engine_keeps_its_own_parameters_and_says_so(evaluate, call, checkpoint, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "x.onnx"
    own = ("--score-threshold", "0.6", "--keep-topk", "17")
    call("export", *MODEL, "--weights", checkpoint, *own, "--output", path).fits()
    report = json.loads(evaluate("--engine", path, "--json").fits().out)
    assert report["protocol"]["name"] == "the file's own"
    assert report["protocol"]["keep_topk"] == 17
    # nothing under its own threshold comes out of it
    assert report["operating_point"]["score_threshold"] >= 0.6
    shown = evaluate("--engine", path, "--score-threshold", "0.7").fits().out
    assert "protocol the file's own: score > 0.6" in shown
    assert "score > 0.7" in shown
    evaluate("--engine", path, "--score-threshold", "0.55").fails(2, "0.55 is below 0.6")
    evaluate("--engine", path, "--score-threshold", "dog=0.1").fails(2, "of dog 0.1 is below 0.6")


def test_saved_detections_score_as_the_network_did(evaluate, call, engine, saved, truth, tmp_path):
    found = tmp_path / "found.json"
    evaluate("--engine", engine, "--save-detections", found).fits()
    scores = sorted(entry["score"] for entry in json.loads(found.read_text()))
    limit = ("--score-threshold", scores[len(scores) // 2], "--json")
    run = json.loads(evaluate("--engine", engine, *limit).fits().out)
    where = ("--detections", found, "--annotations", saved(truth))
    read = json.loads(call("eval", *where, *limit).fits().out)
    assert (read["protocol"], run["protocol"]["name"]) == (None, "deploy")
    for key in ("metrics", "classes", "operating_point", "detections", "boxes"):
        assert read[key] == run[key], key
    assert read["by_size"] == [row for row in run["by_size"] if row["at"] == "picture"]
    point = read["operating_point"]
    above = point["true_positives"] + point["false_positives"]
    assert above == sum(score > scores[len(scores) // 2] for score in scores) > 0
    assert "protocol: not known" in call("eval", *where).fits().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--protocol", "coco"), "--protocol"),
        (("--box-convention", "inclusive"), "--box-convention inclusive"),
    ],
)
def test_what_does_nothing_to_a_result_file_is_refused(arguments, word, score_file):
    score_file([], *arguments).fails(2, word, "does not go with --detections")


def test_the_metrics_keep_their_names_and_order(score_file):
    report = json.loads(score_file([(1, 7, BOX, 0.9)], "--json").fits().out)
    assert list(report["metrics"]) == [
        *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
        *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
    ]


def test_classes_and_operating_point(score_file, truth):
    crowd = {"id": 2, "image_id": 2, "category_id": 7, "bbox": BOX, "area": 400, "iscrowd": 1}
    truth["annotations"].append(crowd)
    entries = [(1, 7, BOX, 0.9), (1, 7, BOX, 0.5), (2, 7, BOX, 0.8), (1, 9, BOX, 0.6)]
    report = json.loads(score_file(entries, "--json", "--score-threshold", 0.5).fits().out)
    assert (report["boxes"], report["crowds"], report["detections"]) == (2, 1, 4)
    cat, dog = report["classes"]
    assert list(cat) == ["name", "AP", "AP50", "ap", "ap50", "boxes", "detections"]
    assert (cat["name"], cat["AP50"], cat["boxes"], cat["detections"]) == (
        *("cat", pytest.approx(1), 1, 3),
    )
    assert (dog["AP"], dog["boxes"], dog["detections"]) == (None, 0, 1)
    point = report["operating_point"]
    found = ["precision", "recall", "f1", "true_positives", "false_positives", "missed"]
    assert list(point) == ["score_threshold", "iou", *found, "by", "classes", "by_class"]
    assert (point["score_threshold"], point["iou"], point["by"]) == (0.5, 0.5, "--score-threshold")
    assert [point[key] for key in found] == [0.5, 1, 2 / 3, 1, 1, 0]
    # the duplicate's score is not greater than 0.5; the crowd's detection counts neither way
    assert [point["by_class"][0][key] for key in found] == [1, 1, 1, 1, 0, 0]
    assert [point["by_class"][1][key] for key in found] == [0, None, 0, 0, 1, 0]
    assert point["classes"] == {"cat": 0.5, "dog": 0.5}


def test_without_a_threshold_it_is_the_one_of_best_f1(score_file):
    entries = [(1, 7, BOX, 0.75), (2, 9, BOX, 0.6), (1, 7, BOX, 0.5)]
    point = json.loads(score_file(entries, "--json").fits().out)["operating_point"]
    assert (point["by"], point["precision"], point["recall"], point["f1"]) == ("best F1", 1, 1, 1)
    # midway between what is kept and what is not
    assert point["score_threshold"] == pytest.approx(0.675)
    assert point["classes"] == {"cat": 0.625, "dog": None}
    shown = score_file(entries).fits().out
    assert "score > 0.675, where F1 is best (1.000), IoU at least 0.5" in shown
    nothing = json.loads(score_file([(1, 9, BOX, 0.9)], "--json").fits().out)["operating_point"]
    assert (nothing["by"], nothing["score_threshold"], nothing["f1"]) == ("usual", 0.5, 0)
    assert nothing["classes"] == {"cat": None, "dog": None}


def test_objects_are_scored_by_their_size(score_file, evaluate, engine):
    rows = json.loads(score_file([(1, 7, BOX, 0.9)], "--json").fits().out)["by_size"]
    edges = [0, 8, 16, 32, 64, 96, None]
    sizes = [(row["from_px"], row["to_px"], row["at"]) for row in rows]
    assert sizes == [(*pair, "picture") for pair in pairwise(edges)]
    # the object is 20 pixels a side
    assert [row["boxes"] for row in rows] == [0, 0, 1, 0, 0, 0]
    assert [row["ap"] for row in rows] == [None, None, pytest.approx(1), None, None, None]
    assert [row["recall"] for row in rows] == [None, None, 1, None, None, None]
    at_input = json.loads(evaluate("--engine", engine, "--json").fits().out)["by_size"][6:]
    assert [row["at"] for row in at_input] == ["network"] * 6
    # 80x60 becomes 300x300: 20 pixels are 87
    assert [row["boxes"] for row in at_input] == [0, 0, 0, 0, 1, 0]
    shown = evaluate("--engine", engine).fits().out
    assert "boxes in the picture" in shown
    assert "boxes at the network's input" in shown


def test_objects_are_scored_by_the_level_that_fits_them(score_file, evaluate, engine):
    assert json.loads(score_file([(1, 7, BOX, 0.9)], "--json").fits().out)["by_level"] is None
    rows = json.loads(evaluate("--engine", engine, "--json").fits().out)["by_level"]
    assert [(row["level"], row["rows"]) for row in rows] == list(enumerate([19, 10, 5, 3, 2, 1]))
    # 20x20 of 80x60 pixels is 75x100 of 300x300: a prior of 60 and one of 105 are nearest
    (row,) = (row for row in rows if row["boxes"])
    assert (row["boxes"], row["median_px"]) == (1, pytest.approx((75 * 100) ** 0.5))
    assert "median pixels at the network's input" in evaluate("--engine", engine).fits().out
    voc = evaluate("--engine", engine, "--metric", "voc07", "--json").fits().out
    assert json.loads(voc)["by_level"] is None


def test_a_threshold_of_one_class(score_file):
    entries = [(1, 7, BOX, 0.6), (1, 9, BOX, 0.6)]
    asked = ("--score-threshold", "0.55", "--score-threshold", "dog=0.7")
    point = json.loads(score_file(entries, *asked, "--json").fits().out)["operating_point"]
    assert point["score_threshold"] is None
    assert point["classes"] == {"cat": 0.55, "dog": 0.7}
    assert [one["false_positives"] for one in point["by_class"]] == [0, 0]
    assert "score >" in score_file(entries, *asked).fits().out.splitlines()[-5]
    score_file(entries, "--score-threshold", "cow=0.7").fails(2, "'cow'", "cat, dog")
    score_file(entries, "--score-threshold", "cat=x").fails(2, "--score-threshold")
    score_file(entries, "--score-threshold", "1.5").fails(2, "--score-threshold")


def _names(shown: str) -> list[str]:
    """First column of the last table."""
    lines = shown.splitlines()
    rule = max(i for i, line in enumerate(lines) if line.startswith("---"))
    return [line.split()[0] for line in lines[rule + 1 :] if not line.startswith("Shown")]


def test_the_text_is_for_people(score_file):
    shown = score_file([(1, 9, BOX, 0.9), (1, 7, BOX, 0.9), (1, 7, BOX, 0.8)]).fits().out
    assert not set("{}[]") & set(shown)
    assert "None" not in shown
    # the one without ground truth comes last
    assert _names(shown) == ["cat", "dog", "all"]
    columns = next(line for line in shown.splitlines() if line.startswith("class"))
    wanted = (
        "class|boxes|detections|AP|AP50|precision|recall|true pos.|false pos.|missed|best F1 at >"
    )
    assert re.split(r" {2,}", columns) == wanted.split("|")
    dog = next(line for line in shown.splitlines() if line.startswith("dog"))
    assert dog.split() == ["dog", "0", "1", "-", "-", "0.000", "-", "0", "1", "0", "-"]
    assert len({len(line) for line in shown.splitlines()[-5:]}) == 1  # aligned to the right


@pytest.mark.parametrize(("scored", "rule"), [(25, "10 classes of highest AP"), (19, "all with")])
def test_of_many_classes_the_best_the_worst_and_the_named_are_shown(
    scored, rule, score_file, truth
):
    truth["categories"] = [{"id": i, "name": f"c{i:02}"} for i in range(1, 31)]
    boxes = truth["annotations"]
    boxes.clear()
    for category in range(1, scored + 1):
        boxes.append({"id": category, "image_id": 1, "category_id": category, "bbox": BOX})
    # class n is found with an IoU of (40 - n) / 40: the later the worse
    entries = [(1, i, [5, 5, 20, 20 * (40 - i) / 40], 0.9) for i in range(1, 31)]
    shown = score_file(entries).fits().out
    order = [f"c{i:02}" for i in range(1, scored + 1)]
    expected = order if scored <= 20 else order[:10] + order[-10:]
    assert _names(shown) == [*expected, "all"]
    assert rule in shown.splitlines()[-1]
    assert f"{30 - len(expected)} others are in --json" in shown.splitlines()[-1]
    report = json.loads(score_file(entries, "--json").fits().out)
    assert [one["name"] for one in report["classes"]] == [f"c{i:02}" for i in range(1, 31)]
    named = score_file(entries, "--score-threshold", "c30=0.2").fits().out
    assert _names(named) == [*expected, "c30", "all"]


def test_detections_that_the_metric_does_not_take_are_noted(score_file):
    entries = [(1, 7, BOX, 0.9)] * 103
    assert "note: 3 detections were not scored" in score_file(entries).fits().err
    assert "note" not in score_file(entries[:100]).fits().err


def test_the_rest_is_scored_where_a_picture_cannot_be_read(
    call, engine, pictures, truth, saved, tmp_path
):
    """Its objects do not count, and the exit code says so after the scores."""
    folder = tmp_path / "damaged"
    shutil.copytree(pictures, folder)
    names = [image["file_name"] for image in truth["images"]]
    (folder / names[0]).write_bytes(b"no picture")
    run = ("eval", "--engine", engine, "--annotations", saved(truth), "--json")
    found = tmp_path / "found.json"
    outcome = call(*run, "--images", folder, "--save-detections", found)
    outcome.fails(4, "1 of 2 images could not be read")
    assert f"cannot decode image {folder / names[0]}" in outcome.err
    report = outcome.json
    assert (report["unreadable"], report["skipped"], report["images"]) == ([names[0]], [], 1)
    # as if it had never been in the file
    alone = dict(truth, images=truth["images"][1:])
    alone["annotations"] = [
        box for box in truth["annotations"] if box["image_id"] == alone["images"][0]["id"]
    ]
    of_alone = (*run[:3], "--annotations", saved(alone), "--json")
    expected = call(*of_alone, "--images", pictures).fits().json
    assert (expected["unreadable"], expected["skipped"]) == ([], [])
    assert report["metrics"] == expected["metrics"]
    assert {entry["image_id"] for entry in json.loads(found.read_text())} <= {
        alone["images"][0]["id"]
    }
    # so does one that is not there; none at all is a wrong folder
    (folder / names[0]).unlink()
    saved(truth)
    outcome = call(*run, "--images", folder)
    outcome.fails(4, "1 of 2 images could not be read")
    report = outcome.json
    assert (report["unreadable"], report["skipped"], report["images"]) == ([], [names[0]], 1)
    assert report["metrics"] == expected["metrics"]
    call(*run, "--images", tmp_path).fails(4, "pass the right --images")


def test_a_picture_is_seen_in_the_frame_in_which_it_was_annotated(
    call, engine, pictures, truth, saved, tmp_path
):
    """Pixels as they are stored are annotated here, and viewers are told to turn them."""
    images = pytest.importorskip("PIL.Image", reason="needs Pillow")
    results = []
    for tag in (None, 6, 8):
        folder = tmp_path / str(tag)
        folder.mkdir()
        exif = images.Exif()
        if tag is not None:
            exif[0x0112] = tag
        for image in truth["images"]:
            with images.open(pictures / image["file_name"]) as picture:
                stored = picture.convert("RGB")
            stored.save((folder / image["file_name"]).with_suffix(".png"), exif=exif)
        renamed = [
            one | {"file_name": one["file_name"].replace(".jpg", ".png")} for one in truth["images"]
        ]
        where = ("--annotations", saved(truth | {"images": renamed}), "--images", folder)
        saving = ("--save-detections", tmp_path / f"{tag}.json")
        outcome = call("eval", "--engine", engine, *where, *saving, "--json").fits()
        assert outcome.json["size_mismatches"] == 0
        results.append(json.loads((tmp_path / f"{tag}.json").read_text()))
    assert results[0] == results[1] == results[2] != []


def test_another_picture_than_the_annotated_one_is_skipped(call, engine, pictures, truth, saved):
    image = truth["images"][0]
    image["width"] *= 2
    outcome = call(
        *("eval", "--engine", engine, "--annotations", saved(truth), "--images", pictures, "--json")
    )
    outcome.fails(4, "1 of 2 images could not be read")
    assert (outcome.json["unreadable"], outcome.json["skipped"]) == ([], [image["file_name"]])
    assert "but annotated as" in outcome.err
