"""``ssd-small train`` as a user sees it: learning, files, bad input, interruption."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("torchvision", reason="needs torchvision")
pytest.importorskip("pycocotools", reason="needs pycocotools")
cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

from ssd_small.models.checkpoint import read_state_dict  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402

#: what makes a network without pretrained weights learn fast
FROM_SCRATCH = ("--norm-scale", 8, "--background", 0.9, "--clip-norm", 10, "--ramp", 0.03)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of 160 x 120 on noise: red squares, class 3, and green discs, class 8."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for number in range(8):
        picture = rng.integers(90, 140, (120, 160, 3), np.uint8)
        for slot in rng.permutation(6)[:3].tolist():
            side = int(rng.integers(24, 40))
            x = int(50 * (slot % 3) + rng.integers(0, 12))
            y = int(55 * (slot // 3) + rng.integers(0, 20))
            category = 3 if rng.random() < 0.5 else 8
            if category == 3:
                cv2.rectangle(picture, (x, y), (x + side - 1, y + side - 1), (0, 0, 255), -1)
            else:
                centre = (x + side // 2, y + side // 2)
                cv2.circle(picture, centre, side // 2, (0, 255, 0), -1)
            boxes.append({"image_id": number, "category_id": category, "bbox": [x, y, side, side]})
        assert cv2.imwrite(str(folder / f"{number}.png"), picture)
        entry = {"id": number, "file_name": f"{number}.png", "width": 160, "height": 120}
        images.append(entry)
    numbered = [box | {"id": i + 1} for i, box in enumerate(boxes)]
    categories = [{"id": 3, "name": "square"}, {"id": 8, "name": "disc"}]
    content = {"images": images, "annotations": numbered, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def truth_of(data: Path) -> dict[str, Any]:
    """The annotations, to be changed."""
    content: dict[str, Any] = json.loads((data / "truth.json").read_text())
    return content


def _train(data: Path, output: Path, *more: object, model: str = "mobilenet_v1") -> tuple:
    """The arguments of a short run of a small network."""
    return (
        *("train", "--model", model, "--annotations", data / "truth.json", "--images", data),
        *("--output", output, "--width", 0.1, "--batch", 4, "--lr", 0.01, "--workers", 0),
        *("--threads", 1, "--device", "cpu", "--epochs", 3, "--log-every", 1, *more),
    )


def _history(output: Path) -> list[dict[str, str]]:
    with (output / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_eight_pictures_are_learned_by_heart(call, data: Path, tmp_path: Path) -> None:
    """The whole way, from random weights to AP50 above 0.9, without expansion."""
    val = ("--val-annotations", data / "truth.json", "--val-images", data)
    budget = ("--iterations", 140, "--batch", 8, "--width", 0.25, "--eval-every", 0)
    rates = ("--lr", 0.04, "--head-lr", 0.004, "--expand", 0, "--log-every", 20)
    arguments = _train(data, tmp_path / "run", *val, *rates, *FROM_SCRATCH, "--json")
    cut = arguments.index("--epochs")
    outcome = call(*arguments[:cut], *arguments[cut + 2 :], *budget).fits()
    report = json.loads(outcome.out)
    assert report["metrics"]["AP50"] > 0.9
    assert report["labels"] == ["square", "disc"]
    # the weights are what every other command takes
    weights = ("--model", "mobilenet_v1", "--weights", tmp_path / "run" / "best.pth")
    labels = ("--labels", tmp_path / "run" / "labels.txt")
    truth = ("--annotations", data / "truth.json", "--images", data)
    scored = json.loads(call("eval", *weights, *labels, *truth, "--json").fits().out)
    assert scored["metrics"]["AP50"] == pytest.approx(report["metrics"]["AP50"])


def test_what_a_user_is_told(call, data: Path, tmp_path: Path) -> None:
    val = ("--val-annotations", data / "truth.json", "--val-images", data)
    outcome = call(*_train(data, tmp_path, *val, "--seed", 3)).fits()
    assert outcome.out == ""
    assert '"seed": 3' in outcome.err
    assert '"weight_decay": 0.0001' in outcome.err
    for words in ("loc ", "conf ", "lr 1.00e-02", "images/s", "ETA", "AP50"):
        assert words in outcome.err
    log = (tmp_path / "train.log").read_text().splitlines()
    assert set(log) <= set(outcome.err.splitlines())
    assert (tmp_path / "labels.txt").read_text() == "square\ndisc\n"
    rows = _history(tmp_path)
    assert [float(row["iteration"]) for row in rows if row["loss"]] == [1, 2, 3, 4, 5, 6]
    assert [float(row["epoch"]) for row in rows if row["AP"]] == [1, 2, 3]


def test_ctrl_c_leaves_a_run_that_goes_on_as_if_nothing_was(data: Path, tmp_path: Path) -> None:
    """With loader processes, to which a terminal sends the signal too."""
    program = [sys.executable, "-m", "ssd_small"]

    def arguments(output: Path, *more: object) -> list[str]:
        given = _train(data, output, "--workers", 2, "--epochs", 12, "--ema-decay", 0.9, *more)
        return [*program, *map(str, given)]

    stopped = tmp_path / "stopped"
    process = subprocess.Popen(
        arguments(stopped), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    while "iteration 5 " not in process.stderr.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume goes on" in err
    done = torch.load(stopped / "resume.pth", weights_only=True)["position"]["iteration"]
    assert 5 <= done < 24
    for output, more in ((stopped, ("--resume",)), (tmp_path / "whole", ())):
        subprocess.run(arguments(output, *more), check=True, capture_output=True, timeout=120)
    one, other = (read_state_dict(p / "last.pth") for p in (stopped, tmp_path / "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    losses = [[row["loss"] for row in _history(p)] for p in (stopped, tmp_path / "whole")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 24


def test_a_batch_system_s_signal_to_all_processes_leaves_a_run_to_go_on_with(
    data: Path, tmp_path: Path
) -> None:
    """SIGTERM to the whole group, as torchrun and batch systems send it."""
    given = _train(data, tmp_path, "--workers", 2, "--epochs", 100, "--eval-every", 0)
    process = subprocess.Popen(
        [sys.executable, "-m", "ssd_small", *map(str, given)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    while "iteration 2 " not in process.stderr.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "--resume goes on" in err
    state = torch.load(tmp_path / "resume.pth", weights_only=True)
    assert 2 <= state["position"]["iteration"] < 200


def test_a_damaged_image_ends_two_processes_without_a_traceback(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for file in data.glob("*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "5.png").write_bytes((data / "5.png").read_bytes()[:60])
    arguments = list(_train(data, tmp_path / "run", model="vgg16"))
    arguments[arguments.index("--images") + 1] = folder
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ssd_small")
    done = subprocess.run(
        [sys.executable, "-m", *launch, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "5.png" in done.stderr
    # torchrun's own report has a traceback, of ChildFailedError
    assert "RuntimeError" not in done.stderr, done.stderr


def test_two_processes_have_the_loss_curve_of_one(data: Path, tmp_path: Path) -> None:
    """VGG16 has no batch norm, so nothing depends on how a batch is shared."""
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ssd_small")
    rate, curves = ("--lr", 0.001, "--norm-scale", 2), {}
    for name, module in (("two", launch), ("one", ("ssd_small",))):
        given = _train(data, tmp_path / name, "--width", 0.01, *rate, "--json", model="vgg16")
        done = subprocess.run(
            [sys.executable, "-m", *module, *map(str, given)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("iteration 4 ") == 1, "one process speaks"
        curves[name] = [float(row["loss"]) for row in _history(tmp_path / name)]
    assert len(curves["one"]) == 6
    assert curves["one"][0] > 1.01 * curves["one"][-1]
    # seven digits are written; roundings of single precision over six updates
    assert curves["two"] == pytest.approx(curves["one"], rel=1e-4)


def _changed(truth: dict[str, Any], folder: Path) -> Path:
    path = folder / "changed.json"
    path.write_text(json.dumps(truth))
    return path


def _without_objects(truth: dict[str, Any]) -> None:
    truth["annotations"].clear()


def _with_a_missing_image(truth: dict[str, Any]) -> None:
    truth["images"].append({"id": 99, "file_name": "gone.png", "width": 9, "height": 9})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_objects, ("no object",)),
        (_with_a_missing_image, ("1 of 9 images", "gone.png")),
    ],
)
def test_annotations_that_cannot_be_trained_on(
    call, data: Path, tmp_path: Path, truth_of, change: Callable[..., None], words: tuple
) -> None:
    change(truth_of)
    arguments = list(_train(data, tmp_path / "run"))
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
    arguments = list(_train(data, tmp_path / "run", "--epochs", 1))
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
    folder.mkdir()
    for file in data.glob("*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "5.png").write_bytes((data / "5.png").read_bytes()[:60])
    arguments = list(_train(data, tmp_path / "run", "--workers", workers))
    arguments[arguments.index("--images") + 1] = folder
    call(*arguments).fails(4, "5.png")


def test_val_annotations_of_other_categories(call, data: Path, tmp_path: Path, truth_of) -> None:
    truth_of["categories"] = [{"id": i, "name": f"other {i}"} for i in (3, 8, 9)]
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    call(*_train(data, tmp_path / "run", *val)).fails(4, "3 categories", "2 classes")
    del truth_of["categories"][2]
    truth_of["annotations"].clear()
    val = ("--val-annotations", _changed(truth_of, tmp_path), "--val-images", data)
    call(*_train(data, tmp_path / "run", *val)).fails(4, "no category 'disc'", "truth.json")
    assert not (tmp_path / "run").exists()


def test_weights_with_other_classes(call, data: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(create_model("mobilenet_v1_s1l0", 7, 0.1).state_dict(), weights)
    given = ("--weights", weights, "--init-scope")
    call(*_train(data, tmp_path / "all", *given, "all")).fails(
        4, "does not fit", "7 classes", "--init-scope base"
    )
    outcome = call(*_train(data, tmp_path / "base", *given, "base", "--epochs", 1)).fits()
    assert f"from base of {weights}" in outcome.err


def test_options_that_do_not_go_together(call, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    call(*_train(data, run, "--minutes", 1)).fails(2, "epochs and minutes")
    call(*_train(data, run, "--init-scope", "all")).fails(2, "--init-scope all needs --weights")
    call(*_train(data, run, "--val-images", data)).fails(2, "go together")
    call(*_train(data, run, model="resnet")).fails(2, "unknown model 'resnet'")
    call(*_train(data, run, "--lr", "nan")).fails(2, "--lr")
    call(*_train(data, run, "--lr", 1e300)).fails(2, "lr 1e+300", "up to 1e+06")
    call(*_train(data, run, "--negative-ratio", 1e300)).fails(2, "negative_ratio 1e+300")
    call(*_train(data, run, "--seed", 2**64)).fails(2, "--seed")
    call(*_train(data, run, "--ema-decay", 1)).fails(2, "ema_decay 1.0", "between 0 and 1")
    call(*_train(data, run, "--batch", 1)).fails(2, "batch norm", "--batch 2")
    assert not run.exists()


def test_a_folder_that_holds_another_run(call, data: Path, tmp_path: Path) -> None:
    call(*_train(data, tmp_path, "--resume")).fails(4, "resume.pth", "No such file")
    call(*_train(data, tmp_path, "--epochs", 1)).fits()
    call(*_train(data, tmp_path, "--epochs", 1)).fails(2, "holds a run already", "--resume")
    other = tmp_path / "other"
    other.mkdir()
    (other / "best.pth").write_bytes(b"kept")
    call(*_train(data, other, "--epochs", 1)).fails(2, "best.pth of another run", "--output")
    assert [path.name for path in other.iterdir()] == ["best.pth"]
    again = _train(data, tmp_path, "--epochs", 1, "--resume")
    call(*again, "--lr", 0.5).fails(2, "lr is 0.5, was 0.01")
    call(*again, "--width", 0.2).fails(2, "width is 0.2, was 0.1")
    other = _train(data, tmp_path, "--epochs", 1, "--resume", model="mobilenet_v1_s1l0")
    call(*other).fails(2, "model is 'mobilenet_v1_s1l0', was 'mobilenet_v1'")


def test_an_output_that_cannot_be_written(call, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    call(*_train(data, tmp_path / "file" / "run")).fails(4, "is a file")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(call, data: Path, tmp_path: Path) -> None:
    call(*_train(data, tmp_path / "run", "--device", "cuda")).fails(3, "--device cpu")
