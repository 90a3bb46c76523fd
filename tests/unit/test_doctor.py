"""What doctor says where something is missing; driver, GPU and packages are made up here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import plugin_libraries
import pytest
from sidecars import sidecar_for

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.description import description_from_spec
from ssd_small.artefacts.sidecar import Sidecar
from ssd_small.doctor import cuda_versions, engine
from ssd_small.doctor import environment as doctor
from ssd_small.models.registry import get_spec
from ssd_small.requirements import is_installed
from ssd_small.runtimes.plugin_library import cuda_of_plugin
from ssd_small.system.gpu import Gpu, Gpus

GPU = Gpu(0, "NVIDIA A10", "8.6", 24 << 30)


def sidecar(**values: Any) -> Sidecar:
    given: dict[str, Any] = {"precision": "fp16", "compute_capabilities": ("8.9", "12.0")}
    network = description_from_spec(get_spec("mobilenet_v1"), 3, 1.0, has_decode_nms=True)
    return sidecar_for(network, **(given | values))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the machine has: ``gpus``, ``packages`` (name to version), ``fault`` of the plan."""
    has: dict[str, Any] = {
        "gpus": Gpus((GPU,), "13.0"),
        "packages": {"tensorrt-rtx": "1.7.1.116"},
        "fault": "",
        "sidecar": sidecar(),
    }
    fine = doctor.Finding("TensorRT plugin", True, "found")
    monkeypatch.setattr(engine, "gpus", lambda: has["gpus"])
    monkeypatch.setattr(engine, "read_sidecar", lambda path: has["sidecar"])
    monkeypatch.setattr(engine, "plugin_finding", lambda modules=(): fine)
    monkeypatch.setattr(
        engine,
        "package_finding",
        lambda name: (
            doctor.Finding(name, True, has["packages"][name])
            if name in has["packages"]
            else doctor.Finding(name, False, "not installed", f"pip install {name}")
        ),
    )

    def validity(module: str, path: Path, line: str) -> doctor.Finding:
        return doctor.Finding("engine pre-check", not has["fault"], has["fault"], line, True)

    monkeypatch.setattr(engine, "_validity", validity)
    opens = doctor.Finding("opening", True, "opened", needed=True)
    monkeypatch.setattr(engine, "_opening", lambda path: opens)
    return has


def missing() -> dict[str, str]:
    """Subject to remedy of every "no" about an engine; each has something to type."""
    findings = [f for f in engine.examine_engine(Path("x.engine")) if not f.fine]
    assert all(f.needed and f.remedy for f in findings)
    return {f.subject: f.remedy for f in findings}


def test_an_engine_for_this_gpu_can_run(machine: dict[str, Any]) -> None:
    machine["sidecar"] = sidecar(compute_capabilities=("8.6",))
    assert missing() == {}
    machine["fault"] = "version mismatch"
    line = "ssd-small build-engine m.onnx --target tensorrt-rtx --precision fp16"
    assert missing() == {"engine pre-check": f"{line} --compute-capability 8.6"}


@pytest.mark.slow
def test_an_engine_for_another_gpu_is_built_again_in_its_precision(machine: dict[str, Any]) -> None:
    line = "ssd-small build-engine m.onnx --target tensorrt-rtx --precision fp16"
    assert missing() == {"compute capability": f"{line} --compute-capability 8.6"}
    machine["sidecar"] = sidecar(target="tensorrt", target_version="10.16.0")
    machine["packages"] = {"tensorrt": "10.16.0"}
    line = "ssd-small build-engine m.onnx --target tensorrt --precision fp16"
    assert missing() == {"compute capability": line}


@pytest.mark.slow
def test_another_release_than_the_engine_s_needs_a_new_build(machine: dict[str, Any]) -> None:
    machine["packages"] = {"tensorrt-rtx": "1.8.0.1"}
    assert missing()["tensorrt-rtx"].endswith("or pip install tensorrt-rtx==1.7.1.116")
    values = {"target": "tensorrt", "options": BuildOptions("tensorrt", version_compatible=True)}
    machine["sidecar"] = sidecar(**values, compute_capabilities=("8.6",))
    machine["packages"] = {"tensorrt": "10.16.0"}
    assert missing() == {}
    machine["packages"] = {}
    assert missing() == {"tensorrt": "pip install tensorrt"}


def test_what_is_built_for_a_newer_driver_is_named_with_the_line_to_type(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p.so").touch()
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / "p.so"))
    majors = {"tensorrt": None, "tensorrt_rtx": 13}
    monkeypatch.setattr(cuda_versions, "cuda_major_of_package", lambda module: majors[module])
    monkeypatch.setattr(cuda_versions, "cuda_of_plugin", lambda path: "13.0")
    monkeypatch.setattr(cuda_versions.metadata, "version", lambda name: "13.5.0")
    newer = "built with CUDA 13, and the driver is for CUDA 12.4"
    found = list(cuda_versions.examine_cuda_versions(Gpus((GPU,), "12.4")))
    assert {f.subject: (f.fine, f.state) for f in found} == {
        "CUDA of tensorrt-rtx": (False, newer),
        "CUDA of cuda-bindings": (False, newer),
        "CUDA of TensorRT plugin": (False, newer),
    }
    assert [f.remedy for f in found] == [
        "install a driver for CUDA 13, or: pip install tensorrt-rtx-cu12",
        "install a driver for CUDA 13, or: pip install 'cuda-bindings==12.*'",
        "install a driver for CUDA 13, or: CUDACXX=<nvcc of CUDA 12> pip install --force-reinstall "
        "--no-deps .",
    ]
    assert not list(cuda_versions.examine_cuda_versions(Gpus((GPU,), "13.0")))
    assert not list(cuda_versions.examine_cuda_versions(Gpus(fault="no driver")))
    # also of an engine, before anything of it is loaded
    machine["gpus"] = Gpus((GPU,), "12.4")
    machine["sidecar"] = sidecar(compute_capabilities=("8.6",))
    machine["fault"] = "not to be asked"
    assert set(missing()) == {f.subject for f in found}


def test_the_plugin_says_which_cuda_it_brings(tmp_path: Path) -> None:
    (tmp_path / "p.so").write_bytes(b"no library")
    assert cuda_of_plugin(tmp_path / "p.so") is None
    assert cuda_of_plugin(plugin_libraries.host_library_path()) is None
    cuda = cuda_of_plugin(plugin_libraries.cuda_library_path())
    assert cuda is not None
    assert int(cuda.partition(".")[0]) >= 12


@pytest.mark.parametrize("driver", [None, "13.0"])
def test_every_no_about_the_driver_says_what_to_type(driver: str | None) -> None:
    (finding,) = doctor._gpu_findings(Gpus(driver=driver, fault="CUDA error 999"))
    assert not finding.fine
    assert "nvidia-smi" in finding.remedy


def test_a_plugin_that_is_named_but_absent_can_be_taken_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / "absent.so"))
    finding = doctor.plugin_finding()
    assert "which is not there" in finding.state
    assert (finding.fine, finding.remedy) == (False, "unset SSD_SMALL_PLUGIN")


def test_a_tensorrt_that_does_not_load_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p.so").touch()
    (tmp_path / "tensorrt_rtx.py").write_text("raise ImportError('libcudart.so.13: no such file')")
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / "p.so"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt_rtx", raising=False)
    finding = doctor.plugin_finding(["tensorrt_rtx"])
    assert "tensorrt_rtx does not load: libcudart.so.13" in finding.state
    assert finding.remedy == "pip install --force-reinstall '.[tensorrt-rtx]'"


def test_the_version_of_a_package_by_another_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module tensorrt without a distribution ``tensorrt``, as after pip of tensorrt-cu12."""
    monkeypatch.setattr(doctor, "is_installed", lambda module: True)
    monkeypatch.setattr(
        doctor.metadata, "packages_distributions", lambda: {"tensorrt": ["tensorrt_cu12"]}
    )
    versions = {"tensorrt_cu12": "10.16.1"}

    def version(name: str) -> str:
        if name not in versions:
            raise doctor.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor.metadata, "version", version)
    for name in ("tensorrt", "onnx"):
        monkeypatch.setitem(doctor.EXERCISES, name, lambda: None)
    assert doctor.package_finding("tensorrt").state == "10.16.1"
    assert doctor.package_finding("onnx").state == "version not known"


# --- what it says yes to has done something


@pytest.mark.slow
def test_a_package_that_loads_and_does_nothing_is_a_no(tmp_path: Path) -> None:
    """An empty module in the place of each, as a half-removed package leaves one."""
    for name in doctor.EXERCISES:
        module = tmp_path / doctor._MODULE_OF.get(name, name)
        module.mkdir()
        (module / "__init__.py").touch()
    code = (
        "import json; from ssd_small.doctor.environment import EXERCISES, package_finding; "
        "print(json.dumps([package_finding(name).to_dict() for name in EXERCISES]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    findings = json.loads(done.stdout)
    assert [finding["subject"] for finding in findings] == [*doctor.EXERCISES]
    for finding in findings:
        assert not finding["fine"]
        assert "is installed and does not work: " in finding["state"]
        assert finding["remedy"].startswith("pip install --force-reinstall ")


INSTALLED = [n for n in doctor.EXERCISES if is_installed(doctor._MODULE_OF.get(n, n))]


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_installed_here_passes_its_exercise(name: str) -> None:
    assert doctor.package_finding(name).fine


def test_a_package_with_other_arithmetic_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    session = types.SimpleNamespace(run=lambda names, feed: [feed["x"]])
    module = types.SimpleNamespace(InferenceSession=lambda *words, **more: session)
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setattr(doctor, "is_installed", lambda module: True)
    finding = doctor.package_finding("onnxruntime")
    assert (finding.fine, "gave [1.0, 2.0], expected [2.0, 4.0]" in finding.state) == (False, True)


def test_a_plugin_that_nothing_can_load_is_not_said_to_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p.so").touch()
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / "p.so"))
    finding = doctor.plugin_finding(["no_such_module"])
    assert (finding.fine, finding.remedy) == (False, "pip install '.[tensorrt-rtx]'")
    assert finding.state == "p.so found, and not tried: no TensorRT to load it"
