"""Engines of TensorRT-RTX, built through the command line by NVIDIA's own code, without a GPU.

Execution of what is built needs a GPU: tests marked gpu, not executed here.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssd_small import list_models
from ssd_small.files import sha256_of

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.trt

HERE = Path(__file__).parent
PLUGIN_SOURCES = HERE.parents[1] / "kernels" / "plugin"
Command = Callable[..., Any]
Exported = Callable[[str], Path]


def build(command: Command, onnx_file: Path, output: Path, *more: str) -> Any:
    return command(
        "build-engine", onnx_file, "--target", "tensorrt-rtx", "-o", output, "--json", *more
    )


@pytest.mark.parametrize("name", list_models())
@pytest.mark.usefixtures("needs_rtx")
def test_both_precisions_are_built_with_the_plugin_inside(
    name: str,
    exported: Exported,
    ssd_small_command: Command,
    with_plugin: Path,
    tmp_path: Path,
) -> None:
    sizes = {}
    for precision in ("fp32", "fp16"):
        output = tmp_path / f"{precision}.engine"
        done = build(
            ssd_small_command,
            exported(name),
            output,
            *("--precision", precision, "--compute-capability", "8.6", "8.9"),
        )
        assert done.code == 0, done.err
        assert done.err == ""
        sidecar = json.loads((tmp_path / f"{precision}.engine.json").read_text())
        assert done.json == {"file": str(output), **sidecar}
        sizes[precision] = output.stat().st_size
        assert b"DecodeNms" in output.read_bytes()
        check_sidecar(sidecar, name, precision, exported(name), output, with_plugin)
    assert sizes["fp16"] <= 0.55 * sizes["fp32"]


def check_sidecar(
    sidecar: dict[str, Any], name: str, precision: str, onnx_file: Path, output: Path, plugin: Path
) -> None:
    assert sidecar["target"] == "tensorrt-rtx"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", sidecar["target_version"])
    assert sidecar["description"]["model"] == name
    assert len(sidecar["description"]["labels"]) == 80
    assert sidecar["description"]["postprocess"]["keep_topk"] == 200
    assert sidecar["description"]["preprocessing"]["mean"] == [103.94, 116.78, 123.68]
    assert sidecar["onnx"] == {"file": onnx_file.name, "sha256": sha256_of(onnx_file)}
    assert sidecar["engine"]["sha256"] == sha256_of(output)
    assert sidecar["plugin"]["sha256"] == sha256_of(plugin)
    assert sidecar["batch"] == {"min": 1, "opt": 8, "max": 8}
    assert sidecar["compute_capabilities"] == ["8.6", "8.9"]
    assert 0 < sidecar["seconds"] < 20
    assert sidecar["options"]["tf32"] is False
    receipt = sidecar["receipt"]
    if precision == "fp32":
        assert receipt["half_share"] == 0
        assert "HALF" not in receipt["tensors"]
        # NVIDIA's own text inside the plan
        assert receipt["plan_tensors"]["HALF"] == 0
        assert receipt["plan_tensors"]["FLOAT"] > 50
        # four bytes a weight, and the prior boxes and the code of the engine; the plan holds
        # once what two branches of a dual network share
        assert 3 < receipt["plan_bytes_per_weight"] < 5
        assert sidecar["checks"] == {}
    else:
        assert receipt["half_share"] > 0.8
        # L2Norm and the input
        assert 5 <= receipt["tensors"]["FLOAT"] <= 20
        assert receipt["plan_tensors"]["HALF"] > 5 * receipt["plan_tensors"]["FLOAT"] > 0
        assert 1.5 < receipt["plan_bytes_per_weight"] < 2.5
        check = sidecar["checks"]["fp16_against_fp32"]
        for head in (check["loc"], check["conf"]):
            # about 30 layers, each with a relative error of 2**-11
            assert 0 < head["max_error"] < 0.03 * head["max_value"]
            assert head["mean_error"] < head["max_error"]
        assert 0 <= check["detections"]["flipped"] <= check["detections"]["fp32"]
        assert check["kept_fp32"] == []


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_the_same_input_gives_the_same_sidecar(
    exported: Exported, ssd_small_command: Command, tmp_path: Path
) -> None:
    sidecars = []
    for folder in ("a", "b"):
        output = tmp_path / folder / "x.engine"
        options = ("--precision", "fp16", "--max-batch", "4", "--opt-batch", "2", "--tf32")
        done = build(ssd_small_command, exported("mobilenet_v1"), output, *options)
        assert done.code == 0, done.err
        values = done.json
        assert values.pop("file") == str(output)
        assert values.pop("seconds") > 0
        assert values["engine"].pop("sha256") == sha256_of(output)
        sidecars.append(values)
    assert sidecars[0] == sidecars[1]
    assert sidecars[0]["batch"] == {"min": 1, "opt": 2, "max": 4}
    assert sidecars[0]["options"]["tf32"] is True
    # without a GPU and without a capability asked for
    assert "8.6" in sidecars[0]["compute_capabilities"]


class Terminal(io.StringIO):
    """What a progress line is shown on."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_a_terminal_shows_the_phase_and_the_elapsed_time(
    exported: Exported,
    ssd_small_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    done = build(ssd_small_command, exported("mobilenet_v1"), tmp_path / "x.engine")
    assert done.code == 0
    lines = terminal.getvalue().split("\r\x1b[K")
    # the line is gone at the end
    assert (lines[0], lines[-1]) == ("", "")
    shown = [re.fullmatch(r" *(\d+\.\d) s +(\d+)%  (.+)", line) for line in lines[1:-1]]
    assert all(shown)
    times, shares, phases = zip(*(m.groups() for m in shown if m), strict=True)
    assert sorted(times, key=float) == list(times)
    assert phases[0] == "Preparing the network"
    # NVIDIA's names differ between versions, that it has some does not
    assert len(set(phases)) >= 2
    assert max(map(int, shares)) <= 100
    assert json.loads(done.out)["target"] == "tensorrt-rtx"


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_the_builder_s_whole_log_can_be_shown(
    exported: Exported, ssd_small_command: Command, tmp_path: Path
) -> None:
    done = build(ssd_small_command, exported("mobilenet_v1"), tmp_path / "x.engine", "--verbose")
    assert done.code == 0, done.err[-2000:]
    assert done.json["target"] == "tensorrt-rtx"
    # in it the names of fused layers are joined by a separator of records
    assert "\x1e" in done.err


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_an_engine_that_ends_in_the_heads_needs_no_plugin(
    exported: Exported,
    ssd_small_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / "absent.so"))
    output = tmp_path / "x.engine"
    done = build(ssd_small_command, exported("mobilenet_v1"), output, "--heads")
    assert done.code == 0, done.err
    assert done.json["plugin"] is None
    assert done.json["description"]["has_decode_nms"] is False
    assert b"DecodeNms" not in output.read_bytes()
    inspected = ssd_small_command("inspect", output)
    assert inspected.code == 0
    assert re.search(r"conf +output +FLOAT +1\.\.8 2990 81", inspected.out)


@pytest.mark.usefixtures("needs_rtx")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_third_party_builds_from_the_plugin_only_file(
    precision: str,
    ssd_small_command: Command,
    plugin_library: Path,
    tmp_path: Path,
) -> None:
    import onnx
    from ssd_small.export.target_tensorrt import child_environment

    onnx_file = tmp_path / "x.onnx"
    arguments = ["--model", "mobilenet_v1", "--random-weights", "--width", "0.25"]
    done = ssd_small_command(
        *("export", *arguments, "--plugin-only", "--precision", precision, "-o", onnx_file)
    )
    assert done.code == 0, done.err
    model = onnx.load(onnx_file)
    assert not model.functions
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    half = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT
    assert types["loc"] == types["conf"] == half
    environment = child_environment("tensorrt_rtx", tmp_path / "lib")
    plain = subprocess.run(
        [sys.executable, "plain_build.py", plugin_library, onnx_file, tmp_path / "x.plan"],
        cwd=HERE,
        env={key: value for key, value in environment.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert plain.returncode == 0, plain.stdout + plain.stderr
    report = json.loads(plain.stdout.splitlines()[-1])
    assert next(row[0] for row in report["outputs"]) == "num_detections"
    assert report["plan_bytes"] > 1_000_000


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_what_was_asked_wrongly_is_said_and_nothing_is_left(
    exported: Exported, ssd_small_command: Command, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "x.engine"
    for options, text in (
        (
            ["--compute-capability", "9.0"],
            r"compute capability 9\.0: tensorrt_rtx \S+ builds for 7\.5, .*; use --target tensorrt",
        ),
        (["--compute-capability", "7.5", "8.6"], r"7\.5 cannot share an engine"),
        (["--min-batch", "4", "--max-batch", "2"], r"batch range 4, 2, 2: expected 1 <= min"),
        (["--timing-cache", "t.cache"], "--timing-cache does not go with --target tensorrt-rtx"),
        (["--version-compatible"], "--version-compatible does not go with --target tensorrt-rtx"),
    ):
        done = build(ssd_small_command, exported("mobilenet_v1"), output, *options)
        assert done.code == 2
        assert re.search(text, done.err), done.err
        assert done.err.count("\n") == 1
        assert not list(tmp_path.glob("out/*"))


@pytest.mark.usefixtures("with_plugin")
def test_an_onnx_file_without_decode_nms_is_refused(
    ssd_small_command: Command, tmp_path: Path, needs_rtx: None
) -> None:
    arguments = ["--model", "mobilenet_v1", "--random-weights", "--width", "0.1", "--heads"]
    assert ssd_small_command("export", *arguments, "-o", tmp_path / "x.onnx").code == 0
    done = build(ssd_small_command, tmp_path / "x.onnx", tmp_path / "x.engine")
    assert done.code == 4
    assert "has no DecodeNms node (it was exported with --heads)" in done.err


ANOTHER_VERSION = """
#include "tensorrt_abi.h"
namespace {
struct Creator final : nvinfer1::IPluginCreatorV3One {
  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection*,
                                    nvinfer1::TensorRTPhase) noexcept override { return nullptr; }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override {
    static const nvinfer1::PluginFieldCollection none = {0, nullptr};
    return &none;
  }
  const char* getPluginName() const noexcept override { return "DecodeNms"; }
  const char* getPluginVersion() const noexcept override { return "7"; }
  const char* getPluginNamespace() const noexcept override { return ""; }
};
}
extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(int& count) {
  static Creator creator;
  static nvinfer1::IPluginCreatorInterface* const all[] = {&creator};
  count = 1;
  return all;
}
extern "C" void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
"""


@pytest.mark.usefixtures("needs_rtx")
def test_a_plugin_that_is_absent_foreign_or_of_another_version_is_named(
    exported: Exported,
    ssd_small_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    (tmp_path / "other.cpp").write_text(ANOTHER_VERSION)
    subprocess.run(
        [
            compiler,
            "-std=c++17",
            "-shared",
            "-fPIC",
            "-I",
            PLUGIN_SOURCES,
            tmp_path / "other.cpp",
            "-o",
            tmp_path / "other.so",
        ],
        check=True,
    )
    (tmp_path / "text.so").write_text("not a library")
    for file, text in (
        ("absent.so", r"names \S+absent\.so, which does not exist"),
        ("text.so", r"text\.so is not the plugin library of ssd-small"),
        ("other.so", r"provides DecodeNms version 7; this version of ssd-small needs version 1"),
    ):
        monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / file))
        done = build(ssd_small_command, exported("mobilenet_v1"), tmp_path / "x.engine")
        assert done.code == 3
        assert re.search(text, done.err), done.err
    assert not (tmp_path / "x.engine").exists()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("os.kill(os.getpid(), 9)", r"was ended by SIGKILL \(often: out of memory\) .*nothing was"),
        (
            "os.write(2, b'first\\nterminate called\\n'); os.abort()",
            r"was ended by SIGABRT .* Its last lines:\n  first\n  terminate called\n",
        ),
        ("os._exit(0)", "ended with exit code 0 before it was done"),
    ],
    ids=["killed", "terminate", "silent"],
)
def test_a_child_that_dies_is_an_error_of_ours(
    code: str,
    text: str,
    exported: Exported,
    ssd_small_command: Command,
    with_plugin: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text(f"import os\n{code}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    output = tmp_path / "out" / "x.engine"
    done = build(ssd_small_command, exported("mobilenet_v1"), output)
    assert done.code == 3
    assert re.search(text, done.err), done.err
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_nvidia_s_parser_that_ends_the_process_does_not_end_ours(
    exported: Exported,
    ssd_small_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the unversioned name of its library the real parser calls terminate."""
    from ssd_small.export import target_tensorrt

    monkeypatch.setattr(target_tensorrt, "_vendor_libraries", lambda module: [])
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    done = build(ssd_small_command, exported("mobilenet_v1"), tmp_path / "x.engine")
    assert done.code == 3
    assert "was ended by SIGABRT" in done.err
    assert "terminate called" in done.err


@pytest.mark.usefixtures("with_plugin")
def test_an_absent_package_is_one_line(
    exported: Exported, ssd_small_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.export import target_tensorrt

    monkeypatch.setattr(target_tensorrt, "find_spec", lambda name: None)
    for target, extra in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt-rtx")):
        done = ssd_small_command("build-engine", exported("mobilenet_v1"), "--target", target)
        assert done.code == 3
        assert f"pip install 'ssd-small[{extra}]'" in done.err
        assert done.err.count("\n") == 1


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_an_output_that_cannot_be_written_is_exit_4(
    exported: Exported, ssd_small_command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    # for root every folder is open but those of the kernel
    output = (Path("/proc") if os.access(folder, os.W_OK) else folder) / "x.engine"
    done = build(ssd_small_command, exported("mobilenet_v1"), output)
    assert done.code == 4
    assert "cannot write" in done.err or "cannot be written" in done.err


def test_a_timing_cache_that_cannot_be_written_is_refused_before_the_build(
    exported: Exported, ssd_small_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.export import target_tensorrt

    monkeypatch.setattr(target_tensorrt, "find_spec", lambda name: object())
    (tmp_path / "file").touch()
    for cache, text in (
        (tmp_path, "it is a folder; name a file"),
        (tmp_path / "file" / "t.cache", "file is a file; choose another --timing-cache"),
    ):
        done = ssd_small_command(
            *("build-engine", exported("mobilenet_v1"), "--target", "tensorrt"),
            *("--timing-cache", cache, "-o", tmp_path / "x.engine"),
        )
        assert done.code == 4
        assert text in done.err
        assert done.err.count("\n") == 1


FULL_DISK = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from ssd_small.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (1_000_000, r"cannot write the temporary file \S+network\.onnx: .*set TMPDIR"),
        (6_900_000, r"the engine \(7 MB\) cannot be written: "),
    ],
    ids=["network", "engine"],
)
@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_a_full_disk_leaves_nothing_behind(
    limit: int, text: str, exported: Exported, tmp_path: Path
) -> None:
    """A limit on the size of files stands in for the disk."""
    from ssd_small.export.target_tensorrt import child_environment

    onnx_file = exported("mobilenet_v1")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            FULL_DISK,
            str(limit),
            "build-engine",
            onnx_file,
            "--target",
            "tensorrt-rtx",
            "-o",
            tmp_path / "x.engine",
            "--precision",
            "fp16",
        ],
        env=child_environment("tensorrt_rtx", tmp_path / "lib"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert re.search(text, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["lib"]


def test_doctor_says_what_is_missing_to_run_an_engine(
    exported: Exported,
    ssd_small_command: Command,
    with_plugin: Path,
    tmp_path: Path,
    needs_rtx: None,
) -> None:
    from ssd_small.runtimes.gpu import gpus

    if gpus().devices:
        pytest.skip("this machine has a GPU")
    output = tmp_path / "x.engine"
    assert build(ssd_small_command, exported("mobilenet_v1"), output).code == 0
    done = ssd_small_command("doctor", output, "--json")
    assert done.code == 3
    assert done.json["runs_here"] is False
    found = {f["subject"]: f for f in done.json["engine"]}
    assert found["plugin"]["fine"]
    assert not found["GPU"]["fine"]
    assert all(f["remedy"] for f in done.json["engine"] if not f["fine"])
    inspected = ssd_small_command("inspect", output, "--json")
    assert inspected.code == 0
    names = [t["name"] for t in inspected.json["tensors"]]
    assert names == ["images", "num_detections", "boxes", "scores", "labels", "prior_indices"]
    assert inspected.json["layers"] is None
    assert "no NVIDIA driver" in inspected.json["unknown"] or inspected.json["unknown"]
    text = ssd_small_command("doctor", output)
    assert f"{output} cannot run here" in text.out
