"""``--input-size``: from training or export at another size to detections, asked once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome

torch = pytest.importorskip("torch")
for module in ("onnx", "onnxscript", "onnxruntime", "torchvision", "hotcoco", "cv2"):
    pytest.importorskip(module, reason=f"needs {module}")

from ssd_small.bench import run  # noqa: E402
from ssd_small.cli.opening import load_network  # noqa: E402
from ssd_small.models.spec import ModelSpec  # noqa: E402

Call = Callable[..., Outcome]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("traced_once")]


@pytest.mark.parametrize(("asked", "size"), [("512", (512, 512)), ("320x240", (320, 240))])
def test_an_engine_of_another_size_finds_what_the_network_does(
    call: Call, checkpoint: Path, pictures: Path, tmp_path: Path, asked: str, size: tuple[int, int]
) -> None:
    width, height = size
    onnx, engine = tmp_path / "m.onnx", tmp_path / "m.engine"
    made = call(
        *("export", "--model", "mobilenet_v1", "--weights", checkpoint),
        *("--input-size", asked, "-o", onnx),
    ).fits()
    assert f"note: mobilenet_v1 at {width}x{height}, " in made.err
    assert "published figures are of 300x300" in made.err
    call("build-engine", onnx, "--target", "onnxruntime", "-o", engine).fits()
    told = call("inspect", engine, "--json").fits().json
    assert (told["preprocessing"]["width"], told["preprocessing"]["height"]) == size
    assert told["network"]["IMAGE_SIZE"] == [height, width]
    found = call("detect", "--engine", engine, pictures, "--json", "--score-threshold", "0.01")
    assert all(json.loads(line)["width"] == 80 for line in found.fits().out.splitlines())
    call("parity", engine, "--against", onnx, "--images", pictures).fits()


def test_a_trained_size_is_in_the_checkpoint(call: Call, data: Path, tmp_path: Path) -> None:
    folder, onnx = tmp_path / "run", tmp_path / "m.onnx"
    small = ("--width", "0.1", "--batch", "2", "--iterations", "1", "--workers", "0")
    call(
        *("train", "--model", "mobilenet_v1", "--input-size", "160x128", *small),
        *("--annotations", data / "truth.json", "--images", data, "-o", folder, "--threads", "1"),
    ).fits()
    best = folder / "last.pth"
    told = call("inspect", best, "--json").fits().json
    assert (told["preprocessing"]["width"], told["preprocessing"]["height"]) == (160, 128)
    picture = next(data.glob("*.png"), None) or next(data.glob("*.jpg"))
    call("detect", "--weights", best, picture, "--json").fits()
    asked = ("export", "--weights", best, "-o", onnx)
    refused = call(*asked, "--input-size", "300")
    refused.fails(2, "was trained at an input of 160x128, not 300x300; leave --input-size out")
    # saying again what it knows is no fault
    net, _ = load_network("mobilenet_v1", best, None, None, None, input_size=(128, 160))
    assert net.spec.input_size == (128, 160)
    # a network of another size may start from it
    again = (*("train", "--weights", best, "--input-size", "128"), *small, "--print-config")
    shown = call(*again, "--annotations", data / "truth.json", "--images", data).fits().out
    assert "IMAGE_SIZE: [128, 128]" in shown or "IMAGE_SIZE:\n  - 128\n  - 128" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "vgg16", "--random-weights", "--input-size", "320x240"), "0x1 cells"),
        (("--model", "vgg16", "--random-weights", "--input-size", "big"), "no size of an input"),
        (("--model", "vgg16", "--random-weights", "--input-size", "9000"), "1 to 8192"),
        (("--weights", "digits", "--input-size", "512"), "was trained at an input of 300x300"),
    ],
)
def test_a_size_that_cannot_be_is_refused_in_a_line(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    from ssd_small.models.shipped import shipped_checkpoints

    known = [word if word != "digits" else shipped_checkpoints()[0].name for word in arguments]
    call("export", *known, "-o", tmp_path / "m.onnx").fails(2, says)


def test_bench_makes_networks_of_that_size(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ModelSpec] = []
    monkeypatch.setattr(run, "bench_model", lambda spec, *_, **__: made.append(spec) or ())
    call("bench", "--model", "mobilenet_v1", "--input-size", "128x160").fits()
    assert [spec.input_size for spec in made] == [(160, 128)]
    call("bench", "--engine", tmp_path / "x.engine", "--input-size", "512").fails(
        2, "--input-size goes with --model"
    )
