"""``ssd-small triton``: the repository that it writes, as Triton's own messages read it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from command_line import Outcome
from google.protobuf import text_format
from sidecars import sidecar_for
from tritonclient.grpc import model_config_pb2

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.build_record import BatchRange, EngineFile
from ssd_small.artefacts.description import Description
from ssd_small.artefacts.onnx_file import read_onnx
from ssd_small.artefacts.sidecar import sidecar_path
from ssd_small.json_files import write_json
from ssd_small.pictures.preprocessing import PictureInput

pytestmark = pytest.mark.slow

Call = Callable[..., Outcome]
PLUGIN_FILES = {"libssd_small_plugin.so", "libssd_small_plugin_dlopen.so"}


def config_of(folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def plan(onnx_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """Function: a file with the sidecar of a plan; what is in it no test here executes."""
    _, description = read_onnx(onnx_file)

    def write(
        target: str = "tensorrt",
        describe: Callable[[Description], Description] = replace,
        batch: tuple[int, int, int] = (1, 4, 6),
        **options: Any,
    ) -> Path:
        path = tmp_path / "net.engine"
        path.write_bytes(b"plan")
        sidecar = sidecar_for(
            describe(description),
            target=target,
            engine=EngineFile(path.name, sha256(b"plan").hexdigest(), 4),
            batch=BatchRange(*batch),
            options=BuildOptions(target, **options),  # type: ignore[arg-type]
        )
        write_json(sidecar_path(path), sidecar.to_dict())
        return path

    return write


@pytest.fixture
def with_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files by the names of the plugin's, which no test here loads."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name in PLUGIN_FILES:
        (folder / name).write_text(name)
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(folder / "libssd_small_plugin.so"))


# --- what is written


def test_an_onnx_file_becomes_a_model_of_its_name(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    call("triton", onnx_file, "-o", tmp_path / "models").fits()
    folder = tmp_path / "models" / onnx_file.stem
    assert (folder / "1" / "model.onnx").read_bytes() == onnx_file.read_bytes()
    assert (folder / "labels.txt").read_text() == "background\ncat\ndog\n"
    config = config_of(folder)
    assert (config.name, config.platform, config.max_batch_size) == ("m", "onnxruntime_onnx", 8)
    assert list(config.input[0].dims) == [3, 300, 300]
    number, boxes, scores, labels, priors = config.output
    assert (number.name, list(number.dims)) == ("num_detections", [1])
    assert number.HasField("reshape")
    assert not number.reshape.shape
    rows = 200
    assert [list(one.dims) for one in (boxes, scores, labels, priors)] == [
        [rows, 4], [rows], [rows], [rows],
    ]  # fmt: skip
    assert labels.label_filename == "labels.txt"
    assert config.HasField("dynamic_batching")
    assert [one.batch_size for one in config.model_warmup] == [1, 8]
    assert not config.optimization.cuda.graphs


def test_outputs_have_the_shapes_that_the_network_gives(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    call("triton", onnx_file, "-o", tmp_path / "models").fits()
    folder = tmp_path / "models" / "m"
    config, warmup = config_of(folder), config_of(folder).model_warmup[0]
    given = np.frombuffer((folder / "warmup" / "picture").read_bytes(), np.float32)
    images = given.reshape(1, *warmup.inputs["images"].dims)
    session = onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"))
    found = session.run([one.name for one in config.output], {"images": images})
    for one, value in zip(config.output, found, strict=True):
        own = list(one.reshape.shape) if one.HasField("reshape") else list(one.dims)
        assert list(value.shape) == [1, *own]
        assert {1: "float32", 6: "int32"}[{11: 1, 8: 6}[one.data_type]] == value.dtype.name


def test_the_description_travels_as_a_parameter(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    call("triton", onnx_file, "-o", tmp_path / "models", "--name", "other").fits()
    told = config_of(tmp_path / "models" / "other").parameters
    _, description = read_onnx(onnx_file)
    assert json.loads(told["ssd_small"].string_value) == description.to_dict()
    assert told["onnx_sha256"].string_value == sha256(onnx_file.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["net v1.2", "Zähler", "$(x)"])
def test_the_name_of_a_file_is_that_of_the_model(
    name: str, call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    source = tmp_path / f"{name}.onnx"
    shutil.copy(onnx_file, source)
    call("triton", source, "-o", tmp_path / "models").fits()
    assert config_of(tmp_path / "models" / name).name == name


def test_an_engine_of_onnxruntime_is_served_as_its_model(
    call: Call, engine: Path, tmp_path: Path
) -> None:
    outcome = call("triton", engine, "-o", tmp_path / "models", "--name", "x", "--json").fits()
    folder = tmp_path / "models" / "x"
    assert (folder / "1" / "model.onnx").read_bytes() == engine.read_bytes()
    most = json.loads(sidecar_path(engine).read_text())["batch"]["max"]
    config = config_of(folder)
    assert (config.max_batch_size, config.backend) == (most, "onnxruntime")
    assert config.parameters["target"].string_value == "onnxruntime"
    assert outcome.json["models"] == ["x"]
    assert all(Path(path).is_file() for path in outcome.json["files"])


def test_a_plan_comes_with_its_plugin_graphs_and_both_ways_to_start(
    call: Call, plan: Callable[..., Path], tmp_path: Path, with_plugin: None
) -> None:
    outcome = call("triton", plan(), "-o", tmp_path / "models").fits()
    folder = tmp_path / "models" / "net"
    assert (folder / "1" / "model.plan").read_bytes() == b"plan"
    assert {path.name for path in (folder / "plugins").iterdir()} == PLUGIN_FILES
    config = config_of(folder)
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 6)
    assert list(config.dynamic_batching.preferred_batch_size) == [4]
    assert config.instance_group[0].kind == 0  # KIND_AUTO: every GPU
    assert config.optimization.cuda.graphs
    assert [one.batch_size for one in config.optimization.cuda.graph_spec] == [1, 2, 4, 6]
    file = folder.absolute() / "plugins" / "libssd_small_plugin_dlopen.so"
    assert f"--backend-config=tensorrt,plugins={file}" in outcome.out
    assert f"LD_PRELOAD={file}" in outcome.out
    assert outcome.out.count("tritonserver --model-repository") == 4  # two here, two in containers
    for line in outcome.out.splitlines():
        if "tritonserver" in line:
            assert line.strip() in (folder / "README.md").read_text()


def test_no_name_becomes_a_command_of_the_shell(
    call: Call, plan: Callable[..., Path], tmp_path: Path, with_plugin: None
) -> None:
    name = "a$(touch hit)`touch hit`;b"
    outcome = call("triton", plan(), "-o", tmp_path / "m", "--name", name, "--json").fits()
    for line in outcome.json["start"]:
        words = shlex.split(line)
        assert any(name in word for word in words)
        done = subprocess.run(
            ["sh", "-c", line.replace("tritonserver ", "true ").replace("docker run", "true")],
            cwd=tmp_path, capture_output=True, check=False,
            env={"PATH": os.environ["PATH"]}, timeout=20,
        )  # fmt: skip
        assert done.returncode == 0
    assert not (tmp_path / "hit").exists()


def test_a_plan_of_heads_needs_no_plugin(
    call: Call, plan: Callable[..., Path], tmp_path: Path
) -> None:
    path = plan(describe=lambda one: one.with_decode_nms(False))
    outcome = call("triton", path, "-o", tmp_path / "models").fits()
    folder = tmp_path / "models" / "net"
    assert not (folder / "plugins").exists()
    assert [one.name for one in config_of(folder).output] == ["loc", "conf"]
    assert "plugins" not in outcome.out


def test_pictures_of_any_size_have_open_sides_and_a_warmup_of_one(
    call: Call, plan: Callable[..., Path], tmp_path: Path
) -> None:
    path = plan(
        describe=lambda one: replace(one.with_decode_nms(False), pictures=PictureInput()),
        opt_picture=(48, 64), max_picture=(96, 96),
    )  # fmt: skip
    call("triton", path, "-o", tmp_path / "models").fits()
    config = config_of(tmp_path / "models" / "net")
    assert list(config.input[0].dims) == [-1, -1, 3]
    assert list(config.model_warmup[0].inputs["images"].dims) == [48, 64, 3]
    size = (tmp_path / "models" / "net" / "warmup" / "picture").stat().st_size
    assert size == 48 * 64 * 3


def test_an_ensemble_names_tensors_that_its_models_have(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    call("triton", onnx_file, "-o", tmp_path / "models", "--ensemble").fits()
    models = {path.name: config_of(path) for path in (tmp_path / "models").iterdir()}
    assert set(models) == {"m", "m_preprocess", "m_pixels", "m_ensemble"}
    ensemble = models["m_ensemble"]
    known = {one.name: (one.data_type, list(one.dims)) for one in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        own = models[step.model_name]
        for one in own.input:
            assert known[step.input_map[one.name]] == (one.data_type, list(one.dims))
        for one in own.output:
            known[step.output_map[one.name]] = (one.data_type, list(one.dims))
    for one in ensemble.output:
        assert known[one.name] == (one.data_type, list(one.dims))
    assert (tmp_path / "models" / "m_ensemble" / "1").is_dir()


def test_the_steps_in_python_run_in_the_environment_that_is_named(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    words = ("triton", onnx_file, "-o", tmp_path / "models", "--ensemble")
    call(*words, "--python-env", "/opt/env", "--max-pixels", 1000).fits()
    for step in ("preprocess", "pixels"):
        told = config_of(tmp_path / "models" / f"m_{step}").parameters
        assert told["EXECUTION_ENV_PATH"].string_value == "/opt/env"
        assert told["max_pixels"].string_value == "1000"


def test_an_ensemble_of_the_network_before_is_told_of(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    words = ("triton", onnx_file, "-o", tmp_path / "models")
    assert "note: m_ensemble" not in call(*words).fits().err
    assert "note: m_ensemble" not in call(*words, "--ensemble").fits().err
    assert "note: m_ensemble was written for the network before" in call(*words).fits().err


def test_a_repository_whose_name_is_no_text_has_its_bytes_in_the_lines(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    repository = tmp_path / os.fsdecode(b"m\xff")
    call("triton", onnx_file, "-o", repository).fits()
    assert os.fsencode(repository) in (repository / "m" / "README.md").read_bytes()


# --- older containers


@pytest.mark.parametrize(
    ("options", "opset", "ir_version", "functions"),
    [
        (("--opset", 17), 17, None, 1),
        (("--opset", 16, "--ir-version", 8), 16, 8, 1),
        (("--inline", "--ir-version", 7, "--opset", 15), 15, 7, 0),
    ],
)
def test_a_file_for_an_older_container_computes_the_same_bits(
    options: tuple[Any, ...], opset: int, ir_version: int | None, functions: int,
    call: Call, onnx_file: Path, tmp_path: Path,
) -> None:  # fmt: skip
    call("triton", onnx_file, "-o", tmp_path / "models", *options).fits()
    path = tmp_path / "models" / "m" / "1" / "model.onnx"
    model = onnx.load(path)
    assert {one.version for one in model.opset_import if one.domain in ("", "ai.onnx")} == {opset}
    assert ir_version in (None, model.ir_version)
    assert len(model.functions) == functions
    images = np.random.default_rng(1).normal(0, 60, (2, 3, 300, 300)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(str(one)).run(None, {"images": images})
        for one in (onnx_file, path)
    )
    assert all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))


def test_changes_that_change_the_outputs_are_refused(
    call: Call, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.serving.triton import older_onnx

    def other(model: Any, opset: int) -> Any:
        for weights in model.graph.initializer:
            if len(weights.dims) == 4:
                weights.raw_data = bytes(len(weights.raw_data))
        return model

    monkeypatch.setattr(older_onnx.onnx.version_converter, "convert_version", other)
    outcome = call("triton", onnx_file, "-o", tmp_path / "models", "--opset", 18)
    outcome.fails(1, "is another")
    assert not (tmp_path / "models").exists()


def test_functions_in_a_format_without_them_are_refused(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    call("triton", onnx_file, "-o", tmp_path / "models", "--ir-version", 7).fails(2, "--inline")
    assert not (tmp_path / "models").exists()


# --- what is refused, and what is left alone


def test_a_plan_of_tensorrt_rtx_is_refused_in_one_line(
    call: Call, plan: Callable[..., Path], tmp_path: Path
) -> None:
    outcome = call("triton", plan("tensorrt-rtx"), "-o", tmp_path / "models")
    outcome.fails(2, "TensorRT for RTX", "--target tensorrt")
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-batch", 7), ("--max-batch 7", "at most 6")),
        (("--opset", 17), ("--opset does not go with",)),
        (("--inline",), ("--inline does not go with",)),
        (("--device", "cpu"), ("--device cpu", "GPU only")),
        (("--python-env", "x"), ("--python-env goes with --ensemble",)),
        (("--ensemble", "--python-env", "a\nb"), ("a path that is text",)),
        (("--name", "../x"), ("--name '../x'",)),
        (("--name", ""), ("--name ''",)),
        (("--name", ".x"), ("--name '.x'",)),
        (("--name", "a\nb"), ("--name 'a",)),
        (("--name", "x" * 101), ("at most 100",)),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    options: tuple[Any, ...], words: tuple[str, ...],
    call: Call, plan: Callable[..., Path], tmp_path: Path,
) -> None:  # fmt: skip
    call("triton", plan(), "-o", tmp_path / "models", *options).fails(2, *words)
    assert not (tmp_path / "models").exists()


def test_a_plan_that_takes_no_single_picture_is_refused(
    call: Call, plan: Callable[..., Path], tmp_path: Path
) -> None:
    path = plan(batch=(2, 4, 4))
    call("triton", path, "-o", tmp_path / "models").fails(2, "--min-batch 1")


def test_an_ensemble_of_what_needs_none_is_refused(
    call: Call, plan: Callable[..., Path], tmp_path: Path, with_plugin: None
) -> None:
    for describe in (
        lambda one: replace(one, pictures=PictureInput(48, 64)),
        lambda one: one.with_decode_nms(False),
    ):
        outcome = call("triton", plan(describe=describe), "-o", tmp_path / "models", "--ensemble")
        outcome.fails(2, "--ensemble")


def test_the_models_of_others_stay_as_they_are(call: Call, onnx_file: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    (repository / "theirs" / "1").mkdir(parents=True)
    (repository / "theirs" / "config.pbtxt").write_text('name: "theirs"\n')
    before = tree(repository)
    call("triton", onnx_file, "-o", repository, "--name", "theirs").fails(
        2, "choose another --name"
    )
    assert tree(repository) == before
    call("triton", onnx_file, "-o", repository).fits()
    assert {name: value for name, value in tree(repository).items() if "theirs" in name} == before
    assert sorted(path.name for path in repository.iterdir()) == ["m", "theirs"]


def test_a_model_of_ours_is_replaced_whole(call: Call, onnx_file: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    call("triton", onnx_file, "-o", repository).fits()
    (repository / "m" / "1" / "rest").write_text("of before")
    call("triton", onnx_file, "-o", repository, "--max-batch", 2).fits()
    assert not (repository / "m" / "1" / "rest").exists()
    assert config_of(repository / "m").max_batch_size == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models"]


def test_nothing_is_changed_where_the_last_model_cannot_be_put(
    call: Call, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models"
    call("triton", onnx_file, "-o", repository).fits()
    before = tree(repository)
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if Path(target).name == "m_ensemble":
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    outcome = call("triton", onnx_file, "-o", repository, "--max-batch", 2, "--ensemble")
    outcome.fails(4, "No space left on device")
    assert tree(repository) == before
    assert [path.name for path in repository.iterdir()] == ["m"]


def test_an_input_inside_of_the_model_is_not_written_over(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    call("triton", onnx_file, "-o", repository).fits()
    own = repository / "m" / "1" / "model.onnx"
    call("triton", own, "-o", repository, "--name", "m").fails(2, "overwrite an input")
    call("triton", own, "-o", repository, "--name", "n").fits()


def test_a_repository_that_is_a_file_is_refused(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "models"
    path.write_text("a file")
    call("triton", onnx_file, "-o", path).fails(4, str(path))
    assert path.read_text() == "a file"


def test_a_model_that_is_moved_elsewhere_is_still_ours(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    call("triton", onnx_file, "-o", tmp_path / "a").fits()
    shutil.copytree(tmp_path / "a" / "m", tmp_path / "b" / "m")
    call("triton", onnx_file, "-o", tmp_path / "b").fits()


def test_lines_to_start_a_server_keep_it_quiet_and_on_this_machine(
    call: Call, onnx_file: Path, tmp_path: Path
) -> None:
    outcome = call("triton", onnx_file, "-o", tmp_path / "with space").fits()
    lines = [line for line in outcome.out.splitlines() if "tritonserver" in line]
    assert len(lines) == 2
    for line in lines:
        assert "ORT_DISABLE_TELEMETRY=1" in line
        assert line.count("=127.0.0.1") == 3
        assert "'" in line
