"""What this machine has: packages, libraries, driver and GPUs, one finding each."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from .._version import __version__
from ..errors import SsdSmallError
from ..postprocess import native
from ..requirements import EXTRA_OF_MODULE, is_installed, pip_line
from ..runtimes.plugin_library import ENVIRONMENT, PLUGIN_VERSIONS, find_plugin, load_plugin
from ..runtimes.tensorrt_module import MODULES
from ..system.gpu import Gpus, gpus
from .exercises import EXERCISES, Wrong, exercise_native_library


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        subject: what was examined.
        fine: whether it is there and works.
        state: what was found.
        remedy: what to type or do if it is not fine; empty if nothing is needed.
        needed: whether what was asked for requires it.
    """

    subject: str
    fine: bool
    state: str
    remedy: str = ""
    needed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values by field name."""
        return asdict(self)


#: distribution -> its module, where the names differ
_MODULE_OF = {
    "opencv-python-headless": "cv2",
    "tensorrt-rtx": "tensorrt_rtx",
    "cuda-bindings": "cuda",
}
_DISTRIBUTIONS = (
    "torch",
    "safetensors",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-bindings",
    "pycuda",
    "opencv-python-headless",
    "hotcoco",
    "msgspec",
)


def examine() -> list[Finding]:
    """Findings about packages, the native library, the driver, GPUs, and the plugin."""
    findings = [Finding("ssd-small", True, f"{__version__}, Python {platform.python_version()}")]
    findings += [package_finding(name) for name in _DISTRIBUTIONS]
    findings.append(_native_library())
    return [*findings, *_gpu_findings(gpus()), plugin_finding()]


def package_finding(name: str) -> Finding:
    """Whether a distribution is installed and passes a minimal exercise, and its version."""
    module = _MODULE_OF.get(name, name)
    extra = EXTRA_OF_MODULE.get(module)
    package = f"'.[{extra}]'" if extra else name
    if not is_installed(module):
        return Finding(name, False, "not installed", f"pip install {package}")
    try:
        EXERCISES[name]()
    except Exception as error:  # anything can go wrong inside a package
        line = " ".join(str(error).split()) or type(error).__name__
        state = f"{_version(name, module)} is installed and does not work: {line[:200]}"
        return Finding(name, False, state, f"pip install --force-reinstall {package}")
    return Finding(name, True, _version(name, module))


def _version(name: str, module: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        # several packages provide the module tensorrt, such as tensorrt-cu12
        providers = metadata.packages_distributions().get(module)
        return metadata.version(providers[0]) if providers else "version not known"


def _native_library() -> Finding:
    subject = "native decode+NMS library"
    remedy = "pip install --force-reinstall . (in a checkout, with a C++ compiler present)"
    try:
        if native.is_available():
            exercise_native_library()
            return Finding(subject, True, "gives what the numpy oracle gives")
    except SsdSmallError as error:
        return Finding(subject, False, error.command_line, error.command_line.rpartition("; ")[2])
    except Wrong as error:
        return Finding(subject, False, f"loads and {error}", remedy)
    state = "not built: the numpy oracle does its work, slowly"
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


def plugin_finding(modules: Iterable[str] = tuple(MODULES.values())) -> Finding:
    """Whether there is a plugin library, and the first installed one of these modules loads it."""
    subject = "TensorRT plugin"
    module = next((m for m in modules if is_installed(m)), None)
    try:
        path = find_plugin()
        if module is None:
            state = f"{path.name} found, and not tried: no TensorRT to load it"
            return Finding(subject, False, state, pip_line("tensorrt-rtx"))
        trt = importlib.import_module(module)
        for version in PLUGIN_VERSIONS:
            load_plugin(trt, version=version)
    except SsdSmallError as error:
        remedy = "pip install --force-reinstall . (in a checkout, with nvcc present)"
        if os.environ.get(ENVIRONMENT):
            remedy = f"unset {ENVIRONMENT}"
        return Finding(subject, False, error.command_line, remedy)
    except (ImportError, OSError) as error:
        remedy = f"pip install --force-reinstall '.[{EXTRA_OF_MODULE[str(module)]}]'"
        return Finding(subject, False, f"{module} does not load: {error}", remedy)
    state = f"{path.name} found, {module} loads DecodeNms versions {' and '.join(PLUGIN_VERSIONS)}"
    return Finding(subject, True, state)
