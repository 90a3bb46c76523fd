"""Whether an engine can run on this machine."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..artefacts.sidecar import Sidecar, find_sidecar, read_sidecar
from ..detection.load import load
from ..errors import MissingRequirement
from ..requirements import require
from ..runtimes.tensorrt_module import MODULES
from ..system.gpu import gpus
from .cuda_versions import CUDA_PACKAGE, PLUGIN, examine_cuda_versions
from .environment import Finding, package_finding, plugin_finding


def examine_engine(path: str | Path) -> list[Finding]:
    """Check whether an engine or ONNX file can run here; if no check fails, run it.

    Raises:
        BadFile: the file or its sidecar is absent or damaged, or cannot be opened.
        MissingRequirement: onnx, which is needed to read an ONNX file, is not installed.
    """
    path = Path(path)
    is_onnx = path.suffix.lower() == ".onnx" and find_sidecar(path) is None
    findings = _of_onnx_file(path) if is_onnx else _of_engine(path)
    if all(f.fine for f in findings):
        findings.append(_opening(path))
    return findings


def _of_onnx_file(path: Path) -> list[Finding]:
    require("onnx", "reading an ONNX file")
    from ..artefacts.onnx_file import read_onnx

    _, description = read_onnx(path)
    known = Finding("ONNX file", True, f"{description.model}; what it describes is in it")
    return [known, replace(package_finding("onnxruntime"), needed=True)]


def _of_engine(path: Path) -> list[Finding]:
    sidecar = read_sidecar(path)
    built = f"{sidecar.target} {sidecar.target_version}, {sidecar.precision}"
    findings = [Finding("engine", True, f"{sidecar.description.model}, {built}; sidecar fits")]
    module = MODULES.get(sidecar.target, sidecar.target)
    package = _runtime_package(module, sidecar)
    findings.append(package)
    if sidecar.target in MODULES:
        findings += _on_gpu(path, sidecar, package.fine)
    return findings


def _on_gpu(path: Path, sidecar: Sidecar, has_package: bool) -> list[Finding]:
    """GPU, plugin, and TensorRT's check, if installed, of the engine before it is loaded."""
    module = MODULES[sidecar.target]
    findings = []
    found = gpus()
    rebuild = (
        f"ssd-small build-engine {sidecar.onnx.file} --target onnxruntime --precision "
        f"{sidecar.precision} (for the CPU), or use a machine with an NVIDIA GPU"
    )
    state = found.devices[0].name if found.devices else found.fault
    findings.append(
        Finding("GPU", bool(found.devices), state, "" if found.devices else rebuild, True)
    )
    if found.devices:
        findings.append(_capability(found.devices[0].capability, sidecar))
    if sidecar.description.has_decode_nms:
        plugin = plugin_finding([module])
        findings.append(Finding("plugin", plugin.fine, plugin.state, plugin.remedy, needed=True))
    parts = [sidecar.target, CUDA_PACKAGE]
    parts += [PLUGIN] if sidecar.description.has_decode_nms else []
    findings += examine_cuda_versions(found, parts, needed=True)
    if has_package and all(f.fine for f in findings):
        line = _build_line(sidecar, found.devices[0].capability)
        findings.append(_validity(module, path, line))
    return findings


def _opening(path: Path) -> Finding:
    """Open the file as every command does, and run it on an empty picture."""
    try:
        with load(path) as detector:
            description = detector.runtime.description
            size, pictures = description.preprocessing, description.pictures
            sides = (pictures and pictures.size) or (size.height, size.width)
            detector(np.zeros((*sides, 3), np.uint8))
            state = f"{detector.runtime.name} opens it and runs it on an empty picture"
    except MissingRequirement as error:
        line = error.command_line
        return Finding("opening", False, line, line.rpartition("; ")[2], needed=True)
    return Finding("opening", True, state, needed=True)


def _runtime_package(module: str, sidecar: Sidecar) -> Finding:
    found = package_finding(module.replace("_", "-"))
    if not found.fine:
        return Finding(found.subject, False, found.state, found.remedy, needed=True)
    if sidecar.target in MODULES and found.state != sidecar.target_version:
        compatible = sidecar.options.version_compatible
        state = f"{found.state} here, the engine is of {sidecar.target_version}"
        remedy = f"{_build_line(sidecar)}, or pip install {found.subject}=={sidecar.target_version}"
        return Finding(found.subject, compatible, state, "" if compatible else remedy, True)
    return Finding(found.subject, True, found.state, needed=True)


def _capability(here: str, sidecar: Sidecar) -> Finding:
    wanted = sidecar.compute_capabilities
    if not wanted or here in wanted:
        return Finding("compute capability", True, here, needed=True)
    return Finding(
        "compute capability",
        False,
        f"{here} here, the engine is for {', '.join(wanted)}",
        _build_line(sidecar, here),
        needed=True,
    )


def _build_line(sidecar: Sidecar, here: str = "") -> str:
    """Command that rebuilds an engine, for the GPU of compute capability ``here``."""
    line = (
        f"ssd-small build-engine {sidecar.onnx.file} --target {sidecar.target} "
        f"--precision {sidecar.precision}"
    )
    return f"{line} --compute-capability {here}" if here and sidecar.target != "tensorrt" else line


def _validity(module: str, path: Path, line: str) -> Finding:
    """TensorRT-RTX's check of the plan before it is loaded (not executed without a GPU)."""
    from ..runtimes.tensorrt_module import create_runtime, invalidity, logger

    trt = importlib.import_module(module)
    try:
        fault = invalidity(trt, create_runtime(trt, logger(trt)), path.read_bytes())
    except MissingRequirement as error:
        fault, line = error.command_line, error.command_line.rpartition("; ")[2]
    state, remedy = (fault, line) if fault else ("no objection", "")
    return Finding("engine pre-check", not fault, state, remedy, needed=True)
