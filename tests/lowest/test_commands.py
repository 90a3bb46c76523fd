"""The commands from checkpoint to score, in whatever environment this Python belongs to.

``make test-lowest`` runs this where exactly the lower bounds of setup.cfg are installed, and with
other Pythons; ``make test-python`` where the newest releases are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import Outcome

pytestmark = pytest.mark.slow

for module in ("torch", "onnxscript", "onnxruntime", "cv2", "hotcoco"):
    pytest.importorskip(module, reason=f"needs {module}")

SHIPPED = "digits/mobilenet_v1_s1l0"
#: of assets/digits/checkpoints.json, for the data set that OpenCV 5 draws; older releases draw
#: some boxes by a pixel otherwise, so that `make test-lowest` brings that set along
AP, AP_ROUNDING = 0.4535, 1e-3
DIGITS = os.environ.get("SSD_SMALL_DIGITS")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def digits(folder: Path) -> Path:
    """Folder of the data set that the documented score is of."""
    if DIGITS is None:
        call(folder, "digits", "digits", "--train-images", "0").fits()
        return folder / "digits"
    return Path(DIGITS).resolve()


@pytest.fixture(scope="module")
def onnx_file(folder: Path) -> Path:
    path = folder / "x.onnx"
    call(folder, "export", "--weights", SHIPPED, "--preset", "coco", "-o", path).fits()
    return path


@pytest.fixture(scope="module")
def engine(folder: Path, onnx_file: Path) -> Path:
    path = folder / "x.engine"
    call(folder, "build-engine", onnx_file, "--target", "onnxruntime", "-o", path).fits()
    return path


def call(folder: Path, *arguments: object) -> Outcome:
    """The installed command, away from the checkout, on one thread."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ssd-small"), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("kind", ["engine", "onnx_file"])
def test_the_score_is_the_documented_one(
    kind: str, folder: Path, digits: Path, request: pytest.FixtureRequest
) -> None:
    data = ("--annotations", digits / "val.json", "--images", digits / "val")
    source = request.getfixturevalue(kind)
    report = call(folder, "eval", "--engine", source, *data, "--json").fits().json
    assert report["images"] == 100
    assert report["metrics"]["AP"] == pytest.approx(AP, abs=AP_ROUNDING)


def test_pictures_are_detected_in_the_same_by_engine_onnx_file_and_checkpoint(
    folder: Path, digits: Path, engine: Path, onnx_file: Path
) -> None:
    found = {}
    for options in (
        ("--engine", engine),
        ("--engine", onnx_file),
        ("--weights", SHIPPED),
    ):
        picture = digits / "val" / "000001.png"
        line = call(folder, "detect", picture, *options, "--score-threshold", 0.5, "--json").fits()
        found[options[1]] = [one["name"] for one in json.loads(line.out)["detections"]]
    assert len(found[engine]) >= 3
    assert found[engine] == found[onnx_file] == found[SHIPPED]


def test_half_precision_is_built_and_explained_by_the_heads(folder: Path, onnx_file: Path) -> None:
    options = ("--target", "onnxruntime", "--precision", "fp16", "-o", folder / "half.engine")
    built = call(folder, "build-engine", onnx_file, *options, "--json").fits().json
    check = built["checks"]["fp16_against_fp32"]
    assert built["receipt"]["half_share"] > 0.9
    assert check["detections"]["unexplained"] == 0


if find_spec("openvino") is not None:

    def test_an_openvino_engine_gives_the_documented_score(
        folder: Path, digits: Path, onnx_file: Path
    ) -> None:
        path = folder / "openvino.engine"
        options = ("--target", "openvino", "-o", path, "--json")
        built = call(folder, "build-engine", onnx_file, *options).fits().json
        assert set(built["receipt"]["executed"]) == {"fp32"}
        data = ("--annotations", digits / "val.json", "--images", digits / "val")
        report = call(folder, "eval", "--engine", path, *data, "--json").fits().json
        assert report["metrics"]["AP"] == pytest.approx(AP, abs=AP_ROUNDING)


if find_spec("tensorrt_rtx") is not None:  # there is one for few systems

    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_tensorrt_rtx_engine_is_built(precision: str, folder: Path, onnx_file: Path) -> None:
        options = ("--target", "tensorrt-rtx", "--compute-capability", "8.6", "--heads")
        output = ("--precision", precision, "-o", folder / f"rtx.{precision}.engine")
        built = call(folder, "build-engine", onnx_file, *options, *output, "--json").fits().json
        assert built["engine"]["bytes"] > 1e6


if find_spec("uvicorn"):

    def test_pictures_are_answered_over_http(folder: Path, digits: Path, engine: Path) -> None:
        from serve_process import form, serving

        picture = sorted((digits / "val").iterdir())[0]
        found = json.loads(call(folder, "detect", "--engine", engine, "--json", picture).out)
        with serving(engine, folder=folder) as running:
            answer = running.ask("POST", "/v1/detect", **form(picture.read_bytes()))
            assert (answer.status, answer.json) == (200, found | {"image": "a.jpg"})
            assert running.ask("GET", "/metrics").status == 200


def test_the_engine_is_timed(folder: Path, engine: Path) -> None:
    report = call(folder, "bench", "--engine", engine, "--seconds", 0.2, "--json").fits().json
    assert [row["runtime"].split()[0] for row in report["results"]] == ["torch", "onnxruntime"]
    assert all(row["total_ms"]["median"] > 0 for row in report["results"])


if find_spec("ray") is not None:  # an extra of its own

    def test_pictures_are_done_shard_by_shard_in_one_process_and_on_ray(
        folder: Path, digits: Path, engine: Path
    ) -> None:
        pictures = sorted((digits / "val").iterdir())[:6]
        run = ("batch", engine, *pictures, "--shard-size", 2, "-o")
        call(folder, *run, folder / "one").fits()
        call(folder, *run, folder / "ray", "--ray", "--workers", 1).fits()
        for name in ("00000", "00001", "00002"):
            shard = Path("shards", f"{name}.parquet")
            assert (folder / "one" / shard).read_bytes() == (folder / "ray" / shard).read_bytes()


def test_faults_of_usage_are_one_line(folder: Path) -> None:
    call(folder, "detect").fails(2, "Missing argument")
    call(folder, "--nonsense").fails(2, "--nonsense")
    call(folder, "export", "--opset", "99", "-o", "x.onnx").fails(2, "99")
    assert call(folder).code == 2
    assert call(folder, "models").fits().out
