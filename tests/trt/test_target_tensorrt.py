"""The path of --target tensorrt, with NVIDIA's RTX builder in the place of the full one.

The full TensorRT builds on its GPU only and is not executed here. What is its own on this path
(no list of capabilities, a timing cache) runs over a module ``tensorrt`` made of tensorrt_rtx.
"""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import ssd_small.export.build_child as build_child
from engine_builds import Command, Exported

from ssd_small.errors import BadFile

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.trt

STAND_IN = """
import tensorrt_rtx as rtx

globals().update({n: v for n, v in vars(rtx).items() if not n.startswith("_")})
del ComputeCapability  # the full TensorRT builds for the GPU at hand
__version__ = "10.16.0.1"


class Builder(rtx.Builder):
    def create_builder_config(self):
        config = super().create_builder_config()
        config.num_compute_capabilities = 1  # in the place of that GPU
        config.set_compute_capability(rtx.ComputeCapability.SM86, 0)
        return config
"""


@pytest.fixture
def tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs_rtx: None, with_plugin: Path
) -> None:
    from ssd_small.export.target_tensorrt import child_environment

    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "tensorrt.py").write_text(STAND_IN)
    environment = child_environment("tensorrt_rtx", folder / "lib")
    monkeypatch.setenv("LD_LIBRARY_PATH", environment["LD_LIBRARY_PATH"])
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("tensorrt")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_one_path_builds_for_the_other_module(
    precision: str, exported: Exported, call: Command, tmp_path: Path
) -> None:
    output, cache = tmp_path / "x.engine", tmp_path / "t.cache"
    options = ("--precision", precision, "--timing-cache", cache, "--json", "-o", output)
    for _ in range(2):  # writes the cache, then reads it
        done = call("build-engine", exported("mobilenet_v1"), "--target", "tensorrt", *options)
        assert done.code == 0, done.err
        sidecar = done.json
        assert (sidecar["target"], sidecar["target_version"]) == ("tensorrt", "10.16.0.1")
        # no GPU here, and no list to choose from
        assert sidecar["compute_capabilities"] == []
        assert (sidecar["receipt"]["half_share"] > 0.8) == (precision == "fp16")
        assert sidecar["options"]["timing_cache"] == "t.cache"
        assert cache.read_bytes().startswith(b"ptrtd")
        assert b"DecodeNms" in output.read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("tensorrt")
def test_a_version_compatible_engine_is_asked_for_and_the_builder_s_reason_shown(
    exported: Exported, call: Command, tmp_path: Path
) -> None:
    """The RTX package lacks what the full one brings; that it is asked for shows the option."""
    done = call(
        *("build-engine", exported("mobilenet_v1"), "--target", "tensorrt"),
        *("--version-compatible", "-o", tmp_path / "x.engine"),
    )
    assert done.code == 3
    assert "tensorrt 10.16.0.1 could not build this network" in done.err
    assert "Unable to load library: libnvinfer_lean.so" in done.err
    assert not (tmp_path / "x.engine").exists()


@pytest.mark.parametrize("taken", [None, False])
def test_a_timing_cache_of_another_gpu_is_a_bad_file(taken: bool | None, tmp_path: Path) -> None:
    config = types.SimpleNamespace(
        create_timing_cache=lambda content: None if taken is None else object(),
        set_timing_cache=lambda cache, ignore_mismatch: taken,
    )
    job = types.SimpleNamespace(options={"timing_cache_path": str(tmp_path / "t.cache")})
    with pytest.raises(BadFile, match=r"t\.cache is of another GPU or version of TensorRT; name"):
        build_child._read_timing_cache(config, job)  # type: ignore[arg-type]
