"""What build-engine for TensorRT-RTX says and leaves behind where a build cannot be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from engine_builds import Command, Exported, build

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.trt, pytest.mark.slow]

PLUGIN_SOURCES = Path(__file__).resolve().parents[2] / "kernels" / "plugin"


@pytest.mark.slow
@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_what_was_asked_wrongly_is_said_and_nothing_is_left(
    exported: Exported, call: Command, tmp_path: Path
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
        done = build(call, exported("mobilenet_v1"), output, *options)
        assert done.code == 2
        assert re.search(text, done.err), done.err
        assert done.err.count("\n") == 1
        assert not list(tmp_path.glob("out/*"))


@pytest.mark.slow
@pytest.mark.usefixtures("with_plugin")
def test_an_onnx_file_without_decode_nms_is_refused(
    call: Command, tmp_path: Path, needs_rtx: None
) -> None:
    arguments = ["--model", "mobilenet_v1", "--random-weights", "--width", "0.1", "--heads"]
    assert call("export", *arguments, "-o", tmp_path / "x.onnx").code == 0
    done = build(call, tmp_path / "x.onnx", tmp_path / "x.engine")
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
    call: Command,
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
        ("absent.so", r"names \S+absent\.so, which is not there"),
        ("text.so", r"text\.so is not the plugin library of ssd-small"),
        ("other.so", r"provides DecodeNms version 7; this version of ssd-small needs version 1"),
    ):
        monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / file))
        done = build(call, exported("mobilenet_v1"), tmp_path / "x.engine")
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
    call: Command,
    with_plugin: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text(f"import os\n{code}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    output = tmp_path / "out" / "x.engine"
    done = build(call, exported("mobilenet_v1"), output)
    assert done.code == 3
    assert re.search(text, done.err), done.err
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_nvidia_s_parser_that_ends_the_process_does_not_end_ours(
    exported: Exported,
    call: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the unversioned name of its library the real parser calls terminate."""
    from ssd_small.export import target_tensorrt

    monkeypatch.setattr(target_tensorrt, "_vendor_libraries", lambda module: [])
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    done = build(call, exported("mobilenet_v1"), tmp_path / "x.engine")
    assert done.code == 3
    assert "was ended by SIGABRT" in done.err
    assert "terminate called" in done.err


@pytest.mark.usefixtures("with_plugin")
def test_an_absent_package_is_one_line(
    exported: Exported, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.export import target_tensorrt

    monkeypatch.setattr(target_tensorrt, "find_spec", lambda name: None)
    for target, extra in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt-rtx")):
        done = call("build-engine", exported("mobilenet_v1"), "--target", target)
        assert done.code == 3
        assert f"pip install '.[{extra}]'" in done.err
        assert done.err.count("\n") == 1


@pytest.mark.usefixtures("needs_rtx", "with_plugin")
def test_an_output_that_cannot_be_written_is_exit_4(
    exported: Exported, call: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    # for root every folder is open but those of the kernel
    output = (Path("/proc") if os.access(folder, os.W_OK) else folder) / "x.engine"
    done = build(call, exported("mobilenet_v1"), output)
    assert done.code == 4
    assert "cannot write" in done.err or "cannot be written" in done.err


def test_a_timing_cache_that_cannot_be_written_is_refused_before_the_build(
    exported: Exported, call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.export import target_tensorrt

    monkeypatch.setattr(target_tensorrt, "find_spec", lambda name: object())
    (tmp_path / "file").touch()
    for cache, text in (
        (tmp_path, "it is a folder; name a file"),
        (tmp_path / "file" / "t.cache", "file is a file; choose another --timing-cache"),
    ):
        done = call(
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
