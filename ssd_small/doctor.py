"""What this machine has, whether an engine can run on it, and a short test that proves it."""

from __future__ import annotations

import importlib
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from . import native
from ._version import __version__
from .errors import SsdSmallError
from .plugin_library import ENVIRONMENT, PLUGIN_VERSION, find_plugin, load_plugin
from .requirements import EXTRA_OF_MODULE
from .runtimes.gpu import Gpus, gpus
from .runtimes.tensorrt_module import MODULES
from .sidecar import Sidecar, read_sidecar


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        subject: what was looked at.
        fine: it is there and works.
        state: what was found.
        remedy: what to type or do where it is not fine; empty if nothing is needed.
        needed: what was asked for does not work without it.
    """

    subject: str
    fine: bool
    state: str
    remedy: str = ""
    needed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self)


#: distribution -> the module it brings, where the names differ
_MODULE_OF = {
    "opencv-python-headless": "cv2",
    "tensorrt-rtx": "tensorrt_rtx",
    "cuda-bindings": "cuda",
}
_DISTRIBUTIONS = (
    "torch",
    "onnx",
    "onnxruntime",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-bindings",
    "pycuda",
    "opencv-python-headless",
    "pycocotools",
)


def examine() -> list[Finding]:
    """What is installed, the native library, the driver, GPUs, and the plugin."""
    findings = [Finding("ssd-small", True, f"{__version__}, Python {platform.python_version()}")]
    findings += [_package(name) for name in _DISTRIBUTIONS]
    findings.append(_native_library())
    return [*findings, *_gpu_findings(gpus()), _plugin()]


def _package(name: str) -> Finding:
    module = _MODULE_OF.get(name, name)
    if find_spec(module) is None:
        extra = EXTRA_OF_MODULE.get(module)
        line = f"pip install 'ssd-small[{extra}]'" if extra else f"pip install {name}"
        return Finding(name, False, "not installed", line)
    try:
        return Finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        # the module tensorrt comes in packages of several names, such as tensorrt-cu12
        providers = metadata.packages_distributions().get(module)
        version = metadata.version(providers[0]) if providers else "version not known"
        return Finding(name, True, version)


def _native_library() -> Finding:
    subject = "native decode+NMS library"
    try:
        if native.is_available():
            return Finding(subject, True, "loads")
    except SsdSmallError as error:
        return Finding(subject, False, str(error), str(error).rpartition("; ")[2])
    state = "not built: the numpy oracle does its work, slowly"
    remedy = "pip install --force-reinstall ssd-small (with a C++ compiler present)"
    return Finding(subject, False, state, remedy)


def _gpu_findings(found: Gpus) -> Iterator[Finding]:
    if found.driver is None:
        remedy = "install the driver of your GPU, then run: nvidia-smi"
        yield Finding("NVIDIA driver", False, found.fault, remedy)
    else:
        state = found.fault or f"for CUDA {found.driver}"
        remedy = "see what the driver says: nvidia-smi" if found.fault else ""
        yield Finding("NVIDIA driver", not found.fault, state, remedy)
    for gpu in found.devices:
        state = f"{gpu.name}, compute capability {gpu.capability}, {gpu.memory / 2**30:.1f} GiB"
        yield Finding(f"GPU {gpu.index}", True, state)


def _plugin(modules: Iterable[str] = tuple(MODULES.values())) -> Finding:
    """The plugin library is found, and the first of these modules that is installed loads it."""
    subject = "TensorRT plugin"
    module = next((m for m in modules if find_spec(m) is not None), None)
    try:
        path = find_plugin()
        if module is None:
            return Finding(subject, True, f"{path.name} found; no TensorRT to load it")
        load_plugin(importlib.import_module(module))
    except SsdSmallError as error:
        remedy = "pip install --force-reinstall ssd-small (with nvcc present)"
        if os.environ.get(ENVIRONMENT):
            remedy = f"unset {ENVIRONMENT}"
        return Finding(subject, False, str(error), remedy)
    except (ImportError, OSError) as error:
        remedy = f"pip install --force-reinstall 'ssd-small[{EXTRA_OF_MODULE[str(module)]}]'"
        return Finding(subject, False, f"{module} does not load: {error}", remedy)
    state = f"{path.name} found, {module} loads DecodeNms version {PLUGIN_VERSION}"
    return Finding(subject, True, state)


def examine_engine(path: Path) -> list[Finding]:
    """Whether an engine can run on this machine, without loading it.

    Raises:
        BadFile: the engine or its sidecar is absent or damaged.
    """
    sidecar = read_sidecar(path)
    built = f"{sidecar.target} {sidecar.target_version}, {sidecar.precision}"
    findings = [Finding("engine", True, f"{sidecar.description.model}, {built}; sidecar fits")]
    module = MODULES.get(sidecar.target, sidecar.target)
    findings.append(_runtime_package(module, sidecar))
    if sidecar.target not in MODULES:
        return findings
    found = gpus()
    rebuild = (
        f"ssd-small build-engine {sidecar.onnx['file']} --target onnxruntime --precision "
        f"{sidecar.precision} (for the CPU), or use a machine with an NVIDIA GPU"
    )
    state = found.devices[0].name if found.devices else found.fault
    findings.append(
        Finding("GPU", bool(found.devices), state, "" if found.devices else rebuild, True)
    )
    if found.devices:
        findings.append(_capability(found.devices[0].capability, sidecar))
    if sidecar.description.has_decode_nms:
        plugin = _plugin([module])
        findings.append(Finding("plugin", plugin.fine, plugin.state, plugin.remedy, needed=True))
    if found.devices and all(f.fine for f in findings):
        line = _build_line(sidecar, found.devices[0].capability)
        findings.append(_validity(module, path, line))
    return findings


def _runtime_package(module: str, sidecar: Sidecar) -> Finding:
    found = _package(module.replace("_", "-"))
    if not found.fine:
        return Finding(found.subject, False, found.state, found.remedy, needed=True)
    if sidecar.target in MODULES and found.state != sidecar.target_version:
        compatible = sidecar.options.get("version_compatible", False)
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
    """What to type to build an engine again, for the GPU of compute capability ``here``."""
    line = (
        f"ssd-small build-engine {sidecar.onnx['file']} --target {sidecar.target} "
        f"--precision {sidecar.precision}"
    )
    return f"{line} --compute-capability {here}" if here and sidecar.target != "tensorrt" else line


def _validity(module: str, path: Path, line: str) -> Finding:
    """What TensorRT-RTX says of the plan before it is loaded (not executed without a GPU)."""
    from .runtimes.tensorrt_module import invalidity, logger

    trt = importlib.import_module(module)
    fault = invalidity(trt, trt.Runtime(logger(trt)), path.read_bytes())
    state, remedy = (fault, line) if fault else ("no objection", "")
    return Finding("engine pre-check", not fault, state, remedy, needed=True)


def self_test(seed: int = 0) -> list[Finding]:
    """Build a small engine for this machine and compare it with PyTorch and the oracle.

    With a GPU the engine is TensorRT's. Without one it is ONNX Runtime's, and a finding that is
    not fine says that no GPU engine was executed; it is not ``needed``, which is left to the
    comparisons.

    Raises:
        MissingRequirement: torch, onnx or the target is not installed.
    """
    from .export.build_engine import build_engine, resolve_target
    from .export.build_options import BuildOptions
    from .export.onnx_file import write_onnx
    from .export.to_onnx import onnx_from_network
    from .postprocess import decode_nms
    from .requirements import require

    torch = require("torch", "the self-test")
    from .artifact import describe
    from .models.network import create_model
    from .runtimes import HeadOutputs, open_engine
    from .runtimes.torch import TorchRuntime

    torch.manual_seed(seed)
    net = create_model("mobilenet_v1", num_classes=4, width=0.25)
    description = describe(net.spec, 4, 0.25, has_decode_nms=True)
    images = np.random.default_rng(seed).uniform(-120, 130, (3, 3, 300, 300)).astype(np.float32)
    reference = TorchRuntime(net, description.with_decode_nms(False)).infer(images)
    assert isinstance(reference, HeadOutputs)
    target = resolve_target("auto")
    findings = []
    if target == "onnxruntime":
        state = f"not executed: {gpus().fault or 'no GPU'}"
        remedy = "on a machine with an NVIDIA GPU and driver: ssd-small doctor --self-test"
        findings.append(Finding("TensorRT engine", False, state, remedy))
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as name:
        onnx_path = Path(name) / "self-test.onnx"
        write_onnx(onnx_from_network(net, description), onnx_path)
        for heads in (True, False):
            engine = Path(name) / f"{heads}.engine"
            # 3 images over batches of at most 2: a full batch and a rest
            build_engine(onnx_path, engine, BuildOptions(target, max_batch=2, heads=heads))
            with open_engine(engine) as runtime:
                outputs = [runtime.infer(images) for _ in range(3)][-1]
            if isinstance(outputs, HeadOutputs):
                findings.append(_heads_finding(target, reference, outputs))
                expected = decode_nms(
                    outputs.loc, outputs.conf, description.priors, description.postprocess
                )
            else:
                same = sum(
                    bool(np.array_equal(a.priors, b.priors) and np.array_equal(a.labels, b.labels))
                    for a, b in zip(expected, outputs, strict=True)
                )
                state = f"{same} of {len(images)} images as decode + NMS of the heads gives them"
                findings.append(
                    Finding(f"{target} detections", same == len(images), state, needed=True)
                )
    return findings


def _heads_finding(target: str, reference: Any, outputs: Any) -> Finding:
    """Heads within 1e-4 of the largest value: fp32 sums of a few thousand terms reordered."""
    pairs = ((reference.loc, outputs.loc), (reference.conf, outputs.conf))
    worst = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    state = f"within {worst:.1e} of PyTorch (relative to the largest value; limit 1e-4)"
    return Finding(f"{target} heads", worst <= 1e-4, state, needed=True)
