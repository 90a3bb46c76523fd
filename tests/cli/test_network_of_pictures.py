"""``export --input uint8``: each command takes a network of pictures as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
for module in ("onnx", "onnxscript", "onnxruntime", "pycocotools"):
    pytest.importorskip(module, reason=f"needs {module}")

import ssd_small  # noqa: E402

Call = Callable[..., Outcome]
#: width and height of pictures, which alternate
SIZES = ((320, 240), (300, 300), (200, 400))
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("traced_once")]


@pytest.fixture
def export(call: Call, checkpoint: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """Function: export the small network, with more options; writes m.onnx."""
    given = ("--model", "mobilenet_v1", "--weights", checkpoint, "-o", tmp_path / "m.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    return lambda *more: call("export", *given, "--labels", labels, *more)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Pictures of noise; sizes by turns."""
    paths = []
    for number in range(7):
        width, height = SIZES[number % len(SIZES)]
        coarse = np.random.default_rng(number).integers(0, 256, (height // 20, width // 20, 3))
        path = tmp_path / f"{number}.png"
        assert cv2.imwrite(str(path), cv2.resize(coarse.astype(np.uint8), (width, height)))
        paths.append(path)
    return paths


def test_pictures_of_all_sizes_are_detected_in_their_order(
    export: Call, call: Call, pictures: list[Path], tmp_path: Path
) -> None:
    """Batches are of one size; what is found stands in the order asked for, and is the usual."""
    found = {}
    for kind in ("float32", "uint8"):
        export("--input", kind, "--preset", "coco").fits()
        with ssd_small.load(tmp_path / "m.onnx", max_batch=4, threads=1) as detector:
            found[kind] = list(detector.stream(pictures))
    for path, usual, own in zip(pictures, found["float32"], found["uint8"], strict=True):
        width, height = cv2.imread(str(path)).shape[1::-1]
        assert (own.width, own.height) == (width, height)
        assert len(own.scores) == len(usual.scores)
        # a grey level here and there
        np.testing.assert_allclose(own.scores, usual.scores, atol=0.02)
        if (width, height) == (300, 300):
            np.testing.assert_allclose(own.scores, usual.scores, atol=1e-3)


def test_every_command_takes_it(
    export: Call, call: Call, pictures: list[Path], tmp_path: Path
) -> None:
    export("--input", "uint8").fits()
    onnx_file, engine = tmp_path / "m.onnx", tmp_path / "m.engine"
    call("build-engine", onnx_file, "--target", "onnxruntime", "-o", engine).fits()
    for file in (onnx_file, engine):
        told = call("inspect", file, "--json").fits().json
        assert told["input"] == {
            "type": "uint8",
            "layout": "NHWC",
            "color_order": "BGR",
            "height": None,
            "width": None,
        }
        (images,) = (one for one in told["tensors"] if one["mode"] == "input")
        assert images["type"] == "UINT8"
        assert images["shape"][1:] == ["height", "width", 3]
        shown = call("inspect", file).fits().out
        assert "pictures as they are, uint8 NHWC BGR, any size; inside made to 300x300" in shown
        assert call("doctor", file).code == 0
        detected = call("detect", "--engine", file, *pictures, "--json", "--threads", 1).fits()
        lines = [json.loads(line) for line in detected.out.splitlines()]
        assert [Path(line["image"]) for line in lines] == pictures
        timed = call("bench", "--engine", file, "--seconds", 0, "--threads", 1, "--json")
        assert timed.fits().json["results"]


def test_a_network_of_one_size_refuses_pictures_of_others(
    export: Call, call: Call, pictures: list[Path], tmp_path: Path
) -> None:
    export("--input", "uint8", "--picture-size", "320x240").fits()
    file = tmp_path / "m.onnx"
    assert "UINT8   batch 240 320 3" in call("inspect", file).fits().out
    assert call("doctor", file).code == 0
    call("bench", "--engine", file, "--seconds", 0, "--threads", 1).fits()
    call("detect", "--engine", file, pictures[0], "--threads", 1).fits()
    refused = call("detect", "--engine", file, *pictures[:2], "--threads", 1)
    words = (
        f"image {pictures[1]}: a picture of 300x300 pixels; this network takes pictures of 320x240"
    )
    refused.fails(4, words)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--picture-size", "10x10"), "--picture-size goes with --input uint8"),
        (("--input", "uint8", "--picture-size", "0x0"), "'0x0' is no size"),
        (("--input", "uint8", "--picture-size", "10"), "'10' is no size; expected one such as"),
        (("--input", "uint8", "--picture-size", "9000x9000"), "takes at most 67108864 pixels"),
        (("--input", "int8"), "'int8' is not one of"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(
    options: tuple[str, ...], reason: str, export: Call, tmp_path: Path
) -> None:
    outcome = export(*options)
    assert outcome.code == 2
    assert reason in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("size", "options", "reason"),
    [
        ("any", ("onnxruntime", "--opt-picture", "10x10"), "does not go with --target onnxruntime"),
        ("any", ("tensorrt-rtx", "--opt-picture", "4000x10"), "expected at most the max-picture"),
        ("any", ("tensorrt-rtx", "--max-batch", "99"), "max-batch 99: expected 1 to 86 with an"),
        ("320x240", ("tensorrt-rtx", "--opt-picture", "10x10"), "this one takes 320x240 only"),
        ("float32", ("tensorrt-rtx", "--max-picture", "10x10"), "this one takes 300x300 only"),
    ],
)
def test_a_size_to_build_for_that_makes_no_sense_is_refused(
    size: str, options: tuple[str, ...], reason: str, export: Call, call: Call, tmp_path: Path
) -> None:
    if options[0] == "tensorrt-rtx":
        pytest.importorskip("tensorrt_rtx")
    more = {"any": ("--input", "uint8"), "float32": ()}
    export(*more.get(size, ("--input", "uint8", "--picture-size", size)), "--heads").fits()
    command = ("build-engine", tmp_path / "m.onnx", "--heads", "--target", *options)
    outcome = call(*command, "-o", tmp_path / "m.engine")
    assert outcome.code == 2, outcome.err
    assert reason in outcome.err
    assert not (tmp_path / "m.engine").exists()


@pytest.mark.parametrize("ends", [("--heads",), ("--inline",), ()])
def test_half_precision_finds_what_whole_precision_finds(
    ends: tuple[str, ...], export: Call, call: Call, pictures: list[Path], tmp_path: Path
) -> None:
    """The preprocessing is taken off, the network halved, and preprocessing put before it again."""
    export("--input", "uint8", "--preset", "coco", *ends).fits()
    found = []
    for precision in ("fp32", "fp16"):
        engine = tmp_path / f"{precision}.engine"
        options = ("--target", "onnxruntime", "--precision", precision, "-o", engine)
        done = call("build-engine", tmp_path / "m.onnx", *options)
        if ends == ("--inline",) and done.code:
            pytest.skip(f"not executed here: {done.err}")
        done.fits()
        with ssd_small.load(engine, threads=1) as detector:
            found.append([one.scores[:5] for one in detector(pictures)])
            sizes = detector.description.pictures
            assert sizes is not None
            assert sizes.size is None
    for whole, half in zip(*found, strict=True):
        # a softmax of logits within 1 % of their size, which are below 5 here
        np.testing.assert_allclose(half, whole, atol=0.05)


def test_scores_of_a_set_are_the_usual_ones(
    export: Call, call: Call, pictures: list[Path], tmp_path: Path
) -> None:
    images = [
        {"id": n, "file_name": path.name, "height": SIZES[n % 3][1], "width": SIZES[n % 3][0]}
        for n, path in enumerate(pictures)
    ]
    boxes = [
        {
            "id": n + 1,
            "image_id": n,
            "category_id": 1 + n % 2,
            "bbox": [20, 30, 90, 80],
            "area": 7200,
        }
        for n in range(len(pictures))
    ]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    truth = tmp_path / "truth.json"
    truth.write_text(
        json.dumps(
            {
                "images": images,
                "annotations": [b | {"iscrowd": 0} for b in boxes],
                "categories": names,
            }
        )
    )
    scores = []
    for kind in ("float32", "uint8"):
        export("--input", kind, "--preset", "coco").fits()
        where = ("--annotations", truth, "--images", tmp_path, "--threads", 1, "--json")
        scores.append(call("eval", "--engine", tmp_path / "m.onnx", *where).fits().json["metrics"])
    for name, value in scores[0].items():
        assert scores[1][name] == pytest.approx(value, abs=0.002), name
