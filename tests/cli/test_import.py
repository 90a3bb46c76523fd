"""``ssd-small import``: what other commands do with what it writes, and what it refuses."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("cv2")

import foreign_networks as foreign  # noqa: E402

Call = Callable[..., Outcome]
State = dict[str, Any]


@pytest.fixture(scope="module")
def state() -> State:
    """torchvision's smaller detector, of 4 classes."""
    net = foreign.torchvision_network("ssdlite320_mobilenet_v3_large", 4, 1)
    return dict(net.state_dict())


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "theirs.pth"
        torch.save(content, path)
        return path

    return write


@pytest.fixture
def imported(state: State, save: Any, call: Call, tmp_path: Path) -> Path:
    (tmp_path / "names.txt").write_text("A\nB\nC\n")
    out = tmp_path / "x.pth"
    call("import", save(state), "--labels", tmp_path / "names.txt", "-o", out).fits()
    return out


def test_it_says_what_it_saw_and_what_it_took_for_granted(
    state: State, save: Any, call: Call, tmp_path: Path
) -> None:
    done = call("import", save(state), "-o", tmp_path / "x.pth", "--json").fits()
    said = json.loads(done.out)
    assert (said["project"], said["network"]) == ("torchvision", "ssdlite320_mobilenet_v3_large")
    assert said["description"]["num_classes"] == 4
    assert "without names: pass --labels, 3234 prior boxes" in done.err.replace(")", "")
    assert "taken for granted: an input of 320x320 (else --input-size)" in done.err


@pytest.mark.slow
def test_other_commands_take_it_without_being_told_the_network(
    imported: Path, call: Call, pictures: Path, tmp_path: Path
) -> None:
    found = call("detect", "--weights", imported, pictures / "a.jpg", "--json").fits()
    assert len(json.loads(found.out.splitlines()[0])["detections"]) >= 0
    said = json.loads(call("inspect", imported, "--json").fits().out)
    assert said["model"] == "torchvision_ssdlite320_mobilenet_v3_large"
    own = said["postprocess"]
    assert (own["iou_threshold"], own["keep_topk"], own["clip_boxes"]) == (0.55, 300, True)
    assert said["preprocessing"]["resize"] == "float32"
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate("ABC")],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 30, 30], "area": 900,
             "iscrowd": 0}
        ],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    call(
        *("eval", "--weights", imported, "--annotations", tmp_path / "truth.json"),
        *("--images", pictures, "--json"),
    ).fits()


@pytest.mark.slow
def test_training_starts_from_it(imported: Path, call: Call, tmp_path: Path) -> None:
    data = tmp_path / "digits"
    call("digits", data, "--train-images", 2, "--val-images", 1).fits()
    learn = (
        *("train", "--weights", imported, "--annotations", data / "train.json"),
        *("--images", data / "train", "--batch", 2, "--workers", 0, "-o", tmp_path / "run"),
    )
    done = call(*learn, "--iterations", 1).fits()
    assert "took 394 of 406 tensors" in done.out + done.err
    call("train", "--resume", "-o", tmp_path / "run").fits()
    said = json.loads(call("inspect", tmp_path / "run" / "last.pth", "--json").fits().out)
    assert said["model"] == "torchvision_ssdlite320_mobilenet_v3_large"
    assert said["num_classes"] == 11


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "args": argparse.Namespace(lr=0.1), "epoch": 2},
        lambda state: {f"module.{k}" if i % 2 else k: v for i, (k, v) in enumerate(state.items())},
        lambda state: {"model_state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {
            f"{('net.', '1.', '')[i % 3]}{k}": v for i, (k, v) in enumerate(state.items())
        },
    ],
    ids=["with the options of a trainer", "some of DDP", "all of DDP", "of several kinds"],
)
def test_what_trainers_write_around_it_is_taken_off(
    wrap: Any, state: State, save: Any, call: Call, tmp_path: Path
) -> None:
    call("import", save(wrap(state)), "-o", tmp_path / "x.pth").fits()


def test_safetensors(state: State, call: Call, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    library.save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "x.safetensors")
    call("import", tmp_path / "x.safetensors", "-o", tmp_path / "x.pth").fits()


def _without(state: State, part: str) -> State:
    return {key: value for key, value in state.items() if part not in key}


STEM = "backbone.features.0.0.0.weight"
REFUSED = {
    "another family": (lambda s: s, ("--from", "nvidia"), 4, "is of torchvision's ssdlite320"),
    "no such model": (lambda s: s, ("--model", "resnet"), 2, "no project has one of that name"),
    "no such table": (lambda s: s, ("--priors", "voc"), 2, "has one table of prior boxes"),
    "some tensors": (lambda s: _without(s, "features.0.5."), (), 4, "19 of its 476 tensors differ"),
    "no heads": (lambda s: _without(s, "head."), (), 4, "has not the keys of a network"),
    "a classifier": (
        lambda s: {"features.0.weight": s[STEM], "classifier.0.weight": s[STEM]},
        (),
        4,
        "looks like a checkpoint of torchvision's VGG or MobileNet classifier",
    ),
    "not finite": (lambda s: s | {STEM: s[STEM] / 0}, (), 4, f"{STEM} holds NaN or infinite"),
    "other names": (lambda s: s, ("--labels", "NAMES"), 2, "2 labels for 4 classes"),
    "a width": (lambda s: s, ("--input-size", "0"), 2, "'0' is no size of an input"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, state: State, save: Any, call: Call, tmp_path: Path) -> None:
    change, options, code, words = REFUSED[name]
    (tmp_path / "names").write_text("A\nB\n")
    given = [tmp_path / "names" if one == "NAMES" else one for one in options]
    done = call("import", save(change(state)), *given, "-o", tmp_path / "x.pth")
    done.fails(code, words)
    assert not (tmp_path / "x.pth").exists()


@pytest.mark.slow
def test_what_is_a_checkpoint_here_needs_no_import(
    imported: Path, call: Call, tmp_path: Path
) -> None:
    for project in ("auto", "published"):
        done = call("import", imported, "--from", project, "-o", tmp_path / "y.pth")
        done.fails(2, "is a checkpoint of ssd-small")


def test_a_published_checkpoint_is_given_its_name(
    checkpoint: Path, call: Call, tmp_path: Path
) -> None:
    """Siblings have the same keys, so nobody can tell but the user."""
    call("import", checkpoint, "--from", "published", "-o", tmp_path / "y.pth").fails(2, "--model")
    given = ("--from", "published", "--model", "mobilenet_v1", "-o", tmp_path / "y.pth")
    call("import", checkpoint, *given).fits()
    said = json.loads(call("inspect", tmp_path / "y.pth", "--json").fits().out)
    assert (said["model"], said["num_classes"]) == ("mobilenet_v1", 3)


def test_a_published_network_was_trained_at_some_size(
    checkpoint: Path, call: Call, tmp_path: Path
) -> None:
    """Which weights cannot tell, so it is taken for granted and said, or given."""
    given = ("--from", "published", "--model", "mobilenet_v1", "-o", tmp_path / "y.pth")
    done = call("import", checkpoint, *given).fits()
    assert "taken for granted: an input of 300x300 (else --input-size)" in done.err
    done = call("import", checkpoint, *given, "--input-size", "640x480").fits()
    assert "an input of 640x480: published figures are of 300x300" in done.err
    said = json.loads(call("inspect", tmp_path / "y.pth", "--json").fits().out)
    assert [said["preprocessing"][side] for side in ("width", "height")] == [640, 480]
    line = call("import", checkpoint, *given, "--priors", "voc").fails(2, "for other projects")
    assert "--priors" in line
