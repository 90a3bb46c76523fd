"""``ssd-small train`` as a user sees it: learning, files, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("torchvision", reason="needs torchvision")
pytest.importorskip("hotcoco", reason="needs hotcoco")
pytest.importorskip("cv2", reason="needs OpenCV")

from training_pictures import (  # noqa: E402
    copy_with_a_damaged_picture,
    history_of,
    train_arguments,
)

from ssd_small.models.network import create_model  # noqa: E402

pytestmark = pytest.mark.slow

#: what makes a network without pretrained weights learn fast
FROM_SCRATCH = ("--norm-scale", 8, "--background", 0.9, "--clip-norm", 10, "--ramp", 0.03)


@pytest.fixture
def truth_of(data: Path) -> dict[str, Any]:
    """The annotations, to be changed."""
    content: dict[str, Any] = json.loads((data / "truth.json").read_text())
    return content


@pytest.mark.slow
def test_eight_pictures_are_learned_by_heart(call, data: Path, tmp_path: Path) -> None:
    """The whole way, from random weights to AP50 above 0.9, without expansion."""
    val = ("--val-annotations", data / "truth.json", "--val-images", data)
    budget = ("--iterations", 140, "--batch", 8, "--width", 0.25, "--eval-every", 0)
    rates = ("--lr", 0.04, "--head-lr", 0.004, "--expand", 0, "--log-every", 20)
    arguments = train_arguments(data, tmp_path / "run", *val, *rates, *FROM_SCRATCH, "--json")
    cut = arguments.index("--epochs")
    outcome = call(*arguments[:cut], *arguments[cut + 2 :], *budget).fits()
    report = json.loads(outcome.out)
    assert report["metrics"]["AP50"] > 0.9
    assert report["protocol"]["name"] == "coco"
    assert report["labels"] == ["square", "disc"]
    # the weights are what every other command takes
    weights = ("--model", "mobilenet_v1", "--weights", tmp_path / "run" / "best.pth")
    labels = ("--labels", tmp_path / "run" / "labels.txt")
    truth = ("--annotations", data / "truth.json", "--images", data)
    # training scores under the published protocol
    protocol = ("--protocol", "coco")
    scored = json.loads(call("eval", *weights, *labels, *truth, *protocol, "--json").fits().out)
    assert scored["metrics"]["AP50"] == pytest.approx(report["metrics"]["AP50"])


def test_what_a_user_is_told(call, data: Path, tmp_path: Path) -> None:
    val = ("--val-annotations", data / "truth.json", "--val-images", data)
    outcome = call(*train_arguments(data, tmp_path, *val, "--seed", 3)).fits()
    assert outcome.out == ""
    assert "seed 3" in outcome.err
    assert "weight_decay 0.0001" in outcome.err
    assert "scored under protocol coco: score > 0.01, IoU > 0.6" in outcome.err
    for words in ("loc ", "conf ", "lr 1.00e-02", "images/s", "ETA", "AP50"):
        assert words in outcome.err
    log = (tmp_path / "train.log").read_text().splitlines()
    assert set(log) <= set(outcome.err.splitlines())
    assert (tmp_path / "labels.txt").read_text() == "square\ndisc\n"
    rows = history_of(tmp_path)
    assert [float(row["iteration"]) for row in rows if row["loss"]] == [1, 2, 3, 4, 5, 6]
    assert [float(row["epoch"]) for row in rows if row["AP"]] == [1, 2, 3]


def _changed(truth: dict[str, Any], folder: Path) -> Path:
    path = folder / "changed.json"
    path.write_text(json.dumps(truth))
    return path


def _of_many_classes(truth: dict[str, Any]) -> None:
    truth["categories"] += [{"id": i, "name": f"more {i}"} for i in range(100, 100 + 1022)]


def _without_objects(truth: dict[str, Any]) -> None:
    truth["annotations"].clear()


def _with_a_missing_image(truth: dict[str, Any]) -> None:
    truth["images"].append({"id": 99, "file_name": "gone.png", "width": 9, "height": 9})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_of_many_classes, ("1024 classes", "expected 1023 at most")),
        (_without_objects, ("no object",)),
        (_with_a_missing_image, ("1 of 9 images", "gone.png")),
    ],
)
def test_annotations_that_cannot_be_trained_on(
    call, data: Path, tmp_path: Path, truth_of, change: Callable[..., None], words: tuple
) -> None:
    change(truth_of)
    arguments = list(train_arguments(data, tmp_path / "run"))
    arguments[arguments.index("--annotations") + 1] = _changed(truth_of, tmp_path)
    call(*arguments).fails(4, *words)
    assert not (tmp_path / "run").exists()


def test_faults_of_the_boxes_are_counted_and_reported_once(
    call, data: Path, tmp_path: Path, truth_of
) -> None:
    boxes = truth_of["annotations"]
    for bbox in ([150, 100, 40, 40], [10, 10, 0, 5], [500, 500, 10, 10]):
        boxes.append({"id": 99, "image_id": 0, "category_id": 3, "bbox": bbox})
    truth_of["categories"].append({"id": 9, "name": "ring"})
    arguments = list(train_arguments(data, tmp_path / "run", "--epochs", 1))
    arguments[arguments.index("--annotations") + 1] = _changed(truth_of, tmp_path)
    err = call(*arguments).fits().err
    for line in (
        "note: 1 boxes reached beyond",
        "note: 1 boxes without area",
        "note: 1 boxes outside",
        "note: no objects of class ring",
    ):
        assert err.count(line) == 1, (line, err)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named(call, data: Path, tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "images"
    copy_with_a_damaged_picture(data, folder)
    arguments = list(train_arguments(data, tmp_path / "run", "--workers", workers))
    arguments[arguments.index("--images") + 1] = folder
    call(*arguments).fails(4, "5.png")


def test_val_annotations_of_other_categories(call, data: Path, tmp_path: Path, truth_of) -> None:
    truth_of["categories"] = [{"id": i, "name": f"other {i}"} for i in (3, 8, 9)]
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    call(*train_arguments(data, tmp_path / "run", *val)).fails(4, "3 categories", "2 classes")
    del truth_of["categories"][2]
    truth_of["annotations"].clear()
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    call(*train_arguments(data, tmp_path / "run", *val)).fails(
        4, "no category 'square'", "truth.json"
    )
    assert not (tmp_path / "run").exists()


def test_val_annotations_of_fewer_classes_are_scored(
    call, data: Path, tmp_path: Path, truth_of
) -> None:
    """A split lists the classes it has; what it lacks is said."""
    gone = truth_of["categories"].pop()
    boxes = truth_of["annotations"]
    truth_of["annotations"] = [box for box in boxes if box["category_id"] != gone["id"]]
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    outcome = call(*train_arguments(data, tmp_path / "run", *val)).fits()
    assert f"has no category {gone['name']!r}, which the network finds" in outcome.err


def test_val_annotations_that_spell_a_class_otherwise(
    call, data: Path, tmp_path: Path, truth_of
) -> None:
    (disc,) = (one for one in truth_of["categories"] if one["name"] == "disc")
    disc["name"] = "Disc"
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    call(*train_arguments(data, tmp_path / "run", *val)).fails(
        4,
        "category 'Disc' has",
        "did you mean 'disc'? Rename the category, or those of",
        "truth.json",
    )


@pytest.mark.parametrize("crowds", [False, True])
def test_val_annotations_without_objects(
    call, data: Path, tmp_path: Path, truth_of, crowds: bool
) -> None:
    """Every iteration would be as good as the best."""
    boxes = truth_of["annotations"]
    truth_of["annotations"] = [{**one, "iscrowd": 1} for one in boxes] if crowds else []
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    arguments = train_arguments(data, tmp_path / "run", *val)
    call(*arguments).fails(4, "no object that counts", "--val-annotations")


def test_val_annotations_of_a_test_set(call, data: Path, tmp_path: Path, truth_of) -> None:
    del truth_of["annotations"]
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    call(*train_arguments(data, tmp_path / "run", *val)).fails(
        4, "no list annotations", "--val-annotations"
    )


def test_objects_that_the_network_hardly_sees_are_noted(
    call, data: Path, tmp_path: Path, truth_of
) -> None:
    for box in truth_of["annotations"]:
        box["bbox"][2:] = [2, 2]
    given = list(train_arguments(data, tmp_path / "run"))
    given[given.index("--annotations") + 1] = _changed(truth_of, tmp_path)
    outcome = call(*given).fits()
    assert "objects shrink below 8 px at the network's input (median object" in outcome.err


def test_weights_with_other_classes(call, data: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(create_model("mobilenet_v1_s1l0", 7, 0.1).state_dict(), weights)
    given = ("--weights", weights, "--init-scope")
    call(*train_arguments(data, tmp_path / "all", *given, "all")).fails(
        4, "does not fit", "those of mobilenet_v1_s1l0 or", "--init-scope base"
    )
    own = train_arguments(data, tmp_path / "all", *given, "all", model="mobilenet_v1_s1l0")
    call(*own).fails(4, "does not fit", "7 classes", "--init-scope base")
    outcome = call(*train_arguments(data, tmp_path / "base", *given, "base", "--epochs", 1)).fits()
    assert f"from base of {weights}" in outcome.err


def test_options_that_do_not_go_together(call, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    call(*train_arguments(data, run, "--minutes", 1)).fails(2, "epochs and minutes")
    call(*train_arguments(data, run, "--init-scope", "all")).fails(
        2, "--init-scope all needs --weights"
    )
    call(*train_arguments(data, run, "--val-images", data)).fails(2, "go together")
    call(*train_arguments(data, run, model="resnet")).fails(2, "unknown model 'resnet'")
    call(*train_arguments(data, run, "--lr", "nan")).fails(2, "--lr")
    call(*train_arguments(data, run, "--lr", 1e300)).fails(2, "lr 1e+300", "up to 1e+06")
    call(*train_arguments(data, run, "--negative-ratio", 1e300)).fails(2, "negative_ratio 1e+300")
    call(*train_arguments(data, run, "--seed", 2**64)).fails(2, "--seed")
    call(*train_arguments(data, run, "--ema-decay", 1)).fails(2, "ema_decay 1.0", "between 0 and 1")
    call(*train_arguments(data, run, "--batch", 1)).fails(2, "batch norm", "--batch 2")
    call(*train_arguments(data, run, "--optimizer", "lion")).fails(2, "--optimizer", "'lion'")
    call(*train_arguments(data, run, "--schedule-steps", "1,x")).fails(2, "--schedule-steps", "1,x")
    call(*train_arguments(data, run, "--schedule-steps", "0")).fails(2, "schedule_steps '0'")
    call(*train_arguments(data, run, "--gamma", 0)).fails(2, "--gamma")
    call(*train_arguments(data, run, "--trainable-scope", "transforms")).fails(
        2, "--trainable-scope transforms", "nothing", "base, norm, extras, loc, conf"
    )
    assert not run.exists()


def test_one_epoch_under_the_published_cosine_is_told_to_learn_nothing(
    call, data: Path, tmp_path: Path
) -> None:
    cut = train_arguments(data, tmp_path / "run", "--epochs", 1, "--schedule", "sgdr")
    assert "note: schedule sgdr has rate 0 in the last epoch" in call(*cut).fits().err


def test_a_folder_that_holds_another_run(call, data: Path, tmp_path: Path) -> None:
    call(*train_arguments(data, tmp_path, "--resume")).fails(4, "resume.pth", "No such file")
    call(*train_arguments(data, tmp_path, "--epochs", 1)).fits()
    call(*train_arguments(data, tmp_path, "--epochs", 1)).fails(
        2, "holds a run already", "--resume"
    )
    other = tmp_path / "other"
    other.mkdir()
    (other / "best.pth").write_bytes(b"kept")
    call(*train_arguments(data, other, "--epochs", 1)).fails(
        2, "best.pth of another run", "--output"
    )
    assert [path.name for path in other.iterdir()] == ["best.pth"]
    again = train_arguments(data, tmp_path, "--epochs", 1, "--resume")
    call(*again, "--lr", 0.5).fails(2, "lr is 0.5, was 0.01")
    call(*again, "--width", 0.2).fails(2, "width is 0.2, was 0.1")
    other = train_arguments(data, tmp_path, "--epochs", 1, "--resume", model="mobilenet_v1_s1l0")
    call(*other).fails(2, "model is 'mobilenet_v1_s1l0', was 'mobilenet_v1'")


def test_an_output_that_cannot_be_written(call, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    call(*train_arguments(data, tmp_path / "file" / "run")).fails(4, "is a file")


@pytest.mark.skipif(torch.cuda.is_available(), reason="not executed here: there is a GPU")
def test_a_gpu_that_is_not_there(call, data: Path, tmp_path: Path) -> None:
    call(*train_arguments(data, tmp_path / "run", "--device", "cuda")).fails(3, "--device cpu")


@pytest.mark.slow
def test_unreadable_pictures_may_be_left_out(call, data: Path, tmp_path: Path) -> None:
    damaged, name = tmp_path / "damaged", "5.png"
    copy_with_a_damaged_picture(data, damaged)
    (damaged / "truth.json").write_bytes((data / "truth.json").read_bytes())
    val = ("--val-annotations", damaged / "truth.json", "--val-images", damaged)
    run = tmp_path / "run"
    call(*train_arguments(damaged, tmp_path / "strict", *val)).fails(4, name)
    outcome = call(*train_arguments(damaged, run, *val), "--skip-unreadable", 1).fits()
    assert (
        f"note: left out, the next picture takes its place: cannot decode image {damaged}/{name}"
        in (outcome.err)
    )
    assert "note: 1 images were not scored, the first: " in outcome.err
    assert json.loads((run / "run.json").read_text())["options"]["skip_unreadable"] == 1
    # the same run again, by what it was asked for
    again = tmp_path / "again"
    call("train", "--config", run / "config.yml", "-o", again).fits()
    first, second = (torch.load(one / "last.pth")["state_dict"] for one in (run, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
